"""HL7 v2 as the mapping language sees it: terser paths over the tree of segments.

    PID-3          field 3 of the nearest PID: all repetitions in an array, else the first
    PID-3[2].4.1   second repetition, component 4, subcomponent 1
    OBX-5.*        the whole repetition as text, delimiters included
    .1  .4.1  .*   the same inside a data-type map or `$each` over a field
    NTE            segments (for `$each`); `.` is the place itself
    ./NTE  OBR/NTE segments inside this one, inside the nearest OBR
    ../PID  //ORC  the other segments beside this one; all of the message
    event, code, structure, version, control-id, message-uri, time, facility ...: see _NAMES

"Nearest": the segment itself, one inside it, beside it, or further up (tree.py). The null `""` is
never a value.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import zip_longest
from operator import truth
from typing import Any

from app.errors import Invalid
from app.feeds.hl7v2 import paths
from app.feeds.hl7v2.er7 import Message
from app.feeds.hl7v2.fields import COMPONENTS, FIELDS
from app.feeds.hl7v2.functions import FUNCTIONS
from app.feeds.hl7v2.tree import ORDER, ROOT, Tree, may_hold
from app.fhir.ids import encode_part
from app.mapping.source import Access, Function, Getter, Scope

_FIELD = re.compile(
    r"([A-Z][A-Z0-9]{2})-(\d{1,3})(?:\[(\d{1,3})\])?"
    r"(?:\.(\d{1,2})(?:\.(\d{1,2}))?|\.(\*))?"
)
_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}")
_INSIDE = re.compile(r"(\.\.?|/|[A-Z][A-Z0-9]{2})/([A-Z][A-Z0-9]{2})")
_PART = re.compile(r"\.(?:(\d{1,2})(?:\.(\d{1,2}))?|\*)?")
_WHOLE = frozenset(("ST", "TX", "FT", "NM", "SNM", "varies"))  # no components: `^` is text
_EXTRA_FIELDS = 20  # fields that a version after 2.8.2 may add behind a segment
_EXTRA_COMPONENTS = 5  # that later versions, or a site, may add behind those of a data type
_ANY_LENGTH = frozenset(("QPD", "RDT"))


class Document:
    """One message and what the language may ask of it."""

    def __init__(self, message: Message, values: Mapping[str, Any]) -> None:
        self.message = message
        self.tree = Tree(message)
        self.root = self.tree.root
        self.values = values
        self.names: dict[str, str | None] = _Names(self)
        self.application = message.of_header(3)
        self.facility = message.of_header(4) or str(values.get("facility") or "")
        self.control_id = message.control_id.strip() or _digest(message)
        kind = message.type
        self.memo_scope = _scope(
            self,
            (
                self.facility,
                self.application,
                kind.code,
                kind.event,
                kind.structure,
                message.field_separator,
                message.fields[0][2],  # the other delimiters
                message.charset,
                values.get("zone"),
                values.get("hub_version"),
                values.get("mapping_digest"),
                values.get("provenance"),
                values.get("bundle_type"),
                self.names["device-codes"],
            ),
        )

    def present(self, bits: Mapping[str, int]) -> int:
        """Return the bits of the fields that hold something in any segment."""
        tables = _bit_tables(bits)
        out = 0
        for id_, nodes in self.tree.by_id.items():
            table = tables.get(id_)
            if table is None:
                continue
            known = table.known
            if len(nodes) == 1:
                shape = tuple(map(truth, nodes[0].fields))
            else:  # which fields hold something in any of them
                shape = tuple(map(any, zip_longest(*[node.fields for node in nodes])))
            found = known.get(shape)
            out |= table.learnt(shape) if found is None else found
        return out

    @property
    def uri(self) -> str:
        sender = _uri_of_sender(self.facility, self.application)
        return f"{sender}#{encode_part(self.control_id)}"

    @property
    def key_parts(self) -> tuple[str, ...]:
        return "hl7v2", self.facility, self.application, self.control_id

    def close(self) -> None:
        """Let go of what refers to each other, so that its memory is free at once."""
        self.tree.fell()
        self.names = {}

    def has_device_codes(self) -> bool:
        """Say whether any OBX speaks of devices in MDC codes: most messages do not."""
        mark = f"{self.message.component_separator}MDC"
        if mark not in self.message.text:
            return False
        return any(mark in node.raw for node in self.tree.all("OBX"))

    def places(self) -> Iterable[str]:
        """Yield the place of every field that holds something, but for what tells how to read."""
        for segment in self.message.segments:
            place = segment.place
            for number, raw in enumerate(segment.fields):
                if raw and number and not (segment.id == "MSH" and number in _OF_THE_READER):
                    yield f"{place}-{number}"


@lru_cache(maxsize=1024)
def _uri_of_sender(facility: str, application: str) -> str:
    return f"urn:x-yilian:msg:hl7v2:{encode_part(facility)}:{encode_part(application)}"


def _digest(message: Message) -> str:
    """Return what stands for MSH-10 when the sender left it out: a digest of the message."""
    text = "\r".join(message.lines)
    return f"sha256-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


_MOST_SCOPES = 10_000
_scopes: dict[object, Scope] = {}


def _scope(doc: Document, parts: tuple[object, ...]) -> Scope:
    """Return what stands for what results depend on beside their text: cheap to hash."""
    found = _scopes.get(parts)
    if found is None:
        if len(_scopes) >= _MOST_SCOPES:
            _scopes.clear()
        found = _scopes[parts] = Scope({name: doc.names[name] for name in _SCOPED})
    return found


_MOST_PATTERNS = 4096


class _BitTable:
    """The bits of one segment's fields in a mapping, by field number."""

    def __init__(self) -> None:
        self.bits: dict[int, int] = {}
        self.known: dict[tuple[bool, ...], int] = {}  # which fields hold something -> bits

    def learnt(self, shape: tuple[bool, ...]) -> int:
        """Return the bits of fields that hold something; field 0 is the segment itself."""
        out = self.bits.get(0, 0)
        for number, valued in enumerate(shape):
            if valued:
                out |= self.bits.get(number, 0)
        if len(self.known) >= _MOST_PATTERNS:
            self.known.clear()
        self.known[shape] = out
        return out


# By identity of the mapping's bits, which are kept so that no other object takes their place.
_tables: dict[int, tuple[Mapping[str, int], dict[str, _BitTable]]] = {}


def _bit_tables(bits: Mapping[str, int]) -> dict[str, _BitTable]:
    """Return the bits of a mapping by segment."""
    found = _tables.get(id(bits))
    if found is None or found[0] is not bits:
        made: dict[str, _BitTable] = {}
        for name, bit in bits.items():
            segment, _, number = name.partition("-")
            made.setdefault(segment, _BitTable()).bits[int(number)] = bit
        found = _tables[id(bits)] = (bits, made)
    return found[1]


_NAMES: dict[str, Callable[[Document], str | None]] = {
    "code": lambda doc: doc.message.type.code,
    "event": lambda doc: doc.message.type.event,
    "structure": lambda doc: doc.message.type.structure,
    "version": lambda doc: doc.message.version,
    "control-id": lambda doc: doc.control_id,
    "message-uri": lambda doc: doc.uri,
    "application": lambda doc: doc.application,
    "device-codes": lambda doc: "yes" if doc.has_device_codes() else None,
    "facility": lambda doc: doc.facility,
    "hub-version": lambda doc: doc.values.get("hub_version"),
    "mapping-digest": lambda doc: doc.values.get("mapping_digest"),
    "mapping-files": lambda doc: doc.values.get("mapping_files"),
    "provenance": lambda doc: doc.values.get("provenance"),
    "bundle-type": lambda doc: doc.values.get("bundle_type"),
}


# The fields that tell these names.
_TOLD_BY = {
    "code": "MSH-9.1",
    "event": "MSH-9.2",
    "structure": "MSH-9.3",
    "version": "MSH-12.1",
    "control-id": "MSH-10.1",
    "message-uri": "MSH-4.1 MSH-3.1 MSH-10.1",
    "application": "MSH-3.1",
    "facility": "MSH-4.1",
}
# Fields of MSH that say how the message is to be read: delimiters, version, character sets.
_OF_THE_READER = (1, 2, 12, 18)


class _Names(dict[str, str | None]):
    """What paths may ask about a message as a whole, found when it is first asked for."""

    __slots__ = ("_doc",)

    def __init__(self, doc: Document) -> None:
        self._doc = doc

    def __missing__(self, name: str) -> str | None:
        found = self[name] = _NAMES[name](self._doc) or None
        return found


# Names that `Document.memo_scope` covers.
_SCOPED = frozenset(
    ("facility", "application", "hub-version", "mapping-digest", "code", "event", "structure",
     "provenance", "bundle-type", "device-codes")
)  # fmt: skip


class Hl7Source:
    """The `Source` of HL7 v2."""

    name = "hl7v2"
    functions: Mapping[str, Function] = FUNCTIONS

    def anchor(self, text: str) -> Callable[[Any], Iterable[Any]]:
        """Return the segments of one or more ids ("RXO RXE"), or the groups ORDER, MESSAGE."""
        ids = text.split()
        for id_ in ids:
            if id_ not in (ORDER, ROOT) and not _known(id_):
                raise Invalid(f"HL7 v2 has no segment `{id_}`")
        if len(ids) == 1:
            only = ids[0]
            return lambda doc: doc.tree.all(only)
        return lambda doc: [node for id_ in ids for node in doc.tree.all(id_)]

    def may_hold(self, anchor: str, other: str) -> bool:
        """Say whether segments of one id may stand inside those, or the groups, of another."""
        return may_hold(anchor, other)

    def key_of(self, anchor: str, reads: tuple[str, ...]) -> Getter | None:
        """Return the raw text of fields of the anchor's own segment and of those around it."""
        numbers: dict[str, list[int]] = {}
        for name in reads:
            segment, _, number = name.partition("-")
            numbers.setdefault(segment, []).append(int(number))
        own = numbers.pop(anchor, [])
        return paths.text_of(anchor, sorted(own), {id_: sorted(n) for id_, n in numbers.items()})

    def path(self, text: str, at: str | None, trace: bool) -> Access:
        return _path(text, at, trace)


@lru_cache(maxsize=8192)
def _path(text: str, at: str | None, trace: bool) -> Access:
    if text in _NAMES:
        told = _TOLD_BY.get(text, "").split()
        return paths.named(text, "" if text in _SCOPED else None, trace, told)
    if inside := _INSIDE.fullmatch(text):
        return _inside(inside[1], inside[2])
    if text.startswith("."):
        return _piece(text, trace)
    if _SEGMENT.fullmatch(text) and _known(text):
        return paths.segment(text)
    found = _FIELD.fullmatch(text)
    if found is None:
        raise Invalid(
            f"`{text}` is no HL7 v2 path, as PID-5.1 is; a constant begins with = where it stands "
            'alone (=text), else it stands in quotes ("text")'
        )
    segment, number = found[1], int(found[2])
    kind = _type_of(segment, number)
    repetition = int(found[3] or 0)
    one, two = int(found[4] or 0), int(found[5] or 0)
    if one > COMPONENTS.get(kind, one) + _EXTRA_COMPONENTS:
        raise Invalid(f"{segment}-{number} ({kind}) has no component {one}")
    if not one and found[6] is None and kind not in _WHOLE:
        one = 1
    field = paths.Field(segment, number, repetition, (one, two), component=bool(found[4]), at=at)
    return field.access(trace)


def _inside(outer: str, id_: str) -> Access:
    for name in (outer, id_):
        if name not in (".", "..", "/") and not _known(name):
            raise Invalid(f"HL7 v2 has no segment `{name}`")
    return paths.inside(outer, id_)


def _piece(text: str, trace: bool) -> Access:
    found = _PART.fullmatch(text)
    if found is None:
        raise Invalid(f"`{text}` is no path inside a field")
    return paths.Piece(int(found[1] or 0), int(found[2] or 0)).access(trace)


def _known(segment: str) -> bool:
    return segment in FIELDS or (segment.startswith("Z") and len(segment) == 3)


def _type_of(segment: str, number: int) -> str:
    """Return the data type of a field. Raises Invalid when no version has it."""
    if not _known(segment):
        raise Invalid(f"HL7 v2 has no segment `{segment}`")
    if segment.startswith("Z"):
        return "varies" if number == 0 else "Z"
    types = FIELDS[segment].split()
    if not 1 <= number <= len(types) + _EXTRA_FIELDS and segment not in _ANY_LENGTH:
        raise Invalid(f"segment {segment} has no field {number}")
    return types[number - 1] if number <= len(types) else "-"
