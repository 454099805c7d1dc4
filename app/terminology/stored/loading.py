"""The life of a stored version: begun, filled in small transactions, made ready at once, replaced.

Nobody sees a version that is being loaded. When it is ready it takes the place of the one with the
same url and version, in one transaction, and every process notices by the generation
(`fact.terminology`). The rows of the former go afterwards, when requests that still read them are
over. What a load that was interrupted left behind goes with the next load.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from app.errors import Conflict
from app.store.aside import Statement
from app.store.database import POSTGRESQL
from app.store.store import Store
from app.terminology.stored.build import Draft, Rows
from app.terminology.stored.rows import (
    LOADING,
    READY,
    REPLACED,
    concept_id,
    encode_facts,
    set_key,
)
from app.terminology.types import Json

T = TypeVar("T")

GENERATION = "terminology"  # in the table `fact`
_ROWS = 2000  # written in one transaction: feeds wait for no more
_GRACE_S = 1.0  # for so long requests may still read what was replaced
_ABANDONED_US = 600 * 1_000_000  # a load that wrote nothing for so long is dead


@dataclass(frozen=True, slots=True)
class Version:
    """A version that is stored, for lists."""

    v: int
    url: str
    version: str
    state: int
    touched_us: int
    digest: bytes
    header: Json
    size: int


def versions(store: Store) -> list[Version]:
    """Return all versions that are stored, whatever their state."""
    found = store.ask(
        lambda db: db.all(
            "SELECT v,url,version,state,touched,digest,header,facts FROM cs WHERE tenant=?"
            " ORDER BY url,version,v",
            (store.tenant,),
        )
    )
    return [
        Version(v, url, version, state, touched, digest, orjson.loads(header), _size(facts))
        for v, url, version, state, touched, digest, header, facts in found
    ]


def _size(facts: bytes) -> int:
    return int(orjson.loads(facts)["size"]) if facts else 0


def load(
    store: Store,
    header: Json,
    draft: Draft,
    digest: bytes,
    advance: Callable[[int], None] = lambda count: None,
) -> int:
    """Write the concepts of a draft as the version that the header names; return how many.

    advance: told how many concepts more are written.
    Raises Invalid with what is wrong with the concepts; then nothing is changed.
    """
    arranged = draft.arranged()
    header = {k: v for k, v in header.items() if k not in ("concept", "text", "id", "meta")}
    sweep(store)
    v = _begin(store, header, digest)
    try:
        _fill(store, v, arranged, advance)
        replaced = _finish(store, v, header, arranged)
    except BaseException:
        _drop(store, v)
        raise
    if replaced:
        threading.Event().wait(_GRACE_S)
        for former in replaced:
            _drop(store, former)
    return arranged.facts.size


def remove(store: Store, url: str, version: str | None = None) -> int:
    """Forget the versions of a code system, or one of them; return how many there were."""
    gone = [
        one.v
        for one in versions(store)
        if one.url == url and version in (None, one.version) and one.state == READY
    ]
    if gone:
        write = [_state(v, REPLACED, store.clock.now_us()) for v in gone]
        store.write_aside([*write, _announcement()])
        threading.Event().wait(_GRACE_S)
        for v in gone:
            _drop(store, v)
    return len(gone)


def sweep(store: Store) -> None:
    """Remove what loads that were interrupted left behind."""
    dead = store.clock.now_us() - _ABANDONED_US
    for one in versions(store):
        if one.state != READY and one.touched_us < dead:
            _drop(store, one.v)


# --- the steps -----------------------------------------------------------------------------------


def _begin(store: Store, header: Json, digest: bytes) -> int:
    v: int
    token = secrets.token_bytes(32)  # finds the row again: its number is given where it is written
    store.write_aside(
        [
            Statement(
                "INSERT INTO cs (v,tenant,url,version,state,touched,digest,header,facts)"
                " SELECT coalesce(max(v),0)+1,CAST(? AS SMALLINT),?,?,CAST(? AS SMALLINT),"
                "CAST(? AS BIGINT),?,?,? FROM cs",
                [
                    (
                        store.tenant,
                        header["url"],
                        header.get("version", ""),
                        LOADING,
                        store.clock.now_us(),
                        token,
                        orjson.dumps(header),
                        b"",
                    )
                ],
            )
        ]
    )
    ((v,),) = store.ask(lambda db: db.all("SELECT v FROM cs WHERE digest=?", (token,)))
    store.write_aside([Statement("UPDATE cs SET digest=? WHERE v=?", [(digest, v)])])
    return v


def _fill(store: Store, v: int, arranged: Rows, advance: Callable[[int], None]) -> None:
    for concepts, sets in arranged.blocks(v):
        for some in _chunks(concepts):
            insert = _insert(store.dialect, "cs_concept", some)
            store.write_aside([_state(v, LOADING, store.clock.now_us()), insert])
            advance(len(some))
        for part in _chunks(sets):
            store.write_aside([_insert(store.dialect, "cs_set", part)])


def _finish(store: Store, v: int, header: Json, arranged: Rows) -> list[int]:
    """Make a version ready and retire the one it replaces, of which the numbers are returned."""
    former = [
        one.v
        for one in versions(store)
        if one.v != v
        and one.url == header["url"]
        and one.version == header.get("version", "")
        and one.state == READY
    ]
    facts = Statement("UPDATE cs SET facts=? WHERE v=?", [(encode_facts(arranged.facts), v)])
    now_us = store.clock.now_us()
    retired = [_state(one, REPLACED, now_us) for one in former]
    store.write_aside([facts, *retired, _state(v, READY, now_us), _announcement()])
    if not store.ask(lambda db: db.one("SELECT 1 FROM cs WHERE v=? AND state=?", (v, READY))):
        raise Conflict("the version was removed while it was being loaded")
    return former


def _state(v: int, state: int, now_us: int) -> Statement:
    return Statement("UPDATE cs SET state=?,touched=? WHERE v=?", [(state, now_us, v)])


def _announcement() -> Statement:
    """Return what makes every process look again."""
    return Statement(
        "INSERT INTO fact (name,value) VALUES (?,'1') ON CONFLICT (name)"
        " DO UPDATE SET value=CAST(CAST(fact.value AS BIGINT)+1 AS TEXT)",
        [(GENERATION,)],
    )


def _drop(store: Store, v: int) -> None:
    """Remove a version, its rows first, some at a time."""
    store.write_aside([_state(v, REPLACED, store.clock.now_us())])
    for low, high in _parts(store, v):
        store.write_aside(
            [Statement("DELETE FROM cs_concept WHERE id BETWEEN ? AND ?", [(low, high)])]
        )
    while keys := store.ask(
        lambda db: db.all(
            "SELECT p,value,block FROM cs_set WHERE p BETWEEN ? AND ? ORDER BY p,value,block"
            f" LIMIT {_ROWS}",
            (set_key(v, 0), set_key(v, (1 << 16) - 1)),
        )
    ):
        store.write_aside([Statement("DELETE FROM cs_set WHERE p=? AND value=? AND block=?", keys)])
    store.write_aside([Statement("DELETE FROM cs WHERE v=?", [(v,)])])


def _parts(store: Store, v: int) -> Iterator[tuple[int, int]]:
    row = store.ask(
        lambda db: db.one(
            "SELECT max(id) FROM cs_concept WHERE id BETWEEN ? AND ?",
            (concept_id(v, 0), concept_id(v + 1, 0) - 1),
        )
    )
    last = row[0] if row and row[0] is not None else -1
    for low in range(concept_id(v, 0), last + 1, _ROWS):
        yield low, low + _ROWS - 1


_COLUMNS = {
    "cs_concept": ("id,v,key,code,last,spans,body", "int8,int8,text,text,int4,bytea,bytea"),
    "cs_set": ("p,value,block,bits", "int8,text,int4,bytea"),
}


def _insert(dialect: str, table: str, some: Sequence[tuple[Any, ...]]) -> Statement:
    columns, kinds = _COLUMNS[table]
    if dialect == POSTGRESQL:  # a column at a time: one statement for all rows
        arrays = ",".join(f"?::{kind}[]" for kind in kinds.split(","))
        sql = f"INSERT INTO {table} ({columns}) SELECT * FROM unnest({arrays})"
        return Statement(sql, [[list(column) for column in zip(*some, strict=True)]])
    marks = ",".join("?" * len(kinds.split(",")))
    return Statement(f"INSERT INTO {table} ({columns}) VALUES ({marks})", some)


def _chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), _ROWS):
        yield rows[start : start + _ROWS]
