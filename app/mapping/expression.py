"""The formulas of the mapping language, parsed into small trees.

    value      either of several, the first that has a value:  PID-3.1 ?? PID-2.1
    either     a path, a "text", a number or name(arguments), then steps:  PID-8 | table(gender)
    condition  PV1-45 and not event in ("A13", "A25") or PV1-2 = "E"

A path is what the feed says it is; one with blanks or brackets stands in backquotes. In a condition
a value alone asks whether it is there. `and` binds tighter than `or`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, NoReturn

from app.errors import Invalid


@dataclass(frozen=True, slots=True)
class Const:
    value: Any


@dataclass(frozen=True, slots=True)
class Path:
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function, map, mention or table step; `given` is what stands left of the bar."""

    name: str
    args: tuple[Value, ...]
    given: Value | None = None


@dataclass(frozen=True, slots=True)
class Either:
    options: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Valued:
    value: Value


@dataclass(frozen=True, slots=True)
class Compare:
    operator: str  # = != < <= > >= matches
    left: Value
    right: Value


@dataclass(frozen=True, slots=True)
class In:
    value: Value
    options: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Not:
    condition: Condition


@dataclass(frozen=True, slots=True)
class All:
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Any_:
    conditions: tuple[Condition, ...]


Value = Const | Path | Call | Either
Condition = Valued | Compare | In | Not | All | Any_

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>"(?:[^"\\]|\\.)*")
    | (?P<quoted>`[^`]+`)
    | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?![\w.\-]))
    | (?P<name>(?://)?[\w$.@*](?:[\w$.@\-/*]|\[[^\]\s]*\]|\^)*)
    | (?P<mark>\?\?|!=|<=|>=|[|(),=<>])
    )""",
    re.VERBOSE,
)
_ESCAPES = re.compile(r"\\(.)")
_KEYWORDS = frozenset(("and", "or", "not", "in", "matches"))
_WORDS = {"true": True, "false": False}
_MAX_LENGTH = 2000


@lru_cache(maxsize=4096)
def value(text: str) -> Value:
    """Return the tree of a value formula. Raises Invalid with the column in its text."""
    return _Parser(text).whole_value()


@lru_cache(maxsize=4096)
def condition(text: str) -> Condition:
    """Return the tree of a condition. Raises Invalid with the column in its text."""
    return _Parser(text).whole_condition()


class _Parser:
    def __init__(self, text: str) -> None:
        if len(text) > _MAX_LENGTH:
            raise Invalid("the formula is too long")
        self.text = text
        self.tokens = _tokens(text)
        self.next = 0

    def whole_value(self) -> Value:
        tree = self._value()
        self._end()
        return tree

    def whole_condition(self) -> Condition:
        tree = self._or()
        self._end()
        return tree

    def _value(self) -> Value:
        options = [self._steps()]
        while self._take("mark", "??"):
            options.append(self._steps())
        return options[0] if len(options) == 1 else Either(tuple(options))

    def _steps(self) -> Value:
        tree = self._primary()
        while self._take("mark", "|"):
            name = self._need("name")
            tree = Call(name, self._arguments() if self._take("mark", "(") else (), tree)
        return tree

    def _primary(self) -> Value:
        kind, token = self._peek()
        self.next += 1
        if kind == "text":
            return Const(_ESCAPES.sub(_escaped, token[1:-1]))
        if kind == "quoted":
            return Path(token[1:-1])
        if kind == "number":
            return Const(Decimal(token) if "." in token else int(token))
        if (kind, token) == ("mark", "("):
            tree = self._value()
            self._mark(")")
            return tree
        if kind != "name" or token in _KEYWORDS:
            self.next -= 1
            self._fail("a value is expected")
        if self._take("mark", "("):
            return Call(token, self._arguments())
        if token in _WORDS:
            return Const(_WORDS[token])
        return Path(token)

    def _arguments(self) -> tuple[Value, ...]:
        if self._take("mark", ")"):
            return ()
        args = [self._value()]
        while self._take("mark", ","):
            args.append(self._value())
        self._mark(")")
        return tuple(args)

    def _or(self) -> Condition:
        parts = [self._and()]
        while self._take("name", "or"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else Any_(tuple(parts))

    def _and(self) -> Condition:
        parts = [self._test()]
        while self._take("name", "and"):
            parts.append(self._test())
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _test(self) -> Condition:
        if self._take("name", "not"):
            return Not(self._test())
        if self._peek() == ("mark", "("):
            start = self.next
            self.next += 1
            inner = self._or()
            self._mark(")")
            if self._peek()[1] not in ("|", "??", "=", "!=", "<", ">", "<=", ">=", "in", "matches"):
                return inner
            self.next = start  # it was a bracketed value after all
        left = self._value()
        negated = self._take("name", "not")
        if self._take("name", "in"):
            self._mark("(")
            found: Condition = In(left, self._arguments())
            return Not(found) if negated else found
        if negated:
            self._fail("`in` is expected after `not`")
        if self._take("name", "matches"):
            return Compare("matches", left, self._value())
        kind, token = self._peek()
        if kind == "mark" and token in ("=", "!=", "<", "<=", ">", ">="):
            self.next += 1
            return Compare(token, left, self._value())
        return Valued(left)

    def _peek(self) -> tuple[str, str]:
        return self.tokens[self.next][:2]

    def _take(self, kind: str, token: str) -> bool:
        if self._peek() == (kind, token):
            self.next += 1
            return True
        return False

    def _mark(self, token: str) -> None:
        if not self._take("mark", token):
            self._fail(f"`{token}` is expected")

    def _need(self, kind: str) -> str:
        found, token = self._peek()
        if found != kind:
            self._fail(f"a {kind} is expected")
        self.next += 1
        return token

    def _end(self) -> None:
        if self._peek()[0] != "end":
            self._fail("nothing more is expected")

    def _fail(self, problem: str) -> NoReturn:
        column = self.tokens[self.next][2]
        raise Invalid(f"{problem} in `{self.text}` at column {column + 1}")


def _escaped(found: re.Match[str]) -> str:
    return {"n": "\n", "t": "\t"}.get(found[1], found[1])


def _tokens(text: str) -> list[tuple[str, str, int]]:
    out = []
    place = 0
    end = len(text.rstrip())
    while place < end:
        found = _TOKEN.match(text, place)
        if found is None:
            raise Invalid(f"what stands in `{text}` at column {place + 1} has no meaning")
        kind = found.lastgroup or ""
        out.append((kind, found[kind], found.start(kind)))
        place = found.end()
    out.append(("end", "", end))
    return out
