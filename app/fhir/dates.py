"""What FHIR dates stand for: half-open UTC intervals in microseconds since 1970.

R4 datatypes.html#dateTime (date, dateTime, instant, Period, Timing), search.html#date and
search.html#prefix. Precision gives the length: "2019" is a year long, a second one second, a
fraction one unit of its last digit. A Timing counts by its outer limits; its repeat rule (but for
`boundsPeriod`) takes no part in search.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from typing import Any

from app.errors import Invalid

OPEN_LOW = -(1 << 61)  # the start of a Period that has none
OPEN_HIGH = 1 << 61  # the end of a Period that has none

PREFIXES = frozenset(("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"))

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.toordinal()
_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?", re.ASCII)
_TIME = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::(\d\d)(?:\.(\d+))?)?"
    r"(?:Z|[+-](?:0\d|1[0-3]):[0-5]\d|[+-]14:00)?",
    re.ASCII,
)
_USUAL = ("-", "-", "T", ":", ":")
_NOT_A_DATE = "not a date, dateTime or instant"


def bounds(value: str, zone: tzinfo) -> tuple[int, int]:
    """Return the half-open UTC interval (in microseconds) of a date, dateTime or instant.

    "2019-03" is [2019-03-01T00:00, 2019-04-01T00:00) in `zone`; a value that carries an offset
    ignores `zone`. Minutes without seconds are allowed in search values only (the validator
    refuses them in resources). R4 search.html#date.

    Raises Invalid when `value` is none of them or not in the calendar.
    """
    size = len(value)
    if size <= 10:
        return _days(value, zone)
    if (size == 20 and value[19] == "Z") or (size == 25 and value[19] in "+-"):
        # The usual instant, without the regular expression: a third of the cost.
        shape = value[4], value[7], value[10], value[13], value[16]
        if shape == _USUAL and value[20:22] < "14" and value[17] != "6":
            try:
                since = datetime.fromisoformat(value) - _EPOCH
            except ValueError as exc:
                raise Invalid(_NOT_A_DATE) from exc
            low = since.days * _DAY + since.seconds * _SECOND
            return low, low + _SECOND
    match = _TIME.fullmatch(value)
    if match is None:
        raise Invalid(_NOT_A_DATE)
    second, fraction = match.groups()
    leap = second == "60"  # allowed by the type: the first second of the next minute
    try:
        at = datetime.fromisoformat(f"{value[:17]}59{value[19:]}" if leap else value)
    except ValueError as exc:
        raise Invalid(_NOT_A_DATE) from exc
    since = (at if at.tzinfo else at.replace(tzinfo=zone)) - _EPOCH
    low = since.days * _DAY + since.seconds * _SECOND + since.microseconds
    if leap:
        low += _SECOND
    if fraction:
        return low, low + 10 ** max(0, 6 - len(fraction))
    return low, low + (_SECOND if second else 60 * _SECOND)


@lru_cache(maxsize=8192)
def _days(value: str, zone: tzinfo) -> tuple[int, int]:
    """Return the interval of a value without a time: birth dates repeat, hence the cache."""
    match = _DATE.fullmatch(value)
    if match is None:
        raise Invalid(_NOT_A_DATE)
    year, month, day = match.groups()
    try:
        first = date(int(year), int(month or 1), int(day or 1))
    except ValueError as exc:
        raise Invalid(_NOT_A_DATE) from exc
    last = first.toordinal()
    if month is None:
        last = date(first.year, 12, 31).toordinal()
    elif day is None:
        last += _days_in_month(first) - 1
    return _midnight(first.toordinal(), zone), _midnight(last + 1, zone)


def _days_in_month(first: date) -> int:
    if first.month == 12:
        return 31
    return first.replace(month=first.month + 1).toordinal() - first.toordinal()


def _midnight(ordinal: int, zone: tzinfo) -> int:
    """Return the UTC microseconds at which day `ordinal` begins in `zone`.

    The end of 9999-12-31 is no datetime in Python: it takes the offset of its last day.
    """
    local = datetime.fromordinal(min(ordinal, date.max.toordinal())).replace(tzinfo=zone)
    offset = local.utcoffset()
    shift = offset.days * _DAY + offset.seconds * _SECOND if offset else 0
    return (ordinal - _EPOCH_DAY) * _DAY - shift


def period_bounds(period: Mapping[str, Any], zone: tzinfo) -> tuple[int, int] | None:
    """Return the interval of a Period, open where start or end is absent; None without both."""
    start, end = period.get("start"), period.get("end")
    if start is None and end is None:
        return None
    low = OPEN_LOW if start is None else bounds(start, zone)[0]
    high = OPEN_HIGH if end is None else bounds(end, zone)[1]
    return low, max(high, low + 1)


def timing_bounds(timing: Mapping[str, Any], zone: tzinfo) -> tuple[int, int] | None:
    """Return the outer limits of a Timing: its events and `repeat.boundsPeriod`; else None."""
    found = [bounds(event, zone) for event in timing.get("event", ()) if event is not None]
    limits = period_bounds(timing.get("repeat", {}).get("boundsPeriod", {}), zone)
    if limits:
        found.append(limits)
    if not found:
        return None
    return min(low for low, _ in found), max(high for _, high in found)


def parse_date_search(text: str, zone: tzinfo) -> tuple[str, int, int]:
    """Return (prefix, low, high) of a search value such as `ge2019-03`; no prefix is eq.

    Raises Invalid when the rest is not a date.
    """
    prefix = text[:2]
    if prefix in PREFIXES:
        return prefix, *bounds(text[2:], zone)
    return "eq", *bounds(text, zone)


def around(low: int, high: int, now: int) -> tuple[int, int]:
    """Return the interval of prefix `ap`: wider on both sides by 10 % of the distance to now."""
    distance = max(low - now, now - high, 0)
    return low - distance // 10, high + distance // 10
