"""HIBC supplier labels (ANSI/HIBC 2.6) and the HIBC Basic UDI-DI.

    +A99912345X               primary: LIC, product number, unit of measure, check
    +$$3270131LOT1XY          secondary: date and lot, link to the primary, check
    +A99912345/$$3270131LOT1/S1Y    combined: parts behind slashes, one check
    ++A999MODEL1XY            Basic UDI-DI: LIC, model, check pair

Upper case only; a lower-case scan is folded. Years are of this century.
"""

from __future__ import annotations

import re

from app.registry import checks, dates
from app.registry.reading import MARKED, Context, Reading

_ALPHABET = frozenset(checks.MOD43)
_LIC = re.compile("[A-Z][A-Z0-9]{3}")
_PRODUCT = re.compile("[A-Z0-9]+")
_ISSUER = "HIBCC"
_LONGEST_PCN = 18
_LONGEST_VALUE = 20
_LONGEST_MODEL = 17
_SHORTEST_LABEL, _LONGEST_LABEL = 4, 256


def read(text: str, context: Context) -> Reading:
    """Read any HIBC label; surrounding stars are Code 39's start and stop as printed."""
    if len(text) > 2 and text[0] == "*" and text[-1] == "*":
        text = text[1:-1]
    if text.startswith("++"):
        return _basic(text)
    upper = text.upper()
    reading = _read_label(upper, context)
    if upper != text:
        reading.warn("normalized")
    return reading


def _read_label(text: str, context: Context) -> Reading:
    lone = text[1:2] and not text[1].isalpha()
    reading = Reading("hibc-secondary" if lone else "hibc-primary")
    if not _ALPHABET.issuperset(text):
        bad = next(n for n, c in enumerate(text) if c not in _ALPHABET)
        return reading.fail("illegal-character", "not a character of HIBC", offset=bad)
    if not text.startswith("+"):
        return reading.fail("format", "a HIBC label begins with a plus sign")
    if not _SHORTEST_LABEL <= len(text) <= _LONGEST_LABEL:
        return reading.fail("length", "too short or too long for a label")
    if checks.hibc(text[:-1]) != text[-1]:
        reading.fail("check-character", "the check character does not fit", offset=len(text) - 1)
    if lone:
        reading.fields["link"] = text[-2]
        _secondary(reading, text[1:-2])
    else:
        primary, *parts = text[1:-1].split("/")
        if parts:
            reading.scheme = "hibc-combined"
        _primary(reading, primary)
        for part in parts:
            _part(reading, part)
    if not reading.errors and not lone:
        _identify(reading)
    return reading


def _primary(reading: Reading, body: str) -> None:
    lic, pcn, unit = body[:4], body[4:-1], body[-1:]
    if not _LIC.fullmatch(lic):
        reading.fail("lic", "a labeler code is a letter and three letters or digits", "lic", 1)
    else:
        reading.fields["lic"] = lic
    if not 1 <= len(pcn) <= _LONGEST_PCN:
        reading.fail("length", "a product number has 1 to 18 characters", "pcn", 5)
    elif not _PRODUCT.fullmatch(pcn):
        reading.fail("illegal-character", "letters and digits are expected", "pcn", 5)
    else:
        reading.fields["pcn"] = pcn
    if not unit.isdigit():
        reading.fail("format", "the unit of measure is a digit", "unitOfMeasure", len(body))
    else:
        reading.fields["unitOfMeasure"] = unit
    reading.fields["udiDi"] = body
    reading.fields["udiIssuer"] = _ISSUER


def _identify(reading: Reading) -> None:
    item = f"hibc:{reading.fields['udiDi']}"
    keys, level = [item], "class"
    if lot := reading.fields.get("lot"):
        keys.append(f"{item}:L:{lot}")
        level = "lot"
    if serial := reading.fields.get("serial"):
        keys.append(f"{item}:S:{serial}")
        level = "instance"
    reading.identify(level, *keys)


# ---- secondary data ----

# Flag -> (digits of the date, how they are arranged); none and 7 are handled apart.
_DATE_FLAGS = {
    "2": (6, "mdy"),
    "3": (6, "ymd"),
    "4": (8, "ymdh"),
    "5": (5, "yj"),
    "6": (7, "yjh"),
}
_QUANTITIES = {"8": 2, "9": 5}
_JULIAN_LOT = re.compile("[0-9]{5}")


def read_di(text: str, context: Context) -> Reading:
    """Read a device identifier as a UDI database stores it: without plus sign, link and check."""
    body = text.strip("*").removeprefix("+").upper()
    reading = Reading("hibc-primary", MARKED)
    if not _ALPHABET.issuperset(body):
        return reading.fail("illegal-character", "not a character of HIBC")
    _primary(reading, body)
    if not reading.errors:
        _identify(reading)
    return reading


def _secondary(reading: Reading, data: str) -> None:
    """Read `$`, `$+`, `$$`, `$$+` or a five-digit Julian date with the value behind them."""
    if data.startswith("$$"):
        serial = data.startswith("$$+")
        rest = _quantity(reading, data[3:] if serial else data[2:])
        _value(reading, "serial" if serial else "lot", _flagged_date(reading, rest))
    elif data.startswith("$"):
        serial = data.startswith("$+")
        _value(reading, "serial" if serial else "lot", data[2:] if serial else data[1:])
    elif _JULIAN_LOT.match(data):
        _date(reading, "expiry", data[:5], "yj")
        _value(reading, "lot", data[5:])
    else:
        reading.fail("format", "secondary data begins with $ or five digits")


def _quantity(reading: Reading, data: str) -> str:
    size = _QUANTITIES.get(data[:1])
    if size is None:
        return data
    digits = data[1 : 1 + size]
    if len(digits) == size and digits.isdigit():
        reading.fields["quantity"] = int(digits)
    else:
        reading.fail("format", f"a quantity of {size} digits is expected", "quantity")
    return data[1 + size :]


def _flagged_date(reading: Reading, data: str) -> str:
    flag = data[:1]
    if flag in ("", "7"):
        return data[1:]
    if flag in ("0", "1"):
        _date(reading, "expiry", data[:4], "my")
        return data[4:]
    if flag not in _DATE_FLAGS:
        reading.fail("format", "no such date flag", "expiry")
        return ""
    size, order = _DATE_FLAGS[flag]
    _date(reading, "expiry", data[1 : 1 + size], order)
    return data[1 + size :]


_WIDTHS = {"y": 2, "m": 2, "d": 2, "h": 2, "j": 3, "Y": 4}


def _date(reading: Reading, field: str, digits: str, order: str) -> None:
    if not digits.isdigit() or len(digits) != sum(_WIDTHS[o] for o in order):
        reading.fail("bad-date", "digits of a date are missing", field)
        return
    part, at = {}, 0
    for o in order:
        part[o] = int(digits[at : at + _WIDTHS[o]])
        at += _WIDTHS[o]
    year = part["Y"] if "Y" in part else 2000 + part["y"]
    if "j" in part:
        found = dates.julian(year, part["j"])
    elif "d" in part:
        found = dates.ymd(year, part["m"], part["d"])
    else:
        found = dates.month_end(year, part["m"])
        reading.fields[field + "Precision"] = "month"
    if found is None or part.get("h", 0) > 23:
        reading.fail("bad-date", "not a date of the calendar", field)
        reading.fields.pop(field + "Precision", None)
    else:
        reading.fields[field] = f"{found}T{part['h']:02d}:00" if "h" in part else found


def _value(reading: Reading, field: str, value: str) -> None:
    if len(value) > _LONGEST_VALUE:
        reading.fail("length", f"more than {_LONGEST_VALUE} characters", field)
    elif value:
        reading.fields[field] = value


def _part(reading: Reading, part: str) -> None:
    """Read one part of a combined label, by the data identifier it begins with."""
    if part.startswith("$") or _JULIAN_LOT.match(part):
        _secondary(reading, part)
    elif part.startswith("16D"):
        _date(reading, "productionDate", part[3:], "Ymd")
    elif part.startswith("14D"):
        reading.fields.pop("expiryPrecision", None)
        _date(reading, "expiry", part[3:], "Ymd")
    elif part.startswith("S"):
        _value(reading, "serial", part[1:])
    elif part.startswith("L"):
        _value(reading, "location", part[1:])
    elif part.startswith("Q") and part[1:].isdigit() and len(part) <= 10:
        reading.fields["quantity"] = int(part[1:])
    else:
        reading.fail("format", "a part that begins with no known identifier")


# ---- Basic UDI-DI ----


def _basic(text: str) -> Reading:
    reading = Reading("hibc-basic-udi")
    body = text[2:]
    allowed = frozenset(checks.CSET82)
    bad = next((n for n, c in enumerate(text) if c not in allowed), None)
    if bad is not None:
        return reading.fail("illegal-character", "not a character of HIBC", offset=bad)
    if not 4 + 1 + 2 <= len(body) <= 4 + _LONGEST_MODEL + 2:
        return reading.fail("length", "labeler code, 1 to 17 characters, check pair")
    if not _LIC.match(body):
        reading.fail("lic", "a labeler code is a letter and three letters or digits", "lic", 2)
    if checks.pair_1021(text[:-2]) != text[-2:]:
        reading.fail("check-character", "the check pair does not fit", offset=len(text) - 2)
    reading.fields.update(lic=body[:4], model=body[4:-2], udiIssuer=_ISSUER)
    return reading if reading.errors else reading.identify("class", f"hibc-basic:{body}")


# ---- the other direction ----


def build_primary(lic: str, pcn: str, unit: str) -> str:
    """Return the primary label."""
    body = f"+{lic}{pcn}{unit}"
    return body + checks.hibc(body)


def build_secondary(data: str, link: str) -> str:
    """Return a lone secondary label; `link` is the check character of its primary."""
    body = f"+{data}{link}"
    return body + checks.hibc(body)


def build_combined(lic: str, pcn: str, unit: str, *parts: str) -> str:
    """Return a combined label; `parts` without their slashes."""
    body = "/".join([f"+{lic}{pcn}{unit}", *parts])
    return body + checks.hibc(body)


def build_basic(lic: str, model: str) -> str:
    """Return the Basic UDI-DI."""
    body = f"++{lic}{model}"
    return body + checks.pair_1021(body)
