"""From codes to resources: what carries a canonical key, and what refers to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from app.fhir import definitions, searchparams
from app.store import keys, read
from app.store.database import Connection
from app.store.states import CREATED, UPDATED
from app.store.types import Stored
from app.store.unite import MERGED


class Thing(NamedTuple):
    """A resource, and the pks of all that are one with it: its own first."""

    stored: Stored
    pks: Sequence[int]


def things(db: Connection, tenant: int, canonical: Sequence[str], limit: int) -> list[Thing]:
    """Return the resources that carry one of these canonical keys, oldest first, each once."""
    sql, params = _carriers(db, tenant, canonical, limit)
    return _things(db.all(sql, params))


def _carriers(
    db: Connection, tenant: int, canonical: Sequence[str], limit: int
) -> tuple[str, list[Any]]:
    """Return the statement of `things`, whose rows are like those of `around`, and its values."""
    hashed = [keys.canonical(tenant, key) for key in canonical]
    if len(hashed) == 1:  # the usual case: one probe
        test, bound = "ident.k=?", hashed[0]
    else:
        test, bound = db.in_list("ident.k"), db.array(hashed)
    inner = (
        "SELECT res.pk,res.type,res.id,res.vid,res.lu,res.method,res.body,link.f FROM ident"
        f" JOIN res ON res.pk=ident.pk LEFT JOIN link ON link.t=res.pk AND link.kind={MERGED}"
        f" AND link.src=link.f WHERE {test} AND res.method IN ({CREATED},{UPDATED})"
        f" ORDER BY res.pk LIMIT {int(limit)}"
    )
    return f"SELECT {_THING},t.* FROM ({inner}) t", [bound]


def _things(rows: Iterable[tuple[Any, ...]]) -> list[Thing]:
    found: dict[int, Thing] = {}
    for _, pk, kind, id_, *version, merged in rows:
        if pk not in found:
            found[pk] = Thing(read.stored(definitions.type_name(kind), id_, version), [pk])
        if merged is not None and merged not in found[pk].pks:
            found[pk] = Thing(found[pk].stored, [*found[pk].pks, merged])
    return [found[pk] for pk in sorted(found)]


def find_by_keys(db: Connection, tenant: int, canonical: Sequence[str], limit: int) -> list[Stored]:
    """Return the resources that carry one of these canonical keys, oldest first, each once."""
    return [thing.stored for thing in things(db, tenant, canonical, limit)]


class Wanted(NamedTuple):
    """Which resources are asked for: of a type, by a reference, how many listed and counted.

    patients: also whom those that are listed are about.
    """

    source: str
    code: str
    listed: int
    counted: int
    patients: bool = False


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


# Each a SELECT of: tag, date (of a thing: its pk), type, id, vid, lu, method, body, and of a thing
# the pk of one that was merged into it. Small numbers stand in the text, for a bound value costs
# the driver as much as a row.
_THING = -2
_LISTED = (
    "SELECT {tag},w.d,res.type,res.id,res.vid,res.lu,res.method,res.body,NULL FROM (SELECT pk,d"
    " FROM ix WHERE k=?{until} ORDER BY d DESC LIMIT {most}) w JOIN res ON res.pk=w.pk"
)
# `lu` is the number.
_COUNTED = (
    "SELECT {tag},NULL,NULL,NULL,NULL,count(*),NULL,NULL,NULL FROM"
    " (SELECT 1 FROM ix WHERE k=?{until} LIMIT {most}) w"
)
# Whom the newest are about: `ix.s`, the patient whose compartment they are in.
_PATIENTS = (
    "SELECT -1,NULL,type,id,vid,lu,method,body,NULL FROM res WHERE type={patient} AND pk IN (SELECT"
    " s FROM (SELECT s FROM ix WHERE k=?{until} ORDER BY d DESC LIMIT {most}) w)"
)
_READ = (
    "SELECT -1,NULL,type,id,vid,lu,method,body,NULL FROM res"
    " WHERE tenant={tenant} AND type={number} AND id=?"
)


class Guess(NamedTuple):
    """What a thing was when it was asked for before: its pks, and what was read with it."""

    pks: Sequence[int]
    also: Sequence[tuple[str, str]]


def things_and_around(
    db: Connection,
    tenant: int,
    canonical: Sequence[str],
    limit: int,
    wanted: Sequence[Wanted],
    guess: Guess,
) -> tuple[list[Thing], Around | None]:
    """Return what `things` does, and what is around it if it is still what it was.

    One statement: who guesses right has one round trip less.
    """
    carried, params = _carriers(db, tenant, canonical, limit)
    more, values = _around_of(tenant, guess.pks, wanted, guess.also, None)
    rows = db.all(f"{carried} UNION ALL {more}", [*params, *values])
    found = _things(row for row in rows if row[0] == _THING)
    right = len(found) == 1 and tuple(found[0].pks) == tuple(guess.pks)
    return found, _sorted((row for row in rows if row[0] != _THING), wanted) if right else None


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
    sql, params = _around_of(tenant, pks, wanted, also, until_us)
    return _sorted(db.all(sql, params), wanted)


def _around_of(
    tenant: int,
    pks: Sequence[int],
    wanted: Sequence[Wanted],
    also: Sequence[tuple[str, str]],
    until_us: int | None,
) -> tuple[str, list[Any]]:
    until = () if until_us is None else (2 * until_us + 1,)  # `ix.d`: see tables.py
    types = tuple(type_name for type_name, _ in also)
    params: list[Any] = []
    for one in wanted:
        param = searchparams.find(one.source, one.code)
        number = param.number if param else 0
        parts = 1 + (one.counted > one.listed) + one.patients
        for pk in pks:
            params += (keys.reference(number, pk), *until) * parts
    params += [id_ for _, id_ in also]
    return _around(tuple(wanted), len(pks), types, tenant, timed=bool(until)), params


@lru_cache(maxsize=256)
def _around(
    wanted: Sequence[Wanted], things: int, types: Sequence[str], tenant: int, *, timed: bool
) -> str:
    """Return the statement of `around`."""
    until = " AND d<=?" if timed else ""
    patient = definitions.type_number("Patient")
    parts: list[str] = []
    for tag, one in enumerate(wanted):
        found = [_LISTED.format(tag=tag, until=until, most=one.listed)]
        if one.counted > one.listed:
            found.append(_COUNTED.format(tag=tag, until=until, most=one.counted))
        if one.patients:
            found.append(_PATIENTS.format(until=until, most=one.listed, patient=patient))
        parts += found * things
    numbers = (definitions.type_number(name) for name in types)
    parts += [_READ.format(tenant=tenant, number=number) for number in numbers]
    return " UNION ALL ".join(parts)


def _sorted(rows: Iterable[tuple[Any, ...]], wanted: Sequence[Wanted]) -> Around:
    """Return what the rows of `around` say."""
    listed: list[list[tuple[int, Stored]]] = [[] for _ in wanted]
    counts = [0] * len(wanted)
    others: dict[tuple[str, str], Stored] = {}
    for tag, d, kind, id_, *version, _ in rows:
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
        one.source: Referring(
            [stored for _, stored in each[: one.listed]], min(max(n, len(each)), one.counted)
        )
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
