"""UUIDs (RFC 9562): plain, in braces, as URN. The key is lower case."""

from __future__ import annotations

import re

from app.registry.reading import MARKED, MARKED_AND_CHECKED, Context, Reading

FORM = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_HEX = re.compile("[0-9A-Fa-f]*")
_LENGTH = 32


def read(text: str, context: Context) -> Reading:
    """Read a UUID; bare 32 digits only come here with a hint."""
    reading = Reading("uuid", MARKED)
    body = text
    if text[:9].lower() == "urn:uuid:":
        body = text[9:]
        reading.confidence = MARKED_AND_CHECKED
    elif text.startswith("{") and text.endswith("}"):
        body = text[1:-1]
    digits = body.replace("-", "")
    if not _HEX.fullmatch(digits):
        return reading.fail("illegal-character", "hexadecimal digits are expected")
    if len(digits) != _LENGTH:
        return reading.fail("length", "32 hexadecimal digits are expected")
    if "-" in body and not FORM.fullmatch(body):
        return reading.fail("format", "groups of 8, 4, 4, 4 and 12 digits are expected")
    digits = digits.lower()
    plain = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    reading.fields["uuid"] = plain
    if digits[16] in "89ab":
        reading.fields["version"] = int(digits[12], 16)
    reading.uri = f"urn:uuid:{plain}"
    return reading.identify("instance", f"uuid:{plain}")


def build(plain: str) -> str:
    """Return the URN of a UUID."""
    return f"urn:uuid:{plain.lower()}"


def build_oid(plain: str) -> str:
    """Return the OID of a UUID (X.667)."""
    return f"2.25.{int(plain.replace('-', ''), 16)}"
