"""GS1 application identifiers: the table, the checks on values, and which of them are keys.

GS1 General Specifications sections 3 and 4, as the Barcode Syntax Dictionary states them
(`data/gs1_ais.json`, built by `tools/build_gs1_table.py`). Knowingly left out: lists that change
without notice (ISO 3166, ISO 4217, package types: shape only), coupon codes (8110, 8112), and the
length of company prefixes, which needs GS1's own register.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from app.registry import checks, dates
from app.registry.reading import Context, Reading, Value

_TABLE = Path(__file__).resolve().parent / "data" / "gs1_ais.json"

_ALPHABETS = {
    "X": frozenset(checks.CSET82),
    "Y": frozenset(checks.CSET39),
    "Z": frozenset(checks.CSET64),
}


_MOST_ELEMENTS = 64  # of one symbol or link


class Part(NamedTuple):
    """One component of a value: 18 digits with a check digit, up to 20 characters ..."""

    kind: str  # N digits, X CSET 82, Y CSET 39, Z base64url
    low: int
    high: int
    rules: Sequence[str]
    whole: bool = False  # optional, but of full length if it is there


class AI(NamedTuple):
    """One application identifier.

    requires: each row needs one of its ways, a way being AIs that all have to be there.
    paths: the sequences of qualifiers that may follow it in a Digital Link path; None: not a key.
    """

    parts: Sequence[Part]
    low: int
    high: int
    predefined: bool  # its length is known from its first two digits: no separator needed
    attribute: bool  # may stand in the query of a Digital Link
    requires: Sequence[Sequence[Sequence[str]]]
    excludes: Sequence[str]
    paths: Sequence[Sequence[str]] | None


class Element(NamedTuple):
    """An AI and its value as found in a code, and where the value begins."""

    code: str
    value: str
    offset: int | None = None


@cache
def table() -> dict[str, AI]:
    """Return every application identifier by its digits."""
    out = {}
    for key, row in json.loads(_TABLE.read_text(encoding="utf-8"))["ais"].items():
        parts = [Part(*part) for part in row["parts"]]
        ai = AI(
            parts,
            sum([part.low for part in parts]),
            sum([part.high for part in parts]),
            "predefined" in row,
            "attribute" in row,
            row.get("req", ()),
            row.get("ex", ()),
            row.get("key"),
        )
        first, _, last = key.partition("-")
        for number in range(int(first), int(last or first) + 1):
            out[f"{number:0{len(first)}d}"] = ai
    return out


@cache
def code_lengths() -> dict[str, int]:
    """Return the number of digits of an AI by its first two digits."""
    return {code[:2]: len(code) for code in table()}


# ---- rules on values, by the names of the dictionary; each gives an error code or None ----


def _date(text: str, year: int, *, day_zero: bool = False) -> str | None:
    full, month, day = dates.century(int(text[:2]), year), int(text[2:4]), int(text[4:6])
    found = dates.month_end(full, month) if day_zero and day == 0 else dates.ymd(full, month, day)
    return None if found else "bad-date"


def _piece_of_total(text: str, _year: int) -> str | None:
    piece, total = int(text[:2]), int(text[2:])
    return None if 1 <= piece <= total else "out-of-range"


def _position_in_sequence(text: str, _year: int) -> str | None:
    if text[1:2] != "/" or not (text[0] + text[2:]).isdigit():
        return "format"
    return None if "1" <= text[0] <= text[2] else "out-of-range"


_ESCAPES = re.compile("(?:[^%]|%[0-9A-Fa-f]{2})*")
_IBAN = re.compile("[A-Z]{2}[0-9]{2}[A-Z0-9]{1,30}")


def _iban(text: str, _year: int) -> str | None:
    if not _IBAN.fullmatch(text):
        return "format"
    turned = "".join(str(int(c, 36)) for c in text[4:] + text[:4])
    return None if int(turned) % 97 == 1 else "check-digit"


def _one_of(*allowed: str) -> Callable[[str, int], str | None]:
    return lambda text, _year: None if text in allowed else "out-of-range"


def _at_most(limit: int, *, low: int = 0) -> Callable[[str, int], str | None]:
    return lambda text, _year: None if low <= int(text) <= limit else "out-of-range"


def _clock(text: str, _year: int) -> str | None:
    return None if dates.clock(text) else "bad-date"


def _below(limit: str) -> Callable[[str, int], str | None]:
    return lambda text, _year: None if text < limit else "bad-date"


_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_IMPORTER = frozenset(checks.CSET64[:-1])

_RULES: dict[str, Callable[[str, int], str | None]] = {
    "csum": lambda t, _: None if checks.gs1(t[:-1]) == t[-1] else "check-digit",
    "csumalpha": lambda t, _: (
        None if len(t) > 2 and checks.pair_1021(t[:-2]) == t[-2:] else "check-character"
    ),
    # The shortest company prefix has four digits; gcppos2 begins after an indicator digit.
    "gcppos1": lambda t, _: None if len(t) >= 4 and t[:4].isdigit() else "format",
    "yymmdd": _date,
    "yymmd0": lambda t, year: _date(t, year, day_zero=True),
    "yyyymmdd": lambda t, _: None if dates.compact(t) else "bad-date",
    "hhmi": _clock,
    "hh": _below("24"),
    "mi": _below("60"),
    "ss": _below("60"),
    "hasnondigit": lambda t, _: None if not t.isdigit() else "format",
    "hyphen": _one_of("-"),
    "iban": _iban,
    "importeridx": lambda t, _: None if t in _IMPORTER else "illegal-character",
    "iso3166": _at_most(999, low=1),
    "iso3166999": _at_most(999, low=1),
    "iso3166alpha2": lambda t, _: None if _LETTERS.issuperset(t) else "format",
    "iso4217": _at_most(999, low=1),
    "iso5218": _one_of("0", "1", "2", "9"),
    "latitude": _at_most(1800000000),
    "longitude": _at_most(3600000000),
    "mediatype": lambda t, _: None if "01" <= t <= "10" or t >= "80" else "out-of-range",
    "nonzero": lambda t, _: None if t.strip("0") else "out-of-range",
    "nozeroprefix": lambda t, _: None if t == "0" or t[0] != "0" else "leading-zero",
    "pcenc": lambda t, _: None if _ESCAPES.fullmatch(t) else "bad-percent-encoding",
    "pieceoftotal": _piece_of_total,
    "posinseqslash": _position_in_sequence,
    "winding": _one_of("0", "1", "9"),
    "yesno": _one_of("0", "1"),
    "zero": _one_of("0"),
}

_MESSAGES = {
    "check-digit": "the check digit does not fit",
    "check-character": "the check characters do not fit",
    "bad-date": "not a date of the calendar",
    "out-of-range": "a value that the standard does not list",
    "format": "not of the form the standard gives",
    "illegal-character": "a character outside the set of this application identifier",
    "leading-zero": "leading zeros are not allowed",
    "bad-percent-encoding": "a percent sign without two hexadecimal digits",
}


def check(ai: AI, value: str, year: int) -> tuple[str, str, int] | None:
    """Return (error code, message, offset in the value) of the first fault of a value."""
    size = len(value)
    if not ai.low <= size <= ai.high:
        if not size:
            return "ai-value-length", "the value is empty", 0
        return "ai-value-length", f"the value has to have {ai.low} to {ai.high} characters", 0
    at = 0
    for kind, _low, high, rules, whole in ai.parts:
        piece = value[at : at + high]
        if not piece:
            break
        if kind == "N":
            if not (piece.isascii() and piece.isdigit()):
                return "illegal-character", "digits are expected", at + _first_bad(piece, "N")
        elif not _ALPHABETS[kind].issuperset(piece):
            return "illegal-character", _MESSAGES["illegal-character"], at + _first_bad(piece, kind)
        if whole and len(piece) != high:
            return "ai-value-length", "an optional part is cut short", at
        for rule in rules:
            test = _RULES.get(rule)
            fault = test(piece, year) if test else None
            if fault:
                return fault, _MESSAGES[fault], at
        at += len(piece)
    if at < size:
        return "ai-value-length", "more characters than the parts hold", at
    return None


def _first_bad(piece: str, kind: str) -> int:
    allowed = frozenset(checks.DIGITS) if kind == "N" else _ALPHABETS[kind]
    return next(n for n, c in enumerate(piece) if c not in allowed)


# ---- from checked elements to fields and keys ----

_DATE_FIELDS = {
    "11": "productionDate",
    "12": "dueDate",
    "13": "packagingDate",
    "15": "bestBefore",
    "16": "sellBy",
    "17": "expiry",
    "7003": "expiry",
    "7006": "firstFreezeDate",
    "7011": "testBy",
    "8008": "productionDate",
    "4324": "notBefore",
    "4325": "notAfter",
    "4326": "releaseDate",
}
_COUNT_FIELDS = {"30": "count", "37": "count"}
_TEXT_FIELDS = {
    "00": "sscc",
    "01": "gtin",
    "02": "contentGtin",
    "03": "madeToOrderGtin",
    "10": "lot",
    "20": "variant",
    "21": "serial",
    "22": "cpv",
    "235": "thirdPartySerial",
    "240": "additionalId",
    "241": "customerPartNumber",
    "242": "madeToOrderVariant",
    "243": "packagingComponent",
    "250": "secondarySerial",
    "251": "sourceReference",
    "253": "gdti",
    "254": "glnExtension",
    "255": "gcn",
    "400": "orderNumber",
    "401": "ginc",
    "402": "gsin",
    "403": "route",
    "410": "shipTo",
    "411": "billTo",
    "412": "purchasedFrom",
    "413": "shipFor",
    "414": "gln",
    "415": "invoicingGln",
    "416": "productionGln",
    "417": "gln",
    "7020": "refurbishmentLot",
    "7023": "assemblyGiai",
    "7240": "protocol",
    "7241": "mediaType",
    "7242": "versionControlNumber",
    "7252": "sex",
    "7253": "familyName",
    "7254": "givenName",
    "7255": "nameSuffix",
    "7256": "fullName",
    "7257": "address",
    "7258": "birthSequence",
    "7259": "baby",
    "8002": "cellularNumber",
    "8003": "grai",
    "8004": "giai",
    "8006": "itip",
    "8010": "cpid",
    "8011": "cpidSerial",
    "8012": "softwareVersion",
    "8013": "gmn",
    "8014": "mudi",
    "8017": "gsrnp",
    "8018": "gsrn",
    "8019": "srin",
    "8020": "paymentReference",
    "8026": "contentItip",
    "8200": "productUrl",
}
# First three digits of the measures; the fourth is the number of decimals.
_MEASURES = {
    "310": "netWeightKg",
    "311": "lengthM",
    "312": "widthM",
    "313": "heightM",
    "314": "areaM2",
    "315": "netVolumeL",
    "316": "netVolumeM3",
    "320": "netWeightLb",
    "321": "lengthIn",
    "322": "lengthFt",
    "323": "lengthYd",
    "324": "widthIn",
    "325": "widthFt",
    "326": "widthYd",
    "327": "heightIn",
    "328": "heightFt",
    "329": "heightYd",
    "330": "grossWeightKg",
    "331": "logisticLengthM",
    "332": "logisticWidthM",
    "333": "logisticHeightM",
    "334": "logisticAreaM2",
    "335": "logisticVolumeL",
    "336": "logisticVolumeM3",
    "337": "kgPerM2",
    "340": "grossWeightLb",
    "356": "netWeightTroyOz",
    "357": "netVolumeOz",
    "360": "netVolumeQt",
    "361": "netVolumeGal",
    "390": "amount",
    "392": "price",
    "394": "percentOff",
    "395": "pricePerUnit",
}
_MONEY = {"391": "amount", "393": "price"}  # three digits of ISO 4217 before the number


def _decimal(digits: str, decimals: int) -> int | float:
    return int(digits) / 10**decimals if decimals else int(digits)


def _read_date(reading: Reading, code: str, value: str, year: int) -> None:
    name = _DATE_FIELDS[code]
    full, month, day = dates.century(int(value[:2]), year), int(value[2:4]), int(value[4:6])
    if day == 0:
        found = dates.month_end(full, month)
        reading.fields[name + "Precision"] = "month"
    else:
        found = dates.ymd(full, month, day)
    if found is None:
        return
    time = value[6:]
    if len(time) == 2:
        found += f"T{time}:00"
    elif time:
        found += f"T{time[:2]}:{time[2:4]}" + (f":{time[4:6]}" if len(time) == 6 else "")
    reading.fields[name] = found


def _read_birth(reading: Reading, value: str) -> None:
    found = dates.compact(value)
    if found:
        reading.fields["birthDate"] = found
        if len(value) == 12:
            reading.fields["birthTime"] = f"{value[8:10]}:{value[10:]}"


def fill(reading: Reading, code: str, value: str, year: int) -> None:
    """Put one value, known to have the right characters and length, into `reading.fields`."""
    fields: dict[str, Value] = reading.fields
    if code in _TEXT_FIELDS:
        fields[_TEXT_FIELDS[code]] = value
    elif code in _DATE_FIELDS:
        _read_date(reading, code, value, year)
    elif code in _COUNT_FIELDS:
        fields[_COUNT_FIELDS[code]] = int(value)
    elif code[:3] in _MEASURES:
        fields[_MEASURES[code[:3]]] = _decimal(value, int(code[3]))
    elif code[:3] in _MONEY:
        fields["currency"] = value[:3]
        fields[_MONEY[code[:3]]] = _decimal(value[3:], int(code[3]))
    elif code in ("7250", "7251"):
        _read_birth(reading, value)


class Identity(NamedTuple):
    """A key of the GS1 system and the qualifiers that narrow it, coarse to fine.

    root: length of the part that names the class when the value may hold a serial too (GRAI).
    """

    code: str
    level: str
    qualifiers: tuple[tuple[str, str], ...] = ()
    root: int = 0


_TRADE_ITEM = (("10", "lot"), ("235", "instance"), ("21", "instance"))
_IDENTITIES = {
    row.code: row
    for row in (
        Identity("00", "instance"),
        Identity("01", "class", _TRADE_ITEM),
        Identity("8006", "class", _TRADE_ITEM),
        Identity("03", "class", _TRADE_ITEM),
        Identity("8004", "instance"),
        Identity("8003", "instance", root=14),
        Identity("8018", "person"),
        Identity("8017", "person"),
        Identity("253", "document", root=13),
        Identity("255", "document", root=13),
        Identity("8010", "class", (("8011", "instance"),)),
        Identity("402", "instance"),
        Identity("401", "instance"),
        Identity("8013", "class"),
        Identity("414", "place", (("254", "place"),)),
        Identity("417", "party"),
        Identity("415", "party", (("8020", "document"),)),
        Identity("02", "class"),
    )
}
_RANKS = {"instance": 4, "person": 4, "document": 3, "lot": 2, "class": 1, "place": 0, "party": 0}


def identify(reading: Reading, values: dict[str, str], primary: str | None = None) -> None:
    """Set the keys of a reading from its AIs: the most specific identity among them.

    `primary` names the key outright (the one in the path of a Digital Link).
    """
    best: Identity | None = None
    best_level = ""
    for code in (primary,) if primary else _IDENTITIES:
        if code in values:
            row = _IDENTITIES[code]
            level = _level(row, values)
            if best is None or _RANKS[level] > _RANKS[best_level]:
                best, best_level = row, level
    if best is None:
        return
    value = values[best.code]
    base = f"gs1:{best.code}:{value}"
    uri = f"https://id.gs1.org/{best.code}/{escape(value)}"
    keys = [f"gs1:{best.code}:{value[: best.root]}"] if 0 < best.root < len(value) else []
    keys.append(base)
    reading.uri = uri
    for code, _finer in best.qualifiers:
        if code in values:
            keys.append(f"{base}:{code}:{values[code]}")
            reading.uri = f"{uri}/{code}/{escape(values[code])}"
    reading.identify(best_level, *keys)


def _level(row: Identity, values: dict[str, str]) -> str:
    if row.code == "8003" and len(values["8003"]) == row.root:
        return "class"
    return next((lv for code, lv in reversed(row.qualifiers) if code in values), row.level)


_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def escape(value: str) -> str:
    """Return `value` percent-encoded as one URI segment (RFC 3986, unreserved stay)."""
    if _UNRESERVED.issuperset(value):
        return value
    return "".join([c if c in _UNRESERVED else f"%{ord(c):02X}" for c in value])


def _matches(pattern: str, codes: Collection[str]) -> bool:
    if "n" not in pattern:
        return pattern in codes
    stem = pattern.rstrip("n")
    return any(c.startswith(stem) and len(c) == len(pattern) for c in codes)


def _excluded(code: str, patterns: Sequence[str], codes: Sequence[str]) -> bool:
    others = [other for other in codes if other != code]
    return any(_matches(pattern, others) for pattern in patterns)


def _met(ways: Iterable[Iterable[str]], codes: Collection[str]) -> bool:
    return any(all(_matches(pattern, codes) for pattern in way) for way in ways)


def read(
    reading: Reading,
    elements: Sequence[Element],
    context: Context,
    *,
    primary: str | None = None,
) -> Reading:
    """Check all elements, one by one and together, and fill fields and keys of `reading`."""
    ais = table()
    values: dict[str, str] = {}
    if len(elements) > _MOST_ELEMENTS:
        return reading.fail("length", f"more than {_MOST_ELEMENTS} element strings")
    for code, value, offset in elements:
        ai = ais[code]
        name = _TEXT_FIELDS.get(code) or _DATE_FIELDS.get(code) or f"({code})"
        reading.ai.append((code, value))
        if code in values:
            if values[code] == value:
                reading.warn("normalized")
            else:
                reading.fail("ai-conflict", f"({code}) is there twice", name, offset)
            continue
        values[code] = value
        fault = check(ai, value, context.year)
        if fault:
            kind, message, at = fault
            reading.fail(kind, message, name, None if offset is None else offset + at)
        if not fault or fault[0] in ("check-digit", "check-character"):
            fill(reading, code, value, context.year)
    _together(reading, values)
    if not reading.errors:
        identify(reading, values, primary)
    return reading


def _together(reading: Reading, values: dict[str, str]) -> None:
    """Report AIs that exclude each other, and those that need another (section 4.14)."""
    ais, codes = table(), list(values)
    for code in codes:
        ai = ais[code]
        if ai.excludes and len(codes) > 1 and _excluded(code, ai.excludes, codes):
            reading.fail("ai-conflict", f"({code}) excludes another of these", f"({code})")
        for ways in ai.requires:
            if not _met(ways, codes):
                reading.fail("ai-requires", f"({code}) needs another beside it", f"({code})")
