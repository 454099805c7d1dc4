"""Search: R4 http.html#search, #vsearch, search.html. The store searches; this is the envelope.

`GET [base]`, `[type]`, `[compartment]/[id]/[type]`, and the same as POST to `_search`. Unknown
parameters are refused unless the client prefers lenient handling: an answer that silently left
out a filter looks like a right one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import quote_plus

from app.errors import NotSupported, UnsupportedMediaType
from app.fhir import bundle
from app.fhir.outcome import operation_outcome
from app.rest import links, negotiate, shape
from app.rest.criteria import PRESENTATION
from app.rest.exchange import Reply, Request, parse_query
from app.rest.services import Hub
from app.store.types import SearchPage, SearchRequest, Stored

FORM = "application/x-www-form-urlencoded"
_NO_CRITERIA = PRESENTATION | {""}


def search(hub: Hub, request: Request) -> Reply:
    """Return one page of a search as a searchset Bundle."""
    wanted = asked(request)
    page = hub.store.search(wanted)
    if page.elements and wanted.type and wanted.strict:
        shape.require_known(wanted.type, page.elements)
    return Reply(200, searchset(request, page, links.path(request)))


def asked(request: Request) -> SearchRequest:
    """Return what a request searches for."""
    params = request.params
    if request.method == "POST" and request.body:
        params = request.joined(_form(request))
        _ = request.format  # the form may ask for one: 406 before anything is searched
    kept = [pair for pair in params if pair[0] not in _NO_CRITERIA]
    if len(kept) < len(params) and any(not name for name, _ in params):
        raise NotSupported("A parameter has no name", at="http.query")
    compartment = (request.type, request.id) if request.id else None
    type = request.other if compartment else request.type
    return SearchRequest(
        None if type in ("", "*") else type,
        kept,
        compartment,
        request.prefer.handling != "lenient",
        request.base,
    )


def _form(request: Request) -> list[tuple[str, str]]:
    sent = negotiate.media(request.header("CONTENT_TYPE") or FORM)
    if sent.type != FORM:
        raise UnsupportedMediaType(f"A search is sent as {FORM}", at="http.Content-Type")
    try:
        form = request.body.decode("ascii")
    except UnicodeDecodeError:
        form = quote_plus(request.body, safe="=&%+")  # raw UTF-8, as curl -d sends it
    return parse_query(form.strip())


def searchset(request: Request, page: SearchPage, path: str) -> bytes:
    """Return the Bundle of a page by joining stored bodies."""
    return bundle.join(
        "searchset",
        () if page.summary == "count" else _entries(request.base, page),
        total=page.total,
        links=links.of_page(path, request, page.used, page.next),
    )


def _entries(base: str, page: SearchPage) -> list[bundle.Parts]:
    entries = _found(base, page.matches, "match", page.summary, tuple(page.elements))
    if page.includes:
        # _elements names elements of the type searched for; _summary goes for all.
        entries += _found(base, page.includes, "include", page.summary, ())
    if page.ignored:
        entries.append(bundle.remark(operation_outcome(page.ignored)))
    return entries


def _found(
    base: str, found: Iterable[Stored], mode: str, summary: str | None, elements: Sequence[str]
) -> list[bundle.Parts]:
    if not (summary or elements):
        return [bundle.found(f"{base}/{each[0]}/{each[1]}", each[4], mode) for each in found]
    return [
        bundle.found(
            f"{base}/{each.type}/{each.id}",
            shape.reduced(each.body, each.type, summary, elements),
            mode,
        )
        for each in found
    ]
