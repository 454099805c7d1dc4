"""`_filter`: expressions over search parameters. R4 search_filter.html.

    filter     = either *( "or" either )
    either     = part *( "and" part )
    part       = "not" "(" filter ")" | "(" filter ")" | path SP operator SP value

Each comparison is read as the search parameter it names, so that it is indexed and typed like any
other. Left out: filters inside paths.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.errors import Invalid, NotSupported, TooCostly
from app.store.search.conditions import All, Any_, Condition, Not

_TOKEN = re.compile(r'\s*(?:([()])|"((?:[^"\\]|\\.)*)"|([^\s()"]+))', re.S)
_DEPTH_MAX = 30
_PREFIXED = frozenset({"gt", "lt", "ge", "le", "ap", "sa", "eb"})

Compare = Callable[[str, str], Condition]  # (parameter with modifier, value) -> condition


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    quoted: bool = False


def condition(text: str, compare: Compare, type_of: Callable[[str], str]) -> Condition:
    """Return what a `_filter` asks for.

    compare: reads one parameter; type_of: the search type of a parameter name (or chain).
    Raises Invalid for what is no filter, NotSupported, TooCostly when it is nested too deep.
    """
    reader = _Reader(_tokens(text), compare, type_of)
    found = reader.either_or(0)
    if reader.left:
        raise Invalid("the filter goes on after its end", at="http._filter")
    return found


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Invalid("the filter cannot be read", at="http._filter")
        bracket, quoted, word = match.groups()
        if quoted is not None:
            found.append(_Token(re.sub(r"\\(.)", r"\1", quoted), quoted=True))
        else:
            found.append(_Token(bracket or word))
        at = match.end()
    return found


class _Reader:
    def __init__(
        self, tokens: Sequence[_Token], compare: Compare, type_of: Callable[[str], str]
    ) -> None:
        self._tokens = list(tokens)
        self._at = 0
        self._compare = compare
        self._type_of = type_of

    @property
    def left(self) -> bool:
        return self._at < len(self._tokens)

    def _is(self, word: str) -> bool:
        return self.left and self._tokens[self._at] == _Token(word)

    def _next(self) -> _Token:
        if not self.left:
            raise Invalid("the filter ends too early", at="http._filter")
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, word: str) -> None:
        if self._next() != _Token(word):
            raise Invalid(f"the filter needs {word} here", at="http._filter")

    def either_or(self, depth: int) -> Condition:
        if depth > _DEPTH_MAX:
            raise TooCostly("the filter is nested too deep", at="http._filter")
        parts = [self._all(depth)]
        while self._is("or"):
            self._next()
            parts.append(self._all(depth))
        if len(parts) == 1:
            return parts[0]
        if any(part.verifiers() for part in parts):
            raise NotSupported("or cannot join what only bodies decide", at="http._filter")
        return Any_(parts)

    def _all(self, depth: int) -> Condition:
        parts = [self._part(depth)]
        while self._is("and"):
            self._next()
            parts.append(self._part(depth))
        return parts[0] if len(parts) == 1 else All(parts)

    def _part(self, depth: int) -> Condition:
        if self._is("not"):
            self._next()
            self._expect("(")
            inner = self.either_or(depth + 1)
            self._expect(")")
            if inner.verifiers():
                raise NotSupported("not cannot turn what only bodies decide", at="http._filter")
            return Not(inner)
        if self._is("("):
            self._next()
            inner = self.either_or(depth + 1)
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Condition:
        path = self._next().text
        operator = self._next().text
        value = self._next()
        text = value.text
        if operator == "pr":
            if text not in ("true", "false"):
                raise Invalid("pr is true or false", at="http._filter")
            return self._compare(f"{path}:missing", "false" if text == "true" else "true")
        escaped = _escaped(text) if value.quoted else text
        if operator == "ne":
            return Not(self._equal(path, escaped))
        if operator == "eq":
            return self._equal(path, escaped)
        kind = self._type_of(path)
        if operator in _PREFIXED and kind in ("date", "number", "quantity"):
            return self._compare(path, f"{operator}{escaped}")
        write = _OPERATORS.get((operator, kind))
        if write is None:
            raise Invalid(f"{operator} does not fit {path[:64]}", at="http._filter")
        return self._compare(f"{path}{write}", escaped)

    def _equal(self, path: str, text: str) -> Condition:
        """Equality: of a string the whole value counts, not its beginning."""
        exact = ":equals" if self._type_of(path) == "string" else ""
        return self._compare(path + exact, text)


# (operator, search type) -> modifier
_OPERATORS: Mapping[tuple[str, str], str] = {
    ("co", "string"): ":contains",
    ("sw", "string"): "",
    ("ew", "string"): ":ends",
    ("sw", "uri"): ":below",
    ("po", "date"): ":overlaps",
    ("re", "reference"): "",
    # `ss`: the value subsumes a code of the resource, which is below it then.
    ("ss", "token"): ":below",
    ("sb", "token"): ":above",
    ("in", "token"): ":in",
    ("ni", "token"): ":not-in",
}


def _escaped(text: str) -> str:
    """Return a quoted value as a search value: its marks are data."""
    return re.sub(r"([\\,|$])", r"\\\1", text)
