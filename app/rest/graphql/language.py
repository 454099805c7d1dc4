"""GraphQL queries (June 2018, section 2): text in, one tree of selections out.

Queries only: R4 defines mutations as optional, subscriptions and type definitions not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from app.errors import Malformed, NotSupported, TooCostly

_MAX_LENGTH = 64 << 10
_MAX_DEPTH = 25

_TOKEN = re.compile(
    r"(?P<skip>[\s,\ufeff]+|\#[^\n\r]*)"
    r"|(?P<mark>\.\.\.|[!$():=@\[\]{|}])"
    r"|(?P<name>[_A-Za-z][_0-9A-Za-z]*)"
    r"|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![_0-9A-Za-z.])"
    r'|(?P<block>"""(?:[^"\\]|\\.|"(?!""))*""")'
    r'|(?P<text>"(?:[^"\\\n\r]|\\.)*")',
    re.ASCII | re.DOTALL,
)
_CONSTANTS: Mapping[str, Any] = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class Variable:
    """A value that comes with the request."""

    name: str


@dataclass(frozen=True, slots=True)
class Directive:
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field; `key` is what it is called in the answer."""

    name: str
    key: str
    arguments: Mapping[str, Any]
    directives: Sequence[Directive]
    selections: Sequence[Selection]


@dataclass(frozen=True, slots=True)
class Spread:
    """`...Name`: the selections of a named fragment."""

    name: str
    directives: Sequence[Directive]


@dataclass(frozen=True, slots=True)
class Fragment:
    """Selections for what is of a type, or for everything (type None)."""

    type: str | None
    directives: Sequence[Directive]
    selections: Sequence[Selection]


Selection = Field | Spread | Fragment


@dataclass(frozen=True, slots=True)
class Query:
    """One operation of a document.

    variables: name -> (whether one has to be given, the default).
    """

    name: str | None
    variables: Mapping[str, tuple[bool, Any]]
    selections: Sequence[Selection]


@dataclass(frozen=True, slots=True)
class Document:
    queries: Sequence[Query]
    fragments: Mapping[str, Fragment]


def parse(text: str) -> Document:
    """Return what a document holds. Raises Malformed, NotSupported, TooCostly."""
    if len(text) > _MAX_LENGTH:
        raise TooCostly("The query is too long", at="http.query")
    return _Parser(text).document()


class _Parser:
    """Recursive descent over the tokens; `_at` is the next one."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str, int]] = []
        self._at = 0
        self._depth = 0
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                self._refuse(position)
            if match.lastgroup != "skip":
                self._tokens.append((str(match.lastgroup), match.group(), position))
            position = match.end()
        self._tokens.append(("end", "", len(text)))

    def document(self) -> Document:
        queries: list[Query] = []
        fragments: dict[str, Fragment] = {}
        while self._kind != "end":
            if self._next == "{":
                queries.append(Query(None, {}, self._selections()))
                continue
            word = self._name()
            if word == "fragment":
                name = self._name()
                fragments[name] = self._fragment()
            elif word == "query":
                queries.append(self._query())
            elif word in ("mutation", "subscription"):
                raise NotSupported("GraphQL is for queries only here", at="http.query")
            else:
                self._refuse()
        return Document(queries, fragments)

    def _query(self) -> Query:
        name = self._name() if self._kind == "name" else None
        variables: dict[str, tuple[bool, Any]] = {}
        if self._took("("):
            while not self._took(")"):
                self._expect("$")
                variable = self._name()
                self._expect(":")
                needed = self._type()
                default = self._value() if self._took("=") else None
                variables[variable] = (needed and default is None, default)
        self._directives()
        return Query(name, variables, self._selections())

    def _type(self) -> bool:
        """Skip a type; say whether it is non-null. FHIR's own types decide what fits."""
        brackets = 0
        while self._took("["):
            brackets += 1
        self._name()
        needed = self._took("!")
        for _ in range(brackets):
            self._expect("]")
            needed = self._took("!")
        return needed

    def _fragment(self) -> Fragment:
        if self._name() != "on":
            self._refuse()
        return Fragment(self._name(), self._directives(), self._selections())

    def _selections(self) -> Sequence[Selection]:
        self._expect("{")
        self._deeper()
        found = [self._selection()]
        while not self._took("}"):
            found.append(self._selection())
        self._depth -= 1
        return found

    def _selection(self) -> Selection:
        if self._took("..."):
            if self._kind == "name" and self._next != "on":
                return Spread(self._name(), self._directives())
            type_name = None
            if self._kind == "name":
                self._name()
                type_name = self._name()
            return Fragment(type_name, self._directives(), self._selections())
        key = name = self._name()
        if self._took(":"):
            name = self._name()
        arguments, directives = self._arguments(), self._directives()
        return Field(
            name, key, arguments, directives, self._selections() if self._next == "{" else ()
        )

    def _arguments(self) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        if self._took("("):
            while not self._took(")"):
                name = self._name()
                self._expect(":")
                found[name] = self._value()
        return found

    def _directives(self) -> Sequence[Directive]:
        found = []
        while self._took("@"):
            found.append(Directive(self._name(), self._arguments()))
        return found

    def _value(self) -> Any:
        if self._took("$"):
            return Variable(self._name())
        if self._took("["):
            self._deeper()
            found = []
            while not self._took("]"):
                found.append(self._value())
            self._depth -= 1
            return found
        kind, text, position = self._tokens[self._at]
        if kind not in ("name", "number", "text", "block"):
            self._refuse()
        self._at += 1
        if kind == "name":
            return _CONSTANTS.get(text, text)  # a name is one of an enumeration: a code
        if kind == "number":
            return text  # FHIR compares what is written
        if kind == "block":
            return text[3:-3].replace('\\"""', '"""').strip()
        try:
            return json.loads(text, strict=False)
        except ValueError:
            self._refuse(position)

    # --- tokens ----------------------------------------------------------------------------------

    @property
    def _kind(self) -> str:
        return self._tokens[self._at][0]

    @property
    def _next(self) -> str:
        kind, text, _ = self._tokens[self._at]
        return text if kind in ("mark", "name") else ""

    def _took(self, mark: str) -> bool:
        kind, text, _ = self._tokens[self._at]
        found = kind == "mark" and text == mark
        self._at += found
        return found

    def _expect(self, mark: str) -> None:
        if not self._took(mark):
            self._refuse()

    def _name(self) -> str:
        kind, text, _ = self._tokens[self._at]
        if kind != "name":
            self._refuse()
        self._at += 1
        return text

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise TooCostly("The query is nested too deeply", at="http.query")

    def _refuse(self, position: int | None = None) -> NoReturn:
        at = self._tokens[self._at][2] if position is None else position
        line = self._text.count("\n", 0, at) + 1
        column = at - (self._text.rfind("\n", 0, at) + 1) + 1
        raise Malformed(f"No GraphQL query: line {line}, column {column}", at="http.query")
