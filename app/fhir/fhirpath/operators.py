"""The operators of FHIRPath over collections (FHIRPath N1 section 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, DivisionByZero, InvalidOperation

from app.errors import Invalid
from app.fhir.fhirpath.moments import Moment
from app.fhir.fhirpath.values import (
    Amount,
    Collection,
    Item,
    equal,
    key,
    scalar,
)

Operator = Callable[[Collection, Collection], Collection]


def single(items: Collection) -> Item | None:
    """Return the system value of the only item, None of an empty collection.

    Raises Invalid for several items (N1 section 4.5, singleton evaluation).
    """
    if not items:
        return None
    if len(items) > 1:
        raise Invalid("FHIRPath: one value expected where there are several", code="invariant")
    return scalar(items[0])


def truth(items: Collection) -> bool | None:
    """Return a collection as a boolean; any single item that is no boolean counts as true."""
    if not items:
        return None
    value = single(items)
    if value is None:
        return None
    return value if isinstance(value, bool) else True


def distinct(items: Iterable[Item]) -> Collection:
    """Return the items without repeats, in order."""
    found: dict[object, Item] = {}
    for item in items:
        found.setdefault(key(item), item)
    return list(found.values())


def _tri(value: bool | None) -> Collection:
    return [] if value is None else [value]


# --- equality and order --------------------------------------------------------------------------


def _equals(left: Collection, right: Collection) -> bool | None:
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    verdicts = [equal(a, b) for a, b in zip(left, right, strict=True)]
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _similar(one: Item, other: Item) -> bool:
    """`~` of two items: text without case and white space, decimals as precise as the coarser."""
    a, b = scalar(one), scalar(other)
    if isinstance(a, str) and isinstance(b, str):
        return " ".join(a.casefold().split()) == " ".join(b.casefold().split())
    if isinstance(a, Decimal) and isinstance(b, Decimal | int) and not isinstance(b, bool):
        places = max(_exponent(a), _exponent(Decimal(b)))
        unit = Decimal(1).scaleb(places)
        return a.quantize(unit) == Decimal(b).quantize(unit)
    if isinstance(a, Moment) and isinstance(b, Moment):
        return a.compare(b) == 0
    return equal(one, other) is True


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def equivalent(left: Collection, right: Collection) -> bool:
    """`~`: the same items in any order; two empty collections are equivalent."""
    if len(left) != len(right):
        return False
    rest = list(right)
    for item in left:
        match = next((i for i, other in enumerate(rest) if _similar(item, other)), None)
        if match is None:
            return False
        del rest[match]
    return True


def _order(left: Collection, right: Collection) -> int | None:
    a, b = single(left), single(right)
    if a is None or b is None:
        return None
    if isinstance(a, Moment) and isinstance(b, Moment):
        return a.compare(b)
    if isinstance(a, Amount) and isinstance(b, Amount):
        return a.compare(b)
    if isinstance(a, str) and isinstance(b, str):
        return (a > b) - (a < b)
    if _is_number(a) and _is_number(b):
        return (a > b) - (a < b)  # type: ignore[operator]
    raise Invalid("FHIRPath: values that have no order are compared", code="invariant")


def _is_number(value: object) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _comparison(holds: Callable[[int], bool]) -> Operator:
    def compare(left: Collection, right: Collection) -> Collection:
        order = _order(left, right)
        return [] if order is None else [holds(order)]

    return compare


def contains(items: Collection, wanted: Collection) -> Collection:
    """Say whether the collection has the one item wanted (N1 section 6.4)."""
    if not wanted:
        return []
    if len(wanted) > 1:
        raise Invalid("FHIRPath: one value expected where there are several", code="invariant")
    return [any(equal(item, wanted[0]) for item in items)]


# --- arithmetic ----------------------------------------------------------------------------------


def _numbers(left: Collection, right: Collection) -> tuple[int | Decimal, int | Decimal] | None:
    a, b = single(left), single(right)
    if a is None or b is None:
        return None
    if not (_is_number(a) and _is_number(b)):
        raise Invalid("FHIRPath: arithmetic on what is no number", code="invariant")
    return a, b  # type: ignore[return-value]


def _plus(left: Collection, right: Collection) -> Collection:
    a, b = single(left), single(right)
    if a is None or b is None:
        return []
    if isinstance(a, str) and isinstance(b, str):
        return [a + b]
    if isinstance(a, Moment) and isinstance(b, Amount):
        return _moved(a, b, 1)
    if isinstance(a, Amount) and isinstance(b, Amount):
        return [Amount(a.value + b.value, a.unit)] if a.unit == b.unit else []
    pair = _numbers(left, right)
    return [pair[0] + pair[1]] if pair else []


def _minus(left: Collection, right: Collection) -> Collection:
    a, b = single(left), single(right)
    if isinstance(a, Moment) and isinstance(b, Amount):
        return _moved(a, b, -1)
    if isinstance(a, Amount) and isinstance(b, Amount):
        return [Amount(a.value - b.value, a.unit)] if a.unit == b.unit else []
    pair = _numbers(left, right)
    return [pair[0] - pair[1]] if pair else []


def _moved(moment: Moment, by: Amount, sign: int) -> Collection:
    try:
        return [moment.plus(sign * by.value, by.unit)]
    except ValueError as exc:
        raise Invalid("FHIRPath: no date can be moved by that", code="invariant") from exc


def _arithmetic(calculate: Callable[[Decimal, Decimal], Decimal | int]) -> Operator:
    """Make an operator on numbers; dividing by zero gives an empty collection."""

    def operate(left: Collection, right: Collection) -> Collection:
        pair = _numbers(left, right)
        if pair is None:
            return []
        try:
            return [calculate(Decimal(pair[0]), Decimal(pair[1]))]
        except (DivisionByZero, InvalidOperation):
            return []

    return operate


def _times(left: Collection, right: Collection) -> Collection:
    pair = _numbers(left, right)
    return [pair[0] * pair[1]] if pair else []


def _modulo(left: Collection, right: Collection) -> Collection:
    pair = _numbers(left, right)
    if pair is None or pair[1] == 0:
        return []
    remainder = Decimal(pair[0]) % Decimal(pair[1])
    whole = isinstance(pair[0], int) and isinstance(pair[1], int)
    return [int(remainder) if whole else remainder]


def _concatenate(left: Collection, right: Collection) -> Collection:
    return ["".join(str(v) for v in (single(left), single(right)) if v is not None)]


# All but and, or, xor and implies, which need not look at both sides.
OPERATORS: Mapping[str, Operator] = {
    "=": lambda a, b: _tri(_equals(a, b)),
    "!=": lambda a, b: _tri(_not(_equals(a, b))),
    "~": lambda a, b: [equivalent(a, b)],
    "!~": lambda a, b: [not equivalent(a, b)],
    ">": _comparison(lambda order: order > 0),
    "<": _comparison(lambda order: order < 0),
    ">=": _comparison(lambda order: order >= 0),
    "<=": _comparison(lambda order: order <= 0),
    "|": lambda a, b: distinct([*a, *b]),
    "in": lambda a, b: contains(b, a),
    "contains": contains,
    "+": _plus,
    "-": _minus,
    "*": _times,
    "/": _arithmetic(lambda a, b: a / b),
    "div": _arithmetic(lambda a, b: int(a / b)),
    "mod": _modulo,
    "&": _concatenate,
}


def _and(left: bool | None, right: bool | None) -> bool | None:
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


def _or(left: bool | None, right: bool | None) -> bool | None:
    if left or right:
        return True
    return None if left is None or right is None else False


def _xor(left: bool | None, right: bool | None) -> bool | None:
    return None if left is None or right is None else left is not right


def _implies(left: bool | None, right: bool | None) -> bool | None:
    return _or(_not(left), right)


# Operator -> (three-valued logic, the left value that decides alone). N1 section 6.5.
LOGIC: Mapping[str, tuple[Callable[[bool | None, bool | None], bool | None], bool | None]] = {
    "and": (_and, False),
    "or": (_or, True),
    "xor": (_xor, None),
    "implies": (_implies, False),
}
