"""$graphql: R4 resource-operation-graphql.html, graphql.html. Of the system and of a resource.

The query comes as `query` in the address, as a body of application/graphql, or as JSON with
`query`, `variables` and `operationName`, which may stand in the address too. The answer is
application/json; what is wrong with a query is told as anywhere else, by an OperationOutcome.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec
import orjson

from app.errors import Invalid, Malformed, UnsupportedMediaType
from app.rest import negotiate
from app.rest.exchange import Reply, Request
from app.rest.graphql import language
from app.rest.graphql.execute import Execution
from app.rest.operations.call import Operation, core
from app.rest.services import Hub

_JSON = "application/json"
_encode = msgspec.json.Encoder(decimal_format="number").encode


def run(hub: Hub, request: Request) -> Reply:
    """Return the data that a query asks for. Raises Malformed, Invalid, NotFound, TooCostly."""
    query, variables, name = _asked(request)
    execution = Execution(hub.store, request.base, language.parse(query), name, variables)
    data = execution.on_resource(request.type, request.id) if request.id else execution.on_system()
    body = _encode({"data": data})
    if request.bundled:  # a Bundle holds resources: then it is the Binary of the definition
        content = b64encode(body).decode()
        return Reply(
            200,
            orjson.dumps({"resourceType": "Binary", "contentType": _JSON, "data": content}),
        )
    return Reply(200, body, content_type=_JSON)


def _asked(request: Request) -> tuple[str, dict[str, Any], str | None]:
    """Return the query, the values of its variables and which of several queries is meant."""
    sent: Any = {name: request.param(name) for name in ("query", "operationName")}
    sent["variables"] = _loaded((request.param("variables") or "{}").encode(), "The variables are")
    if request.method == "POST" and request.body:
        kind = negotiate.media(request.header("CONTENT_TYPE") or "").type
        if kind == "application/graphql":
            sent["query"] = _decoded(request.body)
        elif kind == _JSON:
            sent = _loaded(request.body, "The body is")
        else:
            raise UnsupportedMediaType(
                "A query is sent as application/graphql or application/json",
                at="http.Content-Type",
            )
    if not isinstance(sent, dict) or not isinstance(sent.get("query"), str):
        raise Invalid("The query is missing", at="http.query", code="required")
    variables, name = sent.get("variables") or {}, sent.get("operationName")
    if not isinstance(variables, dict) or not isinstance(name, str | None):
        raise Invalid("`variables` is an object, `operationName` text", at="http.variables")
    return sent["query"], variables, name


def _decoded(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as exc:
        raise Malformed("The body is not UTF-8") from exc


def _loaded(text: bytes, what: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise Malformed(f"{what} not valid JSON in UTF-8") from exc


OPERATION = Operation(run, core("Resource-graphql"), frozenset(("system", "instance")))
