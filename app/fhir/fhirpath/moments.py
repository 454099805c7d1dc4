"""Dates, dateTimes and times as FHIRPath compares them: as far as both are known.

FHIRPath N1 section 6.1.1, 6.2 (comparison of different precision is empty) and 6.6 (arithmetic
with calendar durations).
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

_CLOCK = r"(\d\d)(?::(\d\d)(?::(\d\d(?:\.\d+)?))?)?"
_TIME = re.compile(f"T?{_CLOCK}", re.ASCII)
_DATE_TIME = re.compile(
    rf"(\d{{4}})(?:-(\d\d)(?:-(\d\d))?)?(?:T(?:{_CLOCK}(Z|[+-]\d\d:\d\d)?)?)?", re.ASCII
)
_DATE_PARTS = 3
_LIMITS = ((1, 9999), (1, 12), (1, 31), (0, 23), (0, 59), (0, 60))

# Calendar unit -> (months, seconds) it stands for.
_DURATIONS: dict[str, tuple[int, Decimal]] = {
    "year": (12, Decimal(0)),
    "month": (1, Decimal(0)),
    "week": (0, Decimal(604_800)),
    "day": (0, Decimal(86_400)),
    "hour": (0, Decimal(3_600)),
    "minute": (0, Decimal(60)),
    "second": (0, Decimal(1)),
    "millisecond": (0, Decimal("0.001")),
    "s": (0, Decimal(1)),
    "ms": (0, Decimal("0.001")),
}


@dataclass(frozen=True, slots=True)
class Moment:
    """kind: date, dateTime or time. parts: year to second (time: hour to second), as given.

    offset: minutes east of UTC, None if not said.
    """

    kind: str
    parts: tuple[int | Decimal, ...]
    offset: int | None = None

    def compare(self, other: Moment) -> int | None:
        """Return -1, 0 or 1; None when the precision does not let one say."""
        if (self.kind == "time") != (other.kind == "time"):
            return None
        one, two = self, other
        if one.offset is not None and two.offset is not None:
            one, two = one.in_utc(), two.in_utc()
        for mine, theirs in zip(one.parts, two.parts, strict=False):
            if mine != theirs:
                return -1 if mine < theirs else 1
        if len(one.parts) != len(two.parts) or (one.offset is None) != (two.offset is None):
            return None
        return 0

    def in_utc(self) -> Moment:
        """Return the same moment at offset 0; one without hours stays as it is."""
        if not self.offset or len(self.parts) <= _DATE_PARTS:
            return self
        return self.plus(Decimal(-self.offset), "minute")._at_offset(0)

    def _at_offset(self, offset: int) -> Moment:
        return Moment(self.kind, self.parts, offset)

    def plus(self, amount: Decimal, unit: str) -> Moment:
        """Return the moment moved by a duration, at the same precision.

        Raises ValueError for a unit that is no calendar duration, or beyond the calendar.
        """
        if unit not in _DURATIONS:
            raise ValueError("not a calendar duration")
        months, seconds = _DURATIONS[unit]
        if self.kind == "time":
            return self._time_plus(amount * seconds)
        if months:
            return self._plus_months(int(amount) * months)
        return self._plus_seconds(amount * seconds)

    def _plus_months(self, months: int) -> Moment:
        year, month, day = (int(p) for p in (*self.parts, 1, 1)[:_DATE_PARTS])
        year, month = divmod(year * 12 + month - 1 + months, 12)
        if not 1 <= year <= 9999:
            raise ValueError("beyond the calendar")
        month += 1
        day = min(day, monthrange(year, month)[1])
        moved = (year, month, day)[: len(self.parts)]
        return Moment(self.kind, (*moved, *self.parts[_DATE_PARTS:]), self.offset)

    def _plus_seconds(self, seconds: Decimal) -> Moment:
        known = len(self.parts)
        filled = [*self.parts, *(1, 1, 1, 0, 0, Decimal(0))[known:]]
        year, month, day, hour, minute = (int(p) for p in filled[:5])
        second = Decimal(filled[5])
        whole = int(seconds // 1)
        second += seconds - whole
        try:
            at = datetime(year, month, day, hour, minute, tzinfo=UTC) + timedelta(
                seconds=whole + int(second)
            )
        except OverflowError as exc:
            raise ValueError("beyond the calendar") from exc
        fraction = second - int(second)
        last = at.second + fraction if fraction else at.second
        moved = (at.year, at.month, at.day, at.hour, at.minute, last)[:known]
        return Moment(self.kind, moved, self.offset)

    def _time_plus(self, seconds: Decimal) -> Moment:
        hour, minute, second = (Decimal(p) for p in (*self.parts, 0, 0)[:3])
        total = (hour * 3600 + minute * 60 + second + seconds) % 86_400
        minutes, second = divmod(total, 60)
        hours, minutes = divmod(minutes, 60)
        return Moment("time", (int(hours), int(minutes), second)[: len(self.parts)])

    def __str__(self) -> str:
        texts = [
            f"{p:02}" if isinstance(p, int) else f"{int(p):02}{str(p % 1)[1:] if p % 1 else ''}"
            for p in self.parts
        ]
        if self.kind == "time":
            return ":".join(texts)
        texts[0] = texts[0].zfill(4)
        day, clock = "-".join(texts[:_DATE_PARTS]), ":".join(texts[_DATE_PARTS:])
        return f"{day}T{clock}{_zone(self.offset)}" if clock else day


def _zone(offset: int | None) -> str:
    if offset is None:
        return ""
    hours, minutes = divmod(abs(offset), 60)
    return f"{'-' if offset < 0 else '+'}{hours:02}:{minutes:02}" if offset else "Z"


def parse_moment(text: str, kind: str) -> Moment | None:
    """Return a date, dateTime (or instant) or time; None if the text is none."""
    match = (_TIME if kind == "time" else _DATE_TIME).fullmatch(text)
    if match is None:
        return None
    *fields, zone = (*match.groups(), None) if kind == "time" else match.groups()
    known = [f for f in fields if f is not None]
    if fields[: len(known)] != known:  # hours without a day
        return None
    parts = tuple(Decimal(f) if "." in f else int(f) for f in known)
    limits = _LIMITS[_DATE_PARTS:] if kind == "time" else _LIMITS
    if any(not low <= part <= high for part, (low, high) in zip(parts, limits, strict=False)):
        return None
    if kind != "time" and len(parts) >= _DATE_PARTS:
        year, month, day = (int(p) for p in parts[:_DATE_PARTS])
        if day > monthrange(year, month)[1]:
            return None
    return Moment(kind, parts, _offset(zone))


def _offset(zone: str | None) -> int | None:
    if zone is None:
        return None
    if zone == "Z":
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[4:])
    return -minutes if zone[0] == "-" else minutes
