"""Reads by id and histories: stored bytes, never parsed. R4 http.html#read, #vread, #history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from app.errors import Deleted, NotFound, UnknownType
from app.fhir import definitions
from app.store import pagelink
from app.store.commit import CREATED, DELETED, STUB, UPDATED
from app.store.database import Connection
from app.store.types import HistoryPage, Stored

METHODS = {CREATED: "create", UPDATED: "update", DELETED: "delete"}

_READ = "SELECT vid,lu,method,body FROM res WHERE tenant=? AND type=? AND id=?"


def stored(type_name: str, id_: str, row: Sequence[Any]) -> Stored:
    """Return the value of a row (vid, lu, method, body)."""
    vid, lu, method, body = row
    return Stored(type_name, id_, vid, lu, body, method == DELETED, METHODS[method])


def current(kind: int, version: Sequence[Any]) -> Stored:
    """Return the value of a row (id, vid, lu, method, body) of a resource that is here."""
    id_, vid, lu, method, body = version
    return Stored(definitions.type_name(kind), id_, vid, lu, body, False, METHODS[method])


def lookup(db: Connection, tenant: int, type_name: str, id_: str) -> Stored | None:
    """Return the newest version, a deletion too; None for what was never written."""
    row = db.one(_READ, (tenant, _number(type_name), id_))
    if row is None or row[2] == STUB:
        return None
    return stored(type_name, id_, row)


def read(db: Connection, tenant: int, type_name: str, id_: str) -> Stored:
    """Return the current version. Raises NotFound, or Deleted when it is gone."""
    found = lookup(db, tenant, type_name, id_)
    if found is None:
        raise NotFound("there is no such resource")
    if found.deleted:
        raise Deleted("the resource was deleted")
    return found


def vread(db: Connection, tenant: int, type_name: str, id_: str, version_id: str) -> Stored:
    """Return one version, which may be a deletion. Raises NotFound."""
    row = db.one(
        "SELECT pk,vid,lu,method,body FROM res WHERE tenant=? AND type=? AND id=?",
        (tenant, _number(type_name), id_),
    )
    if row is not None and row[3] != STUB and version_id.isdecimal() and len(version_id) < 10:
        if row[1] == int(version_id):
            return stored(type_name, id_, row[1:])
        old = db.one(
            "SELECT vid,lu,method,body FROM hist WHERE pk=? AND vid=?", (row[0], int(version_id))
        )
        if old is not None:
            return stored(type_name, id_, old)
    raise NotFound("there is no such version")


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
    """Return one page of versions, newest first.

    since_us: only versions at or after it; at: only versions that were current at some moment of
    this half-open interval. Raises NotFound for an id that never existed.
    """
    before = _before(cursor)
    if id_ is not None:
        return _of_instance(
            db, tenant, type_name or "", id_, since_us, at, count, before[0] if before else None
        )
    return _of_many(db, tenant, type_name, since_us, at, count, before)


def _of_instance(
    db: Connection,
    tenant: int,
    type_name: str,
    id_: str,
    since_us: int | None,
    at: tuple[int, int] | None,
    count: int,
    before: int | None,
) -> HistoryPage:
    row = db.one(
        "SELECT pk,vid,lu,method,body FROM res WHERE tenant=? AND type=? AND id=?",
        (tenant, _number(type_name), id_),
    )
    if row is None or row[3] == STUB:
        raise NotFound("there is no such resource")
    versions = [row[1:]]
    versions += db.all(
        "SELECT vid,lu,method,body FROM hist WHERE pk=? ORDER BY vid DESC", (row[0],)
    )
    kept, ends = [], 1 << 62  # a version is current until the next one begins
    for version in versions:
        lu = version[1]
        if (since_us is None or lu >= since_us) and (at is None or (lu < at[1] and ends > at[0])):
            kept.append(version)
        ends = lu
    page = [v for v in kept if before is None or v[0] < before]
    more = len(page) > count
    page = page[:count]
    return HistoryPage(
        [stored(type_name, id_, v) for v in page],
        total=len(kept),
        next=_cursor(page[-1][0], 0) if more and page else None,
    )


def _of_many(
    db: Connection,
    tenant: int,
    type_name: str | None,
    since_us: int | None,
    at: tuple[int, int] | None,
    count: int,
    before: tuple[int, int] | None,
) -> HistoryPage:
    where, params = ["g.tenant=?"], [tenant]
    if type_name is not None:
        where.append("g.type=?")
        params.append(_number(type_name))
    if since_us is not None:
        where.append("g.lu>=?")
        params.append(since_us)
    if at is not None:
        where.append("g.lu<?")
        params.append(at[1])
        where.append(
            "NOT EXISTS (SELECT 1 FROM log n WHERE n.tenant=g.tenant AND n.type=g.type"
            " AND n.pk=g.pk AND n.vid>g.vid AND n.lu<=?)"
        )
        params.append(at[0])
    counted = db.one(
        f"SELECT count(*) FROM log g WHERE {' AND '.join(where)}",
        params,
    )
    if before is not None:
        where.append("(g.lu<? OR (g.lu=? AND g.seq<?))")
        params += [before[0], before[0], before[1]]
    rows = db.all(
        "SELECT g.lu,g.seq,g.type,r.id,g.vid,g.method,CASE WHEN r.vid=g.vid THEN r.body ELSE h.body"
        " END FROM log g JOIN res r ON r.pk=g.pk LEFT JOIN hist h ON h.pk=g.pk AND h.vid=g.vid"
        f" WHERE {' AND '.join(where)} ORDER BY g.lu DESC,g.seq DESC LIMIT ?",
        (*params, count + 1),
    )
    page = rows[:count]
    return HistoryPage(
        [
            stored(definitions.type_name(number), id_, (vid, lu, method, body or b""))
            for lu, _, number, id_, vid, method, body in page
        ],
        total=counted[0] if counted else None,
        next=_cursor(page[-1][0], page[-1][1]) if len(rows) > count and page else None,
    )


def _number(type_name: str) -> int:
    if not definitions.is_resource_type(type_name):
        raise UnknownType("R4 has no such resource type")
    return definitions.type_number(type_name)


def _cursor(first: int, second: int) -> str:
    return pagelink.text([first, second])


def _before(cursor: str | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    first, second, *_ = pagelink.parse(cursor, integers=2)
    return cast(int, first), cast(int, second)
