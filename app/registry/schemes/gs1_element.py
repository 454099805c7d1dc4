"""GS1 element strings, bracketed or raw with FNC1 (General Specifications 7.8).

(01)09521234000037(21)P100        as printed
<GS>010952123400003721P100        as scanned: predefined lengths, then GS after the others
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from app.registry import gs1
from app.registry.normalise import GS
from app.registry.reading import MARKED, Context, Reading

_BRACKET = re.compile(r"\((\d{2,4})\)", re.ASCII)
# What scanners and copying make of GS; believed only after a GS1 start (identifiers.md 11).
_SPELT_GS = re.compile(r"<GS>|\{GS\}|\^\]|\\u001d|~1")


def read(text: str, context: Context) -> Reading:
    """Read an element string in either form."""
    return bracketed(text, context) if text.startswith("(") else raw(text, context)


def bracketed(text: str, context: Context) -> Reading:
    """Read the printed form. A bracket inside a value is only split at if a known AI is in it."""
    reading = Reading("gs1-element")
    ais = gs1.table()
    marks = [m for m in _BRACKET.finditer(text) if m[1] in ais]
    if not marks or marks[0].start() != 0:
        return reading.fail("unknown-ai", "no such application identifier", offset=0)
    ends = [m.start() for m in marks[1:]] + [len(text)]
    elements = [
        gs1.Element(mark[1], text[mark.end() : end], mark.end())
        for mark, end in zip(marks, ends, strict=True)
    ]
    return gs1.read(reading, elements, context)


def raw(text: str, context: Context) -> Reading:
    """Read the scanned form, with or without the leading FNC1."""
    reading = Reading("gs1-element")
    spelt = _SPELT_GS.sub(GS, text)
    if spelt != text:
        reading.warn("normalized")
    elements: list[gs1.Element] = []
    at = 1 if spelt.startswith(GS) else 0
    ais, lengths = gs1.table(), gs1.code_lengths()
    while at < len(spelt):
        size = lengths.get(spelt[at : at + 2], 2)
        code = spelt[at : at + size]
        ai = ais.get(code)
        if ai is None:
            reading.fail("unknown-ai", "no such application identifier", offset=at)
            break
        at += size
        end = spelt.find(GS, at)
        end = len(spelt) if end < 0 else end
        if ai.predefined:
            end = min(end, at + ai.high)
        elements.append(gs1.Element(code, spelt[at:end], at))
        at = end + 1 if spelt[end : end + 1] == GS else end
    if not elements:
        return reading if reading.errors else reading.fail("empty", "nothing after FNC1")
    return gs1.read(reading, elements, context)


def unmarked(text: str, context: Context) -> Reading:
    """Read a raw string that no symbology identifier announced."""
    reading = raw(text, context)
    reading.confidence = MARKED
    return reading


def build(elements: Iterable[tuple[str, str]]) -> str:
    """Return the printed form."""
    return "".join(f"({code}){value}" for code, value in elements)


def build_raw(elements: Iterable[tuple[str, str]]) -> str:
    """Return the scanned form with its leading FNC1 as GS."""
    out, ais = GS, gs1.table()
    for code, value in elements:
        out += code + value + ("" if ais[code].predefined else GS)
    return out.rstrip(GS) if len(out) > 1 else out
