"""`make bench`: the hub under load beside the bare driver, in one run.

    python -m bench [--sizes 10000,100000,1000000] [--backends sqlite,postgresql] [--secs 8]
                    [--only create,read,...] [--postgres URL] [--keep FOLDER]

For each size and backend a database is filled (`bench/fill.py`) and a fresh hub measured over it
with wrk, its HL7 v2 door with senders of our own; `driver` is how many such searches, or messages'
rows, a second the bare driver does over one connection, the other yardsticks of `bench/limit.py`
run on a copy of the same database. A million observations are filled in some minutes and take 2 GB
below TMPDIR, removed afterwards; with --keep the filled SQLite databases stay in a folder and later
runs measure copies of them. Needs wrk. PostgreSQL: a server's URL, else the one from the test
packages.
"""

from __future__ import annotations

import argparse
import http.client
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bench import convert, data, feeds, limit
from bench.fill import fill
from tests.support import Postgres, RunningHub, free_port, running_hub, wait_for

ROOT = Path(__file__).resolve().parent.parent
# name, wrk script, argument (a kind of address for read.lua), connections, resources a request
LOADS = [
    ("create", "create.lua", "", 16, 1),
    ("transaction of 12", "transaction.lua", "12", 4, 12),
    ("transaction of 100", "transaction.lua", "100", 4, 100),
    ("read", "read.lua", "read", 8, 1),
    ("GET /id", "read.lua", "id", 8, 1),
    *((name, "read.lua", name, 8, 1) for name in data.SEARCHES),
]
FEED, FEED_CONNECTIONS = "ORU of ten over MLLP", 8  # `bench/feeds.py`: each of its shapes
FEED_WARM_S = 5  # not counted: a hub learns a sender's messages in its first seconds
SETTLE_S = 6  # a hub that has just started makes in the background what nobody should wait for
ASKED = 10_000  # different addresses of a kind


@dataclass(frozen=True)
class Figures:
    """What wrk said: requests a second, latencies in ms, errors."""

    rate: float
    p50: float
    p95: float
    p99: float
    errors: int


def wrk(base: str, script: str, argument: str | None, connections: int, secs: int) -> Figures:
    """Run wrk and return its figures."""
    url = base + {"create.lua": "/fhir/Observation", "transaction.lua": "/fhir"}.get(script, "")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{secs}", "--latency"]
    command += ["-s", str(ROOT / "bench" / "wrk" / script), url]
    command += ["--", argument] if argument else []
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    latency = {name: _ms(value) for name, value in re.findall(r"(\d\d)%\s+([\d.]+\w+)", said)}
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    p95 = re.search(r"^p95 ([\d.]+ms)", said, re.MULTILINE)
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    return Figures(
        float(rate[1]) if rate else 0.0,
        latency.get("50", 0.0),
        _ms(p95[1]) if p95 else 0.0,
        latency.get("99", 0.0),
        int(wrong[1]) if wrong else 0,
    )


def _ms(text: str) -> float:
    number, unit = re.match(r"([\d.]+)(\w+)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}[unit]


def addresses(hub: RunningHub, kind: str, size: int) -> list[str]:
    """Return paths of one kind, each asking for something else."""
    if kind == "read":
        _, _, body = hub.request("GET", "/fhir/Observation?_count=1000&_elements=id")
        found = re.findall(rb'"fullUrl":"[^"]*?(/fhir/Observation/[^"]+)"', body)
        return [path.decode() for path in found]
    if kind == "id":
        return [f"/id?code={quote(data.udi(number))}" for number in range(data.DEVICES)]
    asked = data.searches(kind, ASKED, data.patients_of(size))
    return [f"/fhir/{path}" for path in asked]


@contextmanager
def bare_server() -> Iterator[str]:
    """A bare WSGI answer behind the same HTTP server."""
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--workers", "2"]
    command += ["--port", str(port), "--no-ws", "bench.bare_wsgi:application"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: _answers(port), 20)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False


def kept(folder: Path, size: int) -> Path:
    """Return the SQLite database of a size that is kept in a folder, filled if it is not yet."""
    database = folder / f"sqlite-{size}" / "yilian.db"
    if not database.exists():
        database.parent.mkdir(parents=True, exist_ok=True)
        filling = database.with_suffix(".filling")
        fill(f"sqlite:///{filling}", size)
        filling.rename(database)  # what was broken off is filled again
    return database


def measure(backend: str, size: int, url: str | None, args: argparse.Namespace) -> None:
    """Fill one hub and print its figures, beside those of the bare driver."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        database = folder / "data" / "yilian.db"
        if url is None and args.keep:
            shutil.copyfile(kept(args.keep, size), database)
            taken = "kept"
        else:
            taken = f"written in {fill(url or f'sqlite:///{database}', size):,.0f} s"
        url = url or f"sqlite:///{database}"
        print(f"\n{backend}, {size:,} observations ({taken})")
        heads = f"{'per s':>10}{'resources/s':>13}{'p50':>8}{'p95':>8}{'p99 ms':>9}{'driver':>10}"
        print(f"{'':28}{heads}")
        loads = [load for load in LOADS if _wanted(load[0], args.only)]
        fed: dict[str, feeds.Sent] = {}
        for wanted in (False, True):  # what changes the data comes last
            with running_hub(folder / "data", database_url=url) as hub:
                threading.Event().wait(SETTLE_S)
                for label, script, argument, connections, resources in loads:
                    if (script != "read.lua") is not wanted:
                        continue
                    file = folder / "addresses.txt"
                    if script == "read.lua":
                        file.write_text("\n".join(addresses(hub, argument, size)) + "\n")
                        argument = str(file)
                    found = wrk(hub.base, script, argument or None, connections, args.secs)
                    bare = ""
                    if label in data.SEARCHES:
                        sample = data.searches(label, 500, data.patients_of(size))
                        bare = f"{limit.searches_per_second(url, sample):10,.0f}"
                    wrong = f"  {found.errors} errors" if found.errors else ""
                    print(
                        f"{label:28}{found.rate:10,.0f}{found.rate * resources:13,.0f}"
                        f"{found.p50:8.1f}{found.p95:8.1f}{found.p99:9.1f}{bare}{wrong}",
                        flush=True,
                    )
                if not wanted and _wanted(FEED, args.only):
                    fed = {shape: _fed(hub, shape, args.secs) for shape in feeds.SHAPES}
        for shape, sent in fed.items():
            driven = feeds.driver_per_second(url, 1000, FEED_CONNECTIONS, shape)
            print(
                f"{f'{FEED}, {shape}':28}{sent.rate:10,.0f}{sent.rate * feeds.RESOURCES:13,.0f}"
                f"{sent.p50:8.1f}{sent.p95:8.1f}{sent.p99:9.1f}{driven:10,.0f}",
                flush=True,
            )
        if backend == "sqlite" and not args.only:
            for label, per_second in limit.writes(database).items():
                print(f"limit: {label:21}{'':10}{per_second:13,.0f}", flush=True)
            print(f"limit: {'read by id':21}{limit.reads_per_second(database):10,.0f}")


def _fed(hub: RunningHub, shape: str, secs: float) -> feeds.Sent:
    """Send messages of one shape to a hub that knows them."""
    address = hub.addresses["mllp"]
    feeds.send(address, FEED_WARM_S, FEED_CONNECTIONS, seed=2, shape=shape)
    return feeds.send(address, secs, FEED_CONNECTIONS, shape=shape)


def _wanted(label: str, only: str | None) -> bool:
    return not only or any(each in label for each in only.split(","))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--backends", default="sqlite,postgresql")
    parser.add_argument("--secs", type=int, default=8)
    parser.add_argument("--only", help="parts of the names of the loads to run")
    parser.add_argument("--keep", type=Path, help="folder of filled SQLite databases")
    parser.add_argument("--postgres", default=os.environ.get("YILIAN_TEST_POSTGRES"))
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is needed: the Debian package wrk has it", file=sys.stderr)
        return 2
    for figures in convert.measure():
        print(*figures.lines(), sep="\n", flush=True)
    with bare_server() as base:
        found = wrk(base, "read.lua", _one_path(), 8, args.secs)
        print(f"limit: {'bare WSGI answer':21}{found.rate:10,.0f}  p95 {found.p95:.2f} ms")
    for size in map(int, args.sizes.split(",")):
        for backend in args.backends.split(","):
            if backend == "sqlite":
                measure(backend, size, None, args)
            else:
                server = Postgres(in_earnest=True)
                try:
                    with server.database() as url:
                        measure(backend, size, url, args)
                finally:
                    server.stop()
    return 0


def _one_path() -> str:
    file = Path(tempfile.gettempdir()) / f"yilian-bench-{os.getpid()}.txt"
    file.write_text("/x\n")
    return str(file)


if __name__ == "__main__":
    raise SystemExit(main())
