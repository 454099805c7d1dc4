"""Ids that the server gives: UUID version 7 (RFC 9562), so that new rows stay together."""

from __future__ import annotations

import os


def new_id(now_us: int) -> str:
    """Return a fresh id: 48 bits of milliseconds, then 74 random bits."""
    tail = os.urandom(10)
    number = (now_us // 1000) << 80 | int.from_bytes(tail, "big")
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
