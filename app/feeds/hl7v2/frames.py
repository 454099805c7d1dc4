"""MLLP frames out of a stream of bytes, and into one (HL7 v2 transport "MLLP", release 1).

A frame is 0x0B, payload, 0x1C 0x0D. Receiving is lenient: bytes before 0x0B are skipped; 0x1C
without 0x0D ends a frame when 0x0A or 0x0B follows or the sender pauses; 0x0B inside an
unfinished frame means that the sender started again. Sending is strict.

No I/O: the same bytes in other portions give the same frames.
"""

from __future__ import annotations

from enum import Enum

import msgspec

START, END, CR, LF = 0x0B, 0x1C, 0x0D, 0x0A
_START, _END = b"\x0b", b"\x1c"
_NOISE = b"\r\n"  # between frames, hardly worth a word

# Release 2: a frame whose only byte says that the last block was stored, or was not.
COMMITTED, NOT_COMMITTED = b"\x06", b"\x15"

HEAD_BYTES = 65_536  # kept of what is too long or unfinished: enough to answer and to inspect


class Kind(Enum):
    """How a frame came to its end."""

    WHOLE = "whole"
    RESTARTED = "restarted"  # 0x0B inside: the sender began again
    TOO_LONG = "too-long"  # its rest was read and thrown away
    GIVEN_UP = "given-up"  # the same, because too much was held at the time
    CUT = "cut"  # the connection ended, or the sender took too long


class Found(msgspec.Struct, frozen=True):
    """A payload; of one too long, only its head."""

    kind: Kind
    payload: bytes


def frame(payload: bytes) -> bytes:
    """Return `payload` as a strict frame."""
    return b"\x0b" + payload + b"\x1c\r"


class Framer:
    """Cuts what is fed into frames; ask `next` until it has none."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.skipped_bytes = 0  # noise outside frames, line ends not counted
        self._buffer = bytearray()
        self._inside = False
        self._scanned = 0  # of the buffer: before it stands no END or START
        self._head: bytes | None = None  # of a frame that is too long
        self._given_up = False

    @property
    def inside(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._inside

    @property
    def empty(self) -> bool:
        """Whether nothing is kept and nothing has begun, as after nearly every frame."""
        return not (self._buffer or self._inside)

    @property
    def ending(self) -> bool:
        """Whether the last byte was 0x1C: a pause ends the frame."""
        return self._inside and self._scanned < len(self._buffer)

    @property
    def held_bytes(self) -> int:
        """How much is kept of what has come and was not taken."""
        return len(self._buffer)

    def give_up(self) -> bool:
        """Keep just the head of the frame that has begun; say whether that was more than a head."""
        if not self._inside or self._head is not None or len(self._buffer) <= HEAD_BYTES:
            return False
        self._head = bytes(self._buffer[:HEAD_BYTES])
        self._given_up = True
        del self._buffer[: self._scanned]
        self._scanned = 0
        return True

    def feed(self, data: bytes | memoryview) -> None:
        """Take what came from the peer."""
        self._buffer += data

    def next(self) -> Found | None:
        """Return the next frame, None when more bytes are needed."""
        if not self._buffer or not (self._inside or self._begin()):
            return None
        while True:
            end = self._buffer.find(_END, self._scanned)
            start = self._buffer.find(_START, self._scanned, None if end < 0 else end)
            if start >= 0:
                return self._take(Kind.RESTARTED, start, start + 1, inside=True)
            if end < 0:
                self._scanned = len(self._buffer)
                self._shed()
                return None
            if end + 1 == len(self._buffer):
                self._scanned = end
                return None
            follower = self._buffer[end + 1]
            if follower in (CR, LF):
                return self._take(Kind.WHOLE, end, end + 2)
            if follower == START:
                return self._take(Kind.WHOLE, end, end + 1)
            self._scanned = end + 1

    def pause(self) -> Found | None:
        """Return the frame that a pause after 0x1C ends, None when there is none."""
        if not self.ending:
            return None
        return self._take(Kind.WHOLE, self._scanned, len(self._buffer))

    def cut(self) -> Found | None:
        """Return what has come of an unfinished frame, None when there is none."""
        if self.ending:
            return self.pause()
        if not self._inside:
            return None
        return self._take(Kind.CUT, len(self._buffer), len(self._buffer))

    def _begin(self) -> bool:
        at = self._buffer.find(_START)
        if at:
            noise = self._buffer if at < 0 else self._buffer[:at]
            self.skipped_bytes += len(noise.strip(_NOISE))
        del self._buffer[: at + 1 if at >= 0 else None]
        self._inside = at >= 0
        self._scanned = 0
        return self._inside

    def _take(self, kind: Kind, end: int, rest: int, *, inside: bool = False) -> Found:
        """Return the frame that ends at `end`; what follows begins at `rest`."""
        if self._head is not None or end > self.most_bytes:
            if kind is Kind.WHOLE:
                kind = Kind.GIVEN_UP if self._given_up else Kind.TOO_LONG
            payload = self._head or bytes(self._buffer[:HEAD_BYTES])
        else:
            payload = bytes(self._buffer[:end])
        del self._buffer[:rest]
        self._inside = inside
        self._scanned = 0
        self._head = None
        self._given_up = False
        return Found(kind, payload)

    def _shed(self) -> None:
        """Throw away what is over the limit; its head is enough to answer it."""
        if self._head is None and len(self._buffer) <= self.most_bytes:
            return
        if self._head is None:
            self._head = bytes(self._buffer[:HEAD_BYTES])
        self._buffer.clear()
        self._scanned = 0
