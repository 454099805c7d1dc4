"""What a message must hold to be applied: the content errors that are told to the sender.

HL7 v2.5.1 chapter 3 (PID and MRG in patient administration), 2.15.9.10 (MSH-10), 2.15.9.11 (MSH-11,
table 0103; N is of version 2.9).
"""

from __future__ import annotations

from collections.abc import Iterator

from app.errors import Invalid, Issue, NotSupported
from app.feeds.hl7v2.er7 import Message, Segment

_PROCESSING_IDS = frozenset(("", "P", "T", "D", "N"))
_MERGES = frozenset(("A18", "A34", "A35", "A36", "A39", "A40", "A41", "A42"))


def check(message: Message) -> None:
    """Raise Invalid with everything that is missing, NotSupported for a processing id (MSH-11)
    that is none."""
    if message.of_header(11).strip().upper() not in _PROCESSING_IDS:
        raise NotSupported("not a processing id", at="MSH-11", details="processing-id")
    missing = list(_missing(message))
    if missing:
        raise Invalid.of(missing)


def _missing(message: Message) -> Iterator[Issue]:
    if not message.control_id:
        yield _required("the control id is missing", "MSH-10")
    if message.type.code != "ADT":
        return
    patients = message.all("PID")
    if not patients:
        yield _required("the patient is missing", "PID")
    for patient in patients:
        if not any(_has(patient, number) for number in (3, 2, 4)):
            yield _required("no identifier of the patient", f"{patient.place}-3")
    if message.type.event in _MERGES:
        merged = message.all("MRG")
        if not merged:
            yield _required("the record to be merged is missing", "MRG")
        for segment in merged:
            at = f"{segment.place}-1"
            if not (_has(segment, 1) or _has(segment, 4)):
                yield _required("no identifier of the record to be merged", at)
            elif _number(segment, 1) in _survivors_numbers(message, segment):
                text = "a record cannot be merged with itself"
                yield Issue("error", "conflict", text, at, "circular-merge")


def _survivors_numbers(message: Message, merged: Segment) -> set[tuple[str, str]]:
    """Return number and authority of the patient before a MRG."""
    before = [one for one in message.all("PID") if one.index < merged.index]
    if not before:
        return set()
    patient = before[-1]
    return {_number(patient, 3, one.occurrence) for one in patient.repetitions(3)}


def _number(segment: Segment, field: int, repetition: int = 1) -> tuple[str, str]:
    return (
        segment.value(field, 1, repetition=repetition),
        segment.value(field, 4, repetition=repetition),
    )


def _has(segment: Segment, number: int) -> bool:
    return any(one.value(1) for one in segment.repetitions(number))


def _required(text: str, at: str) -> Issue:
    return Issue("error", "required", text, at, "required")
