"""$convert: R4 resource-operation-convert.html. The resource sent, in the format asked for.

Content negotiation does the work: XML is read as JSON, and the answer is written in what Accept or
`_format` name. What is not valid R4 is refused, for it has no other form; nothing is stored.
"""

from __future__ import annotations

from app.errors import Invalid
from app.fhir import definitions, json, validate
from app.rest import content
from app.rest.exchange import Reply, Request
from app.rest.operations.call import Operation, core
from app.rest.services import Hub


def run(hub: Hub, request: Request) -> Reply:
    """Return the resource in the body. Raises Invalid."""
    body = content.resource(request)
    resource = json.parse(body)
    kind = resource.get("resourceType")
    if not isinstance(kind, str) or not definitions.is_resource_type(kind):
        raise Invalid("There is no such resource type", at="resourceType", code="code-invalid")
    if not validate.check(resource, kind):
        raise Invalid.of(validate.problems(resource, kind))
    return Reply(200, body)


OPERATION = Operation(run, core("Resource-convert"), frozenset(("system",)), methods=("POST",))
