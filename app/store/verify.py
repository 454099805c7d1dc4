"""Proof that a database is whole: the change log against the bodies, the index against both.

Everything that can be worked out again is: a version's digest from its body, the chain of seals
from the digests, the index rows of a resource from its body. By default a sample spread over the
whole database, on request everything. It may run beside a hub: it reads one state of the database.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from app.clock import WallClock
from app.fhir import definitions, searchparams
from app.fhir import json as fhir_json
from app.fhir.searchparams import FIRST_CUSTOM_NUMBER
from app.store.commit import WritePath
from app.store.database import SQLITE, Connection
from app.store.entries import CHUNK, PINYIN
from app.store.posted import READY, Posted
from app.store.prepare import Preparer
from app.store.rows import Rows
from app.store.seal import chained
from app.store.states import CREATED, DELETED, UPDATED, digest

SAMPLE = 1000  # resources and versions looked at unless all are
_ROWS = 500  # read at once
_LONG = 1 << 30  # a flag of `dt.p` (entries.LONG)
_NUMBER = (1 << 32) - 1 & ~(_LONG | PINYIN | CHUNK)

Place = tuple[int, int]  # a range of numbers, both ends included


def seals(db: Connection) -> Iterator[str]:
    """Follow the seals over the change log; name the first that does not hold."""
    after, sealed_so_far = 0, b""
    while found := db.all(
        "SELECT seq,digest FROM seal WHERE seq>? ORDER BY seq LIMIT ?", (after, _ROWS)
    ):
        for seq, sealed in found:
            rows = db.all(
                "SELECT digest FROM log WHERE seq>? AND seq<=? ORDER BY seq", (after, seq)
            )
            sealed_so_far = chained(sealed_so_far, (bytes(row[0]) for row in rows))
            if sealed_so_far != bytes(sealed):
                yield f"change log: the entries {after + 1} to {seq} are not those that were sealed"
                return
            after = seq


def versions(db: Connection, *, every: bool) -> Iterator[str]:
    """Compare each entry of the change log with the version it speaks of."""
    for first, last in _places(db, "SELECT min(seq),max(seq) FROM log", every=every):
        rows = db.all(
            "SELECT g.seq,g.tenant,g.type,r.id,g.vid,g.method,g.lu,g.digest,"
            "CASE WHEN r.vid=g.vid THEN r.body ELSE h.body END"
            " FROM log g LEFT JOIN res r ON r.pk=g.pk"
            " LEFT JOIN hist h ON h.pk=g.pk AND h.vid=g.vid"
            " WHERE g.seq>=? AND g.seq<=? ORDER BY g.seq LIMIT ?",
            (first, last, _ROWS if every else 1),
        )
        for seq, tenant, number, id_, vid, method, lu, said, body in rows:
            if body is None:
                yield f"change log: entry {seq} speaks of a version that is not there"
                continue
            name = definitions.type_name(number)
            whole = b"" if method == DELETED else bytes(body)
            if digest(tenant, name, id_, vid, method, lu, whole) != bytes(said):
                yield f"{name}: entry {seq} of the change log is about another version"


def index(db: Connection, preparer: Preparer, *, every: bool) -> Iterator[str]:
    """Compare the index rows of each resource with those its body gives, in one snapshot."""
    posted = Posted(preparer.tenant)
    posted.learn(db)
    try:
        for posting in posted.all(db).values():
            if posting.state != READY:  # its rows are still being made
                searchparams.shared.unregister(posting.url)
        checked = _Index(db, preparer)
        with _snapshot(db):
            yield from checked.resources(every=every)
            if every and posted.never_retired(db) and not _shared(db, preparer.tenant):
                yield from checked.nobodys()
    finally:
        posted.close()


class _Index:
    def __init__(self, db: Connection, preparer: Preparer) -> None:
        self._db = db
        self._path = WritePath(
            db, preparer=preparer, clock=WallClock(), numbers=_Unused(), match=_nobody
        )
        self._preparer = preparer
        self._known = {param.number for param in searchparams.shared.posted()}
        self._found = 0  # rows of `ix` that belong to a resource

    def resources(self, *, every: bool) -> Iterator[str]:
        for first, last in _places(self._db, "SELECT min(pk),max(pk) FROM res", every=every):
            found = self._db.all(
                "SELECT pk,type,id,method,d,s,have,told,body FROM res"
                " WHERE pk>=? AND pk<=? AND tenant=?"
                " ORDER BY pk LIMIT ?",
                (first, last, self._preparer.tenant, _ROWS if every else 1),
            )
            for pk, number, id_, method, d, s, have, told, body in found:
                name = definitions.type_name(number)
                if told is not None and told & 1 and not self._has_told(number, id_, told >> 1):
                    yield f"{name}, row {pk}: the times of its elements are missing"
                rows = Rows(pk)  # what is deleted, or only referred to, has none
                if method in (CREATED, UPDATED):
                    entries = self._preparer.entries(name, fhir_json.load(bytes(body)))
                    rows = self._path.rows_of(name, pk, entries)
                    if (entries.d, rows.s, entries.have) != (d, s, have):
                        yield f"{name}, row {pk}: its place, owner or presence is not its body's"
                missing, extra = self._difference(pk, rows)
                if missing or extra:
                    yield f"{name}, row {pk}: {missing} index rows are missing, {extra} too many"
            self._path.rolled_back()  # what it would have written, and what it remembers

    def _has_told(self, number: int, id_: str, at: int) -> bool:
        """Say whether `told` has the times of a resource's elements."""
        row = self._db.one(
            "SELECT 1 FROM told WHERE tenant=? AND type=? AND id=? AND at=?",
            (self._preparer.tenant, number, id_, at),
        )
        return row is not None

    def nobodys(self) -> Iterator[str]:
        """Count what is left in `ix` when the rows of all resources were there."""
        row = self._db.one("SELECT count(*) FROM ix")
        if row and row[0] > self._found:
            yield f"index: {row[0] - self._found} rows of ix belong to no resource"

    def _difference(self, pk: int, rows: Rows) -> tuple[int, int]:
        """Return how many rows are missing and too many; `ix` and `link` cannot be asked by pk."""
        db = self._db
        held: set[tuple[Any, ...]] = set()
        for d in {d for _, d, _, _ in rows.ix}:
            wanted = db.array([k for k, at, _, _ in rows.ix if at == d])
            for k, s in db.all(
                f"SELECT k,s FROM ix WHERE {db.in_list('k')} AND d=? AND pk=?", (wanted, d, pk)
            ):
                held.add((k, d, pk, s))
        self._found += len(held)
        missing, extra = len(rows.ix - held), 0
        if rows.links:
            ends = db.array(list({row[0] for row in rows.links}))
            links = db.all(
                f"SELECT f,kind,t,lo,hi,src,s FROM link WHERE {db.in_list('f')} AND src=?",
                (ends, pk),
            )
            missing += len(rows.links - set(links))
        for table, columns, expected in (
            ("str", "pk,p,v,s", rows.strs),
            ("qty", "pk,p,u,lo,hi,s", rows.qtys),
            ("dt", "pk,p,lo,hi,s", rows.dts),
            ("ident", "pk,0,k,s", {(pk, 0, k, s) for k, _, s in rows.idents}),
        ):
            have = db.all(f"SELECT {columns} FROM {table} WHERE pk=?", (pk,))
            actual = {row for row in have if self._is_in_use(row[1] & _NUMBER)}
            missing += len(expected - actual)
            extra += len(actual - expected)
        return missing, extra

    def _is_in_use(self, p: int) -> bool:
        """Say whether a number is of R4 or of a posted parameter that is ready."""
        return p < FIRST_CUSTOM_NUMBER or p in self._known


class _Unused:
    """Numbers for what is referred to but not there: such a row is missing, whatever its key."""

    def next_pk(self) -> int:
        return -1


def _shared(db: Connection, tenant: int) -> bool:
    """Say whether other tenants have resources here too."""
    return db.one("SELECT 1 FROM res WHERE tenant<>? LIMIT 1", (tenant,)) is not None


def _nobody(db: Connection, type_name: str, criteria: str) -> Sequence[str]:
    return ()


def _places(db: Connection, ends: str, *, every: bool) -> Iterator[Place]:
    """Yield the ranges to look at: all, or the beginnings of as many equal parts."""
    row = db.one(ends)
    if row is None or row[0] is None:
        return
    first, last = row
    size = _ROWS if every else max(1, (last - first + 1) // SAMPLE)
    for start in range(first, last + 1, size):
        begin = start if every else start + secrets.randbelow(size)
        yield begin, start + size - 1


@contextmanager
def _snapshot(db: Connection) -> Iterator[None]:
    """Read one state of the database in the block, without keeping anybody from writing."""
    db.run("BEGIN" if db.dialect == SQLITE else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        db.rollback()
