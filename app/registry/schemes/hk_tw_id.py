"""Identity numbers of Hong Kong (letters, six digits, check) and Taiwan (letter, nine digits)."""

from __future__ import annotations

import re

from app.registry import checks
from app.registry.reading import MARKED_AND_CHECKED, ONE_IN_TEN, Context, Reading

_HK = re.compile(r"([A-Z]{1,2})([0-9]{6})\(?([0-9A])\)?")
_TW = re.compile("[A-Z][1289][0-9]{8}")


def read_hk(text: str, context: Context) -> Reading:
    """Read a Hong Kong identity card number; the check character belongs to the key."""
    marked = text.endswith(")")
    reading = Reading("hk-id", MARKED_AND_CHECKED if marked else ONE_IN_TEN)
    number = text.upper()
    if number != text:
        reading.warn("normalized")
    found = _HK.fullmatch(number)
    if found is None:
        plain = number.replace("(", "").replace(")", "")
        if not 8 <= len(plain) <= 9:
            return reading.fail("length", "one or two letters, six digits and a check character")
        return reading.fail("format", "one or two letters, six digits and a check character")
    letters, digits, check = found.groups()
    if checks.hk_id(letters, digits) != check:
        return reading.fail("check-digit", "the check character does not fit", "check")
    return reading.identify("person", f"hk-id:{letters}{digits}{check}")


def read_tw(text: str, context: Context) -> Reading:
    """Read a Taiwan identity number."""
    reading = Reading("tw-id", ONE_IN_TEN)
    number = text.upper()
    if number != text:
        reading.warn("normalized")
    if len(number) != 10:
        return reading.fail("length", "a letter and nine digits are expected")
    if not _TW.fullmatch(number):
        return reading.fail("format", "a letter and nine digits are expected")
    if checks.tw_id(number[0], number[1:9]) != number[9]:
        return reading.fail("check-digit", "the check digit does not fit", "check", 9)
    return reading.identify("person", f"tw-id:{number}")


def build_hk(letters: str, digits: str) -> str:
    """Return the number as printed."""
    return f"{letters}{digits}({checks.hk_id(letters, digits)})"


def build_tw(letter: str, digits: str) -> str:
    """Return the number of a letter and eight digits."""
    return letter + digits + checks.tw_id(letter, digits)
