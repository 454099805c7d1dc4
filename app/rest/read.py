"""Read, vread and conditional read: R4 http.html#read, #vread, #cread."""

from __future__ import annotations

from app.errors import Deleted
from app.rest import binary, shape
from app.rest.exchange import Reply, Request, etag, seconds_of, tags
from app.rest.services import Hub
from app.store.types import Stored


def read(hub: Hub, request: Request) -> Reply:
    """Return the current version; 304 when the client has it already."""
    return _given(request, hub.store.read(request.type, request.id))


def of_version(hub: Hub, request: Request, version_id: int) -> Reply:
    """Return the reply to a read that is to see one version, which is no deletion."""
    return _given(request, hub.store.vread(request.type, request.id, str(version_id)))


def vread(hub: Hub, request: Request) -> Reply:
    """Return one version. Raises Deleted for the version that is a deletion."""
    stored = hub.store.vread(request.type, request.id, request.version)
    if stored.deleted:
        raise Deleted("This version is the deletion of the resource")
    return _given(request, stored)


def _given(request: Request, stored: Stored) -> Reply:
    if unchanged(request.header("IF_NONE_MATCH"), request.header("IF_MODIFIED_SINCE"), stored):
        return Reply(304, b"", stored.version_id, stored.last_updated_us)
    reply = Reply(200, stored.body, stored.version_id, stored.last_updated_us)
    if request.type == "Binary" and not request.bundled:
        return binary.unwrapped(request, reply)
    if request.query:
        summary, elements = shape.asked(request.params)
        shape.require_known(stored.type, elements)
        reply.body = shape.reduced(stored.body, stored.type, summary, elements)
    return reply


def unchanged(if_none_match: str | None, if_modified_since: str | None, stored: Stored) -> bool:
    """Say whether the client has this version. RFC 9110 section 13.2.2: If-None-Match wins.

    HTTP dates have seconds only, so the fraction of lastUpdated is cut before comparing.
    """
    if if_none_match is not None:
        known = tags(if_none_match)
        return str(stored.version_id) in known or "*" in known
    if if_modified_since is not None:
        seconds = seconds_of(if_modified_since)
        return seconds is not None and stored.last_updated_us // 1_000_000 <= seconds
    return False


def headers(stored: Stored) -> tuple[str, int]:
    """Return the ETag and the seconds of Last-Modified."""
    return etag(stored.version_id), stored.last_updated_us // 1_000_000
