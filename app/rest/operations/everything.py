"""$everything: R4 patient-operation-everything.html, encounter-operation-everything.html.

The resource itself, all of its compartment type by type, and what those refer to outside of it
(practitioners, places, medications), page by page. `_since` limits the compartment, `_type` what
is answered; `start` and `end` limit it by the date of care, for types that have one. Other
resources of the compartment's own type (a patient that links to this one) are not part of it.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.errors import Invalid
from app.fhir import definitions, searchparams
from app.rest import links, search
from app.rest.exchange import Reply, Request
from app.rest.history import count
from app.rest.operations.call import Operation, inputs, text
from app.rest.services import Hub
from app.store.types import SearchPage, SearchRequest, Stored

_KNOWN = ("start", "end", "_since", "_count")
_COUNT, _COUNT_MAX = 100, 1000


@dataclass(slots=True)
class _Gathered:
    """The resources of one page, each once."""

    matches: list[Stored] = field(default_factory=list)
    others: dict[tuple[str, str], Stored] = field(default_factory=dict)


def run(hub: Hub, request: Request) -> Reply:
    """Return one page of everything about a patient or an encounter."""
    sent = inputs(request)
    given = {name: value for name in _KNOWN if (value := text(sent, name)) is not None}
    size = max(1, count(given.get("_count"), _COUNT, _COUNT_MAX))
    wanted = _wanted(sent.get("_type", ()))
    compartment = {*definitions.compartment(request.type), request.type}
    # Types outside of the compartment are found by who refers to them: then all is looked through.
    within = wanted if wanted is not None and wanted <= compartment else compartment
    token = request.param("_page")
    found = _Gathered()
    itself = hub.store.read(request.type, request.id)
    if token is None and request.type in within:
        found.matches.append(itself)
        _gather_others(found, _referred_to(hub, request), request.type)
    types = sorted(within - {request.type})
    following = _gather(hub, request, given, types, _position(token), size, found)
    matches, others, used = found.matches, list(found.others.values()), list(given.items())
    if wanted is not None:
        matches = [one for one in matches if one.type in wanted]
        others = [one for one in others if one.type in wanted]
        used.append(("_type", ",".join(sorted(wanted))))
    page = SearchPage(matches, others, None, used, following)
    return Reply(200, search.searchset(request, page, links.path(request) + "/$everything"))


def _gather(
    hub: Hub,
    request: Request,
    given: dict[str, str],
    types: Sequence[str],
    position: tuple[int, str | None],
    size: int,
    found: _Gathered,
) -> str | None:
    """Fill a page from `position` (type, cursor in it) on; return the position after it."""
    at, cursor = position
    while at < len(types):
        room = size - len(found.matches)
        if room <= 0:
            return _token(at, cursor)
        name = types[at]
        params = [*_filters(name, given), ("_include", f"{name}:*"), ("_count", str(room))]
        if cursor is not None:
            params.append(("_page", cursor))
        page = hub.store.search(
            SearchRequest(name, params, (request.type, request.id), base=request.base)
        )
        found.matches += page.matches
        _gather_others(found, page.includes, request.type)
        cursor = page.next
        at += cursor is None
    return None


def _gather_others(found: _Gathered, others: Sequence[Stored], compartment: str) -> None:
    """Add what is referred to, but for types that are part of compartments: they come as such."""
    for other in others:
        if other.type not in definitions.compartment(compartment):
            found.others[other.type, other.id] = other


def _referred_to(hub: Hub, request: Request) -> Sequence[Stored]:
    params = [("_id", request.id), ("_include", f"{request.type}:*")]
    return hub.store.search(SearchRequest(request.type, params, base=request.base)).includes


def _wanted(given: Sequence[Any]) -> set[str] | None:
    """Return the resource types that are asked for, None for all."""
    if not all(isinstance(value, str) for value in given):
        raise Invalid("The parameter has to be text", at="http._type")
    listed = {part.strip() for value in given for part in value.split(",") if part.strip()}
    if not all(map(definitions.is_resource_type, listed)):
        raise Invalid("There is no such resource type", at="http._type", code="code-invalid")
    return listed or None


def _filters(name: str, given: dict[str, str]) -> Iterator[tuple[str, str]]:
    if "_since" in given:
        yield "_lastUpdated", f"ge{given['_since']}"
    dated = searchparams.primary_date(name)
    if dated is not None:
        if "start" in given:
            yield dated.code, f"ge{given['start']}"
        if "end" in given:
            yield dated.code, f"le{given['end']}"


def _token(at: int, cursor: str | None) -> str:
    return urlsafe_b64encode(orjson.dumps([at, cursor])).decode().rstrip("=")


def _position(token: str | None) -> tuple[int, str | None]:
    if token is None:
        return 0, None
    try:
        at, cursor = orjson.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except ValueError as exc:
        raise Invalid("This page link is not one of ours", at="http._page") from exc
    if not (isinstance(at, int) and at >= 0 and (cursor is None or isinstance(cursor, str))):
        raise Invalid("This page link is not one of ours", at="http._page")
    return at, cursor


OPERATION = Operation(
    run,
    "http://hl7.org/fhir/OperationDefinition/{type}-everything",
    frozenset(("instance",)),
    frozenset(("Patient", "Encounter")),
)
