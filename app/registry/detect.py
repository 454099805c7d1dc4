"""Which scheme a cleaned text is of (identifiers.md 2.2): marks first, then shapes with checks.

`marked` looks only at what stands in front; `shaped` tries the readers that fit the length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.registry.normalise import GS, grouped
from app.registry.reading import Context, Reading
from app.registry.schemes import reader

# What stands before the first colon, and what may follow it (lower case) -> scheme.
_PREFIXES: dict[str, tuple[tuple[str, str], ...]] = {
    "urn": (
        ("urn:epc:", "epc"),
        ("urn:oid:", "oid"),
        ("urn:uuid:", "uuid"),
        ("urn:ucode:", "ucode"),
        ("urn:dicom:uid:", "dicom-uid"),
    ),
    "oid": (("oid:", "oid"),),
    "hdl": (("hdl:", "handle"),),
    "doi": (("doi:", "doi"),),
    "info": (("info:hdl/", "handle"), ("info:doi/", "doi")),
    "ecode": (("ecode:", "ecode"),),
}
_PROXIES = ("doi.org", "dx.doi.org", "www.doi.org", "hdl.handle.net")
_SPELT_FNC1 = ("<GS>", "{GS}", "^]", "\\u001d", "~1")
_ISBT = re.compile(r"=[A-Z0-9<>*}%{+,/)]|&[>*}(),]")
_ISBT_PRINTED = re.compile("[A-Z][A-Z0-9]{4} [0-9]{2} [0-9]{6}(?: [0-9A-Z]{2})? [0-9A-Z*]")
_BRACED_UUID = re.compile(r"\{[0-9A-Fa-f\-]{32,36}\}")
_UUID = re.compile("[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_EUI = re.compile(
    "[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}(?:[:-][0-9A-Fa-f]{2}){0,2}"
    r"|[0-9A-Fa-f]{4}(?:\.[0-9A-Fa-f]{4}){2,3}"
)
_DOTTED = re.compile(r"[012]\.[0-9]+(?:\.[0-9]+)+")
_BARE_HANDLE = re.compile(r"[0-9]+(?:\.[0-9A-Za-z]+)+/[^/\s]")
_ALIAS = re.compile(r"[a-z][a-z0-9\-]*:[^/:]")
_HK_PRINTED = re.compile(r"[A-Za-z]{1,2}[0-9]{6}\([0-9Aa]\)")


def prefixed(text: str) -> str | None:
    """Return the scheme that a `urn:`, `oid:`, `hdl:`, `doi:` or web prefix names."""
    lower = text[:16].lower()
    for prefix, scheme in _PREFIXES.get(lower.partition(":")[0], ()):
        if lower.startswith(prefix):
            return scheme
    if lower.startswith(("http://", "https://")):
        host = text.split("/", 3)[2].lower()
        return "handle" if host in _PROXIES else "gs1-digital-link"
    return None


def marked(text: str, context: Context) -> str | None:
    """Return the scheme whose mark a text carries, None if it carries none."""
    first = text[0]
    if first in "0123456789" and text.isalnum():
        return None  # the commonest case by far: bare digits
    if first == "(" and text[1:2].isdigit():
        return "gs1-element"
    if GS in text or text.startswith(_SPELT_FNC1):
        return "gs1-element"
    if first == "+" or text.startswith("*+"):
        return "hibc"
    if first in "=&" and _ISBT.match(text):
        return "isbt128"
    if "|" in text:
        return _token_or_link(text, context)
    found = prefixed(text)
    if found:
        return found
    if "^" in text:
        return "hl7"
    if text.startswith("MA."):
        return "ma-udi"
    if first == "{":
        return "uuid" if _BRACED_UUID.fullmatch(text) else "oid" if text[-1] == "}" else None
    if not text.isascii():
        return _chinese(text)
    for form, scheme in _FORMS:
        if form.fullmatch(text):
            return scheme
    if _BARE_HANDLE.match(text):
        return "handle"
    if _ALIAS.match(text) and reader("alias")(text, context).fields:
        return "alias"
    return None


_FORMS = (
    (_UUID, "uuid"),
    (_EUI, "eui"),
    (_DOTTED, "oid"),
    (_HK_PRINTED, "hk-id"),
    (_ISBT_PRINTED, "isbt128"),
)


def _token_or_link(text: str, context: Context) -> str:
    """Tell a FHIR token from a Digital Link with a bar in it, which no system is."""
    if text[:4].lower() == "http":
        address = text.partition("|")[0]
        if reader("gs1-digital-link")(address, context).scheme != "unknown":
            return "gs1-digital-link"
    return "fhir-token"


def _chinese(text: str) -> str | None:
    if re.match("[国國][药藥][准準]字", text):
        return "cn-drug-approval"
    return "cn-device-reg" if "械" in text[:4] else None


# ---- shapes ----

_GROUPED = re.compile(r"[0-9][0-9 \-]*[0-9Xx]")
# Length of a number -> schemes to try, in order.
_BY_LENGTH = {
    8: ("gtin",),
    12: ("gtin",),
    13: ("gtin", "gln"),
    14: ("gtin",),
    18: ("cn-resident-id", "cn-foreign-pr", "cn-uscc", "sscc", "gsrn"),
    20: ("cn-drug-trace",),
}
# Shapes without a check worth the name: only proposed, a hint has to confirm them. These patterns
# and the next are compiled when first used: most runs read one code.
_PROPOSED = (
    ("[0-9]{15}", "cn-resident-id"),
    ("[0-9]{15}", "cn-practice-licence"),
    ("[0-9]{10}", "npi"),
    ("[0-9A-Z]{8}-?[0-9X]", "cn-org-code"),
    ("[0-9]{9}", "duns"),
    ("[0-9]{8}", "cn-tw-permit"),
    ("[EGDSP][0-9A-Z][0-9]{6,7}", "cn-passport"),
    ("[HM][0-9]{8}(?:[0-9]{2})?", "cn-hkmo-permit"),
    ("[A-Z][1289][0-9]{8}", "tw-id"),
    ("[A-Z]{1,2}[0-9]{6}[0-9A]", "hk-id"),
    ("[0-9A-Fa-f]{16}", "eui64"),
)
_PROPOSAL_CONFIDENCE = 0.4
_UNMARKED_GS1 = ("00", "01", "02")
_CODED = (
    ("(?i:[HP])[0-9]{11}", "nhsa-institution"),
    ("(?i:[DNY])[0-9]{12}", "nhsa-staff"),
    ("(?i:X[A-Z][0-9]{2}[A-Z]{2}[A-Z][0-9]{3}[A-Z])[0-9]{12}", "nhsa-drug"),
    ("(?i:C)[0-9]{19}", "nhsa-consumable"),
    ("(?i:[0-9A-Z]{2}[0-9]{6}[0-9A-Z]{10})", "cn-uscc"),
)
_HEX_START = frozenset("234fF")
# Which reading to show when nothing is valid: the shape is that of the scheme, the check is not.
_NEAR_MISS = {12: "gtin", 13: "gtin", 14: "gtin", 18: "cn-resident-id"}
_CHECKS = ("check-digit", "check-character")
_SPREADSHEET = re.compile(r"[0-9]\.[0-9]{3,}E\+1[0-9]")


def shaped(text: str, context: Context) -> list[Reading]:
    """Return every way an unmarked text can be read, in the order of detection."""
    found: list[Reading] = []
    if text[0] in _HEX_START and len(text) >= 16:
        binary = reader("epc-hex-unmarked")(text, context)
        if binary.scheme != "unknown":
            return [binary]
    number = grouped(text) if _GROUPED.fullmatch(text) else text
    if number.isascii() and number[:-1].isdigit():
        found.extend(_numbers(text, number, context))
    elif text.isascii():
        for form, scheme in _CODED:
            if re.fullmatch(form, text):
                found.append(reader(scheme)(text, context))
    if text[:2] in _UNMARKED_GS1:
        found.append(reader("gs1-unmarked")(text, context))
    valid = [reading for reading in found if reading.valid]
    return valid or [_near_miss(text, number, found)]


def _numbers(text: str, number: str, context: Context) -> Iterator[Reading]:
    for scheme in _BY_LENGTH.get(len(number), ()):
        if number[-1] in "0123456789" or scheme.startswith("cn-"):
            reading = reader(scheme)(text, context)
            if scheme == "gln":
                reading.confidence = _PROPOSAL_CONFIDENCE
            yield reading


def _near_miss(text: str, number: str, found: list[Reading]) -> Reading:
    """Return the reading that best tells what is wrong with a text nothing could read."""
    likely = _NEAR_MISS.get(len(number)) if number[:-1].isdigit() else "cn-uscc"
    for reading in found:
        if reading.scheme == likely and all(e.code in _CHECKS for e in reading.errors):
            return reading
    unknown = Reading("unknown", 0.0)
    if _SPREADSHEET.fullmatch(text):
        return unknown.fail("length", "a spreadsheet has rounded this number")
    if not text.isascii():
        at = next(n for n, c in enumerate(text) if not c.isascii())
        unknown.fail("illegal-character", "a character that no scheme here uses", offset=at)
    return unknown.fail("unknown-scheme", "no scheme reads this")


def proposed(text: str, context: Context) -> list[Reading]:
    """Return the readings that need a hint to be believed, for a text that nothing else reads."""
    out = []
    for form, scheme in _PROPOSED:
        if re.fullmatch(form, text):
            reading = reader(scheme)(text, context)
            reading.confidence = min(reading.confidence, _PROPOSAL_CONFIDENCE)
            if reading.valid:
                out.append(reading)
    return out
