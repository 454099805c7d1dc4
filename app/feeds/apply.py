"""Brings what a message says together with what is stored, in the transaction it is given.

For each resource: find the one that is meant (its own id, the owner of its identifier, the
survivor of a merge), join the statement with what is known (`merge.py`), write what changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.errors import Conflict
from app.feeds.merge import Json, Lifecycle, Said, Told, fresh, same, together
from app.feeds.statement import Statement, decode, replaced_by, with_id
from app.fhir import definitions
from app.fhir.ids import RECORD
from app.mapping.run import NAMELESS, add_missing
from app.store import owners, read
from app.store.prepare import Prepared, Preparer
from app.store.types import Change, Method
from app.store.writer import Session

# Resources that say what was, not what is: a merge does not re-point them.
_HISTORICAL = frozenset(("AuditEvent", "Patient", "Person", "Provenance"))
_MOST_MERGES = 50  # of one chain

_READ_TOLD = "SELECT at, elements FROM told WHERE tenant=? AND type=? AND id=?"
_WRITE_TOLD = (
    "INSERT INTO told (tenant,type,id,at,elements) VALUES (?,?,?,?,?)"
    " ON CONFLICT (tenant,type,id) DO UPDATE SET at=excluded.at, elements=excluded.elements"
)


@dataclass(frozen=True, slots=True)
class Stated:
    """What one message says: its statements, when, and what its event means.

    at: event time, microseconds since 1970. removed: elements it takes away, by resource type.
    """

    statements: Sequence[Statement]
    at: int
    lifecycle: Lifecycle
    removed: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Applier:
    """Applies messages with one installation's settings."""

    preparer: Preparer

    def apply(self, session: Session, stated: Stated) -> tuple[str, ...]:
        """Write what a message says and return the versions it wrote (Type/id/_history/n).

        Raises YilianError when it cannot be applied, PreconditionFailed when another writer
        (PostgreSQL has many) changed what it is about; the caller undoes what was written.
        """
        return _Work(session, self.preparer, stated).run()


@dataclass(slots=True)
class _Target:
    """A statement and the stored resource it is about.

    redirected: its own record was merged into this one. after: the resource from now on; None
    while it is just what was stated. told: None for mentions, which tell nothing.
    """

    said: Statement
    id: str
    known: Json | None = None
    redirected: bool = False
    after: Json | None = None
    told: Told | None = None

    @property
    def type(self) -> str:
        return self.said.type

    def body(self) -> Json:
        """Return the resource from now on, to be changed further."""
        if self.after is None:
            self.after = decode(self.said.body)
        return self.after


class _Work:
    """One message on its way into the store."""

    def __init__(self, session: Session, preparer: Preparer, stated: Stated) -> None:
        self.session = session
        self.db = session.db
        self.preparer = preparer
        self.tenant = preparer.tenant
        self.stated = stated
        self.targets: dict[tuple[str, str], _Target] = {}  # by type and computed id
        self.moved: dict[bytes, bytes] = {}  # references to other resources than computed
        self.repointed: dict[tuple[str, str], bytes] = {}
        self.seen: dict[tuple[str, str], str] = {}  # the versions that all this is decided on

    def run(self) -> tuple[str, ...]:
        for said in self.stated.statements:
            target = self._target(said)
            self.targets[said.type, said.id] = target
            if target.id != said.id:
                self.moved[said.local] = f"{said.type}/{target.id}".encode()
        merged = [one for one in self.targets.values() if one.said.replaced_by]
        for source in merged:
            self._check_merge(source)
        for target in self.targets.values():
            self._settle(target)
        for source in merged:
            self._merge(source)
        return self._write()

    # --- which resource is meant -----------------------------------------------------------------

    def _target(self, said: Statement) -> _Target:
        known = self._stored(said.type, said.id)
        if known is None and said.key and said.key[0] != RECORD and said.type not in NAMELESS:
            owner = self._owner(said.type, *said.key)
            if owner is not None:
                return _Target(said, owner["id"], owner)
        if known is not None and said.type == "Patient" and not said.replaced_by:
            survivor = self._survivor(known)
            if survivor is not known:
                return _Target(said, survivor["id"], survivor, redirected=True)
        return _Target(said, said.id, known)

    def _owner(self, type_name: str, system: str, value: str) -> Json | None:
        """Return the resource that carries an identifier as its own, not as a merged record's."""
        found = [
            body
            for _, raw in owners.owners(self.db, self.tenant, type_name, system, value)
            if _owns(body := decode(raw), system, value)
        ]
        if len(found) > 1:
            text = f"several resources of type {type_name} own this identifier"
            raise Conflict(text, code="multiple-matches")
        if not found:
            return None
        self.seen.setdefault((type_name, found[0]["id"]), found[0]["meta"]["versionId"])
        return found[0]

    def _survivor(self, patient: Json) -> Json:
        for _ in range(_MOST_MERGES):
            target = replaced_by(patient)
            further = self._stored("Patient", target) if target else None
            if further is None:
                return patient
            patient = further
        raise Conflict("the merges of this record have no end")

    def _stored(self, type_name: str, id_: str) -> Json | None:
        found = read.lookup(self.db, self.tenant, type_name, id_)
        if found is None or found.deleted:
            return None
        self.seen.setdefault((type_name, id_), str(found.version_id))
        return decode(found.body)

    # --- what it says from now on ----------------------------------------------------------------

    def _settle(self, target: _Target) -> None:
        """Decide what the resource is from now on, and when its elements were told."""
        said, known = target.said, target.known
        raw = self._resolved(said.body)
        if raw is not said.body:
            target.after = decode(raw)
        if said.mention:
            if known is not None:
                target.after = _filled(known, target.body())
            return
        lifecycle, at = self.stated.lifecycle, self.stated.at
        removed = (
            frozenset() if said.replaced_by else self.stated.removed.get(said.type, frozenset())
        )
        if known is None:
            watched = removed or lifecycle.specials(said.type)
            body = target.body() if watched else {}
            target.told = fresh(Said(said.type, body, at, removed), lifecycle)
            return
        body = target.body()
        if target.redirected:
            body = _without_own_numbers(body, known)
        statement = Said(said.type, body, at, removed)
        told = self._told(said.type, target.id)
        target.after, target.told = together(known, told, statement, lifecycle)

    def _resolved(self, raw: bytes) -> bytes:
        """Return a body with its references to what is really meant."""
        for old, new in self.moved.items():
            if old in raw:
                raw = raw.replace(b'"reference":"%b"' % old, b'"reference":"%b"' % new)
        return raw

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
        if source.known is None or replaced_by(source.known) is None:
            return
        if self._survivor(source.known)["id"] != survivor.id:
            raise Conflict(
                "the record was merged into another one before", at="MRG-1", details="merged-before"
            )

    def _survivor_of(self, source: _Target) -> _Target:
        survivor = self.targets.get(("Patient", source.said.replaced_by or ""))
        if survivor is None:
            raise Conflict("a merge names no survivor", at="PID", code="required")
        return survivor

    def _merge(self, source: _Target) -> None:
        """Give the survivor the numbers of the merged record, and what refers to that record."""
        survivor = self._survivor_of(source)
        body = survivor.body()
        numbers = body.get("identifier") or []
        have = {(one.get("system"), one.get("value")) for one in numbers}
        body["identifier"] = [
            *numbers,
            *(
                {**one, "use": "old"}
                for one in source.body().get("identifier") or ()
                if (one.get("system"), one.get("value")) not in have
            ),
        ]
        old, new = f"Patient/{source.id}".encode(), f"Patient/{survivor.id}".encode()
        found = owners.referrers(self.db, self.tenant, "Patient", source.id, but=_HISTORICAL)
        for type_name, id_, raw in found:
            moved = raw.replace(b'"reference":"%b"' % old, b'"reference":"%b"' % new)
            self.repointed[type_name, id_] = moved
            self.seen.setdefault((type_name, id_), decode(raw)["meta"]["versionId"])

    # --- writing ---------------------------------------------------------------------------------

    def _write(self) -> tuple[str, ...]:
        targets = _one_a_resource(self.targets.values())
        ready: list[Prepared] = []
        changes: dict[tuple[str, str], bytes] = dict(self.repointed)
        for target in targets:
            if target.known is None and target.after is None and target.said.prepared:
                ready.append(target.said.prepared)
            elif target.known is None or not same(target.known, target.body()):
                changes[target.type, target.id] = with_id(target.body(), target.id)
        ready += self.preparer.prepare(
            [
                Change(
                    Method.UPDATE, *at, raw, if_match=(self.seen[at],) if at in self.seen else ()
                )
                for at, raw in changes.items()
            ]
        )
        outcomes = self.session.commit(ready)
        told = [self._told_row(target) for target in targets if target.told is not None]
        if told:
            self.db.many(_WRITE_TOLD, sorted(told))
        return tuple(f"{one.type}/{one.id}/_history/{one.version_id}" for one in outcomes)

    def _told_row(self, target: _Target) -> tuple[Any, ...]:
        told = target.told or Told()
        elements = json.dumps(told.elements) if told.elements else ""
        number = definitions.type_number(target.type)
        return self.tenant, number, target.id, told.at, elements


def _one_a_resource(targets: Iterable[_Target]) -> list[_Target]:
    """Join targets that turned out to be one resource: later statements win, mentions fill."""
    out: dict[tuple[str, str], _Target] = {}
    for target in targets:
        first = out.setdefault((target.type, target.id), target)
        if first is target:
            continue
        if target.said.mention:
            first.after = _filled(first.body(), target.body())
        else:
            first.after = _filled(target.body(), first.body())
            first.told = target.told
    return list(out.values())


def _filled(body: Json, more: Json) -> Json:
    filled = dict(body)
    add_missing(filled, {name: value for name, value in more.items() if name != "meta"})
    return filled


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
    systems = {one.get("system") for one in survivor.get("identifier") or ()}
    fresh_ones = [one for one in body.get("identifier") or () if one.get("system") not in systems]
    rest = {name: value for name, value in body.items() if name not in ("identifier", "active")}
    return {**rest, "identifier": fresh_ones} if fresh_ones else rest
