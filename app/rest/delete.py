"""Delete and conditional delete: R4 http.html#delete, #3.1.0.7.1.

What is gone or never was is no error. A conditional delete that meets several resources deletes
none (`conditionalDelete` is `single`).
"""

from __future__ import annotations

from app.rest import criteria, write
from app.rest.exchange import Reply, Request
from app.rest.services import Hub
from app.store.types import Change, Method


def delete(hub: Hub, request: Request) -> Reply:
    """Delete a resource."""
    return write.commit(hub, request, change(request))


def conditional_delete(hub: Hub, request: Request) -> Reply:
    """Delete the one resource that meets the criteria, if there is one."""
    return write.commit(hub, request, conditional_change(request))


def change(request: Request) -> Change:
    """Return the change a delete asks for."""
    return Change(
        Method.DELETE,
        request.type,
        request.id,
        if_match=request.if_match,
        full_url=request.full_url,
        entry=request.index,
    )


def conditional_change(request: Request) -> Change:
    """Return the change a conditional delete asks for."""
    return Change(
        Method.DELETE,
        request.type,
        criteria=criteria.of_address(request),
        if_match=request.if_match,
        full_url=request.full_url,
        entry=request.index,
    )
