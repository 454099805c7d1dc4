"""The checks on the value of one GS1 application identifier.

Rules carry the names of the syntax dictionary; each gives an error code or None. Knowingly left
out: lists that change without notice (ISO 3166, ISO 4217, package types: shape only), coupon codes
(8110, 8112), and the length of company prefixes, which needs GS1's own register.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from app.registry import checks, dates
from app.registry.gs1_table import AI

_ALPHABETS = {
    "X": frozenset(checks.CSET82),
    "Y": frozenset(checks.CSET39),
    "Z": frozenset(checks.CSET64),
}


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

RULES: dict[str, Callable[[str, int], str | None]] = {
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
            test = RULES.get(rule)
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
