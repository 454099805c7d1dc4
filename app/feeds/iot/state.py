"""What several messages say about one thing, brought together in event time.

Two kinds of resources are told by more than one message. A reading may be corrected: a correction
is never undone by the message it corrects, however late that comes. A course (alarm, infusion)
carries the extension `event-time`, when the last event that shaped it happened: an older event
fills gaps and the start of the period, it never takes the state back.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any, Final

from app.feeds.iot import times
from app.fhir.ids import BASE
from app.mapping.run import Made, add_missing

EVENT_TIME: Final = f"{BASE}/StructureDefinition/event-time"

Body = dict[str, Any]


class State:
    """The resources of one call, by their ids; `get` may be given another place to look."""

    def __init__(self) -> None:
        self._bodies: dict[str, Body] = {}

    def merge(self, made: Made) -> None:
        """Bring what a message made together with what is known; its entries are changed."""
        for entry in made.entries:
            if entry.mention or entry.body is None:
                continue
            known = self._bodies.get(entry.id)
            if known is not None:
                entry.body = together(known, entry.body)
            self._bodies[entry.id] = entry.body


def together(known: Body, new: Body) -> Body:
    """Return what a resource is after `new` has come, `known` being what it was."""
    times_ = event_time(known), event_time(new)
    if times_[0] is not None and times_[1] is not None:
        later = new if times_[1] >= times_[0] else known
        return _course(later, known if later is new else new)
    if known.get("status") == "corrected" and new.get("status") != "corrected":
        return known
    return new


def event_time(body: Body) -> Any:
    """Return when the last event of a course happened (comparable), None for other resources."""
    for extension in body.get("extension", ()):
        if extension.get("url") == EVENT_TIME:
            moment = times.parse(extension.get("valueDateTime"), UTC)
            return moment.at if moment else None
    return None


def _course(later: Body, earlier: Body) -> Body:
    body = dict(later)
    period, other = later.get("effectivePeriod"), earlier.get("effectivePeriod")
    if isinstance(period, dict) and isinstance(other, dict):
        starts = [p["start"] for p in (period, other) if "start" in p]
        merged = {"start": min(starts, key=_at)} if starts else {}
        if "end" in period:
            merged["end"] = period["end"]
        body["effectivePeriod"] = merged
    rest = {name: value for name, value in earlier.items() if name not in _OF_THE_STATE}
    add_missing(body, rest)
    return body


# Elements that are what the latest event said, never joined with an earlier one's.
_OF_THE_STATE: Final = frozenset(
    ("status", "extension", "effectivePeriod", "component", "dosage", "meta", "issued", "note")
)


def _at(text: str) -> Any:
    moment = times.parse(text, UTC)
    return moment.at if moment else times.EPOCH
