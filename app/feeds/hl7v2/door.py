"""The HL7 v2 door: frames in, answers out, everything between handed to the dispatcher.

Has each message of a frame read (by helpers beside this process, if there are any), decides how
its sender wants to be answered, and turns the outcome into acknowledgements. The listener's thread
hands messages to the helpers itself while they surely take them without a wait, which saves every
message a change of threads. Two threads of the door's own do what may wait: one hands out the
rest, one takes in; all keep the order.
"""

from __future__ import annotations

import logging
import queue
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import lru_cache, partial
from hashlib import sha256

from app.clock import Clock, from_us
from app.errors import Issue, Unavailable, YilianError
from app.feeds.apply import Stated
from app.feeds.dispatch import SILENCE, Dispatcher, Incoming, Receipt, Reply
from app.feeds.hl7v2 import ack
from app.feeds.hl7v2.ack import Header, Mode, Verdict
from app.feeds.hl7v2.helpers import Helper, Helpers
from app.feeds.hl7v2.mllp import NO_ANSWER, Answer, Answers, Frame
from app.feeds.hl7v2.reading import Read, Reader
from app.feeds.hl7v2.split import Piece, messages
from app.feeds.inbox import Entry

log = logging.getLogger(__name__)

FEED = "hl7v2"
_LONGEST_NAME = 200  # characters
_LINE_END = re.compile(rb"[\r\n]")
# Bytes with the helpers up to which one more message surely does not wait: half of what the pipe
# to a single one holds (208 kB), as blocks of memory are up to twice as large as what they hold.
_AT_ONCE_BYTES = 96 * 1024
_BESIDE_BYTES = 1024  # that a message takes in a pipe beside its own


@dataclass(frozen=True, slots=True)
class Profile:
    """How messages are answered.

    zone: of MSH-7 in answers. original_mode: answer AA, AE or AR whatever MSH-15 says.
    close_when_unstorable: close the connection instead of answering AR 207 when nothing can be
    stored now.
    """

    zone: tzinfo
    original_mode: bool = False
    close_when_unstorable: bool = False


@dataclass(slots=True, eq=False)
class _Job:
    """One frame on its way: its messages, and which helper was asked to read each."""

    frame: Frame
    answer: Answer
    pieces: Sequence[Piece] = ()
    asked: Sequence[Helper | None] = ()

    @property
    def size_bytes(self) -> int:
        """What its messages take in pipes."""
        return len(self.frame.payload) + _BESIDE_BYTES * (len(self.pieces) + 1)


class Door:
    """Accepts frames; `accept` is what the listener calls."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        reader: Reader,
        profile: Profile,
        clock: Clock,
        helpers: Helpers | None = None,
    ) -> None:
        """helpers: read the messages; None: this process does."""
        self._dispatcher = dispatcher
        self._reader = reader
        self._profile = profile
        self._clock = clock
        self._helpers = helpers
        self._frames: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._reading: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # who holds it never waits for a helper
        self._behind = 0  # frames given to the thread that hands out, and not handed out yet
        self._asked_bytes = 0  # written by who hands out
        self._read_bytes = 0  # written by the thread that takes in
        self._threads = [
            threading.Thread(target=self._hand_out, name="hl7v2-out", daemon=True),
            threading.Thread(target=self._take_in, name="hl7v2-in", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what was accepted."""
        self._frames.put(None)
        for thread in self._threads:
            thread.join()
        if self._helpers is not None:
            self._helpers.close()

    def accept(self, frame: Frame, answer: Answer) -> None:
        """Take a frame and tell its answers later; does not wait."""
        job = _Job(frame, answer)
        with self._lock:
            if self._takes_at_once(frame.payload):
                self._ask(job)
            else:
                self._behind += 1
                self._frames.put(job)

    def _takes_at_once(self, payload: bytes) -> bool:
        """Say whether the helpers take a frame without a wait, and none waits before it.

        The first messages are handed out aside: helpers start when they are first asked.
        """
        if self._behind or not self._read_bytes:
            return False
        room = _AT_ONCE_BYTES - (self._asked_bytes - self._read_bytes)
        most = _BESIDE_BYTES * (payload.count(b"MSH", 0, _AT_ONCE_BYTES) + 2)  # of its messages
        return len(payload) + most <= room

    def reread(self, entry: Entry) -> Incoming:
        """Return an entry of the inbox read and converted again."""
        return self._incoming(Piece(entry.raw), entry.peer, self._reader.read(entry.raw))

    # --- the two threads -------------------------------------------------------------------------

    def _hand_out(self) -> None:
        while (job := self._frames.get()) is not None:
            self._ask(job)
            with self._lock:
                self._behind -= 1
        self._reading.put(None)

    def _ask(self, job: _Job) -> None:
        """Hand the messages of a frame to the helpers, and the frame to who takes in."""
        if job.frame.error is None:
            try:
                job.pieces = messages(job.frame.payload)
            except Exception:
                log.exception("hl7v2.door_failed")
                job.answer(NO_ANSWER)
                return
            if self._helpers is not None:
                job.asked = [self._helpers.ask(one.raw) for one in job.pieces]
        self._asked_bytes += job.size_bytes
        self._reading.put(job)

    def _take_in(self) -> None:
        while (job := self._reading.get()) is not None:
            try:
                _Answering(job.answer, [self._hand_in(one) for one in self._read(job)])
            except Exception:
                log.exception("hl7v2.door_failed")
                job.answer(NO_ANSWER)
            self._read_bytes += job.size_bytes

    def _read(self, job: _Job) -> list[Incoming]:
        if job.frame.error is not None:
            return [self._unfinished(job.frame, job.frame.error)]
        peer = job.frame.peer.host
        if self._helpers is None:
            reads = [self._reader.read(piece.raw) for piece in job.pieces]
        else:
            # All replies first: one left in a pipe would be taken for that to the next message.
            reads = [
                self._helpers.answer(asked, piece.raw)
                for piece, asked in zip(job.pieces, job.asked, strict=True)
            ]
        return [
            self._incoming(piece, peer, read) for piece, read in zip(job.pieces, reads, strict=True)
        ]

    # --- to the dispatcher -----------------------------------------------------------------------

    def _hand_in(self, incoming: Incoming) -> _Handed:
        first, second = self._dispatcher.submit(incoming)
        return _Handed(first, second, partial(self._unstorable, incoming))

    def _unstorable(self, incoming: Incoming, error: YilianError) -> Answers:
        """Return what to say when nothing could be stored."""
        if self._profile.close_when_unstorable:
            return Answers(stored=False, close=True)
        reply = incoming.reply
        if isinstance(reply, Acknowledger):
            return Answers(reply.unstorable(error), stored=False)
        return Answers(stored=False)

    def _incoming(self, piece: Piece, peer: str, read: Read) -> Incoming:
        stated: Stated | YilianError | None = None
        if read.wrong is not None:
            stated = read.wrong.error()
        elif read.said is not None:
            stated = read.said.stated(self._clock.now_us())
        issues = (*piece.issues, *read.issues)
        reply = SILENCE if read.silent else self._acknowledger(read.header)
        return self._made(piece.raw, peer, read.header, stated, reply, issues, read.refused)

    def _unfinished(self, frame: Frame, error: YilianError) -> Incoming:
        """Return a frame that is no whole message: too long, or never finished."""
        header = ack.header_of_raw(frame.payload)
        reply = self._acknowledger(header) if frame.answerable else SILENCE
        return self._made(frame.payload, frame.peer.host, header, error, reply, (), refused=True)

    def _acknowledger(self, header: Header) -> Acknowledger:
        mode = ack.mode_of(header, force_original=self._profile.original_mode)
        return Acknowledger(header, mode, self._clock, self._profile.zone)

    def _made(
        self,
        raw: bytes,
        peer: str,
        header: Header,
        stated: Stated | YilianError | None,
        reply: Reply,
        issues: tuple[Issue, ...],
        refused: bool,
    ) -> Incoming:
        kind = (header.component(9, 1), header.component(9, 2))
        return Incoming(
            feed=FEED,
            source=_named(f"{header.field(4)}|{header.field(3)}"),
            peer=peer,
            kind=_named("^".join(part for part in kind if part)),
            control_id=_named(header.field(10)),
            key=key_of(header, raw),
            raw=raw,
            stated=stated,
            reply=reply,
            issues=issues,
            staged=isinstance(reply, Acknowledger) and not reply.mode.original,
            refused=refused,
        )


@dataclass(frozen=True, slots=True)
class Acknowledger:
    """Writes the acknowledgements of one message."""

    header: Header
    mode: Mode
    clock: Clock
    zone: tzinfo

    def stored(self, entry_id: int, error: YilianError | None) -> tuple[bytes, ...]:
        """Return the accept answer; for a refused message the only one there will be."""
        if error is None:
            return self._built(ack.accept_code(self.mode, Verdict.ACCEPT), f"Y{entry_id}", None)
        return self._refusal(ack.verdict_of(error), f"Y{entry_id}", error)

    def applied(self, entry_id: int, error: YilianError | None) -> tuple[bytes, ...]:
        """Return the application answer."""
        verdict = Verdict.ACCEPT if error is None else ack.verdict_of(error)
        suffix = "" if self.mode.original else "A"
        code = ack.application_code(self.mode, verdict)
        return self._built(code, f"Y{entry_id}{suffix}", error)

    def unstorable(self, error: YilianError) -> tuple[bytes, ...]:
        """Return the answer when nothing could be stored: the sender should try again."""
        if not isinstance(error, Unavailable):
            error = Unavailable("the message cannot be stored now")
        return self._refusal(Verdict.REJECT, f"YX{self.clock.now_us()}", error)

    def _refusal(self, verdict: Verdict, control_id: str, error: YilianError) -> tuple[bytes, ...]:
        code = ack.accept_code(self.mode, verdict)
        code = code or ack.application_code(self.mode, verdict, accepted=verdict)
        return self._built(code, control_id, error)

    def _built(
        self, code: str | None, control_id: str, error: YilianError | None
    ) -> tuple[bytes, ...]:
        if code is None:
            return ()
        built = ack.build(
            self.header,
            code,
            control_id=control_id,
            sent_at=_second(self.clock.now_us() // 1_000_000, self.zone),
            errors=ack.errors_of(error) if error is not None else (),
        )
        return (built,)


@lru_cache(maxsize=16)
def _second(since_1970: int, zone: tzinfo) -> datetime:
    """Return a second in a zone. Many answers go out in one."""
    return from_us(since_1970 * 1_000_000).astimezone(zone)


def key_of(header: Header, raw: bytes) -> bytes:
    """Return what makes a message the same message: sender, MSH-10, payload without MSH-7."""
    fields = list(header.fields)
    if len(fields) > 7:
        fields[7] = ""
    ended = _LINE_END.search(raw)
    end = ended.start() if ended else len(raw)
    head = "\x1f".join(fields).encode("utf-8", "surrogatepass")
    rest = raw[end:] if fields else raw
    return sha256(b"%b\x1e%b\x1e%b" % (FEED.encode(), head, rest)).digest()[:20]


def _named(text: str) -> str:
    """Return a text to find an entry by: what a broken message gives may be anything."""
    text = text[:_LONGEST_NAME]
    return text if text.isprintable() else "".join(filter(str.isprintable, text))


# --- promises ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Handed:
    """One message in the dispatcher's hands."""

    first: Future[Receipt]
    second: Future[Receipt] | None
    unstorable: Callable[[YilianError], Answers]


class _Answering:
    """Turns the receipts of a frame's messages into its answers, in their order.

    Lets go of them then: a future keeps whom it told, and that would keep all of the message in
    memory until the collector comes.
    """

    def __init__(self, answer: Answer, handed: Sequence[_Handed]) -> None:
        self._answer = answer
        self._handed = handed
        self._seconds = seconds = [one.second for one in handed if one.second is not None]
        self._later: Future[Sequence[bytes]] | None = Future() if seconds else None
        self._lock = threading.Lock()
        self._firsts_left = len(handed)
        self._seconds_left = len(seconds)
        for one in handed:
            one.first.add_done_callback(self._first_done)
        for second in seconds:
            second.add_done_callback(self._second_done)

    def _first_done(self, _: Future[Receipt]) -> None:
        with self._lock:
            self._firsts_left -= 1
            if self._firsts_left:
                return
        now: list[bytes] = []
        stored, close = True, False
        handed, self._handed = self._handed, ()
        for one in handed:
            error = one.first.exception()
            if error is None:
                now.extend(one.first.result().answers)
                continue
            said = one.unstorable(_ours(error))
            now.extend(said.now)
            stored, close = False, close or said.close
        self._answer(Answers(tuple(now), self._later, stored, close))

    def _second_done(self, _: Future[Receipt]) -> None:
        with self._lock:
            self._seconds_left -= 1
            if self._seconds_left or self._later is None:
                return
        seconds, self._seconds = self._seconds, []
        self._later.set_result(
            [
                answer
                for second in seconds
                if second.exception() is None
                for answer in second.result().answers
            ]
        )


def _ours(error: BaseException) -> YilianError:
    return error if isinstance(error, YilianError) else Unavailable("it cannot be stored now")
