"""Device messages: HTTP batches and MQTT into a hub, beside the bare driver doing the same rows.

    python -m bench.devices [--backends sqlite,postgresql] [--count 30000] [--present 10000]
                            [--postgres URL]

Readings of fifty devices, counted when they are applied and can be found. HTTP: NDJSON bodies of
500 from four clients. MQTT: QoS 1, a message a reading, with a broker of its own (mosquitto, if it
is installed). The driver writes the very rows at the same durability, with a commit a body, in
this process. Processor time is that of all processes of the hub.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from app.clock import WallClock
from app.feeds.iot.catalogue import Catalogue
from app.feeds.iot.convert import Converter
from app.feeds.iot.reading import Reader
from app.feeds.iot.said import Outside
from app.fhir.ids import Ids
from app.mapping import assigners
from app.mapping.run import Context
from app.paths import shipped
from app.store import batch as batches
from app.store import schema
from app.store.batch import Batch
from app.store.commit import WritePath
from app.store.database import SQLITE, Address, connect
from app.store.prepare import Preparer
from tests.support import Postgres, RunningHub, free_port, running_hub, wait_for

BODY = 500
CLIENTS = 4
DEVICES = 50
WINDOW = 1000  # unacknowledged publications
ZONE = ZoneInfo("Asia/Shanghai")
BEGUN = datetime(2026, 3, 1, tzinfo=ZONE)
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


def message(run: str, n: int) -> bytes:
    """Return one reading: of device n mod 50, a second later each round."""
    device = n % DEVICES
    return json.dumps(
        {
            "messageId": f"{run}-{n}",
            "deviceId": f"{run}-D{device:03d}",
            "patientId": f"{run}-P{device % 20:03d}",
            "time": (BEGUN + timedelta(seconds=n // DEVICES)).isoformat(),
            "measurements": [{"code": "8867-4", "value": 60 + n % 60, "unit": "/min"}],
        }
    ).encode()


def bodies(run: str, count: int) -> list[bytes]:
    """Return the readings as NDJSON bodies."""
    starts = range(0, count, BODY)
    return [b"\n".join(message(run, n) for n in range(s, min(s + BODY, count))) for s in starts]


# --- into a hub ----------------------------------------------------------------------------------


def post_all(hub: RunningHub, run: str, count: int) -> None:
    """Post the readings from several clients; return when all are answered."""
    waiting = iter(bodies(run, count))
    lock = threading.Lock()
    failed: list[int] = []

    def drain() -> None:
        connection = http.client.HTTPConnection(hub.addresses["http"], timeout=120)
        while True:
            with lock:
                body = next(waiting, None)
            if body is None:
                break
            headers = {"Content-Type": "application/x-ndjson"}
            connection.request("POST", "/iot/generic", body, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status >= 300:
                failed.append(answer.status)
        connection.close()

    clients = [threading.Thread(target=drain) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    if failed:
        raise SystemExit(f"{len(failed)} bodies failed, first with {failed[0]}")


def publish_all(broker: str, run: str, count: int) -> None:
    """Publish the readings, QoS 1, as fast as the broker acknowledges (MQTT 3.1.1)."""
    host, _, port = broker.partition(":")
    sock = socket.create_connection((host, int(port)))
    sock.sendall(_packet(0x10, _text("MQTT") + b"\x04\x02\x00\x3c" + _text(run)))
    sock.recv(4)
    free = threading.Semaphore(WINDOW)

    def hear() -> None:
        heard = 0
        while heard < 4 * count:  # a PUBACK has four octets
            got = sock.recv(1 << 16)
            if not got:
                return
            for _ in range((heard % 4 + len(got)) // 4):
                free.release()
            heard += len(got)

    hearing = threading.Thread(target=hear, daemon=True)
    hearing.start()
    for n in range(count):
        free.acquire()
        topic = _text(f"yilian/generic/{run}-D{n % DEVICES:03d}")
        sock.sendall(_packet(0x32, topic + struct.pack("!H", n % 65535 + 1) + message(run, n)))
    hearing.join(60)
    sock.close()


def _text(text: str) -> bytes:
    return struct.pack("!H", len(text)) + text.encode()


def _packet(kind: int, content: bytes) -> bytes:
    left, length = len(content), b""
    while True:
        left, digit = divmod(left, 128)
        length += bytes([digit | (0x80 if left else 0)])
        if not left:
            return bytes([kind]) + length + content


def found(hub: RunningHub) -> int:
    """Return how many readings can be found."""
    _, _, body = hub.request("GET", "/fhir/Observation?code=8867-4&_summary=count")
    return int(json.loads(body)["total"])


def processor_s(pid: int) -> float:
    """Return the processor time of a process and its children so far."""
    spent, ticks = 0.0, os.sysconf("SC_CLK_TCK")
    for task in Path(f"/proc/{pid}/task").iterdir():
        spent += sum(processor_s(int(child)) for child in (task / "children").read_text().split())
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return spent + (int(fields[11]) + int(fields[12])) / ticks


def measure(hub: RunningHub, send: Callable[[], None], count: int) -> tuple[float, float]:
    """Return readings a second until all can be found, and processor time each (microseconds)."""
    before, spent, begun = found(hub), processor_s(hub.process.pid), time.perf_counter()
    send()
    wait_for(lambda: found(hub) >= before + count, timeout_s=300)
    taken = time.perf_counter() - begun
    return count / taken, (processor_s(hub.process.pid) - spent) / count * 1e6


@contextmanager
def mosquitto(folder: Path) -> Iterator[str]:
    """Run a broker with its own defaults, but for how many messages may wait."""
    port = free_port()
    config = folder / "broker.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
    process = subprocess.Popen([MOSQUITTO or "", "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


# --- the bare driver -----------------------------------------------------------------------------


class _Numbers:
    """Fresh pks beyond those that are there."""

    def __init__(self) -> None:
        self._last = 1 << 32

    def next_pk(self) -> int:
        self._last += 1
        return self._last


def rows(url: str, run: str, count: int) -> list[Batch]:
    """Return the rows of the readings, made but not written: one batch a body."""
    tables = {"assigners": assigners.load([shipped("mappings") / "assigners.yaml"]), "zone": ZONE}
    catalogue = Catalogue([shipped("mappings") / "iot"])
    preparer = Preparer(0, ZONE)
    reader = Reader(Converter(catalogue, Context(Ids(b"bench"), tables), ZONE), preparer)
    clock, db = WallClock(), connect(Address(url), write=True)
    path = WritePath(db, preparer=preparer, clock=clock, numbers=_Numbers(), match=lambda *_: ())
    made = []
    known: set[tuple[str, str]] = set()
    for body in bodies(run, count):
        (read,) = reader.read(body.split(b"\n"), Outside(mapping="generic"), clock.now_us())
        said = read.said.everything if read.said else []
        fresh = [one for one in said if (one.type, one.id) not in known]  # devices, patients: once
        known |= {(one.type, one.id) for one in fresh}
        path.evaluate([one.prepared for one in fresh if one.prepared is not None])
        made.append(path.take())
        path.committed()
    db.close()
    return made


def bare(url: str, run: str, count: int) -> float:
    """Return readings a second of the driver alone, with a commit a body."""
    made = rows(url, run, count)
    db = connect(Address(url), write=True)
    begun = time.perf_counter()
    for batch in made:
        db.begin()
        batches.write(db, batch)
        db.commit()
    taken = time.perf_counter() - begun
    db.close()
    return count / taken


# --- all of it -----------------------------------------------------------------------------------


def report(backend: str, url: str | None, folder: Path, count: int, present: int) -> None:
    """Measure one backend and print its figures."""
    with mosquitto(folder) if MOSQUITTO else _nothing() as broker:
        flags = ("--mqtt", f"mqtt://{broker}") if broker else ()
        data = folder / backend
        with running_hub(data, *flags, database_url=url) as hub:
            post_all(hub, "present", present)
            print(f"\n{backend}, {present:,} readings present{'':4}{'per s':>10}{'us each':>10}")
            ways = {"HTTP, bodies of 500": lambda: post_all(hub, "http", count)}
            if broker:
                ways["MQTT, QoS 1"] = lambda: publish_all(broker, "mqtt", count)
            for label, send in ways.items():
                rate, each = measure(hub, send, count)
                print(f"{label:36}{rate:10,.0f}{each:10,.0f}", flush=True)
        database = url or f"sqlite:///{next(data.glob('*.db'))}"
        if url is not None:
            schema.require_current(connect(Address(url)))
        print(f"{'limit: the driver, a commit a body':36}{bare(database, 'bare', count):10,.0f}")


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backends", default="sqlite,postgresql")
    parser.add_argument("--count", type=int, default=30_000)
    parser.add_argument("--present", type=int, default=10_000)
    parser.add_argument("--postgres", default=os.environ.get("YILIAN_TEST_POSTGRES"))
    args = parser.parse_args()
    for backend in args.backends.split(","):
        with tempfile.TemporaryDirectory() as name:
            if backend == SQLITE:
                report(backend, None, Path(name), args.count, args.present)
                continue
            server = Postgres(in_earnest=True)
            try:
                with server.database() as url:
                    report(backend, url, Path(name), args.count, args.present)
            finally:
                server.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
