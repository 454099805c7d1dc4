"""How long a trace takes among a million links.

    python -m bench.trace [--links 1000000] [--asks 200] [--database URL]

The data are a regional sterilisation plant: packs go through load after load and are used on
patients, so that everything hangs together; each trace is followed until it has 1,000 nodes. Rows
are written straight into the tables, traces are read as `/trace` reads them: look-ups, texts of the
resources, JSON.
"""

from __future__ import annotations

import argparse
import gc
import random
import tempfile
import time
from pathlib import Path

import orjson

from app.fhir import definitions
from app.registry.links import shipped_rules
from app.registry.trace import Asked, follow
from app.registry.traced import as_json
from app.store import schema
from app.store.database import Address, Connection, connect, transaction
from app.store.graph import Graph

PACKS_A_LOAD = 20
USES_A_PACK = 4  # each use: a load, a patient, an operation
_HOUR_US = 3_600_000_000
_CHUNK = 50_000


def fill(db: Connection, links: int) -> int:
    """Write resources and about `links` links; return how many resources there are."""
    kinds = {name: kind.number for name, kind in shipped_rules().kinds.items()}
    draw = random.Random(7)
    uses = links // 3
    packs = uses // USES_A_PACK
    loads = uses // PACKS_A_LOAD
    patients = uses // 6
    first = {"Device": 1, "Group": 1 + packs}
    first["Patient"] = first["Group"] + loads
    first["Procedure"] = first["Patient"] + patients
    total = first["Procedure"] + uses - 1
    res = (
        _resource(type_name, pk)
        for type_name, count in (
            ("Device", packs), ("Group", loads), ("Patient", patients), ("Procedure", uses),
        )
        for pk in range(first[type_name], first[type_name] + count)
    )  # fmt: skip

    def stated():
        for n in range(uses):
            pack = first["Device"] + draw.randrange(packs)
            load = first["Group"] + n // PACKS_A_LOAD
            patient = first["Patient"] + draw.randrange(patients)
            at = n * _HOUR_US
            use = first["Procedure"] + n
            yield pack, kinds["part-of"], load, at, at + _HOUR_US, load, load
            yield pack, kinds["used-on"], patient, at + _HOUR_US, at + 2 * _HOUR_US, use, patient
            yield pack, kinds["used-in"], use, at + _HOUR_US, at + 2 * _HOUR_US, use, patient

    with transaction(db):
        _write(db, "INSERT INTO res VALUES (?,?,?,?,?,?,?,?,?,?,?,NULL)", res)
        _write(db, "INSERT INTO link (f,kind,t,lo,hi,src,s) VALUES (?,?,?,?,?,?,?)", stated())
    return total


def _resource(type_name: str, pk: int) -> tuple[object, ...]:
    body = orjson.dumps(
        {
            "resourceType": type_name,
            "id": f"r{pk}",
            "meta": {"versionId": "1", "lastUpdated": "2026-03-01T00:00:00.000Z"},
            "identifier": [{"system": "https://yilian.example/fhir/sid/bench", "value": str(pk)}],
            "name": [{"text": f"{type_name} {pk}"}],
            "text": {"status": "generated", "div": "<div>" + "x" * 200 + "</div>"},
        }
    )
    return (pk, 0, pk, definitions.type_number(type_name), f"r{pk}", 0, 1, 0, 0, 0, body)


def _write(db: Connection, sql: str, rows) -> None:  # type: ignore[no-untyped-def]
    chunk = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _CHUNK:
            db.many(sql, chunk)
            chunk = []
    db.many(sql, chunk)


def measure(
    db: Connection, resources: int, asks: int, nodes: int
) -> list[tuple[float, float, int, int]]:
    """Return (milliseconds, of them this process's own, nodes, links) of each trace."""
    kinds = shipped_rules().kinds
    draw = random.Random(11)
    graph = Graph(db)
    found = []
    for _ in range(asks):
        start = {draw.randrange(1, resources): None}
        begun, busy = time.perf_counter(), time.process_time()
        trace = follow(graph, kinds, start, Asked(nodes=nodes))
        orjson.dumps(as_json(trace))
        took = (time.perf_counter() - begun) * 1000
        own = (time.process_time() - busy) * 1000
        found.append((took, own, len(trace.places), len(trace.edges)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--links", type=int, default=1_000_000)
    parser.add_argument("--asks", type=int, default=200)
    parser.add_argument("--database", help="an empty database; a SQLite file of its own otherwise")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        address = Address(given.database or f"sqlite:///{Path(folder) / 'trace.db'}")
        schema.upgrade(address)
        db = connect(address, write=True)
        begun = time.perf_counter()
        resources = fill(db, given.links)
        row = db.one("SELECT count(*) FROM link")
        print(f"{row[0] if row else 0:,} links of {resources:,} resources written in")
        print(f"  {time.perf_counter() - begun:.0f} s; asking as a reader now")
        gc.freeze()  # as the hub does before its workers part
        reader = connect(address)
        for nodes in (100, 1000):
            found = sorted(measure(reader, resources, given.asks, nodes))
            took = [each[0] for each in found]
            own = sorted(each[1] for each in found)
            size = sum(each[2] for each in found) / len(found)
            edges = sum(each[3] for each in found) / len(found)
            print(
                f"{size:6.0f} nodes, {edges:6.0f} links:"
                f" p50 {took[len(took) // 2]:.1f} ms, p95 {took[int(len(took) * 0.95)]:.1f} ms"
                f" (processor: p50 {own[len(own) // 2]:.1f}, p95 {own[int(len(own) * 0.95)]:.1f})"
            )
        reader.close()
        db.close()


if __name__ == "__main__":
    main()
