"""From codes to resources: what carries a canonical key, and what refers to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from app.fhir import definitions, searchparams
from app.store import keys, read
from app.store.commit import CREATED, UPDATED
from app.store.database import Connection
from app.store.types import Stored
from app.store.unite import MERGED

_LAST = (1 << 63) - 1


class Thing(NamedTuple):
    """A resource, and the pks of all that are one with it: its own first."""

    stored: Stored
    pks: Sequence[int]


def things(db: Connection, tenant: int, canonical: Sequence[str], limit: int) -> list[Thing]:
    """Return the resources that carry one of these canonical keys, oldest first, each once."""
    hashed = [keys.canonical(tenant, key) for key in canonical]
    if len(hashed) == 1:  # the usual case: one probe
        test, bound = "ident.k=?", hashed[0]
    else:
        test, bound = db.in_list("ident.k"), db.array(hashed)
    rows = db.all(
        "SELECT res.pk,res.type,res.id,res.vid,res.lu,res.method,res.body,link.f FROM ident"
        f" JOIN res ON res.pk=ident.pk LEFT JOIN link ON link.t=res.pk AND link.kind={MERGED}"
        f" AND link.src=link.f WHERE {test} AND res.method IN ({CREATED},{UPDATED})"
        " ORDER BY res.pk LIMIT ?",
        (bound, limit),
    )
    found: dict[int, Thing] = {}
    for pk, kind, id_, *version, merged in rows:
        if pk not in found:
            found[pk] = Thing(read.stored(definitions.type_name(kind), id_, version), [pk])
        if merged is not None and merged not in found[pk].pks:
            found[pk] = Thing(found[pk].stored, [*found[pk].pks, merged])
    return list(found.values())


def find_by_keys(db: Connection, tenant: int, canonical: Sequence[str], limit: int) -> list[Stored]:
    """Return the resources that carry one of these canonical keys, oldest first, each once."""
    return [thing.stored for thing in things(db, tenant, canonical, limit)]


class Wanted(NamedTuple):
    """Which resources are asked for: of a type, by a reference, how many listed and counted."""

    source: str
    code: str
    listed: int
    counted: int


@dataclass(frozen=True, slots=True)
class Referring:
    """What refers to a thing: the newest by their primary date, and how many (up to a bound)."""

    newest: Sequence[Stored]
    count: int


@dataclass(frozen=True, slots=True)
class Around:
    """What is around a thing: what refers to it, by type, and resources read with it."""

    referring: Mapping[str, Referring]
    read: Mapping[tuple[str, str], Stored]


# Each a SELECT of: tag, date, type, id, vid, lu, method, body.
_LISTED = (
    "SELECT {tag},w.d,res.type,res.id,res.vid,res.lu,res.method,res.body FROM"
    " (SELECT pk,d FROM ix WHERE k=? AND d<=? ORDER BY d DESC LIMIT ?) w JOIN res ON res.pk=w.pk"
)
# `lu` is the number.
_COUNTED = (
    "SELECT {tag},NULL,NULL,NULL,NULL,count(*),NULL,NULL FROM"
    " (SELECT 1 FROM ix WHERE k=? AND d<=? LIMIT ?) w"
)
# Whom the newest are about: `ix.s`, the patient whose compartment they are in.
_PATIENTS = (
    "SELECT -1,NULL,type,id,vid,lu,method,body FROM res WHERE type=? AND pk IN"
    " (SELECT s FROM (SELECT s FROM ix WHERE k=? AND d<=? ORDER BY d DESC LIMIT ?) w)"
)
_READ = "SELECT -1,NULL,type,id,vid,lu,method,body FROM res WHERE tenant=? AND type=? AND id=?"


def around(
    db: Connection,
    tenant: int,
    pks: Sequence[int],
    wanted: Sequence[Wanted],
    also: Sequence[tuple[str, str]],
    until_us: int | None = None,
) -> Around:
    """Return what refers to a thing, the patients that is about, and `also` these resources.

    One statement, which walks indexes by `listed` and `counted` rows at most, whatever a device has
    sent. until_us: only those whose date begins no later.
    """
    latest = _LAST if until_us is None else 2 * until_us + 1  # `ix.d`: see tables.py
    patient = definitions.type_number("Patient")
    parts: list[str] = []
    params: list[Any] = []
    for tag, one in enumerate(wanted):
        param = searchparams.find(one.source, one.code)
        for key in [keys.reference(param.number, pk) for pk in pks] if param else ():
            parts += [_LISTED.format(tag=tag), _COUNTED.format(tag=tag), _PATIENTS]
            params += [key, latest, one.listed, key, latest, one.counted]
            params += [patient, key, latest, one.listed]
    for type_name, id_ in also:
        if definitions.is_resource_type(type_name):
            parts.append(_READ)
            params += [tenant, definitions.type_number(type_name), id_]
    listed: list[list[tuple[int, Stored]]] = [[] for _ in wanted]
    counts = [0] * len(wanted)
    others: dict[tuple[str, str], Stored] = {}
    for tag, d, kind, id_, *version in db.all(" UNION ALL ".join(parts), params):
        if kind is None:
            counts[tag] += version[1]
        elif tag >= 0:
            listed[tag].append((d, read.stored(wanted[tag].source, id_, version)))
        elif version[2] in (CREATED, UPDATED):
            found = read.stored(definitions.type_name(kind), id_, version)
            others[found.type, id_] = found
    for each in listed:
        each.sort(key=lambda pair: -pair[0])  # stable: equal ones in the order of the index
    referring = {
        one.source: Referring([stored for _, stored in each[: one.listed]], min(n, one.counted))
        for one, each, n in zip(wanted, listed, counts, strict=True)
    }
    return Around(referring, others)


def count_types(db: Connection, tenant: int, most: int) -> dict[str, int]:
    """Return how many resources of each type there are, counting no further than `most` each."""
    found = {}
    for name in definitions.resource_types():
        row = db.one(
            "SELECT count(*) FROM (SELECT 1 FROM ix WHERE k=? LIMIT ?) AS bounded",
            (keys.of_type(tenant, definitions.type_number(name)), most),
        )
        if row and row[0]:
            found[name] = row[0]
    return found
