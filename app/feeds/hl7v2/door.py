"""The HL7 v2 door: frames in, answers out, everything between handed to the dispatcher.

Reads each message of a frame, converts it, decides how its sender wants to be answered, and turns
the outcome into acknowledgements. Runs in a thread of its own: the listener's must not wait.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import tzinfo
from hashlib import sha256
from typing import Any
from urllib.parse import unquote

from app.clock import Clock, from_us
from app.errors import Issue, NotSupported, Unavailable, YilianError
from app.feeds.apply import Stated
from app.feeds.dispatch import SILENCE, Dispatcher, Incoming, Receipt, Reply
from app.feeds.hl7v2 import ack, er7, required
from app.feeds.hl7v2.ack import Header, Mode, Verdict
from app.feeds.hl7v2.convert import Options, Result, convert_message
from app.feeds.hl7v2.er7 import Message
from app.feeds.hl7v2.lifecycle import Lifecycle, removed
from app.feeds.hl7v2.mllp import Answers, Frame
from app.feeds.hl7v2.split import Piece, messages
from app.feeds.inbox import Entry
from app.fhir import dates

log = logging.getLogger(__name__)

FEED = "hl7v2"
_SILENT = frozenset(("ACK", "MCF"))  # acknowledgements are not acknowledged
_ANSWERS_TO_US = frozenset(("RSP", "ORA", "NMR", "DSR", "EDR", "ERP", "TBR", "RTB"))
_NOTHING = "nothing-to-convert"
_TOKEN_ESCAPES = ("\\|", "|"), ("\\,", ","), ("\\$", "$"), ("\\\\", "\\")


@dataclass(frozen=True, slots=True)
class Profile:
    """How messages are read and answered.

    options: how they are converted. original_mode: answer AA, AE or AR whatever MSH-15 says.
    close_when_unstorable: close the connection instead of answering AR 207 when nothing can be
    stored now.
    """

    options: Options
    zone: tzinfo
    original_mode: bool = False
    close_when_unstorable: bool = False


class Door:
    """Accepts frames; `accept` is what the listener calls."""

    def __init__(self, dispatcher: Dispatcher, profile: Profile, clock: Clock) -> None:
        self._dispatcher = dispatcher
        self._profile = profile
        self._clock = clock
        self._queue: queue.SimpleQueue[tuple[Frame, Future[Answers]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="hl7v2", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish what was accepted."""
        self._queue.put(None)
        self._thread.join()

    def accept(self, frame: Frame) -> Future[Answers]:
        """Promise the answers of a frame; never waits."""
        promise: Future[Answers] = Future()
        self._queue.put((frame, promise))
        return promise

    def reread(self, entry: Entry) -> Incoming:
        """Return an entry of the inbox read and converted again."""
        return self._incoming(Piece(entry.raw), entry.peer)

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            frame, promise = job
            try:
                self._take(frame, promise)
            except Exception as exc:
                log.exception("hl7v2.door_failed")
                promise.set_exception(exc)

    def _take(self, frame: Frame, promise: Future[Answers]) -> None:
        peer = frame.peer.host
        if frame.error is not None:
            incoming = [self._refused(frame, frame.error)]
        else:
            incoming = [self._incoming(piece, peer) for piece in messages(frame.payload)]
        _Promise(promise, [self._hand_in(one) for one in incoming])

    def _hand_in(self, incoming: Incoming) -> _Handed:
        first, second = self._dispatcher.submit(incoming)
        return _Handed(first, second, lambda error: self._unstorable(incoming, error))

    def _unstorable(self, incoming: Incoming, error: YilianError) -> Answers:
        """Return what to say when nothing could be stored."""
        if self._profile.close_when_unstorable:
            return Answers(stored=False, close=True)
        reply = incoming.reply
        if isinstance(reply, Acknowledger):
            return Answers(reply.unstorable(error), stored=False)
        return Answers(stored=False)

    # --- reading ---------------------------------------------------------------------------------

    def _incoming(self, piece: Piece, peer: str) -> Incoming:
        """Return a message read and converted, or why it cannot be."""
        options = self._profile.options
        try:
            message = er7.read(
                piece.raw,
                default_charset=options.default_charset,
                fallback=options.fallback_charset,
                mislabelled=options.mislabelled,
            )
        except YilianError as exc:
            return self._known(piece, peer, ack.header_of_raw(piece.raw), exc, refused=True)
        header = ack.header_of(message)
        if message.type.code in _SILENT:
            return self._known(piece, peer, header, None, reply=SILENCE)
        try:
            required.check(message)
            result = convert_message(message, options)
            stated = self._stated(message, result)
        except YilianError as exc:
            refused = ack.verdict_of(exc) is Verdict.REJECT
            return self._known(piece, peer, header, exc, refused=refused)
        return self._known(piece, peer, header, stated, issues=result.issues)

    def _stated(self, message: Message, result: Result) -> Stated | None:
        """Return what a conversion says. Raises what it was refused for."""
        if result.refused:
            raise YilianError.of(result.issues)
        if result.bundle is None:
            if message.type.code in _ANSWERS_TO_US:
                return None
            raise NotSupported(
                "this type of message is not supported", at="MSH-9", details="message-type"
            )
        at = self._clock.now_us()
        if result.event_time:
            at = dates.bounds(result.event_time, self._profile.zone)[0]
        lifecycle = Lifecycle(message.type.event, result.event_time)
        return Stated(statements(result.bundle), at, lifecycle, lambda kind: removed(message, kind))

    def _refused(self, frame: Frame, error: YilianError) -> Incoming:
        """Return a frame that is no whole message: too long, or never finished."""
        header = ack.header_of_raw(frame.payload)
        piece = Piece(frame.payload)
        reply = None if frame.answerable else SILENCE
        return self._known(piece, frame.peer.host, header, error, refused=True, reply=reply)

    def _known(
        self,
        piece: Piece,
        peer: str,
        header: Header,
        stated: Stated | YilianError | None,
        *,
        issues: Sequence[Issue] = (),
        refused: bool = False,
        reply: Reply | None = None,
    ) -> Incoming:
        mode = ack.mode_of(header, force_original=self._profile.original_mode)
        application, facility = header.field(3), header.field(4)
        return Incoming(
            feed=FEED,
            source=f"{facility}|{application}",
            peer=peer,
            kind="^".join(
                part for part in (header.component(9, 1), header.component(9, 2)) if part
            ),
            control_id=header.field(10),
            key=key_of(header, piece.raw),
            raw=piece.raw,
            stated=stated,
            reply=reply or Acknowledger(header, mode, self._clock, self._profile.zone),
            issues=(*piece.issues, *issues),
            staged=not mode.original,
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
        verdict = Verdict.ACCEPT if error is None else ack.verdict_of(error)
        code = ack.accept_code(self.mode, verdict)
        if code is None and error is not None:
            code = ack.application_code(self.mode, verdict, accepted=verdict)
        return self._built(code, f"Y{entry_id}", error)

    def applied(self, entry_id: int, error: YilianError | None) -> tuple[bytes, ...]:
        """Return the application answer."""
        verdict = Verdict.ACCEPT if error is None else ack.verdict_of(error)
        code = ack.application_code(self.mode, verdict)
        suffix = "" if self.mode.original else "A"
        return self._built(code, f"Y{entry_id}{suffix}", error)

    def unstorable(self, error: YilianError) -> tuple[bytes, ...]:
        """Return the answer when nothing could be stored: the sender should try again."""
        now = self.clock.now_us()
        code = ack.accept_code(self.mode, Verdict.REJECT) or ack.application_code(
            self.mode, Verdict.REJECT, accepted=Verdict.REJECT
        )
        if not isinstance(error, Unavailable):
            error = Unavailable("the message cannot be stored now")
        return self._built(code, f"YX{now}", error)

    def _built(
        self, code: str | None, control_id: str, error: YilianError | None
    ) -> tuple[bytes, ...]:
        if code is None:
            return ()
        built = ack.build(
            self.header,
            code,
            control_id=control_id,
            sent_at=from_us(self.clock.now_us()).astimezone(self.zone),
            errors=ack.errors_of(error) if error is not None else (),
        )
        return (built,)


def key_of(header: Header, raw: bytes) -> bytes:
    """Return what makes a message the same message: sender, MSH-10, payload without MSH-7."""
    fields = list(header.fields)
    if len(fields) > 7:
        fields[7] = ""
    end = min((at for at in (raw.find(b"\r"), raw.find(b"\n")) if at >= 0), default=len(raw))
    head = "\x1f".join(fields).encode("utf-8", "surrogatepass")
    rest = raw[end:] if fields else raw
    return sha256(b"%b\x1e%b\x1e%b" % (FEED.encode(), head, rest)).digest()[:20]


# --- statements of a Bundle ----------------------------------------------------------------------


@dataclass(slots=True)
class Statement:
    """One entry of a converted Bundle."""

    type: str
    key: tuple[str, str] | None
    id: str
    full_url: str
    mention: bool
    body: dict[str, Any] | None


def statements(bundle: dict[str, Any]) -> list[Statement]:
    """Return the entries of a transaction Bundle in the printed form (architecture.md)."""
    return [_statement(entry) for entry in bundle["entry"]]


def _statement(entry: dict[str, Any]) -> Statement:
    request = entry["request"]
    query = request.get("ifNoneExist") or request["url"].partition("?")[2]
    full_url: str = entry["fullUrl"]
    body: dict[str, Any] = entry["resource"]
    return Statement(
        body["resourceType"],
        _key(query) if query else None,
        full_url.removeprefix("urn:uuid:"),
        full_url,
        request["method"] == "POST",
        body,
    )


def _key(query: str) -> tuple[str, str]:
    """Return system and value of `identifier=system|value` (`app.fhir.ids.criteria`)."""
    system, _, token = query.removeprefix("identifier=").partition("|")
    value = unquote(token)
    for escaped, plain in _TOKEN_ESCAPES:
        value = value.replace(escaped, plain)
    return unquote(system), value


# --- promises ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Handed:
    """One message in the dispatcher's hands."""

    first: Future[Receipt]
    second: Future[Receipt] | None
    unstorable: Callable[[YilianError], Answers]


class _Promise:
    """Turns the receipts of a frame's messages into its answers, in their order."""

    def __init__(self, promise: Future[Answers], handed: Sequence[_Handed]) -> None:
        self._promise = promise
        self._handed = handed
        self._later: Future[Sequence[bytes]] = Future()
        self._seconds = [one.second for one in handed if one.second is not None]
        self._lock = threading.Lock()
        self._firsts_left = len(handed)
        self._seconds_left = len(self._seconds)
        for one in handed:
            one.first.add_done_callback(self._first_done)
        for second in self._seconds:
            second.add_done_callback(self._second_done)

    def _first_done(self, _: Future[Receipt]) -> None:
        with self._lock:
            self._firsts_left -= 1
            if self._firsts_left:
                return
        now: list[bytes] = []
        stored, close = True, False
        for one in self._handed:
            error = one.first.exception()
            if error is None:
                now.extend(one.first.result().answers)
                continue
            said = one.unstorable(_ours(error))
            now.extend(said.now)
            stored, close = False, close or said.close
        later = self._later if self._seconds else None
        self._promise.set_result(Answers(tuple(now), later, stored, close))

    def _second_done(self, _: Future[Receipt]) -> None:
        with self._lock:
            self._seconds_left -= 1
            if self._seconds_left:
                return
        self._later.set_result(
            [
                answer
                for second in self._seconds
                if second.exception() is None
                for answer in second.result().answers
            ]
        )


def _ours(error: BaseException) -> YilianError:
    return error if isinstance(error, YilianError) else Unavailable("it cannot be stored now")
