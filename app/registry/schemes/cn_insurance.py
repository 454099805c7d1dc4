"""Codes of the National Healthcare Security Administration (医保编码): institutions, staff, drugs
and consumables. They have no check; letters and lengths tell them apart.
"""

from __future__ import annotations

import re

from app.registry.reading import UNCHECKED, Context, Reading
from app.registry.regions import PROVINCES

_DRUG = re.compile("X[A-Z][0-9]{2}[A-Z]{2}[A-Z][0-9]{3}[A-Z][0-9]{12}")

_ROLES = {"D": "doctor", "N": "nurse", "Y": "pharmacist"}
_INSTITUTIONS = {"H": "hospital", "P": "pharmacy"}
_DRUG_CATEGORIES = frozenset("XZTM")


def _code(scheme: str, text: str) -> tuple[Reading, str]:
    reading = Reading(scheme, UNCHECKED)
    code = text.upper()
    if code != text:
        reading.warn("normalized")
    return reading, code


def _region(reading: Reading, region: str) -> None:
    reading.fields["region"] = region
    if region[:2] not in PROVINCES:
        reading.fail("region", "no province has this code", "region", 1)


def _numbered(
    scheme: str, text: str, letters: dict[str, str], field: str, length: int, level: str
) -> Reading:
    """Read a letter, a region and a number."""
    reading, code = _code(scheme, text)
    if len(code) != length:
        return reading.fail("length", f"{length} characters are expected")
    if code[0] not in letters:
        return reading.fail("category", "no such letter in front", field, 0)
    if not (code[1:].isascii() and code[1:].isdigit()):
        return reading.fail("illegal-character", "digits are expected behind the letter", offset=1)
    reading.fields[field] = letters[code[0]]
    _region(reading, code[1:7])
    return reading if reading.errors else reading.identify(level, f"nhsa:{code}")


def read_institution(text: str, context: Context) -> Reading:
    """Read the code of a hospital (H) or pharmacy (P)."""
    return _numbered("nhsa-institution", text, _INSTITUTIONS, "kind", 12, "party")


def read_staff(text: str, context: Context) -> Reading:
    """Read the code of a doctor, nurse or pharmacist."""
    return _numbered("nhsa-staff", text, _ROLES, "role", 13, "person")


def read_drug(text: str, context: Context) -> Reading:
    """Read a drug code: X, ATC 5, name 4, form 4, specification 2, pack 2, firm 5."""
    reading, code = _code("nhsa-drug", text)
    if code[:1] not in _DRUG_CATEGORIES:
        return reading.fail("category", "no such letter in front", "category", 0)
    if not (code.isascii() and code.isalnum()):
        return reading.fail("illegal-character", "letters and digits are expected")
    if len(code) != 23 if code[0] == "X" else not 20 <= len(code) <= 23:
        return reading.fail("length", "23 characters are expected")
    reading.fields["category"] = code[0]
    if code[0] == "X":
        if not _DRUG.fullmatch(code):
            return reading.fail("format", "ATC, name, form and four numbers are expected")
        reading.fields.update(
            atc=code[1:6],
            name=code[6:10],
            doseForm=code[10:14],
            specification=code[14:16],
            pack=code[16:18],
            firm=code[18:],
        )
    return reading.identify("class", f"nhsa:{code}")


def read_consumable(text: str, context: Context) -> Reading:
    """Read a consumable code: C and 19 digits, kept whole."""
    reading, code = _code("nhsa-consumable", text)
    if code[:1] != "C":
        return reading.fail("category", "the first letter is C", "category", 0)
    if not (code[1:].isascii() and code[1:].isdigit()):
        return reading.fail("illegal-character", "digits are expected behind the letter", offset=1)
    if len(code) != 20:
        return reading.fail("length", "C and 19 digits are expected")
    reading.fields["category"] = "C"
    return reading.identify("class", f"nhsa:{code}")


def build_institution(kind: str, region: str, number: str) -> str:
    """Return the code of a hospital (H) or pharmacy (P)."""
    return kind + region + number


def build_staff(role: str, region: str, number: str) -> str:
    """Return the code of a doctor (D), nurse (N) or pharmacist (Y)."""
    return role + region + number
