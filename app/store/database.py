"""Connections: SQLite and PostgreSQL behind one small face, statements as plain text.

Hot statements go to the driver as cached text (measured: 3 us against 26-277 us through the
layers above); Core holds the schema. Statements use `?`; it becomes `%s` for psycopg. Lists are
bound as one JSON array (SQLite) or one array (PostgreSQL), so that the text does not depend on
their length.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import orjson

from app.errors import Invalid, NotSupported, Unavailable

SQLITE = "sqlite"
POSTGRESQL = "postgresql"

_BUSY_MS = 10_000
_CACHE_KIB = 32 * 1024  # of the writer; twice as much writes no faster at a million resources
# Readers are many (each thread of each worker) and read through the system's own cache instead
# (measured at 100,000 resources: a search takes a sixth less time, a worker half the memory).
_READER_CACHE_KIB = 2 * 1024
_MAPPED_BYTES = 2 << 30
# Pages in the log at which a writer's own commit copies them; `checkpoint.py` is there before.
CHECKPOINT_MOST = 64_000
_WATCH_STEPS = 20_000  # of SQLite's virtual machine: some tenths of a millisecond

# The server plans (performance.md section 2): every statement is written for its index, also on
# tables that were never analysed, and is planned once.
_PG_OPTIONS = (
    "-c jit=off -c plan_cache_mode=force_generic_plan"
    " -c enable_seqscan=off -c enable_bitmapscan=off -c enable_memoize=off"
)
# Nobody waits for ever: neither for a server that has gone, nor for a lock, nor others for ours.
_PG_NETWORK = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_PG_LIMITS = (
    " -c lock_timeout=10s -c statement_timeout=60s -c idle_in_transaction_session_timeout=120s"
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is: `sqlite:///path` or `postgresql://user@host/name`."""

    url: str

    @property
    def dialect(self) -> str:
        scheme = self.url.split(":", 1)[0].split("+")[0]
        if scheme == "sqlite":
            return SQLITE
        if scheme in ("postgresql", "postgres"):
            return POSTGRESQL
        raise Invalid("the database URL must begin with sqlite:/// or postgresql://")

    @property
    def path(self) -> Path:
        """The file of a SQLite database."""
        return Path(
            unquote(urlsplit(self.url).path[1:] if self.url.startswith("sqlite:///") else "")
        )

    @property
    def dsn(self) -> str:
        """What libpq connects to."""
        return self.url.replace("postgresql+psycopg:", "postgresql:", 1)


class Connection(Protocol):
    """What the store asks of a database connection. One thread at a time."""

    dialect: str

    @property
    def lost(self) -> bool:
        """Whether the other end is gone, so that nothing can be asked of it any more."""
        ...

    def all(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

    def one(self, sql: str, params: Sequence[Any] = ()) -> tuple[Any, ...] | None: ...

    def numbers(self, sql: str, params: Sequence[Any] = ()) -> list[int]:
        """Return the integers of the one column `n` that a SELECT gives, many of them."""
        ...

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Execute and return the number of rows changed."""
        ...

    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None: ...

    def begin(self) -> None: ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def script(self, sql: str) -> None: ...

    def watch(self, is_over: Callable[[], bool]) -> None:
        """End statements that run while `is_over`, with an error of the driver."""
        ...

    def array(self, values: Sequence[Any]) -> Any:
        """Return `values` as the one parameter that `in_list` expects."""
        ...

    def in_list(self, column: str) -> str:
        """Return SQL that holds for rows whose `column` is in the bound array."""
        ...

    def in_set(self, column: str) -> str:
        """Return the same for integers, where very many rows are tested and none is sought."""
        ...

    def sought(self, column: str, select: str) -> str:
        """Return SQL that holds for rows whose `column` is among the integers, some hundreds at
        most, that a SELECT gives; the rows are sought by an index of that column.
        """
        ...

    def listed(self, alias: str) -> str:
        """Return a FROM item: the bound array of integers as rows with a column `value`."""
        ...

    def close(self) -> None: ...


class SqliteConnection:
    """A connection to the file. Writers commit with synchronous=FULL: acknowledged is on disk.

    The one that all changes come from waits for the disk by itself (`durable.py`).
    """

    dialect = SQLITE
    lost = False

    def __init__(self, path: Path, *, write: bool) -> None:
        try:
            self._db = sqlite3.connect(
                str(path),
                timeout=_BUSY_MS / 1000,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=512,
            )
            run = self._db.execute
            run("PRAGMA journal_mode=WAL")
            run("PRAGMA synchronous=FULL")
            run(f"PRAGMA cache_size=-{_CACHE_KIB if write else _READER_CACHE_KIB}")
            run("PRAGMA temp_store=MEMORY")
            run(f"PRAGMA wal_autocheckpoint={CHECKPOINT_MOST}")
            if not write:
                run(f"PRAGMA mmap_size={_MAPPED_BYTES}")
                run("PRAGMA query_only=ON")
        except sqlite3.Error as exc:
            raise Unavailable("the database file cannot be opened") from exc

    def all(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._db.execute(sql, params).fetchall()

    def one(self, sql: str, params: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._db.execute(sql, params).fetchone()
        return row

    def numbers(self, sql: str, params: Sequence[Any] = ()) -> list[int]:
        # As one text: a row of its own for each takes three times as long.
        listed = self._db.execute(f"SELECT json_group_array(n) FROM ({sql})", params).fetchone()
        found: list[int] = orjson.loads(listed[0])
        return found

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        return self._db.execute(sql, params).rowcount

    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        self._db.executemany(sql, rows)

    def begin(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._db.execute("COMMIT")

    def rollback(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def script(self, sql: str) -> None:
        for statement in sql.split(";\n"):
            if statement.strip():
                self._db.execute(statement)

    def watch(self, is_over: Callable[[], bool]) -> None:
        self._db.set_progress_handler(is_over, _WATCH_STEPS)

    def array(self, values: Sequence[Any]) -> Any:
        return orjson.dumps(list(values)).decode()

    def in_list(self, column: str) -> str:
        return f"{column} IN (SELECT value FROM json_each(?))"

    def in_set(self, column: str) -> str:
        return self.in_list(column)

    def sought(self, column: str, select: str) -> str:
        return f"{column} IN ({select})"

    def listed(self, alias: str) -> str:
        return f"json_each(?) AS {alias}"

    def close(self) -> None:
        self._db.close()


@lru_cache(maxsize=4096)
def _percent(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


class PostgresConnection:
    """A psycopg connection in autocommit mode with binary results and prepared statements."""

    dialect = POSTGRESQL

    def __init__(self, dsn: str, *, limited: bool = True) -> None:
        import psycopg  # only where PostgreSQL is used: 170 ms and 33 MB

        from app.store.prepared import Statements

        ours = _PG_NETWORK | {"application_name": "yilian"}
        options = _PG_OPTIONS + (_PG_LIMITS if limited else "")
        try:
            said: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(dsn)
            options += f" {said.pop('options', '')}"  # what the URL says comes last: it wins
            self._db = psycopg.connect(
                **(ours | said), options=options, autocommit=True, prepare_threshold=1
            )
        except psycopg.Error as exc:
            raise Unavailable("the PostgreSQL server cannot be reached") from exc
        self._cursor = self._db.cursor(binary=True)
        self._statements: Statements | None = Statements(self._db)

    @property
    def lost(self) -> bool:
        return self._db.closed

    def all(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        if self._statements is not None:
            rows = self._statements.rows(sql, params)
            if rows is not None:
                return rows
        return self._cursor.execute(_percent(sql), params).fetchall()

    def one(self, sql: str, params: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        rows = self.all(sql, params)
        return rows[0] if rows else None

    def numbers(self, sql: str, params: Sequence[Any] = ()) -> list[int]:
        return [row[0] for row in self.all(sql, params)]

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        return self._cursor.execute(_percent(sql), params or None).rowcount

    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        self._cursor.executemany(_percent(sql), rows)

    def begin(self) -> None:
        self._statements = None  # they do not outlive a ROLLBACK
        self._cursor.execute("BEGIN")

    def commit(self) -> None:
        self._cursor.execute("COMMIT")

    def rollback(self) -> None:
        self._db.rollback()

    def script(self, sql: str) -> None:
        self._db.execute(sql.encode())

    def watch(self, is_over: Callable[[], bool]) -> None:
        raise NotSupported("a server is not waited for on an event loop")

    def array(self, values: Sequence[Any]) -> Any:
        return list(values)

    def in_list(self, column: str) -> str:
        return f"{column} = ANY(?)"

    def in_set(self, column: str) -> str:
        # An array that is bound is compared one by one; this is hashed, and stays a test of a row.
        return f"({column} IN (SELECT unnest(?::bigint[]))) IS TRUE"

    def sought(self, column: str, select: str) -> str:
        # As an array, neighbours in the index are found in one go; half the time of a join.
        return f"{column} = ANY(ARRAY({select}))"

    def listed(self, alias: str) -> str:
        return f"unnest(?::bigint[]) AS {alias}(value)"

    def close(self) -> None:
        self._db.close()


def driver_errors(dialect: str) -> tuple[type[Exception], ...]:
    """Return what the driver of a dialect raises."""
    return tuple(driver.Error for driver in _drivers(dialect))


def _drivers(dialect: str) -> tuple[Any, ...]:
    if dialect == SQLITE:
        return (sqlite3,)
    import psycopg

    return (psycopg,)


def data_errors(dialect: str) -> tuple[type[Exception], ...]:
    """Return what the driver raises for a value that the database does not take, such as NUL."""
    return tuple(driver.DataError for driver in _drivers(dialect))


def timeouts(dialect: str) -> tuple[type[Exception], ...]:
    """Return what the driver raises when a statement, or a lock it waits for, takes too long."""
    if dialect == SQLITE:
        return ()
    import psycopg

    return (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable)


def connect(address: Address, *, write: bool = False, limited: bool = True) -> Connection:
    """Open a connection; on SQLite `write` decides between the writer's and a reader's.

    limited: on PostgreSQL, statements and locks may take a time that is fit for an answer to
    somebody who waits; not so for what works through the whole database.
    """
    if address.dialect == SQLITE:
        return SqliteConnection(address.path, write=write)
    return PostgresConnection(address.dsn, limited=limited)


class Lease:
    """Held by the thread that uses a connection: with it the connection ends."""

    __slots__ = ("__weakref__",)


class Connections:
    """The open connections of many threads: servers start and end threads as they need them."""

    def __init__(self) -> None:
        self._open: set[Connection] = set()

    def lend(self, connection: Connection) -> Lease:
        """Return what this thread keeps (in a `threading.local`) for as long as it lives."""
        self._open.add(connection)
        lease = Lease()
        weakref.finalize(lease, self.close, connection).atexit = False
        return lease

    def close(self, connection: Connection) -> None:
        """Close one."""
        self._open.discard(connection)
        connection.close()

    def close_all(self) -> None:
        for connection in list(self._open):
            self.close(connection)


@contextmanager
def transaction(connection: Connection) -> Iterator[Connection]:
    """Commit what the block does, or undo all of it."""
    connection.begin()
    try:
        yield connection
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
