"""The codes that were to be translated and that no concept map knows: a list for people to work on.

The list is bounded, since strangers can ask for anything. A code goes from it when somebody takes
it off; it comes back when it is met again without a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.store.aside import Statement
from app.store.database import Connection
from app.terminology.tables import Tables

MOST = 10_000
_MOST_TEXT = 256  # of a system or code; longer ones are no codes

Code = tuple[str, str, str]  # system, code, the system it was to be in ("" for any)


@dataclass(frozen=True, slots=True)
class Missing:
    """A code of a system that has no translation into another ("" for any)."""

    system: str
    code: str
    target: str
    met_us: int


def met(tables: Tables, codes: Sequence[Code]) -> None:
    """Keep codes that have no translation. One that is kept already costs a look, not a write."""
    new = [one for one in codes if _is_plain(one) and not _kept(tables, one)]
    if not new:
        return
    now_us, tenant = tables.clock.now_us(), tables.tenant
    insert = Statement(
        "INSERT INTO unmapped (tenant,system,code,target,met)"
        " SELECT CAST(? AS SMALLINT),?,?,?,CAST(? AS BIGINT)"
        " WHERE (SELECT count(*) FROM unmapped WHERE tenant=CAST(? AS SMALLINT))"
        " < CAST(? AS INTEGER) ON CONFLICT DO NOTHING",
        [(tenant, *one, now_us, tenant, MOST) for one in new],
    )
    tables.write_aside([insert])


def _is_plain(one: Code) -> bool:
    return all(len(part) <= _MOST_TEXT and "\0" not in part for part in one)


def _kept(tables: Tables, one: Code) -> bool:
    def found(db: Connection) -> bool:
        sql = "SELECT 1 FROM unmapped WHERE tenant=? AND system=? AND code=? AND target=?"
        return db.one(sql, (tables.tenant, *one)) is not None

    return tables.ask(found)


def listed(tables: Tables, most: int) -> Sequence[Missing]:
    """Return the codes met last."""
    sql = (
        "SELECT system,code,target,met FROM unmapped WHERE tenant=?"
        " ORDER BY met DESC, system, code LIMIT ?"
    )
    rows = tables.ask(lambda db: db.all(sql, (tables.tenant, most)))
    return [Missing(*row) for row in rows]


def count(tables: Tables) -> int:
    """Return how many codes are on the list."""
    sql = "SELECT count(*) FROM unmapped WHERE tenant=?"
    found = tables.ask(lambda db: db.one(sql, (tables.tenant,)))
    return int(found[0]) if found else 0


def remove(tables: Tables, codes: Sequence[Code]) -> None:
    """Take codes off the list."""
    delete = "DELETE FROM unmapped WHERE tenant=? AND system=? AND code=? AND target=?"
    tables.write_aside([Statement(delete, [(tables.tenant, *one) for one in codes])])
