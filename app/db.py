"""`yilian db upgrade|check`: the schema brought up to date, and proof that the data are whole."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import IO

from app import settings
from app.errors import Unavailable
from app.store import schema
from app.store.database import SQLITE, Address, Connection, connect
from app.store.seal import chained

_ROWS = 10_000


def main(argv: Sequence[str], stdin: IO[bytes], stdout: IO[str]) -> int:
    """Do what the first argument says; return 1 when the check found something."""
    action, *rest = argv
    parser = argparse.ArgumentParser(
        prog=f"yilian db {action}",
        description=_ACTIONS[action],
        parents=[settings.flags("data", "database_url")],
    )
    address = Address(settings.gather(vars(parser.parse_args(rest))).database)
    if action == "upgrade":
        if address.dialect == SQLITE:
            address.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        stdout.write(f"schema {schema.upgrade(address)}\n")
        return 0
    return _check(address, stdout)


_ACTIONS = {
    "upgrade": "Bring the database to the schema of this release; it may be in use meanwhile.",
    "check": "Check the schema, the database's own integrity and the chain of the change log.",
}


def _check(address: Address, stdout: IO[str]) -> int:
    if address.dialect == SQLITE and not address.path.is_file():
        raise Unavailable(f"there is no database at {address.path}")
    db = connect(address)
    try:
        schema.require_current(db)
        found = [*_damage(db), *_broken_links(db), *_lost(db)]
        for line in found or ["the database is whole"]:
            stdout.write(line + "\n")
        return 1 if found else 0
    finally:
        db.close()


def _damage(db: Connection) -> Iterator[str]:
    """Ask SQLite whether its file is sound; PostgreSQL looks after its own pages."""
    if db.dialect == SQLITE:
        yield from (
            f"file: {row[0]}" for row in db.all("PRAGMA integrity_check(20)") if row[0] != "ok"
        )


def _broken_links(db: Connection) -> Iterator[str]:
    """Follow the seals over the change log; name the first that does not hold."""
    after, digest = 0, b""
    while seals := db.all(
        "SELECT seq, digest FROM seal WHERE seq > ? ORDER BY seq LIMIT ?", (after, _ROWS)
    ):
        for seq, sealed in seals:
            rows = db.all(
                "SELECT digest FROM log WHERE seq > ? AND seq <= ? ORDER BY seq", (after, seq)
            )
            digest = chained(digest, (bytes(row[0]) for row in rows))
            if digest != bytes(sealed):
                yield f"change log: the entries {after + 1} to {seq} are not those that were sealed"
                return
            after = seq


def _lost(db: Connection) -> Iterator[str]:
    """Compare each resource's version with the last one the change log knows."""
    rows = db.all(
        "SELECT count(*) FROM res r JOIN (SELECT pk, max(vid) AS vid FROM log GROUP BY pk) l"
        " ON l.pk = r.pk WHERE l.vid <> r.vid"
    )
    if rows[0][0]:
        yield f"change log: {rows[0][0]} resources are not in the version it names last"
