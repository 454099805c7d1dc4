"""Less of a resource: `_summary` and `_elements`. R4 search.html#summary, #elements.

`_elements` names elements of the first level: `name`, `Patient.name`, `value` or `valueQuantity`
for the value of any type; a deeper path keeps its first element.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from app.errors import Invalid
from app.fhir import definitions, json
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


def reduced(body: bytes, type_name: str, summary: str | None, elements: Sequence[str]) -> bytes:
    """Return what is asked for of a stored resource; all of it if nothing is asked."""
    if elements:
        return json.reduce(body, elements=_names(type_name, tuple(elements)))
    return json.reduce(body, summary=summary) if summary else body


def require_known(type_name: str, elements: Sequence[str]) -> None:
    """Raise Invalid if the type has not all of these elements."""
    if len(_names(type_name, tuple(elements))) < len(elements):
        raise Invalid("The type has no such element", at="http._elements")


@lru_cache(maxsize=256)
def _names(type_name: str, elements: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of those elements that the type has."""
    shape = definitions.structure(type_name).shape
    found = []
    for element in elements:
        name = element.removeprefix(f"{type_name}.").partition(".")[0].removesuffix("[x]")
        if name in shape.members:
            found.append(shape.members[name].element.name)
        elif name in shape.elements:
            found.append(name)
    return tuple(found)
