"""$validate: R4 resource-operation-validate.html.

Checks what a write would check, the invariants of the base definitions and the bindings to value
sets that are known here, and says it in an OperationOutcome, status 200 also when the resource is
not valid; nothing is stored. `mode` create and update add the rules of those interactions. Of
profiles there are the base definitions: any other is an error, as the operation's definition asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app.errors import Invalid, Issue, YilianError
from app.fhir import bindings, definitions, invariants, json, validate
from app.fhir.outcome import ALL_OK, operation_outcome
from app.rest.exchange import Reply, Request
from app.rest.operations.call import Operation, core, inputs, one, text
from app.rest.services import Hub
from app.terminology.bound import BoundValueSets

_MODES = frozenset(("create", "update", "delete", "profile"))


def run(hub: Hub, request: Request) -> Reply:
    """Return what is right and wrong with a resource."""
    given = inputs(request)
    mode = text(given, "mode")
    if mode is not None and mode not in _MODES:
        raise Invalid("The mode has to be create, update, delete or profile", at="http.mode")
    if mode == "delete":
        hub.store.read(request.type, request.id)
        return Reply(200, operation_outcome([ALL_OK]))
    resource = one(given, "resource")
    if resource is None and request.id:
        resource = json.parse(hub.store.read(request.type, request.id).body)
    if not isinstance(resource, dict):
        raise Invalid("There is no resource to validate", at="http.resource", code="required")
    issues = [*_problems(hub, request, resource, mode)]
    profile = text(given, "profile")
    if profile is not None and not _is_base(profile, resource.get("resourceType")):
        issues.append(
            Issue("error", "not-supported", "The resource cannot be checked against this profile")
        )
    return Reply(200, operation_outcome(issues or [ALL_OK]))


def _is_base(profile: str, kind: object) -> bool:
    """Say whether a profile is the base definition of a type or of what it specialises."""
    url, _, version = profile.partition("|")
    name = url.removeprefix(definitions.STRUCTURE_BASE)
    return (
        version in ("", definitions.FHIR_VERSION)
        and name != url
        and isinstance(kind, str)
        and definitions.is_resource_type(kind)
        and name in definitions.base_types(kind)
    )


def _problems(
    hub: Hub, request: Request, resource: dict[str, Any], mode: str | None
) -> Iterator[Issue]:
    kind = resource.get("resourceType")
    if not isinstance(kind, str):
        yield Issue("error", "required", "There is no resourceType", "resourceType")
        return
    if request.type and kind != request.type:
        yield Issue("error", "invalid", "The resource is of another type", "resourceType")
        return
    if mode == "update" and "id" not in resource:
        yield Issue("error", "required", "An update needs an id", f"{kind}.id")
    try:
        found = validate.problems(resource, kind)
        yield from found
        if not found:  # invariants and bindings speak about resources that are otherwise valid
            yield from invariants.broken(resource)
            known = BoundValueSets(hub.terminology.scope)
            yield from bindings.problems(resource, kind, known)
    except YilianError as error:  # too deep, or no type of R4
        yield from error.issues


OPERATION = Operation(run, core("Resource-validate"), frozenset(("type", "instance")))
