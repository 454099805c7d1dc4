"""From codes to resources: what carries a canonical key, and how much refers to a resource."""

from __future__ import annotations

from collections.abc import Sequence

from app.fhir import definitions, searchparams
from app.store import keys, read
from app.store.commit import CREATED, UPDATED
from app.store.database import Connection
from app.store.types import Stored


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


def count_referring(
    db: Connection, tenant: int, source: str, code: str, target: tuple[str, str], most: int
) -> int:
    """Return how many resources of type `source` refer to `target` by a reference parameter.

    Counts no further than `most`: the cost is bounded, whatever a device has sent.
    """
    param = searchparams.find(source, code)
    if param is None:
        return 0
    row = db.one(
        "SELECT pk FROM res WHERE tenant=? AND type=? AND id=?",
        (tenant, definitions.type_number(target[0]), target[1]),
    )
    if row is None:
        return 0
    counted = db.one(
        "SELECT count(*) FROM (SELECT 1 FROM ix WHERE k=? LIMIT ?) AS some",
        (keys.reference(param.number, row[0]), most),
    )
    return counted[0] if counted else 0


def count_types(db: Connection, tenant: int, most: int) -> dict[str, int]:
    """Return how many resources of each type there are, counting no further than `most` each."""
    found = {}
    for name in definitions.resource_types():
        row = db.one(
            "SELECT count(*) FROM (SELECT 1 FROM ix WHERE k=? LIMIT ?) AS some",
            (keys.of_type(tenant, definitions.type_number(name)), most),
        )
        if row and row[0]:
            found[name] = row[0]
    return found
