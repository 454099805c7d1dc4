"""Delete and conditional delete: R4 http.html#delete, #3.1.0.7.1.

What is gone or never was is no error. A conditional delete that meets several resources deletes
none (`conditionalDelete` is `single`), or by the site's setting all (`multiple`): in one change
set, each in the version that met the criteria.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.errors import PreconditionFailed, TooCostly
from app.rest import criteria, patch, write
from app.rest.exchange import Reply, Request
from app.rest.services import Hub
from app.store.types import Change, Method, Outcome, Result, Stored

_MOST = 10_000  # resources in one delete: a change set is held in memory


def delete(hub: Hub, request: Request) -> Reply:
    """Delete a resource."""
    return write.commit(hub, request, change(request))


def conditional_delete(hub: Hub, request: Request) -> Reply:
    """Delete the one resource that meets the criteria if there is one, or all that do."""
    if not hub.http.multiple_delete:
        return write.commit(hub, request, conditional_change(request))

    def attempt() -> Outcome:
        changes = matched_changes(hub, request)
        return one_of(request, hub.store.commit(changes) if changes else ())

    return write.told(hub, request, patch.repeatedly(attempt))


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


def matched_changes(hub: Hub, request: Request) -> list[Change]:
    """Return the changes that delete every resource that meets the criteria now.

    Each names the version that was met, so that none is deleted that was changed meanwhile.
    Raises TooCostly for more than can be deleted at once, PreconditionFailed when If-Match does
    not name the version of each.
    """
    found = hub.store.matching(request.type, criteria.of_address(request), _MOST + 1)
    if len(found) > _MOST:
        raise TooCostly(f"The criteria match more than {_MOST} resources", at="http.query")
    return [_in_version(request, stored) for stored in found]


def _in_version(request: Request, stored: Stored) -> Change:
    version = str(stored.version_id)
    if request.if_match and not {"*", version} & set(request.if_match):
        raise PreconditionFailed("If-Match does not name the current version", at="http.If-Match")
    return Change(Method.DELETE, request.type, stored.id, if_match=(version,), entry=request.index)


def one_of(request: Request, outcomes: Sequence[Outcome]) -> Outcome:
    """Return what is told of several deletes: that they were done, or that there were none."""
    if len(outcomes) == 1:
        return outcomes[0]
    # Several have no version in common: told without one.
    result = Result.DELETED if outcomes else Result.ABSENT
    return Outcome(result, request.type, "", 0, 0)
