"""GS1 element strings of any carrier: checked one by one and together, and the key they make.

General Specifications 4.14 (which AIs go together) and identifiers.md section 3 (keys). The table
is `gs1_table`, the checks on one value `gs1_rules`, the names of fields `gs1_fields`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from app.registry import gs1_fields
from app.registry.gs1_rules import check
from app.registry.gs1_table import code_lengths, table
from app.registry.reading import Context, Reading

__all__ = ["Element", "check", "code_lengths", "escape", "identify", "read", "table"]

_MOST_ELEMENTS = 64  # of one symbol or link


class Element(NamedTuple):
    """An AI and its value as found in a code, and where the value begins."""

    code: str
    value: str
    offset: int | None = None


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
        field = gs1_fields.name(code)
        reading.ai.append((code, value))
        if code in values:
            if values[code] == value:
                reading.warn("normalized")
            else:
                reading.fail("ai-conflict", f"({code}) is there twice", field, offset)
            continue
        values[code] = value
        fault = check(ai, value, context.year)
        if fault:
            kind, message, at = fault
            reading.fail(kind, message, field, None if offset is None else offset + at)
        if not fault or fault[0] in ("check-digit", "check-character"):
            gs1_fields.fill(reading, code, value, context.year)
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
