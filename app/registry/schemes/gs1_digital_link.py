"""GS1 Digital Link URIs (Digital Link Standard: URI Syntax; checked as GS1's syntax engine does).

The rightmost path pair whose AI is a key begins the GS1 part, whatever stands before it. Numeric
query keys are AIs, others belong to the web site. Host names are not judged beyond characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from app.registry import gs1
from app.registry.reading import Context, Reading
from app.registry.schemes import gs1_compressed

_SCHEMES = ("https://", "http://", "HTTPS://", "HTTP://")
_NOT_URI = re.compile(r"[^A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]")
_NOT_HOST = re.compile(r"[^A-Za-z0-9\-.:\[\]]")
_ESCAPE = re.compile("%([0-9A-Fa-f]{2})?")
_BASE64URL = re.compile(r"[A-Za-z0-9_\-]+")

# Names that releases before 1.2 allowed in place of the numbers.
_SHORT_NAMES = {
    "gtin": "01",
    "itip": "8006",
    "cpid": "8010",
    "gln": "414",
    "payTo": "415",
    "gsrnp": "8017",
    "gsrn": "8018",
    "gcn": "255",
    "sscc": "00",
    "gdti": "253",
    "ginc": "401",
    "gsin": "402",
    "grai": "8003",
    "giai": "8004",
    "gmn": "8013",
    "cpv": "22",
    "lot": "10",
    "ser": "21",
    "cpsn": "8011",
    "glnx": "254",
    "refno": "8020",
    "srin": "8019",
}
_SHORT_QUERY_NAMES = {"exp": "17", "expdt": "7003"}
_PADDED = {8, 12, 13}


class _Faulty(Exception):
    """A percent-escape that is none."""


def read(text: str, context: Context) -> Reading:
    """Read a Digital Link; `unknown-scheme` when the address has no GS1 part."""
    reading = Reading("gs1-digital-link")
    start = next((len(s) for s in _SCHEMES if text.startswith(s)), 0)
    slash = text.find("/", start)
    if not start or slash <= start:
        return _no_link(reading)
    address, _, _fragment = text.partition("#")
    path, _, query = address.partition("?")
    segments = path[slash + 1 :].split("/")
    first = _root(segments)
    bad = _NOT_HOST.search(text, start, slash) or _NOT_URI.search(text)
    if bad and first is not None:
        return reading.fail("illegal-character", "not a character of a URI", offset=bad.start())
    if bad:
        return _no_link(reading)
    if first is None:
        return _compressed(segments, query, context) or _no_link(reading)
    return _read_plain(reading, segments, first, query, context)


def _no_link(reading: Reading) -> Reading:
    reading.scheme = "unknown"
    return reading.fail("unknown-scheme", "an address without a GS1 key in its path")


def _code(segment: str) -> str | None:
    """Return the AI that a path segment names, if it does."""
    if segment in gs1.table():
        return segment
    return _SHORT_NAMES.get(segment)


def _root(segments: Sequence[str]) -> int | None:
    """Return the index of the rightmost key, walking back in pairs of AI and value."""
    ais = gs1.table()
    at = len(segments) - 2
    while at >= 0:
        code = _code(segments[at])
        if code is None:
            return None
        if ais[code].paths is not None:
            return at
        at -= 2
    return None


def _read_plain(
    reading: Reading, segments: Sequence[str], first: int, query: str, context: Context
) -> Reading:
    if _second_key(segments, first, context):
        reading.fail("ai-conflict", "two keys follow each other in the path")
    elements: list[gs1.Element] = []
    try:
        for at in range(first, len(segments), 2):
            code = _code(segments[at])
            assert code is not None  # _root walked over it
            if code != segments[at]:
                reading.warn("deprecated-form")
            value = decode(segments[at + 1])
            elements.append(gs1.Element(code, _padded(reading, code, value)))
        in_path = len(elements)
        elements.extend(_attributes(reading, query, {e.code for e in elements}))
    except _Faulty:
        return reading.fail("bad-percent-encoding", "a percent sign without two hex digits")
    _check_order(reading, [e.code for e in elements], in_path)
    _control(reading, elements)
    return gs1.read(reading, elements, context, primary=elements[0].code)


def _second_key(segments: Sequence[str], first: int, context: Context) -> bool:
    """Tell whether the stem ends in another key with a good value: one link names one thing."""
    ais = gs1.table()
    at = first - 2
    while at >= 0:
        ai = ais.get(segments[at])
        if ai is None or gs1.check(ai, segments[at + 1], context.year):
            return False
        if ai.paths is not None:
            return True
        at -= 2
    return False


def _padded(reading: Reading, code: str, value: str) -> str:
    if code != "01" or len(value) not in _PADDED:
        return value
    reading.warn("deprecated-form")
    return value.zfill(14)


def _attributes(reading: Reading, query: str, seen: set[str]) -> Iterable[gs1.Element]:
    """Yield the AIs of the query string. Keys that are not numbers are the web site's own.

    seen: the AIs of the path; none may be there twice.
    """
    ais = gs1.table()
    short = "deprecated-form" in reading.warnings
    for pair in query.split("&"):
        key, equals, value = pair.partition("=")
        if not equals:
            continue
        if short:
            key = _SHORT_QUERY_NAMES.get(key, key)
        if not (key.isascii() and key.isdigit()):
            continue
        if key not in ais:
            reading.fail("unknown-ai", "a number in the query that is no application identifier")
        elif key in seen:
            reading.fail("ai-conflict", f"({key}) is there twice", f"({key})")
        else:
            seen.add(key)
            value = decode(value.replace("+", " "))
            yield gs1.Element(key, _padded(reading, key, value))


def _check_order(reading: Reading, codes: Sequence[str], in_path: int) -> None:
    """Report qualifiers out of order, and AIs in the query that belong to the path."""
    ais = gs1.table()
    key, qualifiers = codes[0], codes[1:in_path]
    paths = ais[key].paths or ()
    if not any(_follows(qualifiers, path) for path in paths):
        reading.fail("ai-order", "not the qualifiers of this key, or not in their order")
        return
    for code in codes[in_path:]:
        fits_path = any(
            code in path and _follows([c for c in path if c == code or c in qualifiers], path)
            for path in paths
            if all(c in path for c in qualifiers)
        )
        if fits_path or not ais[code].attribute:
            reading.fail("ai-order", f"({code}) does not belong in the query", f"({code})")


def _follows(codes: Sequence[str], path: Sequence[str]) -> bool:
    """Tell whether `codes` are a subsequence of `path`."""
    if not all(code in path for code in codes):
        return False
    return all(path.index(a) < path.index(b) for a, b in pairwise(codes))


def _control(reading: Reading, elements: Sequence[gs1.Element]) -> None:
    if any(c < " " for e in elements for c in e.value):
        reading.fail("control-character", "an escaped control character")


def decode(segment: str) -> str:
    """Return a segment with its percent-escapes decoded once, byte by byte."""
    if "%" not in segment:
        return segment

    def one(found: re.Match[str]) -> str:
        if found[1] is None:
            raise _Faulty
        return chr(int(found[1], 16))

    return _ESCAPE.sub(one, segment)


def decode_text(segment: str) -> str | None:
    """Return a segment percent-decoded as UTF-8, None if an escape is broken."""
    try:
        return decode(segment).encode("latin-1").decode() if "%" in segment else segment
    except (_Faulty, UnicodeError):
        return None


def _compressed(segments: Sequence[str], query: str, context: Context) -> Reading | None:
    """Read a compressed last segment, alone or after one key; None if it is not one."""
    packed = segments[-1]
    if not _BASE64URL.fullmatch(packed):
        return None
    unpacked = gs1_compressed.unpack(packed)
    if not unpacked:
        return None
    reading = Reading("gs1-digital-link-compressed")
    elements = [gs1.Element(code, value) for code, value in unpacked]
    if len(segments) > 2 and (code := _code(segments[-3])) and gs1.table()[code].paths is not None:
        elements.insert(0, gs1.Element(code, _padded(reading, code, segments[-2])))
    try:
        elements.extend(_attributes(reading, query, {e.code for e in elements}))
    except _Faulty:
        return None
    keys = [e.code for e in elements if gs1.table()[e.code].paths is not None]
    if not keys:
        return None
    gs1.read(reading, elements, context, primary=keys[0])
    return reading if reading.valid else None


def build(
    key: Sequence[tuple[str, str]],
    attributes: Iterable[tuple[str, str]] = (),
    *,
    stem: str = "https://id.gs1.org",
) -> str:
    """Return the link of a key with its qualifiers in order, and its attributes in the query."""
    path = "".join(f"/{code}/{gs1.escape(value)}" for code, value in key)
    query = "&".join(f"{code}={gs1.escape(value)}" for code, value in attributes)
    return f"{stem}{path}?{query}" if query else stem + path
