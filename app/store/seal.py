"""The chain of digests over the change log: what is sealed cannot be changed unseen.

A seal covers the log rows after the one before it. On SQLite the writer seals in each transaction;
on PostgreSQL, where many write, every process has a `Sealer` and one of them does it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from app.store.database import Connection, transaction

_LOCK = 0x59494C53  # advisory lock number: one process seals
_ROWS = 100_000  # of the log under one seal; the rest waits for the next


class Chain:
    """The seals of a file that only this process writes."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._sealed = self._next = _last(db)

    def add(self, digests: Sequence[bytes]) -> None:
        """Seal the log rows of this transaction. digests: theirs, as they were written; if they do
        not account for all that is there, the rows are read."""
        height = _number(self._db, "SELECT max(seq) FROM log")
        if height - self._next[0] == len(digests):
            self._next = _sealed(self._db, self._next, height, digests)
        else:
            self._next = _seal(self._db, self._next, None)

    def committed(self) -> None:
        self._sealed = self._next

    def rolled_back(self) -> None:
        self._next = self._sealed


class Sealer:
    """Seals a PostgreSQL database, where numbers of the log become visible out of order.

    A number is sealed when no transaction is left that could still bring a smaller one: first the
    height of the log is taken, a while later (every transaction that had a number has an xid by
    then) a new xid, and when all older transactions are over, everything up to the height is final.
    """

    def __init__(self) -> None:
        self._height = self._boundary = 0

    def tick(self, db: Connection) -> None:
        """Take the next step; call it once a second. One process at a time writes a seal."""
        if not self._height:
            highest = _number(db, "SELECT max(seq) FROM log")
            self._height = highest if highest > _last(db)[0] else 0
        elif not self._boundary:
            self._boundary = _number(db, "SELECT pg_current_xact_id()::text::bigint")
        elif self._boundary < _number(
            db, "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
        ):
            with transaction(db):
                if db.one("SELECT pg_try_advisory_xact_lock(?)", (_LOCK,)) == (True,):
                    _seal(db, _last(db), self._height)
            self._height = self._boundary = 0


def chained(previous: bytes, digests: Iterable[bytes]) -> bytes:
    """Return the digest that seals `digests` upon `previous`."""
    total = sha256(previous)
    for digest in digests:
        total.update(digest)
    return total.digest()


def _seal(db: Connection, last: tuple[int, bytes], height: int | None) -> tuple[int, bytes]:
    """Seal what comes after `last`, up to `height`; return the newest seal then."""
    if height is None:
        rows = db.all("SELECT seq,digest FROM log WHERE seq>? ORDER BY seq", last[:1])
    else:
        rows = db.all(
            "SELECT seq,digest FROM log WHERE seq>? AND seq<=? ORDER BY seq LIMIT ?",
            (last[0], height, _ROWS),
        )
    return _sealed(db, last, rows[-1][0] if rows else 0, [row[1] for row in rows])


def _sealed(
    db: Connection, last: tuple[int, bytes], height: int, digests: Sequence[bytes]
) -> tuple[int, bytes]:
    """Seal the digests of the rows after `last` up to `height`; return the newest seal then."""
    if not digests:
        return last
    sealed = (height, chained(last[1], digests))
    db.run("INSERT INTO seal (seq,digest) VALUES (?,?)", sealed)
    return sealed


def _last(db: Connection) -> tuple[int, bytes]:
    row = db.one("SELECT seq,digest FROM seal ORDER BY seq DESC LIMIT 1")
    return (row[0], bytes(row[1])) if row else (0, b"")


def _number(db: Connection, sql: str) -> int:
    row = db.one(sql)
    return int(row[0] or 0) if row else 0
