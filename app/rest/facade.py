"""The outer frame of `/fhir`: one WSGI callable around the interactions. R4 http.html.

It reads the request, routes it, and renders what comes back: a resource, or any error as an
OperationOutcome in the format that was asked for. It is plain WSGI because Flask's own cost per
request (75 us) is more than most interactions here need. A plain read by id does not get as far as
a handler: the stored bytes go out as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from app.errors import Issue, MethodNotAllowed, NotAcceptable, TooCostly, YilianError
from app.fhir import definitions
from app.fhir.outcome import operation_outcome
from app.rest import bodies, negotiate, pages, present, problems, process, route
from app.rest.admit import Gate, preflight
from app.rest.base import MOUNT, base_url
from app.rest.exchange import Reply, Request, etag, http_date
from app.rest.negotiate import Format
from app.rest.present import Headers
from app.rest.read import unchanged
from app.rest.services import Hub

Environ = Mapping[str, Any]
StartResponse = Callable[[str, Headers], Any]
Rendered = tuple[str, Headers, bytes]  # status line, headers, body

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))
_PUBLIC = ["metadata"]  # what pages of any origin may read
# The common headers of a stored body that goes out as it is.
_AS_STORED = [("Content-Type", Format.JSON.content_type), *present.COMMON]


class Facade:
    """The WSGI callable; one for each process."""

    def __init__(self, hub: Hub, gate: Gate) -> None:
        self._hub = hub
        self._gate = gate
        self._options = hub.http
        self._lookup = hub.store.lookup

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method: str = environ["REQUEST_METHOD"]
        query: str = environ.get("QUERY_STRING", "")
        request = Request(method, query, environ, base_url(environ, self._options))
        status, headers, body = self._answer(request, _segments(environ["PATH_INFO"]))
        start_response(status, headers)
        return [] if method == "HEAD" else [body]

    def _answer(self, request: Request, segments: Sequence[str]) -> Rendered:
        try:
            self._gate.admit(
                request.environ,
                public=request.method == "OPTIONS" or segments == _PUBLIC,
            )
            if request.method == "GET" and not request.query and len(segments) == 2:
                plain = self._plain_read(request.environ, segments[0], segments[1])
                if plain is not None:
                    return plain
            return self._render(request, self._reply(request, segments))
        except YilianError as error:
            return self._refusal(request, segments, error)
        except Exception as exc:  # noqa: BLE001 - the door's outermost frame
            issue = problems.fault(exc, request.header("X_REQUEST_ID"))
            return self._problem(request, 500, [issue])

    def _plain_read(self, environ: Environ, type: str, id: str) -> Rendered | None:
        """Render a read of stored JSON; None for all that is not quite so plain."""
        get = environ.get
        if (
            not definitions.is_resource_type(type)
            or type == "Binary"
            or "HTTP_ORIGIN" in environ
            or "HTTP_X_REQUEST_ID" in environ
            or (type in pages.PARAMETERS and negotiate.prefers_page(get("HTTP_ACCEPT")))
        ):
            return None
        try:
            if negotiate.response_format(get("HTTP_ACCEPT")) is not Format.JSON:
                return None
        except NotAcceptable:
            return None
        stored = self._lookup(type, id)
        if stored is None or stored.deleted:
            return None
        headers = [
            *_AS_STORED,
            ("ETag", etag(stored.version_id)),
            ("Last-Modified", http_date(stored.last_updated_us // 1_000_000)),
        ]
        if unchanged(get("HTTP_IF_NONE_MATCH"), get("HTTP_IF_MODIFIED_SINCE"), stored):
            return "304 Not Modified", headers[1:], b""
        body = self._packed(get("HTTP_ACCEPT_ENCODING"), stored.body, headers)
        return "200 OK", headers, body

    def _packed(
        self,
        accept_encoding: str | None,
        body: bytes,
        headers: Headers,
        compress: Callable[[bytes, str], bytes] = present.compressed,
    ) -> bytes:
        """Return the body compressed if that was asked for and pays; completes `headers`."""
        if accept_encoding and len(body) > self._options.compress_from_bytes:
            encoding = negotiate.content_encoding(accept_encoding)
            if encoding:
                body = compress(body, encoding)
                headers.append(("Content-Encoding", encoding))
        headers.append(("Content-Length", str(len(body))))
        return body

    def _reply(self, request: Request, segments: Sequence[str]) -> Reply:
        if request.method == "OPTIONS":
            methods = route.allowed(request, segments)
            return Reply(204, headers=[("Allow", methods), *preflight(request.environ, methods)])
        if request.method not in _METHODS:
            route.locate(request, segments)
            raise MethodNotAllowed("R4 does not use this method")
        if len(request.query) > self._options.max_query_bytes:
            raise TooCostly("The query is too long; POST it to _search", at="http.query")
        if page := pages.instead(self._hub, request, segments):
            return page
        if segments[:1] != ["Binary"]:  # its content may be of any type
            _ = request.format  # 406 before anything is done
        if request.method in ("POST", "PUT", "PATCH"):
            request.body = bodies.read(request.environ, self._options.max_body_bytes)
        if request.method == "POST" and not segments:
            return process.process(self._hub, request)
        return route.answer(self._hub, request, segments)

    def _render(self, request: Request, reply: Reply) -> Rendered:
        headers = [*present.COMMON, *present.version_headers(reply, request.base), *reply.headers]
        body = reply.body
        if body:
            if reply.content_type is None:
                form = request.format
                write = present.written_once if reply.constant else present.written
                body = write(body, form, pretty=present.asks_for_pretty(request))
                headers.append(("Content-Type", form.content_type))
            else:
                headers.append(("Content-Type", reply.content_type))
        headers += self._extra(request.environ)
        if reply.status in (204, 304):  # no body and no length: RFC 9110 section 8.6
            return present.status_line(reply.status), headers, b""
        compress = present.compressed_once if reply.constant else present.compressed
        body = self._packed(request.header("ACCEPT_ENCODING"), body, headers, compress)
        return present.status_line(reply.status), headers, body

    def _refusal(self, request: Request, segments: Sequence[str], error: YilianError) -> Rendered:
        headers = problems.headers(error)
        if isinstance(error, MethodNotAllowed):
            headers.append(("Allow", route.allowed(request, segments)))
        return self._problem(request, problems.status(error), error.issues, headers)

    def _problem(
        self,
        request: Request,
        status: int,
        issues: Iterable[Issue],
        headers: Headers | None = None,
    ) -> Rendered:
        """Render an OperationOutcome in the format asked for, or JSON if that cannot be."""
        form = negotiate.usable_format(request.header("ACCEPT"), _raw_format(request.query))
        body = present.written(operation_outcome(issues), form)
        out = [
            *present.COMMON,
            ("Content-Type", form.content_type),
            ("Content-Length", str(len(body))),
            *(headers or ()),
            *self._extra(request.environ),
        ]
        return present.status_line(status), out, body

    def _extra(self, environ: Environ) -> Headers:
        """Return the headers that answer to Origin and X-Request-Id."""
        headers = self._gate.headers(environ)
        request_id = environ.get("HTTP_X_REQUEST_ID")
        if request_id and problems.REQUEST_ID.fullmatch(request_id):
            headers.append(("X-Request-Id", request_id))
        return headers


def _segments(path: str) -> list[str]:
    """Return the parts of the path below the base; a slash at the end does not count."""
    below = path[len(MOUNT) :].strip("/")
    return below.split("/") if below else []


def _raw_format(query: str) -> str | None:
    """Return `_format` of a query that may itself be what is wrong."""
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name == "_format":
            return value.replace("%2B", "+").replace("%2b", "+").replace("%2F", "/")
    return None
