"""Numbers of organisations and practitioners abroad: NPI (CMS, Luhn with 80840) and D-U-N-S."""

from __future__ import annotations

from app.registry import checks
from app.registry.normalise import grouped
from app.registry.reading import ONE_IN_TEN, UNCHECKED, Context, Reading

_NPI_PREFIX = "80840"  # health applications, United States (ISO/IEC 7812)


def _digits(reading: Reading, text: str, length: int) -> str | None:
    number = grouped(text)
    if number != text:
        reading.warn("normalized")
    if not (number.isascii() and number.isdigit()):
        reading.fail("illegal-character", "digits are expected")
        return None
    if len(number) != length:
        reading.fail("length", f"{length} digits are expected")
        return None
    return number


def read_npi(text: str, context: Context) -> Reading:
    """Read a National Provider Identifier."""
    reading = Reading("npi", ONE_IN_TEN)
    number = _digits(reading, text, 10)
    if number is None:
        return reading
    if number[0] not in "12":
        return reading.fail("out-of-range", "the first digit is 1 or 2", offset=0)
    if checks.luhn(_NPI_PREFIX + number[:9]) != number[9]:
        return reading.fail("check-digit", "the check digit does not fit", "check", 9)
    return reading.identify("party", f"npi:{number}")


def read_duns(text: str, context: Context) -> Reading:
    """Read a D-U-N-S number, which has had no check digit since 2006."""
    reading = Reading("duns", UNCHECKED)
    number = _digits(reading, text, 9)
    return reading.identify("party", f"duns:{number}") if number else reading


def build_npi(body: str) -> str:
    """Return the number of nine digits."""
    return body + checks.luhn(_NPI_PREFIX + body)
