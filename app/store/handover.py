"""How HTTP workers hand their writes to the writer process of a SQLite file, and are answered.

A worker's thread has a connection of its own (`SocketWriter`) and waits on it; the requests of a
worker's event loop share one, which answers in the order of what was handed over. At the other end
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
from asyncio import AbstractEventLoop, Future
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from app.errors import NotSupported, Unavailable, YilianError
from app.store import wire
from app.store.aside import Aside
from app.store.prepare import Prepared
from app.store.turns import Turn, may_park, parked
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
        self._later: list[Callable[[], None]] = []

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

    def later(self, work: Callable[[], None]) -> None:
        """Have something done once all of a transaction have been answered."""
        self._later.append(work)

    def settle(self) -> None:
        """Do what was to be done later."""
        works, self._later = self._later, []
        for work in works:
            work()

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
        self._is_open = True
        doors.watch(self._listener, self._accept, write=False)
        doors.wake()

    def close(self) -> None:
        """Let no more workers in; what they have handed over is still written and answered."""
        self._path.unlink(missing_ok=True)
        self._is_open = False
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
            if not self._is_open:  # it stays ready from now on
                self._doors.forget(self._listener)
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
        self._is_behind = False  # the worker reads more slowly than it is answered
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
        if not self._unsent:  # the answers to all that one worker asked for go out together
            self._doors.later(self._send_all)
        self._unsent += wire.frame(reply)

    def _send_all(self) -> None:
        try:
            self._send()
        except OSError:  # the worker is gone; what it asked for is on disk
            self._drop()
            return
        if len(self._unsent) > _UNREAD_MAX:
            log.warning("store.worker_lost")
            self._drop()

    def _send(self) -> None:
        with contextlib.suppress(BlockingIOError):
            sent = self._sock.send(self._unsent)
            del self._unsent[:sent]
        is_behind = bool(self._unsent)
        if is_behind != self._is_behind:
            self._is_behind = is_behind
            self._doors.watch(self._sock, self._ready, write=is_behind)

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
        self._loop: _LoopConnection | None = None

    def serve_loop(self, loop: AbstractEventLoop, turn: Turn) -> None:
        """Let those wait who run on this event loop, without keeping it from others."""
        self._loop = _LoopConnection(self._path, loop, turn)

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
        if self._loop is not None and may_park():
            return wire.outcomes(self._loop.ask(message))
        try:
            sock = self._socket()
            wire.send(sock, message)
            reply = wire.receive_reply(sock)
        except (OSError, Unavailable) as exc:
            self._hang_up()
            raise Unavailable("the writer is restarting") from exc
        return wire.outcomes(reply)

    def close(self) -> None:
        """Close the connections of this thread and of the loop."""
        self._hang_up()
        if self._loop is not None:
            self._loop.close()

    def _hang_up(self) -> None:
        sock: socket.socket | None = getattr(self._local, "sock", None)
        if sock is not None:
            sock.close()
            self._local.sock = None

    def _socket(self) -> socket.socket:
        sock: socket.socket | None = getattr(self._local, "sock", None)
        if sock is None:
            self._local.sock = sock = _connected(self._path)
        return sock


class _LoopConnection:
    """The one connection of an event loop; used by the loop's thread only."""

    def __init__(self, path: Path, loop: AbstractEventLoop, turn: Turn) -> None:
        self._path = path
        self._loop = loop
        self._turn = turn
        self._sock: socket.socket | None = None
        self._waiting: deque[Future[wire.Reply]] = deque()  # in the order they will be answered
        self._came = bytearray()
        self._unsent = bytearray()

    def ask(self, message: list[Prepared] | Aside) -> wire.Reply:
        """Hand a message over and park until it is answered. Raises Unavailable."""
        future: Future[wire.Reply] = self._loop.create_future()
        data = wire.frame(message)
        self._turn.lift()
        try:
            sock = self._connection()
            sent = 0 if self._unsent else sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            self.close()
            raise Unavailable("the writer is restarting") from exc
        self._waiting.append(future)
        if sent < len(data):
            if not self._unsent:
                self._loop.add_writer(sock, self._send)
            self._unsent += memoryview(data)[sent:]
        try:
            return parked(future)
        finally:
            self._turn.lift()  # another's turn was begun meanwhile

    def _connection(self) -> socket.socket:
        if self._sock is None:
            self._sock = _connected(self._path)
            self._sock.setblocking(False)
            self._loop.add_reader(self._sock, self._receive)
        return self._sock

    def _send(self) -> None:
        assert self._sock is not None
        try:
            sent = self._sock.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._sock)

    def _receive(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(_RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._came += data
        while (frame := wire.take(self._came)) is not None:
            future = self._waiting.popleft()
            if not future.done():  # whom it was for has not given up
                future.set_result(wire.reply(frame))

    def close(self) -> None:
        """Close; of what was handed over nobody knows whether it will be written."""
        if self._sock is not None:
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock.close()
            self._sock = None
        self._came.clear()
        self._unsent.clear()
        lost, self._waiting = self._waiting, deque()
        for future in lost:
            if not future.done():
                future.set_exception(Unavailable("the writer is restarting"))


def _connected(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(str(path))
    except OSError:
        sock.close()
        raise
    return sock
