"""Who should write a SQLite file: one process for all, or two workers for themselves?

    python -m bench.writers [--secs 6] [--clients 2,8,16]

Both write the same rows of the same creates with synchronous=FULL, after the work that needs no
database (validation, index entries) was done by the client. `one writer`: clients hand prepared
change sets over the local socket to one process, which commits what waits together. `two
workers`: clients share two processes that each commit every create by itself under BEGIN
IMMEDIATE. Threads stand for clients; each waits for its answer before it sends again.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import queue
import random
import tempfile
import threading
import time
from datetime import UTC
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import orjson

from app.clock import WallClock
from app.store import batch as batches
from app.store import schema
from app.store.commit import WritePath
from app.store.database import Address, Connection, connect
from app.store.handover import SocketWriter
from app.store.prepare import Prepared, Preparer
from app.store.types import Change, Method
from app.store.writer import GroupWriter
from bench import data

PREPARED = 3000
_BLOCK = 10_000_000


def prepared(seed: int) -> list[list[Prepared]]:
    """Return creates that are ready to be written."""
    rnd = random.Random(seed)
    preparer = Preparer(0, UTC)
    return [
        preparer.prepare(
            [Change(Method.CREATE, "Observation", body=orjson.dumps(data.observation(rnd)))]
        )
        for _ in range(PREPARED)
    ]


class _Range:
    def __init__(self, first: int) -> None:
        self._last = first

    def next_pk(self) -> int:
        self._last += 1
        return self._last


def _no_match(db: Connection, type_name: str, criteria: str) -> tuple[str, ...]:
    return ()


def _path(db: Connection, first: int) -> WritePath:
    return WritePath(
        db,
        preparer=Preparer(0, UTC),
        clock=WallClock(),
        numbers=_Range(first),
        match=_no_match,
    )


def _one_writer(url: str, socket: str, ready: Pipe, stop: Pipe) -> None:
    writer = GroupWriter(
        Address(url), preparer=Preparer(0, UTC), clock=WallClock(), match=_no_match
    )
    server = writer.serve(Path(socket))
    ready.send(True)
    stop.recv()
    server.close()
    writer.close()


def _client(
    url: str, socket: str | None, number: int, threads: int, secs: float, out: Pipe
) -> None:
    """Be one worker process with `threads` clients; report the latencies in seconds."""
    changes = prepared(number)
    taken: queue.SimpleQueue[list[float]] = queue.SimpleQueue()
    lock = threading.Lock()
    db = None if socket else connect(Address(url), write=True)
    path = _path(db, (number + 1) * _BLOCK) if db else None
    writer = SocketWriter(Path(socket)) if socket else None
    end = time.perf_counter() + secs

    def by_itself(change: list[Prepared]) -> None:
        assert db is not None
        assert path is not None
        with lock:  # one writing thread a process
            db.begin()
            path.evaluate(change)
            batches.write(db, path.take())
            db.commit()
            path.committed()

    def run(first: int) -> None:
        latencies, n = [], first
        while (begun := time.perf_counter()) < end:
            change = changes[n % PREPARED]
            if writer is not None:
                writer.commit(change)
            else:
                by_itself(change)
            latencies.append(time.perf_counter() - begun)
            n += threads
        taken.put(latencies)

    clients = [threading.Thread(target=run, args=(n,)) for n in range(threads)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    out.send([each for _ in clients for each in taken.get()])


def measure(one: bool, clients: int, secs: float) -> tuple[float, list[float]]:
    """Return creates a second and the sorted latencies."""
    context = mp.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        url, socket = f"sqlite:///{folder}/x.db", f"{folder}/w.sock" if one else None
        schema.upgrade(Address(url))
        stop, stopped = context.Pipe()
        if socket is not None:
            ready, is_ready = context.Pipe()
            process = context.Process(target=_one_writer, args=(url, socket, is_ready, stopped))
            process.start()
            ready.recv()
        results, workers = [], []
        for number in range(2):
            mine, theirs = context.Pipe()
            worker = context.Process(
                target=_client, args=(url, socket, number, clients // 2, secs, theirs)
            )
            worker.start()
            workers.append(worker)
            results.append(mine)
        latencies = sorted(each for result in results for each in result.recv())
        for worker in workers:
            worker.join()
        if socket is not None:
            stop.send(True)
            process.join()
    return len(latencies) / secs, latencies


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--secs", type=float, default=6)
    parser.add_argument("--clients", default="2,8,16")
    args = parser.parse_args()
    print(f"{'':26}{'creates/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for clients in map(int, args.clients.split(",")):
        for one in (True, False):
            rate, latencies = measure(one, clients, args.secs)
            name = f"{'one writer' if one else 'two workers'}, {clients} clients"
            p50, p99 = (latencies[int(len(latencies) * p)] for p in (0.5, 0.99))
            print(
                f"{name:26}{rate:10,.0f}{p50 * 1000:9.1f}{p99 * 1000:9.1f}"
                f"{latencies[-1] * 1000:9.1f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
