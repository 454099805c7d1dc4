"""Less of a resource: `_summary` and `_elements`. R4 search.html#summary, #elements."""

from __future__ import annotations

from collections.abc import Sequence

from app.errors import Invalid
from app.fhir import json
from app.rest.exchange import Params

SUMMARIES = frozenset(("true", "text", "data", "count", "false"))


def asked(params: Params) -> tuple[str | None, tuple[str, ...]]:
    """Return the summary and the elements a read asks for.

    Raises Invalid for a summary that a single resource does not have.
    """
    summary: str | None = None
    elements: list[str] = []
    for name, value in params:
        if name == "_summary":
            if value not in SUMMARIES or value == "count":
                raise Invalid("_summary has to be true, text, data or false", at="http._summary")
            summary = None if value == "false" else value
        elif name == "_elements":
            elements += [part.strip() for part in value.split(",") if part.strip()]
    return summary, tuple(elements)


def reduced(body: bytes, summary: str | None, elements: Sequence[str]) -> bytes:
    """Return what is asked for of a resource, tagged SUBSETTED; all of it if nothing is asked."""
    if not (summary or elements):
        return body
    return json.reduce(body, summary=summary, elements=elements)
