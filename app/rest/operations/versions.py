"""$versions: R5 capabilitystatement-operation-versions.html. Which FHIR versions are spoken."""

from __future__ import annotations

from app.rest.exchange import Reply, Request
from app.rest.operations.call import Operation, core, parameters
from app.rest.services import Hub

_SPOKEN = ("4.0",)


def run(hub: Hub, request: Request) -> Reply:
    """Return the versions that can be asked for, and the one that is answered unasked."""
    listed = [{"name": "version", "valueString": version} for version in _SPOKEN]
    return Reply(200, parameters(*listed, {"name": "default", "valueString": _SPOKEN[0]}))


OPERATION = Operation(run, core("CapabilityStatement-versions"), frozenset(("system",)))
