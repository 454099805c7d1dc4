"""What a trigger event means for patients and visits that are known already (chapter 3).

A visit goes from planned over in-progress to finished; only the events made for it take a step
back, and each undoes just its own: A11 the admission, A12 the transfer, A13 the discharge, A38
the pre-admission, A27 the pending admission. An update (A08, a result that mentions the visit)
states everything again and may move a status forward, never back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from app.feeds.hl7v2.er7 import Message
from app.feeds.merge import Json, Special

# Events that say the status of a visit; of all others it is only implied.
_STATUS_EVENTS = frozenset(
    ("A01", "A03", "A04", "A05", "A06", "A07", "A10", "A11", "A13", "A14", "A21", "A22", "A23",
     "A27", "A38", "A52", "A53")
)  # fmt: skip
_RANK = {
    status: rank
    for rank, statuses in enumerate(
        (
            ("unknown",),
            ("planned",),
            ("arrived", "triaged"),
            ("in-progress", "onleave"),
            ("finished",),
            ("cancelled", "entered-in-error"),
        )
    )
    for status in statuses
}
_CANCEL_TRANSFER = "A12"
_UNLINK = "A37"

# Elements that an event takes back.
_TAKEN_BACK: Mapping[tuple[str, str], frozenset[str]] = {
    ("A13", "Encounter"): frozenset(("period.end",)),
}

_OF_FHIR = "extension:http://hl7.org/fhir/StructureDefinition/patient-"
_OURS = "extension:https://yilian.example/fhir/StructureDefinition/patient-"

# Fields whose null ("") removes an element of a resource, and of which items (use, kind, url).
_NULLS: tuple[tuple[str, str, int, str], ...] = (
    ("Patient", "PID", 5, "name"),
    ("Patient", "PID", 6, f"{_OF_FHIR}mothersMaidenName"),
    ("Patient", "PID", 7, "birthDate"),
    ("Patient", "PID", 8, "gender"),
    ("Patient", "PID", 10, f"{_OURS}race"),
    ("Patient", "PID", 11, "address"),
    ("Patient", "PID", 13, "telecom:home"),
    ("Patient", "PID", 14, "telecom:work"),
    ("Patient", "PID", 15, "communication"),
    ("Patient", "PID", 16, "maritalStatus"),
    ("Patient", "PID", 17, f"{_OF_FHIR}religion"),
    ("Patient", "PID", 22, f"{_OURS}ethnic-group"),
    ("Patient", "PID", 23, f"{_OF_FHIR}birthPlace"),
    ("Patient", "PID", 24, "multipleBirth"),
    ("Patient", "PID", 25, "multipleBirth"),
    ("Patient", "PID", 26, f"{_OF_FHIR}citizenship"),
    ("Patient", "PID", 27, f"{_OURS}veteran-status"),
    ("Patient", "PID", 28, f"{_OF_FHIR}nationality"),
    ("Patient", "PID", 29, "deceased"),
    ("Patient", "PID", 30, "deceased"),
    ("Patient", "PID", 31, f"{_OURS}identity-unknown"),
    ("Patient", "PD1", 4, "generalPractitioner"),
    ("Patient", "PD1", 6, f"{_OF_FHIR}disability"),
    ("Patient", "PD1", 14, f"{_OF_FHIR}congregation"),
    ("Encounter", "PV1", 3, "location"),
    ("Encounter", "PV1", 4, "type"),
    ("Encounter", "PV1", 5, "hospitalization.preAdmissionIdentifier"),
    ("Encounter", "PV1", 7, "participant:ATND"),
    ("Encounter", "PV1", 8, "participant:REF"),
    ("Encounter", "PV1", 9, "participant:CON"),
    ("Encounter", "PV1", 10, "serviceType"),
    ("Encounter", "PV1", 13, "hospitalization.reAdmission"),
    ("Encounter", "PV1", 14, "hospitalization.admitSource"),
    ("Encounter", "PV1", 15, "hospitalization.specialArrangement"),
    ("Encounter", "PV1", 16, "hospitalization.specialCourtesy"),
    ("Encounter", "PV1", 17, "participant:ADM"),
    ("Encounter", "PV1", 36, "hospitalization.dischargeDisposition"),
    ("Encounter", "PV1", 37, "hospitalization.destination"),
    ("Encounter", "PV1", 38, "hospitalization.dietPreference"),
    ("Encounter", "PV1", 39, "serviceProvider"),
    ("Encounter", "PV1", 44, "period.start"),
    ("Encounter", "PV1", 45, "period.end"),
    ("Encounter", "PV2", 3, "reasonCode"),
    ("Encounter", "PV2", 11, "length"),
    ("Encounter", "PV2", 25, "priority"),
)


class Lifecycle:
    """The lifecycle rules for one message: its event, and when that was."""

    def __init__(self, event: str, at: str | None) -> None:
        """at: the event's time as a FHIR dateTime, for the end of what it ends."""
        self.event = event
        self.at = at
        self._visit: Mapping[str, Special] = {
            "status": partial(_status, event in _STATUS_EVENTS),
            "location": partial(_locations, event, at),
        }

    def specials(self, type_name: str) -> Mapping[str, Special]:
        return self._visit if type_name == "Encounter" else {}

    def finish(self, type_name: str, known: Json | None, after: Json) -> None:
        """Keep the former class of a visit whose class changed (A06, A07)."""
        if type_name != "Encounter" or known is None:
            return
        former, now = known.get("class") or {}, after.get("class") or {}
        if former.get("code") in (None, now.get("code")):
            return
        history = list(known.get("classHistory") or ())
        period = {"end": self.at} if self.at else {}
        if start := _class_start(history, former, (known.get("period") or {}).get("start")):
            period = {"start": start, **period}
        if period:
            after["classHistory"] = [*history, {"class": former, "period": period}]


def _class_start(history: list[Json], former: Json, admitted: str | None) -> str | None:
    """Return since when a visit has been of its class: since the one before ended.

    One that was told when it began, and has no end, leaves the history: it comes again with both.
    """
    if not history:
        return admitted
    last = history[-1]
    period = last.get("period") or {}
    if "end" not in period and (last.get("class") or {}).get("code") == former.get("code"):
        history.pop()
        return period.get("start") or admitted
    return period.get("end") or admitted


def removed(message: Message, patients: Iterable[str] = ()) -> dict[str, frozenset[str]]:
    """Return the elements that the message takes away, by resource type.

    patients: the ids of the patients it is about; A37 takes the links between them away.
    """
    out: dict[str, set[str]] = {}
    if message.type.event == _UNLINK:
        out["Patient"] = {f"link:Patient/{id_}" for id_ in patients}
    for (event, owner), elements in _TAKEN_BACK.items():
        if event == message.type.event:
            out.setdefault(owner, set()).update(elements)
    for owner, segment_id, number, element in _NULLS if message.has_null else ():
        segment = message.first(segment_id)
        if segment is not None and segment.is_null(number):
            out.setdefault(owner, set()).add(element)
    return {owner: frozenset(elements) for owner, elements in out.items()}


def _status(explicit: bool, known: Any, said: Any, newer: bool) -> tuple[Any, bool]:
    if known is None:
        return said, explicit
    if explicit:
        return (said, True) if newer else (known, False)
    return (said if _RANK.get(said, 0) > _RANK.get(known, 0) else known), False


def _locations(event: str, at: str | None, known: Any, said: Any, newer: bool) -> tuple[Any, bool]:
    """Return where a visit was and is: what was active before ends when something else is.

    A cancelled transfer (A12) was none: the bed it led to is forgotten.
    """
    have = list(known or ())
    if not newer:
        places = {_place(one) for one in have}
        past = [one for one in said if _place(one) not in places]
        return [*have, *(_ended(one, None) for one in past)], False
    places = {_place(one) for one in said}
    moved = any(one.get("status", "active") == "active" for one in said)
    kept = []
    for one in have:
        if _place(one) in places:
            continue
        if moved and one.get("status", "active") == "active":
            if event == _CANCEL_TRANSFER:
                continue
            one = _ended(one, at)
        kept.append(one)
    return [*said, *kept], True


def _place(location: Json) -> str:
    target = location.get("location") or {}
    return str(target.get("reference") or target.get("display"))


def _ended(location: Json, at: str | None) -> Json:
    if location.get("status", "active") != "active":
        return location
    ended = {**location, "status": "completed"}
    if at and "end" not in (location.get("period") or {}):
        ended["period"] = {**(location.get("period") or {}), "end": at}
    return ended
