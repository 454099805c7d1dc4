"""Fill a database with the data of the measurements, through the write path but without HTTP.

    python -m bench.fill DATABASE_URL COUNT

Over HTTP a million observations would take half an hour; so they are prepared and evaluated as any
change is (validation, index, log) and committed in large transactions, which takes a few minutes.
Nobody else may write meanwhile.
"""

from __future__ import annotations

import gc
import random
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC
from itertools import islice

import orjson

from app.clock import WallClock
from app.registry.indexed import identifier_keys
from app.store import schema
from app.store.batch import write
from app.store.commit import WritePath
from app.store.database import POSTGRESQL, Address, Connection, connect, transaction
from app.store.prepare import Preparer
from app.store.types import Change, Method
from bench import data

_GROUP = 20_000  # resources a transaction; their index rows are sorted before they are written


class _Numbers:
    def __init__(self) -> None:
        self._last = 0

    def next_pk(self) -> int:
        self._last += 1
        return self._last


def fill(url: str, count: int) -> float:
    """Fill an empty database: patients, devices, `count` observations; return the seconds."""
    address = Address(url)
    schema.upgrade(address)
    db = connect(address, write=True)
    preparer = Preparer(0, UTC, identifier_keys=identifier_keys)
    numbers = _Numbers()
    path = WritePath(db, preparer=preparer, clock=WallClock(), numbers=numbers, match=lambda *_: ())
    if db.dialect != POSTGRESQL:
        db.run("PRAGMA synchronous=OFF")
    begun = time.perf_counter()
    gc.freeze()
    changes = _changes(count, data.patients_of(count))
    while group := list(islice(changes, _GROUP)):
        _write(db, path, preparer, group)
    if db.dialect == POSTGRESQL:
        db.one("SELECT setval('res_pk', ?)", (numbers.next_pk(),))
        for table in ("res", "ix", "str", "qty", "dt", "ident"):
            db.script(f"VACUUM ANALYZE {table}")  # index-only scans, as autovacuum would make
    db.close()
    return time.perf_counter() - begun


def _changes(count: int, patients: int) -> Iterator[Change]:
    rnd = random.Random(1)
    for number in range(patients):
        body = orjson.dumps(data.patient(number))
        yield Change(Method.UPDATE, "Patient", id=f"p{number}", body=body)
    for number in range(data.DEVICES):
        body = orjson.dumps(data.device(number))
        yield Change(Method.UPDATE, "Device", id=f"d{number}", body=body)
    for _ in range(count):
        body = orjson.dumps(data.observation(rnd, patients))
        yield Change(Method.CREATE, "Observation", body=body)


def _write(db: Connection, path: WritePath, preparer: Preparer, group: Iterable[Change]) -> None:
    with transaction(db):
        for change in group:
            path.evaluate(preparer.prepare([change]))
        write(db, path.take())
    path.committed()


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    count = int(sys.argv[2])
    taken = fill(sys.argv[1], count)
    print(f"{count:,} observations in {taken:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
