"""Histories of a resource, a type and the whole system, newest first. R4 http.html#history.

A page reads no more than it shows: the change log says which versions, by keyset, and only theirs
are fetched. The total is counted for the first page and travels in the links to the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from app.errors import NotFound
from app.fhir import definitions
from app.store import pagelink
from app.store.database import Connection
from app.store.read import number_of, stored
from app.store.states import STUB
from app.store.types import HistoryPage

TOTAL_MOST = 10_000  # versions of a type or of the system are counted so far, else no total is told

_NEVER = (1 << 63) - 1
_UNKNOWN = -1  # a total in a page link
_Before = tuple[int, int, int]  # where the page before ended, and the total

_INSTANCE = "SELECT pk,vid,lu,method,body FROM res WHERE tenant=? AND type=? AND id=?"
# The types that the log knows, each found by one step in its index.
_TYPES = (
    "WITH RECURSIVE known(type) AS (SELECT min(type) FROM log WHERE tenant=? UNION ALL"
    " SELECT (SELECT min(type) FROM log WHERE tenant=? AND type>known.type) FROM known"
    " WHERE known.type IS NOT NULL) SELECT type FROM known WHERE type IS NOT NULL"
)
# Whether a version was still current at a moment: its successor began later, or there is none.
_STILL = (
    "(lu>? OR COALESCE((SELECT h.lu FROM hist h WHERE h.pk=log.pk AND h.vid=log.vid+1),"
    "(SELECT r.lu FROM res r WHERE r.pk=log.pk AND r.vid=log.vid+1),?)>?)"
)
# Bodies by row, never by a join: they are fetched for the versions shown alone, whatever the
# planner believes of the tables.
_SHOWN = (
    "SELECT g.lu,g.seq,g.type,(SELECT r.id FROM res r WHERE r.pk=g.pk),g.vid,g.method,"
    "COALESCE((SELECT h.body FROM hist h WHERE h.pk=g.pk AND h.vid=g.vid),"
    "(SELECT r.body FROM res r WHERE r.pk=g.pk AND r.vid=g.vid))"
    " FROM (SELECT * FROM ({}) AS each_type ORDER BY lu DESC,seq DESC LIMIT ?) AS g"
    " ORDER BY g.lu DESC,g.seq DESC"
)


def history(
    db: Connection,
    tenant: int,
    type_name: str | None,
    id_: str | None,
    *,
    since_us: int | None = None,
    at: tuple[int, int] | None = None,
    count: int,
    cursor: str | None = None,
) -> HistoryPage:
    """Return one page of versions.

    since_us: only versions at or after it; at: only versions that were current at some moment of
    this half-open interval. Raises NotFound for an id that never existed.
    """
    before = _parsed(cursor)
    if id_ is not None:
        return _of_instance(db, tenant, type_name or "", id_, since_us, at, count, before)
    numbers = _types(db, tenant) if type_name is None else [number_of(type_name)]
    return _of_many(db, tenant, numbers, since_us, at, count, before)


def _of_instance(
    db: Connection,
    tenant: int,
    type_name: str,
    id_: str,
    since_us: int | None,
    at: tuple[int, int] | None,
    count: int,
    before: _Before | None,
) -> HistoryPage:
    row = db.one(_INSTANCE, (tenant, number_of(type_name), id_))
    if row is None or row[3] == STUB:
        raise NotFound("there is no such resource")
    pk, newest = row[0], row[1:]
    first_vid, begin_us, end_us = 1, since_us or 0, _NEVER
    where, params = "pk=?", [pk]
    if at is not None:
        first_vid, end_us = _current_at(db, pk, newest, at[0]), at[1]
    if at is not None or since_us is not None:  # else the key alone tells which, and how many
        where, params = "pk=? AND vid>=? AND lu>=? AND lu<?", [pk, first_vid, begin_us, end_us]
    with_newest = newest[0] >= first_vid and begin_us <= newest[1] < end_us
    if before is None:
        older = db.one(f"SELECT count(*) FROM hist WHERE {where}", params)
        total = with_newest + (older[0] if older else 0)
    else:
        total = before[2]
        with_newest = with_newest and newest[0] < before[0]
        where, params = where + " AND vid<?", [*params, before[0]]
    page = [newest] if with_newest else []
    page += db.all(
        f"SELECT vid,lu,method,body FROM hist WHERE {where} ORDER BY vid DESC LIMIT ?",
        (*params, count + 1 - len(page)),
    )
    return HistoryPage(
        [stored(type_name, id_, version) for version in page[:count]],
        total=total,
        next=_link(page[count - 1][0], 0, total) if 0 < count < len(page) else None,
    )


def _current_at(db: Connection, pk: int, newest: Sequence[Any], moment_us: int) -> int:
    """Return the version that was current at a moment; 0 before the first."""
    if newest[1] <= moment_us:
        return int(newest[0])
    row = db.one(
        "SELECT vid FROM hist WHERE pk=? AND lu<=? ORDER BY vid DESC LIMIT 1", (pk, moment_us)
    )
    return row[0] if row else 0


def _of_many(
    db: Connection,
    tenant: int,
    numbers: Sequence[int],
    since_us: int | None,
    at: tuple[int, int] | None,
    count: int,
    before: _Before | None,
) -> HistoryPage:
    where, params = "tenant=? AND type=?", []
    if since_us is not None:
        where, params = where + " AND lu>=?", [since_us]
    if at is not None:
        where += f" AND lu<? AND {_STILL}"
        params += [at[1], at[0], at[0] + 1, at[0]]
    if before is not None:
        total = before[2]
    else:
        total = _UNKNOWN if at is not None else _counted(db, tenant, numbers, where, params)
    if before is not None:
        where, params = where + " AND (lu,seq)<(?,?)", [*params, *before[:2]]
    one = (
        "SELECT * FROM (SELECT lu,seq,type,pk,vid,method FROM log"
        f" WHERE {where} ORDER BY lu DESC,seq DESC LIMIT ?) AS t"
    )
    rows: list[tuple[Any, ...]] = []
    if numbers:
        each = [value for number in numbers for value in (tenant, number, *params, count + 1)]
        union = " UNION ALL ".join([one] * len(numbers))
        rows = db.all(_SHOWN.format(union), (*each, count + 1))
    return HistoryPage(
        [
            stored(definitions.type_name(number), id_, (vid, lu, method, body or b""))
            for lu, _, number, id_, vid, method, body in rows[:count]
        ],
        total=None if total == _UNKNOWN else total,
        next=_link(rows[count - 1][0], rows[count - 1][1], total)
        if 0 < count < len(rows)
        else None,
    )


def _counted(
    db: Connection, tenant: int, numbers: Sequence[int], where: str, params: Sequence[int]
) -> int:
    """Return how many versions there are; _UNKNOWN when there are too many to count."""
    total = 0
    for number in numbers:
        row = db.one(
            f"SELECT count(*) FROM (SELECT 1 FROM log WHERE {where} LIMIT ?) AS counted",
            (tenant, number, *params, TOTAL_MOST + 1 - total),
        )
        total += row[0] if row else 0
        if total > TOTAL_MOST:
            return _UNKNOWN
    return total


def _types(db: Connection, tenant: int) -> list[int]:
    return [row[0] for row in db.all(_TYPES, (tenant, tenant))]


def _link(first: int, second: int, total: int) -> str:
    return pagelink.text([first, second, total])


def _parsed(cursor: str | None) -> _Before | None:
    if cursor is None:
        return None
    first, second, total, *_ = pagelink.parse(cursor, integers=3)
    return cast(int, first), cast(int, second), max(cast(int, total), _UNKNOWN)
