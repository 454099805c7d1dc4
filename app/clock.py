"""The time, passed in wherever it matters, so that tests can say what time it is."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_US = 86_400_000_000


class Clock(Protocol):
    """What parts that need the time ask for."""

    def now_us(self) -> int:
        """Return microseconds since 1970-01-01T00:00Z."""
        ...


class WallClock:
    """The machine's clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1000


class SetClock:
    """A clock that stands until it is moved: the twin for tests."""

    def __init__(self, at: datetime) -> None:
        self._us = to_us(at)

    def now_us(self) -> int:
        return self._us

    def move(self, by: timedelta) -> None:
        self._us += by // timedelta(microseconds=1)


def to_us(at: datetime) -> int:
    """Return the microseconds since 1970 of an aware datetime."""
    return (at - EPOCH) // timedelta(microseconds=1)


def from_us(us: int) -> datetime:
    """Return the aware UTC datetime of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=us)


def instant(us: int) -> str:
    """Return a FHIR instant in UTC with milliseconds: 2026-03-01T08:00:00.123Z."""
    days, rest = divmod(us, _DAY_US)
    minutes, rest = divmod(rest, 60_000_000)
    seconds, rest = divmod(rest, 1_000_000)
    return f"{_day(days)}{_MINUTES[minutes]}{seconds:02d}.{rest // 1000:03d}Z"


_MINUTES = [f"T{hour:02d}:{minute:02d}:" for hour in range(24) for minute in range(60)]


@lru_cache(maxsize=1024)
def _day(days: int) -> str:
    return (EPOCH + timedelta(days=days)).isoformat()[:10]
