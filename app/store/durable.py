"""Sees to it that what the writer has committed is on disk before anybody is told.

A commit appends pages to SQLite's log; then the writer waits for the disk. Where that takes
milliseconds, in which nothing else would be written, a thread waits in its place: the writer goes
on with the next transaction, and who is told of the first one is told when the log is on disk. One
wait serves all transactions that were committed before it began. On a fast disk that would only
make groups smaller and cost another thread: there the writer waits. After a power cut the log ends
with some transaction, and all before it are there: each page of the log is checked together with
all before it. https://www.sqlite.org/walformat.html

After a wait that failed nobody knows what is on disk, not even after one that succeeds: the system
forgets pages it could not write. From then on nothing counts as written until this process is
started again.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.errors import Unavailable

log = logging.getLogger(__name__)

_SLOW_S = 0.002  # a wait in which a thread of its own pays: half a message is written meanwhile
_LATELY = 8  # waits that say how long one takes

_Told = tuple[Callable[[Any], None], Any]


class Durable:
    """The log of a file, and the thread that waits for the disk.

    What it tells, it tells in the order it was given.
    """

    def __init__(
        self, path: Path, *, sync: Callable[[int], None] = os.fdatasync, slow_s: float = _SLOW_S
    ) -> None:
        """path: of the database. sync: waits until a file is on disk; slow_s: see `is_slow`."""
        self._log = Path(f"{path}-wal")
        self._sync = sync
        self._file: int | None = None
        self._lock = threading.Lock()
        self._has_failed = False
        self._slow_s = slow_s
        self._usual_s = 0.0  # that a wait takes, lately
        self._waiting: queue.SimpleQueue[_Told | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="durable", daemon=True)
        self._thread.start()

    @property
    def is_slow(self) -> bool:
        """Whether waits have lately taken `slow_s`, so that other work is better done meanwhile."""
        return self._usual_s >= self._slow_s

    def wait(self) -> None:
        """Wait until all that is committed is on disk. Raises OSError when it cannot be."""
        with self._lock:  # a failure is reported once: to one of those who wait
            if self._has_failed:
                raise OSError(errno.EIO, "the disk was not written before")
            try:
                if self._file is None:  # there from the first commit on, as long as somebody writes
                    self._file = os.open(self._log, os.O_RDWR)
                began = time.perf_counter()
                self._sync(self._file)
                self._usual_s += (time.perf_counter() - began - self._usual_s) / _LATELY
            except OSError:
                self._has_failed = True
                log.exception("store.not_on_disk")
                raise

    def tell(self, told: Callable[[Any], None], result: Any) -> None:
        """Hand over a result once all that is committed by now is on disk, else Unavailable."""
        self._waiting.put((told, result))

    def close(self) -> None:
        """Tell what is left and stop."""
        self._waiting.put(None)
        self._thread.join()
        if self._file is not None:
            os.close(self._file)

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            waiting: list[_Told | None] = [first]
            while not self._waiting.empty():
                waiting.append(self._waiting.get())
            error: Unavailable | None = None
            try:
                self.wait()
            except OSError:
                error = Unavailable("the database cannot be written now")
            for one in waiting:
                if one is None:
                    return
                told, result = one
                try:
                    told(result if error is None else error)
                except Exception:  # the others are told all the same
                    log.exception("store.answer_failed")
