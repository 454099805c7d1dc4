"""Batch: each entry on its own, as if it had been sent alone. R4 http.html#brules."""

from __future__ import annotations

from collections.abc import Sequence

from app.errors import YilianError
from app.fhir import bundle
from app.fhir.bundle import SentEntry
from app.fhir.outcome import operation_outcome
from app.rest import entries, present, problems, route
from app.rest.exchange import Request
from app.rest.services import Hub


def answers(hub: Hub, outer: Request, sent: Sequence[SentEntry]) -> Sequence[bundle.Parts]:
    """Return the response entries of a batch; a failed entry does not stop the others."""
    return [_answer(hub, outer, index, one) for index, one in enumerate(sent)]


def _answer(hub: Hub, outer: Request, index: int, sent: SentEntry) -> bundle.Parts:
    try:
        with entries.Placed(index):
            request, segments = entries.request_of(bundle.entry(index, sent), outer)
            return entries.answered(request, route.answer(hub, request, segments))
    except YilianError as error:
        return entries.failed(problems.status(error), error)
    except Exception as exc:  # noqa: BLE001 - each entry is a door: those before it are done
        issue = problems.fault(exc)
        outcome = operation_outcome([issue])
        return bundle.answer(bundle.Response(present.status_line(500), outcome=outcome))
