"""What passes between HTTP workers and the writer process over the local socket.

Frames: four bytes of length (big endian), then MessagePack. A request is one prepared change set,
or rows of other tables; a reply holds its outcomes, or the error with its class name and issues.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field

import msgspec

from app import errors
from app.errors import Issue, Unavailable, YilianError
from app.store.aside import Aside
from app.store.prepare import Prepared, pack_words
from app.store.types import Outcome

_LENGTH = struct.Struct(">I")
_MAX = 1 << 30


@dataclass(slots=True)
class Reply:
    """The answer to one change set."""

    outcomes: list[Outcome] = field(default_factory=list)
    error: str | None = None
    issues: list[Issue] = field(default_factory=list)


_encode = msgspec.msgpack.Encoder().encode
_requests: msgspec.msgpack.Decoder[list[Prepared] | Aside] = msgspec.msgpack.Decoder(
    list[Prepared] | Aside
)
_replies = msgspec.msgpack.Decoder(Reply)


def frame(message: list[Prepared] | Aside | Reply) -> bytes:
    """Return a message as it goes over the socket."""
    data = _encode(message)
    return _LENGTH.pack(len(data)) + data


def take(came: bytearray) -> bytes | None:
    """Take the first whole frame out of what has come; None while it is not whole.

    Raises ConnectionError for a length that no message has.
    """
    start = _LENGTH.size
    if len(came) < start:
        return None
    (size,) = _LENGTH.unpack_from(came)
    if size > _MAX:
        raise ConnectionError("frame too long")
    if len(came) < start + size:
        return None
    data = bytes(memoryview(came)[start : start + size])
    del came[: start + size]
    return data


def request(data: bytes) -> list[Prepared] | Aside:
    """Read what is to be written from a frame. Raises ValueError for anything else."""
    return _requests.decode(data)


def reply(data: bytes) -> Reply:
    """Read an answer from a frame."""
    return _replies.decode(data)


def send(sock: socket.socket, message: list[Prepared] | Aside) -> None:
    """Write one frame."""
    if isinstance(message, list):
        for change in message:
            pack_words(change)
    sock.sendall(frame(message))


def receive_reply(sock: socket.socket) -> Reply:
    """Read one reply. Raises Unavailable when the writer has gone away."""
    data = _frame(sock)
    if data is None:
        raise Unavailable("the writer is restarting")
    return _replies.decode(data)


def failed(error: YilianError) -> Reply:
    """Return the reply that carries `error`, by its nearest class of the common tree."""
    kind = next(k for k in type(error).__mro__ if k.__module__ == errors.__name__)
    return Reply(error=kind.__name__, issues=list(error.issues))


def outcomes(reply: Reply) -> list[Outcome]:
    """Return the outcomes of a reply, or raise the error it carries."""
    if reply.error is None:
        return reply.outcomes
    kind = getattr(errors, reply.error, YilianError)
    if kind is Unavailable:
        raise Unavailable(reply.issues[0].text)
    raise kind.of(reply.issues)


def _frame(sock: socket.socket) -> bytes | None:
    head = _exactly(sock, _LENGTH.size)
    if head is None:
        return None
    (size,) = _LENGTH.unpack(head)
    if size > _MAX:
        raise ConnectionError("frame too long")
    return _exactly(sock, size)


def _exactly(sock: socket.socket, size: int) -> bytes | None:
    data = sock.recv(size, socket.MSG_WAITALL)
    if len(data) == size:
        return data
    if not data:
        return None
    parts = bytearray(data)
    while len(parts) < size:
        more = sock.recv(size - len(parts))
        if not more:
            return None
        parts += more
    return bytes(parts)
