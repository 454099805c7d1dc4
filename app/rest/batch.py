"""Batch: each entry on its own, as if it had been sent alone. R4 http.html#brules."""

from __future__ import annotations

from collections.abc import Sequence

from app.errors import YilianError
from app.fhir import bundle
from app.fhir.bundle import Entry
from app.fhir.outcome import operation_outcome
from app.rest import entries, present, problems, route
from app.rest.exchange import Request
from app.rest.services import Hub


def answers(hub: Hub, outer: Request, batch: Sequence[Entry]) -> Sequence[bundle.Parts]:
    """Return the response entries of a batch; a failed entry does not stop the others."""
    return [_answer(hub, outer, entry) for entry in batch]


def _answer(hub: Hub, outer: Request, entry: Entry) -> bundle.Parts:
    try:
        request, segments = entries.request_of(entry, outer)
        return entries.answered(request, route.answer(hub, request, segments))
    except YilianError as error:
        return entries.failed(problems.status(error), entries.located(error, entry))
    except Exception as exc:  # noqa: BLE001 - each entry is a door: those before it are done
        issue = problems.fault(exc)
        outcome = operation_outcome([issue])
        return bundle.answer(bundle.Response(present.status_line(500), outcome=outcome))
