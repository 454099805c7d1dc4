"""Bundles as bytes: R4 bundle.html.

Reading splits a batch or transaction into entries whose resources stay the bytes that were sent;
writing joins stored bodies. Neither parses a resource, so a search page of 20 bodies costs
microseconds and numbers keep their digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import orjson
from msgspec import Raw, Struct

from app.errors import Invalid, Malformed

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))

_ABSENT = Raw(b"")
_PLACE = re.compile(r" - at `\$(.*)`$")


@dataclass(frozen=True, slots=True)
class Entry:
    """One Bundle.entry of a batch or transaction, in the sender's order."""

    index: int
    method: str
    url: str
    full_url: str | None = None
    resource: bytes | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_match: str | None = None
    if_none_exist: str | None = None

    @property
    def at(self) -> str:
        """Where the entry stands, for errors."""
        return f"Bundle.entry[{self.index}]"


def read(body: bytes) -> tuple[str, list[SentEntry]]:
    """Return type and entries of a Bundle sent to be processed (R4 http.html#transaction).

    Raises Malformed for what is no JSON, Invalid for what is no Bundle. Whether an entry can be
    processed is seen by `entry`, for a batch fails entry by entry.
    """
    try:
        sent = _DECODER.decode(body)
    except msgspec.ValidationError as exc:
        place = _PLACE.search(str(exc))
        raise Invalid(
            "Not a Bundle: an element is missing, unknown or of the wrong type",
            at="Bundle" + (place.group(1) if place else ""),
        ) from exc
    except RecursionError as exc:
        raise Malformed("The JSON is nested too deeply") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Malformed("The body is not valid JSON in UTF-8") from exc
    if sent.resource_type != "Bundle":
        raise Invalid("Only a Bundle can be posted to the base address", at="resourceType")
    return sent.type, sent.entry


def entry(index: int, sent: SentEntry) -> Entry:
    """Return an entry to be processed. Raises Invalid, naming the place in the Bundle."""
    at = f"Bundle.entry[{index}]"
    request = sent.request
    if request is None:
        raise Invalid("The entry has no request", at=f"{at}.request", code="required")
    if request.method not in METHODS:
        raise Invalid("The method is not one of R4", at=f"{at}.request.method", code="code-invalid")
    resource = bytes(sent.resource) or None
    if request.method in ("POST", "PUT", "PATCH") and not (
        resource or "$" in request.url or "_search" in request.url
    ):
        raise Invalid("The entry has no resource", at=f"{at}.resource", code="required")
    return Entry(
        index,
        request.method,
        request.url,
        sent.full_url,
        resource,
        request.if_none_match,
        request.if_modified_since,
        request.if_match,
        request.if_none_exist,
    )


class _Part(Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """What each element of a Bundle may carry; contents that play no part stay raw."""

    id: str | None = None
    extension: Raw = _ABSENT


class _Request(_Part):
    method: str
    url: str
    modifier_extension: Raw = _ABSENT
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_match: str | None = None
    if_none_exist: str | None = None


class SentEntry(_Part):
    """One Bundle.entry as it was sent."""

    modifier_extension: Raw = _ABSENT
    link: Raw = _ABSENT
    full_url: str | None = None
    resource: Raw = _ABSENT
    search: Raw = _ABSENT
    request: _Request | None = None
    response: Raw = _ABSENT


class _Bundle(Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    resource_type: str
    id: str | None = None
    meta: Raw = _ABSENT
    implicit_rules: str | None = None
    language: str | None = None
    identifier: Raw = _ABSENT
    type: str
    timestamp: str | None = None
    total: Raw = _ABSENT
    link: Raw = _ABSENT
    entry: list[SentEntry] = []
    signature: Raw = _ABSENT


_DECODER = msgspec.json.Decoder(_Bundle)


Parts = Sequence[bytes]  # one ready-made entry, in pieces so that bodies are copied only once


def join(
    kind: str,
    entries: Iterable[Parts],
    *,
    total: int | None = None,
    links: Sequence[tuple[str, str]] = (),
) -> bytes:
    """Return a Bundle of type `kind` around ready-made entries."""
    parts = [b'{"resourceType":"Bundle","type":"%b"' % kind.encode()]
    if total is not None:
        parts.append(b',"total":%d' % total)
    if links:
        parts.append(b',"link":' + orjson.dumps([{"relation": r, "url": u} for r, u in links]))
    before = b',"entry":['
    for entry in entries:
        parts.append(before)
        parts += entry
        before = b","
    parts.append(b"]}" if before == b"," else b"}")
    return b"".join(parts)


def found(full_url: str, resource: bytes, mode: str) -> Parts:
    """Return an entry of a searchset; `mode` is match, include or outcome."""
    return b'{"fullUrl":"', full_url.encode(), b'","resource":', resource, _MODES[mode]


def remark(outcome: bytes) -> Parts:
    """Return the searchset entry that tells the client about the search itself."""
    return b'{"resource":', outcome, _MODES["outcome"]


_MODES = {
    mode: b',"search":{"mode":"%b"}}' % mode.encode() for mode in ("match", "include", "outcome")
}


@dataclass(frozen=True, slots=True)
class Response:
    """Bundle.entry.response: what the same request alone would have said in its headers."""

    status: str  # "201 Created"
    location: str | None = None
    etag: str | None = None
    last_modified: str | None = None  # an instant
    outcome: bytes | None = None  # an OperationOutcome


def answer(response: Response, resource: bytes | None = None) -> Parts:
    """Return an entry of a batch-response or transaction-response."""
    if not resource:
        return b'{"response":', _response(response), b"}"
    return b'{"resource":', resource, b',"response":', _response(response), b"}"


def past(full_url: str, resource: bytes | None, method: str, url: str, response: Response) -> Parts:
    """Return an entry of a history: one version and the request that made it."""
    request = b'"request":{"method":"%b","url":"%b"},"response":' % (method.encode(), url.encode())
    parts = [b'{"fullUrl":"', full_url.encode(), b'",']
    if resource:
        parts += (b'"resource":', resource, b",")
    return [*parts, request, _response(response), b"}"]


def _response(response: Response) -> bytes:
    fields = {
        "status": response.status,
        "location": response.location,
        "etag": response.etag,
        "lastModified": response.last_modified,
        "outcome": orjson.Fragment(response.outcome) if response.outcome else None,
    }
    return orjson.dumps({name: value for name, value in fields.items() if value is not None})
