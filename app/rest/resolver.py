"""Other networks' ways to resolve: GS1 Digital Link, Handle. identifiers.md section 7.

GS1-conformant resolver standard 1.1: `/01/...` answers 307 to the link that fits, or the linkset.
Handle proxy: `/api/handles/{prefix}/{suffix}` and `/hdl/{handle}` (RFC 3650 to 3652 data model as
the Handle.net proxy's JSON). A key that cannot be read is 400, one nobody knows 404.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import orjson
from flask import Blueprint, Response, request

from app.clock import instant
from app.errors import Invalid, NotFound
from app.registry import digital_link
from app.registry.digital_link import CONTEXT, PRIMARY, Target
from app.registry.links import Kind
from app.registry.naming import Naming
from app.registry.parse import parse
from app.registry.reading import Parsed
from app.rest.base import MOUNT, base_url
from app.rest.services import Hub
from app.store.types import Stored

_LINKSET = "application/linkset+json"
_ALL = ("linkset", "all", "gs1:linkset", "gs1:all")
_SHORTEST_COMPRESSED = 10  # characters: 14 digits alone take 8 octets and more
_SCHEME = "gs1-digital-link"
_HOST = "https://id.gs1.org"
_SLASHES = 8  # as many may stand in a value of 20 characters that anybody prints
_LEAST_SEGMENTS = 2  # of the key itself
_TTL_S = 3600
_FOUND, _NO_HANDLE, _NO_VALUES = 1, 100, 200  # responseCode of the Handle protocol

Json = dict[str, Any]


def blueprint(hub: Hub, kinds: Mapping[str, Kind]) -> Blueprint:
    """Return the routes; `kinds` are the site's kinds of links."""
    routes = Blueprint("resolver", __name__)
    naming = Naming(hub.store)
    described_by = kinds["described-by"]

    def resolve(parsed: Parsed, path: str) -> Response:
        """Answer a Digital Link that could be read."""
        base = base_url(request.environ, hub.http)
        root = base.removesuffix(MOUNT)
        lookup = f"{root}/id?{urlencode({'code': parsed.uri or ''})}"
        graph = hub.store.graph
        found = digital_link.targets(graph, described_by, parsed.keys, base, lookup)
        if not found:
            raise NotFound("nobody here knows this item")
        anchor = f"{root}{path}"
        if parsed.scheme.endswith("compressed") and parsed.uri:
            anchor = root + urlsplit(parsed.uri).path
        link_type = request.args.get("linkType")
        accepted = list(request.accept_mimetypes.values())
        if link_type in _ALL or (link_type is None and _LINKSET in accepted):
            return _linkset(digital_link.linkset(found, anchor))
        languages = list(request.accept_languages.values())
        target = digital_link.chosen(found, link_type, languages, accepted)
        if target is None:
            raise NotFound("the item has no link of this type")
        return _redirect(target, anchor, parsed)

    @routes.get(f"/<any({','.join(map(repr, PRIMARY))}):ai>/<path:rest>")
    def uncompressed(ai: str, rest: str) -> Response:
        parsed, path = _read(request.path)
        if not parsed.valid:
            raise Invalid(parsed.errors[0].message, at=parsed.errors[0].field)
        return resolve(parsed, path)

    @routes.get("/<string:segment>")
    def compressed(segment: str) -> Response:
        path = _quoted(request.path)
        if len(segment) >= _SHORTEST_COMPRESSED:
            parsed = parse(_HOST + path)
            if parsed.valid and parsed.scheme == "gs1-digital-link-compressed":
                return resolve(parsed, path)
        raise NotFound("there is nothing at this address")

    @routes.get("/.well-known/gs1resolver")
    def description() -> Response:
        root = base_url(request.environ, hub.http).removesuffix(MOUNT)
        return _json(
            {
                "name": "Yilian",
                "resolverRoot": root,
                "supportedPrimaryKeys": list(PRIMARY),
                "supportedContextValuesEnumerated": [],
                "linkTypeDefaultCanBeLinkset": False,
                "supportsSemicolonQueryDelimiter": False,
            }
        )

    def carriers(handle: str) -> list[Stored]:
        parsed = parse(handle, as_="handle")
        if not parsed.valid or parsed.canonical is None:
            raise Invalid("this is no Handle", at="handle")
        return hub.store.find_by_keys(naming.spellings(parsed.canonical), limit=20)

    @routes.get("/api/handles/<prefix>/<path:suffix>")
    def handle(prefix: str, suffix: str) -> Response:
        name = f"{prefix}/{suffix}"
        values = _values(carriers(name), base_url(request.environ, hub.http))
        if not values:
            found = {"responseCode": _NO_HANDLE, "handle": name}
            return _json(found, HTTPStatus.NOT_FOUND)
        types, indexes = request.args.getlist("type"), request.args.getlist("index")
        if types or indexes:
            values = [v for v in values if v["type"] in types or str(v["index"]) in indexes]
        code = _FOUND if values else _NO_VALUES
        return _json({"responseCode": code, "handle": name, "values": values})

    @routes.get("/hdl/<path:name>")
    def proxy(name: str) -> Response:
        values = _values(carriers(name), base_url(request.environ, hub.http))
        if not values:
            raise NotFound("nobody here knows this Handle")
        return Response(status=HTTPStatus.FOUND, headers={"Location": values[0]["data"]["value"]})

    return routes


def _read(path: str) -> tuple[Parsed, str]:
    """Read a path that the server has percent-decoded; return it as it must have been sent.

    A slash that stood as `%2F` in the last value looks like a separator by now: a path that cannot
    be read as it is is tried with its last segments taken together.
    """
    first = parse(_HOST + _quoted(path), as_=_SCHEME), _quoted(path)
    head, tail = path.rpartition("/")[::2]
    for _ in range(_SLASHES):
        if first[0].valid or head.count("/") <= _LEAST_SEGMENTS:
            break
        head, _, more = head.rpartition("/")
        tail = f"{more}/{tail}"
        whole = f"{_quoted(head)}/{quote(tail, safe='')}"
        parsed = parse(_HOST + whole, as_=_SCHEME)
        if parsed.valid:
            return parsed, whole
    return first


def _quoted(path: str) -> str:
    return quote(path, safe="/!$&'()*+,;=:@-._~")


def _linkset(content: Json) -> Response:
    response = _json(content)
    response.headers["Content-Type"] = _LINKSET
    response.headers["Link"] = (
        f'<{CONTEXT}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'
    )
    return response


def _redirect(target: Target, anchor: str, parsed: Parsed) -> Response:
    """Answer 307 with the client's query passed on, and where the linkset and the item are."""
    asked = [
        (name, value)
        for name, value in parse_qsl(request.query_string.decode("ascii", "replace"))
        if name != "linkType"
    ]
    url = urlsplit(target.href)
    query = "&".join(part for part in (url.query, urlencode(asked)) if part)
    response = Response(status=HTTPStatus.TEMPORARY_REDIRECT)
    response.headers["Location"] = urlunsplit(url._replace(query=query))
    links = [f'<{anchor}?linkType=linkset>; rel="linkset"; type="{_LINKSET}"']
    if parsed.scheme.endswith("compressed"):
        links.append(f'<{anchor}>; rel="owl:sameAs"')
    response.headers["Link"] = ", ".join(links)
    response.headers["Vary"] = "Accept, Accept-Language"
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Expose-Headers"] = "Link, Location"
    return response


def _values(found: Sequence[Stored], base: str) -> list[Json]:
    """Return the values of a Handle: the addresses of the resources that carry it."""
    return [
        {
            "index": index,
            "type": "URL",
            "data": {"format": "string", "value": f"{base}/{each.type}/{each.id}"},
            "ttl": _TTL_S,
            "timestamp": instant(each.last_updated_us)[:19] + "Z",
        }
        for index, each in enumerate(found, 1)
    ]


def _json(content: Json, status: int = HTTPStatus.OK) -> Response:
    response = Response(orjson.dumps(content), status, content_type="application/json")
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cache-Control"] = "no-cache"
    return response
