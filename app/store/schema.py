"""Bring a database to the newest schema, and say whether it is there."""

from __future__ import annotations

from app.errors import Unavailable
from app.store import migrations
from app.store.database import POSTGRESQL, Address, Connection, connect, transaction
from app.store.rekey import Say, logged, rekey

_LOCK = 0x59494C49  # advisory lock number: two processes that start at once upgrade once

_REWRITING = {7: rekey}  # what a step does to data that are there, beside its SQL


def version(db: Connection) -> int:
    """Return the number of the last migration applied; 0 for an empty database."""
    if not _has_table(db, "fact"):
        return 0
    row = db.one("SELECT value FROM fact WHERE name = 'schema'")
    return int(row[0]) if row else 0


def _has_table(db: Connection, name: str) -> bool:
    if db.dialect == POSTGRESQL:
        return db.one("SELECT to_regclass(?)::text", (name,)) != (None,)
    return db.one("SELECT 1 FROM sqlite_master WHERE type='table' AND name=?", (name,)) is not None


def upgrade(address: Address, say: Say | None = None) -> int:
    """Apply the migrations that are missing, all in one transaction; return the version reached.

    say: told how far data that are there were rewritten; otherwise the log is.
    Raises Unavailable when the database is newer than this release.
    """
    db = connect(address, write=True, limited=False)
    try:
        with transaction(db):
            if db.dialect == POSTGRESQL:
                db.run("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
                db.run("SET LOCAL lock_timeout = '5s'")
            have = version(db)
            steps = migrations.steps(db.dialect)
            if have > max(steps):
                raise Unavailable("the database was written by a newer release of Yilian")
            for number, sql in steps.items():
                if number > have:
                    db.script(sql)
                    if have and number in _REWRITING:
                        _REWRITING[number](db, say or logged())
                    db.run("DELETE FROM fact WHERE name = 'schema'")
                    db.run("INSERT INTO fact (name, value) VALUES ('schema', ?)", (str(number),))
            return max(steps)
    finally:
        db.close()


def require_current(db: Connection) -> None:
    """Raise Unavailable unless the database has exactly this release's schema."""
    have, want = version(db), migrations.newest(db.dialect)
    if have != want:
        raise Unavailable(
            f"the database has schema {have}, this release needs {want}: run `yilian db upgrade`"
        )
