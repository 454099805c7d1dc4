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

from app.store.entries import CODES, KEYS, REFS, URLS, Entries, Rows, together
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
    the same for what one message has said, and texts with references; last: a value, its message
    and what it was written as, for results in a row that share it. patterns: see `_Pattern`.
    """

    __slots__ = ("here", "known", "last", "name", "patterns", "prefix", "step")

    def __init__(self, name: str) -> None:
        self.name = name
        self.prefix = b",%b:" % encode(name)
        self.step: Step | None = None
        self.known: dict[str | int, _Member] = {}
        self.here: tuple[Local | None, dict[str | int | bytes, _Member]] = None, {}
        self.patterns: dict[tuple[bytes, ...], _Pattern | None] = {}
        self.last: tuple[Any, Local | None, _Member | None] = None, None, None

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
    the ids in these references. piece: what it comes to; own, d: with these rows and this place in
    the order, which others of its pattern have not; own None: it has no pattern.
    """

    slot: _Slot
    value: Any
    text: bytes
    refers: bool = False
    pattern: tuple[bytes, ...] = ()
    ids: Sequence[str] = ()
    piece: Piece | None = None
    own: Rows | None = None
    d: int | None = None

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

    piece: what all of them come to; places: their own rows: number of a list of `Entries`, the row
    but for its end, and which of the ids that is.
    """

    piece: Piece
    places: Sequence[tuple[int, tuple[Any, ...], int]]

    def own(self, ids: Sequence[str]) -> list[tuple[int, Any]]:
        """Return the rows that one member does not share with others."""
        return [
            (number, (*row, ids[place] if number == REFS else _ELSEWHERE + ids[place]))
            for number, row, place in self.places
        ]

    def whole(self, ids: Sequence[str]) -> Piece:
        same = self.piece
        rows = [*same.rows, *self.own(ids)]
        return Piece(same.present, same.parts, same.d, rows, same.words)


_ONCE = _Pattern(Piece(0, 0, None, (), ()), ())  # met, not learnt yet


class _Joint(NamedTuple):
    """What several members come to together. lists: of `Entries`; packed: `words`, if all have."""

    present: int
    parts: int
    d: int | None
    lists: Sequence[list[Any]]
    words: tuple[Words, ...]
    have: int


@dataclass(frozen=True, slots=True)
class _Form:
    """How resources of one type are written that have the same members in the same order.

    names: of the members but for type and id; slots: of the same. always: what all of them come
    to; None: a resource is looked at as a whole. joints: what members that come again, and what is
    the same of those with a pattern, come to.
    """

    head: bytes
    has_meta: bool
    names: tuple[str, ...]
    slots: Sequence[tuple[str, dict[str | int, _Member], _Slot]]
    kind: Kind | None
    always: Sequence[Piece] | None
    joints: dict[tuple[_Member | Piece, ...], _Joint] = field(default_factory=dict)


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
                last, of, member = slot.last
                if last is not value or of is not local or member is None:
                    member = slot.written(value, local)
                    slot.last = value, local, member
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
        form, fresh = written.form, written.fresh
        known, kind = self._pieces, form.kind
        if known is None or kind is None or form.always is None:
            return None
        key: list[_Member | Piece] = [*written.again]
        odd = []
        for member in fresh:
            piece = member.piece
            if piece is None:
                piece = _looked_at(known, kind, member)
                if piece is None:
                    return None
            if member.own is None:
                odd.append(piece)
            else:
                key.append(piece)
        joint = form.joints.get(tuple(key))
        if joint is None:
            joint = _joint(known, form, key)
            if joint is None:
                return None
            if len(form.joints) >= _MOST:
                form.joints.clear()
            form.joints[tuple(key)] = joint
        present, parts, d, known_lists, words, have = joint
        lists = list(map(list.copy, known_lists))
        for member in fresh:
            if member.own is not None:
                if member.d is not None:
                    d = member.d
                for number, row in member.own:
                    lists[number].append(row)
        if odd:
            more = joined(odd)
            have = kind.shares.present(present | more.present, parts | more.parts)
            d = d if more.d is None else more.d
            for number, row in more.rows:
                lists[number].append(row)
            words += more.words
        entries = Entries(kind.d if d is None else d, have, *lists)
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


def _joint(pieces: Pieces, form: _Form, members: Iterable[_Member | Piece]) -> _Joint | None:
    """Return what members come to together, with what all resources of the form come to."""
    kind = form.kind
    if kind is None or form.always is None:
        return None
    found = []
    for one in members:
        piece = one if isinstance(one, Piece) else one.piece or _looked_at(pieces, kind, one)
        if piece is None:
            return None
        found.append(piece)
    whole = joined([*form.always, *found])
    lists = together(whole.rows)
    lists[KEYS].append(kind.key)
    have = kind.shares.present(whole.present, whole.parts)
    return _Joint(whole.present, whole.parts, whole.d, lists, whole.words, have)


def _looked_at(pieces: Pieces, kind: Kind, member: _Member) -> Piece | None:
    """Find what one member comes to; None when it is not right, or not alone."""
    slot, text = member.slot, member.text
    step = slot.step
    if step is None:
        return None
    if member.refers:
        pattern = _pattern(pieces, kind, step, member)
        if pattern is None:
            member.piece = pieces.piece(kind, step, (member.parsed(),))
        else:
            member.piece, member.own = pattern.piece, pattern.own(member.ids)
        return member.piece
    if (quick := step.quickly(text)) is not None:
        member.piece, member.own, member.d = quick
        return member.piece
    piece = step.known.get(text)
    if piece is not None:
        slot.note(member)
    elif (filled := pieces.filled(kind, step, text, len(slot.prefix), member.value)) is not None:
        piece, member.own, member.d = filled
        if step.again(text):
            step.keep(text, filled.whole())
    else:
        piece = pieces.piece(kind, step, (member.value,))
        if piece is not None and step.again(text):
            step.keep(text, piece)
    member.piece = piece
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
    count = range(len(member.ids))
    ids = [[f"00000000-0000-8000-800{one}-{n:012x}" for n in count] for one in (0, 1)]
    made = []
    for some in ids:
        text = _filled(member.pattern, some)[len(member.slot.prefix) :]
        piece = pieces.piece(kind, step, (orjson.loads(text),))
        if piece is None:
            return None
        made.append(piece)
    first, second = made
    which = {pair: n for n, pair in enumerate(zip(*ids, strict=True))}
    rows: list[tuple[int, Any]] = []
    places: list[tuple[int, tuple[Any, ...], int]] = []
    for one, two in zip(first.rows, second.rows, strict=False):
        number, row = one
        if one == two:
            rows.append(one)
        elif number in (REFS, URLS):
            place = which.get((row[-1][-_ID:], two[1][-1][-_ID:]))
            if place is not None:
                places.append((number, row[:-1], place))
    same = Piece(first.present, first.parts, first.d, rows, first.words)
    pattern = _Pattern(same, places)
    # What a pattern does not say is found here: it has to give just these two.
    right = all(pattern.whole(i).same_as(p) for i, p in zip(ids, made, strict=True))
    return pattern if right else None


def _filled(pattern: Sequence[bytes], ids: Iterable[str]) -> bytes:
    """Return the text of a pattern with these ids in its references."""
    first, *rest = pattern
    return first + b"".join([id_.encode() + part for id_, part in zip(ids, rest, strict=True)])
