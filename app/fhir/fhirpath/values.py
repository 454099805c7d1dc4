"""What FHIRPath works on: elements of a resource with their FHIR types, and system values.

A collection is a Python list. A system value is str, bool, int, Decimal, Moment or Amount; an
element of a resource is an Element, which knows its FHIR type from the definitions and where in
the JSON it stands (for FHIRPath Patch). R4 fhirpath.html#types; FHIRPath N1 section 2.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

import orjson

from app.fhir import definitions, ucum
from app.fhir.definitions import Member, Shape
from app.fhir.fhirpath.moments import Moment, parse_moment

_MOMENT_KINDS = {"date": "date", "dateTime": "dateTime", "instant": "dateTime", "time": "time"}
_QUANTITIES = frozenset({"Quantity", "Age", "Count", "Distance", "Duration"})
_CALENDAR_UCUM = {
    "week": "wk",
    "day": "d",
    "hour": "h",
    "minute": "min",
    "second": "s",
    "millisecond": "ms",
}


@dataclass(frozen=True, slots=True)
class Amount:
    """A System.Quantity: `4 days`, `5 'mg'`, or a FHIR Quantity in its unit code."""

    value: Decimal
    unit: str

    def compare(self, other: Amount) -> int | None:
        """Return -1, 0 or 1; None when the two units measure different things."""
        if self.unit == other.unit:
            return _sign(self.value, other.value)
        one, two = ucum.canonical(self._code()), ucum.canonical(other._code())
        if one is None or two is None or one.unit != two.unit:
            return None
        return _sign(one.of(self.value), two.of(other.value))

    def _code(self) -> str:
        return _CALENDAR_UCUM.get(self.unit, self.unit)

    def __str__(self) -> str:
        quoted = self.unit if self.unit in {*_CALENDAR_UCUM, "year", "month"} else f"'{self.unit}'"
        return f"{self.value} {quoted}"


class Element:
    """One element of a resource.

    value: its JSON; None for a primitive that has only extensions, which are in `extra`.
    type: FHIR type name; of a resource its resource type.
    member: what the definitions say of the name it stands under; None for a whole resource.
    holder, index: the JSON object it stands in, and its place in the array (None if it is none).
    """

    __slots__ = ("extra", "holder", "index", "member", "shape", "type", "value")

    def __init__(
        self,
        value: Any,
        type_name: str,
        shape: Shape | None,
        *,
        extra: Any = None,
        member: Member | None = None,
        holder: Any = None,
        index: int | None = None,
    ) -> None:
        self.value = value
        self.type = type_name
        self.shape = shape
        self.extra = extra
        self.member = member
        self.holder = holder
        self.index = index

    @property
    def is_primitive(self) -> bool:
        return not isinstance(self.value, dict)

    def __repr__(self) -> str:
        return f"Element({self.type})"


Item = Element | str | bool | int | Decimal | Moment | Amount
Collection = list[Item]


def element_of(resource: Mapping[str, Any]) -> Element:
    """Return the element of a whole resource. Raises NotFound for an unknown type."""
    type_name = str(resource.get("resourceType"))
    return Element(resource, type_name, definitions.structure(type_name).shape)


# --- navigation ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Route:
    """One JSON member that a name may mean."""

    json: str  # the member's name
    member: Member
    many: bool
    primitive: bool


@lru_cache(maxsize=2048)
def _routes(shape: Shape) -> Mapping[str, tuple[_Route, ...]]:
    found: dict[str, tuple[_Route, ...]] = {}
    for json_name, member in shape.members.items():
        route = _Route(json_name, member, member.element.is_list, member.is_primitive)
        found[member.element.name] = (*found.get(member.element.name, ()), route)
    return found


@lru_cache(maxsize=2048)
def _json_routes(shape: Shape) -> Mapping[str, _Route]:
    return {route.json: route for routes in _routes(shape).values() for route in routes}


def children(element: Element, name: str) -> Iterator[Element]:
    """Yield the child elements of one name; `value` finds valueQuantity as well."""
    holder, shape = _inside(element)
    if shape is not None:
        for route in _routes(shape).get(name, ()):
            yield from _follow(holder, route)


def all_children(element: Element) -> Iterator[Element]:
    """Yield all child elements, in the order of the JSON (FHIRPath leaves it open)."""
    holder, shape = _inside(element)
    if shape is None:
        return
    routes = _json_routes(shape)
    for name in holder:
        if name.startswith("_"):
            if name[1:] in holder:
                continue  # seen with its value
            route = routes.get(name[1:])
        else:
            route = routes.get(name)
        if route is not None:
            yield from _follow(holder, route)


def _inside(element: Element) -> tuple[Any, Shape | None]:
    """Return the JSON object with the children, and what it may hold."""
    if element.is_primitive:
        extra = element.extra
        return (extra, definitions.structure("Element").shape) if extra else ({}, None)
    return element.value, element.shape


def _follow(holder: Any, route: _Route) -> Iterator[Element]:
    value = holder.get(route.json)
    extra = holder.get("_" + route.json) if route.primitive else None
    if value is None and extra is None:
        return
    if not route.many:
        yield _child(value, extra, route, holder, None)
        return
    values, extras = value or (), extra or ()
    for index in range(max(len(values), len(extras))):
        one = values[index] if index < len(values) else None
        more = extras[index] if index < len(extras) else None
        if one is not None or more is not None:
            yield _child(one, more, route, holder, index)


def _child(value: Any, extra: Any, route: _Route, holder: Any, index: int | None) -> Element:
    type_name, shape = route.member.type.code, None
    if not route.primitive:
        shape = route.member.shape
        if shape is None and isinstance(value, dict):
            type_name = str(value.get("resourceType"))
            known = definitions.is_resource_type(type_name)
            shape = definitions.structure(type_name).shape if known else None
    return Element(
        value, type_name, shape, extra=extra, member=route.member, holder=holder, index=index
    )


# --- system values -------------------------------------------------------------------------------


def scalar(item: Item) -> Item | None:
    """Return the system value of an item; the item itself if it is a complex element.

    None for a primitive element without a value.
    """
    if not isinstance(item, Element):
        return item
    value = item.value
    if isinstance(value, dict):
        return _amount(value) or item if item.type in _QUANTITIES else item
    if isinstance(value, str):
        kind = _MOMENT_KINDS.get(item.type)
        return (parse_moment(value, kind) or value) if kind else value
    if isinstance(value, float):
        return Decimal(repr(value))
    if item.type == "decimal" and type(value) is int:
        return Decimal(value)
    found: str | bool | int | Decimal | None = value
    return found


def _amount(value: Mapping[str, Any]) -> Amount | None:
    number = value.get("value")
    if number is None or "comparator" in value:
        return None
    unit = value.get("code") if value.get("system") == ucum.SYSTEM else value.get("unit")
    return Amount(Decimal(str(number)), unit or value.get("code") or "1")


_SYSTEM_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "Boolean"),
    (int, "Integer"),
    (Decimal, "Decimal"),
    (str, "String"),
    (Amount, "Quantity"),
)
SYSTEM_TYPES = frozenset({*(name for _, name in _SYSTEM_TYPES), "Date", "DateTime", "Time"})


def type_of(item: Item) -> str:
    """Return the FHIR type of an element, or "System.X" of a system value."""
    if isinstance(item, Element):
        return item.type
    if isinstance(item, Moment):
        return f"System.{item.kind[0].upper()}{item.kind[1:]}"
    return "System." + next(name for kind, name in _SYSTEM_TYPES if isinstance(item, kind))


@lru_cache(maxsize=1024)
def _ancestry(type_name: str) -> frozenset[str]:
    if type_name not in definitions.structure_names():
        return frozenset({type_name})
    return frozenset(definitions.base_types(type_name))


def is_of(item: Item, type_name: str) -> bool:
    """Say whether an item is of a type or of one that specialises it.

    R4's own invariants say `is Boolean` of a FHIR boolean: an unqualified system type fits both.
    """
    own = type_of(item)
    if type_name.startswith("System."):
        return own == type_name
    if own.startswith("System."):
        return own == f"System.{type_name}"
    if type_name in SYSTEM_TYPES and type_name != "Quantity":
        return own.casefold() == type_name.casefold()
    return type_name in _ancestry(own)


# --- equality ------------------------------------------------------------------------------------


def equal(one: Item, other: Item) -> bool | None:
    """Return whether two items are equal; None when it cannot be said (N1 section 6.1.1)."""
    a, b = scalar(one), scalar(other)
    if isinstance(a, Moment) and isinstance(b, Moment):
        order = a.compare(b)
        return None if order is None else order == 0
    if isinstance(a, Amount) and isinstance(b, Amount):
        order = a.compare(b)
        return None if order is None else order == 0
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, Element) and isinstance(b, Element):
        return bool(a.value == b.value) and (a.value is not None or a.extra == b.extra)
    return a is not None and a == b


def key(item: Item) -> Any:
    """Return something hashable that is the same for equal items: for sets of many."""
    value = scalar(item)
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, Moment):
        utc = value.in_utc()
        return ("moment", utc.kind == "time", utc.parts, utc.offset)
    if isinstance(value, Element) or value is None:
        element = value if isinstance(value, Element) else item
        content = (element.value, element.extra) if isinstance(element, Element) else None
        return ("element", orjson.dumps(content, option=orjson.OPT_SORT_KEYS, default=str))
    return value


def _sign(one: Decimal | float, other: Decimal | float) -> int:
    return (one > other) - (one < other)
