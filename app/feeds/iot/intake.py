"""Device messages from the HTTP workers to the process that writes, over a private local socket.

A worker reads and converts; the server hands what it gets to the device door and answers when all
messages of a request are safe. Frames: four octets of length, then MessagePack.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from app.errors import Unavailable, YilianError
from app.feeds.dispatch import Receipt
from app.feeds.inbox import State
from app.feeds.iot.said import Read, packed, unpacked
from app.feeds.statement import Recent

log = logging.getLogger(__name__)

_LENGTH: Final = struct.Struct("!I")
_MOST_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of one message so far: the entry's id and state."""

    id: int
    state: State


_replies = msgspec.msgpack.Decoder(list[Kept])
_encode = msgspec.msgpack.Encoder().encode

Accept = Callable[[Read], "Future[Receipt]"]


class Server:
    """Takes messages at a socket of this machine that only the hub's own user may open."""

    def __init__(self, path: Path, accept: Accept) -> None:
        self._accept = accept
        self._path = path
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._listen, name="intake", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more requests; those that came are answered by their own threads."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._path.unlink(missing_ok=True)
        self._thread.join(5)

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(
                target=self._serve, args=(connection,), name="intake", daemon=True
            ).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, EOFError):
            while True:
                request = _receive(connection)
                try:
                    reply = _encode(self._answer(request))
                except Exception:
                    log.exception("iot.intake_failed")
                    reply = b""
                _send(connection, reply)

    def _answer(self, request: bytes) -> list[Kept]:
        """Return the receipts of a request; raises when one could not be made safe."""
        waiting = [self._accept(read) for read in unpacked(request)]
        receipts = [one.result() for one in waiting]
        return [Kept(receipt.id, receipt.state) for receipt in receipts]


class Client:
    """The other end, in an HTTP worker; one connection for each thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()

    def keep(self, read: Sequence[Read]) -> list[Kept]:
        """Return what became of the messages, once they are safe. Raises Unavailable."""
        request = packed(read, self._sent())
        for last in (False, True):
            connection = self._connected(last)
            try:
                _send(connection, request)
                reply = _receive(connection)
            except (OSError, EOFError):
                self._forget()  # the process that writes was started again
                continue
            if not reply:
                break
            return _replies.decode(reply)
        raise Unavailable("the messages cannot be stored now")

    def _sent(self) -> Recent:
        """Return what this thread has handed over lately."""
        found: Recent | None = getattr(self._local, "sent", None)
        if found is None:
            found = self._local.sent = Recent()
        return found

    def _connected(self, last: bool) -> socket.socket:
        found: socket.socket | None = getattr(self._local, "connection", None)
        if found is not None:
            return found
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self._path))
        except OSError as exc:
            connection.close()
            raise Unavailable("the messages cannot be stored now") from exc
        self._local.connection = connection
        return connection

    def _forget(self) -> None:
        self._local.connection.close()
        self._local.connection = None


def _send(connection: socket.socket, data: bytes) -> None:
    connection.sendall(_LENGTH.pack(len(data)) + data)


def _receive(connection: socket.socket) -> bytes:
    """Return the next frame. Raises EOFError when the other end has gone."""
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > _MOST_BYTES:
        raise EOFError
    return _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = connection.recv(min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def first_problem(read: Sequence[Read]) -> YilianError | None:
    """Return what is wrong when nothing in a body is a message, else None."""
    if not read or any(one.wrong is None for one in read):
        return None
    wrong = read[0].wrong
    return wrong.error() if wrong else None
