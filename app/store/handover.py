"""How HTTP workers hand their writes to the writer process of a SQLite file, and are answered.

A worker's thread has a connection of its own (`SocketWriter`) and waits on it. At the other end
there are no threads: the writer's own thread looks at all connections before each transaction
(`Doors`), takes whole requests out of what has come (`WriterServer`) and leaves the answers in the
sockets afterwards. Threads that read for it would take Python's lock from it at every statement
(measured: docs/performance.md).
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from app.errors import NotSupported, Unavailable, YilianError
from app.store import wire
from app.store.aside import Aside
from app.store.prepare import Prepared
from app.store.types import Outcome

log = logging.getLogger(__name__)

T = TypeVar("T")

_BACKLOG = 128
_RECEIVE = 1 << 18
_FINISH_S = 2.0
_UNREAD_MAX = 64 << 20  # answers that a worker does not take before it counts as lost

Submit = Callable[[Sequence[Prepared] | Aside, Callable[[Any], None]], None]


class Doors:
    """The sockets that one thread watches, and a bell that wakes it."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._bell_read, self._bell = os.pipe()
        os.set_blocking(self._bell_read, False)
        os.set_blocking(self._bell, False)
        self._selector.register(self._bell_read, selectors.EVENT_READ, self._silence)
        self._asleep = False

    def look(self, is_busy: Callable[[], bool]) -> None:
        """Do what the sockets are ready for; unless there is work already, wait until one is."""
        self._asleep = True  # said before the question: who submits now, rings
        busy = is_busy()
        if busy:
            self._asleep = False
        ready = self._selector.select(0 if busy else None)
        self._asleep = False
        for key, mask in ready:
            key.data(mask)

    def wake(self) -> None:
        """End the wait of `look`; from any thread."""
        if self._asleep:
            with contextlib.suppress(BlockingIOError):  # it rings already
                os.write(self._bell, b".")

    def watch(self, sock: socket.socket, ready: Callable[[int], None], *, write: bool) -> None:
        """Call `ready` when the socket can be read (and with `write` also when written)."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        if sock.fileno() in self._selector.get_map():
            self._selector.modify(sock, events, ready)
        else:
            self._selector.register(sock, events, ready)

    def forget(self, sock: socket.socket) -> None:
        """Watch it no more."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(sock)

    def close(self) -> None:
        """Close the bell; the sockets are closed by whom they belong to."""
        self._selector.close()
        os.close(self._bell_read)
        os.close(self._bell)

    def _silence(self, mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._bell_read, 4096)


class WriterServer:
    """Takes change sets from HTTP workers on a local socket that only this user can open."""

    def __init__(self, path: Path, doors: Doors, submit: Submit) -> None:
        self._path = path
        self._doors = doors
        self._submit = submit
        self._workers: set[_Worker] = set()
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(_BACKLOG)
        self._listener.setblocking(False)
        doors.watch(self._listener, self._accept, write=False)
        doors.wake()

    def close(self) -> None:
        """Let no more workers in; what they have handed over is still written and answered."""
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # the writer's thread sees it and lets go

    def finish(self) -> None:
        """Send what is left of the answers and close; when the writer's thread has ended."""
        for worker in list(self._workers):
            worker.finish()
        self._listener.close()

    def _accept(self, mask: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:
            self._doors.forget(self._listener)
            self._listener.close()
            return
        self._workers.add(_Worker(sock, self._doors, self._submit, self._workers.discard))


class _Worker:
    """One connection of a worker, seen from the writer's thread only."""

    def __init__(
        self,
        sock: socket.socket,
        doors: Doors,
        submit: Submit,
        gone: Callable[[_Worker], None],
    ) -> None:
        sock.setblocking(False)
        self._gone = gone
        self._sock = sock
        self._doors = doors
        self._submit = submit
        self._came = bytearray()
        self._unsent = bytearray()
        doors.watch(sock, self._ready, write=False)

    def _ready(self, mask: int) -> None:
        try:
            if mask & selectors.EVENT_WRITE:
                self._send()
            if mask & selectors.EVENT_READ:
                self._receive()
        except (OSError, ValueError):
            log.warning("store.worker_lost")
            self._drop()

    def _receive(self) -> None:
        try:
            data = self._sock.recv(_RECEIVE)
        except BlockingIOError:
            return
        if not data:
            self._drop()
            return
        self._came += data
        while (frame := wire.take(self._came)) is not None:
            self._submit(wire.request(frame), self._answer)

    def _answer(self, result: list[Outcome] | YilianError) -> None:
        reply = wire.failed(result) if isinstance(result, YilianError) else wire.Reply(result)
        data = wire.frame(reply)
        try:
            if self._unsent or (sent := self._sock.send(data)) == 0:
                self._unsent += data
            elif sent < len(data):
                self._unsent += memoryview(data)[sent:]
            else:
                return
        except BlockingIOError:
            self._unsent += data
        except OSError:  # the worker is gone; what it asked for is on disk
            self._drop()
            return
        if len(self._unsent) > _UNREAD_MAX:
            log.warning("store.worker_lost")
            self._drop()
        else:
            self._doors.watch(self._sock, self._ready, write=True)

    def _send(self) -> None:
        with contextlib.suppress(BlockingIOError):
            sent = self._sock.send(self._unsent)
            del self._unsent[:sent]
        if not self._unsent:
            self._doors.watch(self._sock, self._ready, write=False)

    def finish(self) -> None:
        """Send the rest of the answers, as long as the worker takes them, and close."""
        self._sock.settimeout(_FINISH_S)
        with contextlib.suppress(OSError):
            self._sock.sendall(self._unsent)
        self._drop()

    def _drop(self) -> None:
        self._doors.forget(self._sock)
        self._sock.close()
        self._gone(self)


class SocketWriter:
    """A worker's way to the writer process: one connection a thread, opened when first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()

    def run(self, work: Callable[[Any], T]) -> T:
        """Refuse: work runs where the file is owned."""
        raise NotSupported("only the writer process can do this")

    def commit(self, changes: Sequence[Prepared]) -> list[Outcome]:
        """Hand a set over and wait for its outcome. Raises Unavailable without a writer; then the
        set may or may not have been written, as with any lost answer."""
        return self._hand_over(list(changes))

    def write_aside(self, rows: Aside) -> None:
        """Hand rows of other tables over and wait until they are on disk; as `commit`."""
        self._hand_over(rows)

    def _hand_over(self, message: list[Prepared] | Aside) -> list[Outcome]:
        try:
            sock = self._socket()
            wire.send(sock, message)
            reply = wire.receive_reply(sock)
        except (OSError, Unavailable) as exc:
            self.close()
            raise Unavailable("the writer is restarting") from exc
        return wire.outcomes(reply)

    def close(self) -> None:
        sock: socket.socket | None = getattr(self._local, "sock", None)
        if sock is not None:
            sock.close()
            self._local.sock = None

    def _socket(self) -> socket.socket:
        sock: socket.socket | None = getattr(self._local, "sock", None)
        if sock is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(str(self._path))
            except OSError:
                sock.close()
                raise
            self._local.sock = sock
        return sock
