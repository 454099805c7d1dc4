"""ISBT 128 data structures for blood, cells and tissue (ICCBBA ST-001), and their UDI.

A message is one structure after another, each a two-character data identifier and data of known
length. A donation number (DIN) alone names the donation, with a product code one bag. Typed as
printed, the DIN may end with its flags and a boxed check character.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from app.registry import checks, dates
from app.registry.reading import Context, Reading

_DIN = re.compile("[A-Z0-9][A-Z0-9]{4}[0-9]{2}[0-9]{6}")
_FLAGS = re.compile("[0-9A-Z]{2}")
_PRODUCT = re.compile("[A-Z][0-9A-Z]{4}[0-9A-Za-z][0-9A-Za-z]{2}")
_ISSUER = "ICCBBA"
_FIRST_CHECK_FLAG, _LAST_CHECK_FLAG = 60, 96


def _read_din(reading: Reading, data: str, at: int) -> None:
    din, flags = data[:13], data[13:]
    if not _DIN.fullmatch(din):
        reading.fail("format", "facility 5, year 2, sequence 6", "din", at)
        return
    fields = reading.fields
    fields.update(din=din, fin=din[:5], year=din[5:7], sequence=din[7:], flags=flags)
    if not _FLAGS.fullmatch(flags):
        reading.fail("format", "flags are two digits or letters", "flags", at + 13)
    elif flags.isdigit() and _FIRST_CHECK_FLAG <= int(flags) <= _LAST_CHECK_FLAG:
        character = checks.MOD37[int(flags) - _FIRST_CHECK_FLAG]
        fields["checkCharacter"] = character
        if checks.mod_37_2(din) != character:
            reading.fail("check-character", "the flags carry another check value", "flags", at + 13)


def _read_product(reading: Reading, data: str, at: int) -> None:
    if not _PRODUCT.fullmatch(data):
        reading.fail("format", "description 5, donation type 1, division 2", "productCode", at)
        return
    reading.fields.update(
        productCode=data,
        productDescriptionCode=data[:5],
        donationType=data[5],
        division=data[6:],
    )


_CENTURIES = {"0": 2000, "9": 1900}


def _read_date(field: str) -> Callable[[Reading, str, int], None]:
    """Give a reader of cyyjjj, or cyyjjjhhmm."""

    def one(reading: Reading, data: str, at: int) -> None:
        found = None
        if data.isdigit() and data[0] in _CENTURIES:
            found = dates.julian(_CENTURIES[data[0]] + int(data[1:3]), int(data[3:6]))
            if found and len(data) == 10:
                time = dates.clock(data[6:])
                found = f"{found}T{time}" if time else None
        if found is None:
            reading.fail("bad-date", "not a date of the calendar", field, at)
        else:
            reading.fields[field] = found

    return one


def _read_text(field: str) -> Callable[[Reading, str, int], None]:
    def one(reading: Reading, data: str, at: int) -> None:
        if data.isascii() and data.isprintable() and " " not in data:
            reading.fields[field] = data
        else:
            reading.fail("illegal-character", "letters and digits are expected", field, at)

    return one


def _read_device(reading: Reading, data: str, at: int) -> None:
    if not (data.isascii() and data.isalnum()):
        reading.fail("illegal-character", "letters and digits are expected", "udiDi", at)
        return
    reading.scheme = "isbt128-udi"
    reading.fields.update(udiDi=data, udiIssuer=_ISSUER)


# Data identifier -> (characters of data, reader). Under `=` and a letter or digit: the DIN.
_STRUCTURES: dict[str, tuple[int, Callable[[Reading, str, int], None]]] = {
    "=<": (8, _read_product),
    "=>": (6, _read_date("expiry")),
    "&>": (10, _read_date("expiry")),
    "=*": (6, _read_date("collectionDate")),
    "&*": (10, _read_date("collectionDate")),
    "=}": (6, _read_date("productionDate")),
    "&}": (10, _read_date("productionDate")),
    "=%": (4, _read_text("bloodGroup")),
    "&(": (5, _read_text("specialTesting")),
    "={": (18, _read_text("redCellAntigens")),
    "=+": (5, _read_text("compoundMessage")),
    "&,1": (18, _read_text("lot")),
    "=,": (6, _read_text("serial")),
    "=/": (16, _read_device),
    "=)": (10, _read_device),
    "&)": (10, _read_text("lot")),
}
_DIN_LENGTH = 15


def _starts_din(text: str, at: int) -> bool:
    after = text[at + 1 : at + 2]
    return text[at] == "=" and after.isascii() and after.isalnum() and not after.islower()


def read(text: str, context: Context) -> Reading:
    """Read a message of structures, or a donation number as printed."""
    if text[:1] not in ("=", "&"):
        return _printed(text)
    reading = Reading("isbt128")
    at = 0
    while at < len(text):
        mark = next((text[at : at + n] for n in (2, 3) if text[at : at + n] in _STRUCTURES), None)
        if mark is not None:
            size, one = _STRUCTURES[mark]
            begin = at + len(mark)
        elif _starts_din(text, at):
            size, one, begin = _DIN_LENGTH, _read_din, at + 1
        else:
            return reading.fail("format", "no such data identifier", offset=at)
        data = text[begin : begin + size]
        if len(data) < size:
            return reading.fail("length", f"{size} characters of data are expected", offset=begin)
        one(reading, data, begin)
        at = begin + size
    if not reading.errors:
        _identify(reading, container=text.startswith("=)"))
    return reading


def read_di(text: str, context: Context) -> Reading:
    """Read a device identifier as a UDI database stores it, with or without its data identifier."""
    if text[:2] in ("=/", "=)"):
        return read(text, context)
    return read(("=)" if len(text) == _STRUCTURES["=)"][0] else "=/") + text, context)


def _identify(reading: Reading, *, container: bool) -> None:
    """Name the device, else the bag, else the donation; dates and products alone name nothing."""
    fields = reading.fields
    device, din = fields.get("udiDi"), fields.get("din")
    if device and container:
        keys = [f"isbt128:container:{device}"]
        if "lot" in fields:
            keys.append(f"{keys[0]}:{fields['lot']}")
        reading.identify("lot" if len(keys) > 1 else "class", *keys)
    elif device:
        keys = [f"isbt128:ppic:{device}"]
        if "serial" in fields:
            keys.append(f"{keys[0]}:{fields['serial']}")
        reading.identify("instance" if len(keys) > 1 else "class", *keys)
    elif din:
        keys = [f"isbt128:din:{din}"]
        if "productCode" in fields:
            keys.append(f"{keys[0]}:{fields['productCode']}")
        reading.identify("instance" if len(keys) > 1 else "lot", *keys)


def _printed(text: str) -> Reading:
    """Read DIN, optional flags and optional check character: 13, 14, 15 or 16 characters."""
    reading = Reading("isbt128")
    body = text.replace(" ", "").upper()
    size = len(body)
    if not 13 <= size <= 16:
        return reading.fail("length", "a donation number has 13 characters, flags 2, check 1")
    flags = body[13:15] if size >= 15 else "00"
    _read_din(reading, body[:13] + flags, 0)
    if size < 15:
        reading.fields.pop("flags", None)
    if size in (14, 16) and "din" in reading.fields:
        reading.fields["checkCharacter"] = body[-1]
        if checks.mod_37_2(body[:13]) != body[-1]:
            reading.fail("check-character", "the check character does not fit", "din", size - 1)
    if not reading.errors:
        _identify(reading, container=False)
    return reading


# ---- the other direction ----


def build_din(din: str, flags: str = "00") -> str:
    """Return the donation number as a bar code holds it."""
    return f"={din}{flags}"


def build_printed(din: str, flags: str = "00") -> str:
    """Return the donation number as it is printed, with its check character."""
    return f"{din[:5]} {din[5:7]} {din[7:]} {flags} {checks.mod_37_2(din)}"


def build_bag(din: str, product_code: str, flags: str = "00") -> str:
    """Return donation number and product code: one bag."""
    return f"{build_din(din, flags)}=<{product_code}"


def build_device(device: str, serial: str, din: str, expiry: str) -> str:
    """Return the UDI of a device made of human tissue; `expiry` as cyyjjj."""
    return f"=/{device}=,{serial}{build_din(din)}=>{expiry}"
