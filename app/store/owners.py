"""Who owns an identifier, and who refers to a resource: two look-ups by key in the index."""

from __future__ import annotations

from functools import lru_cache

from app.fhir import definitions, searchparams
from app.store import keys
from app.store.commit import CREATED, UPDATED
from app.store.database import Connection

_HERE = f"method IN ({CREATED},{UPDATED})"


def owners(
    db: Connection, tenant: int, type_name: str, system: str | None, value: str
) -> list[tuple[str, bytes]]:
    """Return id and body of the resources that carry an identifier: at most three."""
    param = searchparams.find(type_name, "identifier")
    if param is None:
        return []
    rows = db.all(
        f"SELECT res.id, res.body FROM ix JOIN res ON res.pk = ix.pk WHERE ix.k=? AND {_HERE}"
        " ORDER BY res.pk LIMIT 3",
        (keys.identifier(tenant, param.number, system, value),),
    )
    return [(row[0], row[1]) for row in rows]


def referrers(
    db: Connection, tenant: int, type_name: str, id_: str, *, but: frozenset[str] = frozenset()
) -> list[tuple[str, str, bytes]]:
    """Return type, id and body of the resources that refer to one, but for those of some types."""
    number = definitions.type_number(type_name)
    row = db.one("SELECT pk FROM res WHERE tenant=? AND type=? AND id=?", (tenant, number, id_))
    if row is None:
        return []
    numbers = _referring(type_name, searchparams.shared.generation)
    wanted = db.array([keys.reference(p, row[0]) for p in numbers])
    rows = db.all(
        "SELECT DISTINCT res.pk, res.type, res.id, res.body FROM ix JOIN res ON res.pk = ix.pk"
        f" WHERE {db.in_list('ix.k')} AND {_HERE} ORDER BY res.pk",
        (wanted,),
    )
    named = ((definitions.resource_types()[kind - 1], id_, body) for _, kind, id_, body in rows)
    return [one for one in named if one[0] not in but]


@lru_cache(maxsize=512)
def _referring(type_name: str, generation: int) -> tuple[int, ...]:
    """Return the numbers of the parameters that may lead to a type, posted ones too."""
    return tuple(
        param.number
        for source in definitions.resource_types()
        for param in searchparams.params(source).values()
        if param.type == "reference" and (not param.targets or type_name in param.targets)
    )
