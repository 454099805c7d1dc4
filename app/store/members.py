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
from typing import Any, NamedTuple

import msgspec
import orjson

from app.errors import YilianError
from app.fhir import definitions, searchparams
from app.fhir import json as fhir_json
from app.fhir.extract_members import FindsValues, Shares, no_values, shares
from app.fhir.validators import Check, TooVaried, member_check, met_internal, names_are_right
from app.store import keys
from app.store.blanks import Asked, Constants, Fill, NotUnderstood, Pattern, cut, learnt
from app.store.entries import (
    IDENTS,
    KEYS,
    Collector,
    Entries,
    IdentifierKeys,
    Rows,
    together,
    undated,
)

_MOST_TEXTS = 1024  # of one member
_MOST_MET = 4096  # texts of one member that were met once
_LONGEST = 2048  # bytes of a text that is remembered
_MOST_NAMES = 512  # sequences of members of one type
_MOST_WORDS = 4096
_MOST_QUICK = 8  # patterns that are tried one after the other

# A member that is new costs three times what it costs as a part of the whole. So of every
# `_SAMPLE` members of a type no more than a third may be, else its next `_REST` resources are
# looked at as a whole (documents that refer to others: nothing in them repeats itself).
_SAMPLE, _NEW, _REST = 1024, 3, 4096
HEAD = frozenset(("resourceType", "id"))  # whoever asks knows them


class Words:
    """Dictionary rows of some members; the same ones are one object.

    rows: as those of `entries.Collector`.
    """

    __slots__ = ("rows",)

    def __init__(self, rows: Rows) -> None:
        self.rows = rows


class Piece(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What members that belong together come to; not told from others by its content.

    d: place in the order of the type, if the date that gives it is among them. rows: as those of
    `entries.Collector`, without dictionary rows.
    """

    present: int
    parts: int
    d: int | None
    rows: Rows
    words: tuple[Words, ...]

    def same_as(self, other: Piece) -> bool:
        """Say whether another piece says the same, in whatever order."""
        return self._content() == other._content()

    def _content(self) -> tuple[Any, ...]:
        words = [row for one in self.words for row in one.rows]
        rows = (sorted(some, key=repr) for some in (self.rows, words))
        return self.present, self.parts, self.d, *rows


class Filled(NamedTuple):
    """What a member comes to that differs from others in its blanks.

    same: with all of them; own, d: its own rows, and its place in the order.
    """

    same: Piece
    own: list[tuple[int, Any]]
    d: int | None

    def whole(self) -> Piece:
        same = self.same
        d = same.d if self.d is None else self.d
        return Piece(same.present, same.parts, d, [*self.own, *same.rows], same.words)


class _Learnt(NamedTuple):
    """A pattern, and what all members of it come to; without one: it was met once."""

    pattern: Pattern | None
    same: Piece


class Quick(NamedTuple):
    """A pattern with one blank: what stands before and behind it; what fills it.

    first, last: where the blank is; same: what all members come to.
    """

    before: bytes
    behind: bytes
    first: int
    last: int | None
    same: Piece
    fill: Fill


_ONCE = _Learnt(None, Piece(0, 0, None, (), ()))


@dataclass(frozen=True, slots=True)
class Step:
    """Members of a body that are looked at together, and what is remembered of them by text.

    What is met for the first time is not remembered: most of it (numbers of things, times) never
    comes again, and to keep it and throw it away later costs as much as to find it again.
    patterns: of members that differ in a value alone (`blanks.py`); None: there is none; quick: the
    first ones of these that have one blank.
    """

    names: tuple[str, ...]
    checks: Sequence[tuple[str, Check]]
    extract: FindsValues
    known: dict[bytes, Piece] = field(default_factory=dict)
    met: set[int] = field(default_factory=set)
    patterns: dict[Constants, _Learnt | None] = field(default_factory=dict)
    quick: list[Quick] = field(default_factory=list)

    def quickly(self, text: bytes) -> Filled | None:
        """Return what a member comes to by a pattern of one blank that was met before."""
        for before, behind, first, last, same, fill in self.quick:
            if text.startswith(before) and text.endswith(behind):
                own = fill(text[first:last])
                if own is not None:
                    return Filled(same, own[1], own[0])
        return None

    def again(self, text: bytes) -> bool:
        """Say whether a text was asked for before."""
        mark = hash(text)
        if mark in self.met:
            return True
        if len(self.met) >= _MOST_MET:
            self.met.clear()
        self.met.add(mark)
        return False

    def keep(self, text: bytes, piece: Piece) -> None:
        """Remember what a text comes to."""
        if len(text) <= _LONGEST:
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
                filled = None
                if len(texts) == 1:
                    filled = step.quickly(text) or self.filled(kind, step, text)
                if filled is not None:
                    piece = filled.whole()
                else:
                    piece = self.piece(kind, step, map(orjson.loads, texts))
                    if piece is None:
                        return None
                    new += 1
                if step.again(text):
                    step.keep(text, piece)
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

    def filled(
        self, kind: Kind, step: Step, text: bytes, start: int = 0, value: Any = None
    ) -> Filled | None:
        """Return what a member comes to by its pattern; None: look at it with `piece`.

        start: of the value in its text; value: the same, if it is at hand.
        """
        apart = cut(text, start) if len(text) <= _LONGEST else None
        if apart is None:
            return None
        constants, blanks = apart
        patterns = step.patterns
        try:
            known = patterns[constants]
        except KeyError:
            if len(patterns) >= _MOST_TEXTS:
                patterns.clear()
                step.quick.clear()
            patterns[constants] = _ONCE
            return None
        if known is _ONCE:
            known = patterns[constants] = self._learnt(kind, step, text, start)
        if known is None or known.pattern is None:
            return None
        pattern = known.pattern
        try:
            d, own = pattern.filled(blanks, kind.type, self._tenant, self._zone)
        except NotUnderstood:
            return None
        if pattern.keyed and self._identifier_keys is not None:
            member = orjson.loads(text[start:]) if value is None else value
            found = self._identifier_keys(kind.type, {step.names[0]: member})
            own += [(IDENTS, keys.canonical(self._tenant, key)) for key in found]
        return Filled(known.same, own, d)

    def _learnt(self, kind: Kind, step: Step, text: bytes, start: int) -> _Learnt | None:
        """Return the pattern of a member; None: there is none; `_ONCE`: another one may tell."""
        apart = cut(text, start)
        try:
            whole = self.piece(kind, step, (orjson.loads(text[start:]),))
        except orjson.JSONDecodeError:  # a number beyond a double
            whole = None
        if whole is None or apart is None:
            return _ONCE
        constants, blanks = apart
        (name, check), *_ = step.checks
        asked = Asked(
            kind.type, name, check, step.extract,
            self._tenant, self._zone, self._bases, self._identifier_keys,
        )  # fmt: skip
        try:
            pattern = learnt(asked, constants, len(blanks), start)
        except (NotUnderstood, YilianError, TooVaried, RecursionError, ValueError):
            met_internal()
            return None
        words = self._noted(pattern.words)
        same = Piece(pattern.present, pattern.parts, pattern.d, pattern.rows, words)
        known = step.patterns[constants] = _Learnt(pattern, same)
        # What a pattern does not say is found here: it has to give just this member.
        filled = self.filled(kind, step, text, start)
        if filled is None or not filled.whole().same_as(whole):
            return None
        fill = pattern.fill(kind.type, self._tenant, self._zone)
        if fill is not None and len(step.quick) < _MOST_QUICK:
            before, behind = constants or (text[:start], b"")
            last = -len(behind) or None
            step.quick.append(Quick(before, behind, len(before), last, same, fill))
        return known

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
