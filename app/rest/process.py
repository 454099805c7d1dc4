"""A Bundle posted to the base: batch or transaction. R4 http.html#transaction."""

from __future__ import annotations

from app.errors import Invalid
from app.fhir import bundle
from app.rest import batch, content, transaction
from app.rest.exchange import Reply, Request
from app.rest.services import Hub

_PROCESSES = {"batch": batch.answers, "transaction": transaction.answers}


def process(hub: Hub, request: Request) -> Reply:
    """Do what the entries ask for; the answers stand in the order of the request."""
    kind, sent = bundle.read(content.resource(request))
    answers = _PROCESSES.get(kind)
    if answers is None:
        raise Invalid("The Bundle has to be a batch or a transaction", at="Bundle.type")
    return Reply(200, bundle.join(f"{kind}-response", answers(hub, request, sent)))
