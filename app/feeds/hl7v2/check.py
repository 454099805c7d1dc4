"""Check a message against the standard's own tables, as hl7apy has them for 2.1 to 2.8.2.

Structure (which segments, in which order and groups), cardinality, data types, tables and
lengths; every problem with its place. Off the hot path: for `yilian validate` and for engineers.
hl7apy's own validator stops at its first problem, names no occurrence and repeats values in its
texts; so its dictionaries are used, and the walk is ours.

Version 2.9 is checked as 2.8.2 (what 2.9 added is reported as information). Severity: what the
standard requires is an error; values of tables that sites extend, and lengths, are warnings;
segments and fields of the site's own are information.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import IO, Any

from hl7apy import SUPPORTED_LIBRARIES, load_reference
from hl7apy.exceptions import ChildNotFound

from app.errors import Issue, YilianError
from app.feeds.hl7v2 import er7
from app.feeds.hl7v2.er7 import Message, Repetition, Segment
from app.feeds.hl7v2.split import split
from app.fhir.outcome import ALL_OK, operation_outcome

# hl7apy's references are nested tuples: ("sequence" | "choice" | "leaf", children, data type,
# name, table, longest); a child is (name, reference, (least, most), kind), -1 for no limit.
Reference = Any

_VERSIONS = [version for version in er7.VERSIONS if version in SUPPORTED_LIBRARIES]
_MOST_MISPLACED = 50
_FREE_TEXT = ("ST", "TX", "FT")
_HL7_OWNED = "ID"  # the data type of tables that HL7 defines; IS is for those a site defines
# Tables that grow outside the standard or that hl7apy has in part: coding systems, countries,
# character sets. A code they lack is only a warning.
_OPEN = ("HL70396", "HL70399", "HL70211")
_BAD = ("fatal", "error")

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)")
_SEQUENCE_ID = re.compile(r"\d{1,4}")
_TIME = re.compile(r"(\d\d)(?:(\d\d)(?:(\d\d)(?:\.\d{1,4})?)?)?(?:[+-]\d{4})?")
_DATE_TIME = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.\d{1,4})?)?)?)?)?)?(?:[+-]\d{4})?"
)


def check(raw: bytes) -> list[Issue]:
    """Return every problem of one message; none means that it follows its version."""
    try:
        message = er7.read(raw)
    except YilianError as exc:
        return list(exc.issues)
    version = _dictionary(message)
    found = [*_structure(message, version)]
    for segment in message.segments:
        found.extend(_segment(segment, version))
    return [*message.issues, *found]  # reading values may add to the message's own


def report(content: bytes, stdout: IO[str]) -> int:
    """Print one OperationOutcome a line for each message; return 1 when one has errors."""
    worst = 0
    for piece in split(content):
        issues = [*piece.issues, *check(piece.raw)]
        stdout.write(operation_outcome(issues or [ALL_OK]).decode() + "\n")
        worst = max(worst, int(any(issue.severity in _BAD for issue in issues)))
    return worst


def _dictionary(message: Message) -> str:
    """Return the version whose tables are used: the message's, or the nearest below it."""
    if message.version in _VERSIONS:
        return message.version
    key = er7.version_key(message.version)
    near = [version for version in _VERSIONS if er7.version_key(version) <= key][-1]
    message.warn(
        f"checked by the tables of {near}",
        at="MSH-12",
        details="checked-as",
        severity="information",
    )
    return near


def _look_up(name: str, kind: str, version: str) -> Reference | None:
    try:
        return load_reference(name, kind, version)
    except (ChildNotFound, KeyError):
        return None


# --- structure: segments, order, groups ----------------------------------------------------------


def _structure(message: Message, version: str) -> Iterator[Issue]:
    kind = message.type
    names = (kind.structure, f"{kind.code}_{kind.event}", kind.code)
    known = (_look_up(name, "Message", version) for name in names)
    reference = next((one for one in known if one is not None), None)
    for name, count in _local_segments(message).items():
        yield _information(f"{count} segments of the site's own", name, "local-segment")
    if reference is None:
        yield _error("not-supported", "no such message in this version", "MSH-9", "message-type")
        return
    segments = [one for one in message.segments if not one.id.startswith("Z")]
    yield from _in_order(reference, segments)


def _local_segments(message: Message) -> Counter[str]:
    return Counter(one.id for one in message.segments if one.id.startswith("Z"))


def _in_order(reference: Reference, segments: list[Segment]) -> Iterator[Issue]:
    """Match the segments with the structure; each that does not fit is reported and left out."""
    for _ in range(_MOST_MISPLACED):
        matcher = _Matcher(segments)
        end = matcher.sequence(reference, 0, "")
        if end == len(segments):
            break
        misplaced = segments[end]
        expected = _names(reference)
        text = "out of place" if misplaced.id in expected else "not part of this message"
        yield _error("structure", f"the segment is {text}", misplaced.place, "segment-order")
        segments = segments[:end] + segments[end + 1 :]
    yield from matcher.issues


class _Matcher:
    """Matches segments with a structure, greedily: a group begins where one of its firsts is."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.ids = [segment.id for segment in segments]
        self.segments = segments
        self.issues: list[Issue] = []

    def sequence(self, reference: Reference, at: int, group: str) -> int:
        """Return how far the children of a group or message reach from `at`."""
        if reference[0] == "choice":
            return self._choice(reference, at, group)
        for child in reference[1]:
            at = self._child(child, at, group)
        return at

    def _choice(self, reference: Reference, at: int, group: str) -> int:
        for child in reference[1]:
            if at < len(self.ids) and self.ids[at] in _firsts(child):
                return self._child(child, at, group)
        self._missing(" or ".join(child[0] for child in reference[1]), at, group)
        return at

    def _child(self, child: Reference, at: int, group: str) -> int:
        name, reference, (least, most), kind = child
        firsts = _firsts(child)
        count = 0
        while at < len(self.ids) and self.ids[at] in firsts:
            if count == most:
                break
            end = at + 1 if kind == "SEG" else self.sequence(reference, at, name)
            if end == at:
                break
            at = end
            count += 1
        if count < least:
            self._missing(name, at, group)
        return at

    def _missing(self, name: str, at: int, group: str) -> None:
        where = f" in group {group}" if group else ""
        text = f"{name} is required{where}"
        before = self.segments[at - 1].place if at else None
        self.issues.append(
            _error("required", text, name[:3] if len(name) == 3 else before, "segment")
        )


def _firsts(child: Reference) -> set[str]:
    """Return the ids of the segments a child may begin with."""
    name, reference, _, kind = child
    if kind == "SEG":
        return {name}
    out: set[str] = set()
    for inner in reference[1]:
        out |= _firsts(inner)
        if reference[0] == "sequence" and inner[2][0] > 0:
            break
    return out


def _names(reference: Reference) -> set[str]:
    """Return the ids of all segments of a structure."""
    out: set[str] = set()
    for name, inner, _, kind in reference[1]:
        out |= {name} if kind == "SEG" else _names(inner)
    return out


# --- segments, fields, components ----------------------------------------------------------------


def _segment(segment: Segment, version: str) -> Iterator[Issue]:
    if segment.id.startswith("Z"):
        return
    reference = _look_up(segment.id, "Segment", version)
    if reference is None:
        yield _error("structure", "no such segment in this version", segment.place, "segment")
        return
    children = reference[1]
    for child in children:
        number = int(child[0].rpartition("_")[2])
        yield from _field(segment, number, child, version)
    if any(segment.fields[len(children) + 1 :]):
        text = f"fields after {segment.id}-{len(children)} are not in this version"
        yield _information(text, segment.place, "extra-field")


def _field(segment: Segment, number: int, child: Reference, version: str) -> Iterator[Issue]:
    _, reference, (least, most), _ = child
    repetitions = segment.repetitions(number)
    at = f"{segment.place}-{number}"
    if not repetitions:
        if least:
            yield _error("required", "the field is required", at, "required")
        return
    if most == 0:
        yield _warning("structure", "the field is withdrawn in this version", at, "withdrawn")
        return
    if 0 < most < len(repetitions):
        text = f"{len(repetitions)} repetitions, at most {most} allowed"
        yield _error("structure", text, at, "repetitions")
    if segment.id == "MSH" and number < 3:
        return
    reference = _varies(segment, reference, version)
    for repetition in repetitions:
        if not repetition.is_null():
            yield from _repetition(repetition, reference, version)


def _varies(segment: Segment, reference: Reference, version: str) -> Reference:
    """Return the reference of OBX-5 by what OBX-2 says (section 7.4.2.5)."""
    if reference[2] != "varies" or segment.id != "OBX":
        return reference
    kind = segment.value(2)
    parts = _look_up(kind, "Datatypes_Structs", version)
    if parts is None:
        return ("leaf", None, kind, "", None, -1)
    return ("sequence", parts, kind, "", None, -1)


def _repetition(repetition: Repetition, reference: Reference, version: str) -> Iterator[Issue]:
    at = repetition.place
    if reference[0] == "leaf":
        kind = reference[2]
        whole = kind in _FREE_TEXT or kind == "varies"
        if not whole and len(repetition.components) > 1:
            yield _warning("structure", f"components in a {kind}", at, "components")
        value = repetition.text() if whole else repetition.value()
        yield from _leaf(value, reference, at, version)
        return
    yield from _components(repetition, reference, version)


def _components(repetition: Repetition, reference: Reference, version: str) -> Iterator[Issue]:
    children = reference[1]
    for number, child in enumerate(children, 1):
        name, inner, (least, _), _ = child
        raw = repetition.components[number - 1] if number <= len(repetition.components) else ""
        at = f"{repetition.place}.{number}"
        if not raw:
            if least:
                yield _error("required", "the component is required", at, "required")
        elif inner[0] == "leaf":
            leaf = ("leaf", None, "DTM", *inner[3:]) if name == "TS_1" else inner
            whole = inner[2] in _FREE_TEXT
            value = repetition.text(number) if whole else repetition.value(number)
            yield from _leaf(value, leaf, at, version)
        else:
            for part, below in enumerate(inner[1], 1):
                value = repetition.value(number, part)
                if below[1][0] == "leaf":
                    yield from _leaf(value, below[1], f"{at}.{part}", version)
    if len(repetition.components) > len(children):
        text = f"{len(repetition.components)} components, {reference[2]} has {len(children)}"
        yield _information(text, repetition.place, "extra-component")
    if reference[4] and not repetition.value(3):
        yield from _in_table(repetition.value(1), reference[4], "IS", repetition.place, version)


def _leaf(value: str, reference: Reference, at: str, version: str) -> Iterator[Issue]:
    """Check one value: data type, length, table. Empty and null values are the caller's."""
    _, _, kind, _, table, longest = reference
    if not value:
        return
    if not _CHECKS.get(kind, _anything)(value):
        yield _error("value", f"{len(value)} characters, not {_KINDS[kind]}", at, "data-type")
    if kind == "WD":
        yield _warning("structure", "the value is withdrawn in this version", at, "withdrawn")
    if 0 <= longest < len(value):
        text = f"{len(value)} characters, at most {longest} allowed"
        yield _warning("too-long", text, at, "length")
    if table:
        yield from _in_table(value, table, kind, at, version)


def _in_table(value: str, table: str, kind: str, at: str, version: str) -> Iterator[Issue]:
    if not value:
        return
    reference = _look_up(table, "Table", version)
    if reference is None or not reference[1] or value in reference[1]:
        return
    build = _error if kind == _HL7_OWNED and table not in _OPEN else _warning
    number = table.removeprefix("HL7")
    yield build("code-invalid", f"the code is not in table {number}", at, "table")


# --- data types (chapter 2A) ---------------------------------------------------------------------


def _anything(value: str) -> bool:
    return True


def _is_date_time(value: str) -> bool:
    found = _DATE_TIME.fullmatch(value)
    if found is None:
        return False
    year, month, day, hour, minute, second = (
        int(part) if part else None for part in found.groups()
    )
    return _is_day(year or 0, month, day) and _is_time_of_day(hour, minute, second)


def _is_date(value: str) -> bool:
    return len(value) in (4, 6, 8) and value.isdigit() and _is_date_time(value)


def _is_time(value: str) -> bool:
    found = _TIME.fullmatch(value)
    return found is not None and _is_time_of_day(*(int(p) if p else None for p in found.groups()))


def _is_day(year: int, month: int | None, day: int | None) -> bool:
    try:
        date(year, 1 if month is None else month, 1 if day is None else day)
    except ValueError:
        return False
    return True


def _is_time_of_day(hour: int | None, minute: int | None, second: int | None) -> bool:
    return (hour or 0) < 24 and (minute or 0) < 60 and (second or 0) < 60


_CHECKS: dict[str, Callable[[str], Any]] = {
    "NM": _NUMBER.fullmatch,
    "SI": _SEQUENCE_ID.fullmatch,
    "DT": _is_date,
    "TM": _is_time,
    "DTM": _is_date_time,
    "TS": _is_date_time,
}
_KINDS = {
    "NM": "a number",
    "SI": "a sequence number",
    "DT": "a date",
    "TM": "a time",
    "DTM": "a date and time",
    "TS": "a date and time",
}


def _error(code: str, text: str, at: str | None, details: str) -> Issue:
    return Issue("error", code, text, at, details)


def _warning(code: str, text: str, at: str | None, details: str) -> Issue:
    return Issue("warning", code, text, at, details)


def _information(text: str, at: str | None, details: str) -> Issue:
    return Issue("information", "informational", text, at, details)
