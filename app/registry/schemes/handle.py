"""Handles (RFC 3651) and DOIs (ISO 26324): plain, `hdl:` and `doi:`, and their proxies' addresses.

The prefix ends at the first slash. A DOI is a Handle under 10.; only DOIs ignore case.
"""

from __future__ import annotations

import re

from app.registry.gs1 import escape
from app.registry.reading import MARKED, MARKED_AND_CHECKED, Context, Reading
from app.registry.schemes.gs1_digital_link import decode_text

_PREFIX = re.compile(r"[0-9A-Za-z]+(?:\.[0-9A-Za-z_\-]+)*", re.ASCII)
_PROXIES = re.compile(
    r"https?://(?:(?:dx\.|www\.)?doi\.org|hdl\.handle\.net)/(?:api/handles/)?", re.IGNORECASE
)
_SCHEMES = ("hdl:", "doi:", "info:hdl/", "info:doi/", "urn:hdl:", "urn:doi:")
# First prefix part -> country it is delegated to, in the industrial-internet and VAA trees.
_COUNTRIES = frozenset({"86", "88"})


def read(text: str, context: Context) -> Reading:
    """Read a Handle or DOI in any form."""
    reading = Reading("handle", MARKED)
    if proxy := _PROXIES.match(text):
        address, _, _query = text[proxy.end() :].partition("?")
        decoded = decode_text(address)
        if decoded is None:
            return reading.fail("bad-percent-encoding", "a percent sign without two hex digits")
        text = decoded
        reading.confidence = MARKED_AND_CHECKED
    else:
        lower = text[:9].lower()
        scheme = next((s for s in _SCHEMES if lower.startswith(s)), "")
        text = text[len(scheme) :]
        if scheme:
            reading.confidence = MARKED_AND_CHECKED
            if "doi" in scheme:
                reading.scheme = "doi"
    prefix, slash, suffix = text.partition("/")
    if prefix.startswith("10."):
        reading.scheme = "doi"
    if not slash or not prefix:
        return reading.fail("format", "prefix, slash and suffix are expected")
    if not _PREFIX.fullmatch(prefix):
        return reading.fail("format", "a prefix has parts of letters and digits", "prefix", 0)
    if reading.scheme == "doi" and not prefix.startswith("10."):
        return reading.fail("format", "the prefix of a DOI begins with 10.", "prefix", 0)
    if not suffix:
        return reading.fail("empty", "there is nothing behind the slash", "suffix")
    reading.fields.update(prefix=prefix, suffix=suffix)
    if reading.scheme == "doi":
        key = _fold(f"{prefix}/{suffix}")
        reading.uri = f"https://doi.org/{prefix}/{_escape(suffix)}"
        return reading.identify("instance", f"doi:{key}")
    country = prefix.partition(".")[0]
    if country in _COUNTRIES:
        reading.fields["countryCode"] = country
    reading.uri = f"https://hdl.handle.net/{prefix}/{_escape(suffix)}"
    return reading.identify("instance", f"hdl:{prefix}/{suffix}")


_ASCII_LOWER = {upper: upper + 32 for upper in range(65, 91)}


def _fold(text: str) -> str:
    """Lower the ASCII letters only: a DOI's other letters keep their case."""
    return text.translate(_ASCII_LOWER)


def _escape(suffix: str) -> str:
    if suffix.isascii():
        return "/".join(map(escape, suffix.split("/")))
    return "".join(c if not c.isascii() else escape(c) for c in suffix)


def build(prefix: str, suffix: str) -> str:
    """Return the `hdl:` form."""
    return f"hdl:{prefix}/{suffix}"


def build_doi(prefix: str, suffix: str) -> str:
    """Return the `doi:` form."""
    return f"doi:{prefix}/{suffix}"
