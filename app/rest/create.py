"""Create and conditional create: R4 http.html#create, #ccreate."""

from __future__ import annotations

from app.rest import binary, content, criteria, write
from app.rest.exchange import Reply, Request
from app.rest.services import Hub
from app.store.types import Change, Method


def create(hub: Hub, request: Request) -> Reply:
    """Store a new resource; with If-None-Exist only if nothing meets those criteria."""
    return write.commit(hub, request, change(request))


def change(request: Request) -> Change:
    """Return the change a create asks for."""
    return Change(
        Method.CREATE,
        request.type,
        body=binary.wrapped(request) if binary.is_raw(request) else content.resource(request),
        criteria=criteria.of_header(request.condition("IF_NONE_EXIST"), request.type),
        full_url=request.full_url,
        entry=request.index,
    )
