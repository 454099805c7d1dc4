"""The yardsticks: what the bare driver and a bare WSGI answer can do on this machine.

    python -m bench.limit DATABASE_FILE      writes to a copy of a loaded SQLite database

The driver writes the very rows that the write path makes for the same resources (body, index,
log), at the same durability: one commit a create as one client would, then in groups as the
writer process commits what waits.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import UTC
from pathlib import Path
from typing import Any

import orjson

from app.clock import WallClock
from app.fhir import definitions
from app.rest.exchange import parse_query
from app.store import batch as batches
from app.store.batch import Batch
from app.store.commit import WritePath
from app.store.database import Address, Connection, connect
from app.store.prepare import Preparer
from app.store.search import demand, run
from app.store.search.context import Context, Learned
from app.store.types import Change, Method, SearchRequest
from bench import data

GROUP = 16


class _Numbers:
    def __init__(self, db: Connection) -> None:
        row = db.one("SELECT max(pk) FROM res")
        self._last = int(row[0]) if row and row[0] else 0

    def next_pk(self) -> int:
        self._last += 1
        return self._last


def rows_of(
    path: Path, count: int, size: int, seed: int = 99, patients: int = data.PATIENTS
) -> list[Batch]:
    """Return the rows of `count` change sets of `size` observations, made but not written."""
    db = connect(Address(f"sqlite:///{path}"), write=True)
    preparer = Preparer(0, UTC)
    write_path = WritePath(
        db,
        preparer=preparer,
        clock=WallClock(),
        numbers=_Numbers(db),
        match=lambda db, type_name, criteria: (),
    )
    rnd = random.Random(seed)
    made: list[Batch] = []
    for _ in range(count):
        bodies = [orjson.dumps(data.observation(rnd, patients)) for _ in range(size)]
        changes = [Change(Method.CREATE, "Observation", body=body) for body in bodies]
        write_path.evaluate(preparer.prepare(changes))
        made.append(write_path.take())
        write_path.committed()
    db.close()
    return made


def _merged(group: list[Batch]) -> Batch:
    merged = Batch()
    for field in fields(Batch):
        for each in group:
            getattr(merged, field.name).extend(getattr(each, field.name))
    return merged


def writes_per_second(path: Path, made: list[Batch], size: int, group: int) -> float:
    """Write the rows with one commit a `group` of change sets; return resources a second."""
    db = connect(Address(f"sqlite:///{path}"), write=True)
    begun = time.perf_counter()
    for start in range(0, len(made), group):
        db.begin()
        batches.write(db, _merged(made[start : start + group]))
        db.commit()
    taken = time.perf_counter() - begun
    db.close()
    return len(made) * size / taken


def reads_per_second(path: Path, count: int = 20_000) -> float:
    """Read bodies by id over one connection; return reads a second."""
    db = sqlite3.connect(path)
    number = definitions.type_number("Observation")
    ids = [
        row[0]
        for row in db.execute(
            "SELECT id FROM res WHERE type=? ORDER BY random() LIMIT 5000", (number,)
        )
    ]
    sql = "SELECT vid,lu,method,body FROM res WHERE tenant=? AND type=? AND id=?"
    begun = time.perf_counter()
    for n in range(count):
        db.execute(sql, (0, number, ids[n % len(ids)])).fetchone()
    taken = time.perf_counter() - begun
    db.close()
    return count / taken


class _Recorder:
    """A connection that remembers what it was asked."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self.asked: list[tuple[Callable[..., Any], str, Sequence[Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def all(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        self.asked.append((self._db.all, sql, params))
        return self._db.all(sql, params)

    def one(self, sql: str, params: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        self.asked.append((self._db.one, sql, params))
        return self._db.one(sql, params)

    def numbers(self, sql: str, params: Sequence[Any] = ()) -> list[int]:
        self.asked.append((self._db.numbers, sql, params))
        return self._db.numbers(sql, params)


def searches_per_second(url: str, addresses: list[str]) -> float:
    """Ask the driver what the hub asks for these searches; return searches a second."""
    db = connect(Address(url))
    recorder, learned = _Recorder(db), Learned()
    for address in addresses:
        type_name, _, query = address.partition("?")
        context = Context(recorder, 0, UTC, 0, inner=demand.inner, learned=learned)  # type: ignore[arg-type]
        run.search(context, SearchRequest(type_name, parse_query(query)))
    begun = time.perf_counter()
    for ask, sql, params in recorder.asked:
        ask(sql, params)
    taken = time.perf_counter() - begun
    db.close()
    return len(addresses) / taken


def writes(database: Path) -> dict[str, float]:
    """Return resources a second of the bare driver on a copy of `database`."""
    found = {}
    with tempfile.TemporaryDirectory(dir=database.parent) as folder:
        for name, count, size, group in (
            ("create, one commit each", 1500, 1, 1),
            (f"create, {GROUP} a commit", 4000, 1, GROUP),
            ("transaction of 100", 60, 100, 1),
        ):
            copy = Path(folder) / "copy.db"
            shutil.copyfile(database, copy)
            made = rows_of(copy, count, size)
            found[name] = writes_per_second(copy, made, size, group)
            for file in Path(folder).iterdir():
                file.unlink()
    return found


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    path = Path(sys.argv[1])
    for name, rate in writes(path).items():
        print(f"{name:28} {rate:10,.0f} resources/s")
    print(f"{'read by id':28} {reads_per_second(path):10,.0f} reads/s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
