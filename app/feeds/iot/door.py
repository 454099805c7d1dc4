"""The device door: bodies in, receipts out, everything between handed to the dispatcher.

HTTP and MQTT hand in whole bodies. Each message of a body is an entry of the inbox of its own; it
is safe when its first future ends (202, PUBACK), and applied by a transaction of its own then.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

from app.clock import Clock, instant
from app.errors import Issue, Unavailable, YilianError
from app.feeds.apply import Stated
from app.feeds.dispatch import SILENCE, Incoming, Receipt
from app.feeds.inbox import Entry
from app.feeds.iot import messages
from app.feeds.iot.convert import Converter
from app.feeds.iot.lifecycle import Lifecycle, told
from app.feeds.iot.mqtt import Published
from app.feeds.statement import statements
from app.store.prepare import Preparer

log = logging.getLogger(__name__)

FEED = "iot"
_MOST_WAITING = 2000


class Dispatcher(Protocol):
    """Makes messages safe, then applies them (`app.feeds.dispatch`)."""

    def submit(self, incoming: Incoming) -> tuple[Future[Receipt], Future[Receipt] | None]: ...


@dataclass(frozen=True, slots=True)
class Outside:
    """What the transport knows about a body."""

    mapping: str | None = None
    topic: str | None = None
    peer: str = ""


class Door:
    """Accepts bodies; `published` is what the MQTT subscriber calls, `accept` the HTTP door."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        converter: Converter,
        clock: Clock,
        preparer: Preparer | None = None,
    ) -> None:
        self._dispatcher = dispatcher
        self._converter = converter
        self._clock = clock
        self._preparer = preparer
        self._queue: queue.Queue[tuple[Published, Future[None]] | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="iot", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish what was published; without effect on a door that was never started."""
        if self._thread.ident is None:
            return
        self._queue.put(None)
        self._thread.join()

    def published(self, published: Published) -> Future[None]:
        """Promise to make a publication safe; waits only when too many are waiting already."""
        promise: Future[None] = Future()
        self._queue.put((published, promise))
        return promise

    def accept(
        self, body: bytes, outside: Outside, *, lines: bool | None = None
    ) -> list[Future[Receipt]]:
        """Hand in the messages of a body; each future ends when that message is safe.

        lines: True for NDJSON, False for JSON, None to see by looking. Raises TooMuch for a body
        over the limits. A message that is none is kept with its reason, and its receipt says so.
        """
        received_us = self._clock.now_us()
        futures = []
        for entry in messages.split(body, lines=lines):
            raw = b"" if isinstance(entry, YilianError) else entry
            error = entry if isinstance(entry, YilianError) else None
            incoming = self._incoming(raw or body, outside, received_us, error)
            futures.append(self._dispatcher.submit(incoming)[0])
        return futures

    def reread(self, entry: Entry) -> Incoming:
        """Return an entry of the inbox read and converted again."""
        outside = Outside(entry.kind or None, entry.source or None, entry.peer)
        return self._incoming(entry.raw, outside, entry.received_us)

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            published, promise = job
            try:
                outside = Outside(topic=published.topic)
                _Promise(promise, self.accept(published.payload, outside))
            except YilianError as exc:  # too large to be split: kept whole, with its reason
                incoming = self._incoming(
                    published.payload, Outside(topic=published.topic), self._clock.now_us(), exc
                )
                _Promise(promise, [self._dispatcher.submit(incoming)[0]])
            except Exception as exc:
                log.exception("iot.door_failed")
                promise.set_exception(exc)

    def _incoming(
        self, raw: bytes, outside: Outside, received_us: int, error: YilianError | None = None
    ) -> Incoming:
        stated: Stated | YilianError | None = error
        issues: Sequence[Issue] = ()
        if error is None:
            try:
                stated, issues = self._stated(raw, outside, received_us)
            except YilianError as exc:
                stated = exc
        return Incoming(
            feed=FEED,
            source=outside.topic or "",
            peer=outside.peer,
            kind=outside.mapping or "",
            control_id="",
            key=_key(raw, outside),
            raw=raw,
            stated=stated,
            reply=SILENCE,
            issues=tuple(issues),
            staged=True,
        )

    def _stated(
        self, raw: bytes, outside: Outside, received_us: int
    ) -> tuple[Stated | None, Sequence[Issue]]:
        made = self._converter.convert(
            raw,
            mapping=outside.mapping,
            topic=outside.topic,
            received_at=instant(received_us),
        ).made
        if not made.entries:
            return None, made.issues
        at, course = told((entry.body or {} for entry in made.entries), received_us)
        said = statements(made.bundle(), self._preparer)
        return Stated(said, at, Lifecycle(course=course)), made.issues


def _key(raw: bytes, outside: Outside) -> bytes:
    """Return what makes two messages the same: the same bytes for the same mapping and topic."""
    digest = sha256(f"{outside.mapping}\0{outside.topic}\0".encode())
    digest.update(raw)
    return digest.digest()


class _Promise:
    """Ends a promise when all messages of a publication are safe, or one of them is not."""

    def __init__(self, promise: Future[None], waiting: Sequence[Future[Receipt]]) -> None:
        self._promise = promise
        self._left = len(waiting)
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        if not waiting:
            promise.set_result(None)
        for one in waiting:
            one.add_done_callback(self._ended)

    def _ended(self, one: Future[Any]) -> None:
        error = Unavailable("cancelled") if one.cancelled() else one.exception()
        with self._lock:
            self._error = self._error or error
            self._left -= 1
            last = self._left == 0
        if not last:
            return
        if self._error is not None:
            self._promise.set_exception(self._error)
        else:
            self._promise.set_result(None)
