"""Reads FHIRPath text into `syntax` nodes (FHIRPath N1 section 2 and appendix A, the grammar).

One function per rule of precedence would be eleven; the operators stand in a table instead and
one loop climbs it. Size and depth are limited, because expressions arrive in posted resources.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from app.errors import Invalid
from app.fhir.fhirpath.syntax import (
    Binary,
    Call,
    Empty,
    Index,
    Literal,
    Member,
    Node,
    QuantityLiteral,
    TypeTest,
    Unary,
    Variable,
)

_MAX_LENGTH = 20_000
_MAX_DEPTH = 100

# Operator -> how tightly it binds (N1 section 6.8); all are left-associative.
_BINDING = {
    "implies": 1,
    "or": 2,
    "xor": 2,
    "and": 3,
    "in": 4,
    "contains": 4,
    "=": 5,
    "~": 5,
    "!=": 5,
    "!~": 5,
    ">": 6,
    "<": 6,
    ">=": 6,
    "<=": 6,
    "|": 7,
    "is": 8,
    "as": 8,
    "+": 9,
    "-": 9,
    "&": 9,
    "*": 10,
    "/": 10,
    "div": 10,
    "mod": 10,
}
_CALENDAR = {
    word + plural: word
    for word in ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
    for plural in ("", "s")
}
_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<moment>@(?:T\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?
        |\d{4}(?:-\d\d(?:-\d\d)?)?
         (?P<clock>T(?:\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d:\d\d)?)?)?))
    |(?P<number>\d+(?:\.\d+)?)
    |(?P<string>'(?:[^'\\]|\\.)*')
    |(?P<quoted>`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*")
    |(?P<word>[A-Za-z_]\w*)
    |(?P<variable>%(?:[A-Za-z_][\w-]*|`(?:[^`\\]|\\.)*`|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
        |\$(?:this|index|total))
    |(?P<sign>!=|!~|>=|<=|[][(){}.,|=~><+*/&-])
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


@lru_cache(maxsize=4096)
def parse(text: str) -> Node:
    """Return the node of an expression. Raises Invalid, naming the column, if it is none."""
    if len(text) > _MAX_LENGTH:
        raise Invalid("the FHIRPath expression is too long")
    return _Parser(_tokens(text)).parse()


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _error(position)
        kind = str(match.lastgroup if match.lastgroup != "clock" else "moment")
        if match["moment"]:
            kind = "moment"
        if kind != "space":
            found.append(_Token(kind, match[0], position))
        position = match.end()
    found.append(_Token("end", "", len(text)))
    return found


def _error(at: int) -> Invalid:
    return Invalid(f"not FHIRPath: column {at + 1}")


def _unescape(quoted: str) -> str:
    def character(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code[1:], 16)) if len(code) == 5 else _ESCAPES.get(code, code)

    return _ESCAPE.sub(character, quoted[1:-1])


class _Parser:
    """Precedence climbing over the tokens of one expression."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._primaries: dict[str, Callable[[_Token], Node]] = {
            "string": lambda t: Literal("string", _unescape(t.text)),
            "moment": _moment,
            "number": self._number,
            "word": self._word,
            "quoted": lambda t: self._named(_unescape(t.text), None),
            "variable": _variable,
            "sign": self._sign,
        }

    def parse(self) -> Node:
        node = self._expression(0)
        if self._peek().kind != "end":
            raise _error(self._peek().at)
        return node

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _next(self) -> _Token:
        current = self._tokens[self._at]
        if current.kind != "end":
            self._at += 1
        return current

    def _take(self, sign: str) -> bool:
        if self._peek().kind == "sign" and self._peek().text == sign:
            self._at += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise _error(self._peek().at)

    def _expression(self, minimum: int) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise Invalid("the FHIRPath expression is nested too deeply")
        left = self._unary()
        while (binding := self._operator_binding()) > minimum:
            operator = self._next().text
            if operator in {"is", "as"}:
                left = TypeTest(operator, left, self._type_name())
            else:
                left = Binary(operator, left, self._expression(binding))
        self._depth -= 1
        return left

    def _operator_binding(self) -> int:
        current = self._peek()
        return _BINDING.get(current.text, 0) if current.kind in {"sign", "word"} else 0

    def _unary(self) -> Node:
        current = self._peek()
        if current.kind == "sign" and current.text in {"-", "+"}:
            self._next()
            return Unary(current.text, self._postfix(self._primary()))
        return self._postfix(self._primary())

    def _postfix(self, node: Node) -> Node:
        while True:
            if self._take("."):
                node = self._invocation(node)
            elif self._take("["):
                node = Index(node, self._expression(0))
                self._expect("]")
            else:
                return node

    def _invocation(self, base: Node) -> Node:
        current = self._next()
        if current.kind == "variable" and current.text.startswith("$"):
            return Variable(current.text)
        if current.kind == "quoted":
            return self._named(_unescape(current.text), base)
        if current.kind != "word":
            raise _error(current.at)
        return self._named(current.text, base)

    def _primary(self) -> Node:
        current = self._next()
        read = self._primaries.get(current.kind)
        if read is None:
            raise _error(current.at)
        return read(current)

    def _word(self, current: _Token) -> Node:
        if current.text in {"true", "false"}:
            return Literal("boolean", current.text == "true")
        return self._named(current.text, None)

    def _named(self, name: str, base: Node | None) -> Node:
        if not self._take("("):
            return Member(base, name)
        arguments: list[Node] = []
        if not self._take(")"):
            arguments.append(self._expression(0))
            while self._take(","):
                arguments.append(self._expression(0))
            self._expect(")")
        return Call(base, name, tuple(arguments))

    def _sign(self, current: _Token) -> Node:
        if current.text == "(":
            node = self._expression(0)
            self._expect(")")
            return node
        if current.text == "{":
            self._expect("}")
            return Empty()
        raise _error(current.at)

    def _number(self, current: _Token) -> Node:
        following = self._peek()
        if following.kind == "string":
            self._next()
            return QuantityLiteral(Decimal(current.text), _unescape(following.text))
        if following.kind == "word" and following.text in _CALENDAR:
            self._next()
            return QuantityLiteral(Decimal(current.text), _CALENDAR[following.text])
        if "." in current.text:
            return Literal("decimal", Decimal(current.text))
        return Literal("integer", int(current.text))

    def _type_name(self) -> str:
        parenthesis = self._take("(")
        current = self._next()
        name = _unescape(current.text) if current.kind == "quoted" else current.text
        if current.kind not in {"word", "quoted"}:
            raise _error(current.at)
        if self._take("."):
            qualified = self._next()
            if qualified.kind not in {"word", "quoted"}:
                raise _error(qualified.at)
            last = _unescape(qualified.text) if qualified.kind == "quoted" else qualified.text
            name = last if name == "FHIR" else f"{name}.{last}"
        if parenthesis:
            self._expect(")")
        return name


def _moment(current: _Token) -> Node:
    text = current.text[1:]
    if text.startswith("T"):
        return Literal("time", text[1:])
    if "T" in text:
        return Literal("dateTime", text)
    return Literal("date", text)


def _variable(current: _Token) -> Node:
    sign, name = current.text[0], current.text[1:]
    if name[0] in "`'\"":
        name = _unescape(name)
    return Variable(sign + name)
