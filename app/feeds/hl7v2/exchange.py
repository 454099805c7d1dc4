"""What passes between the MLLP listener and who takes its frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import msgspec

from app.errors import YilianError


class Peer(NamedTuple):
    """The other end of one connection; `connection` counts from 1 over the listener's life."""

    host: str
    port: int
    connection: int


class Frame(msgspec.Struct, frozen=True):
    """One frame received.

    error: why it is not a whole frame (too long, restarted, cut); then `payload` is its head.
    answerable: whether the sender waits for an answer to it.
    """

    payload: bytes
    peer: Peer
    error: YilianError | None = None
    answerable: bool = True


class Answers(msgspec.Struct, frozen=True):
    """What to send for one frame: payloads without their frames.

    later: further answers, promised; they may be passed by the first answers of later frames.
    stored: whether the frame is safe; said only to peers of release 2.
    close: close the connection once this is sent.
    """

    now: Sequence[bytes] = ()
    later: Future[Sequence[bytes]] | None = None
    stored: bool = True
    close: bool = False


# Tells the answers of a frame: once, from any thread.
Answer = Callable[[Answers], None]
Accept = Callable[[Frame, Answer], None]

# When something went wrong: the sender is told nothing, and tries again.
NO_ANSWER = Answers(stored=False, close=True)
