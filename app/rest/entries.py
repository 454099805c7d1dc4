"""Entries of a Bundle as requests, and replies as entries: R4 http.html#transaction-response."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC
from functools import lru_cache

from app.clock import instant
from app.errors import Invalid, YilianError
from app.fhir import bundle, definitions
from app.fhir.dates import bounds
from app.fhir.outcome import operation_outcome
from app.rest import present
from app.rest.exchange import Reply, Request, decode, etag, http_date
from app.rest.negotiate import Format

_instant = lru_cache(maxsize=64)(instant)  # the same for all writes of a transaction


def request_of(entry: bundle.Entry, outer: Request) -> tuple[Request, list[str]]:
    """Return an entry as a request of its own, and the parts of its address."""
    environ = {
        "HTTP_ACCEPT": Format.JSON.value,
        "CONTENT_TYPE": Format.JSON.value,
        "HTTP_PREFER": outer.header("PREFER"),
        "HTTP_IF_MATCH": entry.if_match,
        "HTTP_IF_NONE_MATCH": entry.if_none_match,
        "HTTP_IF_MODIFIED_SINCE": _http_date(entry.if_modified_since),
        "HTTP_IF_NONE_EXIST": entry.if_none_exist,
    }
    path, _, query = _below(entry.url, outer.base).partition("?")
    segments = [decode(part, plus=False) for part in path.strip("/").split("/") if part]
    request = Request(entry.method, query, environ, outer.base, entry.resource or b"", bundled=True)
    return request, segments


def _http_date(since: str | None) -> str | None:
    """Return an entry's instant as a header has it; None for what is none (then it is ignored)."""
    if since is None:
        return None
    with suppress(Invalid):
        return http_date(bounds(since, UTC)[0] // 1_000_000)
    return None


def _below(url: str, base: str) -> str:
    """Return the address relative to the base. Raises Invalid for another server's."""
    if url.startswith(base):
        return url[len(base) :]
    if "://" in url.partition("?")[0]:
        raise Invalid("The address is not one of this server", at="request.url")
    return url


def answered(request: Request, reply: Reply) -> bundle.Parts:
    """Return the response entry for a reply; what Prefer called an outcome goes to `outcome`."""
    explained = (
        request.prefer.returns == "OperationOutcome"
        and request.method not in ("GET", "HEAD")
        and not request.operation
    )
    response = bundle.Response(
        present.status_line(reply.status),
        reply.location,
        None if reply.version_id is None else etag(reply.version_id),
        None if reply.last_updated_us is None else _instant(reply.last_updated_us),
        reply.body if explained else None,
    )
    bodiless = explained or request.method == "HEAD"
    return bundle.answer(response, None if bodiless else reply.body)


def failed(status: int, error: YilianError) -> bundle.Parts:
    """Return the response entry for an error."""
    return bundle.answer(
        bundle.Response(present.status_line(status), outcome=operation_outcome(error.issues))
    )


class Placed:
    """A context that places the errors of its block in an entry."""

    __slots__ = ("_at",)

    def __init__(self, index: int) -> None:
        self._at = f"Bundle.entry[{index}]"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, YilianError):
            error.issues = [replace(i, at=_place(self._at, i.at)) for i in error.issues]


def _place(entry_at: str, at: str | None) -> str:
    """Return `Patient.name[0]` as `Bundle.entry[3].resource.name[0]`."""
    if not at:
        return entry_at
    if at.startswith("Bundle.entry["):
        return at
    head, _, rest = at.partition(".")
    if definitions.is_resource_type(head):
        return f"{entry_at}.resource.{rest}" if rest else f"{entry_at}.resource"
    if head == "http":
        return f"{entry_at}.request"
    return f"{entry_at}.{at}"
