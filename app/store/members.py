"""Checking and indexing a resource member by member, each of which is done once.

What clients and feeds send repeats itself: the status, the category, the code, the patient and
the time of ten results of a message are the same ten times, only values and numbers differ. Each
member of a body is looked up by its text; what is known of it (that it is valid R4, which index
entries it gives) need not be found again. Measured: a result of a feed takes a third of the time.

A resource that cannot be looked at this way, or is not right, gets no answer here: whoever asks
looks at it as a whole then (`prepare.py`). What is remembered is bounded, and forgotten when
search parameters are posted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

import msgspec
import orjson

from app.errors import YilianError
from app.fhir import definitions, searchparams
from app.fhir import json as fhir_json
from app.fhir.extract_members import FindsValues, Shares, no_values, shares
from app.fhir.validators import Check, TooVaried, member_check, met_internal, names_are_right
from app.store import keys
from app.store.entries import KEYS, Collector, Entries, IdentifierKeys, together, undated

_MOST_TEXTS = 1024  # of one member
_MOST_MET = 4096  # texts of one member that were met once
_LONGEST = 2048  # bytes of a text that is remembered
_MOST_NAMES = 512  # sequences of members of one type
_MOST_WORDS = 4096

# A member that is new costs three times what it costs as a part of the whole. So of every
# `_SAMPLE` members of a type no more than a third may be, else its next `_REST` resources are
# looked at as a whole (documents that refer to others: nothing in them repeats itself).
_SAMPLE, _NEW, _REST = 1024, 3, 4096
Rows = Sequence[tuple[int, Any]]
HEAD = frozenset(("resourceType", "id"))  # whoever asks knows them


class Words:
    """Dictionary rows of some members; the same ones are one object.

    rows: as those of `entries.Collector`.
    """

    __slots__ = ("rows",)

    def __init__(self, rows: Rows) -> None:
        self.rows = rows


class Piece(msgspec.Struct, frozen=True, gc=False):
    """What members that belong together come to.

    d: place in the order of the type, if the date that gives it is among them. rows: as those of
    `entries.Collector`, without dictionary rows.
    """

    present: int
    parts: int
    d: int | None
    rows: Rows
    words: tuple[Words, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """Members of a body that are looked at together, and what is remembered of them by text.

    What is met for the first time is not remembered: most of it (numbers of things, times) never
    comes again, and to keep it and throw it away later costs as much as to find it again.
    """

    names: tuple[str, ...]
    checks: Sequence[tuple[str, Check]]
    extract: FindsValues
    known: dict[bytes, Piece] = field(default_factory=dict)
    met: set[int] = field(default_factory=set)

    def note(self, text: bytes, piece: Piece) -> None:
        """Remember what a text comes to, if it comes again."""
        mark = hash(text)
        if mark not in self.met:
            if len(self.met) >= _MOST_MET:
                self.met.clear()
            self.met.add(mark)
        elif len(text) <= _LONGEST:
            if len(self.known) >= _MOST_TEXTS:
                self.known.clear()
            self.known[text] = piece


@dataclass(slots=True)
class Kind:
    """How resources of one type are looked at: by the sequence of their members' names.

    looked_at, new: members of the sample; rest: resources that are not looked at this way.
    """

    type: str
    shares: Shares
    d: int  # of a resource without the date that orders the type
    key: int  # that every resource of the type has
    by_names: dict[tuple[str, ...], Sequence[Step] | None] = field(default_factory=dict)
    steps: dict[tuple[str, ...], Step] = field(default_factory=dict)
    looked_at: int = 0
    new: int = 0
    rest: int = 0

    def count(self, looked_at: int, new: int) -> None:
        """Count the members of one resource."""
        self.looked_at += looked_at
        self.new += new
        if self.looked_at >= _SAMPLE:
            if self.new * _NEW > self.looked_at:
                self.rest = _REST
            self.looked_at = self.new = 0

    def divided(self, names: tuple[str, ...]) -> Sequence[Step] | None:
        """Return how a body of these members is looked at; None: as a whole."""
        try:
            return self.by_names[names]
        except KeyError:
            pass
        if len(self.by_names) >= _MOST_NAMES:
            return None
        found = self.by_names[names] = _divided(self, names)
        return found


class Pieces:
    """What is remembered of members, for one installation's settings."""

    def __init__(
        self,
        tenant: int,
        zone: tzinfo,
        bases: tuple[str, ...],
        identifier_keys: IdentifierKeys | None,
    ) -> None:
        self._tenant = tenant
        self._zone = zone
        self._bases = bases
        self._identifier_keys = identifier_keys
        self._kinds: dict[str, Kind] = {}
        self._words: dict[tuple[Any, ...], tuple[Words]] = {}

    def entries(self, type_name: str, body: bytes) -> Entries | None:
        """Return the index entries of a resource without its links, if it is valid R4.

        body: compact JSON of this type, whose id is one. None: it has to be looked at as a whole.
        """
        kind = self.kind(type_name)
        if kind is None:
            return None
        if kind.rest:
            kind.rest -= 1
            return None
        members = fhir_json.members(body)
        steps = kind.divided(tuple(members))
        if steps is None:
            return None
        pieces = []
        new = 0
        for step in steps:
            texts = [bytes(members[name]) for name in step.names]
            text = texts[0] if len(texts) == 1 else b"\x00".join(texts)
            piece = step.known.get(text)
            if piece is None:
                piece = self.piece(kind, step, map(orjson.loads, texts))
                if piece is None:
                    return None
                new += 1
                step.note(text, piece)
            pieces.append(piece)
        kind.count(len(steps), new)
        whole = joined(pieces)
        words = [row for one in whole.words for row in one.rows]
        lists = together([*whole.rows, *words])
        lists[KEYS].append(kind.key)
        d = kind.d if whole.d is None else whole.d
        return Entries(d, kind.shares.present(whole.present, whole.parts), *lists)

    def kind(self, type_name: str) -> Kind | None:
        """Return how resources of a type are looked at; None: as a whole."""
        known = self._kinds.get(type_name)
        if known is not None and known.shares.generation == searchparams.shared.generation:
            return known
        found = shares(type_name)
        if found is None:
            return None
        key = keys.of_type(self._tenant, definitions.type_number(type_name))
        kind = self._kinds[type_name] = Kind(type_name, found, undated(type_name), key)
        return kind

    def piece(self, kind: Kind, step: Step, values: Iterable[Any]) -> Piece | None:
        """Look at members that are not known; None when they are not right, or not alone.

        values: of the members of the step, as they come out of a JSON parser.
        """
        found: dict[str, Any] = {}
        try:
            for (name, check), value in zip(step.checks, values, strict=True):
                found[name] = value
                if not check(value):
                    return None
            if met_internal():
                return None
            collector = Collector(kind.type, self._tenant, self._bases)
            present, parts = step.extract(found, self._zone, collector)
            d = collector.finish(found, self._identifier_keys)
        except (YilianError, TooVaried, RecursionError, ValueError):
            met_internal()
            return None
        return Piece(present, parts, d, collector.rows, self._noted(collector.words))

    def _noted(self, rows: Rows) -> tuple[Words, ...]:
        """Return dictionary rows as they are remembered."""
        if not rows:
            return ()
        key = tuple(rows)
        known = self._words.get(key)
        if known is None:
            if len(self._words) >= _MOST_WORDS:
                self._words.clear()
            known = self._words[key] = (Words(rows),)
        return known


def joined(pieces: Iterable[Piece]) -> Piece:
    """Return what pieces come to together."""
    present = parts = 0
    d: int | None = None
    rows: list[tuple[int, Any]] = []
    words: list[Words] = []
    for piece in pieces:
        present |= piece.present
        parts |= piece.parts
        if piece.d is not None:
            d = piece.d
        rows += piece.rows
        words += piece.words
    return Piece(present, parts, d, rows, tuple(words))


def _divided(kind: Kind, names: tuple[str, ...]) -> Sequence[Step] | None:
    if not names_are_right(kind.type, names):
        return None
    own = [name for name in names if name not in HEAD]
    checks = {name: check for name in own if (check := member_check(kind.type, name)) is not None}
    if len(checks) < len(own):
        return None

    def step(part: tuple[str, ...], extract: FindsValues) -> Step:
        known = kind.steps.get(part)
        if known is None:
            known = Step(part, [(name, checks[name]) for name in part], extract)
            kind.steps[part] = known
        return known

    shared = [
        (tuple(name for name in own if name in share.names), share) for share in kind.shares.list
    ]
    used = [(part, share) for part, share in shared if part or share.always]
    rest = set(own).difference(*(share.names for _, share in used))
    return [
        *(step(part, share.extract) for part, share in used),
        *(step((name,), no_values) for name in own if name in rest),
    ]
