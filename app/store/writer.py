"""Who writes. SQLite: one thread of one process; PostgreSQL: every worker for itself.

`GroupWriter` owns the file. Whatever waits is evaluated in order and committed together, so that
one fsync serves many change sets; each is answered after the commit, and one that fails leaves no
row behind and fails alone. `handover.py` brings it the change sets of HTTP workers.
`PostgresWriter` writes over its own connection, a plain create in one round trip. All have the
one method `commit`.

A feed needs more than a change set: it keeps the raw message and applies it in one transaction.
It hands `run` a function that gets a `Session` inside the transaction.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from app.clock import Clock
from app.errors import Conflict, Invalid, Unavailable, YilianError
from app.fhir import definitions
from app.store.aside import Aside
from app.store.checkpoint import Checkpointer
from app.store.commit import Match, WritePath
from app.store.database import SQLITE, Address, Connection, Connections, connect
from app.store.durable import Durable
from app.store.entries import Entries
from app.store.handover import Doors, WriterServer
from app.store.prepare import Prepared, Preparer
from app.store.seal import Chain
from app.store.states import Target, stub
from app.store.types import Outcome

log = logging.getLogger(__name__)

T = TypeVar("T")

_GROUP_MAX = 512  # changes committed together: bounds what a crash makes clients send again
_ATTEMPTS = 6
_OF_THE_FILE = frozenset(
    (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)
)


class Writer(Protocol):
    """Commits prepared change sets: all of a set or nothing."""

    def commit(self, changes: Sequence[Prepared]) -> list[Outcome]: ...

    def run(self, work: Work[T]) -> T: ...

    def write_aside(self, rows: Aside) -> None: ...

    def close(self) -> None: ...


class Session:
    """A transaction under way, as a feed's work sees it: SQL of its own tables, and change sets."""

    def __init__(self, db: Connection, path: WritePath) -> None:
        self.db = db
        self._path = path

    @property
    def path(self) -> WritePath:
        """What collects the rows of several change sets, for who knows when to write them."""
        return self._path

    def commit(self, changes: Sequence[Prepared]) -> list[Outcome]:
        """Write a change set. Raises its error; then nothing of it is written."""
        outcomes = self._path.evaluate(changes)
        self._path.flush()
        return outcomes

    def index_also(self, type_name: str, pk: int, s: int, entries: Entries) -> None:
        """Write index rows of a resource as it is stored, beside those it has."""
        self._path.index_also(type_name, pk, s, entries)

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what the block did when it raises, and go on with the transaction."""
        self._path.flush()
        mark = self._path.mark()
        self.db.run("SAVEPOINT part")
        try:
            yield
            self._path.flush()
        except BaseException:
            self.db.run("ROLLBACK TO SAVEPOINT part")
            self._path.back_to(mark)
            raise
        finally:
            self.db.run("RELEASE SAVEPOINT part")


Work = Callable[[Session], T]


@dataclass(slots=True)
class _Job:
    """What waits for the next transaction, and whom to tell how it ended.

    writes: rows by itself, which are to be undone when it raises. committed: called once its
    transaction is committed, when the disk takes long; says whether the writer is to go on.
    """

    size: int
    work: Callable[[Session], Any]
    done: Callable[[Any], None]  # gets the result or a YilianError
    writes: bool = False
    committed: Callable[[], bool] | None = None


def _only(changes: Sequence[Prepared]) -> Callable[[Session], list[Outcome]]:
    """Return the work of a lone change set: its rows are written with those of its group."""
    return lambda session: session._path.evaluate(changes)


def _aside(rows: Aside, done: Callable[[Any], None]) -> _Job:
    """Return the job of rows beside the resources, which no change set of its group waits for."""

    def work(session: Session) -> list[Outcome]:
        rows.write(session.db)
        return []

    return _Job(rows.size, work, done, writes=True)


class _Counter:
    """Fresh pks of a file that only this process writes."""

    def __init__(self, db: Connection) -> None:
        row = db.one("SELECT max(pk) FROM res")
        self._last = (row[0] if row else None) or 0

    def next_pk(self) -> int:
        self._last += 1
        return self._last


class GroupWriter:
    """The one writer of a SQLite file. Start it once; `commit` from any thread."""

    def __init__(self, address: Address, *, preparer: Preparer, clock: Clock, match: Match) -> None:
        self._db = connect(address, write=True)
        self._path = WritePath(
            self._db,
            preparer=preparer,
            clock=clock,
            numbers=_Counter(self._db),
            match=match,
        )
        self._db.run("PRAGMA synchronous=NORMAL")  # commits do not wait: `_durable` does
        self._durable = Durable(address.path)
        self._session = Session(self._db, self._path)
        self._preparer = preparer
        preparer.notice(self._db)
        self._chain = Chain(self._db)
        self._jobs: deque[_Job] = deque()
        self._closing = False
        self._doors = Doors()
        self._servers: list[WriterServer] = []
        self._checkpointer = Checkpointer(lambda: connect(address, write=True))
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def commit(self, changes: Sequence[Prepared]) -> list[Outcome]:
        """Wait until the set is on disk. Raises the set's error, Unavailable when nothing can be
        written."""
        outcomes: list[Outcome] = self._wait(lambda done: self.submit(changes, done))
        return outcomes

    def run(self, work: Work[T]) -> T:
        """Do `work` inside a transaction and return what it returned once that is on disk.

        It runs on the writer's thread, with its own savepoint: when it raises a YilianError
        nothing of it stays. It may be called again if the transaction has to be repeated.
        """
        result: T = self._wait(lambda done: self.submit_work(work, done))
        return result

    def submit(self, changes: Sequence[Prepared], done: Callable[[Any], None]) -> None:
        """Queue a set; `done` is called from the writer's thread once it is on disk or refused."""
        self._put(_Job(len(changes), _only(changes), done))

    def submit_work(
        self,
        work: Work[T],
        done: Callable[[Any], None],
        *,
        size: int = 16,
        committed: Callable[[], bool] | None = None,
    ) -> None:
        """Queue work as `run` does; `done` gets what it returned, or its YilianError.

        committed: called by the writer's thread when the work is committed and the disk takes long.
        If it says so the writer goes on with other work, and `done` is called by another thread
        once this is on disk.
        """
        self._put(_Job(size, work, done, writes=True, committed=committed))

    def serve(self, path: Path) -> WriterServer:
        """Take change sets from other processes too, on a local socket that only this user can
        open."""
        server = WriterServer(path, self._doors, self._handed_over)
        self._servers.append(server)
        return server

    def write_aside(self, rows: Aside) -> None:
        """Write rows of tables that hold no resources, and wait until they are on disk."""
        self._wait(lambda done: self._put(_aside(rows, done)))

    def _handed_over(self, asked: Sequence[Prepared] | Aside, done: Callable[[Any], None]) -> None:
        if isinstance(asked, Aside):
            self._jobs.append(_aside(asked, done))
        else:
            self._jobs.append(_Job(len(asked), _only(asked), done))

    def _put(self, job: _Job) -> None:
        self._jobs.append(job)
        self._doors.wake()

    def _wait(self, submit: Callable[[Callable[[Any], None]], None]) -> Any:
        box: queue.SimpleQueue[Any] = queue.SimpleQueue()
        submit(box.put)
        result = box.get()
        if isinstance(result, YilianError):
            raise result
        return result

    def close(self) -> None:
        """Finish what was submitted and stop; once."""
        if self._closing:
            return
        self._closing = True
        self._doors.wake()
        self._thread.join()
        for server in self._servers:
            server.finish()
        self._doors.close()
        self._durable.close()
        self._checkpointer.close()
        self._db.close()

    def _run(self) -> None:
        jobs = self._jobs
        while True:
            # One look at the sockets before each transaction: what has come by now goes with it.
            self._doors.look(lambda: bool(jobs) or self._closing)
            group: list[_Job] = []
            size = 0
            while jobs and size < _GROUP_MAX:
                job = jobs.popleft()
                group.append(job)
                size += job.size
            if group:
                self._write(group)
            elif self._closing:
                return

    def _write(self, group: list[_Job]) -> None:
        try:
            results = self._transaction(group)
        except Exception as exc:
            self._db.rollback()
            self._path.rolled_back()
            self._chain.rolled_back()
            if len(group) > 1 and not _hits_all(exc):  # find the one at fault: each on its own
                for job in group:
                    self._write([job])
                return
            if not isinstance(exc, YilianError):
                log.exception("store.write_failed", extra={"changes": group[0].size})
            results = [_as_error(exc)] * len(group)
        else:
            self._checkpointer.committed()
            _settle(self._preparer, self._db)  # nobody else writes this file: it is known in time
            if self._durable.is_slow:
                group, results = self._told_later(group, results)
            if group:
                results = self._on_disk(results)
        for job, result in zip(group, results, strict=True):
            job.done(result)
        self._doors.settle()
        self._checkpointer.finish(self._db)

    def _told_later(self, group: list[_Job], results: list[Any]) -> tuple[list[_Job], list[Any]]:
        """Have another thread tell those that do not want the writer to wait; return the others."""
        now: list[_Job] = []
        results_now: list[Any] = []
        for job, result in zip(group, results, strict=True):
            is_written = not isinstance(result, YilianError)
            if is_written and job.committed is not None and job.committed():
                self._durable.tell(job.done, result)
            else:
                now.append(job)
                results_now.append(result)
        return now, results_now

    def _on_disk(self, results: list[Any]) -> list[Any]:
        """Return results of what is committed once it is on disk."""
        try:
            self._durable.wait()
        except OSError as exc:
            return [_as_error(exc)] * len(results)
        return results

    def _transaction(self, group: list[_Job]) -> list[Any]:
        results: list[Any] = []
        self._db.begin()
        for job in group:
            if self._path.may_be_refused:
                self._path.flush()  # outside the next job, which is not to be told
            try:
                results.append(self._done(job, alone=len(group) == 1))
            except YilianError as exc:
                if len(group) == 1:
                    raise
                results.append(exc)
        self._path.flush()
        self._chain.add(self._path.digests)
        self._db.commit()
        self._path.committed()
        self._chain.committed()
        return results

    def _done(self, job: _Job, *, alone: bool) -> Any:
        """Do a job; of one that raises nothing stays.

        Alone it has the transaction for that: with a savepoint SQLite keeps a copy of every page
        that is written (measured: a tenth of what a message of a feed takes).
        """
        if alone or not job.writes:
            return job.work(self._session)
        with self._session.savepoint():
            return job.work(self._session)


def _settle(preparer: Preparer, db: Connection) -> None:
    """Learn what was posted by a transaction that is over: nothing may have it done again."""
    try:
        preparer.settle(db)
    except Exception:
        log.exception("store.settle_failed")


def _hits_all(exc: Exception) -> bool:
    """Say whether it is the file that cannot be written: then each alone would only wait again."""
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF in _OF_THE_FILE


def _as_error(exc: Exception) -> YilianError:
    if isinstance(exc, YilianError):
        return exc
    if isinstance(exc, (sqlite3.OperationalError, OSError)):
        return Unavailable("the database cannot be written now")
    return YilianError("the change could not be stored")


# --- PostgreSQL ----------------------------------------------------------------------------------


class _Blocks:
    """Fresh pks in blocks of the sequence's increment: no round trip for most."""

    SIZE = 1000

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._next = self._end = 0

    def next_pk(self) -> int:
        if self._next == self._end:
            row = self._db.one("SELECT nextval('res_pk')")
            self._next = row[0] if row else 0
            self._end = self._next + self.SIZE
        self._next += 1
        return self._next - 1


class PostgresWriter:
    """Writes over one connection a thread; retries what lost a race."""

    def __init__(self, address: Address, *, preparer: Preparer, clock: Clock, match: Match) -> None:
        self._address = address
        self._preparer = preparer
        self._clock = clock
        self._match = match
        self._local = threading.local()
        self._connections = Connections()

    def commit(self, changes: Sequence[Prepared]) -> list[Outcome]:
        """Write a set in one transaction. Raises Conflict when it keeps losing races."""
        return self._retried(lambda db, path: self._commit(db, path, changes))

    def run(self, work: Work[T]) -> T:
        """Do `work` inside a transaction, again when it lost a race; as `GroupWriter.run`."""
        result: T = self._retried(lambda db, path: self._run(db, path, work))
        return result

    def write_aside(self, rows: Aside) -> None:
        """Write rows of tables that hold no resources, in one transaction."""
        self.run(lambda session: rows.write(session.db))

    def _retried(self, attempt: Callable[[Connection, WritePath], T]) -> T:
        import psycopg

        races = (
            psycopg.errors.SerializationFailure,
            psycopg.errors.DeadlockDetected,
            psycopg.errors.UniqueViolation,
        )
        for attempted in range(_ATTEMPTS):
            db, path = self._session()
            path.reserving = attempted > 0
            try:
                self._preparer.notice(db)
                result = attempt(db, path)
            except races:
                db.rollback()
                path.rolled_back()
            except psycopg.DataError as exc:
                db.rollback()
                path.rolled_back()
                raise Invalid("a value that no resource can have") from exc
            except psycopg.Error as exc:
                self._drop()
                raise Unavailable("the database cannot be written now") from exc
            except BaseException:
                db.rollback()
                path.rolled_back()
                raise
            else:
                _settle(self._preparer, db)
                return result
        raise Conflict("the resource is being changed by others, try again")

    def close(self) -> None:
        self._connections.close_all()

    def _run(self, db: Connection, path: WritePath, work: Work[T]) -> T:
        db.begin()
        result = work(Session(db, path))
        path.flush()
        db.commit()
        path.committed()
        return result

    def _commit(
        self, db: Connection, path: WritePath, changes: Sequence[Prepared]
    ) -> list[Outcome]:
        criteria = sorted(
            {f"{change.type}?{change.criteria}" for change in changes if change.criteria}
        )
        plain = not criteria and all(
            change.id is None
            and not change.conditional
            and change.type not in self._preparer.effects
            and (self._preparer.unite is None or change.type != self._preparer.unite.type)
            for change in changes
        )
        if not plain:
            db.begin()
        for text in criteria:
            db.run(
                "SELECT pg_advisory_xact_lock(hashtextextended(?, ?))",
                (text, self._preparer.tenant),
            )
        outcomes = path.evaluate(changes)
        path.flush()
        if not plain:
            db.commit()
        path.committed()
        return outcomes

    def _session(self) -> tuple[Connection, WritePath]:
        session: tuple[Connection, WritePath] | None = getattr(self._local, "session", None)
        if session is None:
            db = connect(self._address, write=True)
            self._local.lease = self._connections.lend(db)
            numbers = _Blocks(db)
            session = (
                db,
                WritePath(
                    db,
                    preparer=self._preparer,
                    clock=self._clock,
                    numbers=numbers,
                    match=self._match,
                    make_stubs=lambda targets: self._make_stubs(db, numbers, targets),
                ),
            )
            self._local.session = session
        return session

    def _make_stubs(self, db: Connection, numbers: _Blocks, targets: Sequence[Target]) -> None:
        """Reserve pks for resources referred to, whoever comes first."""
        for type_name, id_ in sorted(targets):
            row = stub(
                self._preparer.tenant,
                numbers.next_pk(),
                definitions.type_number(type_name),
                id_,
            )
            db.run(
                "INSERT INTO res (pk,tenant,s,type,id,method,vid,lu,d,have,body,told) "
                "VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
                row,
            )

    def _drop(self) -> None:
        session: tuple[Connection, WritePath] | None = getattr(self._local, "session", None)
        if session is not None:
            self._connections.close(session[0])
            self._local.session = None


def local_writer(address: Address, *, preparer: Preparer, clock: Clock, match: Match) -> Writer:
    """Return the writer of a process that may write by itself."""
    if address.dialect == SQLITE:
        return GroupWriter(address, preparer=preparer, clock=clock, match=match)
    return PostgresWriter(address, preparer=preparer, clock=clock, match=match)
