"""The functions of FHIRPath: N1 section 5, and those R4 adds (fhirpath.html#functions).

A function gets the scope, the input collection and its arguments as compiled expressions, which
it evaluates as often as it has to. `FUNCTIONS` is the table of them with how many arguments each
takes; what the standard has and this server does not offer is in `NOT_OFFERED`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from app.clock import from_us
from app.errors import Invalid
from app.fhir import definitions
from app.fhir.fhirpath.moments import Moment, parse_moment
from app.fhir.fhirpath.operators import distinct, single, truth
from app.fhir.fhirpath.values import (
    Amount,
    Collection,
    Element,
    Item,
    all_children,
    children,
    element_of,
    key,
    scalar,
)
from app.fhir.narrative import is_narrative
from app.fhir.rules import evident_type

Resolver = Callable[[str], Mapping[str, Any] | None]

_LARGEST_WHOLE = 10**18
_MAX_ITEMS = 100_000  # of repeat(): an expression may not run away


@dataclass(slots=True)
class Scope:
    """What an evaluation knows beside its input.

    resource: %resource, the resource that holds the context; root: %rootResource, which holds a
    contained one. resolve: finds what is not in the resource, for resolve().
    """

    resource: Element
    root: Element
    context: Collection
    now_us: int
    zone: tzinfo
    resolve: Resolver | None = None
    this: Collection = field(default_factory=list)
    index: int = 0
    total: Collection = field(default_factory=list)
    memo: dict[int, Collection] = field(default_factory=dict)


Compiled = Callable[[Scope, Collection], Collection]
Function = Callable[..., Collection]


def each(scope: Scope, focus: Collection) -> Iterator[Collection]:
    """Yield each item as the input of a criterion, with $this and $index set to it."""
    this, index = scope.this, scope.index
    try:
        for scope.index, item in enumerate(focus):
            scope.this = [item]
            yield scope.this
    finally:
        scope.this, scope.index = this, index


def _outside(scope: Scope, argument: Compiled) -> Collection:
    """Evaluate an argument that is no criterion: its input is $this, else the context."""
    return argument(scope, scope.this or scope.context)


# --- existence -----------------------------------------------------------------------------------


def _exists(scope: Scope, focus: Collection, *criteria: Compiled) -> Collection:
    if not criteria:
        return [bool(focus)]
    return [any(truth(criteria[0](scope, item)) for item in each(scope, focus))]


def _all(scope: Scope, focus: Collection, criterion: Compiled) -> Collection:
    return [all(truth(criterion(scope, item)) for item in each(scope, focus))]


def _booleans(wanted: bool, every: bool) -> Function:
    def check(scope: Scope, focus: Collection) -> Collection:
        verdicts = (truth([item]) is wanted for item in focus)
        return [all(verdicts) if every else any(verdicts)]

    return check


def _not(scope: Scope, focus: Collection) -> Collection:
    value = truth(focus)
    return [] if value is None else [not value]


def _subset_of(scope: Scope, focus: Collection, other: Compiled) -> Collection:
    keys = {key(item) for item in _outside(scope, other)}
    return [all(key(item) in keys for item in focus)]


def _superset_of(scope: Scope, focus: Collection, other: Compiled) -> Collection:
    keys = {key(item) for item in focus}
    return [all(key(item) in keys for item in _outside(scope, other))]


def _is_distinct(scope: Scope, focus: Collection) -> Collection:
    return [len({key(item) for item in focus}) == len(focus)]


def _has_value(scope: Scope, focus: Collection) -> Collection:
    if len(focus) != 1:
        return [False]
    value = scalar(focus[0])
    return [value is not None and not isinstance(value, Element)]


def _get_value(scope: Scope, focus: Collection) -> Collection:
    value = scalar(focus[0]) if len(focus) == 1 else None
    return [] if value is None or isinstance(value, Element) else [value]


# --- filtering and subsetting --------------------------------------------------------------------


def _where(scope: Scope, focus: Collection, criterion: Compiled) -> Collection:
    return [item[0] for item in each(scope, focus) if truth(criterion(scope, item))]


def _select(scope: Scope, focus: Collection, projection: Compiled) -> Collection:
    return [found for item in each(scope, focus) for found in projection(scope, item)]


def _repeat(scope: Scope, focus: Collection, projection: Compiled) -> Collection:
    found: dict[object, Item] = {}
    todo = focus
    while todo:
        fresh: Collection = []
        for item in _select(scope, todo, projection):
            if key(item) not in found:
                found[key(item)] = item
                fresh.append(item)
        todo = fresh
        if len(found) > _MAX_ITEMS:
            raise Invalid("FHIRPath: repeat() finds too much", code="too-costly")
    return list(found.values())


def _aggregate(scope: Scope, focus: Collection, step: Compiled, *start: Compiled) -> Collection:
    outer = scope.total
    scope.total = _outside(scope, start[0]) if start else []
    for item in each(scope, focus):
        scope.total = step(scope, item)
    result, scope.total = scope.total, outer
    return result


def _single(scope: Scope, focus: Collection) -> Collection:
    single(focus)
    return focus


def _skip(scope: Scope, focus: Collection, count: Compiled) -> Collection:
    return focus[max(0, _integer(scope, count)) :]


def _take(scope: Scope, focus: Collection, count: Compiled) -> Collection:
    return focus[: max(0, _integer(scope, count))]


def _intersect(scope: Scope, focus: Collection, other: Compiled) -> Collection:
    keys = {key(item) for item in _outside(scope, other)}
    return distinct(item for item in focus if key(item) in keys)


def _exclude(scope: Scope, focus: Collection, other: Compiled) -> Collection:
    keys = {key(item) for item in _outside(scope, other)}
    return [item for item in focus if key(item) not in keys]


def _union(scope: Scope, focus: Collection, other: Compiled) -> Collection:
    return distinct([*focus, *_outside(scope, other)])


def _combine(scope: Scope, focus: Collection, other: Compiled) -> Collection:
    return [*focus, *_outside(scope, other)]


def _iif(scope: Scope, focus: Collection, test: Compiled, *branches: Compiled) -> Collection:
    inside = focus or scope.this
    if truth(test(scope, focus)):
        return branches[0](scope, inside)
    return branches[1](scope, inside) if len(branches) > 1 else []


# --- conversion ----------------------------------------------------------------------------------

_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_DECIMAL = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*(?:'([^']+)'|([a-z]+))?", re.ASCII)
_TRUE = frozenset(("true", "t", "yes", "y", "1", "1.0"))
_FALSE = frozenset(("false", "f", "no", "n", "0", "0.0"))


def _to_integer(value: Item) -> Item | None:
    if isinstance(value, int):
        return int(value)
    return int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else None


def _to_decimal(value: Item) -> Item | None:
    if isinstance(value, int | Decimal):
        return Decimal(value)
    return Decimal(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else None


def _to_boolean(value: Item) -> Item | None:
    text = str(value).lower()
    return True if text in _TRUE else False if text in _FALSE else None


def _to_string(value: Item) -> Item | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if isinstance(value, Element) else str(value)


def _to_quantity(value: Item) -> Item | None:
    if isinstance(value, Amount):
        return value
    if isinstance(value, int | Decimal):
        return Amount(Decimal(value), "1")
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    return Amount(Decimal(match[1]), match[2] or (match[3] or "1").rstrip("s")) if match else None


def _to_moment(kind: str) -> Callable[[Item], Item | None]:
    def convert(value: Item) -> Item | None:
        text = str(value) if isinstance(value, str | Moment) else ""
        if kind == "date":
            text = text.partition("T")[0]
        return parse_moment(text, kind)

    return convert


_CONVERSIONS: Mapping[str, Callable[[Item], Item | None]] = {
    "Integer": _to_integer,
    "Decimal": _to_decimal,
    "Boolean": _to_boolean,
    "String": _to_string,
    "Quantity": _to_quantity,
    "Date": _to_moment("date"),
    "DateTime": _to_moment("dateTime"),
    "Time": _to_moment("time"),
}


def _converted(focus: Collection, convert: Callable[[Item], Item | None]) -> Collection:
    value = single(focus)
    found = None if value is None else convert(value)
    return [] if found is None else [found]


def _conversion(convert: Callable[[Item], Item | None]) -> Function:
    return lambda scope, focus: _converted(focus, convert)


def _converts(convert: Callable[[Item], Item | None]) -> Function:
    return lambda scope, focus: [bool(_converted(focus, convert))] if focus else []


# --- text ----------------------------------------------------------------------------------------


def _text(items: Collection) -> str | None:
    value = single(items)
    if value is None:
        return None
    if isinstance(value, Moment):
        return str(value)
    if not isinstance(value, str):
        raise Invalid("FHIRPath: a text function on what is no text", code="invariant")
    return value


def _integer(scope: Scope, argument: Compiled) -> int:
    value = single(_outside(scope, argument))
    if not isinstance(value, int):
        raise Invalid("FHIRPath: a whole number expected", code="invariant")
    return value


def _on_text(change: Callable[..., Item | None]) -> Function:
    """Make a function of text arguments; empty if the text or an argument is empty."""

    def apply(scope: Scope, focus: Collection, *arguments: Compiled) -> Collection:
        text = _text(focus)
        given = [_text(_outside(scope, argument)) for argument in arguments]
        if text is None or None in given:
            return []
        found = change(text, *given)
        return [] if found is None else [found]

    return apply


def _substring(scope: Scope, focus: Collection, *arguments: Compiled) -> Collection:
    text = _text(focus)
    if text is None:
        return []
    start, *length = [_integer(scope, argument) for argument in arguments]
    if not 0 <= start < len(text):
        return []
    return [text[start:] if not length else text[start : start + max(0, length[0])]]


def _matches(text: str, pattern: str) -> bool:
    """R4's invariants mean the whole text (FHIRPath 2 says "matches partially" of later ones)."""
    return _regex(pattern).fullmatch(text) is not None


def _replace_matches(text: str, pattern: str, replacement: str) -> str:
    return _regex(pattern).sub(re.sub(r"\$(\d)", r"\\\1", replacement), text)


def _regex(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error as exc:
        raise Invalid("FHIRPath: not a regular expression", code="invariant") from exc


def _split(scope: Scope, focus: Collection, separator: Compiled) -> Collection:
    text, between = _text(focus), _text(_outside(scope, separator))
    return [] if text is None or not between else list(text.split(between))


def _join(scope: Scope, focus: Collection, *separator: Compiled) -> Collection:
    between = _text(_outside(scope, separator[0])) if separator else ""
    return [(between or "").join(str(scalar(item)) for item in focus)] if focus else []


def _to_chars(scope: Scope, focus: Collection) -> Collection:
    return list(_text(focus) or "")


# --- numbers -------------------------------------------------------------------------------------


def _on_number(calculate: Callable[..., int | Decimal | None]) -> Function:
    """Make a function of numbers; empty where the result is none (the root of -1)."""

    def apply(scope: Scope, focus: Collection, *arguments: Compiled) -> Collection:
        values = [single(focus), *(single(_outside(scope, a)) for a in arguments)]
        if None in values:
            return []
        if any(isinstance(v, bool) or not isinstance(v, int | Decimal) for v in values):
            raise Invalid("FHIRPath: arithmetic on what is no number", code="invariant")
        try:
            found = calculate(*values)
        except (ValueError, InvalidOperation, OverflowError):
            return []
        return [] if found is None else [found]

    return apply


def _round(value: Decimal, places: int = 0) -> Decimal:
    return Decimal(value).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def _power(value: int | Decimal, exponent: int | Decimal) -> int | Decimal:
    found = Decimal(value) ** Decimal(exponent)
    whole = isinstance(value, int) and isinstance(exponent, int) and exponent >= 0
    return int(found) if whole and abs(found) < _LARGEST_WHOLE else found


# --- the tree, time, and R4's own ----------------------------------------------------------------


def _children(scope: Scope, focus: Collection) -> Collection:
    return [c for item in focus if isinstance(item, Element) for c in all_children(item)]


def _descendants(scope: Scope, focus: Collection) -> Collection:
    if len(focus) == 1 and (known := scope.memo.get(id(focus[0]))) is not None:
        return known
    found: Collection = []
    todo = _children(scope, focus)
    while todo:
        found += todo
        todo = _children(scope, todo)
    if len(focus) == 1 and focus[0] is scope.resource:
        scope.memo[id(focus[0])] = found
    return found


def _local_now(scope: Scope) -> Moment:
    at = from_us(scope.now_us).astimezone(scope.zone)
    offset = at.utcoffset() or timedelta(0)
    second = Decimal(at.second) + Decimal(at.microsecond // 1000).scaleb(-3)
    parts = (at.year, at.month, at.day, at.hour, at.minute, second)
    return Moment("dateTime", parts, offset // timedelta(minutes=1))


def _now(scope: Scope, focus: Collection) -> Collection:
    return [_local_now(scope)]


def _today(scope: Scope, focus: Collection) -> Collection:
    return [Moment("date", _local_now(scope).parts[:3])]


def _time_of_day(scope: Scope, focus: Collection) -> Collection:
    return [Moment("time", _local_now(scope).parts[3:])]


def _extension(scope: Scope, focus: Collection, url: Compiled) -> Collection:
    wanted = _text(_outside(scope, url))
    return [
        found
        for item in focus
        if isinstance(item, Element)
        for found in children(item, "extension")
        if found.value.get("url") == wanted
    ]


def _resolve(scope: Scope, focus: Collection) -> Collection:
    """Return what references lead to: contained resources, and what the scope can find.

    Of a resource that is not at hand only the type is known, if the reference tells it.
    """
    found: Collection = []
    for item in focus:
        value = _literal_reference(item)
        if not isinstance(value, str):
            continue
        resource = _find(scope, value)
        if resource is not None:
            found.append(element_of(resource))
        elif (kind := evident_type(value)) is not None and definitions.is_resource_type(kind):
            found.append(Element({"resourceType": kind}, kind, definitions.structure(kind).shape))
    return found


def _literal_reference(item: Item) -> Any:
    if isinstance(item, Element) and item.type == "Reference":
        return item.value.get("reference")
    return scalar(item)


def _find(scope: Scope, reference: str) -> Mapping[str, Any] | None:
    if reference == "#":
        found: Mapping[str, Any] = scope.root.value
        return found
    if reference.startswith("#"):
        listed = scope.root.value.get("contained", ())
        return next((r for r in listed if r.get("id") == reference[1:]), None)
    return scope.resolve(reference) if scope.resolve else None


def _html_checks(scope: Scope, focus: Collection) -> Collection:
    return [all(is_narrative(scalar(item)) for item in focus)]


def _trace(scope: Scope, focus: Collection, *arguments: Compiled) -> Collection:
    return focus  # a debugging aid; what it would log may be a patient's


# Name -> (function, least and most arguments).
FUNCTIONS: Mapping[str, tuple[Function, int, int]] = {
    "empty": (lambda scope, focus: [not focus], 0, 0),
    "exists": (_exists, 0, 1),
    "all": (_all, 1, 1),
    "allTrue": (_booleans(True, every=True), 0, 0),
    "anyTrue": (_booleans(True, every=False), 0, 0),
    "allFalse": (_booleans(False, every=True), 0, 0),
    "anyFalse": (_booleans(False, every=False), 0, 0),
    "not": (_not, 0, 0),
    "subsetOf": (_subset_of, 1, 1),
    "supersetOf": (_superset_of, 1, 1),
    "count": (lambda scope, focus: [len(focus)], 0, 0),
    "distinct": (lambda scope, focus: distinct(focus), 0, 0),
    "isDistinct": (_is_distinct, 0, 0),
    "hasValue": (_has_value, 0, 0),
    "getValue": (_get_value, 0, 0),
    "where": (_where, 1, 1),
    "select": (_select, 1, 1),
    "repeat": (_repeat, 1, 1),
    "aggregate": (_aggregate, 1, 2),
    "single": (_single, 0, 0),
    "first": (lambda scope, focus: focus[:1], 0, 0),
    "last": (lambda scope, focus: focus[-1:], 0, 0),
    "tail": (lambda scope, focus: focus[1:], 0, 0),
    "skip": (_skip, 1, 1),
    "take": (_take, 1, 1),
    "intersect": (_intersect, 1, 1),
    "exclude": (_exclude, 1, 1),
    "union": (_union, 1, 1),
    "combine": (_combine, 1, 1),
    "iif": (_iif, 2, 3),
    **{f"to{name}": (_conversion(convert), 0, 0) for name, convert in _CONVERSIONS.items()},
    **{f"convertsTo{name}": (_converts(convert), 0, 0) for name, convert in _CONVERSIONS.items()},
    "indexOf": (_on_text(lambda text, part: text.find(part)), 1, 1),
    "substring": (_substring, 1, 2),
    "startsWith": (_on_text(lambda text, part: text.startswith(part)), 1, 1),
    "endsWith": (_on_text(lambda text, part: text.endswith(part)), 1, 1),
    "contains": (_on_text(lambda text, part: part in text), 1, 1),
    "upper": (_on_text(str.upper), 0, 0),
    "lower": (_on_text(str.lower), 0, 0),
    "trim": (_on_text(str.strip), 0, 0),
    "replace": (_on_text(lambda text, old, new: text.replace(old, new)), 2, 2),
    "length": (_on_text(len), 0, 0),
    "matches": (_on_text(_matches), 1, 1),
    "replaceMatches": (_on_text(_replace_matches), 2, 2),
    "split": (_split, 1, 1),
    "join": (_join, 0, 1),
    "toChars": (_to_chars, 0, 0),
    "abs": (_on_number(abs), 0, 0),
    "ceiling": (_on_number(math.ceil), 0, 0),
    "floor": (_on_number(math.floor), 0, 0),
    "truncate": (_on_number(math.trunc), 0, 0),
    "round": (_on_number(_round), 0, 1),
    "sqrt": (_on_number(lambda x: Decimal(x).sqrt()), 0, 0),
    "exp": (_on_number(lambda x: Decimal(x).exp()), 0, 0),
    "ln": (_on_number(lambda x: Decimal(x).ln()), 0, 0),
    "log": (_on_number(lambda x, base: Decimal(x).ln() / Decimal(base).ln()), 1, 1),
    "power": (_on_number(_power), 1, 1),
    "children": (_children, 0, 0),
    "descendants": (_descendants, 0, 0),
    "now": (_now, 0, 0),
    "today": (_today, 0, 0),
    "timeOfDay": (_time_of_day, 0, 0),
    "extension": (_extension, 1, 1),
    "resolve": (_resolve, 0, 0),
    "htmlChecks": (_html_checks, 0, 0),
    "trace": (_trace, 1, 2),
}

# In the standard, but needing terminology or profiles.
NOT_OFFERED = frozenset(
    {
        "memberOf",
        "subsumes",
        "subsumedBy",
        "conformsTo",
        "elementDefinition",
        "slice",
        "checkModifiers",
    }
)
