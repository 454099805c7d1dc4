"""Update, update as create and conditional update: R4 http.html#update, #cond-update.

That the resource has the type and id of its address is checked where it is read, in the store.
What was read with `_summary` or `_elements` is refused: it would take away all that was left out.
"""

from __future__ import annotations

from app.errors import Unprocessable
from app.fhir import json
from app.rest import binary, content, criteria, write
from app.rest.exchange import Reply, Request
from app.rest.services import Hub
from app.store.types import Change, Method


def update(hub: Hub, request: Request) -> Reply:
    """Store a new version, or the first one under an id the client chose."""
    return write.commit(hub, request, change(request))


def conditional_update(hub: Hub, request: Request) -> Reply:
    """Update the one resource that meets the criteria, or create it."""
    return write.commit(hub, request, conditional_change(request))


def _whole(request: Request) -> bytes:
    """Return the resource sent. Raises Unprocessable for a part of one (R4 search.html#summary)."""
    body = content.resource(request)
    if json.is_reduced(body):
        at = f"{request.type}.meta.tag"
        raise Unprocessable("This is a part of a resource only (SUBSETTED)", at=at)
    return body


def change(request: Request) -> Change:
    """Return the change an update asks for."""
    return Change(
        Method.UPDATE,
        request.type,
        request.id,
        binary.wrapped(request) if binary.is_raw(request) else _whole(request),
        if_match=request.if_match,
        create_only=criteria.create_only(request),
        full_url=request.full_url,
        entry=request.index,
    )


def conditional_change(request: Request) -> Change:
    """Return the change a conditional update asks for."""
    return Change(
        Method.UPDATE,
        request.type,
        body=_whole(request),
        criteria=criteria.of_address(request),
        if_match=request.if_match,
        create_only=criteria.create_only(request),
        full_url=request.full_url,
        entry=request.index,
    )
