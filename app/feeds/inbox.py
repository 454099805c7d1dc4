"""The durable inbox of all feeds: what was received, what was answered, what became of it.

One row a message, in the same database as the resources, so that "applied" and the data commit
together. The functions work inside a transaction that their caller owns, on any `Connection`.
A message that was answered positively is in here; what failed stays here with its reason until it
is replayed or discarded.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import msgspec
import zstandard
from msgspec.structs import replace

from app.errors import Issue, NotFound
from app.store.database import POSTGRESQL, Connection

_COLUMNS = (
    "id,feed,source,peer,kind,control_id,received,state,dkey,digest,repeats,raw,answers,issues,"
    "touched"
)
_FORGOTTEN = "inbox.forgotten"  # the last entry whose bytes are no longer kept
_WITHOUT_RAW = _COLUMNS.replace(",raw,", ",'',")
_LEVEL = 1  # of compression: 10 us a kilobyte; a higher one saves a tenth and costs twice

_thread = threading.local()  # a compressor each: making one takes as long as a message
_answers = msgspec.msgpack.Decoder(tuple[tuple[bytes, ...], tuple[bytes, ...]])
_issues = msgspec.json.Decoder(tuple[Issue, ...])
_touched = msgspec.json.Decoder(tuple[str, ...])


class State(IntEnum):
    """What became of a message; the numbers are on disk."""

    RECEIVED = 0  # safe, not applied yet
    APPLIED = 1
    DUPLICATE = 2  # was here before; answered as then
    FAILED = 3  # the dead letters: kept with their issues
    DISCARDED = 4  # a failed one that somebody has put aside
    REPLAY = 5  # somebody asked for another try


_NOT_THE_FIRST = (State.DUPLICATE, State.DISCARDED)  # of messages that are the same
# States in which the bytes of an old entry are needed no more.
_SETTLED = f"{State.APPLIED:d},{State.DUPLICATE:d},{State.DISCARDED:d}"
_PASSED = (
    "id<=coalesce((SELECT CAST(value AS BIGINT) FROM fact"  # noqa: S608 - constants
    f" WHERE name='{_FORGOTTEN}'),0)"
)


class Entry(msgspec.Struct, frozen=True):
    """One message in the inbox.

    source: the sender as its feed names it; key: what makes two messages the same message.
    packed: `raw` as it is stored, if that is known. answers: what was sent back at once and what
    was sent after applying.
    touched: the versions it wrote, as Type/id/_history/version.
    """

    feed: str
    source: str
    peer: str
    kind: str
    control_id: str
    received_us: int
    key: bytes
    digest: bytes
    raw: bytes
    state: State = State.RECEIVED
    id: int = 0
    repeats: int = 0
    answers: tuple[tuple[bytes, ...], tuple[bytes, ...]] = ((), ())
    issues: tuple[Issue, ...] = ()
    touched: tuple[str, ...] = ()
    packed: bytes = b""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries to list; None: any."""

    feed: str | None = None
    source: str | None = None
    states: Sequence[State] = ()
    control_id: str | None = None
    since_us: int | None = None
    until_us: int | None = None


def next_ids(db: Connection, count: int) -> Iterator[int]:
    """Return the ids for `count` more entries, to be added in this transaction."""
    if db.dialect == POSTGRESQL:
        rows = db.all("SELECT nextval('inbox_id') FROM generate_series(1, ?::int)", (count,))
        return iter([int(row[0]) for row in rows])
    row = db.one("SELECT coalesce(max(id), 0) + 1 FROM inbox")
    first = int(row[0]) if row else 1
    return iter(range(first, first + count))


def add(db: Connection, tenant: int, entry: Entry) -> None:
    """Write a new entry, whose id `next_ids` gave."""
    add_all(db, tenant, (entry,))


def add_all(db: Connection, tenant: int, entries: Iterable[Entry]) -> None:
    """Write new entries at once."""
    db.many(
        f"INSERT INTO inbox (tenant,{_COLUMNS}) VALUES (?{',?' * 15})",  # noqa: S608 - constants
        [(tenant, *_row(entry)) for entry in entries],
    )


def change(db: Connection, entry: Entry) -> None:
    """Write what became of an entry: state, answers, issues, touched.

    Of one that is older than bytes are kept, the bytes go as soon as nobody needs them.
    """
    db.run(
        f"UPDATE inbox SET raw=CASE WHEN {_PASSED} AND CAST(? AS INTEGER) IN ({_SETTLED})"  # noqa: S608
        " THEN ? ELSE raw END, state=?, answers=?, issues=?, touched=? WHERE id=?",
        (
            int(entry.state),
            b"",
            int(entry.state),
            msgspec.msgpack.encode(entry.answers),
            msgspec.json.encode(entry.issues),
            msgspec.json.encode(entry.touched),
            entry.id,
        ),
    )


def repeated(db: Connection, tenant: int, key: bytes, since_us: int) -> Entry | None:
    """Return the first entry of the same message since `since_us`, without its bytes.

    A failed entry counts, with its answer, unless it was put aside.
    """
    row = db.one(
        f"SELECT {_WITHOUT_RAW} FROM inbox WHERE dkey=? AND tenant=? ORDER BY id DESC LIMIT 1",  # noqa: S608
        (key, tenant),
    )
    if row is None:
        return None
    # It may have come any number of times: the newest says which one they all repeat.
    if (last := _entry(row, with_raw=False)).state is State.DUPLICATE:
        row = db.one(
            f"SELECT {_WITHOUT_RAW} FROM inbox WHERE id=? AND tenant=?",  # noqa: S608
            (last.repeats, tenant),
        )
    found = _entry(row, with_raw=False) if row else last
    if found.state not in _NOT_THE_FIRST:
        return found if found.received_us >= since_us else None
    row = db.one(
        f"SELECT {_WITHOUT_RAW} FROM inbox WHERE dkey=? AND tenant=? AND received>=?"  # noqa: S608
        f" AND state NOT IN ({State.DUPLICATE:d},{State.DISCARDED:d}) ORDER BY id DESC LIMIT 1",
        (key, tenant, since_us),
    )
    return _entry(row, with_raw=False) if row else None


def keys_there(db: Connection, tenant: int, keys: Sequence[bytes]) -> set[bytes]:
    """Return those of the keys that some entry has. One look at each: some have very many."""
    if not keys:
        return set()
    # As many marks as the next power of two: few texts to prepare, whatever comes together.
    marks = 1 << (len(keys) - 1).bit_length()
    params = (*keys, *[keys[-1]] * (marks - len(keys)), tenant)
    mark = "(?::bytea)" if db.dialect == POSTGRESQL else "(?)"
    rows = db.all(
        f"WITH asked(k) AS (VALUES {mark}{f',{mark}' * (marks - 1)}) SELECT k FROM asked"  # noqa: S608
        " WHERE (SELECT 1 FROM inbox WHERE dkey=k AND tenant=? LIMIT 1) IS NOT NULL",
        params,
    )
    return {bytes(row[0]) for row in rows}


def get(db: Connection, tenant: int, id_: int) -> Entry:
    """Return an entry with the bytes received. Raises NotFound."""
    row = db.one(
        f"SELECT {_COLUMNS} FROM inbox WHERE id=? AND tenant=?",  # noqa: S608 - constants
        (id_, tenant),
    )
    if row is None:
        raise NotFound("there is no such inbox entry")
    return _entry(row)


def waiting(db: Connection, tenant: int, count: int) -> list[Entry]:
    """Return the oldest entries that are to be applied: received, or asked for again."""
    rows = [
        row
        for state in (State.RECEIVED, State.REPLAY)
        for row in db.all(
            f"SELECT {_COLUMNS} FROM inbox WHERE state=? AND tenant=? ORDER BY id LIMIT ?",  # noqa: S608
            (int(state), tenant, count),
        )
    ]
    return sorted((_entry(row) for row in rows), key=lambda entry: entry.id)[:count]


def page(
    db: Connection, tenant: int, wanted: Wanted, *, count: int, before: int | None = None
) -> list[Entry]:
    """Return entries, newest first, without their bytes; `before` an id continues a listing."""
    tests: list[tuple[str, Any]] = [
        ("tenant=?", tenant),
        ("feed=?", wanted.feed),
        ("source=?", wanted.source),
        ("control_id=?", wanted.control_id),
        ("received>=?", wanted.since_us),
        ("received<?", wanted.until_us),
        ("id<?", before),
    ]
    used = [(sql, value) for sql, value in tests if value is not None]
    where = [sql for sql, _ in used]
    if wanted.states:
        where.append(f"state IN ({','.join(str(int(state)) for state in wanted.states)})")
    rows = db.all(
        f"SELECT {_WITHOUT_RAW} FROM inbox WHERE {' AND '.join(where)}"  # noqa: S608 - constants
        " ORDER BY id DESC LIMIT ?",
        (*(value for _, value in used), count),
    )
    return [_entry(row, with_raw=False) for row in rows]


def count_by_state(db: Connection, tenant: int) -> dict[State, int]:
    """Return how many entries are in each state."""
    rows = db.all("SELECT state, count(*) FROM inbox WHERE tenant=? GROUP BY state", (tenant,))
    return {State(row[0]): row[1] for row in rows}


def move(
    db: Connection, tenant: int, ids: Iterable[int], to: State, *, reason: str | None = None
) -> int:
    """Put entries into a state by hand (replay, discard) and return how many were moved.

    What is not applied yet or was applied may be replayed while its bytes are kept; only what
    failed may be discarded, with a reason that is kept as an issue.
    """
    moved = 0
    allowed = (State.FAILED,) if to is State.DISCARDED else tuple(State)
    for id_ in ids:
        entry = get(db, tenant, id_)
        if entry.state not in allowed or entry.state is State.DUPLICATE:
            continue
        if to is State.REPLAY and not entry.raw:
            continue
        issues = entry.issues
        if reason:
            issues = (*issues, Issue("information", "informational", reason, None, "reason"))
        change(db, replace(entry, state=to, issues=issues))
        moved += 1
    return moved


def forget_raw(db: Connection, before_us: int, *, count: int) -> int:
    """Drop the bytes of up to `count` old entries of all tenants; return how many were looked at.

    The entries stay, and so do the bytes of what is not applied, until it is (`change`). How far
    this came is a fact of the database, so that nothing is looked at twice.
    """
    row = db.one("SELECT value FROM fact WHERE name=?", (_FORGOTTEN,))
    done = int(row[0]) if row else 0
    rows = db.all("SELECT id, received FROM inbox WHERE id>? ORDER BY id LIMIT ?", (done, count))
    old = [id_ for id_, received in rows if received < before_us]
    if not old:
        return 0
    db.run(
        f"UPDATE inbox SET raw=? WHERE id>? AND id<=? AND state IN ({_SETTLED})",  # noqa: S608
        (b"", done, old[-1]),
    )
    db.run("DELETE FROM fact WHERE name=?", (_FORGOTTEN,))
    db.run("INSERT INTO fact (name, value) VALUES (?, ?)", (_FORGOTTEN, str(old[-1])))
    return len(old)


def _row(entry: Entry) -> tuple[Any, ...]:
    return (
        entry.id,
        entry.feed,
        entry.source,
        entry.peer,
        entry.kind,
        entry.control_id,
        entry.received_us,
        int(entry.state),
        entry.key,
        entry.digest,
        entry.repeats,
        entry.packed or packed(entry.raw),
        msgspec.msgpack.encode(entry.answers),
        msgspec.json.encode(entry.issues),
        msgspec.json.encode(entry.touched),
    )


def packed(raw: bytes) -> bytes:
    """Return the bytes of a message as they are stored."""
    return _compressor().compress(raw) if raw else b""


def _compressor() -> zstandard.ZstdCompressor:
    found: zstandard.ZstdCompressor | None = getattr(_thread, "compressor", None)
    if found is None:
        found = _thread.compressor = zstandard.ZstdCompressor(level=_LEVEL)
    return found


def _entry(row: Sequence[Any], *, with_raw: bool = True) -> Entry:
    raw = zstandard.decompress(row[11]) if with_raw and row[11] else b""
    return Entry(
        id=row[0],
        feed=row[1],
        source=row[2],
        peer=row[3],
        kind=row[4],
        control_id=row[5],
        received_us=row[6],
        state=State(row[7]),
        key=bytes(row[8]),
        digest=bytes(row[9]),
        repeats=row[10],
        raw=raw,
        answers=_answers.decode(row[12]),
        issues=_issues.decode(row[13]),
        touched=_touched.decode(row[14]),
    )
