"""Lexical rules of the R4 primitive types, for values as they come out of a JSON parser.

R4 datatypes.html#primitive, with the regular expressions of each type and, beyond them, the
calendar (no 30 February), the ranges of integers and the limit of 1 MiB for strings. `RULES` maps
the type name to a test of one value; a JSON value of the wrong kind fails it (true is no
integer). Spaces other than ASCII (U+3000 in Chinese names) are ordinary characters of a string.

Deviation: the published expression of `string` would refuse a text of U+3000 alone and let most
control characters through; the text of the section decides here. `xhtml` is only asked to be a
string; `narrative` looks inside.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from decimal import Decimal

Rule = Callable[[object], bool]

MAX_STRING = 1024 * 1024

# Control characters, and what XML cannot hold either: lone surrogates, U+FFFE and U+FFFF.
_NO_TEXT = r"\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff"
_NO_WORD = rf"\s{_NO_TEXT}"
_CONTROL = re.compile(f"[{_NO_TEXT}]").search
_URI = re.compile(f"[^{_NO_WORD}]+").fullmatch
_OID = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+").fullmatch
_UUID = re.compile(
    r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
).fullmatch
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}").fullmatch
_CODE = re.compile(f"[^{_NO_WORD}]+(?: [^{_NO_WORD}]+)*").fullmatch
_INFINITE = (float("inf"), float("-inf"))
_BASE64_SPACE = str.maketrans("", "", " \t\r\n")

_YEAR = r"(?!0000)[0-9]{4}"
_MONTH = r"(?:0[1-9]|1[0-2])"
# Group 1 is the day if not every month has it: the calendar is asked for those only.
_DAY = r"(?:0[1-9]|1[0-9]|2[0-8]|(29|30|31))"
_LONG_MONTHS = frozenset(("01", "03", "05", "07", "08", "10", "12"))
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"

_DATE = re.compile(rf"{_YEAR}(?:-{_MONTH}(?:-{_DAY})?)?").fullmatch
_DATE_TIME = re.compile(rf"{_YEAR}(?:-{_MONTH}(?:-{_DAY}(?:T{_TIME}{_ZONE})?)?)?").fullmatch
_INSTANT = re.compile(rf"{_YEAR}-{_MONTH}-{_DAY}T{_TIME}{_ZONE}").fullmatch
_TIME_OF_DAY = re.compile(_TIME).fullmatch


def is_boolean(value: object) -> bool:
    return value is True or value is False


def is_integer(value: object) -> bool:
    return type(value) is int and -2147483648 <= value <= 2147483647


def is_unsigned_int(value: object) -> bool:
    return type(value) is int and 0 <= value <= 2147483647


def is_positive_int(value: object) -> bool:
    return type(value) is int and 1 <= value <= 2147483647


def is_decimal(value: object) -> bool:
    """JSON's grammar of numbers is that of decimal; only NaN and infinity have to be refused."""
    kind = type(value)
    if kind is float:
        return value == value and value not in _INFINITE
    return kind is int or (isinstance(value, Decimal) and value.is_finite())


def is_string(value: object) -> bool:
    return (
        type(value) is str
        and 0 < len(value) <= MAX_STRING
        and (value.isprintable() or _CONTROL(value) is None)
    )


def is_uri(value: object) -> bool:
    if type(value) is not str:
        return False
    return (value.isprintable() and " " not in value and value != "") or _URI(value) is not None


def is_oid(value: object) -> bool:
    return type(value) is str and _OID(value) is not None


def is_uuid(value: object) -> bool:
    return type(value) is str and _UUID(value) is not None


def is_id(value: object) -> bool:
    return type(value) is str and _ID(value) is not None


def is_code(value: object) -> bool:
    if type(value) is not str:
        return False
    return (value.isprintable() and " " not in value and value != "") or _CODE(value) is not None


def is_base64(value: object) -> bool:
    """Whitespace may stand anywhere; padding and alphabet have to be right."""
    if type(value) is not str or not value:
        return False
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return _is_spaced_base64(value)
    return True


def _is_spaced_base64(value: str) -> bool:
    text = value.translate(_BASE64_SPACE)
    return 0 < len(text) < len(value) and is_base64(text)


def is_date(value: object) -> bool:
    if type(value) is not str:
        return False
    match = _DATE(value)
    return match is not None and (match.lastindex is None or _in_calendar(value))


def is_date_time(value: object) -> bool:
    if type(value) is not str:
        return False
    match = _DATE_TIME(value)
    return match is not None and (match.lastindex is None or _in_calendar(value))


def is_instant(value: object) -> bool:
    if type(value) is not str:
        return False
    match = _INSTANT(value)
    return match is not None and (match.lastindex is None or _in_calendar(value))


def is_time(value: object) -> bool:
    return type(value) is str and _TIME_OF_DAY(value) is not None


def _in_calendar(value: str) -> bool:
    """Say whether the month has the day (29, 30 or 31) of a value that begins YYYY-MM-DD."""
    day, month = value[8:10], value[5:7]
    if day == "31":
        return month in _LONG_MONTHS
    return month != "02" or (day == "29" and _is_leap(int(value[:4])))


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


RULES: Mapping[str, Rule] = {
    "base64Binary": is_base64,
    "boolean": is_boolean,
    "canonical": is_uri,
    "code": is_code,
    "date": is_date,
    "dateTime": is_date_time,
    "decimal": is_decimal,
    "id": is_id,
    "instant": is_instant,
    "integer": is_integer,
    "markdown": is_string,
    "oid": is_oid,
    "positiveInt": is_positive_int,
    "string": is_string,
    "time": is_time,
    "unsignedInt": is_unsigned_int,
    "uri": is_uri,
    "url": is_uri,
    "uuid": is_uuid,
    "xhtml": is_string,
}

# What JSON writes a primitive as: for the diagnostic pass, which tells a wrong kind of value from
# a wrong value.
JSON_KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(RULES, (str,)),
    "boolean": (bool,),
    "decimal": (int, float, Decimal),
    **dict.fromkeys(("integer", "positiveInt", "unsignedInt"), (int,)),
}


def has_json_kind(value: object, type_name: str) -> bool:
    """Say whether the value is the kind of JSON value that the primitive type is written as."""
    return type(value) in JSON_KINDS[type_name]


# The rules that are worth inlining in compiled validators, as expressions of `x`, with the names
# they use. Each says the same as its rule above.
_INLINE_STRING = (
    "type({x}) is str and 0 < len({x}) <= max_string"
    " and ({x}.isprintable() or control({x}) is None)"
)
_INLINE_URI = (
    "type({x}) is str"
    " and ({x}.isprintable() and ' ' not in {x} and {x} != '' or uri({x}) is not None)"
)
INLINE: Mapping[str, str] = {
    "boolean": "{x} is True or {x} is False",
    "canonical": _INLINE_URI,
    "code": _INLINE_URI.replace("uri(", "code("),
    "decimal": "type({x}) is float and -infinite < {x} < infinite or decimal({x})",
    "markdown": _INLINE_STRING,
    "string": _INLINE_STRING,
    "uri": _INLINE_URI,
    "url": _INLINE_URI,
}
INLINE_NAMES: Mapping[str, object] = {
    "code": _CODE,
    "control": _CONTROL,
    "decimal": is_decimal,
    "infinite": float("inf"),
    "max_string": MAX_STRING,
    "uri": _URI,
}
