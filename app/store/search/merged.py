"""What a merge leaves on the survivor: copies of identifiers, of `use` old.

Search finds the survivor by them. A conditional write does not mean it: the record that the number
was given to is another one. The survivor is known by a `link` of type replaces (R4 patient.html).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.fhir import json as fhir_json
from app.store.search.parse import alternatives, token_parts


def is_meant(
    body: bytes, criteria: Sequence[tuple[str, str]], same: Callable[[str], Sequence[str]]
) -> bool:
    """Say whether what meets the criteria meets them by identifiers of its own.

    same: the systems that are the same as one.
    """
    if b'"replaces"' not in body:
        return True
    resource = fhir_json.load(body)
    if all(link.get("type") != "replaces" for link in resource.get("link", ())):
        return True
    own = [each for each in resource.get("identifier", ()) if each.get("use") != "old"]
    return all(
        any(_is(each, text, same) for text in alternatives(value) for each in own)
        for name, value in criteria
        if name == "identifier" and value
    )


def _is(identifier: Mapping[str, Any], text: str, same: Callable[[str], Sequence[str]]) -> bool:
    system, value = token_parts(text)
    if value is not None and identifier.get("value") != value:
        return False
    if not system:
        return system is None or "system" not in identifier
    return identifier.get("system") in same(system)
