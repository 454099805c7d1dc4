"""$cache-control: resources that a client sends once and then names by an id.

`mode=start` with `tx-resource`s answers a `cache-id`, which later requests carry in the header
X-Cache-Id; `mode=end` with that header forgets it. Terminology ecosystem guide, "cache-id".
"""

from __future__ import annotations

from app.errors import Invalid
from app.rest.exchange import Reply, Request
from app.rest.operations.call import Operation, inputs, parameters, text
from app.rest.services import Hub


def run(hub: Hub, request: Request) -> Reply:
    """Start or end the life of a cache id."""
    given = inputs(request)
    mode = text(given, "mode")
    remembered = hub.terminology.remembered
    if mode == "start":
        resources = [r for r in given.get("tx-resource", ()) if isinstance(r, dict)]
        cache_id = remembered.start(resources)
        return Reply(200, parameters({"name": "cache-id", "valueString": cache_id}))
    if mode == "end":
        cache_id = request.header("X_CACHE_ID") or text(given, "cache-id") or ""
        remembered.end(cache_id)
        return Reply(200, parameters({"name": "result", "valueBoolean": True}))
    raise Invalid("The mode has to be start or end", at="http.mode")


OPERATION = Operation(
    run,
    "https://yilian.example/fhir/OperationDefinition/cache-control",
    frozenset(("system",)),
    methods=("POST",),
)
