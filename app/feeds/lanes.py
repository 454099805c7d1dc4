"""Feed work on PostgreSQL: one lane of transactions, each for whatever waits.

On SQLite the one writer groups what waits; PostgreSQL has many writers, and this is the feeds'
own. One lane keeps the order of all messages; a group shares one commit, and work that fails is
undone to its savepoint and fails alone.
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

_GROUP_MAX = 32  # messages in one transaction

_Job = tuple[Work[Any], Callable[[Any], None]]


class Lane:
    """Does work in the order it is given, in groups."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="lane", daemon=True)
        self._thread.start()

    def submit_work(self, work: Work[Any], done: Callable[[Any], None], *, size: int = 16) -> None:
        """Queue work; `done` gets what it returned once that is committed, or its YilianError."""
        self._queue.put((work, done))

    def close(self) -> None:
        """Finish what was submitted and stop."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            group = [job]
            while len(group) < _GROUP_MAX and not self._queue.empty():
                more = self._queue.get()
                if more is None:
                    self._queue.put(None)
                    break
                group.append(more)
            self._do(group)

    def _do(self, group: list[_Job]) -> None:
        try:
            results = self._writer.run(lambda session: _all(session, group))
        except Exception as exc:
            if len(group) > 1:  # find the one at fault: each on its own
                for job in group:
                    self._do([job])
                return
            log.exception("feeds.work_failed")
            error = exc if isinstance(exc, YilianError) else Unavailable("it cannot be stored now")
            results = [error]
        for (_, done), result in zip(group, results, strict=True):
            done(result)


def _all(session: Session, group: list[_Job]) -> list[Any]:
    results: list[Any] = []
    for work, _ in group:
        try:
            with session.savepoint():
                results.append(work(session))
        except YilianError as exc:
            results.append(exc)
    return results
