"""The time, passed in wherever it matters, so that tests can say what time it is."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
    return from_us(us).isoformat(timespec="milliseconds")[:-6] + "Z"
