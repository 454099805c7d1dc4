"""uCode (ITU-T H.642.1): 128 bits, or a multiple for extended codes, in hexadecimal."""

from __future__ import annotations

import re

from app.registry.reading import MARKED_AND_CHECKED, UNCHECKED, Context, Reading

_HEX = re.compile("[0-9A-Fa-f]*")
_PREFIX = "urn:ucode:_"
_DIGITS = 32


def read(text: str, context: Context) -> Reading:
    """Read `urn:ucode:_` and digits, or with a hint the bare digits."""
    marked = text[: len(_PREFIX)].lower() == _PREFIX
    reading = Reading("ucode", MARKED_AND_CHECKED if marked else UNCHECKED)
    body = text[len(_PREFIX) :] if marked else text.removeprefix("ucode:")
    if not _HEX.fullmatch(body):
        return reading.fail("illegal-character", "hexadecimal digits are expected")
    if not body or len(body) % _DIGITS:
        return reading.fail("length", "32 hexadecimal digits, or a multiple, are expected")
    key = body.upper()
    reading.uri = _PREFIX + key
    return reading.identify("instance", f"ucode:{key}")


def build(digits: str) -> str:
    """Return the URN."""
    return _PREFIX + digits.upper()
