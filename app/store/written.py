"""Resources as a conversion gives them, written and indexed member by member.

A mapping makes one result of the same text only once and shares it (`app/mapping/memory.py`), and
within a message all resources have one meta, one subject, one time. So a value is known by its
address, its text and what the text comes to (`members.py`) with it; of ten members of a result two
are new. References to resources of the same message are replaced while a member is written, and a
member that is told from a known one by the ids in its references alone gives the same rows with
other ids.

Values below the members of a resource must not be changed once they were written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import orjson

from app.store.entries import CODES, KEYS, REFS, URLS, Entries, together
from app.store.members import HEAD, Kind, Piece, Pieces, Step, Words, joined

_MOST = 1024  # values, and patterns, that are remembered of one member
_MOST_FORMS = 512  # sequences of members
_LONGEST = 4096  # bytes of a text that is remembered by its value

_URN = b'"reference":"urn:uuid:'
_TO = b'"reference":"%b/'
_ID = 36  # characters of a UUID
_ELSEWHERE = "urn:uuid:"
_META = b',"meta":{'
_NO_META = b',"meta":{}'
_SERVERS_OWN = re.compile(rb'"(?:versionId|lastUpdated)"').search
_UUID = re.compile(rb'[0-9a-f-]{36}"').match

encode = msgspec.json.Encoder(decimal_format="number").encode
_pack = msgspec.msgpack.Encoder().encode

Local = Mapping[bytes, bytes]  # ids of the resources of a message -> their types


class _Slot:
    """One member of a type: how it begins, how it is looked at, what is remembered of it.

    known: strings by value, all else by address, with what comes again in other messages; here:
    the same for what one message has said, and texts with references. patterns: see `_Pattern`.
    """

    __slots__ = ("here", "known", "name", "patterns", "prefix", "step")

    def __init__(self, name: str) -> None:
        self.name = name
        self.prefix = b",%b:" % encode(name)
        self.step: Step | None = None
        self.known: dict[str | int, _Member] = {}
        self.here: tuple[Local | None, dict[str | int | bytes, _Member]] = None, {}
        self.patterns: dict[tuple[bytes, ...], _Pattern | None] = {}

    def written(self, value: Any, local: Local) -> _Member:
        """Return a member that other messages have not said."""
        of, here = self.here
        if of is not local:
            of, here = self.here = local, {}
        key = value if type(value) is str else id(value)
        found = here.get(key)
        if found is None:
            text = self.prefix + encode(value)
            refers = _URN in text
            if refers and text in here:  # ten results have one performer
                return here[text]
            found = here[key] = _Member(self, value, text)
            if refers:
                here[text] = found
                found.refer(local)
        return found

    def note(self, member: _Member) -> None:
        """Remember a member for other messages."""
        if len(member.text) <= _LONGEST:
            if len(self.known) >= _MOST:
                self.known.clear()
            value = member.value
            self.known[value if type(value) is str else id(value)] = member


class _Member(msgspec.Struct):
    """One member of a resource as text, `,"name":value`.

    value: kept where it is. refers: references were looked at. pattern, ids: the text apart from
    the ids in these references.
    """

    slot: _Slot
    value: Any
    text: bytes
    piece: Piece | None = None
    refers: bool = False
    pattern: tuple[bytes, ...] = ()
    ids: Sequence[str] = ()

    __hash__ = object.__hash__
    __eq__ = object.__eq__

    def parsed(self) -> Any:
        """Return the value as a JSON parser gives it."""
        return orjson.loads(self.text[len(self.slot.prefix) :]) if self.refers else self.value

    def refer(self, local: Local) -> None:
        """Replace the references to resources of the message."""
        first, *rest = self.text.split(_URN)
        pattern, parts, ids = [first], [first], []
        for piece in rest:
            id_ = piece[:_ID]
            if not _UUID(piece):
                parts += (_URN, piece)
                pattern[-1] += _URN + piece
                continue
            type_ = local.get(id_)
            to = _URN if type_ is None else _TO % type_
            parts += (to, piece)
            pattern[-1] += to
            pattern.append(piece[_ID:])
            ids.append(id_.decode())
        self.text = b"".join(parts)
        self.refers, self.pattern, self.ids = True, tuple(pattern), ids


class _Pattern(NamedTuple):
    """What members come to that differ in the ids of their references alone.

    places: of the ids that stand in rows of references, by the place of the row.
    """

    piece: Piece
    places: Sequence[tuple[int, int]]

    def filled(self, ids: Sequence[str]) -> Piece:
        rows = list(self.piece.rows)
        for at, place in self.places:
            number, row = rows[at]
            id_ = ids[place]
            rows[at] = number, (*row[:-1], id_ if number == REFS else _ELSEWHERE + id_)
        known = self.piece
        return Piece(known.present, known.parts, known.d, rows, known.words)


_ONCE = _Pattern(Piece(0, 0, None, (), ()), ())  # met, not learnt yet


class _Joint(NamedTuple):
    """What several members come to together. lists: of `Entries`."""

    present: int
    parts: int
    d: int | None
    lists: Sequence[list[Any]]
    words: tuple[Words, ...]


@dataclass(frozen=True, slots=True)
class _Form:
    """How resources of one type are written that have the same members in the same order.

    names: of the members but for type and id; slots: of the same. always: what all of them come
    to; None: a resource is looked at as a whole. joints: what members that come again come to.
    """

    head: bytes
    has_meta: bool
    names: tuple[str, ...]
    slots: Sequence[tuple[str, dict[str | int, _Member], _Slot]]
    kind: Kind | None
    always: Sequence[Piece] | None
    joints: dict[tuple[_Member, ...], _Joint] = field(default_factory=dict)


@dataclass(slots=True)
class _Type:
    """What is remembered of one type, as long as it is looked at the same way."""

    kind: Kind | None
    forms: dict[tuple[str, ...], _Form] = field(default_factory=dict)
    slots: dict[str, _Slot] = field(default_factory=dict)


class Written(msgspec.Struct, gc=False):
    """A resource as compact JSON.

    front: of the body (`fhir.json.front`). again: its members that other messages said too; fresh:
    the others.
    """

    body: bytes
    front: int
    form: _Form
    again: Sequence[_Member]
    fresh: Sequence[_Member]


class Writing:
    """Writes resources, and indexes what it has written."""

    def __init__(self, pieces: Pieces | None = None) -> None:
        """pieces: what is remembered for indexing; None: nothing is indexed."""
        self._pieces = pieces
        self._types: dict[str, _Type] = {}
        self._packed: dict[tuple[Words, ...], bytes] = {}

    def write(self, id_: str, resource: Mapping[str, Any], local: Local) -> Written:
        """Return a resource as compact JSON: its type, id and meta in front, the others as given.

        local: of its message; references to these as Type/id. One object for one message.
        """
        form = self._form(resource["resourceType"], tuple(resource))
        texts, again, fresh = [], [], []
        for name, known, slot in form.slots:
            value = resource[name]
            member = known.get(value if type(value) is str else id(value))
            if member is None:
                member = slot.written(value, local)
                fresh.append(member)
            else:
                again.append(member)
            texts.append(member.text)
        head = form.head % id_.encode()
        front = -len(head)
        if form.has_meta:
            meta = texts[0]
            plain = meta.startswith(_META) and meta != _NO_META and not _SERVERS_OWN(meta)
            front = len(head) + len(_META) if plain else 0
        return Written(b"%b%b}" % (head, b"".join(texts)), front, form, again, fresh)

    def entries(self, written: Written) -> tuple[Entries, bytes] | None:
        """Return the index entries without links, if the resource is valid R4.

        Its dictionary rows are one piece (`prepare.pack_words`). None: it has to be looked at as a
        whole.
        """
        form, again = written.form, written.again
        known, kind = self._pieces, form.kind
        if known is None or kind is None or form.always is None:
            return None
        key = tuple(again)
        joint = form.joints.get(key)
        if joint is None:
            joint = _joint(known, form, again)
            if joint is None:
                return None
            if len(form.joints) >= _MOST:
                form.joints.clear()
            form.joints[key] = joint
        present, parts, d, known_lists, words = joint
        lists = list(map(list.copy, known_lists))
        for member in written.fresh:
            piece = member.piece
            if piece is None:
                piece = member.piece = _piece(known, kind, member)
                if piece is None:
                    return None
            present |= piece.present
            parts |= piece.parts
            if piece.d is not None:
                d = piece.d
            for number, row in piece.rows:
                lists[number].append(row)
            words += piece.words
        entries = Entries(kind.d if d is None else d, kind.shares.present(present, parts), *lists)
        packed = self._packed.get(words)
        return entries, self._words(words, entries) if packed is None else packed

    def _form(self, type_name: str, names: tuple[str, ...]) -> _Form:
        kind = None if self._pieces is None else self._pieces.kind(type_name)
        known = self._types.get(type_name)
        if known is None or known.kind is not kind:
            known = self._types[type_name] = _Type(kind)
        form = known.forms.get(names)
        if form is None:
            if len(known.forms) >= _MOST_FORMS:
                known.forms.clear()
            form = known.forms[names] = _made(self._pieces, type_name, names, known)
        return form

    def _words(self, words: tuple[Words, ...], entries: Entries) -> bytes:
        """Return dictionary rows in one piece; those without a code stay in the entries."""
        rows = [together(one.rows)[CODES:] for one in words]
        codes, texts, units = ([row for one in rows for row in one[n]] for n in range(3))
        if not codes:
            entries.texts, entries.units = texts, units
            return b""
        if len(self._packed) >= _MOST:
            self._packed.clear()
        packed = self._packed[words] = _pack((codes, texts, units))
        return packed


def _made(pieces: Pieces | None, type_name: str, names: tuple[str, ...], known: _Type) -> _Form:
    """Return how a resource with these members is written and looked at."""
    front = ("meta",) if "meta" in names else ()
    own = [*front, *(name for name in names if name not in HEAD and name not in front)]
    slots = [known.slots.setdefault(name, _Slot(name)) for name in own]
    always = None
    if known.kind is not None and pieces is not None:
        steps = known.kind.divided(("resourceType", "id", *own))
        always = None if steps is None else _always(pieces, known, steps)
    head = b'{"resourceType":%b,"id":"%%b"' % encode(type_name)
    looked_up = [(slot.name, slot.known, slot) for slot in slots]
    return _Form(head, bool(front), tuple(own), looked_up, known.kind, always)


def _always(pieces: Pieces, known: _Type, steps: Sequence[Step]) -> list[Piece] | None:
    """Return what steps without members come to; None when some need several members."""
    found = []
    for step in steps:
        if len(step.names) > 1 or known.kind is None:
            return None
        if step.names:
            known.slots[step.names[0]].step = step
        else:
            piece = pieces.piece(known.kind, step, ())
            if piece is None:
                return None
            found.append(piece)
    return found


def _joint(pieces: Pieces, form: _Form, members: Iterable[_Member]) -> _Joint | None:
    """Return what members come to together, with what all resources of the form come to."""
    if form.kind is None or form.always is None:
        return None
    found = []
    for member in members:
        piece = member.piece
        if piece is None:
            piece = member.piece = _piece(pieces, form.kind, member)
        if piece is None:
            return None
        found.append(piece)
    whole = joined([*form.always, *found])
    lists = together(whole.rows)
    lists[KEYS].append(form.kind.key)
    return _Joint(whole.present, whole.parts, whole.d, lists, whole.words)


def _piece(pieces: Pieces, kind: Kind, member: _Member) -> Piece | None:
    """Return what one member comes to; None when it is not right, or not alone."""
    slot = member.slot
    step = slot.step
    if step is None:
        return None
    if member.refers:
        pattern = _pattern(pieces, kind, step, member)
        if pattern is not None:
            return pattern.filled(member.ids)
    piece = step.known.get(member.text)
    if piece is None:
        piece = pieces.piece(kind, step, (member.parsed(),))
        if piece is not None:
            step.note(member.text, piece)
    elif not member.refers:
        slot.note(member)
    return piece


def _pattern(pieces: Pieces, kind: Kind, step: Step, member: _Member) -> _Pattern | None:
    """Return the pattern of a member; None: there is none, or it was never met before."""
    patterns, pattern = member.slot.patterns, member.pattern
    if pattern not in patterns:
        if len(patterns) >= _MOST:
            patterns.clear()
        patterns[pattern] = _ONCE
        return None
    known = patterns[pattern]
    if known is _ONCE:
        known = patterns[pattern] = _learnt(pieces, kind, step, member)
    return known


def _learnt(pieces: Pieces, kind: Kind, step: Step, member: _Member) -> _Pattern | None:
    """Return what a pattern comes to: by made-up ids, which are told from all else."""
    places = range(len(member.ids))
    ids = [[f"00000000-0000-8000-800{one}-{n:012x}" for n in places] for one in (0, 1)]
    made = []
    for some in ids:
        text = _filled(member.pattern, some)[len(member.slot.prefix) :]
        piece = pieces.piece(kind, step, (orjson.loads(text),))
        if piece is None:
            return None
        made.append(piece)
    first, second = made
    place = {pair: n for n, pair in enumerate(zip(*ids, strict=True))}
    found = []
    for at, (one, two) in enumerate(zip(first.rows, second.rows, strict=False)):
        if one[0] in (REFS, URLS) and one != two:
            ends = one[1][-1][-_ID:], two[1][-1][-_ID:]
            if ends in place:
                found.append((at, place[ends]))
    pattern = _Pattern(first, found)
    # What a pattern does not say is found here: it has to give just these two.
    return pattern if all(pattern.filled(i) == p for i, p in zip(ids, made, strict=True)) else None


def _filled(pattern: Sequence[bytes], ids: Iterable[str]) -> bytes:
    """Return the text of a pattern with these ids in its references."""
    first, *rest = pattern
    return first + b"".join([id_.encode() + part for id_, part in zip(ids, rest, strict=True)])
