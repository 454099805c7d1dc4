"""The device door: messages in, receipts out, everything between handed to the dispatcher.

Entry and resources are one transaction: a message is safe when its future ends (202, PUBACK), and
applied or kept with its reason. Messages come from the MQTT subscriber of this process, and read
already from the HTTP workers (`intake.py`).
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from hashlib import sha256
from typing import Any, Protocol

import orjson

from app.clock import Clock
from app.errors import Invalid, Unavailable, YilianError
from app.feeds.dispatch import SILENCE, Incoming, Receipt
from app.feeds.inbox import Entry
from app.feeds.iot import messages
from app.feeds.iot.mqtt import Published
from app.feeds.iot.reading import Reader
from app.feeds.iot.said import Outside, Read, Wrong

log = logging.getLogger(__name__)

FEED = "iot"
_MOST_WAITING = 2000
_MOST_TOGETHER = 500  # publications that are read together when they came together
_GROUPS_UNDER_WAY = 2  # more are not begun: what comes meanwhile is one group, with one commit
_ENVELOPE = b'"envelope"'


class Dispatcher(Protocol):
    """Makes messages safe, then applies them (`app.feeds.dispatch`)."""

    def submit(self, incoming: Incoming) -> tuple[Future[Receipt], Future[Receipt] | None]: ...


class Door:
    """Accepts messages; `published` is what the MQTT subscriber calls."""

    def __init__(self, dispatcher: Dispatcher, reader: Reader, clock: Clock) -> None:
        self._dispatcher = dispatcher
        self._reader = reader
        self._clock = clock
        self._queue: queue.Queue[tuple[Published, Future[None]] | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="iot", daemon=True)
        self._free = threading.Semaphore(_GROUPS_UNDER_WAY)
        self._safe: queue.SimpleQueue[_Promise | None] = queue.SimpleQueue()
        self._teller = threading.Thread(target=self._tell, name="iot-safe", daemon=True)

    def start(self, *, expecting: bool = False) -> None:
        """Begin to work. expecting: publications will come, and the first is not to wait."""
        self._thread.start()
        self._teller.start()
        if expecting:
            threading.Thread(target=self._reader.warm, name="iot-warm", daemon=True).start()

    def stop(self) -> None:
        """Finish what was published; without effect on a door that was never started."""
        if self._thread.ident is None:
            return
        self._queue.put(None)
        self._thread.join()
        for _ in range(_GROUPS_UNDER_WAY):  # what is under way ends first
            self._free.acquire()
        self._safe.put(None)
        self._teller.join()

    def published(self, published: Published) -> Future[None]:
        """Promise to make a publication safe; waits only when too many are waiting already."""
        promise: Future[None] = Future()
        self._queue.put((published, promise))
        return promise

    def accept(self, read: Read) -> Future[Receipt]:
        """Hand in a message that is read; the future ends when it is safe."""
        return self._dispatcher.submit(_incoming(read))[0]

    def reread(self, entry: Entry) -> Incoming:
        """Return an entry of the inbox read and converted again."""
        outside = Outside(entry.kind or None, entry.source or None, entry.peer)
        again = read_all(self._reader, entry.raw, outside, entry.received_us)
        return _incoming(again[0]) if len(again) == 1 else _unreadable(entry, outside)

    def _run(self) -> None:
        ended = False
        while not ended:
            jobs, ended = self._next()
            if not jobs:
                continue
            try:
                self._take([published for published, _ in jobs], [one for _, one in jobs])
            except Exception as exc:
                log.exception("iot.door_failed")
                self._free.release()
                for _, promise in jobs:
                    promise.set_exception(exc)

    def _tell(self) -> None:
        """End the promises of groups that are safe: not in the thread that writes."""
        while (group := self._safe.get()) is not None:
            try:
                group.end()
            except Exception:
                log.exception("iot.door_failed")
            finally:
                self._free.release()

    def _next(self) -> tuple[list[tuple[Published, Future[None]]], bool]:
        """Return what has come, waiting for the first and until a group may begin; and whether it
        was the last."""
        jobs: list[tuple[Published, Future[None]]] = []
        job = self._queue.get()
        if job is not None:
            self._free.acquire()
        while job is not None:
            jobs.append(job)
            if len(jobs) == _MOST_TOGETHER:
                return jobs, False
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True

    def _take(self, published: Sequence[Published], promises: Sequence[Future[None]]) -> None:
        """Read what came together, and end the promises when all of it is safe."""
        now_us = self._clock.now_us()
        lines = [_wrapped(one) for one in published]
        wrapped = [line for line in lines if line is not None]
        alone: Sequence[Published] = published
        read: list[Read] = []
        if len(wrapped) > 1:
            read = self._reader.read(wrapped, Outside(), now_us)
            alone = [one for one, line in zip(published, lines, strict=True) if line is None]
        for one in alone:
            read += read_all(self._reader, one.payload, Outside(topic=one.topic), now_us)
        _Promise(promises, [self.accept(one) for one in read], self._safe.put)


def _wrapped(published: Published) -> bytes | None:
    """Return a publication as one line that knows its topic; None for what is no single line."""
    payload = published.payload.strip()
    if not payload.startswith(b"{") or b"\n" in payload or _ENVELOPE in payload:
        return None
    topic = orjson.dumps(published.topic)
    return b'{%b:"%b","channel":"mqtt","topic":%b,"payload":%b}' % (
        _ENVELOPE,
        messages.ENVELOPE.encode(),
        topic,
        payload,
    )


def read_all(
    reader: Reader, body: bytes, outside: Outside, received_us: int, *, lines: bool | None = None
) -> list[Read]:
    """Return the messages of a body, read; what is none is kept whole, with what is wrong.

    lines: True for NDJSON, False for JSON, None to see by looking.
    """
    try:
        entries = list(messages.split(body, lines=lines))
    except YilianError as exc:  # over a limit: the body is one entry
        return [Read(body, outside, wrong=Wrong.of(exc))]
    raws = [entry for entry in entries if isinstance(entry, bytes)]
    broken = [entry for entry in entries if isinstance(entry, YilianError)]
    return [
        *(Read(body, outside, wrong=Wrong.of(error)) for error in broken),
        *reader.read(raws, outside, received_us),
    ]


def _unreadable(entry: Entry, outside: Outside) -> Incoming:
    """Return an entry that is no longer one: its mapping was changed in between."""
    error = Invalid("the messages of this entry are no longer told as one; send them again")
    return _incoming(Read(entry.raw, outside, wrong=Wrong.of(error)))


def _incoming(read: Read) -> Incoming:
    outside = read.outside
    said = read.said.stated() if read.said else None
    return Incoming(
        feed=FEED,
        source=outside.topic or "",
        peer=outside.peer,
        kind=outside.mapping or "",
        control_id="",
        key=_key(read.raw, outside),
        raw=read.raw,
        stated=read.wrong.error() if read.wrong else said,
        reply=SILENCE,
        issues=read.issues,
        staged=False,
    )


def _key(raw: bytes, outside: Outside) -> bytes:
    """Return what makes two messages the same: the same bytes for the same mapping and topic."""
    digest = sha256(f"{outside.mapping}\0{outside.topic}\0".encode())
    digest.update(raw)
    return digest.digest()


class _Promise:
    """Promises to be ended when all that was read is safe, or something of it is not.

    settled: gets this when it is known which, from the thread that writes.
    """

    def __init__(
        self,
        promises: Sequence[Future[None]],
        waiting: Sequence[Future[Receipt]],
        settled: Callable[[_Promise], None],
    ) -> None:
        self._promises = promises
        self._settled = settled
        self._left = len(waiting)
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        if not waiting:
            settled(self)
        for one in waiting:
            one.add_done_callback(self._ended)

    def _ended(self, one: Future[Any]) -> None:
        error = Unavailable("cancelled") if one.cancelled() else one.exception()
        with self._lock:
            self._error = self._error or error
            self._left -= 1
            last = self._left == 0
        if last:
            self._settled(self)

    def end(self) -> None:
        """Tell those who wait."""
        for promise in self._promises:
            if self._error is not None:
                promise.set_exception(self._error)
            else:
                promise.set_result(None)
