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
from itertools import count
from typing import Any

from app.errors import Invalid
from app.feeds.hl7v2.er7 import Message, Repetition
from app.feeds.hl7v2.fields import FIELDS
from app.feeds.hl7v2.functions import FUNCTIONS
from app.feeds.hl7v2.tree import ORDER, ROOT, Node, Tree, nearest, nearest_all
from app.fhir.ids import encode_part
from app.mapping.run import Run
from app.mapping.source import Access, Function, Getter

_FIELD = re.compile(
    r"([A-Z][A-Z0-9]{2})-(\d{1,3})(?:\[(\d{1,3})\])?"
    r"(?:\.(\d{1,2})(?:\.(\d{1,2}))?|\.(\*))?"
)
_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}")
_INSIDE = re.compile(r"(\.\.?|/|[A-Z][A-Z0-9]{2})/([A-Z][A-Z0-9]{2})")
_PART = re.compile(r"\.(?:(\d{1,2})(?:\.(\d{1,2}))?|\*)?")
_WHOLE = frozenset(("ST", "TX", "FT", "NM", "SNM", "varies"))  # no components: `^` is text
_EXTRA_FIELDS = 20  # fields that a version after 2.8.2 may add behind a segment
_ANY_LENGTH = frozenset(("QPD", "RDT"))


class Part:
    """A repetition of a field, or one component of it (comp > 0)."""

    __slots__ = ("comp", "parts", "raw", "rep", "up")
    id = None
    kids = None
    made = None

    def __init__(self, rep: Repetition, up: Any, comp: int = 0) -> None:
        self.rep = rep
        self.up = up
        self.comp = comp
        parts = self.parts = rep.components
        if comp:
            raw = parts[comp - 1] if comp <= len(parts) else ""
            # As the text of results that are remembered, `A&B` inside a component is not `A&B`
            # as a whole field.
            inner = rep.segment.message.subcomponent_separator in raw
            self.raw = f"\x00{raw}" if inner else raw
        else:
            self.raw = rep.raw

    @property
    def group(self) -> Any:
        return self.up.group

    @property
    def place(self) -> str:
        return f"{self.rep.place}.{self.comp}" if self.comp else self.rep.place

    def text(self, one: int, two: int) -> str:
        """Return component `one` (subcomponent `two`, 0: whole); 0 is the whole part."""
        rep, comp = self.rep, self.comp
        if comp:
            return rep.value(comp, one) if one else rep.text(comp)
        if two:
            return rep.value(one, two)
        return rep.text(one)


class Document:
    """One message and what the language may ask of it."""

    def __init__(self, message: Message, values: Mapping[str, Any]) -> None:
        self.message = message
        self.tree = Tree(message)
        self.root = self.tree.root
        self.values = values
        header = message.header
        self.application = header.value(3)
        self.facility = header.value(4) or str(values.get("facility") or "")
        self.control_id = message.control_id.strip() or _digest(message)
        self.memo_scope = _scope(
            self.facility,
            self.application,
            message.type,
            message.delimiters,
            message.charset,
            values.get("zone"),
            values.get("hub_version"),
            values.get("mapping_digest"),
        )

    def present(self, bits: Mapping[str, int]) -> int:
        """Return the bits of the fields that hold something in any segment."""
        tables = _bit_tables(bits)
        out = 0
        for id_, nodes in self.tree.by_id.items():
            table = tables.get(id_)
            if table is None:
                continue
            valued = 0  # bits by field number: small numbers, cheap to add up
            for node in nodes:
                for raw, bit in zip(node.fields, _SMALL, strict=False):
                    if raw:
                        valued |= bit
            known = table.known.get(valued)
            if known is None:
                if len(table.known) >= _MOST_PATTERNS:
                    table.known.clear()
                known = table.known[valued] = table.bits_of(valued)
            out |= known
        return out

    @property
    def uri(self) -> str:
        parts = [encode_part(p) for p in (self.facility, self.application, self.control_id)]
        return f"urn:x-yilian:msg:hl7v2:{parts[0]}:{parts[1]}#{parts[2]}"

    @property
    def key_parts(self) -> tuple[str, ...]:
        return "hl7v2", self.facility, self.application, self.control_id

    def has_device_codes(self) -> bool:
        """Say whether any OBX speaks of devices in MDC codes: most messages do not."""
        return any("^MDC" in node.raw for node in self.tree.all("OBX"))

    def places(self) -> Iterable[str]:
        """Yield the place of every field that holds something, but for MSH-1 and MSH-2."""
        for segment in self.message.segments:
            place = segment.place
            for number, raw in enumerate(segment.fields):
                if raw and number and not (segment.id == "MSH" and number < 3):
                    yield f"{place}-{number}"


def _digest(message: Message) -> str:
    """Return what stands for MSH-10 when the sender left it out: a digest of the message."""
    text = "\r".join(segment.raw for segment in message.segments)
    return f"sha256-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


_MOST_SCOPES = 10_000
_scopes: dict[object, int] = {}
_scope_numbers = count()  # never used twice, also when the table is emptied


def _scope(*parts: object) -> int:
    """Return a small number for what results depend on beside their text: cheap to hash."""
    found = _scopes.get(parts)
    if found is None:
        if len(_scopes) >= _MOST_SCOPES:
            _scopes.clear()
        found = _scopes[parts] = next(_scope_numbers)
    return found


_MOST_PATTERNS = 4096
_SMALL = [1 << number for number in range(100)]


class _BitTable:
    """The bits of one segment's fields in a mapping, by field number."""

    def __init__(self) -> None:
        self.bits: dict[int, int] = {}
        self.known: dict[int, int] = {}  # valued fields -> bits

    def bits_of(self, valued: int) -> int:
        out = 0
        for number, bit in self.bits.items():
            if valued >> number & 1:
                out |= bit
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


# Names that `Document.memo_scope` covers; segments that a message has once.
_SCOPED = frozenset(
    ("facility", "application", "hub-version", "mapping-digest", "code", "event", "structure")
)
_ONCE = frozenset(("MSH", "EVN", "MSA"))


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

    def key_of(self, anchor: str, reads: tuple[str, ...]) -> Getter | None:
        """Return the raw text of fields of the anchor's own segment; None for any other field."""
        numbers = []
        for name in reads:
            segment, _, number = name.partition("-")
            if segment != anchor:
                return None
            numbers.append(int(number))
        if len(numbers) == 1:
            only = numbers[0]
            return lambda node, run: node.fields[only] if only < len(node.fields) else ""
        wanted = tuple(sorted(numbers))

        def key(node: Any, run: Run) -> Any:
            fields = node.fields
            length = len(fields)  # what lies behind the end is left out: it is empty
            return tuple([fields[number] for number in wanted if number < length])

        return key

    def path(self, text: str, at: str | None, trace: bool) -> Access:
        if text in _NAMES:
            return _named(text, "" if text in _SCOPED else None, trace)
        if inside := _INSIDE.fullmatch(text):
            return _inside_path(inside[1], inside[2])
        if text.startswith("."):
            return _part_path(text, trace)
        if _SEGMENT.fullmatch(text) and (_known(text)):
            return _segment_path(text)
        found = _FIELD.fullmatch(text)
        if found is None:
            raise Invalid(f"`{text}` is no HL7 v2 path")
        segment, number = found[1], int(found[2])
        kind = _type_of(segment, number)
        repetition = int(found[3] or 0)
        one, two = int(found[4] or 0), int(found[5] or 0)
        if not one and found[6] is None and kind not in _WHOLE:
            one = 1
        return _field_path(segment, number, repetition, (one, two), bool(found[4]), trace)


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


def _named(name: str, reads: str | None, trace: bool) -> Access:
    """Something about the message as a whole."""
    get = _NAMES[name]

    def one(_: Any, run: Run) -> Any:
        return get(run.doc) or None

    def many(node: Any, run: Run) -> Any:
        found = one(node, run)
        return [] if found is None else [found]

    access = Access(one, many, one, many, reads=reads, whole=True)
    return _reading(access, lambda at: [f"({name})"]) if trace else access


def _segment_path(id_: str) -> Access:
    def node(at: Any, _: Run) -> Any:
        return nearest(at, id_)

    def nodes(at: Any, _: Run) -> Any:
        return nearest_all(at, id_)

    return Access(node, nodes, node, nodes, at=id_, needs=f"{id_}-0")  # field 0: its name


def _inside_path(outer: str, id_: str) -> Access:
    """Segments inside the place itself (`.`), beside it (`..`) or inside the nearest of an id."""
    for name in (outer, id_):
        if name not in (".", "..", "/") and not _known(name):
            raise Invalid(f"HL7 v2 has no segment `{name}`")

    def nodes(at: Any, run: Run) -> Any:
        if outer == "/":
            return run.doc.tree.all(id_)
        if outer == "..":
            kids = at.up.kids if at.up is not None else None
            return [kid for kid in kids.get(id_, []) if kid is not at] if kids else []
        place = at if outer == "." else nearest(at, outer)
        kids = place.kids if place is not None else None
        return kids.get(id_, []) if kids else []

    def node(at: Any, run: Run) -> Any:
        found = nodes(at, run)
        return found[0] if found else None

    return Access(node, nodes, node, nodes, at=id_, needs=f"{id_}-0")


def _field_path(
    id_: str, number: int, repetition: int, part: tuple[int, int], component: bool, trace: bool
) -> Access:
    component_no, sub = part

    def reps(at: Any) -> tuple[Any, list[Repetition]]:
        place = nearest(at, id_)
        if place is None or place.seg is None:
            return None, []
        found = place.seg.repetitions(number)
        if repetition:
            found = [rep for rep in found if rep.occurrence == repetition]
        return place, found

    def text(rep: Repetition) -> str:
        return rep.value(component_no, sub) if sub else rep.text(component_no)

    def one(at: Any, run: Run) -> Any:
        while at is not None:  # `nearest`, inline: this is the hottest path of all
            if at.id == id_:
                break
            kids = at.kids
            if kids is not None:
                found = kids.get(id_)
                if found is not None:
                    at = found[0]
                    break
            at = at.up
        else:
            return None
        fields = at.fields
        if number >= len(fields):
            return None
        raw = fields[number]
        if not raw:
            return None
        if repetition < 2 and raw.isalnum():
            return raw if component_no < 2 and sub < 2 else None
        for rep in at.seg.repetitions(number):
            if not repetition or rep.occurrence == repetition:
                value = text(rep)
                if value or repetition:
                    return value or None
        return None

    def many(at: Any, run: Run) -> Any:
        return [value for rep in reps(at)[1] if (value := text(rep))]

    def node(at: Any, run: Run) -> Any:
        place, found = reps(at)
        for rep in found:
            part = _made_part(rep, place)
            if part is not None:
                return part
        return None

    def nodes(at: Any, run: Run) -> Any:
        place, found = reps(at)
        return [p for rep in found if (p := _made_part(rep, place)) is not None]

    comp = component_no if component else 0

    def _made_part(rep: Repetition, place: Any) -> Part | None:
        made = Part(rep, place, comp)
        return made if made.raw and made.raw != '""' else None

    def raw_field(at: Any, run: Run) -> Any:
        place = nearest(at, id_)
        if place is None or number >= len(place.fields):
            return None
        return place.fields[number]

    reads = f"{id_}-{number}"
    whole = id_ in _ONCE
    if not trace:
        raw = raw_field if not repetition else None
        return Access(one, many, node, nodes, reads=reads, whole=whole, raw=raw)
    return _reading(
        Access(one, many, node, nodes, reads=reads), lambda at: _places(reps(at)[1], part)
    )


def _places(reps: list[Repetition], part: tuple[int, int]) -> list[str]:
    tail = "".join(f".{n}" for n in part if n)
    return [rep.place + tail for rep in reps]


def _part_path(text: str, trace: bool) -> Access:
    found = _PART.fullmatch(text)
    if found is None:
        raise Invalid(f"`{text}` is no path inside a field")
    comp, sub = int(found[1] or 0), int(found[2] or 0)

    def one(part: Any, run: Run) -> Any:
        if part.id is not None:  # a segment: its whole text is no value
            return None
        if comp and not part.comp:
            parts = part.parts
            if comp > len(parts):
                return None
            leaf = parts[comp - 1]
            if leaf.isalnum() and sub < 2:  # nothing to undo in it
                return leaf
            if not leaf:
                return None
        return part.text(comp, sub) or None

    def many(part: Any, run: Run) -> Any:
        value = one(part, run)
        return [] if value is None else [value]

    def node(part: Any, run: Run) -> Any:
        if not comp:
            return part
        if part.id is not None or part.comp:
            return None
        inner = Part(part.rep, part.up, comp)
        return inner if inner.raw and inner.raw != '""' else None

    def nodes(part: Any, run: Run) -> Any:
        inner = node(part, run)
        return [] if inner is None else [inner]

    if not trace:
        return Access(one, many, node, nodes, reads="")

    def places(part: Any) -> list[str]:
        tail = "".join(f".{n}" for n in (comp, sub) if n)
        return [part.place + tail] if part.id is None else []

    return _reading(Access(one, many, node, nodes, reads=""), places)


def _reading(access: Access, places: Callable[[Any], list[str]]) -> Access:
    """Return the access with every successful reading told to the trace."""

    def told(get: Getter) -> Getter:
        def read(at: Any, run: Run) -> Any:
            value = get(at, run)
            if value is not None and value != []:
                for place in places(at):
                    run.trace.read(place)
            return value

        return read

    return Access(
        told(access.one), told(access.many), told(access.node), told(access.nodes), access.at
    )


def segment_of(node: Any) -> Node | None:
    """Return the segment node that a part or node lies in."""
    while node is not None and getattr(node, "seg", None) is None:
        node = node.up
    return node  # type: ignore[no-any-return]
