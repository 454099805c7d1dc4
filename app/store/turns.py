"""Work on an event loop: it parks while others write for it, and gives way when it takes long.

One thread of an HTTP worker computes all that is cheap (two threads would only hand Python's lock
to and fro; measured: docs/performance.md). The code is written as if it had a thread of its own:
in a greenlet it is parked while an answer of the writer is on its way, and the loop goes on with
the next request. A read that takes longer than a turn is abandoned with `Overdue` and done again
on a thread of its own, so that nobody waits for it.
"""

from __future__ import annotations

import math
import time
from asyncio import Future
from collections.abc import Callable
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

T = TypeVar("T")

_TURN_S = 0.02


class Overdue(BaseException):
    """The turn is over: do the work again elsewhere. No error, so nothing may handle it as one."""


class Turn:
    """How long the present request may keep the loop; used by the loop's thread only."""

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends = math.inf

    def begin(self) -> None:
        """A request begins."""
        self._ends = time.monotonic() + _TURN_S

    def lift(self) -> None:
        """What goes on now was handed to the writer: it cannot be done again."""
        self._ends = math.inf

    def is_over(self) -> bool:
        return time.monotonic() > self._ends


class _Parkable(greenlet):
    pass


async def finished(work: Callable[[], T]) -> T:
    """Do `work` as a greenlet of the running loop, and return what it returned, or raise so."""
    task = _Parkable(work)
    result: Any = task.switch()
    while not task.dead:
        try:
            value = await result
        except BaseException as exc:  # noqa: BLE001 - it belongs to who waits for it
            result = task.throw(exc)
        else:
            result = task.switch(value)
    done: T = result
    return done


def may_park() -> bool:
    """Say whether this code was begun by `finished`."""
    return type(getcurrent()) is _Parkable


def parked(awaited: Future[T]) -> T:
    """Let the loop go on until `awaited` is done, and return its result; where one `may_park`."""
    loop = getcurrent().parent
    assert loop is not None  # only the outermost has none
    result: T = loop.switch(awaited)
    return result
