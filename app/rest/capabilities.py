"""CapabilityStatement and TerminologyCapabilities: R4 http.html#capabilities.

Generated from the tables that serve: routes, operations, formats and the search parameters the
store answers. What is not in them is not claimed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import orjson

from app.errors import NotSupported
from app.fhir import definitions, searchparams
from app.fhir.searchparams import Param
from app.rest import operations, shape, terminology_capabilities
from app.rest.exchange import Reply, Request, tags
from app.rest.negotiate import FORMATS, PATCH_FORMATS
from app.rest.once import once
from app.rest.services import Hub

Json = dict[str, Any]

_TYPE_INTERACTIONS = (
    "read",
    "vread",
    "update",
    "patch",
    "delete",
    "history-instance",
    "history-type",
    "create",
    "search-type",
)
_SYSTEM_INTERACTIONS = ("transaction", "batch", "search-system", "history-system")
_CONDITIONS: Json = {
    "versioning": "versioned-update",
    "readHistory": True,
    "updateCreate": True,
    "conditionalCreate": True,
    "conditionalRead": "full-support",
    "conditionalUpdate": True,
    "referencePolicy": ["literal", "logical"],
}
_SECURITY = "No sign-in of its own: who may ask is decided by the gateway before it"
_TX = "http://hl7.org/fhir/uv/"
# What terminology clients look for: R5 application features.
_FEATURES = (
    (_TX + "tx-tests/FeatureDefinition/test-version", {"valueCode": "1.9.3"}),
    (_TX + "tx-ecosystem/FeatureDefinition/CodeSystemAsParameter", {"valueBoolean": True}),
)


def capabilities(hub: Hub, request: Request) -> Reply:
    """Return what this server can do; 304 when the client has it already."""
    mode = request.param("mode") or "full"
    wanted = shape.asked(request.params)
    if mode == "terminology":
        statement = orjson.dumps(_terminology(hub, request))
        return Reply(200, shape.reduced(statement, "TerminologyCapabilities", *wanted))
    make = _MODES.get(mode)
    if make is None:
        raise NotSupported("There is no such mode of metadata", at="http.mode")
    body, tag = make(request.base, *_of(hub))
    headers = [("ETag", f'W/"{tag}"')]
    if tag in tags(request.header("IF_NONE_MATCH")):
        return Reply(304, headers=headers)
    if any(wanted):  # http.html#parameters: _summary and _elements are for every interaction
        return Reply(200, shape.reduced(body, "CapabilityStatement", *wanted))
    return Reply(200, body, headers=headers, constant=True)


def warm(hub: Hub) -> None:
    """Do what the first to ask would wait for: the parameters of all types are looked up."""
    _statement(hub.http.base_url or "http://localhost/fhir", *_of(hub))


def _of(hub: Hub) -> tuple[str, str, int, bool]:
    """Return what a statement depends on beside its base."""
    options = hub.http
    return (
        options.software_version,
        options.software_date,
        hub.store.search_generation(),
        options.multiple_delete,
    )


@once
def _statement(
    base: str, version: str, date: str, generation: int, multiple_delete: bool
) -> tuple[bytes, str]:
    """Return the CapabilityStatement as JSON, and its entity tag.

    generation: of the posted search parameters; those that are indexed are declared.
    """
    conditions = _CONDITIONS | {"conditionalDelete": "multiple" if multiple_delete else "single"}
    return _tagged(
        {
            "resourceType": "CapabilityStatement",
            "extension": [_feature(definition, value) for definition, value in _FEATURES],
            **_instance(base, version, date),
            "instantiates": ["http://hl7.org/fhir/CapabilityStatement/terminology-server"],
            "fhirVersion": definitions.FHIR_VERSION,
            "format": list(FORMATS),
            "patchFormat": list(PATCH_FORMATS),
            "rest": [_rest(conditions)],
        }
    )


def _terminology(hub: Hub, request: Request) -> Json:
    """Return the TerminologyCapabilities: what is known now, so it is made each time."""
    instance = _instance(request.base, hub.http.software_version, hub.http.software_date)
    return terminology_capabilities.statement(instance, hub.terminology.scope.headers())


_MODES = {"full": _statement, "normative": _statement}


def _instance(base: str, version: str, date: str) -> Json:
    """Return what both statements say of this server."""
    return {
        "url": f"{base}/metadata",
        "version": version,
        "name": "Yilian",
        "title": "Yilian FHIR R4 and terminology server",
        "status": "active",
        "date": date,
        "kind": "instance",
        "software": {"name": "Yilian", "version": version, "releaseDate": date},
        "implementation": {"description": "Yilian FHIR R4 server", "url": base},
    }


def _feature(definition: str, value: Json) -> Json:
    """Return one feature of the application, as an extension."""
    return {
        "url": _TX + "application-feature/StructureDefinition/feature",
        "extension": [
            {"url": "definition", "valueCanonical": definition},
            {"url": "value", **value},
        ],
    }


def _tagged(statement: Json) -> tuple[bytes, str]:
    content = orjson.dumps(statement)
    return content, blake2b(content, digest_size=8).hexdigest()


def _rest(conditions: Json) -> Json:
    referring = _referring()
    return {
        "mode": "server",
        "security": {"cors": True, "service": [{"text": _SECURITY}]},
        "resource": [
            _resource(name, referring[name], conditions) for name in definitions.resource_types()
        ],
        "interaction": [{"code": code} for code in _SYSTEM_INTERACTIONS],
        "searchParam": [_search_param(param) for param in _everywhere()],
        **_operations("system", ""),
        "compartment": [
            f"http://hl7.org/fhir/CompartmentDefinition/{name.lower()}"
            for name in definitions.compartments()
        ],
    }


def _resource(name: str, referring: Sequence[str], conditions: Json) -> Json:
    served = _served(name)
    includes = [f"{name}:{param.code}" for param in served if param.type == "reference"]
    resource: Json = {
        "type": name,
        "profile": definitions.STRUCTURE_BASE + name,
        "interaction": [{"code": code} for code in _TYPE_INTERACTIONS],
        **conditions,
    }
    if includes:
        resource["searchInclude"] = ["*", *includes]
    if referring:
        resource["searchRevInclude"] = list(referring)
    resource["searchParam"] = [_search_param(param) for param in served]
    return resource | _operations("type", name)


def _served(name: str) -> list[Param]:
    """Return the search parameters of a type that the store answers."""
    return [p for code, p in searchparams.params(name).items() if code not in _UNSERVED]


def _everywhere() -> Iterator[Param]:
    """Return the parameters of every type, for the search of the whole system."""
    for param in _served("Basic"):
        if param.code.startswith("_"):
            yield param


def _search_param(param: Param) -> Json:
    return {"name": param.code, "definition": param.url, "type": param.type}


def _referring() -> Mapping[str, list[str]]:
    """Return type -> the reference parameters of all types that name it as a target."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in definitions.resource_types():
        for param in _served(name):
            for target in param.targets:
                found[target].append(f"{name}:{param.code}")
    return found


def _operations(level: str, name: str) -> Json:
    """Return the operations that can be called on a level, instances counted as their type."""
    levels = {"type", "instance"} if level == "type" else {"system"}
    found = [
        {"name": code, "definition": operation.definition.format(type=name)}
        for code, operation in operations.OPERATIONS.items()
        if levels & operation.levels and not (operation.types and name not in operation.types)
    ]
    return {"operation": found} if found else {}


# Parameters that are defined, but that the search of the store does not answer.
_UNSERVED = frozenset(("_query",))
