"""MA codes (Zhongguancun Industry & Information Research Institute): UDI of the NMPA system.

`MA.156.M0.` registrant (6) `.` package, item and check (8), then production units, each a dot and
a letter. The check algorithm is not published, so `unverified-check` is always said.
"""

from __future__ import annotations

import re

from app.registry import dates
from app.registry.reading import MARKED, Context, Reading

_PREFIX = "MA.156.M0."
_ALNUM = re.compile("[0-9A-Z]+")
_REGISTRANT, _PRODUCT = 6, 8
_LONGEST_VALUE = 20
_LONGEST_CODE = 256
_DATES = {"M": "productionDate", "P": "productionDate", "V": "validUntil", "E": "expiry"}
_TEXTS = {"L": "lot", "D": "sterilisationLot", "S": "serial", "C": "check"}


def read(text: str, context: Context) -> Reading:
    """Read the device identifier and whatever production units follow it."""
    reading = Reading("ma-udi", MARKED)
    reading.warn("unverified-check")
    if not text.startswith(_PREFIX):
        return reading.fail("format", "a device code begins with MA.156.M0.")
    if len(text) > _LONGEST_CODE:
        return reading.fail("length", f"more than {_LONGEST_CODE} characters")
    parts = text[len(_PREFIX) :].split(".")
    registrant, product = parts[0], parts[1] if len(parts) > 1 else ""
    if len(registrant) != _REGISTRANT or len(product) != _PRODUCT:
        return reading.fail("length", "registrant of 6 and product of 8 characters are expected")
    if not _ALNUM.fullmatch(registrant + product):
        return reading.fail("illegal-character", "digits are expected", "udiDi", len(_PREFIX))
    device = f"{_PREFIX}{registrant}.{product}"
    reading.fields.update(
        issuingAgency="MA",
        registrant=registrant,
        productCode=product,
        udiDi=device,
        udiIssuer="MA",
    )
    for unit in parts[2:]:
        _unit(reading, unit, context)
    if not reading.errors:
        _identify(reading, f"ma:{device}")
    return reading


def _unit(reading: Reading, unit: str, context: Context) -> None:
    letter, value = unit[:1], unit[1:]
    if letter in _DATES:
        field = _DATES[letter]
        found = None
        if value.isascii() and value.isdigit():
            if len(value) == 6:
                year = dates.century(int(value[:2]), context.year)
                found = dates.ymd(year, int(value[2:4]), int(value[4:]))
            elif len(value) == 8:
                found = dates.compact(value)
        if found is None:
            reading.fail("bad-date", "six or eight digits of a date are expected", field)
        else:
            reading.fields[field] = found
    elif letter in _TEXTS:
        if not 1 <= len(value) <= _LONGEST_VALUE:
            reading.fail("length", "1 to 20 characters are expected", _TEXTS[letter])
        reading.fields[_TEXTS[letter]] = value
    else:
        reading.fail("format", "a unit that begins with no known letter")


def _identify(reading: Reading, device: str) -> None:
    keys, level = [device], "class"
    if lot := reading.fields.get("lot"):
        keys.append(f"{device}:L:{lot}")
        level = "lot"
    if serial := reading.fields.get("serial"):
        keys.append(f"{device}:S:{serial}")
        level = "instance"
    reading.identify(level, *keys)


def build(registrant: str, product: str, *units: str) -> str:
    """Return the code; `units` with their letters."""
    return ".".join([f"{_PREFIX}{registrant}.{product}", *units])
