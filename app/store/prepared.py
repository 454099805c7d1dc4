"""Statements that a PostgreSQL connection prepares, and asks of libpq without a cursor.

A cursor of psycopg takes 70 us of this process's time to answer a search by a page of resources,
20 us by a number; libpq's own call takes 40 and 8. Values go out as text, rows come back in binary
form and are read by psycopg's own loaders.

Only for connections that read: after a ROLLBACK psycopg has the server forget all statements, its
own and these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from psycopg import Connection, DataError, OperationalError
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, Format
from psycopg.pq.abc import PGresult

_MOST = 300  # statements that a connection keeps
_COMMAND_OK, _TUPLES_OK = ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK
_BINARY = Format.BINARY
_FORGOTTEN = b"26000"  # SQLSTATE invalid_sql_statement_name: somebody had the server forget it

Write = Callable[[Any], bytes | None]


class Statements:
    """The statements of one connection. One thread at a time."""

    def __init__(self, db: Connection[Any]) -> None:
        self._pg = db.pgconn
        self._rows = Transformer(db)
        self._named = 0
        # (text, kinds of values) -> name, and how each value is written; None: asked once
        self._known: dict[tuple[str, tuple[type, ...]], tuple[bytes, list[Write]] | None] = {}

    def rows(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]] | None:
        """Return the rows of a statement; None if it is asked for the first time.

        None also when it has values of a kind that is not known here. Raises psycopg's errors.
        """
        kinds = tuple(map(type, params))
        if list in kinds:
            kinds = tuple(map(_kind, params))
        key = sql, kinds
        statement = self._known.get(key)
        if statement is None:
            if key not in self._known or not _KINDS.issuperset(kinds):
                self._keep(key, None)
                return None
            statement = self._prepare(sql, kinds)
            self._keep(key, statement)
        name, writes = statement
        values: list[Any] = [write(value) for write, value in zip(writes, params, strict=True)]
        result = self._pg.exec_prepared(name, values, None, _BINARY)
        if result.status != _TUPLES_OK:
            if result.error_field(DiagnosticField.SQLSTATE) == _FORGOTTEN:
                self._known.clear()
                return None
            raise self._error(result)
        self._rows.set_pgresult(result)
        return self._rows.load_rows(0, result.ntuples, tuple)

    def _prepare(self, sql: str, kinds: Sequence[type]) -> tuple[bytes, list[Write]]:
        self._named += 1
        name = b"y%d" % self._named
        first, *parts = sql.split("?")
        text = first + "".join(f"${n}{part}" for n, part in enumerate(parts, 1))
        result = self._pg.prepare(name, text.encode(), [_WRITTEN[kind][0] for kind in kinds])
        if result.status != _COMMAND_OK:
            raise self._error(result)
        return name, [_WRITTEN[kind][1] for kind in kinds]

    def _keep(
        self, key: tuple[str, tuple[type, ...]], statement: tuple[bytes, list[Write]] | None
    ) -> None:
        self._known[key] = statement
        if len(self._known) > _MOST:
            oldest = self._known.pop(next(iter(self._known)))
            if oldest is not None:
                self._pg.exec_(b"DEALLOCATE " + oldest[0])

    def _error(self, result: PGresult) -> Exception:
        if self._pg.status == ConnStatus.BAD:
            return OperationalError("the connection is lost")
        return error_from_result(result)


# --- values as PostgreSQL reads them -------------------------------------------------------------


class _Integers(list[int]):
    """The kind of a list of integers."""


class _Texts(list[str]):
    """The kind of a list of texts."""


def _kind(value: Any) -> type:
    if type(value) is not list or not value:
        return type(value)
    of = set(map(type, value))
    return _Integers if of == {int} else _Texts if of == {str} else list


def _integer(value: int) -> bytes:
    return b"%d" % value


def _number(value: float) -> bytes:
    return repr(value).encode()


def _text(value: str) -> bytes:
    if "\0" in value:  # libpq would end the text there
        raise DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return value.encode()


def _integers(values: Sequence[int]) -> bytes:
    return f"{{{','.join(map(str, values))}}}".encode()


def _texts(values: Sequence[str]) -> bytes:
    quoted = (value.replace("\\", r"\\").replace('"', r"\"") for value in values)
    return _text('{"' + '","'.join(quoted) + '"}')


def _null(value: None) -> None:
    return value


# Kind of value -> the number of its type (0: the statement says which), how it is written.
_WRITTEN: dict[type, tuple[int, Write]] = {
    int: (20, _integer),
    float: (701, _number),
    str: (0, _text),
    type(None): (0, _null),
    _Integers: (1016, _integers),
    _Texts: (1009, _texts),
}
_KINDS = frozenset(_WRITTEN)
