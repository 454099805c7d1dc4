"""From codes to resources: what carries a canonical key, and what refers to a resource."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.fhir import definitions, searchparams
from app.store import keys, read
from app.store.commit import CREATED, UPDATED
from app.store.database import Connection
from app.store.types import Stored

_LAST = (1 << 63) - 1


def find_by_keys(db: Connection, tenant: int, canonical: Sequence[str], limit: int) -> list[Stored]:
    """Return the resources that carry one of these canonical keys, oldest first, each once."""
    hashed = [keys.canonical(tenant, key) for key in canonical]
    if len(hashed) == 1:  # the usual case: one probe
        test, wanted = "ident.k=?", hashed[0]
    else:
        test, wanted = db.in_list("ident.k"), db.array(hashed)
    rows = db.all(
        "SELECT DISTINCT res.pk,res.type,res.id,res.vid,res.lu,res.method,res.body FROM ident"
        f" JOIN res ON res.pk=ident.pk WHERE {test} AND res.method IN ({CREATED},{UPDATED})"
        " ORDER BY res.pk LIMIT ?",
        (wanted, limit),
    )
    return [read.stored(definitions.type_name(row[1]), row[2], row[3:]) for row in rows]


@dataclass(frozen=True, slots=True)
class Referring:
    """What refers to a resource: the newest by their primary date, and how many (up to a bound)."""

    newest: Sequence[Stored]
    count: int


def referring(
    db: Connection,
    tenant: int,
    source: str,
    code: str,
    target: tuple[str, str],
    *,
    listed: int,
    counted: int,
    until_us: int | None = None,
) -> Referring:
    """Return the resources of type `source` that refer to `target` by a reference parameter.

    Two walks along one index, of `listed` and `counted` rows at most, whatever a device has sent.
    until_us: only those whose date begins no later.
    """
    param = searchparams.find(source, code)
    row = db.one(
        "SELECT pk FROM res WHERE tenant=? AND type=? AND id=?",
        (tenant, definitions.type_number(target[0]), target[1]),
    )
    if param is None or row is None:
        return Referring((), 0)
    key = keys.reference(param.number, row[0])
    latest = _LAST if until_us is None else 2 * until_us + 1  # `ix.d`: see tables.py
    rows = db.all(
        "SELECT res.id,res.vid,res.lu,res.method,res.body FROM ix JOIN res ON res.pk=ix.pk"
        " WHERE ix.k=? AND ix.d<=? ORDER BY ix.d DESC LIMIT ?",
        (key, latest, listed),
    )
    newest = [read.stored(source, each[0], each[1:]) for each in rows]
    if len(newest) < listed:
        return Referring(newest, len(newest))
    count = db.one(
        "SELECT count(*) FROM (SELECT 1 FROM ix WHERE k=? AND d<=? LIMIT ?) AS bounded",
        (key, latest, counted),
    )
    return Referring(newest, count[0] if count else 0)


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
