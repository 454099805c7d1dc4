"""Processes that read messages beside the one that writes.

Reading, converting, checking and indexing a result of ten observations costs about as much as
writing it; done by another process it costs the writer nothing. Requests and replies are frames
on a pipe; each helper answers in the order it is asked.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection

import msgspec

from app.feeds.hl7v2.reading import Read

log = logging.getLogger(__name__)

_fork = multiprocessing.get_context("fork")  # a helper shares what was imported before
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Read).decode
_FIRST = (
    b"MSH|^~\\&|YILIAN|YILIAN|||20000101||ADT^A04^ADT_A01|0|P|2.5.1\r"
    b"EVN|A04|20000101\rPID|1||0^^^YILIAN\rPV1|1|O\r"
)


class Helper:
    """One process. Made before the threads of this one, so that it inherits no lock."""

    def __init__(self, read: Callable[[bytes], Read]) -> None:
        self._read = read
        ours, theirs = _fork.Pipe()
        self._pipe = ours
        self._process = _fork.Process(target=_serve, args=(theirs, ours, read), name="reader")
        self._process.daemon = True
        self._process.start()
        theirs.close()
        self.alive = True

    def ask(self, raw: bytes) -> bool:
        """Hand over a message; False when there is no helper any more."""
        if self.alive:
            try:
                self._pipe.send_bytes(raw)
            except OSError:
                self._lost()
        return self.alive

    def answer(self, raw: bytes) -> Read:
        """Return the reply to the oldest message handed over, which was `raw`."""
        if self.alive:
            try:
                return _decode(self._pipe.recv_bytes())
            except (OSError, EOFError):
                self._lost()
            except msgspec.MsgspecError:  # taken from the pipe all the same: the next one is right
                log.exception("hl7v2.helper_unreadable")
        return self._read(raw)

    def close(self) -> None:
        """Let it finish. Close all before `join`: a younger one holds the pipe of an older."""
        self._pipe.close()

    def join(self) -> None:
        """Wait for its end."""
        self._process.join(5)

    def _lost(self) -> None:
        if self.alive:
            self.alive = False
            log.error("hl7v2.helper_lost", extra={"exit_code": self._process.exitcode or 0})


def _serve(pipe: Connection, other_end: Connection, read: Callable[[bytes], Read]) -> None:
    """What runs in a helper: read what comes, until the pipe is closed."""
    other_end.close()
    read(_FIRST)  # compiles the mapping: the first message does not wait for it
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send_bytes(_encode(read(pipe.recv_bytes())))
