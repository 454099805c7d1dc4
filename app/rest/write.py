"""What all writes answer: R4 http.html#create, #update, #ops (Prefer: return)."""

from __future__ import annotations

from app.errors import Issue
from app.fhir.outcome import operation_outcome
from app.rest.exchange import Reply, Request
from app.rest.services import Hub
from app.store.types import Change, Outcome, Result

STATUS = {
    Result.CREATED: 201,
    Result.UPDATED: 200,
    Result.UNCHANGED: 200,
    Result.DELETED: 204,
    Result.ABSENT: 204,
}

_DONE = {
    Result.CREATED: "The resource was created",
    Result.UPDATED: "The resource was updated",
    Result.UNCHANGED: "The resource was there already; nothing was written",
    Result.DELETED: "The resource was deleted",
    Result.ABSENT: "There is no such resource; nothing was deleted",
}


def commit(hub: Hub, request: Request, change: Change) -> Reply:
    """Commit one change and tell what became of it."""
    (outcome,) = hub.store.commit([change])
    return told(hub, request, outcome)


def told(hub: Hub, request: Request, outcome: Outcome) -> Reply:
    """Return the reply to one write, with the content that Prefer asks for."""
    status = STATUS[outcome.result]
    gone = status == 204
    wanted = request.prefer.returns
    if wanted == "OperationOutcome":
        body = operation_outcome([Issue("information", "informational", _DONE[outcome.result])])
        status = 200 if gone else status
    elif gone or wanted == "minimal":
        body = b""
    else:
        body = outcome.body or _version(hub, outcome)
    if gone:
        # R4 http.html#delete: the version of the deletion, where there is one.
        version = outcome.version_id or None if outcome.result is Result.DELETED else None
        return Reply(status, body, version)
    return Reply(
        status,
        body,
        outcome.version_id,
        outcome.last_updated_us,
        f"{outcome.type}/{outcome.id}/_history/{outcome.version_id}",
    )


def _version(hub: Hub, outcome: Outcome) -> bytes:
    return hub.store.vread(outcome.type, outcome.id, str(outcome.version_id)).body
