"""Ecode (GB/T 31866): version, numbering-system id (NSI) and master code (MD). With a hint only.

The widths are those commonly quoted and stand in one table, so that an edition can be corrected.
"""

from __future__ import annotations

from app.registry.reading import UNCHECKED, Context, Reading

# Version -> (digits of the NSI, most characters of the master code, digits only).
_VERSIONS = {
    "0": (4, 20, True),
    "1": (4, 20, True),
    "2": (4, 28, True),
    "3": (5, 39, False),
    "4": (5, 128, False),
}


def read(text: str, context: Context) -> Reading:
    """Read an Ecode in its plain text form, with or without `ecode:`."""
    reading = Reading("ecode", UNCHECKED)
    reading.warn("unverified-check")
    text = text[6:] if text[:6].lower() == "ecode:" else text
    row = _VERSIONS.get(text[:1])
    if row is None:
        return reading.fail("out-of-range", "no such version", "version", 0)
    width, longest, digits = row
    system, master = text[1 : 1 + width], text[1 + width :]
    reading.fields["version"] = text[0]
    if not (system.isascii() and system.isdigit()) or len(system) != width:
        return reading.fail("format", f"a numbering system of {width} digits", "nsi", 1)
    if not 1 <= len(master) <= longest:
        return reading.fail("length", f"1 to {longest} characters are expected", "md", 1 + width)
    if digits and not (master.isascii() and master.isdigit()):
        return reading.fail("illegal-character", "digits are expected", "md", 1 + width)
    if text[0] == "3" and not (master.isascii() and master.isalnum()):
        return reading.fail("illegal-character", "letters and digits are expected", "md", 1 + width)
    reading.fields.update(nsi=system, md=master)
    return reading.identify("instance", f"ecode:{text}")


def build(version: str, nsi: str, master: str) -> str:
    """Return the plain text form."""
    return f"{version}{nsi}{master}"
