"""Posted SearchParameters indexed in the background, beside live writes.

The job runs where writing is owned: in the writer process of a SQLite file, on PostgreSQL in
whichever process holds an advisory lock. It walks the resources of the base types by id. A chunk
is read and its values are extracted outside any transaction; inside one, short, what was written
meanwhile is extracted again, the rows are added and the place is noted, so that a restart goes on
where the last transaction ended.

Why the index is exact then. From the transaction that posted the parameter on, every writer adds
and removes its rows. On SQLite that is certain: the one writer looks before each transaction. On
PostgreSQL a process may look a quarter of a second late, so the walk begins only when every
transaction that could have begun in ignorance has ended.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.errors import YilianError
from app.fhir import definitions, searchparams
from app.fhir import json as fhir_json
from app.fhir.extract import Extractor, compiled_for
from app.store.database import POSTGRESQL, Address, Connection, connect, driver_errors
from app.store.entries import Entries
from app.store.posted import BUILDING, READY, Posted, Posting
from app.store.prepare import Preparer
from app.store.seal import Sealer
from app.store.writer import Session, Writer

log = logging.getLogger(__name__)

CHUNK = 50  # resources a transaction: a live write waits for one at most
_REST = 0.5  # of the time a chunk took, before the next one
_LOCK = 0x59494C52  # advisory lock number: one process indexes
_GRACE_S = 0.5  # PostgreSQL: twice what a process may not know of a posted parameter
_EVERY_S = 1.0  # PostgreSQL: how often a process looks for work
_AGAIN_S = 5.0  # after a failure
_SAY_S = 5.0  # between two lines of the log


@dataclass(frozen=True, slots=True)
class _Resource:
    """One resource as it was read, with the values of the new parameters."""

    pk: int
    id: str
    vid: int
    s: int
    entries: Entries


class Walk:
    """The indexing of one posted SearchParameter, chunk by chunk."""

    def __init__(
        self,
        id_: str,
        posting: Posting,
        *,
        posted: Posted,
        preparer: Preparer,
        writer: Writer,
        db: Connection,
        chunk: int = CHUNK,
    ) -> None:
        self._id, self.posting = id_, posting
        self._posted, self._preparer, self._writer = posted, preparer, writer
        self._db, self._chunk = db, chunk
        self._types = searchparams.bases(posting.definition)
        self._extractors: dict[str, Extractor] = {
            param.resource_type: compiled_for(param.resource_type, [param])
            for param in posted.params(posting)
        }

    def begin(self) -> None:
        """Count what there is to do."""
        if not self.posting.total:
            test = self._db.in_list("type")
            numbers = [definitions.type_number(name) for name in self._types]
            row = self._db.one(
                f"SELECT count(*) FROM res WHERE tenant=? AND {test} AND method IN (0,1)",
                (self._preparer.tenant, self._db.array(numbers)),
            )
            self.posting.total = row[0] if row else 0

    def step(self) -> bool:
        """Index one chunk; return whether there is more to do."""
        type_name, after = self.posting.place or (self._types[0], "")
        found = self._read(type_name, after)
        place = self._next(type_name, found)
        going_on = self._writer.run(lambda session: self._write(session, type_name, found, place))
        return going_on and place is not None

    def _next(self, type_name: str, found: Sequence[_Resource]) -> tuple[str, str] | None:
        """Return where the next chunk begins; None when this was the last."""
        if len(found) == self._chunk:
            return type_name, found[-1].id
        left = self._types[self._types.index(type_name) + 1 :]
        return (left[0], "") if left else None

    def _read(self, type_name: str, after: str) -> list[_Resource]:
        rows = self._db.all(
            "SELECT pk,id,vid,s,d,body FROM res WHERE tenant=? AND type=? AND id>?"
            " AND method IN (0,1) ORDER BY id LIMIT ?",
            (self._preparer.tenant, definitions.type_number(type_name), after, self._chunk),
        )
        return [
            _Resource(pk, id_, vid, s, self._entries(type_name, d, body))
            for pk, id_, vid, s, d, body in rows
        ]

    def _entries(self, type_name: str, d: int, body: bytes) -> Entries:
        extract = self._extractors.get(type_name)
        if extract is None:  # unusable by now: what it was made of is gone
            return Entries(d, 0)
        entries = self._preparer.entries(type_name, fhir_json.load(body), extract)
        entries.d = d  # its place in the order is that of all its values
        return entries

    def _write(
        self,
        session: Session,
        type_name: str,
        found: Sequence[_Resource],
        place: tuple[str, str] | None,
    ) -> bool:
        """Add the rows of a chunk and note the place; False when the parameter is gone."""
        posting = self._posted.one(session.db, self._id)
        if posting is None or posting.first != self.posting.first or posting.state == READY:
            return False
        for pk, s, entries in self._as_it_is_now(session.db, type_name, found):
            session.index_also(type_name, pk, s, entries)
        posting.place = place
        posting.done = self.posting.done + len(found)
        posting.total = max(self.posting.total, posting.done)
        if place is None:
            posting.state, posting.total = READY, posting.done
            self._posted.announce(session.db)
        self._posted.put(session.db, self._id, posting)
        self.posting = posting
        return True

    def _as_it_is_now(
        self, db: Connection, type_name: str, found: Sequence[_Resource]
    ) -> list[tuple[int, int, Entries]]:
        """Return (pk, s, entries); locked, and extracted again where there is a newer version."""
        if not found:
            return []
        lock = " ORDER BY pk FOR UPDATE" if db.dialect == POSTGRESQL else ""
        pks = db.array([each.pk for each in found])
        versions = dict(db.all(f"SELECT pk,vid FROM res WHERE {db.in_list('pk')}{lock}", (pks,)))
        result = []
        for each in found:
            if versions.get(each.pk) == each.vid:
                result.append((each.pk, each.s, each.entries))
                continue
            row = db.one("SELECT s,d,body FROM res WHERE pk=? AND method IN (0,1)", (each.pk,))
            if row is not None:
                s, d, body = row
                result.append((each.pk, s, self._entries(type_name, d, body)))
        return result


class Upkeep:
    """The thread that does what nobody waits for: indexing, and on PostgreSQL the seals."""

    def __init__(
        self,
        address: Address,
        *,
        posted: Posted,
        preparer: Preparer,
        writer: Writer,
        chunk: int = CHUNK,
    ) -> None:
        self._address, self._posted = address, posted
        self._preparer, self._writer, self._chunk = preparer, writer, chunk
        self._sealer = Sealer()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the chunk under way."""
        self._stopping.set()
        self._posted.building.set()
        self._thread.join()

    def _run(self) -> None:
        pause = _EVERY_S if self._address.dialect == POSTGRESQL else None
        failures: tuple[type[Exception], ...] = (YilianError, *driver_errors(self._address.dialect))
        while not self._stopping.is_set():
            try:
                with contextlib.closing(connect(self._address, limited=False)) as db:
                    self._posted.notice(db)
                    while not self._stopping.is_set():
                        self._look(db)
                        self._posted.building.wait(pause)
                        self._posted.building.clear()
            except failures:
                log.exception("store.upkeep_failed")
                self._stopping.wait(_AGAIN_S)

    def _look(self, db: Connection) -> None:
        if db.dialect == POSTGRESQL:
            self._posted.notice(db)
            self._sealer.tick(db)
        if not self._waiting(db):
            return
        with _alone(db) as mine:
            while mine and not self._stopping.is_set() and (waiting := self._waiting(db)):
                self._index(db, *waiting[0])

    def _waiting(self, db: Connection) -> list[tuple[str, Posting]]:
        return [item for item in self._posted.all(db).items() if item[1].state == BUILDING]

    def _index(self, db: Connection, id_: str, posting: Posting) -> None:
        begun = said = time.monotonic()
        if posting.place is None:
            self._let_others_learn(db)
        self._posted.learn(db)  # so that the parameter is known here too
        walk = Walk(
            id_,
            posting,
            posted=self._posted,
            preparer=self._preparer,
            writer=self._writer,
            db=db,
            chunk=self._chunk,
        )
        walk.begin()
        started = begun
        while walk.step():
            now = time.monotonic()
            if now - said > _SAY_S:
                said = now
                _say(walk, now - begun)
            if self._stopping.wait((now - started) * _REST):
                return
            started = time.monotonic()
        _say(walk, time.monotonic() - begun)

    def _let_others_learn(self, db: Connection) -> None:
        """Wait until no transaction is left that began without knowing the parameter."""
        if db.dialect != POSTGRESQL:
            return
        self._stopping.wait(_GRACE_S)
        row = db.one("SELECT pg_current_xact_id()::text::bigint")
        while row and not self._stopping.is_set():
            oldest = db.one("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
            if oldest and oldest[0] > row[0]:
                return
            self._stopping.wait(0.05)


def _say(walk: Walk, took_s: float) -> None:
    log.info(
        "store.reindex",
        extra={
            "version": walk.posting.first,
            "state": walk.posting.state,
            "done": walk.posting.done,
            "total": walk.posting.total,
            "took_ms": round(took_s * 1000),
        },
    )


@contextlib.contextmanager
def _alone(db: Connection) -> Iterator[bool]:
    """Give True to one process of a PostgreSQL database at a time; a file has one owner anyway."""
    if db.dialect != POSTGRESQL:
        yield True
        return
    row = db.one("SELECT pg_try_advisory_lock(?)", (_LOCK,))
    try:
        yield bool(row and row[0])
    finally:
        if row and row[0]:
            db.one("SELECT pg_advisory_unlock(?)", (_LOCK,))
