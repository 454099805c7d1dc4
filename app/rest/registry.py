"""Registering: things (`/registry`), links (`/links`) and OIDs (`/oid`). identifiers.md section 6.

Bulk input is NDJSON or CSV; the answer is one JSON line for each line of it, sent while the rest is
still being worked on: what became of the line, or what is wrong with it. Sending a line again
changes nothing; `after=N` goes on behind line N.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

import orjson
from flask import Blueprint, Response, request

from app.clock import from_us
from app.errors import Invalid, Malformed, NotFound, UnsupportedMediaType, YilianError
from app.registry import entities, oids, stated
from app.registry.links import Kind
from app.registry.naming import Naming
from app.registry.parse import parse
from app.rest import problems
from app.rest.services import Hub
from app.store.types import Outcome, Result

_LINES = "application/x-ndjson"
_NDJSON = (_LINES, "application/ndjson", "application/jsonl")
_CREATED = {Result.CREATED: HTTPStatus.CREATED}

Json = dict[str, Any]
Numbered = Iterator[tuple[int, Any]]  # line number, row; an error in place of an unreadable row


def blueprint(hub: Hub, kinds: Mapping[str, Kind]) -> Blueprint:
    """Return the routes; `kinds` are the site's kinds of links."""
    routes = Blueprint("registry", __name__)
    naming = Naming(hub.store)

    @routes.get("/registry")
    def registered() -> Response:
        code = request.args.get("code")
        if not code:
            return _json({"kinds": {kind.name: kind.type for kind in entities.kinds().values()}})
        parsed = parse(code, as_=request.args.get("as"))
        keys = [each for key in parsed.keys[-1:] for each in naming.spellings(key)]
        found = hub.store.find_by_keys(keys, limit=100) if keys else []
        active = [entities.told(each) for each in found]
        return _json({"key": parsed.canonical, "conflict": len(active) > 1, "entities": active})

    @routes.post("/registry")
    def register() -> Response:
        return _each(lambda row: entities.register(hub.store, row))

    @routes.post("/links")
    def link() -> Response:
        return _each(lambda row: hub.store.commit([stated.change_of(row, kinds)])[0])

    @routes.post("/oid")
    def arc() -> Response:
        today = from_us(hub.clock.now_us()).astimezone(hub.http.zone).date().isoformat()
        return _each(lambda row: oids.register(hub.store, row, today))

    @routes.get("/oid/<path:text>")
    def oid(text: str) -> Response:
        dotted = oids.dotted(text)
        found = oids.told(hub.store, dotted)
        owner = hub.http.peers.owner(f"oid:{dotted}") if hub.http.peers else None
        if owner is not None:
            peer, prefix = owner
            delegated = {"hub": peer.name, "prefix": prefix}
            found = (found or {"oid": dotted, "registered": False}) | {"delegatedTo": delegated}
        if found is None:
            raise NotFound("nobody registered this OID, one above or one below")
        return _json(found)

    return routes


def _each(write: Callable[[Any], Outcome]) -> Response:
    """Write the rows of a request: one JSON object answers for itself, lines for themselves."""
    body = request.get_data()
    kind = request.mimetype
    if kind in _NDJSON:
        return _lines(_ndjson(body), write)
    if kind == "text/csv":
        return _lines(_csv(_text(body)), write)
    if kind != "application/json":
        raise UnsupportedMediaType("send application/json, application/x-ndjson or text/csv")
    try:
        sent = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise Malformed("the body is not JSON") from exc
    if isinstance(sent, list):
        return _json([_became(n, row, write) for n, row in enumerate(sent, 1)])
    outcome = write(sent)
    response = _json(_done(outcome), _CREATED.get(outcome.result, HTTPStatus.OK))
    response.headers["Location"] = f"/fhir/{outcome.type}/{outcome.id}"
    return response


def _lines(rows: Numbered, write: Callable[[Any], Outcome]) -> Response:
    after = request.args.get("after", "0")
    if not (after.isascii() and after.isdigit() and len(after) < 12):
        raise Invalid("`after` is a line number", at="http.after")
    answers = (orjson.dumps(_became(n, row, write)) + b"\n" for n, row in rows if n > int(after))
    return Response(answers, 200, content_type=_LINES)


def _became(line: int, row: Any, write: Callable[[Any], Outcome]) -> Json:
    try:
        if isinstance(row, YilianError):
            raise row
        return {"line": line, **_done(write(row))}
    except YilianError as exc:
        issue = exc.issues[0]
        error = {"code": issue.code, "detail": issue.text, "at": issue.at}
        return {
            "line": line,
            "status": problems.status(exc),
            "error": {name: value for name, value in error.items() if value},
        }


def _done(outcome: Outcome) -> Json:
    return {"resource": f"{outcome.type}/{outcome.id}", "result": outcome.result.value}


def _ndjson(body: bytes) -> Numbered:
    for n, line in enumerate(body.splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield n, orjson.loads(line)
        except orjson.JSONDecodeError:
            yield n, Malformed("the line is not JSON")


def _csv(text: str) -> Numbered:
    """Yield the rows of a CSV with a head line; an empty cell is as if it were not there."""
    rows = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for row in rows:
            if None in row:
                yield rows.line_num, Malformed("more cells than the head line has")
            else:
                yield rows.line_num, {name: cell for name, cell in row.items() if cell}
    except csv.Error:  # the answer has begun: it is told in the place of the line
        yield rows.line_num, Malformed("the CSV cannot be read from here on")


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise Malformed("the CSV is not UTF-8") from exc


def _json(content: Any, status: int = HTTPStatus.OK) -> Response:
    response = Response(orjson.dumps(content), status, content_type="application/json")
    response.headers["Cache-Control"] = "private, no-cache"
    return response
