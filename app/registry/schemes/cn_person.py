"""Chinese person numbers: resident id (GB 11643), foreigners' cards, travel permits, passports.

Region, date and check are all judged. Messages say what is wrong, never the number.
"""

from __future__ import annotations

import re

from app.registry import checks, dates
from app.registry.normalise import grouped
from app.registry.reading import MARKED, STRONG, UNCHECKED, Context, Reading
from app.registry.regions import PROVINCES

_EARLIEST_YEAR = 1800
_HOLDERS = {"81": "HK", "82": "MO", "83": "TW"}
# Sequence numbers of people who were a hundred years old when the first numbers were given.
_CENTENARIANS = frozenset({"996", "997", "998", "999"})
_SPREADSHEET = re.compile(r"[0-9](?:\.[0-9]+)?[Ee]\+1[0-9]")


def _number(reading: Reading, text: str) -> str:
    """Return the number without the spaces and hyphens of printing, X in upper case."""
    number = grouped(text)
    if number[-1:] == "x":
        number = number[:-1] + "X"
    if number != text:
        reading.warn("normalized")
    return number


def _born(reading: Reading, digits: str, context: Context) -> None:
    found = dates.compact(digits)
    if found is None or int(digits[:4]) < _EARLIEST_YEAR or found > context.today:
        reading.fail("bad-date", "not a birth date", "birthDate", 6)
    else:
        reading.fields["birthDate"] = found


def read_resident(text: str, context: Context) -> Reading:
    """Read a resident identity number of 18 characters, or 15 digits of the first generation."""
    reading = Reading("cn-resident-id", STRONG)
    if _SPREADSHEET.fullmatch(text):
        return reading.fail("length", "a spreadsheet has rounded this number")
    number = _number(reading, text)
    body = number[:-1] if len(number) == 18 else number
    if not (body.isascii() and body.isdigit()) or number[-1] not in "0123456789X":
        return reading.fail("illegal-character", "digits are expected, the last one may be X")
    if len(number) == 15:
        century = "18" if number[12:] in _CENTENARIANS else "19"
        body = number[:6] + century + number[6:]
        number = body + checks.mod_11_2(body)
        reading.confidence = UNCHECKED
        reading.warn("deprecated-form")
    elif len(number) != 18:
        return reading.fail("length", "18 characters, or 15 digits, are expected")
    province = number[:2]
    reading.fields["region"] = number[:6]
    if province not in PROVINCES:
        reading.fail("region", "no province has this code", "region", 0)
    if province in _HOLDERS:
        reading.fields["holder"] = _HOLDERS[province]
    _born(reading, number[6:14], context)
    reading.fields["gender"] = "male" if int(number[16]) % 2 else "female"
    if checks.mod_11_2(body) != number[-1]:
        reading.fail("check-digit", "the check character does not fit", "check", 17)
    return reading if reading.errors else reading.identify("person", f"cn-rid:{number}")


_CARD_2017 = re.compile("[A-Z]{3}[0-9]{12}")


def read_foreign(text: str, context: Context) -> Reading:
    """Read a foreign permanent resident card: 18 digits since 2023, before 3 letters, 12 digits."""
    reading = Reading("cn-foreign-pr", STRONG)
    number = _number(reading, text)
    if number[:1].isalpha():
        return _card_2017(reading, number.upper())
    if not (number[:-1].isascii() and number[:-1].isdigit()) or number[-1] not in "0123456789X":
        return reading.fail("illegal-character", "digits are expected, the last one may be X")
    if len(number) != 18:
        return reading.fail("length", "18 characters are expected")
    if number[0] != "9":
        return reading.fail("format", "the first digit is 9", offset=0)
    if number[1:3] not in PROVINCES:
        reading.fail("region", "no province has this code", "region", 1)
    reading.fields.update(region=number[1:3], nationality=number[3:6])
    _born(reading, number[6:14], context)
    reading.fields["gender"] = "male" if int(number[16]) % 2 else "female"
    if checks.mod_11_2(number[:-1]) != number[-1]:
        reading.fail("check-digit", "the check character does not fit", "check", 17)
    return reading if reading.errors else reading.identify("person", f"cn-fpr:{number}")


def _card_2017(reading: Reading, number: str) -> Reading:
    if len(number) != 15:
        return reading.fail("length", "three letters and twelve digits are expected")
    if not _CARD_2017.fullmatch(number):
        return reading.fail("illegal-character", "three letters and twelve digits are expected")
    reading.confidence = MARKED
    reading.warn("unverified-check")  # its 7-3-1 check is not published in detail
    reading.fields["nationality"] = number[:3]
    return reading.identify("person", f"cn-fpr:{number}")


_HKMO = re.compile("[HM][0-9]+")


def read_hkmo_permit(text: str, context: Context) -> Reading:
    """Read the mainland permit of Hong Kong and Macao residents; the issue is not in the key."""
    reading = Reading("cn-hkmo-permit", UNCHECKED)
    number = _number(reading, text).upper()
    if len(number) not in (9, 11):
        return reading.fail("length", "a letter and 8 digits, or 10 with the issue, are expected")
    if not _HKMO.fullmatch(number) or not number.isascii():
        return reading.fail("format", "H or M and digits are expected")
    reading.fields["holder"] = "HK" if number[0] == "H" else "MO"
    if len(number) == 11:
        reading.fields["issueNumber"] = number[9:]
    return reading.identify("person", f"cn-hkmo:{number[:9]}")


def read_tw_permit(text: str, context: Context) -> Reading:
    """Read a mainland travel permit of Taiwan residents."""
    reading = Reading("cn-tw-permit", UNCHECKED)
    number = _number(reading, text)
    if not (number.isascii() and number.isdigit()):
        return reading.fail("illegal-character", "digits are expected")
    if len(number) not in (8, 10):
        return reading.fail("length", "8 digits, or 10 on old ones, are expected")
    return reading.identify("person", f"cn-twp:{number}")


_PASSPORT = re.compile("[EG][0-9]{8}|E[A-Z][0-9]{7}|[DSP]E?[0-9]{7}|[DSP][0-9]{8}")


def read_passport(text: str, context: Context) -> Reading:
    """Read a Chinese passport number. Its check digit stands only in the machine readable zone."""
    reading = Reading("cn-passport", UNCHECKED)
    number = grouped(text).upper()
    if number != text:
        reading.warn("normalized")
    if not (number.isascii() and number.isalnum()):
        return reading.fail("illegal-character", "letters and digits are expected")
    if not 8 <= len(number) <= 9:
        return reading.fail("length", "8 or 9 characters are expected")
    if not _PASSPORT.fullmatch(number):
        return reading.fail("format", "not a series of Chinese passports")
    return reading.identify("person", f"passport:CHN:{number}")


def build_resident(region: str, birth: str, sequence: str) -> str:
    """Return the 18 characters; `birth` as YYYYMMDD."""
    body = region + birth + sequence
    return body + checks.mod_11_2(body)


def build_foreign(place: str, nationality: str, birth: str, sequence: str) -> str:
    """Return the 18 characters of a card of 2023; `birth` as YYYYMMDD."""
    body = f"9{place}{nationality}{birth}{sequence}"
    return body + checks.mod_11_2(body)
