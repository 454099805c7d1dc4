"""What the inbox needs of a message beside what it says: its names, its digests, its bytes."""

from __future__ import annotations

import re
from hashlib import sha256

import msgspec

from app.feeds import inbox
from app.feeds.hl7v2.ack import Header

FEED = "hl7v2"
_LONGEST = 200  # characters
_LINE_END = re.compile(rb"[\r\n]")


class Named(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """source: the sender; key: equal for messages that are the same.

    digest: of the bytes; packed: these as they are stored.
    """

    source: str
    kind: str
    control_id: str
    key: bytes
    digest: bytes
    packed: bytes


def named(header: Header, raw: bytes) -> Named:
    """Return what a message is called that has this header."""
    kind = (header.component(9, 1), header.component(9, 2))
    return Named(
        source=_shown(f"{header.field(4)}|{header.field(3)}"),
        kind=_shown("^".join(part for part in kind if part)),
        control_id=_shown(header.field(10)),
        key=_key(header, raw),
        digest=sha256(raw).digest(),
        packed=inbox.packed(raw),
    )


def _key(header: Header, raw: bytes) -> bytes:
    """Return the digest of sender, MSH-10 and payload without MSH-7."""
    fields = list(header.fields)
    if len(fields) > 7:
        fields[7] = ""
    ended = _LINE_END.search(raw)
    end = ended.start() if ended else len(raw)
    head = "\x1f".join(fields).encode("utf-8", "surrogatepass")
    rest = raw[end:] if fields else raw
    return sha256(b"%b\x1e%b\x1e%b" % (FEED.encode(), head, rest)).digest()[:20]


def _shown(text: str) -> str:
    """Return a text to find an entry by: what a broken message gives may be anything."""
    text = text[:_LONGEST]
    return text if text.isprintable() else "".join(filter(str.isprintable, text))
