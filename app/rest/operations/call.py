"""How an operation is called: R4 operations.html#request. No table of operations here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from app.errors import Invalid
from app.fhir import json
from app.rest import content
from app.rest.exchange import Reply, Request
from app.rest.services import Hub

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation and where it can be called.

    definition: the url of its OperationDefinition; `{type}` stands for the resource type.
    levels: system, type, instance. types: the resource types it is for; empty: all.
    methods: by which it can be called: one that writes, or needs a body, by POST only.
    changes: it writes.
    """

    run: Callable[[Hub, Request], Reply]
    definition: str
    levels: frozenset[str]
    types: frozenset[str] = frozenset()
    methods: tuple[str, ...] = ("GET", "POST")
    changes: bool = False


def core(name: str) -> str:
    """Return the url of an OperationDefinition of R4."""
    return f"http://hl7.org/fhir/OperationDefinition/{name}"


def inputs(request: Request) -> Mapping[str, Sequence[Any]]:
    """Return the input parameters by name: those of the query, and of a Parameters resource.

    A value is what `value[x]` or `resource` holds; of the query it is text. A body that is
    another resource is the parameter `resource`.
    """
    found: dict[str, list[Any]] = {}
    for name, given in request.params:
        found.setdefault(name, []).append(given)
    if request.method != "POST" or not request.body:
        return found
    sent = json.parse(content.resource(request))
    if sent.get("resourceType") != "Parameters":
        return found | {"resource": [sent]}
    listed = sent.get("parameter", [])
    for index, parameter in enumerate(listed if isinstance(listed, list) else [None]):
        at = f"Parameters.parameter[{index}]"
        if not isinstance(parameter, dict) or not isinstance(parameter.get("name"), str):
            raise Invalid("A parameter needs a name", at=at, code="required")
        value = next((v for k, v in parameter.items() if k == "resource" or k[:5] == "value"), None)
        found.setdefault(parameter["name"], []).append(value)
    return found


def one(found: Mapping[str, Sequence[Any]], name: str) -> Any:
    """Return the value of a parameter that may be given once, None without it."""
    values = found.get(name, ())
    if len(values) > 1:
        raise Invalid("The parameter can be given once only", at=f"http.{name}")
    return values[0] if values else None


def text(found: Mapping[str, Sequence[Any]], name: str) -> str | None:
    """Return the value of a parameter that is text."""
    value = one(found, name)
    if value is not None and not isinstance(value, str):
        raise Invalid("The parameter has to be text", at=f"http.{name}")
    return value


def parameters(*parts: Json) -> bytes:
    """Return a Parameters resource."""
    return orjson.dumps({"resourceType": "Parameters", "parameter": list(parts)})
