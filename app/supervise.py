"""The processes of a hub, from the first to the last breath.

    supervisor            this process: schema, HTTP listening address, signals
    ├─ ingest             hears the feeds; on SQLite it owns the file and writes for all
    ├─ HTTP worker 1      granian runs the application on one event loop, or in a few threads
    └─ HTTP worker n

One file for the whole tree, because what matters here is the order: the schema upgraded, the
ingest process ready, then the workers start; at the end the workers stop accepting and finish,
then the ingest process answers and commits what it has. A child that dies is started again. Every
child holds the reading end of a pipe whose writing end only the supervisor has, so that none
outlives it, whatever ended it.
"""

from __future__ import annotations

import gc
import http.client
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.context import ForkProcess
from typing import IO, Any, NoReturn

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops, TaskImpl
from granian.log import LogLevels

from app import hub, logs
from app.errors import Unavailable, YilianError
from app.folder import Folder, reserved_socket
from app.settings import Address, Settings
from app.store import schema
from app.store.database import Address as Database

log = logging.getLogger(__name__)

# For each HTTP worker: of what waits or takes long beside its loop, and, without a loop, of all.
# More than these only make each other late; measured: docs/performance.md.
THREADS, _THREADS_ALONE = 4, 2
_BACKLOG = 2048
# The server's own tasks take 14 us less for each request; it has them up to Python 3.11.
_TASKS = TaskImpl.rust if sys.version_info < (3, 12) else TaskImpl.asyncio
# A message makes thousands of objects and hardly a cycle: Python's 700 would look for them at
# every message.
_GC_THRESHOLDS = (50_000, 20, 20)
_START_S = 120.0  # only reached by what hangs: one that ends is noticed at once
_DRAIN_S = 20  # what a request may take when the hub has been asked to stop

_fork = multiprocessing.get_context("fork")  # children share what was imported before


def run(chosen: Settings, folder: Folder, begun: float, stdout: IO[str]) -> int:
    """Run the hub in this process and its children until a signal says stop.

    begun: when the command started (time.perf_counter), for the line that says it is ready.
    """
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop_starting)
    with ExitStack() as running:
        reserved = running.enter_context(_reserve(chosen.http)) if chosen.http else None
        parts = hub.Parts(
            settings=chosen,
            id_secret=chosen.id_secret or folder.id_key(),
            writer_socket=running.enter_context(reserved_socket(folder.path)),
        )
        _upgrade(chosen.database)
        lifeline = running.enter_context(_lifeline())
        hub.preload(parts.store_setting)
        gc.freeze()  # what is imported now stays shared between the children
        gc.set_threshold(*_GC_THRESHOLDS)
        addresses: dict[str, str] = {"pid": str(os.getpid())}
        if parts.needs_ingest:
            ingest = Child("ingest", hub.ingest, parts, lifeline)
            running.callback(ingest.stop)
            listening = ingest.start()
            addresses |= listening
            parts = parts.at(listening)
        if reserved is None:
            _announce(folder, addresses, begun, stdout)
            return _wait_for_signal(stopped)
        addresses["http"] = str(reserved)
        ready = threading.Thread(
            target=_when_ready,
            args=(reserved, stopped, lambda: _announce(folder, addresses, begun, stdout)),
            daemon=True,
        )
        server = _server(reserved, chosen.http_workers, on_loop=hub.runs_on_loop(parts))
        server.on_startup(ready.start)
        running.callback(stopped.set)
        return _serve(server, parts, lifeline)


def _stop_starting(signum: int, frame: object) -> NoReturn:
    """A signal before all is running: undo what was done and go."""
    raise SystemExit(0)


def _upgrade(database: str) -> None:
    reached = schema.upgrade(Database(database))
    log.info("database.ready", extra={"version": reached, "backend": Database(database).dialect})


# --- HTTP ----------------------------------------------------------------------------------------


def _server(address: Address, workers: int, *, on_loop: bool) -> Any:
    threads: dict[str, Any] = {}
    if not on_loop:  # each has its own database connection
        threads = {"blocking_threads": _THREADS_ALONE, "blocking_threads_idle_timeout": 600}
    return Granian(
        "app.rest",  # only a name: the application is made by `target_loader`
        address=address.host,
        port=address.port,
        interface=Interfaces.RSGI if on_loop else Interfaces.WSGI,
        loop=Loops.asyncio,
        task_impl=_TASKS,
        http=HTTPModes.http1,
        websockets=False,
        workers=workers,
        **threads,
        backlog=_BACKLOG,
        backpressure=max(128, _BACKLOG // workers),
        respawn_failed_workers=True,
        workers_kill_timeout=_DRAIN_S,
        log_level=LogLevels.error,
        log_dictconfig={
            "formatters": {},
            "handlers": {},
            "loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": True}},
        },
    )


def _serve(server: Any, parts: hub.Parts, lifeline: tuple[int, int]) -> int:
    def application() -> Any:
        inherited = signal.getsignal(signal.SIGTERM)

        def finish() -> None:
            while (handler := signal.getsignal(signal.SIGTERM)) == inherited:
                pause.wait(0.01)  # the server's own is not installed yet
            if on_loop:  # the loop hears of a signal that any thread has got
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
                signal.raise_signal(signal.SIGTERM)
            elif callable(handler):
                # It must run once: it locks up when a second signal (systemd sends one to every
                # process) comes while it runs.
                handler(signal.SIGTERM, None)

        pause = threading.Event()
        on_loop = hub.runs_on_loop(parts)
        _tie(lifeline, finish)
        return hub.application(parts, THREADS)

    multiprocessing.set_start_method("fork", force=True)  # the default differs between versions
    try:
        server.serve(target_loader=application, wrap_loader=False)
    except SystemExit as exc:
        # A signal to the whole process group looks to the server like workers that died.
        return 0 if server.interrupt_signal else int(exc.code or 0)
    return 0


@contextmanager
def _reserve(wanted: Address) -> Iterator[Address]:
    """Hold the listening address, with the real port in place of 0, for the workers to share.

    Each worker listens with SO_REUSEPORT, which would also let a second hub share the port
    unnoticed; so it is first tried without.
    """
    family, _, _, _, target = socket.getaddrinfo(wanted.host, wanted.port, type=socket.SOCK_STREAM)[
        0
    ]
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
        with socket.socket(family) as held:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind(target)
            yield Address(*held.getsockname()[:2])
    except OSError as exc:
        raise Unavailable(
            f"--http: cannot listen on {wanted}: {exc.strerror or 'the address is not usable'}"
        ) from exc


def _when_ready(address: Address, stopped: threading.Event, then: Callable[[], None]) -> None:
    """Call `then` once the hub answers that every listener accepts."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if _is_ready(address):
            then()
            return
        if stopped.wait(0.02):
            return
    log.error("hub.not_ready", extra={"wait_ms": int(_START_S * 1000)})


def _is_ready(address: Address) -> bool:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _announce(folder: Folder, addresses: Mapping[str, str], begun: float, stdout: IO[str]) -> None:
    took = time.perf_counter() - begun
    folder.announce(addresses)
    log.info("hub.ready", extra={"took_ms": round(took * 1000)})
    lines = [f"Yilian is ready ({took:.1f} s); data in {folder.path}"]
    if "http" in addresses:
        lines.append(f"  FHIR R4   http://{addresses['http']}/fhir")
    lines += [
        f"  {label:<9} {addresses[name]}"
        for name, label in (("mllp", "HL7 v2"), ("dicom", "DICOM"))
        if name in addresses
    ]
    stdout.write("\n".join(lines) + "\n")
    stdout.flush()


def _wait_for_signal(stopped: threading.Event) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
    return 0


# --- children ------------------------------------------------------------------------------------

Report = Callable[[Mapping[str, str]], None]
Body = Callable[[hub.Parts, Report, threading.Event], None]


class Child:
    """A process that is kept running: started again, with growing pauses, when it dies.

    Its body gets a function to report the addresses on which it is ready, and an event that says
    that it should finish and return.
    """

    def __init__(self, name: str, body: Body, parts: hub.Parts, lifeline: tuple[int, int]) -> None:
        self.name = name
        self._body = body
        self._parts = parts
        self._lifeline = lifeline
        self._stopping = threading.Event()
        self._wake, self._woken = os.pipe()
        self._process: ForkProcess | None = None
        self._keeper = threading.Thread(target=self._keep, name=f"keep-{name}", daemon=True)

    def start(self) -> Mapping[str, str]:
        """Start the process and return the addresses it reports. Raises Unavailable."""
        addresses = self._spawn()
        self._parts = self._parts.at(addresses)  # started again, it is found where it was
        self._keeper.start()
        return addresses

    def stop(self) -> None:
        """Let the process finish what it took on, then end it."""
        self._stopping.set()
        os.write(self._woken, b".")
        if self._keeper.ident is not None:
            self._keeper.join()
        process = self._process
        if process is not None and process.is_alive():
            process.terminate()
            process.join(_DRAIN_S)
            if process.is_alive():
                log.error("process.killed", extra={"state": self.name})
                process.kill()
                process.join()
        os.close(self._wake)
        os.close(self._woken)

    def _spawn(self) -> Mapping[str, str]:
        receive, send = _fork.Pipe(duplex=False)
        process = _fork.Process(
            target=_child, args=(self._body, self._parts, self._lifeline, send), name=self.name
        )
        process.start()
        self._process = process
        send.close()
        with receive:
            try:
                if receive.poll(_START_S):
                    said: Mapping[str, str] | str = receive.recv()
                    if isinstance(said, str):
                        process.join()
                        raise Unavailable(said)
                    return said
            except EOFError:
                process.join()
        if process.is_alive():
            process.kill()
            process.join()
        raise Unavailable(f"the {self.name} process did not start; its log says why")

    def _keep(self) -> None:
        pause_s = 0.05
        while True:
            process = self._process
            born = time.monotonic()
            if process is not None:
                wait_for_any([process.sentinel, self._wake])
            if self._stopping.is_set():
                return
            if process is not None:
                process.join()
                log.error("process.died", extra={"state": self.name, "exit_code": process.exitcode})
            pause_s = 0.05 if time.monotonic() - born > 60 else min(5.0, pause_s * 2)
            if self._stopping.wait(pause_s):
                return
            try:
                self._spawn()
            except (Unavailable, OSError):
                log.exception("process.not_restarted", extra={"state": self.name})


def _child(body: Body, parts: hub.Parts, lifeline: tuple[int, int], report: Connection) -> None:
    """What runs in a child: its body, until SIGTERM or the end of the supervisor."""
    stop = threading.Event()
    _tie(lifeline, stop.set)

    def ready(addresses: Mapping[str, str]) -> None:
        report.send(dict(addresses))
        report.close()

    try:
        body(parts, ready, stop)
    except YilianError as exc:
        if report.closed:  # it was running: a fault, not a refusal to start
            raise
        told = [f"{issue.at}: {issue.text}" if issue.at else issue.text for issue in exc.issues]
        report.send("\n".join(told))


@contextmanager
def _lifeline() -> Iterator[tuple[int, int]]:
    """A pipe that nobody writes to: its reading end sees the end of the supervisor."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


def _tie(lifeline: tuple[int, int], finish: Callable[[], None]) -> None:
    """Make this child call `finish` once, on SIGTERM or when the supervisor is no more.

    SIGTERM is waited for in a thread of its own and reaches no other. SIGINT from a keyboard goes
    to the whole group, but it is the supervisor that decides what it means.
    """
    reading, writing = lifeline
    os.close(writing)
    logs.configure()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})

    def wait_for_signal() -> None:
        signal.sigwait({signal.SIGTERM})
        finish()

    def watch() -> None:
        if os.read(reading, 1) == b"":
            os.kill(os.getpid(), signal.SIGTERM)

    for name, task in (("stop", wait_for_signal), ("lifeline", watch)):
        threading.Thread(target=task, name=name, daemon=True).start()
