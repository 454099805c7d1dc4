"""The HL7 v2 door: frames in, answers out, everything between handed to the dispatcher.

Has each message of a frame read (by helpers beside this process, if there are any), decides how
its sender wants to be answered, and turns the outcome into acknowledgements. It has no thread of
its own: the listener's hands messages to the helpers and what they have read to the dispatcher, in
the order of the frames; the dispatcher's tells what became of them.

What is read waits until as much is read as is still being read: messages that are handed in
together share a transaction, and a page of the database that several of them change is written
once (measured with 8 senders: a twentieth more messages a second). A sender that is alone never
waits for it, and nobody longer than `hold_s`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from functools import lru_cache, partial

from msgspec.structs import replace

from app.clock import Clock, from_us
from app.errors import Issue, TooMuch, Unavailable, YilianError
from app.feeds.apply import Stated
from app.feeds.dispatch import SILENCE, Dispatcher, Incoming, Receipt, Reply, Told
from app.feeds.hl7v2 import ack
from app.feeds.hl7v2.ack import Header, Mode, Positive, Verdict
from app.feeds.hl7v2.batches import PORTION, Batch, joined
from app.feeds.hl7v2.exchange import NO_ANSWER, Answer, Answers, Frame
from app.feeds.hl7v2.helpers import Helpers
from app.feeds.hl7v2.named import FEED, Named, named
from app.feeds.hl7v2.reading import Read, Reader
from app.feeds.hl7v2.split import Piece, has_more_than, messages
from app.feeds.inbox import Entry

log = logging.getLogger(__name__)

_HOLD_S = 0.01  # that what is read may wait for what is being read
_MOST_MESSAGES = 10_000  # in a frame: they are cut at once, and their answers held
_MOST_CONTROL_IDS = 10_000  # are remembered, of the newest messages
_REUSED = Issue(
    "warning",
    "duplicate",
    "an earlier message of this sender that says something else had the same control id",
    "MSH-10",
    "control-id-reused",
)


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
    """One frame on its way: its messages, what was read of them, and how many are not read yet."""

    frame: Frame
    answer: Answer
    pieces: Sequence[Piece] = ()
    reads: list[Read | None] = field(default_factory=list)
    unread: int = 0


class Door:
    """Accepts frames; `accept` is what the listener calls."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        reader: Reader,
        profile: Profile,
        clock: Clock,
        helpers: Helpers | None = None,
        *,
        hold_s: float = _HOLD_S,
        senders: Mapping[str, Profile] | None = None,
    ) -> None:
        """helpers: read the messages, on the listener's loop; None: this process does, at once.
        hold_s: how long what is read may wait for what is being read. senders: those that are
        answered in another way, by MSH-4|MSH-3 or MSH-4.
        """
        self._dispatcher = dispatcher
        self._reader = reader
        self._profile = profile
        self._senders = senders or {}
        self._clock = clock
        self._helpers = helpers
        self._hold_s = hold_s
        self._jobs: deque[_Job] = deque()  # not handed in yet, in order
        self._being_read = 0  # of them, by helpers
        self._held = 0  # of them, read by helpers
        self._release: asyncio.TimerHandle | None = None  # of those, when too little follows
        self._batches: dict[int, Batch] = {}  # by connection
        self._stopped = False
        # Sender and control id: the newest message. A plain dict is slow to forget its oldest.
        self._keys: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def accept(self, frame: Frame, answer: Answer) -> None:
        """Take a frame and tell its answers later; by one thread."""
        batch = self._batches.get(frame.peer.connection)
        if batch is not None:
            batch.behind.append((frame, answer))
        else:
            self._take(_Job(frame, answer))

    def _take(self, job: _Job) -> None:
        self._jobs.append(job)
        try:
            if job.frame.error is None:
                self._ask(job)
        except Exception:
            log.exception("hl7v2.door_failed")
            self._jobs.remove(job)
            if job.unread:
                self._being_read -= 1
                job.unread = 0
            job.answer(NO_ANSWER)
            return
        if not job.unread:
            self._hand_in()

    def stop(self) -> None:
        """Finish what was accepted, but for what is left of batches."""
        self._stopped = True
        if self._helpers is not None:
            self._helpers.close()

    def _ask(self, job: _Job) -> None:
        """Have the messages of a frame read, or refuse it."""
        if not job.pieces:
            self._cut(job)
        if self._helpers is None:
            job.reads = [self._reader.read(one.raw) for one in job.pieces]
            return
        job.unread = len(job.pieces)
        job.reads = [None] * job.unread
        self._being_read += job.unread > 0
        for at, piece in enumerate(job.pieces):
            self._helpers.ask(piece.raw, partial(self._was_read, job, at))

    def _cut(self, job: _Job) -> None:
        """Find the messages of a frame. Of many the job is the first portion; too many are refused.

        What they become is bounded, and the messages of other connections come in between.
        """
        frame = job.frame
        if has_more_than(_MOST_MESSAGES, frame.payload):
            text = f"more than {_MOST_MESSAGES} messages in a frame"
            error = TooMuch(text, details="too-many-messages")
            job.frame = Frame(frame.payload, frame.peer, error)
            return
        job.pieces = messages(frame.payload)
        if len(job.pieces) > PORTION:
            batch = Batch(frame.peer, job.answer, job.pieces, asyncio.get_running_loop())
            self._batches[frame.peer.connection] = batch
            job.pieces, job.answer = batch.portion(), partial(self._portion_told, batch)

    def _portion_told(self, batch: Batch, answers: Answers) -> None:
        """Take what became of a portion; from any thread."""
        batch.told.append(answers)
        with suppress(RuntimeError):  # the loop is closed: nobody is there to be told
            batch.loop.call_soon_threadsafe(self._go_on, batch)

    def _go_on(self, batch: Batch) -> None:
        """Take the next portion of a batch, or tell what became of all and take what came after."""
        if self._stopped:
            return
        if batch.left and not batch.told[-1].close:
            told = partial(self._portion_told, batch)
            self._take(_Job(Frame(b"", batch.peer), told, batch.portion()))
            return
        del self._batches[batch.peer.connection]
        batch.answer(joined(batch.told))
        for frame, answer in batch.behind:
            self.accept(frame, answer)

    def _was_read(self, job: _Job, at: int, read: Read) -> None:
        job.reads[at] = read
        job.unread -= 1
        if job.unread:
            return
        self._being_read -= 1
        self._held += 1
        if self._held >= self._being_read:
            self._hand_in()
        elif self._release is None:
            self._release = asyncio.get_running_loop().call_later(self._hold_s, self._hand_in)

    def reread(self, entry: Entry) -> Incoming:
        """Return an entry of the inbox read and converted again."""
        return self._incoming(Piece(entry.raw), entry.peer, self._reader.read(entry.raw))

    # --- to the dispatcher -----------------------------------------------------------------------

    def _hand_in(self) -> None:
        """Hand in the frames that are read, up to the first that is not."""
        self._held = 0
        if self._release is not None:
            self._release.cancel()
            self._release = None
        while self._jobs and not self._jobs[0].unread:
            job = self._jobs.popleft()
            try:
                answering = _Answering(job.answer, self._incomings(job), self._unstorable)
                for n, incoming in enumerate(answering.incomings):
                    self._dispatcher.take(
                        incoming, partial(answering.first, n), partial(answering.second, n)
                    )
            except Exception:
                log.exception("hl7v2.door_failed")
                job.answer(NO_ANSWER)

    def _incomings(self, job: _Job) -> list[Incoming]:
        if job.frame.error is not None:
            return [self._unfinished(job.frame, job.frame.error)]
        peer = job.frame.peer.host
        return [
            self._with_warning(self._incoming(piece, peer, read))
            for piece, read in zip(job.pieces, job.reads, strict=True)
            if read is not None
        ]

    def _with_warning(self, incoming: Incoming) -> Incoming:
        """Return a message with a warning if its control id is not its own (2.15.9.10).

        Senders that restart their counters are many: it is a new message all the same.
        """
        if not incoming.control_id:
            return incoming
        name = incoming.source, incoming.control_id
        before = self._keys.pop(name, incoming.key)
        self._keys[name] = incoming.key
        if len(self._keys) > _MOST_CONTROL_IDS:
            self._keys.popitem(last=False)
        if before == incoming.key:
            return incoming
        return replace(incoming, issues=(*incoming.issues, _REUSED))

    def _unstorable(self, incoming: Incoming, error: YilianError) -> Answers:
        """Return what to say when nothing could be stored."""
        if self._profile_of(incoming.source).close_when_unstorable:
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
        issues = (*piece.issues, *read.issues) if piece.issues else read.issues
        reply = SILENCE if read.silent else self._acknowledger(read.header, read.positive)
        called = read.named or named(read.header, piece.raw)
        return _made(piece.raw, peer, called, stated, reply, issues, read.refused)

    def _unfinished(self, frame: Frame, error: YilianError) -> Incoming:
        """Return a frame that is no whole message: too long, or never finished."""
        raw = frame.payload
        header = ack.header_of_raw(raw)
        reply = self._acknowledger(header) if frame.answerable else SILENCE
        called = named(header, raw)
        return _made(raw, frame.peer.host, called, error, reply, (), refused=True)

    def _acknowledger(self, header: Header, positive: Positive | None = None) -> Acknowledger:
        profile = self._profile
        if self._senders:
            profile = self._profile_of(f"{header.field(4)}|{header.field(3)}")
        mode = ack.mode_of(header, force_original=profile.original_mode)
        return Acknowledger(header, mode, self._clock, profile.zone, positive)

    def _profile_of(self, source: str) -> Profile:
        found = self._senders.get(source) or self._senders.get(source.partition("|")[0])
        return found or self._profile


def _made(
    raw: bytes,
    peer: str,
    called: Named,
    stated: Stated | YilianError | None,
    reply: Reply,
    issues: tuple[Issue, ...],
    refused: bool,
) -> Incoming:
    return Incoming(
        feed=FEED,
        source=called.source,
        peer=peer,
        kind=called.kind,
        control_id=called.control_id,
        key=called.key,
        raw=raw,
        stated=stated,
        reply=reply,
        issues=issues,
        staged=isinstance(reply, Acknowledger) and not reply.mode.original,
        refused=refused,
        digest=called.digest,
        packed=called.packed,
    )


@dataclass(slots=True, eq=False)
class Acknowledger:
    """Writes the acknowledgements of one message. positive: those without errors, prepared."""

    header: Header
    mode: Mode
    clock: Clock
    zone: tzinfo
    positive: Positive | None = None

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
        sent_at = _second(self.clock.now_us() // 1_000_000, self.zone)
        if error is None:
            positive = self.positive or ack.positive(self.header)
            return (positive.built(code, control_id, sent_at),)
        errors = ack.errors_of(error)
        return (
            ack.build(self.header, code, control_id=control_id, sent_at=sent_at, errors=errors),
        )


@lru_cache(maxsize=16)
def _second(since_1970: int, zone: tzinfo) -> datetime:
    """Return a second in a zone. Many answers go out in one."""
    return from_us(since_1970 * 1_000_000).astimezone(zone)


# --- answers -------------------------------------------------------------------------------------


class _Answering:
    """Turns the receipts of a frame's messages into its answers, in their order."""

    def __init__(
        self,
        answer: Answer,
        incomings: Sequence[Incoming],
        unstorable: Callable[[Incoming, YilianError], Answers],
    ) -> None:
        self.incomings = incomings
        self._answer = answer
        self._unstorable = unstorable
        self._firsts: list[Told | None] = [None] * len(incomings)
        self._seconds: dict[int, Told | None] = {
            n: None for n, one in enumerate(incomings) if one.has_two_stages
        }
        self._later: Future[Sequence[bytes]] | None = Future() if self._seconds else None
        self._firsts_left = len(incomings)
        self._seconds_left = len(self._seconds)

    def first(self, at: int, told: Told) -> None:
        """Take what became of a message; answer when it was the last."""
        self._firsts[at] = told
        self._firsts_left -= 1
        if self._firsts_left:
            return
        now: list[bytes] = []
        stored, close = True, False
        for incoming, one in zip(self.incomings, self._firsts, strict=True):
            if isinstance(one, Receipt):
                now.extend(one.answers)
            elif one is not None:
                said = self._unstorable(incoming, one)
                now.extend(said.now)
                stored, close = False, close or said.close
        self._answer(Answers(tuple(now), self._later, stored, close))

    def second(self, at: int, told: Told) -> None:
        """Take what became of a message that was safe before."""
        self._seconds[at] = told
        self._seconds_left -= 1
        if self._seconds_left or self._later is None:
            return
        receipts = [one for one in self._seconds.values() if isinstance(one, Receipt)]
        self._later.set_result([answer for one in receipts for answer in one.answers])
