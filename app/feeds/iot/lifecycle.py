"""What a device message means for resources that other messages told of before.

An alarm or an infusion is told by several messages: the latest event says the state, the earliest
the start. A reading is told once, or corrected: a correction counts as told a moment after what it
corrects, so that the corrected message never undoes it, however late it comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from app.clock import to_us
from app.feeds.iot import times
from app.feeds.iot.state import event_time
from app.feeds.merge import Json, Special

_COURSES: Final = frozenset(("Observation", "MedicationAdministration"))


class Lifecycle:
    """The rules for one message; `course`: it tells of something that begins and ends."""

    def __init__(self, *, course: bool) -> None:
        self._course = course

    def specials(self, type_name: str) -> Mapping[str, Special]:
        return _PERIOD if self._course and type_name in _COURSES else {}

    def finish(self, type_name: str, known: Json | None, after: Json) -> None:
        """Add nothing."""


def _period(known: Any, said: Any, newer: bool) -> tuple[Any, bool]:
    """Join two periods: the earlier start, and the end of the newer statement."""
    if not isinstance(known, dict) or not isinstance(said, dict):
        return (said, True) if newer or known is None else (known, False)
    starts = [period["start"] for period in (known, said) if "start" in period]
    joined = {"start": min(starts, key=_at)} if starts else {}
    end = (said if newer else known).get("end")
    return (joined | {"end": end} if end else joined), newer


_PERIOD: Final[Mapping[str, Special]] = {"effective": _period}


def _at(text: str) -> datetime:
    moment = times.parse(text, UTC)
    return moment.at if moment else times.EPOCH


def told(bodies: Iterable[Json], received_us: int) -> tuple[int, bool, bool]:
    """Return when what a message says happened (microseconds), whether that matters, and a course.

    The latest time of its resources; a correction one microsecond later; without any time when it
    was received. It matters for corrections and for courses: plain readings are told once.
    """
    latest, course, corrects = None, False, False
    for body in bodies:
        event = event_time(body)
        course = course or event is not None
        corrects = corrects or body.get("status") == "corrected"
        at = event or _time_of(body)
        if at is not None and (latest is None or at > latest):
            latest = at
    us = received_us if latest is None else to_us(latest)
    return us + corrects, course or corrects, course


def _time_of(body: Json) -> datetime | None:
    period = body.get("effectivePeriod") or {}
    text = body.get("effectiveDateTime") or period.get("end") or period.get("start")
    moment = times.parse(text, UTC) if text else None
    return moment.at if moment else None
