"""Who owns an identifier, and who refers to a resource: look-ups by key in the index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from app.fhir import definitions, searchparams
from app.store import keys
from app.store.database import Connection
from app.store.states import CREATED, UPDATED

_HERE = f"method IN ({CREATED},{UPDATED})"
_MOST = 3  # owners of one identifier that are told: two are too many already

Key = tuple[str, str | None, str]  # type, system and value of an identifier


class Owner(NamedTuple):
    """A resource that carries an identifier."""

    id: str
    version_id: int
    body: bytes


def key_of(tenant: int, wanted: Key) -> int | None:
    """Return the key in `ix` of an identifier; None for a type that has none."""
    type_name, system, value = wanted
    param = searchparams.find(type_name, "identifier")
    return keys.identifier(tenant, param.number, system, value) if param else None


def owners_of(db: Connection, wanted: Mapping[Key, int | None]) -> dict[Key, Sequence[Owner]]:
    """Return the resources that carry each of the identifiers: at most three, oldest first.

    wanted: the identifiers with their keys (`key_of`).
    """
    by_key = {key: one for one, key in wanted.items() if key is not None}
    found: dict[Key, Sequence[Owner]] = dict.fromkeys(wanted, ())
    most = _MOST * len(by_key)
    rows = _carriers(db, list(by_key), most + 1) if by_key else []
    if len(rows) > most:  # one of them is carried by many
        rows = [row for key in by_key for row in _carriers(db, [key], _MOST)]
    for key, _, *row in sorted(rows, key=lambda row: row[:2]):
        owner = by_key[key]
        found[owner] = (*found[owner], Owner(*row))[:_MOST]
    return found


def _carriers(db: Connection, wanted: Sequence[int], most: int) -> list[tuple[Any, ...]]:
    """Return key, pk, id, version and body of up to `most` resources."""
    one = len(wanted) == 1  # the usual case: one probe
    return db.all(
        "SELECT ix.k, res.pk, res.id, res.vid, res.body FROM ix JOIN res ON res.pk = ix.pk"
        f" WHERE {'ix.k=?' if one else db.in_list('ix.k')} AND {_HERE}"
        f"{' ORDER BY res.pk' if one else ''} LIMIT ?",
        (wanted[0] if one else db.array(wanted), most),
    )


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
