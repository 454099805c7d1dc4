"""Processes that read messages beside the one that writes.

Reading, converting, checking and indexing a result of ten observations costs about as much as
writing it; done by another process it costs the writer nothing. Requests and replies are frames
on a pipe; each helper answers in the order it is asked. Each system call gives Python's lock away
to the writer, so a reply is written and read in one piece, and read with those that follow it.

A helper that ends takes no message with it: what it was asked is asked again. The message it was
reading then is suspected, and tried once more by a helper that reads nothing else; if that one
ends too, the message is at fault and never comes near the process that writes. One that reads a
message for longer than it may is ended; that message is not tried again, because all that came
after it wait meanwhile. Helpers are forked
from a process that was made before this one had threads (`_nursery`), as often as `_RESTARTS` in
`_RESTARTS_S` allow.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import multiprocessing
import os
import select
import signal
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import cycle
from multiprocessing.connection import Connection

import msgspec

from app.errors import Issue
from app.feeds.hl7v2 import ack
from app.feeds.hl7v2.reading import Read, Wrong, packed, unpacked

log = logging.getLogger(__name__)

_PID = struct.Struct("=i")
_SIZE = struct.Struct("=Q")  # before each reply: its bytes
_RECEIVE_BYTES = 64 * 1024
_fork = multiprocessing.get_context("fork")  # a helper shares what was imported before
_FIRST = (
    b"MSH|^~\\&|YILIAN|YILIAN|||20000101||ADT^A04^ADT_A01|0|P|2.5.1\r"
    b"EVN|A04|20000101\rPID|1||0^^^YILIAN\rPV1|1|O\r"
)
# What most senders say, so that it is compiled before the first of them says it: people's names in
# Chinese (their pinyin is a table of its own), a visit, an order, results of several kinds.
MORE = (
    "MSH|^~\\&|YILIAN|YILIAN|||20000101||ORU^R01^ORU_R01|1|P|2.5.1|||||CHN|UNICODE UTF-8\r"
    "PID|1||0^^^YILIAN||张^伟||19500101|M|||北京路^^北京^^100000^CHN\r"
    "PV1|1|I|W^1^1|||||||||||||||||0^^^YILIAN\r"
    "ORC|RE|0|0||CM||||20000101|||0^王^芳\r"
    "OBR|1|0|0|0^Panel^L|||20000101|||||||||0^王^芳|||||||20000101||LAB|F\r"
    "OBX|1|NM|0^Test^L||1.5|mmol/L|1.0-2.0|N|||F|||20000101||0^李^强\r"
    "OBX|2|ST|1^Test^L||text||||||F\rOBX|3|CE|2^Test^L||0^Text^L||||||F\r".encode(),
    b"MSH|^~\\&|YILIAN|YILIAN|||20000101||ORM^O01^ORM_O01|2|P|2.5.1\r"
    b"PID|1||0^^^YILIAN||A^B\rORC|NW|0\rOBR|1|0||0^Panel^L\r",
)
_FORK, _WARM = b"+", b"w"
_TRIES = 2  # helpers that one message may end
# How long one message may be read: a thousand times what it takes, on a machine that does nothing
# else.
_LIMIT_S, _LIMIT_S_PER_MB = 20.0, 60.0
_RESTARTS, _RESTARTS_S = 30, 60.0
_FATAL = Issue(
    "error", "exception", "reading this message ended the process that read it", None, "reader-lost"
)
_TOO_LONG = Issue(
    "error", "exception", "reading this message took too long", None, "reader-timeout"
)
_NO_READER = Issue(
    "error", "transient", "too many messages ended the process that read them", None, "no-reader"
)


def limit_s(raw: bytes) -> float:
    """Return how many seconds a helper may read a message before it counts as hanging."""
    return _LIMIT_S + _LIMIT_S_PER_MB * len(raw) / 1_000_000


class Helper:
    """One process that reads, as the one that asks it sees it."""

    def __init__(self, pipe: Connection, pid: int = 0) -> None:
        self._pipe = pipe
        self._readable = select.poll()  # made once: `Connection.poll` makes one for every message
        self._readable.register(pipe.fileno(), select.POLLIN)
        self._came = bytearray()  # of replies, and not taken yet
        self.pid = pid
        self.alive = True
        self.hung = False  # ended because it read a message for too long
        self._blamed = False

    def ask(self, raw: bytes) -> bool:
        """Hand over a message; False when there is no helper any more."""
        if self.alive:
            try:
                self._pipe.send_bytes(raw)
            except OSError:
                self._lost()
        return self.alive

    def answer(self, limit_s: float | None = None) -> Read | None:
        """Return the reply to the oldest message handed over; None when there will be none.

        limit_s: how long to wait for it before the helper is ended; None: for ever.
        """
        limit_ms = None if limit_s is None else limit_s * 1000
        try:
            while (reply := self._taken()) is None:
                if not self._readable.poll(limit_ms):
                    self._end()
                    return None
                self._receive()
            return unpacked(reply)
        except (OSError, EOFError):
            self._lost()
        except msgspec.MsgspecError:  # taken from the pipe all the same: the next one is right
            log.exception("hl7v2.helper_unreadable")
        return None

    def blame(self) -> bool:
        """Say whether to suspect a message without reply: the first one after the last reply."""
        first, self._blamed = not self._blamed, True
        return first

    def close(self) -> None:
        """Let it finish."""
        self.alive = False
        self._pipe.close()

    def _receive(self) -> None:
        """Add what is in the pipe. Raises EOFError, OSError when the helper has ended."""
        data = os.read(self._pipe.fileno(), _RECEIVE_BYTES)
        if not data:
            raise EOFError
        self._came += data

    def _taken(self) -> bytes | None:
        """Take a whole reply out of what has come."""
        came = self._came
        if len(came) < _SIZE.size:
            return None
        end = _SIZE.size + _SIZE.unpack_from(came)[0]
        if len(came) < end:
            return None
        reply = bytes(came[_SIZE.size : end])
        del came[:end]
        return reply

    def _end(self) -> None:
        """End a helper that hangs; its end of the pipe is open, so the process is there."""
        self.alive, self.hung = False, True
        log.error("hl7v2.helper_hung")
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _lost(self) -> None:
        if self.alive:
            self.alive = False
            log.error("hl7v2.helper_lost")


class Helpers:
    """Several helpers. Make them before this process has threads; one thread asks, one takes."""

    def __init__(
        self,
        read: Callable[[bytes], Read],
        count: int,
        *,
        warm: Callable[[bytes], object] | None = None,
        now: Callable[[], float] = time.monotonic,
        limit_s: Callable[[bytes], float] = limit_s,
    ) -> None:
        """read: what a helper does with a message; warm: done once, to what all helpers share;
        limit_s: how long a message may be read.
        """
        self._read = read
        self._limit_s = limit_s
        self._now = now
        self._control, theirs = socket.socketpair()
        self._nursery = _fork.Process(
            target=_nursery, args=(theirs, self._control, read, warm or read), name="reader"
        )
        self._nursery.daemon = True
        self._nursery.start()
        theirs.close()
        self._lock = threading.Lock()
        self._restarts: deque[float] = deque()
        self._helpers: list[Helper | None] = [None] * count  # forked when first asked
        self._next: Iterator[int] = cycle(range(count))
        self._spare: Helper | None = None  # reads again, one message at a time

    def ask(self, raw: bytes) -> Helper | None:
        """Hand a message to the next helper; None when there is none to be had."""
        at = next(self._next)
        helper = self._helpers[at]
        if helper is None or not helper.alive:
            helper = self._helpers[at] = self._replaced()
        return helper if helper is not None and helper.ask(raw) else None

    def answer(self, asked: Helper | None, raw: bytes) -> Read:
        """Return what became of a message: `asked` is what `ask` returned for it."""
        tries = 0
        if asked is not None:
            read = asked.answer(self._limit_s(raw))
            if read is not None:
                return read
            if asked.blame():
                if asked.hung:
                    return _failed(raw, _TOO_LONG)
                tries = 1
        return self._again(raw, tries)

    def warm(self) -> None:
        """Have compiled what most messages need; a message that comes meanwhile goes before it."""
        with contextlib.suppress(OSError):
            self._control.sendall(_WARM)

    def close(self) -> None:
        """Let them finish, and wait for their end."""
        for helper in (*self._helpers, self._spare):
            if helper is not None:
                helper.close()
        self._control.close()
        self._nursery.join(5)

    def _again(self, raw: bytes, tries: int) -> Read:
        """Read a message that got no reply, with a helper that reads nothing else."""
        while tries < _TRIES:
            if self._spare is None or not self._spare.alive:
                self._spare = self._replaced()
            if self._spare is None:
                break
            if self._spare.ask(raw):
                read = self._spare.answer(self._limit_s(raw))
                if read is not None:
                    return read
                if self._spare.hung:
                    return _failed(raw, _TOO_LONG)
            tries += 1
        if not tries and not self._nursery.is_alive():
            return self._read(raw)  # nothing speaks against it
        if tries:
            return _failed(raw, _FATAL)
        wrong = Wrong("Unavailable", (_NO_READER,))
        return Read(ack.header_of_raw(raw), wrong=wrong, refused=True)

    def _replaced(self) -> Helper | None:
        """Return a new helper in place of one that ended; None when too many did."""
        with self._lock:
            now = self._now()
            while self._restarts and now - self._restarts[0] > _RESTARTS_S:
                self._restarts.popleft()
            if len(self._restarts) >= _RESTARTS:
                return None
            self._restarts.append(now)
            return self._forked()

    def _forked(self) -> Helper | None:
        try:
            self._control.sendall(_FORK)
            said, handles, _, _ = socket.recv_fds(self._control, _PID.size, 1)
        except OSError:
            handles = []
        if not handles:
            log.error("hl7v2.no_helper")
            return None
        return Helper(Connection(handles[0]), *_PID.unpack(said))


def _failed(raw: bytes, issue: Issue) -> Read:
    """Return a message that is at fault: it is kept, with its issue."""
    return Read(ack.header_of_raw(raw), wrong=Wrong("YilianError", (issue,)))


def _nursery(
    control: socket.socket,
    other_end: socket.socket,
    read: Callable[[bytes], Read],
    warm: Callable[[bytes], object],
) -> None:
    """What runs in the process that helpers are forked from, as it is asked to."""
    other_end.close()
    warm(_FIRST)  # compiles the mapping: the first message does not wait for it
    gc.freeze()  # what is loaded stays shared, and no collector looks at it
    more: deque[bytes] = deque()
    with contextlib.suppress(OSError):
        while True:
            if more and not select.select((control,), (), (), 0)[0]:
                warm(more.popleft())
                gc.freeze()
                continue
            asked = control.recv(1)
            if not asked:
                break
            if asked == _WARM:
                more.extend(MORE)
                continue
            _reap(os.WNOHANG)
            ours, theirs = _fork.Pipe()
            pid = os.fork()
            if pid == 0:
                try:
                    ours.close()
                    control.close()
                    _serve(theirs, read)
                finally:
                    os._exit(0)
            theirs.close()
            socket.send_fds(control, [_PID.pack(pid)], [ours.fileno()])
            ours.close()
    _reap(0)


def _reap(options: int) -> None:
    """Take note of helpers that ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, options)[0]:
            pass


def _serve(pipe: Connection, read: Callable[[bytes], Read]) -> None:
    """What runs in a helper: read what comes, until the pipe is closed."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            reply(pipe, packed(read(pipe.recv_bytes())))


def reply(pipe: Connection, data: bytes) -> None:
    """Write what `Helper.answer` takes as one reply."""
    left = memoryview(_SIZE.pack(len(data)) + data)
    while left:
        left = left[os.write(pipe.fileno(), left) :]
