"""Numbers as search compares them: the digits of a search value say how precise it is.

R4 search.html#number, search.html#quantity and search.html#prefix. Only eq, ne and ap look at the
interval; the other prefixes compare with the value itself. Everything here is exact (Decimal).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from app.errors import Invalid
from app.fhir.dates import PREFIXES

# A sane limit: the difference of two exponents is work for every comparison.
_MAX_EXPONENT = 400
_NUMBER = re.compile(
    r"([+-]?(?:\d{1,60}(?:\.\d{1,60})?|\.\d{1,60}))(?:[eE]([+-]?\d{1,4}))?", re.ASCII
)
_HALF = Decimal("0.5")
_TENTH = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class NumberSearch:
    """One number asked for: `value` for the exact prefixes, [low, high) for eq, ne and ap."""

    prefix: str
    value: Decimal
    low: Decimal
    high: Decimal


def parse_number(text: str) -> tuple[Decimal, Decimal]:
    """Return (value, half a unit of its last digit): "100" is (100, 0.5), "5.4e0" as "5.4".

    R4 gives [95, 105) for 1e2: with an exponent a mantissa without a point counts as if it
    ended in ".0".

    Raises Invalid when `text` is no number or its exponent is beyond reason.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise Invalid("not a number")
    mantissa, exponent = match.groups()
    number = Decimal(mantissa)
    places = number.as_tuple().exponent
    unit = int(places)
    if exponent is None:
        return number, _HALF.scaleb(unit)
    shift = int(exponent)
    if abs(shift) > _MAX_EXPONENT:
        raise Invalid("the exponent of the number is too large")
    return number.scaleb(shift), _HALF.scaleb(min(unit, -1) + shift)


def parse_number_search(text: str) -> NumberSearch:
    """Return what a search value such as `100`, `lt5.4` or `ap1e2` asks for; no prefix is eq.

    `ap` means within ten percent (and never less than eq). Raises Invalid.
    """
    prefix, rest = (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)
    value, half = parse_number(rest)
    if prefix == "ap":
        half = max(half, abs(value) * _TENTH)
    return NumberSearch(prefix, value, value - half, value + half)
