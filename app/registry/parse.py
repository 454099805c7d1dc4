"""Read any code that can be scanned or typed (identifiers.md section 2).

Pure: no network, no database; the day and the site's names come in as arguments. Linear in the
length of the code, which is bounded before anything looks at it.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING

from app.registry import detect, names, systems
from app.registry.normalise import EAN_CARRIERS, GS, Normal, normalise
from app.registry.reading import Candidate, Context, Names, Parsed, Problem, Reading
from app.registry.schemes import SCHEMES, reader

if TYPE_CHECKING:
    from datetime import datetime

_AMBIGUOUS_WITHIN = 0.1
_EAN = frozenset(EAN_CARRIERS.values())
_DAY_S = 86400
_DATES_OF_USE = ("expiry", "validUntil")


def parse(
    code: str, *, as_: str | None = None, at: datetime | None = None, known: Names | None = None
) -> Parsed:
    """Return what `code` is.

    as_: the scheme it has to be; it is then read as that or as an error, never guessed.
    at: the time that two-digit years and expiry are measured at; now by default.
    known: the site's namespaces and aliases; those of the shipped table by default.
    """
    normal = normalise(code)
    if normal.error:
        return Parsed(
            None if normal.error.code == "too-long" else code,
            normal.text,
            False,
            "unknown",
            errors=(normal.error,),
        )
    context = _context(at, known)
    readings = _read(normal, as_, context)
    return _parsed(code, normal, readings, context)


def _context(at: datetime | None, known: Names | None) -> Context:
    if at is None:
        context = _of_day(int(time.time()) // _DAY_S)
    else:
        context = Context(at.year, at.date().isoformat(), names.shipped_names)
    return context if known is None else context._replace(names=lambda: known)


@lru_cache(maxsize=2)
def _of_day(number: int) -> Context:
    """Return the context of the n-th day since 1970: made once a day, not once a code."""
    day = time.strftime("%Y-%m-%d", time.gmtime(number * _DAY_S))
    return Context(int(day[:4]), day, names.shipped_names)


def _read(normal: Normal, hint: str | None, context: Context) -> list[Reading]:
    """Return the readings, best first, or the one that tells what is wrong."""
    text = normal.text
    if not text:
        return [Reading("unknown", 0.0).fail("empty", "nothing behind the symbology identifier")]
    if "\x1e" in text or "\x04" in text:  # RS and EOT outside their envelope
        return [_control()]
    scheme = hint or _of_carrier(normal) or detect.marked(text, context)
    if scheme is None:
        return _unmarked(text, context)
    if scheme not in SCHEMES:
        return [Reading("unknown", 0.0).fail("unknown-scheme", "no scheme has the name given")]
    if GS in text and not scheme.startswith("gs1"):
        return [_control()]
    if normal.trailing_space and scheme.startswith("hibc"):
        # Trimming took it, but a HIBC check character may be a space.
        whole = reader(scheme)(text + " ", context)
        if all(error.code != "check-character" for error in whole.errors):
            return [whole]
    return [reader(scheme)(text, context)]


def _control() -> Reading:
    return Reading("unknown", 0.0).fail("control-character", "a control character stands in it")


def _of_carrier(normal: Normal) -> str | None:
    """Return the scheme that the symbology settles."""
    if normal.gs1:
        return "gs1-element"
    return "gtin" if normal.carrier in _EAN else None


def _unmarked(text: str, context: Context) -> list[Reading]:
    found = detect.shaped(text, context)
    if found[0].valid:
        return sorted(found, key=lambda reading: -reading.confidence)
    others = detect.proposed(text, context)
    if others:
        found[0].errors.append(Problem("ambiguous", "only a hint can tell which scheme this is"))
    return found + others


def _parsed(code: str, normal: Normal, readings: list[Reading], context: Context) -> Parsed:
    best, others = readings[0], readings[1:]
    if normal.changed:
        best.warn("normalized")
    if others and best.valid and best.confidence - others[0].confidence <= _AMBIGUOUS_WITHIN:
        best.warn("ambiguous")
    for field in _DATES_OF_USE:
        until = best.fields.get(field)
        if isinstance(until, str) and until[:10] < context.today:
            best.warn("expired")
    valid = best.valid
    canonical = best.canonical if valid else None
    return Parsed(
        code,
        normal.text,
        valid,
        best.scheme,
        normal.carrier,
        canonical,
        best.uri if valid else None,
        best.keys if valid else (),
        best.fields,
        best.ai,
        best.level if valid else None,
        best.confidence,
        [Candidate(o.scheme, o.canonical, o.confidence) for o in others],
        best.errors,
        best.warnings,
        systems.identifiers(canonical) if canonical else (),
    )
