"""Links of resources that were written before links were kept, or under other rules.

Rows of `link` are made when a resource is written; migration 0003 made the table, not its rows, and
a site's new rule says nothing of what is there. This walks the resources of the types that state
links, by id, and adds what their current version states. What is there already is left alone, so
it may be done again at any time. The place is kept in `fact`: what is broken off goes on there.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

from app.fhir import definitions
from app.store.database import POSTGRESQL, Connection
from app.store.entries import Entries
from app.store.prepare import Preparer
from app.store.writer import Session, Writer

CHUNK = 200  # resources a transaction


def relink(
    writer: Writer,
    preparer: Preparer,
    *,
    say: Callable[[str, int], None] = lambda type_name, done: None,
    chunk: int = CHUNK,
) -> int:
    """Add the links that are missing; return how many resources were looked at, also before.

    say: told after each transaction: the type, and how many resources are done.
    """
    rules = preparer.link_rules
    types = [name for name in definitions.resource_types() if rules and rules.states(name)]
    fact = f"relink/{preparer.tenant}"

    def step(session: Session) -> tuple[str, int, bool]:
        """Do the next chunk; return its type, how many are done, and whether there are more."""
        db = session.db
        type_name, after, done = _place(db, fact) or (types[0], "", 0)
        rows = _resources(db, preparer.tenant, type_name, after, chunk)
        for pk, _, s, d, body in rows:
            links = preparer.relinked(type_name, body)
            if links:
                session.index_also(type_name, pk, s, Entries(d, 0, links=links))
        done += len(rows)
        left = [name for name in types if name >= type_name][1:]
        ended = len(rows) < chunk
        db.run("DELETE FROM fact WHERE name=?", (fact,))
        if ended and not left:
            return type_name, done, False
        place = (left[0], "", done) if ended else (type_name, rows[-1][1], done)
        db.run("INSERT INTO fact (name,value) VALUES (?,?)", (fact, orjson.dumps(place).decode()))
        return type_name, done, True

    done, more = 0, bool(types)
    while more:
        type_name, done, more = writer.run(step)
        say(type_name, done)
    return done


def _place(db: Connection, fact: str) -> tuple[str, str, int] | None:
    row = db.one("SELECT value FROM fact WHERE name=?", (fact,))
    if row is None:
        return None
    type_name, after, done = orjson.loads(row[0])
    return type_name, after, done


def _resources(
    db: Connection, tenant: int, type_name: str, after: str, chunk: int
) -> list[tuple[int, str, int, int, bytes]]:
    """Return pk, id, s, d and body of the next resources of a type, locked."""
    lock = " FOR UPDATE" if db.dialect == POSTGRESQL else ""
    rows = db.all(
        "SELECT pk,id,s,d,body FROM res WHERE tenant=? AND type=? AND id>? AND method IN (0,1)"
        f" ORDER BY id LIMIT ?{lock}",
        (tenant, definitions.type_number(type_name), after, chunk),
    )
    return [(pk, id_, s, d, body) for pk, id_, s, d, body in rows]
