"""Chinese organisations and licences: USCC (GB 32100), organisation code (GB 11714), medical
institution registration (22 characters) and practice licences.
"""

from __future__ import annotations

from app.registry import checks
from app.registry.normalise import grouped
from app.registry.reading import STRONG, UNCHECKED, Context, Reading
from app.registry.regions import ORGANISATION_REGIONS

_MOD31 = frozenset(checks.MOD31)
_ALNUM = frozenset(checks.MOD37[:-1])


def _number(reading: Reading, text: str) -> str:
    number = grouped(text).upper()
    if number != text:
        reading.warn("normalized")
    return number


def _region(reading: Reading, region: str, offset: int) -> None:
    reading.fields["region"] = region
    if region[:2] not in ORGANISATION_REGIONS or not region.isdigit():
        reading.fail("region", "no province has this code", "region", offset)


def read_uscc(text: str, context: Context) -> Reading:
    """Read a unified social credit code of 18 characters (no I, O, S, V, Z)."""
    reading = Reading("cn-uscc", STRONG)
    number = _number(reading, text)
    bad = next((n for n, c in enumerate(number) if c not in _MOD31), None)
    if bad is not None:
        return reading.fail("illegal-character", "not a character of this code", offset=bad)
    if len(number) != 18:
        return reading.fail("length", "18 characters are expected")
    reading.fields.update(department=number[0], category=number[1], orgCode=number[8:17])
    _region(reading, number[2:8], 2)
    if checks.mod_31_3(number[:17]) != number[17]:
        reading.fail("check-character", "the check character does not fit", "check", 17)
    return reading if reading.errors else reading.identify("party", f"cn-uscc:{number}")


def read_org_code(text: str, context: Context) -> Reading:
    """Read an organisation code: eight characters, hyphen, check."""
    reading = Reading("cn-org-code", UNCHECKED)
    number = _number(reading, text)
    if not _ALNUM.issuperset(number):
        return reading.fail("illegal-character", "letters and digits are expected")
    if len(number) != 9:
        return reading.fail("length", "nine characters are expected")
    if checks.gb_11714(number[:8]) != number[8]:
        return reading.fail("check-digit", "the check character does not fit", "check", 8)
    return reading.identify("party", f"cn-org:{number}")


_MEDICAL_INSTITUTION = 22


def read_medical_institution(text: str, context: Context) -> Reading:
    """Read a registration number: org code 9, region 6, economy 2, class 4, management 1."""
    reading = Reading("cn-med-inst", UNCHECKED)
    number = _number(reading, text)
    if not _ALNUM.issuperset(number):
        return reading.fail("illegal-character", "letters and digits are expected")
    if len(number) != _MEDICAL_INSTITUTION:
        return reading.fail("length", f"{_MEDICAL_INSTITUTION} characters are expected")
    reading.fields.update(
        orgCode=number[:9],
        economicType=number[15:17],
        institutionClass=number[17:21],
        managementClass=number[21],
    )
    _region(reading, number[9:15], 9)
    if checks.gb_11714(number[:8]) != number[8]:
        reading.fail("check-digit", "the check of the organisation code does not fit", "orgCode", 8)
    return reading if reading.errors else reading.identify("party", f"cn-medinst:{number}")


_LICENCE_LENGTHS = (15, 27)


def read_licence(text: str, context: Context) -> Reading:
    """Read a practice licence (15 digits) or qualification certificate (27); form only."""
    reading = Reading("cn-practice-licence", UNCHECKED)
    number = _number(reading, text)
    if not (number.isascii() and number.isdigit()):
        return reading.fail("illegal-character", "digits are expected")
    if len(number) not in _LICENCE_LENGTHS:
        return reading.fail("length", "15 digits, or 27 of a certificate, are expected")
    reading.warn("unverified-check")
    return reading.identify("person", f"cn-practice:{number}")


def build_uscc(department: str, category: str, region: str, org_code: str) -> str:
    """Return the 18 characters; `org_code` with its own check."""
    body = department + category + region + org_code
    return body + checks.mod_31_3(body)


def build_org_code(body: str) -> str:
    """Return the code as printed."""
    return f"{body}-{checks.gb_11714(body)}"
