"""Links that somebody registers: each a Basic resource, so that it has a history like all else.

`mappings/links.yaml` reads them again when they are written; deleting the Basic withdraws the link.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from app.errors import Invalid
from app.fhir.ids import BASE
from app.registry.links import Kind
from app.registry.parse import parse
from app.store.entries import local_reference
from app.store.types import Change, Method

_EXTENSION = f"{BASE}/StructureDefinition/link"
_CODES = f"{BASE}/CodeSystem/link-kind"
_MEMBERS = frozenset({"relation", "from", "to", "start", "end", "as"})


def change_of(row: Any, kinds: Mapping[str, Kind]) -> Change:
    """Return the change that registers a link. Raises Invalid.

    row: `relation`, `from` and `to` (each `Type/id` or a code), `start` and `end` of its time.
    """
    if not isinstance(row, dict) or row.keys() - _MEMBERS:
        raise Invalid(f"a link has {', '.join(sorted(_MEMBERS))}", code="structure")
    if any(not isinstance(value, str) for value in row.values()):
        raise Invalid("every member is text")
    if row.get("relation") not in kinds:
        raise Invalid("there is no such kind of link", at="relation", code="code-invalid")
    parts: list[dict[str, Any]] = [
        {"url": end, "valueReference": _end(row.get(end, ""), end)} for end in ("from", "to")
    ]
    period = {name: row[name] for name in ("start", "end") if row.get(name)}
    if period:
        parts.append({"url": "period", "valuePeriod": period})
    basic = {
        "resourceType": "Basic",
        "extension": [{"url": _EXTENSION, "extension": parts}],
        "code": {"coding": [{"system": _CODES, "code": row["relation"]}]},
    }
    return Change(Method.CREATE, "Basic", body=orjson.dumps(basic))


def _end(text: str, at: str) -> dict[str, Any]:
    local = local_reference(text)
    if local is not None:
        return {"reference": "/".join(local)}
    parsed = parse(text)
    if not parsed.valid or not parsed.identifiers:
        raise Invalid("neither Type/id nor a valid code", at=at)
    system, value = parsed.identifiers[-1]  # the last one names the finest level
    return {"identifier": {"system": system, "value": value}}
