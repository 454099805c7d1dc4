"""Date parameters: stored and searched values are intervals. R4 search.html#date, #prefix.

The primary date of a type lives in `d` (see `tables.py`); a `dt` row decides where `d` alone does
not say the whole interval. All other dates live in `dt`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from app.errors import Invalid
from app.fhir import searchparams
from app.fhir.dates import around, parse_date_search
from app.fhir.searchparams import Param
from app.store.entries import D_MISSING, LONG, LONG_US
from app.store.search.conditions import Any_, Condition, Nothing, Primary, Row, Rows, either
from app.store.search.context import Context, plain
from app.store.search.parse import alternatives

_LOW = "(#.d/2)"
_HIGH = "(#.d/2+CASE WHEN (#.d/2)%1000000=0 THEN 1000000 ELSE 1000 END)"
_D_MIN, _D_MAX = -(1 << 62), 1 << 62
_OVERLAPS = "overlaps"
OWN_MODIFIERS = frozenset({_OVERLAPS})  # what `_filter` needs for po: `ap` without widening

# What the stored interval [L, H) has to be to the searched one [a, b).
_TESTS = {
    "eq": "L>=a AND H<=b",
    "ne": "NOT (L>=a AND H<=b)",
    "gt": "H>b",
    "lt": "L<a",
    "ge": "(H>b OR (L>=a AND H<=b))",
    "le": "(L<a OR (L>=a AND H<=b))",
    "sa": "L>=b",
    "eb": "H<=a",
    "ap": "H>a AND L<b",
}


def condition(context: Context, param: Param, modifier: str | None, value: str) -> Condition:
    """Return what a date parameter asks for. Raises Invalid."""
    found: list[Condition] = []
    for each in alternatives(value):
        prefix, low, high = _parse(context, param, each)
        if modifier == _OVERLAPS:
            prefix = "ap"
        found += [_one(context, row, prefix, low, high) for row in plain(param)]
    if not found:
        return Nothing()
    return found[0] if len(found) == 1 else Any_(found)


def last_updated(context: Context, value: str) -> Condition:
    """Return what `_lastUpdated` asks for: instants of one millisecond."""
    tests: list[str] = []
    params: list[Any] = []
    for each in alternatives(value):
        try:
            prefix, low, high = _asked(context, each)
        except Invalid as exc:
            raise Invalid(str(exc), at="http._lastUpdated") from exc
        test, more = _test(prefix, low, high, "@.lu", "(@.lu+1000)")
        tests.append(test)
        params += more
    return Row(either(tests) if tests else "1=0", params)


def _parse(context: Context, param: Param, text: str) -> tuple[str, int, int]:
    try:
        return _asked(context, text)
    except Invalid as exc:
        raise Invalid("not a date", at=f"http.{param.code}") from exc


def _asked(context: Context, text: str) -> tuple[str, int, int]:
    """Return prefix and interval of a searched date, for `ap` already widened."""
    prefix, low, high = parse_date_search(text, context.zone)
    if prefix == "ap":
        low, high = around(low, high, context.now_us)
    return prefix, low, high


def _test(prefix: str, low: int, high: int, low_sql: str, high_sql: str) -> tuple[str, list[Any]]:
    """Return the test of a stored interval, with its parameters in order."""
    text, ends = _written(prefix, low_sql, high_sql)
    return text, [low if end == "a" else high for end in ends]


@lru_cache(maxsize=64)
def _written(prefix: str, low_sql: str, high_sql: str) -> tuple[str, str]:
    """Return the text of a test and which end of the searched interval each mark stands for."""
    parts = {"L": low_sql, "H": high_sql, "a": "?", "b": "?"}
    test = _TESTS[prefix]
    text = "".join(parts.get(part, part) for part in test)
    return text, "".join(part for part in test if part in "ab")


def _one(context: Context, param: Param, prefix: str, low: int, high: int) -> Condition:
    scope = context.scope(param)
    test, params = _test(prefix, low, high, "#.lo", "#.hi")
    rows = Rows("dt", f"#.p IN (?,?) AND {test}", [scope, scope | LONG, *params])
    primary = searchparams.primary_date(param.resource_type)
    if primary is None or primary.number != param.number:
        return rows
    fine, fine_params = _test(prefix, low, high, _LOW, _HIGH)
    exact = Row(f"#.d%2=0 AND {fine}", fine_params)
    coarse = _Coarse(rows)
    lower, near, upper = _range(prefix, low, high)
    return Primary(Any_([exact, coarse]), lower, near, upper, scope | LONG)


class _Coarse(Condition):
    """The interval is in `dt`, as the odd `d` says."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def sql(self, sql: Any, row: str) -> tuple[str, list[Any]]:
        text, params = self._rows.sql(sql, row)
        return f"{row}.d%2<>0 AND {row}.d<>{D_MISSING} AND {text}", params


def _range(prefix: str, low: int, high: int) -> tuple[int, int | None, int | None]:
    """Return bounds of `d` outside which nothing can match: lower, near, upper (see `Primary`)."""
    lower, near, upper = {
        "eq": (low, None, high),
        "ne": (None, None, None),
        "gt": (None, low - LONG_US, None),
        "ge": (None, low - LONG_US, None),
        "lt": (None, None, low),
        "le": (None, None, high),
        "sa": (high, None, None),
        "eb": (None, None, low),
        "ap": (None, low - LONG_US, high),
    }[prefix]
    return (
        _D_MIN if lower is None else max(2 * lower, _D_MIN),
        None if near is None else max(2 * near, _D_MIN),
        None if upper is None else min(2 * upper + 1, _D_MAX),
    )
