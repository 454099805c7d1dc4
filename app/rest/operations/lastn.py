"""Observation/$lastn: R4 observation-operation-lastn.html.

The newest `max` Observations of each code, newest first; where several share the time of the last
one, all of them. The other parameters are those of a search, so a patient or subject is needed: a
walk over every Observation of the hospital is no answer to a question at the bedside.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson

from app.errors import Invalid, TooCostly
from app.rest import links, negotiate, search
from app.rest.criteria import PRESENTATION
from app.rest.exchange import Reply, Request
from app.rest.operations.call import Operation, inputs
from app.rest.services import Hub
from app.store.types import SearchPage, SearchRequest, Stored

_WHO = frozenset(("patient", "subject"))
_PAGE = 500
_PAGES_MAX = 40


def run(hub: Hub, request: Request) -> Reply:
    """Return the last Observations of each code as a searchset."""
    wanted = _asked(request)
    if not _WHO & {name.partition(":")[0].partition(".")[0] for name, _ in wanted.params}:
        raise Invalid("A patient or subject is needed", at="http.patient", code="required")
    most = _most(wanted)
    filters = [pair for pair in wanted.params if pair[0] not in ("max", "_count", "_sort")]
    wanted = replace(
        wanted, params=[*filters, ("_sort", "-date"), ("_count", str(_PAGE))], strict=True
    )
    kept = _last(_newest_first(hub, wanted), most)
    page = SearchPage(kept, (), len(kept), [*filters, ("max", str(most))])
    return Reply(200, search.searchset(request, page, links.path(request) + "/$lastn"))


def _asked(request: Request) -> SearchRequest:
    """Return what is searched for: as a search says it, or as a Parameters resource does."""
    sent = negotiate.media(request.header("CONTENT_TYPE") or "").type
    if not request.body or sent == search.FORM:
        return search.asked(request)
    given = [(name, value) for name, values in inputs(request).items() for value in values]
    return SearchRequest(
        request.type,
        [(name, _text(name, value)) for name, value in given if name not in PRESENTATION],
        strict=True,
        base=request.base,
    )


def _text(name: str, value: Any) -> str:
    """Return the value of a parameter as a query would have it."""
    if isinstance(value, dict):  # of a reference its address
        value = value.get("reference")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Invalid("The parameter has to be text, a number or a reference", at=f"http.{name}")
    return str(value)


def _most(wanted: SearchRequest) -> int:
    given = dict(wanted.params).get("max", "1")
    if not (given.isascii() and given.isdigit() and int(given[:6]) > 0):
        raise Invalid("max has to be a positive number", at="http.max")
    return int(given[:6])


def _newest_first(hub: Hub, wanted: SearchRequest) -> Iterator[Stored]:
    cursor: str | None = None
    for _ in range(_PAGES_MAX):
        more = [] if cursor is None else [("_page", cursor)]
        page = hub.store.search(replace(wanted, params=[*wanted.params, *more]))
        yield from page.matches
        cursor = page.next
        if cursor is None:
            return
    raise TooCostly("Too many Observations to look through; say which code or category")


def _last(found: Iterator[Stored], most: int) -> list[Stored]:
    """Return the first `most` of each code, and those of the same time as the last of them."""
    times: dict[Any, list[str]] = defaultdict(list)
    kept = []
    for stored in found:
        resource = orjson.loads(stored.body)
        seen, time = times[_code(resource)], _time(resource)
        if len(seen) < most or seen[most - 1] == time:
            seen.append(time)
            kept.append(stored)
    return kept


def _code(resource: dict[str, Any]) -> Any:
    """Return what Observations are grouped by: the first coding, else the text."""
    concept = resource["code"]
    for coding in concept.get("coding", ()):
        if "code" in coding:
            return coding.get("system"), coding["code"]
    return concept.get("text")


def _time(resource: dict[str, Any]) -> str:
    period = resource.get("effectivePeriod", {})
    return (
        resource.get("effectiveDateTime")
        or resource.get("effectiveInstant")
        or str(period.get("start", ""))
    )


OPERATION = Operation(
    run,
    "http://hl7.org/fhir/OperationDefinition/Observation-lastn",
    frozenset(("type",)),
    frozenset(("Observation",)),
)
