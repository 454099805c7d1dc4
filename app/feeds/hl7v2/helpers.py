"""Processes that read messages beside the one that writes.

Reading, converting, checking and indexing a result of ten observations costs about as much as
writing it; done by another process it costs the writer nothing. Requests and replies are frames
on a pipe; each helper answers in the order it is asked. All pipes are watched by one event loop,
that of the listener; nothing here waits. Each system call gives Python's lock away to the writer,
so a reply is written and read in one piece, and read with those that follow it.

A helper that ends takes no message with it: what it was asked is asked again. The message it was
reading then is suspected, and tried once more by a helper that reads nothing else; if that one
ends too, the message is at fault and never comes near the process that writes. One that reads a
message for longer than it may is ended; that message is not tried again, because all that came
after it wait meanwhile. Helpers are forked from a process that was made before this one had threads
(`nursery.py`), as often as `_RESTARTS` in `_RESTARTS_S` allow.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle

import msgspec

from app.errors import Issue
from app.feeds.hl7v2 import ack
from app.feeds.hl7v2.loop import Loop
from app.feeds.hl7v2.nursery import FORK, PID, SIZE, WARM, raise_readers
from app.feeds.hl7v2.reading import Read, Wrong, unpacked

log = logging.getLogger(__name__)

_RECEIVE_BYTES = 256 * 1024
_fork = multiprocessing.get_context("fork")  # a helper shares what was imported before
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


@dataclass(slots=True, eq=False)
class Question:
    """A message to be read, and whom to tell what became of it. tries: helpers that it ended."""

    raw: bytes
    told: Callable[[Read], None]
    tries: int = 0


Answered = Callable[[Question, Read], None]
# Takes a question that gets no reply: `blamed` when its helper ended over it, or hung (`hung`).
Unread = Callable[[Question, bool, bool], None]


class Helper:
    """One process that reads, as the one that asks it sees it; used by the loop's thread only."""

    def __init__(
        self,
        pipe: socket.socket,
        answered: Answered,
        unread: Unread,
        limit_s: Callable[[bytes], float],
    ) -> None:
        pipe.setblocking(False)
        self._pipe = pipe
        self._answered = answered
        self._unread = unread
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._asked: deque[Question] = deque()  # without their replies
        self._to_send: deque[bytes] = deque()
        self._unsent = memoryview(b"")  # of the one before these
        self._is_full = False  # the pipe
        self._came = bytearray()  # of a reply that is not whole yet
        self._received = memoryview(bytearray(_RECEIVE_BYTES))
        self._timer: asyncio.TimerHandle | None = None
        self._reading_since = 0.0  # the oldest of what was asked
        self.pid = 0  # the first that it says
        self.alive = True
        self._loop.add_reader(pipe, self._receive)

    @property
    def busy(self) -> bool:
        return bool(self._asked)

    def ask(self, question: Question) -> None:
        """Hand over a message; the reply is told, or that there will be none."""
        self._asked.append(question)
        if len(self._asked) == 1:
            self._time()
        self._to_send.append(question.raw)
        if not self._is_full:
            self._send()

    def close(self) -> None:
        """Let it finish."""
        if self._pipe.fileno() < 0:
            return
        self.alive = False
        self._loop.remove_reader(self._pipe)
        self._loop.remove_writer(self._pipe)
        self._pipe.close()
        if self._timer is not None:
            self._timer.cancel()

    # --- requests out ----------------------------------------------------------------------------

    def _send(self) -> None:
        while self._to_send or self._unsent:
            if not self._unsent:
                raw = self._to_send.popleft()
                self._unsent = memoryview(SIZE.pack(len(raw)) + raw)
            try:
                sent = self._pipe.send(self._unsent)
            except BlockingIOError:
                if not self._is_full:
                    self._is_full = True
                    self._loop.add_writer(self._pipe, self._send)
                return
            except OSError:  # it has ended: seen once what it has said is taken
                self.alive = False
                self._to_send.clear()
                sent = len(self._unsent)
            self._unsent = self._unsent[sent:]
        if self._is_full:
            self._is_full = False
            self._loop.remove_writer(self._pipe)

    # --- replies in ------------------------------------------------------------------------------

    def _receive(self) -> None:
        try:
            size = self._pipe.recv_into(self._received)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            log.error("hl7v2.helper_lost")
            self._end(hung=False)
        elif self._came:
            self._came += self._received[:size]
            with memoryview(self._came) as came:
                taken = self._taken(came)
            del self._came[:taken]
        else:
            taken = self._taken(self._received[:size])
            self._came += self._received[taken:size]

    def _taken(self, came: memoryview) -> int:
        """Tell the replies that are whole; return how many bytes they were."""
        begin = 0
        while len(came) - begin >= SIZE.size:
            end = begin + SIZE.size + SIZE.unpack_from(came, begin)[0]
            if end > len(came):
                break
            self._reply(came[begin + SIZE.size : end])
            begin = end
        return begin

    def _reply(self, data: memoryview) -> None:
        if not self.pid:
            self.pid = PID.unpack(data)[0]
            self._time()
            return
        question = self._asked.popleft()
        if self._asked:
            self._time()
        try:
            read = unpacked(data)
        except msgspec.MsgspecError:  # taken from the pipe all the same: the next one is right
            log.exception("hl7v2.helper_unreadable")
            self._unread(question, True, False)
        else:
            self._answered(question, read)

    # --- the end ---------------------------------------------------------------------------------

    def _time(self) -> None:
        """Time what it reads from now on, once it is there."""
        if not (self._asked and self.pid):
            return
        self._reading_since = self._loop.time()
        due = self._reading_since + self._limit_s(self._asked[0].raw)
        if self._timer is None or due < self._timer.when():
            self._ring_at(due)

    def _ring_at(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        """End it when it hangs. One timer, however much it reads."""
        self._timer = None
        if not self._asked:
            return
        due = self._reading_since + self._limit_s(self._asked[0].raw)
        if due > self._loop.time():
            self._ring_at(due)
            return
        log.error("hl7v2.helper_hung")
        with contextlib.suppress(ProcessLookupError):  # our end of its pipe is open: it is there
            os.kill(self.pid, signal.SIGKILL)
        self._end(hung=True)

    def _end(self, *, hung: bool) -> None:
        """Give back what was asked; the first is suspected, if reading had begun."""
        self.close()
        asked, self._asked = self._asked, deque()
        blamed = self.pid != 0
        for question in asked:
            self._unread(question, blamed, blamed and hung)
            blamed = False


class Helpers:
    """Several helpers. Make them before this process has threads, then `start` them on a loop.

    What does not say otherwise is called on the loop's thread.
    """

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
        self._loop: Loop | None = None
        self._control, theirs = socket.socketpair()
        self._nursery = _fork.Process(
            target=raise_readers, args=(theirs, self._control, read, warm or read), name="reader"
        )
        self._nursery.daemon = True
        self._nursery.start()
        theirs.close()
        self._restarts: deque[float] = deque()
        self._helpers: list[Helper | None] = [None] * count  # forked when first asked
        self._next: Iterator[int] = cycle(range(count))
        self._spare: Helper | None = None  # reads again, one message at a time
        self._again: deque[Question] = deque()  # for the spare
        self._open = 0  # questions without an answer
        self._idle: asyncio.Event | None = None

    def start(self, loop: Loop) -> None:
        """From another thread; the loop runs."""
        self._loop = loop

    def ask(self, raw: bytes, told: Callable[[Read], None]) -> None:
        """Have a message read; `told` gets what became of it, on the loop's thread."""
        self._open += 1
        question = Question(raw, told)
        at = next(self._next)
        helper = self._helpers[at]
        if helper is None or not helper.alive:
            helper = self._helpers[at] = self._replaced()
        if helper is None:
            self._unread(question, False, False)
        else:
            helper.ask(question)

    def warm(self) -> None:
        """Have compiled what most messages need; a message that comes meanwhile goes before it."""
        with contextlib.suppress(OSError):
            self._control.sendall(WARM)

    def close(self) -> None:
        """Let them finish what they were asked, and wait for their end; from another thread."""
        if self._loop is not None:
            self._loop.run(self._finish())
        self._control.close()
        self._nursery.join(5)

    # --- what became of questions ----------------------------------------------------------------

    def _tell(self, question: Question, read: Read) -> None:
        question.told(read)
        self._open -= 1
        if self._idle is not None and not self._open:
            self._idle.set()

    def _answered(self, question: Question, read: Read) -> None:
        self._tell(question, read)
        if self._again:
            self._read_again()

    def _unread(self, question: Question, blamed: bool, hung: bool) -> None:
        if hung:
            self._tell(question, _failed(question.raw, _TOO_LONG))
        else:
            question.tries += blamed
            self._again.append(question)
        self._read_again()

    def _read_again(self) -> None:
        """Have messages that got no reply read by a helper that reads nothing else."""
        while self._again and not (self._spare is not None and self._spare.busy):
            question = self._again.popleft()
            if question.tries >= _TRIES:
                self._tell(question, _failed(question.raw, _FATAL))
                continue
            if self._spare is None or not self._spare.alive:
                self._spare = self._replaced()
            if self._spare is None:
                self._tell(question, self._unreadable(question))
            else:
                self._spare.ask(question)

    def _unreadable(self, question: Question) -> Read:
        """Return what becomes of a message when there is no helper to be had."""
        if question.tries:
            return _failed(question.raw, _FATAL)
        if not self._nursery.is_alive():
            return self._read(question.raw)  # nothing speaks against it
        wrong = Wrong("Unavailable", (_NO_READER,))
        return Read(ack.header_of_raw(question.raw), wrong=wrong, refused=True)

    async def _finish(self) -> None:
        self._idle = asyncio.Event()
        if self._open:
            await self._idle.wait()
        for helper in (*self._helpers, self._spare):
            if helper is not None:
                helper.close()

    # --- processes -------------------------------------------------------------------------------

    def _replaced(self) -> Helper | None:
        """Return a new helper in place of one that ended; None when too many did."""
        now = self._now()
        while self._restarts and now - self._restarts[0] > _RESTARTS_S:
            self._restarts.popleft()
        if len(self._restarts) >= _RESTARTS:
            return None
        self._restarts.append(now)
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._control, [FORK], [theirs.fileno()])
            except OSError:
                log.error("hl7v2.no_helper")
                ours.close()
                return None
        return Helper(ours, self._answered, self._unread, self._limit_s)


def _failed(raw: bytes, issue: Issue) -> Read:
    """Return a message that is at fault: it is kept, with its issue."""
    return Read(ack.header_of_raw(raw), wrong=Wrong("YilianError", (issue,)))
