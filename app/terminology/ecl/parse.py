"""The text of an ECL expression read into what it says. SNOMED CT ECL 2, brief syntax.

Errors name the place (a character, counted from 1) and the sign at fault; of what only a writer
knows (ids, terms, strings) they name the kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple, NoReturn, TypeVar

from app.errors import Unprocessable

T = TypeVar("T")

_LONGEST = 20_000
_DEEPEST = 40


@dataclass(frozen=True, slots=True, eq=False)
class Concept:
    """One concept, by its id."""

    code: str


@dataclass(frozen=True, slots=True, eq=False)
class Everything:
    """`*`"""


@dataclass(frozen=True, slots=True, eq=False)
class Constraint:
    """A constraint operator, or `^`, before what it is applied to."""

    operator: str
    of: Node


@dataclass(frozen=True, slots=True, eq=False)
class Compound:
    """Expressions joined by AND, OR or MINUS."""

    operator: str
    parts: Sequence[Node]


@dataclass(frozen=True, slots=True, eq=False)
class Dotted:
    """The values that some concepts have for an attribute."""

    focus: Node
    name: Node


@dataclass(frozen=True, slots=True, eq=False)
class Refined:
    """The concepts of `focus` for which a condition holds."""

    focus: Node
    condition: Condition


Node = Concept | Everything | Constraint | Compound | Dotted | Refined


class Cardinality(NamedTuple):
    """How often; high: None for any number."""

    low: int = 1
    high: int | None = None

    def allows(self, count: int) -> bool:
        return self.low <= count and (self.high is None or count <= self.high)


@dataclass(frozen=True, slots=True, eq=False)
class Attribute:
    """An attribute with a value; value: an expression, a number, a string or a boolean."""

    cardinality: Cardinality
    is_reversed: bool
    name: Node
    comparison: str
    value: Node | Decimal | str | bool


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """`{ }`: a condition that holds within one role group."""

    cardinality: Cardinality
    condition: Condition


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """Conditions joined by AND or OR."""

    operator: str
    parts: Sequence[Condition]


Condition = Attribute | Group | Conditions


class Token(NamedTuple):
    kind: str
    text: str
    at: int


_TOKEN = re.compile(
    r"""(?P<space>\s+|/\*.*?\*/)
    |(?P<term>\|[^|]*\|)
    |(?P<string>"(?:[^"\\]|\\.)*")
    |(?P<number>\#[+-]?\d+(?:\.\d+)?)
    |(?P<id>\d{6,18}(?!\w))
    |(?P<count>\d+)
    |(?P<word>[A-Za-z]+)
    |(?P<sign><<!|>>!|<!|>!|<<|>>|<=|>=|!=|\{\{|\}\}|\.\.|[<>=^*(){}\[\].,:])""",
    re.VERBOSE | re.DOTALL,
)
_OPERATORS = frozenset(("<", "<<", "<!", "<<!", ">", ">>", ">!", ">>!"))
_COMPARISONS = frozenset(("=", "!=", "<", "<=", ">", ">="))
_CONJUNCTIONS = {"AND": "AND", ",": "AND", "OR": "OR"}
_NAMES = {
    "id": "a concept id", "term": "a term", "string": "a string", "number": "a number",
    "count": "a number that is no concept id", "word": "a word", "end": "the end",
}  # fmt: skip
_KEYWORDS = frozenset(("AND", "OR", "MINUS", "R", "TRUE", "FALSE"))


@lru_cache(maxsize=512)
def parse(text: str) -> Node:
    """Return what an expression says. Raises Unprocessable with the place of what is wrong."""
    if len(text) > _LONGEST:
        raise Unprocessable("the ECL expression is too long", code="too-costly")
    return _Parser(_tokens(text)).whole()


def _tokens(text: str) -> list[Token]:
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            _refuse("this sign has no meaning in ECL", at)
        kind = str(match.lastgroup)
        if kind != "space":
            found.append(Token(kind, match.group(), at))
        at = match.end()
    found.append(Token("end", "", len(text)))
    return found


def _refuse(text: str, at: int) -> NoReturn:
    raise Unprocessable(f"ECL, character {at + 1}: {text}", code="invalid", details="ecl")


class _Parser:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        found = self._expression()
        if self._next.kind != "end":
            self._unexpected("AND, OR, MINUS, a refinement or the end")
        return found

    # --- expressions -------------------------------------------------------------------------

    def _expression(self) -> Node:
        first = self._part()
        if self._takes(":"):
            return Refined(first, self._conditions())
        if self._next.text == ".":
            while self._takes("."):
                first = Dotted(first, self._part())
            return first
        operator = self._conjunction(("AND", "OR", "MINUS"))
        if operator is None:
            return first
        parts = [first, self._part()]
        while (again := self._conjunction(("AND", "OR", "MINUS"))) is not None:
            if again != operator or operator == "MINUS":
                self._mixed(operator, again)
            parts.append(self._part())
        if self._next.text in (":", "."):
            self._unexpected("brackets around what comes before")
        return Compound(operator, parts)

    def _part(self) -> Node:
        """Read an operator, `^` and what they are applied to: a concept, `*` or brackets."""
        if self._next.kind == "sign" and self._next.text in _OPERATORS:
            operator = self._take().text
            return Constraint(operator, self._deeper(self._part))
        if self._takes("^"):
            if self._next.text == "[":
                self._refuse("the fields of reference sets are not supported")
            return Constraint("^", self._deeper(self._part))
        if self._takes("("):
            inner = self._deeper(self._expression)
            self._expect(")")
            found = inner
        elif self._takes("*"):
            found = Everything()
        elif self._next.kind == "id":
            found = Concept(self._take().text)
            if self._next.kind == "term":
                self._take()
        else:
            self._unexpected("a concept id, *, ^, an operator or a bracket")
        if self._next.text == "{{":
            self._refuse("filters in {{ }} are not supported")
        return found

    # --- refinements -------------------------------------------------------------------------

    def _conditions(self) -> Condition:
        first = self._condition()
        operator = self._conjunction(("AND", ",", "OR"))
        if operator is None:
            return first
        parts = [first, self._condition()]
        while (again := self._conjunction(("AND", ",", "OR"))) is not None:
            if again != operator:
                self._mixed(operator, again)
            parts.append(self._condition())
        return Conditions(operator, parts)

    def _condition(self) -> Condition:
        if self._next.text == "(" and not self._names_attribute():
            self._take()
            inner = self._deeper(self._conditions)
            self._expect(")")
            return inner
        cardinality = self._cardinality()
        if self._takes("{"):
            inner = self._deeper(self._conditions)
            self._expect("}")
            return Group(cardinality, inner)
        return self._attribute(cardinality)

    def _names_attribute(self) -> bool:
        """Whether the bracket here is the name of an attribute: a comparison comes behind it."""
        depth = 0
        for token in self._tokens[self._at :]:
            if depth == 0 and token.text == ")":
                return False
            depth += (token.text == "(") - (token.text == ")")
            if depth == 0:
                after = self._tokens[self._tokens.index(token, self._at) + 1]
                return after.text in _COMPARISONS
        return False

    def _cardinality(self) -> Cardinality:
        if not self._takes("["):
            return Cardinality()
        low = self._count()
        self._expect("..")
        high = None if self._takes("*") else self._count()
        if high is not None and high < low:
            self._refuse("the cardinality ends before it begins")
        self._expect("]")
        return Cardinality(low, high)

    def _count(self) -> int:
        if self._next.kind not in ("count", "id"):
            self._unexpected("a number")
        return int(self._take().text)

    def _attribute(self, cardinality: Cardinality) -> Attribute:
        is_reversed = self._next.kind == "word" and self._next.text.upper() == "R"
        if is_reversed:
            self._take()
        name = self._part()
        if self._next.text not in _COMPARISONS:
            self._unexpected("=, != or another comparison")
        comparison = self._take().text
        return Attribute(cardinality, is_reversed, name, comparison, self._value(comparison))

    def _value(self, comparison: str) -> Node | Decimal | str | bool:
        kind, text, _ = self._next
        if kind == "number":
            return Decimal(self._take().text[1:])
        if comparison not in ("=", "!="):
            self._unexpected("a number like #5")
        if kind == "string":
            return re.sub(r"\\(.)", r"\1", self._take().text[1:-1])
        if kind == "word" and text.upper() in ("TRUE", "FALSE"):
            return self._take().text.upper() == "TRUE"
        return self._part()

    # --- tokens ------------------------------------------------------------------------------

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._tokens[self._at]
        self._at += token.kind != "end"
        return token

    def _takes(self, sign: str) -> bool:
        if self._next.kind != "sign" or self._next.text != sign:
            return False
        self._at += 1
        return True

    def _expect(self, sign: str) -> None:
        if not self._takes(sign):
            self._unexpected(sign)

    def _conjunction(self, allowed: Sequence[str]) -> str | None:
        token = self._next
        if token.kind not in ("word", "sign") or token.text.upper() not in allowed:
            return None
        self._at += 1
        return _CONJUNCTIONS.get(token.text.upper(), token.text.upper())

    def _deeper(self, read: Callable[[], T]) -> T:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._refuse("the expression is nested too deeply")
        found = read()
        self._depth -= 1
        return found

    def _mixed(self, first: str, second: str) -> NoReturn:
        self._at -= 1
        if first == second:
            self._refuse("more than one MINUS needs brackets")
        self._refuse(f"{first} and {second} may not be mixed without brackets")

    def _unexpected(self, wanted: str) -> NoReturn:
        kind, text, _ = self._next
        shown = text if kind == "sign" or text.upper() in _KEYWORDS else _NAMES[kind]
        self._refuse(f"{shown} stands where {wanted} should be")

    def _refuse(self, text: str) -> NoReturn:
        _refuse(text, self._next.at)
