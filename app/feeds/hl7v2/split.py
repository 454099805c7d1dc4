"""Find the messages in a file or a frame: batches, messages in a row, MLLP frames.

HL7 v2.5.1 section 2.10.3 (FHS, BHS, BTS, FTS). Works on bytes: each message names its own
character set, and CR and LF are never part of a character in any set of `charset`, but UTF-16
and UTF-32, which are decoded, cut and encoded again.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, replace

from app.errors import Issue
from app.feeds.hl7v2 import charset

_START = re.compile(rb"(?:\A|(?<=[\r\n]))(?:MSH|FHS|BHS|BTS|FTS)(?![A-Za-z0-9 ])")
_STARTS = frozenset((b"MSH", b"FHS", b"BHS", b"BTS", b"FTS"))
_FRAME_MARKS = re.compile(rb"[\x0b\x1c]")
_SEGMENT = re.compile(rb"[A-Z][A-Z0-9]{2}[^A-Za-z0-9 ]")
_BLANKS = b"\r\n\t \x00\x1a"


@dataclass(frozen=True, slots=True)
class Piece:
    """The bytes of one message, and what was doubtful about what surrounds it."""

    raw: bytes
    issues: tuple[Issue, ...] = ()


def split(data: bytes) -> list[Piece]:
    """Return the messages of a file: at least one piece, which may turn out unreadable.

    A file of MLLP frames gives what its frames hold.
    """
    if b"\x0b" not in data or charset.wide_codec(data) is not None:
        return messages(data)
    frames = [part for part in _FRAME_MARKS.split(data) if part.strip(_BLANKS)]
    if not any(_START.search(_unmarked(part)) for part in frames):
        return messages(data)
    return [piece for frame in frames for piece in messages(frame)]


def messages(payload: bytes) -> list[Piece]:
    """Return the messages of one frame or unframed file: at least one piece.

    Batch segments are left out of the pieces; counts in BTS-1 and FTS-1 that do not fit are
    warnings on the last message before them.
    """
    wide = charset.wide_codec(payload)
    if wide is not None:
        return _wide_messages(payload, *wide)
    bare = _unmarked(payload)
    if bare is not payload and codecs.BOM_UTF8 in payload[: len(payload) - len(bare)]:
        # The mark tells the character set of each.
        return [replace(one, raw=codecs.BOM_UTF8 + one.raw) for one in messages(bare)]
    payload = bare
    if _is_lone(payload):
        return [Piece(payload)]
    starts = list(_START.finditer(payload))
    if not any(start[0] == b"MSH" for start in starts):
        return [Piece(payload)]
    pieces = _before(payload[: starts[0].start()])
    ends = [start.start() for start in starts[1:]] + [len(payload)]
    counts = {b"BTS": 0, b"FTS": 0}
    for start, end in zip(starts, ends, strict=True):
        line = payload[start.start() : end]
        if start[0] == b"MSH":
            pieces.append(Piece(line))
            counts[b"BTS"] += 1
        elif start[0] == b"BHS":
            counts[b"BTS"] = 0
            counts[b"FTS"] += 1
        elif start[0] in counts and pieces:
            pieces[-1] = _counted(pieces[-1], start[0].decode(), line, counts[start[0]])
    return pieces


def has_more_than(most: int, payload: bytes) -> bool:
    """Say whether a frame holds more messages than `most`, without cutting it up."""
    if len(payload) <= most * len("MSH|"):
        return False
    wide = charset.wide_codec(payload)
    if wide is not None:
        skip, codec = wide
        payload = payload[skip:].decode(codec, "replace").encode("utf-8")
    if payload.count(b"MSH") <= most:
        return False
    return sum(start[0] == b"MSH" for start in _START.finditer(payload)) > most


def _is_lone(payload: bytes) -> bool:
    """Say whether this is just one message, as nearly every frame is (a tenth of the search)."""
    if b"\n" in payload or not payload.startswith(b"MSH") or _START.match(payload) is None:
        return False
    return _STARTS.isdisjoint([line[:3] for line in payload.split(b"\r")[1:]])


def _before(head: bytes) -> list[Piece]:
    """Return what stands before the first known start: a message without MSH, or nothing."""
    rest = head.strip(_BLANKS)
    return [Piece(rest)] if _SEGMENT.match(rest) else []


def _counted(piece: Piece, segment: str, line: bytes, found: int) -> Piece:
    fields = line.rstrip(_BLANKS).split(line[3:4] or b"|")
    said = fields[1].strip() if len(fields) > 1 else b""
    if not said or (said.isdigit() and int(said[:9]) == found):
        return piece
    what = "messages in the batch" if segment == "BTS" else "batches in the file"
    text = f"{segment}-1 does not fit: {found} {what}"
    issue = Issue("warning", "value", text, f"{segment}-1", "batch-count")
    return replace(piece, issues=(*piece.issues, issue))


def _wide_messages(payload: bytes, skip: int, codec: str) -> list[Piece]:
    try:
        text = payload[skip:].decode(codec)
    except UnicodeDecodeError:
        return [Piece(payload)]
    found = messages(text.encode("utf-8"))
    if len(found) == 1 and not found[0].issues and found[0].raw == text.encode("utf-8"):
        return [Piece(payload)]
    return [replace(one, raw=one.raw.decode("utf-8").encode(codec)) for one in found]


def _unmarked(payload: bytes) -> bytes:
    """Return what follows blanks and a mark of UTF-8."""
    return payload.lstrip(_BLANKS).removeprefix(codecs.BOM_UTF8)
