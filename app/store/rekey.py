"""Keys of `ix` that were written before they had a place (`keys.py`): what migration 0007 does.

A key that got a place kept its lower bits, so a row of `ix` is found again by these and its
resource. What each key is now is worked out from the bodies, as for `yilian db check`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC

from app.fhir import definitions
from app.fhir import json as fhir_json
from app.store import keys
from app.store.database import Connection
from app.store.entries import pair_params
from app.store.posted import Posted
from app.store.prepare import Preparer

log = logging.getLogger(__name__)

_ROWS = 2000  # resources read at once
_SAY_S = 5.0  # between two lines of the log
_LOW = (1 << keys.PLACED_BITS) - 1

Moved = tuple[int, int, int]  # pk, lower bits, key
Say = Callable[[int, int], None]  # told now and then: how many resources are done, of how many


def logged() -> Say:
    """Return what writes a line of the log every few seconds."""
    last = time.monotonic()

    def say(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > _SAY_S:
            last = time.monotonic()
            log.info("store.rekey", extra={"done": done, "total": total})

    return say


def rekey(db: Connection, say: Say) -> None:
    """Give the rows of `ix` the keys their resources' values have now, in the caller's transaction.

    May be done again: rows that have their key keep it.
    """
    total = db.all("SELECT count(*) FROM res WHERE method IN (0,1)")[0][0]
    done = 0
    db.run("CREATE TEMPORARY TABLE moved (pk BIGINT, low BIGINT, k BIGINT)")
    for (tenant,) in db.all("SELECT DISTINCT tenant FROM res"):
        for count, moved in _moved(db, tenant):
            db.many("INSERT INTO moved (pk,low,k) VALUES (?,?,?)", moved)
            done += count
            say(done, total)
    db.run("CREATE INDEX moved_pk ON moved (pk,low)")
    db.run(
        "UPDATE ix SET k=moved.k FROM moved"
        f" WHERE ix.k<0 AND moved.pk=ix.pk AND moved.low=(ix.k & {_LOW})"
    )
    db.run("DROP TABLE moved")


def _moved(db: Connection, tenant: int) -> Iterator[tuple[int, list[Moved]]]:
    """Yield how many of a tenant's resources were read, and their keys that no row has."""
    with closing(Posted(tenant)) as posted:
        posted.learn(db)
        preparer = Preparer(tenant, UTC)
        after = -1
        while found := db.all(
            "SELECT pk,type,s,body FROM res WHERE tenant=? AND pk>? AND method IN (0,1)"
            " ORDER BY pk LIMIT ?",
            (tenant, after, _ROWS),
        ):
            after = found[-1][0]
            wanted = {
                (pk, key)
                for pk, number, s, body in found
                for key in _keys(preparer, definitions.type_name(number), s, body)
            }
            missing = _missing(db, {key for _, key in wanted})
            yield len(found), [(pk, key & _LOW, key) for pk, key in wanted if key in missing]


def _keys(preparer: Preparer, type_name: str, s: int, body: bytes) -> Iterator[int]:
    """Yield the hashed keys of one resource; `s`: its owner, the patient of its pairs."""
    entries = preparer.entries(type_name, fhir_json.load(bytes(body)))
    yield from entries.keys
    yield from (keys.uri(preparer.tenant, p, url) for p, url in entries.urls)
    p, _ = pair_params(type_name)
    yield from (keys.pair(preparer.tenant, p, s, token) for token in entries.pair)


def _missing(db: Connection, wanted: set[int]) -> set[int]:
    rows = db.all(
        f"SELECT v.value FROM {db.listed('v')}"
        " WHERE NOT EXISTS (SELECT 1 FROM ix WHERE ix.k=v.value)",
        (db.array(list(wanted)),),
    )
    return {row[0] for row in rows}
