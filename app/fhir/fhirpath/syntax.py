"""The nodes of a FHIRPath expression: plain values, compared by content."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Literal:
    """A value written out. kind: string, boolean, integer, decimal, date, dateTime, time."""

    kind: str
    value: str | bool | int | Decimal


@dataclass(frozen=True, slots=True)
class QuantityLiteral:
    """`4 days`, `10 'mg'`: calendar words are kept as words."""

    value: Decimal
    unit: str


@dataclass(frozen=True, slots=True)
class Empty:
    """`{}`."""


@dataclass(frozen=True, slots=True)
class Variable:
    """`%resource`, `%context`, `%'vs-name'`; also $this, $index and $total, with their sign."""

    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """`base.name`; base None: the name stands at the start of the expression or argument."""

    base: Node | None
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """`base.name(arguments)`; base None: called on the current input."""

    base: Node | None
    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """`base[index]`."""

    base: Node
    index: Node


@dataclass(frozen=True, slots=True)
class Unary:
    """`-operand`, `+operand`."""

    operator: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right`; `is` and `as` have a TypeTest instead."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class TypeTest:
    """`left is type`, `left as type`; the type without the namespace `FHIR.`."""

    operator: str
    left: Node
    type: str


Node = (
    Literal | QuantityLiteral | Empty | Variable | Member | Call | Index | Unary | Binary | TypeTest
)
