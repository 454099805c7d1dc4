"""GS1 keys as bare numbers: GTIN, GLN, SSCC, GSRN and the others, without an AI in front.

Digits without a marker are only as sure as their check digit, one in ten.
"""

from __future__ import annotations

from app.registry import checks, gs1
from app.registry.normalise import grouped
from app.registry.reading import ONE_IN_TEN, Context, Reader, Reading

_GTIN_LENGTHS = (8, 12, 13, 14)


def read_gtin(text: str, context: Context) -> Reading:
    """Read a GTIN-8, -12, -13 or -14; its key is the form padded to 14 digits."""
    reading = Reading("gtin", ONE_IN_TEN)
    number = grouped(text)
    if number != text:
        reading.warn("normalized")
    if not (number.isascii() and number.isdigit()):
        return reading.fail("illegal-character", "digits are expected", "gtin")
    if len(number) not in _GTIN_LENGTHS:
        return reading.fail("length", "a GTIN has 8, 12, 13 or 14 digits", "gtin")
    size = len(number)
    if size == 14 and number[0] == "0":
        size = 13 if number[1] != "0" else 12 if number[2:6] != "0000" else 8
    reading.fields["form"] = f"GTIN-{size}"
    padded = gs1.Element("01", number.zfill(14))
    found = gs1.read(reading, [padded], context)
    found.ai.clear()
    return found


def _reader(scheme: str, ai: str) -> Reader:
    """Give the reader of a key that is written as the value of one AI."""

    def read(text: str, context: Context) -> Reading:
        reading = Reading(scheme, ONE_IN_TEN)
        number = text
        if gs1.table()[ai].parts[0].kind == "N":
            number = grouped(text)
            if number != text:
                reading.warn("normalized")
        found = gs1.read(reading, [gs1.Element(ai, number)], context)
        found.ai.clear()
        for n, error in enumerate(found.errors):
            if error.code == "ai-value-length":
                found.errors[n] = error._replace(code="length")
        return found

    return read


read_gln = _reader("gln", "414")
read_sscc = _reader("sscc", "00")
read_gsrn = _reader("gsrn", "8018")
read_gsrnp = _reader("gsrnp", "8017")
read_gmn = _reader("gmn", "8013")
read_grai = _reader("grai", "8003")
read_giai = _reader("giai", "8004")
read_gdti = _reader("gdti", "253")


def build(body: str) -> str:
    """Return a number of the GS1 system with its check digit."""
    return body + checks.gs1(body)
