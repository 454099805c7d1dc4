"""Number and quantity parameters. R4 search.html#number, #quantity, #prefix.

A quantity is stored once, in the unit it was written in. The units seen with a parameter are
known (`unit`), so a search looks in each of them that it can be compared with.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

from app.errors import Invalid
from app.fhir import ucum
from app.fhir.numbers import NumberSearch, parse_number_search
from app.fhir.searchparams import Param
from app.store.search.conditions import Condition, Nothing, Rows, either
from app.store.search.context import Context, plain
from app.store.search.parse import alternatives, split, unescape

UCUM = "http://unitsofmeasure.org"

# What the stored value [L, H] (equal but for a Range) has to be to v or to [a, b).
_TESTS = {
    "eq": "L>=a AND H<b",
    "ne": "NOT (L>=a AND H<b)",
    "gt": "H>v",
    "lt": "L<v",
    "ge": "H>=v",
    "le": "L<=v",
    "sa": "L>v",
    "eb": "H<v",
    "ap": "H>=a AND L<=b",
}


def number(context: Context, param: Param, modifier: str | None, value: str) -> Condition:
    """Return what a number parameter asks for. Raises Invalid."""
    tests: list[str] = []
    params: list[Any] = []
    for each in alternatives(value):
        asked = _parse(param, unescape(each))
        for row in plain(param):
            test, more = _test(asked, Fraction(1), Fraction(0))
            tests.append(f"(#.p=? AND #.u=0 AND {test})")
            params += [context.scope(row), *more]
    return Rows("qty", either(tests), params) if tests else Nothing()


def quantity(context: Context, param: Param, modifier: str | None, value: str) -> Condition:
    """Return what a quantity parameter asks for: `v`, `v|s|c` or `v||c`. Raises Invalid."""
    tests: list[str] = []
    params: list[Any] = []
    for each in alternatives(value):
        parts = [unescape(part) for part in split(each, "|")]
        if len(parts) not in (1, 3):
            raise Invalid("a quantity is number or number|system|code", at=f"http.{param.code}")
        asked = _parse(param, parts[0])
        system, code = (parts[1], parts[2]) if len(parts) == 3 else ("", "")
        for row in plain(param):
            for unit, factor, offset in _units(context, row, system, code):
                test, more = _test(asked, factor, offset)
                tests.append(f"(#.p=? AND #.u=? AND {test})")
                params += [context.scope(row), unit, *more]
    return Rows("qty", either(tests), params) if tests else Nothing()


def _parse(param: Param, text: str) -> NumberSearch:
    try:
        return parse_number_search(text)
    except Invalid as exc:
        raise Invalid("not a number", at=f"http.{param.code}") from exc


def _test(asked: NumberSearch, factor: Fraction, offset: Fraction) -> tuple[str, list[float]]:
    """Return the test with the asked number turned into the stored unit: x * factor + offset."""

    def turned(number: Decimal) -> float:
        exact = Fraction(number) * factor + offset
        try:
            return float(exact)
        except OverflowError:  # beyond every stored value
            return math.inf if exact > 0 else -math.inf

    bound = {"v": asked.value, "a": asked.low, "b": asked.high}
    text, params = [], []
    for part in _TESTS[asked.prefix]:
        text.append({"L": "#.lo", "H": "#.hi"}.get(part, "?" if part in bound else part))
        if part in bound:
            params.append(turned(bound[part]))
    return "".join(text), params


def _units(
    context: Context, param: Param, system: str, code: str
) -> list[tuple[int, Fraction, Fraction]]:
    """Return the units to look in: (number, factor, offset) from the asked unit to the stored."""
    rows = context.db.all("SELECT u,system,code,unit FROM unit WHERE p=?", (context.scope(param),))
    same = Fraction(1), Fraction(0)
    if not code and not system:
        return [(row[0], *same) for row in rows]
    asked = ucum.canonical(code) if system in ("", UCUM) and code else None
    found = []
    for number_, unit_system, unit_code, unit_text in rows:
        if system:
            match = unit_system == system and (not code or unit_code == code)
        else:
            match = code in (unit_code, unit_text)
        if match:
            found.append((number_, *same))
        elif asked is not None and system == UCUM and unit_system == UCUM:
            stored = ucum.canonical(unit_code)
            if stored is not None and stored.unit == asked.unit:
                found.append(
                    (
                        number_,
                        asked.factor / stored.factor,
                        (asked.offset - stored.offset) / stored.factor,
                    )
                )
    return found
