"""History of a resource, a type or the whole system: R4 http.html#history.

`_since` takes an instant (or a less precise date, meaning its beginning), `_at` a date or time:
the versions that were current during it; of a time with a fraction, the one current at its end.
`_summary` and `_elements` are for every interaction (http.html#parameters).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC

from app.clock import instant
from app.errors import Invalid
from app.fhir import bundle, dates
from app.rest import links, shape
from app.rest.exchange import Reply, Request, etag
from app.rest.services import Hub
from app.store.types import Stored

_SHAPE = frozenset(("_summary", "_elements"))
_KNOWN = _SHAPE | {"_since", "_at", "_count", "_page", "_format", "_pretty"}

# method of the version -> the request that makes such a version, and its status
_REQUEST = {
    "create": ("POST", "201 Created"),
    "update": ("PUT", "200 OK"),
    "delete": ("DELETE", "204 No Content"),
}


def history(hub: Hub, request: Request) -> Reply:
    """Return one page of versions, newest first, deletions included."""
    known = [pair for pair in request.params if pair[0] in _KNOWN]
    if len(known) < len(request.params) and request.prefer.handling != "lenient":
        raise Invalid(
            "A history takes _since, _at and _count only", at="http.query", code="not-supported"
        )
    given = dict(known)
    if given.get("_summary") == "count":
        given["_count"] = "0"
        del given["_summary"]
    wanted = shape.asked([pair for pair in given.items() if pair[0] in _SHAPE])
    page = hub.store.history(
        request.type or None,
        request.id or None,
        since_us=_since(given.get("_since")),
        at=_at(given.get("_at")),
        count=count(given.get("_count"), hub.http.history_count, hub.http.history_count_max),
        cursor=given.get("_page"),
    )
    path = links.path(request) + "/_history"
    return Reply(
        200,
        bundle.join(
            "history",
            _entries(request.base, page.versions, *wanted),
            total=page.total,
            links=links.of_page(path, request, known, page.next),
        ),
    )


def count(text: str | None, default: int, largest: int) -> int:
    """Return a page size: what is asked for, capped. Raises Invalid for what is no number."""
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()):
        raise Invalid("_count has to be a number that is not negative", at="http._count")
    return min(int(text[:9]), largest)


def _since(text: str | None) -> int | None:
    return None if text is None else _bounds(text, "_since")[0]


def _at(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    low, high = _bounds(text, "_at")
    return (high - 1, high) if "." in text else (low, high)


def _bounds(text: str, name: str) -> tuple[int, int]:
    try:
        # A `+` of the zone that was not percent-encoded arrives as a space.
        return dates.bounds(text.replace(" ", "+"), UTC)
    except Invalid as exc:
        raise Invalid("Not a date or instant", at=f"http.{name}") from exc


def _entries(
    base: str, versions: Iterable[Stored], summary: str | None, elements: Sequence[str]
) -> Iterator[bundle.Parts]:
    for stored in versions:
        address = f"{stored.type}/{stored.id}"
        method, status = _REQUEST[stored.method]
        yield bundle.past(
            f"{base}/{address}",
            None if stored.deleted else shape.reduced(stored.body, stored.type, summary, elements),
            method,
            stored.type if method == "POST" else address,
            bundle.Response(
                status,
                etag=etag(stored.version_id),
                last_modified=instant(stored.last_updated_us),
            ),
        )
