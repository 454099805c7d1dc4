"""Canonical urls as they are written: R4 references.html#canonical, url|version."""

from __future__ import annotations

IMPLICIT = "?fhir_vs"  # in urls of value sets that code systems imply: R4 snomedct.html#implicit
_EXPRESSION = f"{IMPLICIT}=ecl/"


def split(canonical: str) -> tuple[str, str | None]:
    """Return the url and the version, None when the canonical states none.

    The last bar divides them. The bars of an ECL expression stand around terms; a value set of one
    has the version of its code system, in front of the expression, and none of its own.
    """
    url, bar, version = canonical.rpartition("|")
    if not bar or _EXPRESSION in canonical:
        return canonical, None
    return url, version or None
