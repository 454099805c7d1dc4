"""`yilian db upgrade|check|relink`: schema brought up to date, data proved whole, links added."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from itertools import chain
from typing import IO

from rich.console import Console
from rich.progress import Progress

from app import settings
from app.errors import Unavailable
from app.folder import Folder
from app.store import schema, verify
from app.store.database import SQLITE, Address, Connection, connect
from app.store.prepare import Preparer
from app.store.relink import relink
from app.store.store import Setting, open_store

_LINES = 20  # of what was found


def main(argv: Sequence[str], stdin: IO[bytes], stdout: IO[str]) -> int:
    """Do what the first argument says; return 1 when the check found something."""
    action, *rest = argv
    parser = argparse.ArgumentParser(
        prog=f"yilian db {action}",
        description=_ACTIONS[action],
        parents=[settings.flags("data", "database_url")],
    )
    if action == "check":
        parser.add_argument("--all", action="store_true", help=_ALL)
    given = vars(parser.parse_args(rest))
    every = given.pop("all", False)
    chosen = settings.gather(given)
    address = Address(chosen.database)
    if action == "upgrade":
        if address.dialect == SQLITE:
            address.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        stdout.write(f"schema {_upgrade(address)}\n")
        return 0
    from app import hub  # the whole house: only for what the index is made with

    parts = hub.Parts(chosen, id_secret="", writer_socket=chosen.data)
    if action == "relink":
        return _relink(chosen, parts.store_setting, stdout)
    return _check(address, parts.store_setting.preparer(), stdout, every=every)


_ALL = "check every version and every index row, not only a sample"
_ACTIONS = {
    "upgrade": "Bring the database to the schema of this release. Stop hubs of an older one first.",
    "check": "Check the schema, the database's own integrity, the change log and the index.",
    "relink": "Add the links that resources state which were written before links were kept, or"
    " before a rule was. Goes on where it was broken off. On SQLite no hub may run meanwhile.",
}


def _upgrade(address: Address) -> int:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("the index gets its new keys", visible=False, total=None)

        def say(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, visible=True)

        return schema.upgrade(address, say)


def _relink(chosen: settings.Settings, setting: Setting, stdout: IO[str]) -> int:
    address = Address(chosen.database)
    on_file = address.dialect == SQLITE
    if on_file and not address.path.is_file():
        raise Unavailable(f"there is no database at {address.path}")
    # The hub that owns a file counts its rows: nobody else may add any.
    alone = closing(Folder(chosen.data, address.path)) if on_file else nullcontext()
    last = ""

    def say(type_name: str, done: int) -> None:
        nonlocal last
        if type_name != last:
            last = type_name
            stdout.write(f"{type_name} ... {done}\n")
            stdout.flush()

    with alone:
        store = open_store(chosen.database, setting, upkeep=False)
        try:
            done = relink(store.writer, setting.preparer(), say=say)
        finally:
            store.close()
    stdout.write(f"{done} resources\n")
    return 0


def _check(address: Address, preparer: Preparer, stdout: IO[str], *, every: bool) -> int:
    if address.dialect == SQLITE and not address.path.is_file():
        raise Unavailable(f"there is no database at {address.path}")
    db = connect(address, limited=False)
    try:
        schema.require_current(db)
        found = chain(
            _damage(db),
            verify.seals(db),
            verify.versions(db, every=every),
            _lost(db),
            verify.index(db, preparer, every=every),
        )
        count = 0
        for count, line in enumerate(found, 1):
            if count <= _LINES:
                stdout.write(line + "\n")
        if count > _LINES:
            stdout.write(f"and {count - _LINES} more\n")
        elif not count:
            stdout.write("the database is whole\n")
        return 1 if count else 0
    finally:
        db.close()


def _damage(db: Connection) -> Iterator[str]:
    """Ask SQLite whether its file is sound; PostgreSQL looks after its own pages."""
    if db.dialect == SQLITE:
        yield from (
            f"file: {row[0]}" for row in db.all("PRAGMA integrity_check(20)") if row[0] != "ok"
        )


def _lost(db: Connection) -> Iterator[str]:
    """Compare each resource's version with the last one the change log knows."""
    rows = db.all(
        "SELECT count(*) FROM res r JOIN (SELECT pk, max(vid) AS vid FROM log GROUP BY pk) l"
        " ON l.pk = r.pk WHERE l.vid <> r.vid"
    )
    if rows[0][0]:
        yield f"change log: {rows[0][0]} resources are not in the version it names last"
