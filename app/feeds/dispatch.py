"""From the inbox to the store: one message, one transaction, one outcome.

A feed hands in what it received and what it means (`Incoming`), with a `Reply` that writes its
answers. In original style the entry and its resources are one transaction; staged, the entry is
committed first (the sender hears that) and applied by a second one. Messages are taken in the
order they are handed in, so those of one source keep theirs; whatever waits shares a transaction
(`group.py`). A message that fails is kept with its issues and holds nobody up. One that was here
before gets its first answers again and changes nothing.
"""

from __future__ import annotations

import logging
import sqlite3
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from app.clock import Clock
from app.errors import Invalid, Issue, PreconditionFailed, Unavailable, YilianError
from app.feeds import inbox
from app.feeds.apply import Applied, Applier, Stated
from app.feeds.group import Group
from app.feeds.inbox import Entry, State
from app.feeds.statement import Statement
from app.store.database import Connection
from app.store.writer import Session, Work

log = logging.getLogger(__name__)

WINDOW_US = 7 * 86_400 * 1_000_000  # how long a message is known to be the same
KEEP_RAW_US = 90 * 86_400 * 1_000_000  # how long the bytes of a message are kept
_POLL_S = 1.0
_FORGET_EVERY = 60  # polls
_AT_ONCE = 200  # entries looked at in one go
_GROUP_MESSAGES = 64  # that share a transaction, at most
_GROUP_RESOURCES = 640  # that they may say: bounds for how long others wait for the writer
_ATTEMPTS = 5  # to apply a message whose resources others are changing
_SENT_AGAIN = Issue("information", "informational", "sent again and applied anew", None, "resent")


class Reply(Protocol):
    """Writes what the sender of one message is told."""

    def stored(self, entry_id: int, error: YilianError | None) -> tuple[bytes, ...]:
        """Return the answers once the message is safe, or refused as a message."""
        ...

    def applied(self, entry_id: int, error: YilianError | None) -> tuple[bytes, ...]:
        """Return the answers once it is applied, or was not for `error`."""
        ...


class Incoming(msgspec.Struct, frozen=True):
    """One message as its feed has read it.

    key: equal for messages that are the same. stated: what it says, None when there is nothing
    to apply; an error when it cannot be applied. staged: commit the entry before applying it.
    refused: `stated` is an error that makes it unacceptable as a message. digest, packed: of
    `raw` (`Entry`), if they are known.
    """

    feed: str
    source: str
    peer: str
    kind: str
    control_id: str
    key: bytes
    raw: bytes
    stated: Stated | YilianError | None
    reply: Reply
    issues: tuple[Issue, ...] = ()
    staged: bool = False
    refused: bool = False
    digest: bytes = b""
    packed: bytes = b""

    @property
    def has_two_stages(self) -> bool:
        """Whether its sender may be told twice: when it is safe and when it is applied."""
        return self.staged and not self.refused


class Receipt(msgspec.Struct, frozen=True):
    """What became of a message so far: the entry's id and state, and the answers to send."""

    id: int
    state: State
    answers: tuple[bytes, ...]


# What became of a message; an error (Unavailable) when nothing could be stored.
Told = Receipt | YilianError


class Writer(Protocol):
    """Does work inside transactions, in the order it is given (`app.store.writer`).

    `done` gets Unavailable when nothing can be written now, another error when it is the work
    that cannot be done. `committed` may be called before it, when the work is committed; it says
    whether it has given more work, which is then done while the disk is waited for.
    """

    def submit_work(
        self,
        work: Work[Any],
        done: Callable[[Any], None],
        *,
        size: int = 16,
        committed: Callable[[], bool] | None = None,
    ) -> None: ...


class Meter(Protocol):
    """Counts what becomes of messages; called from the writer's thread too, so it never waits."""

    def received(self, feed: str) -> None: ...

    def answered(self, feed: str, seconds: float) -> None:
        """Note how long it took from handing in until the sender could be answered."""
        ...

    def became(self, feed: str, state: str) -> None: ...


# Reads an entry again, for recovery and replay.
Reread = Callable[[Entry], Incoming]


@dataclass(slots=True, eq=False)
class _Task:
    """One stage of one message.

    stated: what it applies, None for nothing; key: of the entry it adds, None when it adds none.
    """

    work: Callable[[Group], Receipt]
    done: Callable[[Told], None]
    stated: Stated | YilianError | None = None
    key: bytes | None = None

    @property
    def statements(self) -> Sequence[Statement]:
        return self.stated.statements if isinstance(self.stated, Stated) else ()


@dataclass(slots=True)
class Counts:
    """What the dispatcher did since its start, by state; for metrics."""

    states: dict[State, int] = field(default_factory=lambda: dict.fromkeys(State, 0))


class Dispatcher:
    """Takes messages from all feeds of one process."""

    def __init__(
        self,
        writer: Writer,
        applier: Applier,
        clock: Clock,
        connect: Callable[[], Connection],
        *,
        window_us: int = WINDOW_US,
        keep_raw_us: int = KEEP_RAW_US,
        meter: Meter | None = None,
    ) -> None:
        """connect: opens a connection for reading entries back (recovery, replay)."""
        self._meter = meter
        self._writer = writer
        self._applier = applier
        self._tenant = applier.preparer.tenant
        self._clock = clock
        self._connect = connect
        self._window_us = window_us
        self._keep_raw_us = keep_raw_us
        self._reread: Mapping[str, Reread] = {}
        self._stopped = threading.Event()
        self._watcher: threading.Thread | None = None
        self._tasks: deque[_Task] = deque()
        self._alone: deque[_Task] = deque()  # to be done first, each in its own transaction
        self._is_writing = False  # the writer has a group of them
        self._untold = 0  # groups that were handed to the writer and have not ended
        self._idle = threading.Event()  # there are none
        self._idle.set()
        self._lock = threading.Lock()
        self._left_behind = threading.Event()  # something stored could not be applied in its turn
        self.counts = Counts()

    def start(self, reread: Mapping[str, Reread]) -> None:
        """Apply what an earlier life stored and did not apply; then watch for replays.

        reread: how each feed reads its entries again.
        """
        self._reread = reread
        with_entries = self._connect()
        try:
            while self._again(inbox.waiting(with_entries, self._tenant, _AT_ONCE)):
                pass
        finally:
            with_entries.close()
        self._watcher = threading.Thread(target=self._watch, name="inbox", daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        """Stop watching, and let the writer finish what was handed in."""
        self._stopped.set()
        if self._watcher is not None:
            self._watcher.join()
        self._idle.wait()

    def submit(self, incoming: Incoming) -> tuple[Future[Receipt], Future[Receipt] | None]:
        """Hand in a message; the first future ends when it is safe, the second when applied.

        There is one future when it is not staged. They end with an error (Unavailable) when
        nothing could be stored.
        """
        first: Future[Receipt] = Future()
        second: Future[Receipt] | None = Future() if incoming.has_two_stages else None
        self.take(incoming, partial(_end, first), partial(_end, second))
        return first, second

    def take(
        self,
        incoming: Incoming,
        first: Callable[[Told], None],
        second: Callable[[Told], None],
    ) -> None:
        """Hand in a message; `first` is told when it is safe, of one that `has_two_stages`
        `second` when it is applied. They are told by a thread of the writer's, and do not wait.
        """
        entry = self._entry(incoming)
        if self._meter is not None:
            first, second = _measured(self._meter, incoming.feed, first, second)
        if not incoming.has_two_stages:
            self._submit(
                _Task(
                    lambda group: self._at_once(group, entry, incoming),
                    partial(self._done, first),
                    incoming.stated,
                    entry.key,
                )
            )
            return
        kept: list[int] = []  # the entry that holds the answers, once the first stage knows it
        self._submit(
            _Task(
                lambda group: self._store(group, entry, incoming, kept),
                partial(self._done, first),
                key=entry.key,
            ),
            _Task(
                lambda group: self._apply_stored(group, kept, incoming),
                partial(self._done_later, second),
                incoming.stated,
            ),
        )

    # --- groups of messages ----------------------------------------------------------------------

    def _done(self, tell: Callable[[Told], None], result: Told) -> None:
        """Count how a stage ended, and tell it."""
        if isinstance(result, Receipt):
            self.counts.states[result.state] += 1
        try:
            tell(result)
        except Exception:  # the writer's thread goes on
            log.exception("inbox.answer_failed")

    def _done_later(self, tell: Callable[[Told], None], result: Told) -> None:
        """The same of what was stored before: its sender heard that it is safe."""
        if not isinstance(result, Receipt):
            self._left_behind.set()
        self._done(tell, result)

    def _submit(self, *tasks: _Task) -> None:
        """Have tasks done in their turn, with whatever else waits."""
        with self._lock:
            self._tasks.extend(tasks)
            if self._is_writing:
                return
            self._is_writing = True
            self._idle.clear()
        self._next()

    def _next(self) -> None:
        """Give the writer the next group. One at a time: so the order of all messages is kept."""
        tasks: list[_Task] = []
        has_gone_on = False

        def work(session: Session) -> list[Receipt | YilianError]:
            if not tasks:  # it may be called again
                tasks.extend(self._taken())
            group = Group(session, self._tenant, alone=alone)
            return _done_together(group, tasks)

        def committed() -> bool:
            nonlocal has_gone_on
            has_gone_on = bool(self._alone or self._tasks)
            if has_gone_on:
                self._next()
            return has_gone_on

        def done(results: list[Receipt | YilianError] | YilianError) -> None:
            self._ended(tasks, results, alone=alone, has_gone_on=has_gone_on)

        with self._lock:
            alone = bool(self._alone)
            self._untold += 1
        self._writer.submit_work(work, done, committed=committed)

    def _go_on(self) -> None:
        """Give the writer what has come meanwhile, now that a group has ended."""
        with self._lock:
            if not self._alone and not self._tasks:
                self._is_writing = False
                self._note_idle()
                return
        self._next()

    def _note_idle(self) -> None:
        if not self._is_writing and not self._untold:
            self._idle.set()

    def _taken(self) -> list[_Task]:
        """Take what is done next: one task that has to be done alone, or those that wait."""
        with self._lock:
            if self._alone:
                return [self._alone.popleft()]
            tasks: list[_Task] = []
            size = 0
            while self._tasks and len(tasks) < _GROUP_MESSAGES and size < _GROUP_RESOURCES:
                tasks.append(self._tasks.popleft())
                size += len(tasks[-1].statements) + 1
            return tasks

    def _ended(
        self,
        tasks: list[_Task],
        results: list[Receipt | YilianError] | YilianError,
        *,
        alone: bool,
        has_gone_on: bool,
    ) -> None:
        """Tell how a group ended; if it is to be found who is at fault, do each of it alone."""
        if isinstance(results, YilianError):
            if not tasks:  # the writer could not even begin
                tasks = self._taken()
            if not (alone or isinstance(results, Unavailable)):
                with self._lock:
                    self._alone.extend(tasks)
                    self._untold -= 1
                self._next()
                return
            results = [results] * len(tasks)
        for task, result in zip(tasks, results, strict=True):
            task.done(result)
        with self._lock:
            self._untold -= 1
            self._note_idle()
        if not has_gone_on:
            self._go_on()

    # --- stages, each inside one transaction -----------------------------------------------------

    def _at_once(self, group: Group, entry: Entry, incoming: Incoming) -> Receipt:
        """Store and apply."""
        known = self._known(group, entry)
        if known is not None:
            return self._duplicate(group, entry, known, (*known.answers[0], *known.answers[1]))
        entry = replace(entry, id=group.next_id())
        entry, error = self._applied(group, entry, incoming)
        build = incoming.reply.stored if incoming.refused else incoming.reply.applied
        entry = replace(entry, answers=(build(entry.id, error), ()))
        group.add(entry)
        return Receipt(entry.id, entry.state, entry.answers[0])

    def _store(self, group: Group, entry: Entry, incoming: Incoming, kept: list[int]) -> Receipt:
        kept.clear()
        known = self._known(group, entry)
        if known is not None:
            kept.append(known.id)
            return self._duplicate(group, entry, known, known.answers[0])
        id_ = group.next_id()
        kept.append(id_)
        entry = replace(entry, id=id_, answers=(incoming.reply.stored(id_, None), ()))
        group.add(entry)
        return Receipt(id_, entry.state, entry.answers[0])

    def _apply_stored(self, group: Group, kept: Sequence[int], incoming: Incoming) -> Receipt:
        """Apply an entry that is stored; one that is applied already gives its answers again."""
        if not kept:
            raise Unavailable("the message could not be stored")
        entry = group.entry(kept[0])
        if entry.state not in (State.RECEIVED, State.REPLAY):
            return Receipt(entry.id, entry.state, entry.answers[1])
        again = entry.state is State.REPLAY
        entry, error = self._applied(group, entry, incoming)
        if not again:
            answers = incoming.reply.applied(entry.id, error)
            entry = replace(entry, answers=(entry.answers[0], answers))
        elif error is None:  # from now on its sender hears that it went well
            entry = replace(entry, answers=_good_answers(entry.id, incoming))
        group.change(entry)
        return Receipt(entry.id, entry.state, entry.answers[1])

    def _applied(
        self, group: Group, entry: Entry, incoming: Incoming
    ) -> tuple[Entry, YilianError | None]:
        """Apply what the message says; return the entry as it is now, and why it failed."""
        stated = incoming.stated
        if stated is None:
            return replace(entry, state=State.APPLIED, issues=incoming.issues), None
        if isinstance(stated, YilianError):
            return self._failed(entry, incoming, stated), stated
        try:
            applied = self._apply(group, stated)
        except YilianError as exc:
            return self._failed(entry, incoming, exc), exc
        except Exception as exc:
            if _of_the_database(exc) and not (group.alone and _of_a_value(exc)):
                raise
            log.exception("inbox.fault", extra={"feed": entry.feed, "inbox_id": entry.id})
            fault = YilianError("an internal error; the message is kept", details="fault")
            return self._failed(entry, incoming, fault), fault
        issues = (*incoming.issues, *applied.issues)
        touched = applied.touched
        if entry.touched:  # replayed: what it wrote before is still its work
            touched = tuple(dict.fromkeys((*entry.touched, *touched)))
        return replace(entry, state=State.APPLIED, issues=issues, touched=touched), None

    def _apply(self, group: Group, stated: Stated) -> Applied:
        """Apply a statement; on what is stored by then when others changed it at the same time."""
        for _ in range(_ATTEMPTS - 1):
            with suppress(PreconditionFailed), group.message():
                return self._applier.apply(group, stated)
        with group.message():
            return self._applier.apply(group, stated)

    def _failed(self, entry: Entry, incoming: Incoming, error: YilianError) -> Entry:
        return replace(entry, state=State.FAILED, issues=(*error.issues, *incoming.issues))

    # --- duplicates ------------------------------------------------------------------------------

    def _known(self, group: Group, entry: Entry) -> Entry | None:
        """Return the entry that is this message already; none when that one asks for a retry."""
        known = group.repeated(entry.key, self._clock.now_us() - self._window_us)
        if known is None or known.state is not State.FAILED or not _may_be_retried(known):
            return known
        group.change(replace(known, state=State.DISCARDED, issues=(*known.issues, _SENT_AGAIN)))
        return None

    def _duplicate(
        self, group: Group, entry: Entry, known: Entry, answers: tuple[bytes, ...]
    ) -> Receipt:
        id_ = group.next_id()
        entry = replace(entry, id=id_, state=State.DUPLICATE, repeats=known.id, raw=b"", packed=b"")
        group.add(entry)
        return Receipt(id_, State.DUPLICATE, answers)

    # --- recovery and replay ---------------------------------------------------------------------

    def _watch(self) -> None:
        """Apply entries that somebody asked to replay, and drop bytes that are old enough."""
        db: Connection | None = None
        polls = 0
        while not self._stopped.wait(_POLL_S):
            try:
                db = db or self._connect()
                self._look(db)
                if polls % _FORGET_EVERY == 0:
                    self._forget()
            except Exception:
                log.exception("inbox.watch_failed")
                if db is not None:
                    db.close()
                db = None  # a lost connection does not come back
            polls += 1
        if db is not None:
            db.close()

    def _look(self, db: Connection) -> None:
        """Apply what waits: of what was just stored only what was not applied in its turn."""
        left_behind = self._left_behind.is_set()
        self._left_behind.clear()  # before looking: what comes now is seen the next time
        try:
            entries = inbox.waiting(db, self._tenant, _AT_ONCE)
            if not left_behind:
                entries = [one for one in entries if one.state is State.REPLAY]
            self._again(entries)
            left_behind = left_behind and bool(entries)
        finally:
            if left_behind:
                self._left_behind.set()

    def _forget(self) -> None:
        """Drop the bytes of old entries, a few at a time, between other work."""
        before_us = self._clock.now_us() - self._keep_raw_us

        def done(looked_at: int | YilianError) -> None:
            if looked_at == _AT_ONCE and not self._stopped.is_set():
                self._forget()

        self._writer.submit_work(
            lambda session: inbox.forget_raw(session.db, before_us, count=_AT_ONCE), done
        )

    def _again(self, entries: Sequence[Entry]) -> int:
        """Read entries again and apply them, oldest first; return how many."""
        waiting = []
        for entry in entries:
            done: Future[Receipt] = Future()
            tell = partial(_end, done)
            incoming = self._read_again(entry)
            if self._meter is not None:
                tell = partial(_counted, self._meter, entry.feed, tell)
            self._submit(
                _Task(
                    partial(self._apply_stored, kept=[entry.id], incoming=incoming),
                    partial(self._done, tell),
                    incoming.stated,
                )
            )
            waiting.append(done)
        for done in waiting:
            done.result()
        return len(waiting)

    def _read_again(self, entry: Entry) -> Incoming:
        if not entry.raw:
            gone = Invalid("the bytes of this message are no longer kept", details="no-raw")
            return _unreadable(entry, gone)
        reread = self._reread.get(entry.feed)
        if reread is None:
            return _unreadable(entry, Invalid("no feed reads this message", details="no-feed"))
        return reread(entry)

    # --- helpers ---------------------------------------------------------------------------------

    def _entry(self, incoming: Incoming) -> Entry:
        return Entry(
            feed=incoming.feed,
            source=incoming.source,
            peer=incoming.peer,
            kind=incoming.kind,
            control_id=incoming.control_id,
            received_us=self._clock.now_us(),
            key=incoming.key,
            digest=incoming.digest or sha256(incoming.raw).digest(),
            raw=incoming.raw,
            packed=incoming.packed,
        )


def _done_together(group: Group, tasks: Sequence[_Task]) -> list[Receipt | YilianError]:
    """Do tasks in one transaction; what one of them cannot do is its result."""
    if not group.alone:
        statements = [one for task in tasks for one in task.statements]
        group.look_up(statements, [task.key for task in tasks if task.key is not None])
    results: list[Receipt | YilianError] = []
    for task in tasks:
        try:
            results.append(task.work(group))
        except YilianError as exc:
            results.append(exc)
    group.flush()
    return results


def _end(future: Future[Receipt] | None, told: Told) -> None:
    if future is None:
        return
    if isinstance(told, Receipt):
        future.set_result(told)
    else:
        future.set_exception(told)


def _measured(
    meter: Meter, feed: str, first: Callable[[Told], None], second: Callable[[Told], None]
) -> tuple[Callable[[Told], None], Callable[[Told], None]]:
    """Measure a message on its way: received, safe to answer, and what it became."""
    begun = time.perf_counter()
    is_over = False
    meter.received(feed)

    def safe(told: Told) -> None:
        nonlocal is_over
        first(told)
        if isinstance(told, Receipt):
            meter.answered(feed, time.perf_counter() - begun)
            is_over = told.state is not State.RECEIVED
            if is_over:
                meter.became(feed, told.state.name.lower())

    def applied(told: Told) -> None:
        if is_over:
            second(told)
        else:
            _counted(meter, feed, second, told)

    return safe, applied


def _counted(meter: Meter, feed: str, tell: Callable[[Told], None], told: Told) -> None:
    """Count what a message became, once it has."""
    tell(told)
    if isinstance(told, Receipt):
        meter.became(feed, told.state.name.lower())


class _Silence:
    """A reply that says nothing."""

    def stored(self, entry_id: int, error: YilianError | None) -> tuple[bytes, ...]:
        return ()

    applied = stored


SILENCE: Reply = _Silence()


def _unreadable(entry: Entry, error: YilianError) -> Incoming:
    return Incoming(
        entry.feed, entry.source, entry.peer, entry.kind, entry.control_id, entry.key, entry.raw,
        error, SILENCE,
    )  # fmt: skip


def _good_answers(entry_id: int, incoming: Incoming) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return the answers to a message that went well at last."""
    applied = incoming.reply.applied(entry_id, None)
    if not incoming.staged:
        return applied, ()
    return incoming.reply.stored(entry_id, None), applied


def _may_be_retried(entry: Entry) -> bool:
    """Say whether the sender was told to try the same again."""
    return any(issue.code in ("transient", "exception") for issue in entry.issues)


def _of_the_database(exc: Exception) -> bool:
    """Say whether an error comes from the database driver: then the transaction is lost."""
    return any(isinstance(exc, driver.Error) for driver in _drivers())


def _of_a_value(exc: Exception) -> bool:
    """Say whether the database does not take a value: it never will, and a savepoint is enough."""
    return any(isinstance(exc, driver.DataError) for driver in _drivers())


def _drivers() -> list[Any]:
    return [driver for driver in (sqlite3, sys.modules.get("psycopg")) if driver is not None]
