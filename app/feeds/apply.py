"""Brings what a message says together with what is stored, in the transaction it is given.

For each resource: find the one that is meant (its own id, the owner of its identifier, the
survivor of a merge), join the statement with what is known (`merge.py`), write what changed.
A mention (staff, places, the patient of an image) fills gaps and never overwrites.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from app.errors import Conflict
from app.feeds.merge import Json, Lifecycle, Said, Told, same, together
from app.fhir import definitions
from app.fhir.ids import RECORD
from app.mapping.run import NAMELESS, add_missing
from app.store import owners, read
from app.store.database import Connection
from app.store.prepare import Preparer
from app.store.types import Change, Method
from app.store.writer import Session

# Described by the inbox entry and the Provenance already.
_NOT_KEPT = frozenset(("MessageHeader",))
# Resources that say what was, not what is: a merge does not re-point them.
_HISTORICAL = frozenset(("AuditEvent", "Patient", "Person", "Provenance"))
_MOST_MERGES = 50  # of one chain

_LOCAL = re.compile(rb'"reference":"(urn:uuid:[0-9a-f-]{36})"')
_encode = msgspec.json.Encoder(decimal_format="number").encode

_READ_TOLD = "SELECT at, elements FROM told WHERE tenant=? AND type=? AND id=?"
_WRITE_TOLD = (
    "INSERT INTO told (tenant,type,id,at,elements) VALUES (?,?,?,?,?)"
    " ON CONFLICT (tenant,type,id) DO UPDATE SET at=excluded.at, elements=excluded.elements"
)


class Statement(Protocol):
    """One resource of a converted message (`app.mapping.run.Entry`).

    key: (system, value) of the identifier that names it; id: computed from the key.
    """

    type: str
    key: tuple[str, str] | None
    id: str
    full_url: str
    mention: bool
    body: Json | None


@dataclass(frozen=True, slots=True)
class Stated:
    """What one message says: its statements, when, and what its event means.

    at: event time, microseconds since 1970. removed: elements it takes away, by resource type.
    """

    entries: Sequence[Statement]
    at: int
    lifecycle: Lifecycle
    removed: Callable[[str], frozenset[str]] = field(default=lambda type_name: frozenset())


@dataclass(slots=True)
class _Target:
    """A statement and the stored resource it is about."""

    entry: Statement
    id: str
    known: Json | None = None
    redirected: bool = False  # its own record was merged into this one
    after: Json | None = None
    told: Told | None = None


@dataclass(frozen=True, slots=True)
class Applier:
    """Applies messages with one installation's settings."""

    preparer: Preparer

    def apply(self, session: Session, stated: Stated) -> tuple[str, ...]:
        """Write what a message says and return the versions it wrote (Type/id/_history/n).

        Raises YilianError when it cannot be applied; the caller undoes what was written.
        """
        work = _Work(session, self.preparer, stated)
        return work.run()


class _Work:
    """One message on its way into the store."""

    def __init__(self, session: Session, preparer: Preparer, stated: Stated) -> None:
        self.session = session
        self.db: Connection = session.db
        self.preparer = preparer
        self.tenant = preparer.tenant
        self.stated = stated
        self.targets: dict[str, _Target] = {}
        self.local: dict[bytes, bytes] = {}  # fullUrl -> Type/id
        self.changes: dict[tuple[str, str], bytes] = {}

    def run(self) -> tuple[str, ...]:
        kept = [one for one in self.stated.entries if one.body and one.type not in _NOT_KEPT]
        merged = [one for one in kept if _replaced_by(one.body) is not None]
        for entry in kept:
            target = self._target(entry, follow=entry not in merged)
            self.targets[entry.full_url] = target
            self.local[entry.full_url.encode()] = f"{entry.type}/{target.id}".encode()
        for entry in merged:
            self._check_merge(self.targets[entry.full_url])
        for target in self.targets.values():
            self._settle(target)
        for entry in merged:
            self._merge(self.targets[entry.full_url])
        return self._write()

    # --- which resource is meant -----------------------------------------------------------------

    def _target(self, entry: Statement, *, follow: bool) -> _Target:
        known = self._stored(entry.type, entry.id)
        if known is None and entry.key and entry.key[0] != RECORD and entry.type not in NAMELESS:
            owner = self._owner(entry.type, *entry.key)
            if owner is not None:
                return _Target(entry, owner["id"], owner)
        if follow and known is not None and entry.type == "Patient":
            survivor = self._survivor(known)
            if survivor is not known:
                return _Target(entry, survivor["id"], survivor, redirected=True)
        return _Target(entry, entry.id, known)

    def _owner(self, type_name: str, system: str, value: str) -> Json | None:
        """Return the resource that carries an identifier as its own, not as a merged record's."""
        found = [
            body
            for _, raw in owners.owners(self.db, self.tenant, type_name, system, value)
            if _owns(body := _decode(raw), system, value)
        ]
        if len(found) > 1:
            text = f"several resources of type {type_name} own this identifier"
            raise Conflict(text, code="multiple-matches")
        return found[0] if found else None

    def _survivor(self, patient: Json) -> Json:
        for _ in range(_MOST_MERGES):
            target = _replaced_by(patient)
            if target is None:
                return patient
            further = self._stored("Patient", target.removeprefix("Patient/"))
            if further is None:
                return patient
            patient = further
        raise Conflict("the merges of this record have no end")

    def _stored(self, type_name: str, id_: str) -> Json | None:
        found = read.lookup(self.db, self.tenant, type_name, id_)
        return None if found is None or found.deleted else _decode(found.body)

    # --- what it says from now on ----------------------------------------------------------------

    def _settle(self, target: _Target) -> None:
        entry, known = target.entry, target.known
        body = self._resolved(entry, decode=known is not None)
        if entry.mention:
            target.after = body if known is None else dict(known)
            if known is not None:
                add_missing(target.after, body)
            return
        if target.redirected and known is not None:
            body = _without_own_numbers(body, known)
        told = self._told(entry.type, target.id) if known is not None else None
        merged = _replaced_by(entry.body) is not None
        removed = frozenset[str]() if merged else self.stated.removed(entry.type)
        said = Said(entry.type, body, self.stated.at, removed)
        target.after, target.told = together(known, told, said, self.stated.lifecycle)

    def _resolved(self, entry: Statement, *, decode: bool) -> Json:
        """Return the body of a statement with references to stored resources."""
        raw = _encode(entry.body)
        if b"urn:uuid:" not in raw:
            return dict(entry.body or {})
        raw = _LOCAL.sub(lambda m: b'"reference":"%b"' % self.local.get(m[1], m[1]), raw)
        return _decode(raw)

    def _told(self, type_name: str, id_: str) -> Told | None:
        row = self.db.one(_READ_TOLD, (self.tenant, definitions.type_number(type_name), id_))
        return Told(row[0], json.loads(row[1]) if row[1] else {}) if row else None

    # --- merges of patients ----------------------------------------------------------------------

    def _check_merge(self, source: _Target) -> None:
        """Refuse a merge of a record with itself, in a circle, or into two survivors."""
        survivor = self._survivor_of(source)
        if source.id == survivor.id:
            text = "a record cannot be merged with itself or with one that was merged into it"
            raise Conflict(text, at="MRG-1", details="circular-merge")
        if source.known is None or _replaced_by(source.known) is None:
            return
        if self._survivor(source.known)["id"] != survivor.id:
            raise Conflict(
                "the record was merged into another one before", at="MRG-1", details="merged-before"
            )

    def _survivor_of(self, source: _Target) -> _Target:
        survivor = self.targets.get(_replaced_by(source.entry.body) or "")
        if survivor is None:
            raise Conflict("a merge names no survivor", at="PID", code="required")
        return survivor

    def _merge(self, source: _Target) -> None:
        """Give the survivor the numbers of the merged record, and what refers to that record."""
        survivor = self._survivor_of(source)
        if survivor.after is not None:
            numbers = survivor.after.get("identifier") or []
            have = {(one.get("system"), one.get("value")) for one in numbers}
            survivor.after["identifier"] = [
                *numbers,
                *(
                    {**one, "use": "old"}
                    for one in (source.after or {}).get("identifier") or ()
                    if (one.get("system"), one.get("value")) not in have
                ),
            ]
        old, new = f"Patient/{source.id}".encode(), f"Patient/{survivor.id}".encode()
        found = owners.referrers(self.db, self.tenant, "Patient", source.id, but=_HISTORICAL)
        for type_name, id_, body in found:
            moved = body.replace(b'"reference":"%b"' % old, b'"reference":"%b"' % new)
            self.changes[type_name, id_] = moved

    # --- writing ---------------------------------------------------------------------------------

    def _write(self) -> tuple[str, ...]:
        told: list[tuple[Any, ...]] = []
        for target in _one_a_resource(self.targets.values()):
            kind, after = target.entry.type, target.after or {}
            if target.told is not None:
                number = definitions.type_number(kind)
                elements = json.dumps(target.told.elements) if target.told.elements else ""
                told.append((self.tenant, number, target.id, target.told.at, elements))
            if target.known is None or not same(target.known, after):
                self.changes[kind, target.id] = _with_id(after, target.id)
        changes = [
            Change(Method.UPDATE, type_name, id_, body)
            for (type_name, id_), body in self.changes.items()
        ]
        outcomes = self.session.commit(self.preparer.prepare(changes))
        if told:
            self.db.many(_WRITE_TOLD, sorted(told))
        return tuple(f"{one.type}/{one.id}/_history/{one.version_id}" for one in outcomes)


def _one_a_resource(targets: Iterable[_Target]) -> list[_Target]:
    """Join targets that turned out to be one resource: later statements win, mentions fill."""
    out: dict[tuple[str, str], _Target] = {}
    for target in targets:
        first = out.setdefault((target.entry.type, target.id), target)
        if first is not target and first.after is not None and target.after is not None:
            if target.entry.mention:
                add_missing(first.after, target.after)
            else:
                joined = dict(target.after)
                add_missing(joined, first.after)
                first.after, first.told = joined, target.told
    return list(out.values())


def _with_id(body: Json, id_: str) -> bytes:
    return _encode({"resourceType": body["resourceType"], "id": id_, **body})


def _decode(raw: bytes) -> Json:
    """Return parsed JSON whose numbers keep their digits."""
    if b"." not in raw:
        return msgspec.json.decode(raw, type=dict[str, Any])
    parsed: Json = json.loads(raw, parse_float=Decimal)
    return parsed


def _replaced_by(patient: Mapping[str, Any] | None) -> str | None:
    for link in (patient or {}).get("link") or ():
        if link.get("type") == "replaced-by":
            reference = (link.get("other") or {}).get("reference")
            return str(reference) if reference else None
    return None


def _owns(resource: Json, system: str, value: str) -> bool:
    identifiers = resource.get("identifier") or ()
    if isinstance(identifiers, dict):
        identifiers = (identifiers,)
    return any(
        one.get("system") == system and one.get("value") == value and one.get("use") != "old"
        for one in identifiers
    )


def _without_own_numbers(body: Json, survivor: Json) -> Json:
    """Return a statement about a merged record without the numbers the survivor has kinds of."""
    have = survivor.get("identifier") or ()
    numbers = {(one.get("system"), one.get("value")) for one in have}
    systems = {one.get("system") for one in have}
    fresh = [
        one
        for one in body.get("identifier") or ()
        if one.get("system") not in systems and (one.get("system"), one.get("value")) not in numbers
    ]
    rest = {name: value for name, value in body.items() if name not in ("identifier", "active")}
    return {**rest, "identifier": fresh} if fresh else rest
