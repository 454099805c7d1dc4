"""Copies what was committed from the write-ahead log into the database file, beside the writer.

A commit only appends pages to SQLite's log; somebody has to copy them into the file (a checkpoint)
and wait until the disk has them, tens of milliseconds for thousands of pages. In the writer's
thread all clients would wait for it, so a thread of its own does most of the work while the writer
goes on. The log can only start again from its beginning when nothing is left to copy, so the writer
itself copies the rest at `database.CHECKPOINT_MOST` pages, little by then.
https://www.sqlite.org/wal.html#checkpointing
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from itertools import count

from app.errors import YilianError
from app.memory import enlarge_pages
from app.store.database import Connection

log = logging.getLogger(__name__)

# That wait to be copied when it begins. A page that changes again meanwhile is copied once: with
# half as many a feed writes a sixth more to the disk (measured at 10,000 resources).
_PAGES = 8000
_WARM = frozenset((1, 10, 100))  # times after which much is in memory that further commits need
_FIRST_COMMITS = 32  # until it is known how many pages a commit has


class Checkpointer:
    """The thread that copies. `committed` is called by the writer after each commit."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        """connect: opens a connection that may write; used in the thread only."""
        self._connect = connect
        self._commits = 0
        self._until = _FIRST_COMMITS
        self._due = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="checkpoint", daemon=True)
        self._thread.start()

    def committed(self) -> None:
        self._commits += 1
        if self._commits >= self._until:
            self._until = self._commits + _FIRST_COMMITS  # the thread knows better when it is done
            self._due.set()

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
                copied = _copy(db)
                if copied is None:
                    continue
                if copied < copied_before:  # the log has begun anew
                    copied_before = 0
                pages = max(1, copied - copied_before) / max(1, commits - commits_before)
                self._until = commits + max(1, round(_PAGES / pages))
                copied_before, commits_before = copied, commits
                if times in _WARM:
                    enlarge_pages()
        finally:
            db.close()


def _copy(db: Connection) -> int | None:
    """Copy without making anybody wait; return how many pages of the log are copied by now."""
    try:
        row = db.one("PRAGMA wal_checkpoint(PASSIVE)")
    except sqlite3.Error:
        log.exception("store.checkpoint_failed")  # the writer tries itself, and says what it is
        return None
    return None if row is None or row[0] or row[2] < 0 else int(row[2])
