"""Copies what was committed from the write-ahead log into the database file, beside the writer.

A commit only appends pages to SQLite's log; somebody has to copy them into the file (a checkpoint)
and wait until the disk has them, tens of milliseconds for thousands of pages. In the writer's
thread all clients would wait for it, so a thread of its own does it while the writer goes on.

The log can only start again from its beginning when a transaction begins and nothing is left to
copy. While the writer goes on there is always something left. So when the log is long the thread
copies again, what came while it copied, until that is little; then it asks the writer to copy the
rest between two transactions. Left to the writer alone, at some length of the log, it was up to
half of what had come (measured: a feed stood still for a tenth of the time).
https://www.sqlite.org/wal.html#checkpointing
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from app.errors import YilianError
from app.memory import enlarge_pages
from app.store.database import Connection

log = logging.getLogger(__name__)

# That wait to be copied when it begins. A page that changes again meanwhile is copied once: with
# half as many a feed writes a sixth more to the disk (measured at 10,000 resources).
_PAGES = 8_000
_LONG = 32_000  # pages in a log that is to begin anew: 130 MB
_LITTLE = 1_000  # pages that the writer copies itself
_AGAIN = 3  # times that the thread copies what came meanwhile, until it is little
_WARM = frozenset((1, 10, 100))  # times after which much is in memory that further commits need
_FIRST_COMMITS = 32  # until it is known how many pages a commit has


@dataclass(frozen=True, slots=True)
class _Log:
    """How many pages the log has, and how many of them are in the file, too."""

    pages: int
    copied: int


class Checkpointer:
    """The thread that copies. The writer calls `committed` after each commit, and `finish` when
    nobody waits for it.
    """

    def __init__(
        self, connect: Callable[[], Connection], *, pages: int = _PAGES, long: int = _LONG
    ) -> None:
        """connect: opens a connection that may write; used in the thread only. pages: that are
        copied at once; long: pages in a log that is to begin anew.
        """
        self._connect = connect
        self._pages = pages
        self._long = long
        self._commits = 0
        self._until = _FIRST_COMMITS
        self._due = threading.Event()
        self._closing = False
        self._asks = False  # the writer to copy the rest
        self._thread = threading.Thread(target=self._run, name="checkpoint", daemon=True)
        self._thread.start()

    def committed(self) -> None:
        self._commits += 1
        if self._commits >= self._until:
            self._until = self._commits + _FIRST_COMMITS  # the thread knows better when it is done
            self._due.set()

    def finish(self, db: Connection) -> None:
        """Copy what is left, if it is time; by the writer, with its connection, between two
        transactions.
        """
        if self._asks:
            self._asks = False
            _copy(db)

    def close(self) -> None:
        """Stop; what is not copied stays in the log, where it is as safe."""
        self._closing = True
        self._due.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            db = self._connect()
        except YilianError:
            log.exception("store.checkpoint_failed")
            return
        try:
            copied_before, commits_before = 0, 0
            for times in count():
                self._due.wait()
                self._due.clear()
                if self._closing:
                    return
                commits = self._commits
                seen = _copy(db)
                if seen is None:
                    continue
                if seen.copied < copied_before:  # the log has begun anew
                    copied_before = 0
                pages = max(1, seen.copied - copied_before) / max(1, commits - commits_before)
                self._until = commits + max(1, round(self._pages / pages))
                copied_before, commits_before = seen.copied, commits
                if seen.pages >= self._long and not self._asks:
                    self._asks = _only_little_is_left(db, seen)
                if times in _WARM:
                    enlarge_pages()
        finally:
            db.close()


def _only_little_is_left(db: Connection, seen: _Log) -> bool:
    """Copy what came while the log was copied; say whether it was little at last."""
    for _ in range(_AGAIN):
        before, now = seen, _copy(db)
        if now is None or now.copied < now.pages:  # somebody still reads what was before
            return False
        if now.copied - before.copied <= _LITTLE:
            return True
        seen = now
    return False


def _copy(db: Connection) -> _Log | None:
    """Copy without making anybody wait; return how far it came, None if somebody else copies."""
    try:
        row = db.one("PRAGMA wal_checkpoint(PASSIVE)")
    except sqlite3.Error:
        log.exception("store.checkpoint_failed")  # the writer tries itself, and says what it is
        return None
    return None if row is None or row[0] or row[2] < 0 else _Log(int(row[1]), int(row[2]))
