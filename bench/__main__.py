"""`make bench`: the hub under load beside the bare driver, in one run.

    python -m bench [--sizes 10000,100000] [--backends sqlite,postgresql] [--secs 8]
                    [--only create,read,...] [--postgres URL]

For each size and backend a fresh hub is loaded over HTTP, then wrk measures it; the yardsticks of
`bench/limit.py` run on a copy of the same database. Needs wrk. PostgreSQL: a server's URL, else
the one from the test packages.
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
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import data, limit
from tests.support import Postgres, RunningHub, free_port, running_hub, wait_for

ROOT = Path(__file__).resolve().parent.parent
LOADERS = 4
# name, wrk script, argument, connections, resources a request
LOADS = [
    ("create", "create.lua", None, 16, 1),
    ("transaction of 12", "transaction.lua", "12", 4, 12),
    ("transaction of 100", "transaction.lua", "100", 4, 100),
    ("read", "read.lua", "ADDRESSES", 8, 1),
    ("patient+code+date, sorted", "search.lua", "patient-code-date", 8, 1),
    ("token", "search.lua", "code", 8, 1),
    ("identifier", "search.lua", "identifier", 8, 1),
    ("string prefix", "search.lua", "string", 8, 1),
    ("chain by identifier", "search.lua", "chain", 8, 1),
    ("chain by name", "search.lua", "chain-name", 8, 1),
    ("_has", "search.lua", "has", 8, 1),
    ("_include", "search.lua", "include", 8, 1),
    ("three tokens", "search.lua", "and3", 8, 1),
    ("sort by value", "search.lua", "sort", 8, 1),
]


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


def load(hub: RunningHub, count: int) -> float:
    """Fill the hub over HTTP; return resources a second."""
    bundles = _Shared(data.transactions(count))

    def drain(_: int) -> None:
        for body in bundles:
            _post(hub, body)

    begun = time.perf_counter()
    with ThreadPoolExecutor(LOADERS) as pool:
        list(pool.map(drain, range(LOADERS)))
    return (count + data.PATIENTS) / (time.perf_counter() - begun)


class _Shared:
    """An iterator that several threads may read."""

    def __init__(self, of: Iterator[bytes]) -> None:
        self._of, self._lock = of, threading.Lock()

    def __iter__(self) -> _Shared:
        return self

    def __next__(self) -> bytes:
        with self._lock:
            return next(self._of)


def _post(hub: RunningHub, body: bytes) -> None:
    connection = http.client.HTTPConnection(hub.addresses["http"], timeout=120)
    headers = {"Content-Type": "application/fhir+json", "Prefer": "return=minimal"}
    connection.request("POST", "/fhir", body, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"loading failed: {answer.status} {text[:300]!r}")


def addresses(hub: RunningHub, folder: Path) -> str:
    """Write the addresses of a thousand observations to a file and return its name."""
    _, _, body = hub.request("GET", "/fhir/Observation?_count=1000&_elements=id")
    paths = sorted(set(re.findall(rb'"fullUrl":"[^"]*?(/fhir/Observation/[^"]+)"', body)))
    file = folder / "addresses.txt"
    file.write_bytes(b"\n".join(paths) + b"\n")
    return str(file)


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


def measure(backend: str, size: int, url: str | None, args: argparse.Namespace) -> None:
    """Load one hub and print its figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_hub(folder / "data", database_url=url) as hub:
            rate = load(hub, size)
            print(f"\n{backend}, {size:,} observations (loaded at {rate:,.0f} resources/s)")
            print(f"{'':28}{'per s':>10}{'resources/s':>13}{'p50':>8}{'p95':>8}{'p99 ms':>9}")
            file = addresses(hub, folder)
            for label, script, argument, connections, resources in LOADS:
                if args.only and not any(each in label for each in args.only.split(",")):
                    continue
                found = wrk(
                    hub.base,
                    script,
                    file if argument == "ADDRESSES" else argument,
                    connections,
                    args.secs,
                )
                wrong = f"  {found.errors} errors" if found.errors else ""
                print(
                    f"{label:28}{found.rate:10,.0f}{found.rate * resources:13,.0f}"
                    f"{found.p50:8.1f}{found.p95:8.1f}{found.p99:9.1f}{wrong}",
                    flush=True,
                )
        if backend == "sqlite":
            database = next((folder / "data").glob("*.db"))
            for label, per_second in limit.writes(database).items():
                print(f"limit: {label:21}{'':10}{per_second:13,.0f}", flush=True)
            print(f"limit: {'read by id':21}{limit.reads_per_second(database):10,.0f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="10000,100000")
    parser.add_argument("--backends", default="sqlite,postgresql")
    parser.add_argument("--secs", type=int, default=8)
    parser.add_argument("--only", help="parts of the names of the loads to run")
    parser.add_argument("--postgres", default=os.environ.get("YILIAN_TEST_POSTGRES"))
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is needed: the Debian package wrk has it", file=sys.stderr)
        return 2
    with bare_server() as base:
        found = wrk(base, "read.lua", _one_path(), 8, args.secs)
        print(f"limit: {'bare WSGI answer':21}{found.rate:10,.0f}  p95 {found.p95:.2f} ms")
    for size in map(int, args.sizes.split(",")):
        for backend in args.backends.split(","):
            if backend == "sqlite":
                measure(backend, size, None, args)
            else:
                server = Postgres()
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
