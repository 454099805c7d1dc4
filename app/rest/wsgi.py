"""The HTTP application: `/fhir` is the facade, everything else is Flask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import orjson
from flask import Blueprint, Flask, Response, request
from werkzeug.exceptions import HTTPException

from app.errors import YilianError
from app.rest import identify, ops, problems
from app.rest.admit import Gate, preflight
from app.rest.base import MOUNT
from app.rest.facade import Facade
from app.rest.services import Hub

Wsgi = Callable[..., Iterable[bytes]]

_PUBLIC = ("resolver",)  # what pages of any origin may read: a GS1-conformant resolver
_ASCII = bytes(range(128)).decode()
_PROBLEM = "application/problem+json"


def create_app(hub: Hub, blueprints: Sequence[Blueprint] = ()) -> Wsgi:
    """Return the WSGI callable of one worker process; `blueprints` are the other HTTP doors."""
    gate = Gate(hub.http)
    facade = Facade(hub, gate)
    resolver = identify.Resolver(hub)
    resolve = identify.plain(resolver)
    others: Wsgi = _flask(hub, gate, (identify.blueprint(resolver), *blueprints)).wsgi_app

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if not environ.get("QUERY_STRING", "").isascii():
            environ["QUERY_STRING"] = _escaped(environ["QUERY_STRING"])
        if path.startswith(MOUNT) and path[len(MOUNT) : len(MOUNT) + 1] in ("", "/"):
            return facade(environ, start_response)
        if path == "/id" and gate.passes(environ) and (body := resolve(environ)) is not None:
            start_response("200 OK", identify.headers(body))
            return [body]
        return others(environ, start_response)

    return application


def _escaped(query: str) -> str:
    """Return a query that came unescaped as it should have come (RFC 3986 section 2.5).

    Its bytes stand in the environ as Latin-1 (PEP 3333).
    """
    return quote(query.encode("latin-1"), safe=_ASCII)


def _flask(hub: Hub, gate: Gate, blueprints: Sequence[Blueprint]) -> Flask:
    """Return the Flask application for all but FHIR, with RFC 9457 problem JSON for errors."""
    flask = Flask("yilian", static_folder=None)
    flask.config["MAX_CONTENT_LENGTH"] = hub.http.max_body_bytes
    for blueprint in (ops.blueprint(hub), *blueprints):
        flask.register_blueprint(blueprint)
    flask.register_error_handler(YilianError, _refusal)
    flask.register_error_handler(HTTPException, _http)
    flask.register_error_handler(Exception, _fault)

    @flask.before_request
    def admit() -> None:
        public = request.method == "OPTIONS" or request.blueprint in _PUBLIC
        gate.admit(request.environ, public=public)

    @flask.after_request
    def admitted(response: Response) -> Response:
        if "Access-Control-Allow-Origin" not in response.headers:
            response.headers.extend(gate.headers(request.environ))
        if request.method == "OPTIONS":
            allowed = response.headers.get("Allow", "")
            response.headers.extend(preflight(request.environ, allowed))
        return response

    return flask


def _refusal(error: YilianError) -> Response:
    status = problems.status(error)
    response = _problem(status, str(error), errors=[_error(issue) for issue in error.issues])
    response.headers.extend(problems.headers(error))
    return response


def _error(issue: Any) -> dict[str, str]:
    """Return one problem with its place: the extension member `errors` of RFC 9457 section 3.2."""
    found = {"code": issue.code, "detail": issue.text, "at": issue.at, "details": issue.details}
    return {name: value for name, value in found.items() if value}


def _http(exc: HTTPException) -> Response:
    response = _problem(exc.code or 500, None)
    allowed = getattr(exc, "valid_methods", None)
    if allowed:
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def _fault(exc: Exception) -> Response:  # the door's outermost frame
    return _problem(500, problems.fault(exc, request.headers.get("X-Request-Id")).text)


def _problem(status: int, detail: str | None, **more: Any) -> Response:
    content: dict[str, Any] = {"title": HTTPStatus(status).phrase, "status": status}
    if detail:
        content["detail"] = detail
    return Response(orjson.dumps(content | more), status, content_type=_PROBLEM)
