"""`GET /trace?code=`: what a code is linked with, forward and back. identifiers.md section 8.

As JSON, CSV, a FHIR Bundle or an SVG, by `format` or Accept. A code that nothing here carries is
answered 404.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import tzinfo

import orjson
from flask import Blueprint, Response, request

from app.errors import Invalid, NotAcceptable, NotFound
from app.fhir import dates
from app.registry import drawing, traced
from app.registry.links import Kind
from app.registry.naming import Naming
from app.registry.trace import DEPTH_MAX, DIRECTIONS, NODES, NODES_MAX, Asked, Trace, follow, starts
from app.rest.base import base_url
from app.rest.services import Hub

_JSON = "application/json"
_FHIR = "application/fhir+json"
_MEDIA: Mapping[str, str] = {
    "json": _JSON,
    "csv": "text/csv",
    "fhir": _FHIR,
    "svg": "image/svg+xml",
}


def blueprint(hub: Hub, kinds: Mapping[str, Kind]) -> Blueprint:
    """Return the route; `kinds` are the site's kinds of links."""
    routes = Blueprint("trace", __name__)
    naming = Naming(hub.store)

    @routes.get("/trace")
    def trace() -> Response:
        query = request.args
        code = query.get("code")
        if not code:
            raise Invalid("say which code: /trace?code=", at="http.code", code="required")
        asked = asked_for(query, hub.http.zone)
        media = _format(query.get("format"))
        graph = hub.store.graph
        start = starts(graph, code, query.get("as"), naming.spellings)
        if not start:
            raise NotFound("nothing here carries this code, and no link names it", at="http.code")
        found = follow(graph, kinds, start, asked)
        body = _WRITERS[media](found, base_url(request.environ, hub.http))
        response = Response(body, 200, content_type=media)
        if media != _FHIR and media != _JSON:
            response.headers["Content-Type"] = f"{media}; charset=utf-8"
        response.headers["Cache-Control"] = "private, no-cache"
        response.headers["Vary"] = "Accept"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return routes


def asked_for(query: Mapping[str, str], zone: tzinfo) -> Asked:
    """Return what the parameters ask for. Raises Invalid for a value that cannot be."""
    direction = query.get("direction", "both")
    if direction not in DIRECTIONS:
        raise Invalid("direction is back, forward or both", at="http.direction")
    low = _bound(query, "from", zone, 0, dates.OPEN_LOW)
    high = _bound(query, "to", zone, 1, dates.OPEN_HIGH)
    high = min(high, _bound(query, "at", zone, 1, dates.OPEN_HIGH))
    kinds = [name.strip() for name in query.get("kinds", "").split(",") if name.strip()]
    return Asked(
        direction=direction,
        between=(low, high),
        kinds=kinds or None,
        depth=_number(query, "depth", DEPTH_MAX, DEPTH_MAX),
        nodes=_number(query, "count", NODES, NODES_MAX),
    )


def _bound(query: Mapping[str, str], name: str, zone: tzinfo, side: int, default: int) -> int:
    text = query.get(name)
    if not text:
        return default
    try:
        return dates.bounds(text.replace(" ", "+"), zone)[side]
    except Invalid as exc:
        raise Invalid(f"`{name}` is a FHIR date or dateTime", at=f"http.{name}") from exc


def _number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0 and len(text) < 9):
        raise Invalid(f"`{name}` is a whole number from 1 on", at=f"http.{name}")
    return min(int(text), most)


def _format(name: str | None) -> str:
    if name:
        if name in _MEDIA:
            return _MEDIA[name]
        if name in _WRITERS:
            return name
        raise NotAcceptable("format is json, csv, fhir or svg", at="http.format")
    return request.accept_mimetypes.best_match(list(_WRITERS), default=_JSON) or _JSON


_WRITERS: Mapping[str, Callable[[Trace, str], bytes | str]] = {
    _JSON: lambda found, base: orjson.dumps(traced.as_json(found)),
    "text/csv": lambda found, base: traced.as_csv(found),
    _FHIR: traced.as_bundle,
    "image/svg+xml": lambda found, base: drawing.as_svg(found),
}
