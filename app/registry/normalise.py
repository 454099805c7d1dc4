"""What is done to a scanned or typed text before any scheme looks at it (identifiers.md 2.1).

One pass each: length, trimming, control characters, full-width ASCII, AIM symbology identifier.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from app.registry.reading import Problem

LIMIT = 4096
GS = "\x1d"

_TRIM = " \t\r\n\ufeff\u200b\u3000"
# GS, RS and EOT are looked at later: they belong to element strings and to ISO 15434 envelopes.
_CONTROL = re.compile("[\x00-\x03\x05-\x1c\x1f\x7f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# Only this range: NFKC would fold other digits and letters that have to stay wrong.
_FULL_WIDTH = {full: full - 0xFEE0 for full in range(0xFF01, 0xFF5F)}

ENVELOPE = f"[)>\x1e05{GS}"  # ISO/IEC 15434 format 05: GS1 application identifiers
_ENVELOPE_END = "\x1e\x04"

# ISO/IEC 15424: the two characters after `]`.
GS1_CARRIERS = {
    "C1": "gs1-128",
    "e0": "gs1-databar",
    "e1": "gs1-composite",
    "e2": "gs1-composite",
    "d2": "gs1-datamatrix",
    "Q3": "gs1-qrcode",
    "J1": "gs1-dotcode",
}
EAN_CARRIERS = {"E0": "ean-13", "E1": "ean-2", "E2": "ean-5", "E3": "ean-13-addon", "E4": "ean-8"}
PLAIN_CARRIERS = {
    "A0": "code-39",
    "C0": "code-128",
    "C2": "code-128",
    "d1": "datamatrix",
    "I0": "itf",
    "I1": "itf",
    "L0": "pdf417",
    "Q1": "qrcode",
    "z0": "aztec",
}
_CARRIERS = GS1_CARRIERS | EAN_CARRIERS | PLAIN_CARRIERS


class Normal(NamedTuple):
    """A text ready to be read.

    trailing_space: a space stood at its end (a HIBC check character may be one).
    """

    text: str
    changed: bool = False
    carrier: str | None = None
    gs1: bool = False  # the carrier or an envelope says: GS1 element string
    trailing_space: bool = False
    error: Problem | None = None


def normalise(code: str) -> Normal:
    """Return the cleaned text, or the first reason why it cannot be read at all."""
    if len(code) > LIMIT:
        return Normal("", error=Problem("too-long", f"longer than {LIMIT} characters"))
    text = code.strip(_TRIM)
    if not text:
        return Normal("", error=Problem("empty", "there is no code"))
    if not (text.isascii() and text.isprintable()):
        bad = _CONTROL.search(text)
        if bad:
            at = bad.start()
            problem = Problem("control-character", "a control character stands in it", None, at)
            return Normal(text.translate(_CONTROL_OUT), error=problem)
        text = text.translate(_FULL_WIDTH)
    trailing_space = len(code) > len(text) and code.rstrip("\r\n\t\ufeff\u200b").endswith(" ")
    changed = text != code
    if text[0] == "]" and text[1:3] in _CARRIERS:
        symbology = text[1:3]
        return Normal(
            text[3:], changed, _CARRIERS[symbology], symbology in GS1_CARRIERS, trailing_space
        )
    if text.startswith(ENVELOPE):
        body = text[len(ENVELOPE) :].removesuffix(_ENVELOPE_END).removesuffix("\x1e")
        return Normal(body, changed, "iso-15434", True, trailing_space)
    return Normal(text, changed, None, False, trailing_space)


_CONTROL_OUT = dict.fromkeys((*range(32), 127))


def grouped(text: str) -> str:
    """Return a number that is printed in groups without its spaces and hyphens."""
    return text.replace(" ", "").replace("-", "")
