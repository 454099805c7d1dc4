"""A frame of many messages on its way: a portion at a time, so that others are not held up."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from app.feeds.hl7v2.exchange import Answer, Answers, Frame, Peer
from app.feeds.hl7v2.split import Piece

PORTION = 64  # messages that are under way at a time


@dataclass(slots=True, eq=False)
class Batch:
    """What is left of a frame, what became of the rest, and what came after it on its connection.

    loop: of who hands in the portions.
    """

    peer: Peer
    answer: Answer
    left: Sequence[Piece]
    loop: asyncio.AbstractEventLoop
    told: list[Answers] = field(default_factory=list)
    behind: deque[tuple[Frame, Answer]] = field(default_factory=deque)

    def portion(self) -> Sequence[Piece]:
        """Take the next messages."""
        taken, self.left = self.left[:PORTION], self.left[PORTION:]
        return taken


def joined(told: Sequence[Answers]) -> Answers:
    """Return the answers to all portions as those of their frame."""
    later = [one.later for one in told if one.later is not None]
    return Answers(
        tuple(answer for one in told for answer in one.now),
        _all(later) if later else None,
        stored=all(one.stored for one in told),
        close=any(one.close for one in told),
    )


def _all(parts: Sequence[Future[Sequence[bytes]]]) -> Future[Sequence[bytes]]:
    """Return what ends with the last of the parts and gives all their answers in order."""
    whole: Future[Sequence[bytes]] = Future()
    left = itertools.count(len(parts) - 1, -1)

    def ended(_: object) -> None:
        if next(left) == 0:
            whole.set_result([answer for part in parts for answer in part.result()])

    for part in parts:
        part.add_done_callback(ended)
    return whole
