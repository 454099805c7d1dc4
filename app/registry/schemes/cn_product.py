"""Chinese drug and device registration: 国药准字, 国械注准 and its kin, filings, drug trace codes.

Drug Registration Regulation 2020, Device Registration and Filing 2021. Traditional characters of
the wording fold by a small table; the numbers have no check.
"""

from __future__ import annotations

import re

from app.registry.normalise import grouped
from app.registry.reading import MARKED, Context, Reading

_SIMPLIFIED = str.maketrans(
    {"國": "国", "藥": "药", "準": "准", "註": "注", "進": "进", "許": "许", "備": "备", "號": "号"}
)
_DRUG_WORDING = "国药准字"
_DRUG_CATEGORIES = frozenset("HZSBTFJ")
_ORIGINS = {"J": "overseas", "C": "hk-mo-tw"}


def _folded(text: str) -> str:
    """Return the wording in simplified characters."""
    return text.translate(_SIMPLIFIED)


def read_approval(text: str, context: Context) -> Reading:
    """Read a drug approval number: letter(s) and eight digits, with or without the wording."""
    reading = Reading("cn-drug-approval", MARKED)
    plain = _folded(text).replace(" ", "").upper()
    if plain != text:
        reading.warn("normalized")
    number = plain.removeprefix(_DRUG_WORDING)
    category, rest = number[:1], number[1:]
    if category not in _DRUG_CATEGORIES:
        return reading.fail("category", "no such kind of drug", "category")
    reading.fields["category"] = category
    if rest[:1] in _ORIGINS:
        reading.fields["origin"] = _ORIGINS[rest[:1]]
        rest = rest[1:]
    if not (rest.isascii() and rest.isdigit()):
        return reading.fail("illegal-character", "digits are expected behind the letters")
    if len(rest) != 8:
        return reading.fail("length", "eight digits are expected")
    return reading.identify("class", f"cn-drug-approval:{number}")


_REGISTRATION = re.compile(r"([\u4e00-\u9fff])械(注[准进许])([0-9]*)")
_FILING = re.compile(r"([\u4e00-\u9fff]{1,4})械备([0-9]*)号?")
_RISK_CLASSES = frozenset("123")


def read_device(text: str, context: Context) -> Reading:
    """Read a device registration (year 4, class 1, category 2, number 4) or a filing."""
    reading = Reading("cn-device-reg", MARKED)
    plain = _folded(text).replace(" ", "")
    if plain != text:
        reading.warn("normalized")
    if filing := _FILING.fullmatch(plain):
        reading.scheme = "cn-device-filing"
        place, digits = filing.groups()
        if len(digits) != 8:
            return reading.fail("length", "year and four digits are expected")
        reading.fields.update(place=place, year=digits[:4], number=digits[4:])
        return reading.identify("class", f"cn-device-reg:{place}械备{digits}")
    found = _REGISTRATION.fullmatch(plain)
    if found is None:
        return reading.fail("format", "not the wording of a registration or filing")
    place, wording, digits = found.groups()
    if len(digits) != 11:
        return reading.fail("length", "year, class, category and four digits are expected")
    reading.fields.update(
        {"place": place, "year": digits[:4], "class": digits[4], "category": digits[5:7]}
    )
    if digits[4] not in _RISK_CLASSES:
        return reading.fail("class", "the risk class is 1, 2 or 3", "class")
    return reading.identify("class", f"cn-device-reg:{place}械{wording}{digits}")


def read_trace(text: str, context: Context) -> Reading:
    """Read a drug trace code: 20 digits, the first seven name product and pack."""
    reading = Reading("cn-drug-trace", MARKED)
    number = grouped(text)
    if number != text:
        reading.warn("normalized")
    if not (number.isascii() and number.isdigit()):
        return reading.fail("illegal-character", "digits are expected")
    if len(number) != 20:
        return reading.fail("length", "20 digits are expected")
    if number[0] != "8":
        return reading.fail("format", "a trace code begins with 8", offset=0)
    reading.fields.update(drugIdentificationCode=number[:7], serial=number[7:16])
    return reading.identify("instance", f"cn-dtc-di:{number[:7]}", f"cn-dtc:{number}")


def build_approval(category: str, digits: str, origin: str = "") -> str:
    """Return the approval number with its wording; `origin` is J, C or nothing."""
    return f"{_DRUG_WORDING}{category}{origin}{digits}"


def build_registration(wording: str, year: str, risk: str, category: str, number: str) -> str:
    """Return a national registration; `wording` is 准, 进 or 许."""
    return f"国械注{wording}{year}{risk}{category}{number}"
