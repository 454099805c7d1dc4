"""Rows that wait to be written, and the statements that write them.

Rows of several change sets are collected and written together: fewer statements, fewer touched
pages. On PostgreSQL all inserts of a batch are one statement, so that a create is
one round trip (measured: 13 statements in a pipeline cost twice as much).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any

from app.store.database import POSTGRESQL, Connection
from app.store.effects import Effect

Row = tuple[Any, ...]

# Rows that one statement inserts: each costs a third less than alone.
_TOGETHER = 16
_MOST_KEYS = 32  # of one resource that one statement inserts
_second = itemgetter(1)

# table, its columns with PostgreSQL's array types, what to do with a row that is there already
_INSERTS: Sequence[tuple[str, str, str, str, str]] = (
    (
        "res",
        "res",
        "pk,tenant,s,type,id,method,vid,lu,d,have,body,told",
        "int8,int2,int8,int2,text,int2,int4,int8,int8,int8,bytea,int8",
        "",
    ),
    ("hist", "hist", "pk,vid,s,method,lu,body", "int8,int4,int8,int2,int8,bytea", ""),
    ("ix", "ix", "k,d,pk,s", "int8,int8,int8,int8", "ignore"),
    ("strs", "str", "pk,p,v,s", "int8,int8,text,int8", "ignore"),
    ("qtys", "qty", "pk,p,u,lo,hi,s", "int8,int8,int8,float8,float8,int8", "ignore"),
    ("dts", "dt", "pk,p,lo,hi,s", "int8,int8,int8,int8,int8", "ignore"),
    ("codes", "code", "p,code,system,k", "int8,text,text,int8", "ignore"),
    ("texts", "txt", "p,v,k", "int8,text,int8", "ignore"),
    ("units", "unit", "p,u,system,code,unit", "int8,int8,text,text,text", "ignore"),
    ("idents", "ident", "k,pk,s", "int8,int8,int8", "ignore"),
    ("links", "link", "f,kind,t,lo,hi,src,s", "int8,int4,int8,int8,int8,int8,int8", "ignore"),
    ("named", "name", "k,key", "int8,text", "ignore"),
    (
        "log",
        "log",
        "tenant,s,type,pk,vid,method,lu,digest",
        "int2,int8,int2,int8,int4,int2,int8,bytea",
        "",
    ),
)

_UPDATE = (
    "UPDATE res SET s=?,method=?,vid=?,lu=?,d=?,have=?,body=?,told=coalesce(?,told)"
    " WHERE pk=? AND vid=?"
)
_TELL = "UPDATE res SET told=? WHERE pk=?"
_DELETES: Sequence[tuple[str, str]] = (
    ("ix_gone", "DELETE FROM ix WHERE k=? AND d=? AND pk=?"),
    ("strs_gone", "DELETE FROM str WHERE pk=? AND p=? AND v=?"),
    ("qtys_gone", "DELETE FROM qty WHERE pk=? AND p=? AND u=? AND lo=? AND hi=?"),
    ("dts_gone", "DELETE FROM dt WHERE pk=? AND p=? AND lo=? AND hi=?"),
    ("idents_gone", "DELETE FROM ident WHERE k=? AND pk=?"),
    ("links_gone", "DELETE FROM link WHERE f=? AND kind=? AND t=? AND lo=? AND hi=? AND src=?"),
)


@dataclass(slots=True)
class Batch:
    """Rows to write; the names are those of `_INSERTS` and `_DELETES`.

    ix: (d, pk, s, key, key ...), the rows that one resource has for its keys;
    changed: (s, method, vid, lu, d, have, body, told, pk, vid before) of rows of `res` to update;
    told: (told, pk) of rows of `res` that stay as they are but for that;
    effects: (effect, id, body or None when deleted), what follows from the rows.
    """

    res: list[Row] = field(default_factory=list)
    hist: list[Row] = field(default_factory=list)
    ix: list[Row] = field(default_factory=list)
    strs: list[Row] = field(default_factory=list)
    qtys: list[Row] = field(default_factory=list)
    dts: list[Row] = field(default_factory=list)
    codes: list[Row] = field(default_factory=list)
    texts: list[Row] = field(default_factory=list)
    units: list[Row] = field(default_factory=list)
    idents: list[Row] = field(default_factory=list)
    links: list[Row] = field(default_factory=list)
    named: list[Row] = field(default_factory=list)
    log: list[Row] = field(default_factory=list)
    changed: list[Row] = field(default_factory=list)
    told: list[Row] = field(default_factory=list)
    ix_gone: list[Row] = field(default_factory=list)
    strs_gone: list[Row] = field(default_factory=list)
    qtys_gone: list[Row] = field(default_factory=list)
    dts_gone: list[Row] = field(default_factory=list)
    idents_gone: list[Row] = field(default_factory=list)
    links_gone: list[Row] = field(default_factory=list)
    effects: list[tuple[Effect, str, bytes | None]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(
            self.res or self.log or self.changed or self.told or self.ix or self.codes or self.links
        )

    def marks(self) -> list[int]:
        """Return where every list ends now, for `cut`."""
        return list(map(len, _lists(self)))

    def cut(self, marks: list[int]) -> None:
        """Drop the rows that were added since `marks`."""
        for rows, size in zip(_lists(self), marks, strict=True):
            del rows[size:]


_SHARED = frozenset({"codes", "texts", "units", "named"})
_NAMES = tuple(Batch.__dataclass_fields__)
_lists = attrgetter(*_NAMES)


def write(db: Connection, batch: Batch) -> int:
    """Write all rows, then their effects; return how many rows of `res` were updated."""
    for name, sql in _DELETES:
        rows = getattr(batch, name)
        if rows:
            db.many(sql, sorted(rows))
    changed = sum(db.run(_UPDATE, row) for row in batch.changed)
    if batch.told:
        db.many(_TELL, sorted(batch.told, key=_second))
    if db.dialect == POSTGRESQL:
        _insert_at_once(db, batch)
    else:
        _insert_by_table(db, batch)
    for effect, id_, body in batch.effects:
        effect.written(db, id_, body)
    return changed


def _insert_by_table(db: Connection, batch: Batch) -> None:
    _insert_keys(db, batch.ix)
    for name, table, columns, _, existing in _INSERTS:
        rows = getattr(batch, name)
        if not rows or name == "ix":
            continue
        whole = len(rows) // _TOGETHER * _TOGETHER
        values = list(chain.from_iterable(rows))
        width = len(values) // len(rows)
        if whole:
            size = _TOGETHER * width
            several = [values[at : at + size] for at in range(0, whole * width, size)]
            db.many(_sqlite(table, columns, existing, _TOGETHER), several)
        if whole < len(rows):
            rest = _sqlite(table, columns, existing, len(rows) - whole)
            db.run(rest, values[whole * width :])


def _insert_keys(db: Connection, rows: Sequence[Row]) -> None:
    """Insert rows of `ix`, those of a resource by one statement: what they share is bound once.

    Sorted by key over all resources instead, they cost an eighth more (measured at 10,000 to a
    million resources).
    """
    by_size: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_size[len(row)].append(row)
    for size, alike in by_size.items():
        if size <= 3 + _MOST_KEYS:
            db.many(_insert_of_keys(size - 3), alike)
            continue
        for at in range(3, size, _MOST_KEYS):
            part = [(*row[:3], *row[at : at + _MOST_KEYS]) for row in alike]
            db.many(_insert_of_keys(len(part[0]) - 3), part)


@lru_cache(maxsize=_MOST_KEYS)
def _insert_of_keys(count: int) -> str:
    values = ",".join([f"(?{n},?1,?2,?3)" for n in range(4, 4 + count)])
    return f"INSERT OR IGNORE INTO ix (k,d,pk,s) VALUES {values}"


def _insert_at_once(db: Connection, batch: Batch) -> None:
    main: tuple[str, list[Any]] | None = None
    parts: list[str] = []
    params: list[Any] = []
    for name, sql, kinds in _POSTGRESQL:
        rows = getattr(batch, name)
        if not rows:
            continue
        if name == "ix":
            rows = [(k, d, pk, s) for d, pk, s, *found in rows for k in found]
        if name in _SHARED:
            rows.sort()  # rows that several writers may make are locked in one order by all
        arrays = [_array(kind, column) for kind, column in zip(kinds, zip(*rows), strict=True)]  # noqa: B905 - rows are of one length
        if main is None:
            main = sql, arrays
        else:
            parts.append(f"w{len(parts)} AS ({sql})")
            params += arrays
    if main is not None:
        ahead = f"WITH {','.join(parts)} " if parts else ""
        db.run(ahead + main[0], [*params, *main[1]])


def _array(kind: str, column: Sequence[Any]) -> Any:
    """Return a column as an array literal; the driver's own lists cost ten times as much."""
    if kind == "bytea":
        return list(column)
    if kind == "text":
        return "{" + ",".join(map(_quoted, column)) + "}"
    return "{" + ",".join(map(str, column)).replace("None", "NULL") + "}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@lru_cache(maxsize=_TOGETHER * len(_INSERTS))
def _sqlite(table: str, columns: str, existing: str, count: int) -> str:
    marks = f"({','.join('?' * len(columns.split(',')))})"
    # Not OR ABORT, for which SQLite keeps a copy of every page that several rows change (twice the
    # cost): after an error nothing of the transaction, or of its savepoint, stays anyway.
    verb = "INSERT OR IGNORE" if existing else "INSERT OR FAIL"
    return f"{verb} INTO {table} ({columns}) VALUES {','.join([marks] * count)}"


def _postgresql(table: str, columns: str, types: str, existing: str) -> str:
    arrays = ",".join(f"?::{kind}[]" for kind in types.split(","))
    end = " ON CONFLICT DO NOTHING" if existing else ""
    return f"INSERT INTO {table} ({columns}) SELECT * FROM unnest({arrays}){end}"


_POSTGRESQL = tuple((n, _postgresql(t, c, k, e), k.split(",")) for n, t, c, k, e in _INSERTS)
