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

from collections.abc import Mapping, Sequence
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
from app.store.entries import Collector, Entries, IdentifierKeys, together, undated

_MOST_TEXTS = 1024  # of one member
_LONGEST = 2048  # bytes of a text that is remembered
_MOST_NAMES = 512  # sequences of members of one type

# A member that is new costs three times what it costs as a part of the whole. So of every
# `_SAMPLE` members of a type no more than a third may be, else its next `_REST` resources are
# looked at as a whole (documents that refer to others: nothing in them repeats itself).
_SAMPLE, _NEW, _REST = 1024, 3, 4096
_HEAD = frozenset(("resourceType", "id"))  # whoever asks knows them

Members = Mapping[str, msgspec.Raw]


class _Piece(NamedTuple):
    """What members that belong together come to.

    d: place in the order of the type, if the date that gives it is among them. rows: as those of
    `entries.Collector`.
    """

    present: int
    parts: int
    d: int | None
    rows: Sequence[tuple[int, Any]]


@dataclass(frozen=True, slots=True)
class _Step:
    """Members of a body that are looked at together, and what is remembered of them by text."""

    names: tuple[str, ...]
    checks: Sequence[tuple[str, Check]]
    extract: FindsValues
    known: dict[bytes, _Piece] = field(default_factory=dict)


@dataclass(slots=True)
class _Kind:
    """How resources of one type are looked at: by the sequence of their members' names.

    looked_at, new: members of the sample; rest: resources that are not looked at this way.
    """

    shares: Shares
    d: int  # of a resource without the date that orders the type
    by_names: dict[tuple[str, ...], Sequence[_Step] | None] = field(default_factory=dict)
    steps: dict[tuple[str, ...], _Step] = field(default_factory=dict)
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
        self._kinds: dict[str, _Kind] = {}

    def entries(self, type_name: str, body: bytes) -> Entries | None:
        """Return the index entries of a resource without its links, if it is valid R4.

        body: compact JSON of this type, whose id is one. None: it has to be looked at as a whole.
        """
        kind = self._kind(type_name)
        if kind is None:
            return None
        if kind.rest:
            kind.rest -= 1
            return None
        members = fhir_json.members(body)
        steps = self._steps(kind, type_name, tuple(members))
        if steps is None:
            return None
        rows: list[tuple[int, Any]] = []
        present = parts = new = 0
        d = kind.d
        for step in steps:
            names = step.names
            text = bytes(members[names[0]]) if len(names) == 1 else _together(members, names)
            piece = step.known.get(text)
            if piece is None:
                piece = self._piece(type_name, step, members)
                if piece is None:
                    return None
                new += 1
                if len(text) <= _LONGEST:
                    if len(step.known) >= _MOST_TEXTS:
                        step.known.clear()
                    step.known[text] = piece
            piece_present, piece_parts, piece_d, piece_rows = piece
            present |= piece_present
            parts |= piece_parts
            if piece_d is not None:
                d = piece_d
            rows += piece_rows
        kind.count(len(steps), new)
        lists = together(rows)
        lists[0].append(keys.of_type(self._tenant, definitions.type_number(type_name)))
        return Entries(d, kind.shares.present(present, parts), *lists)

    def _kind(self, type_name: str) -> _Kind | None:
        known = self._kinds.get(type_name)
        if known is not None and known.shares.generation == searchparams.shared.generation:
            return known
        found = shares(type_name)
        if found is None:
            return None
        kind = self._kinds[type_name] = _Kind(found, undated(type_name))
        return kind

    def _steps(self, kind: _Kind, type_name: str, names: tuple[str, ...]) -> Sequence[_Step] | None:
        try:
            return kind.by_names[names]
        except KeyError:
            pass
        if len(kind.by_names) >= _MOST_NAMES:
            return None
        found = kind.by_names[names] = _divided(kind, type_name, names)
        return found

    def _piece(self, type_name: str, step: _Step, members: Members) -> _Piece | None:
        """Look at members that are not known; None when they are not right, or not alone."""
        found: dict[str, Any] = {}
        try:
            for name, check in step.checks:
                value = found[name] = orjson.loads(bytes(members[name]))
                if not check(value):
                    return None
            if met_internal():
                return None
            collector = Collector(type_name, self._tenant, self._bases)
            present, parts = step.extract(found, self._zone, collector)
            d = collector.finish(found, self._identifier_keys)
        except (YilianError, TooVaried, RecursionError, ValueError):
            met_internal()
            return None
        return _Piece(present, parts, d, collector.rows)


def _divided(kind: _Kind, type_name: str, names: tuple[str, ...]) -> Sequence[_Step] | None:
    """Return how a body of these members is looked at; None: as a whole."""
    if not names_are_right(type_name, names):
        return None
    own = [name for name in names if name not in _HEAD]
    checks = {name: check for name in own if (check := member_check(type_name, name)) is not None}
    if len(checks) < len(own):
        return None

    def step(part: tuple[str, ...], extract: FindsValues) -> _Step:
        known = kind.steps.get(part)
        if known is None:
            known = _Step(part, [(name, checks[name]) for name in part], extract)
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


def _together(members: Members, names: Sequence[str]) -> bytes:
    """Return the texts of several members (or none) as one."""
    return b"\x00".join(bytes(members[name]) for name in names)
