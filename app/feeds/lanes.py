"""Feed work on PostgreSQL: one lane of transactions, in the order they are given.

On SQLite there is one writer for all; PostgreSQL has many writers, and this is the feeds' own. It
tells work that cannot be done from a server that does nothing now: after that, nothing is tried
again one by one.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from app.errors import Unavailable, YilianError
from app.store.writer import Session, Work, Writer

log = logging.getLogger(__name__)

_Job = tuple[Work[Any], Callable[[Any], None]]


class Lane:
    """Does work in the order it is given, each in its own transaction."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="lane", daemon=True)
        self._thread.start()

    def submit_work(
        self,
        work: Work[Any],
        done: Callable[[Any], None],
        *,
        size: int = 16,
        committed: Callable[[], bool] | None = None,
    ) -> None:
        """Queue work; `done` gets what it returned once that is committed, or its YilianError.

        committed: not called, what is committed is on disk.
        """
        self._queue.put((work, done))

    def close(self) -> None:
        """Finish what was submitted and stop."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            work, done = job
            done(self._result(work))

    def _result(self, work: Work[Any]) -> Any:
        try:
            return self._writer.run(work)
        except Unavailable as exc:
            return YilianError(_NOT_STORED) if self._answers() else exc
        except YilianError as exc:
            return exc
        except Exception:
            log.exception("feeds.work_failed")
            return YilianError(_NOT_STORED)

    def _answers(self) -> bool:
        """Say whether the server does anything now: then the work is at fault."""
        try:
            self._writer.run(_nothing)
        except YilianError:
            return False
        return True


_NOT_STORED = "the change could not be stored"


def _nothing(session: Session) -> None:
    session.db.one("SELECT 1")
