"""The values of the Python API: changes to commit, and searches to walk through.

`app.hub.Hub` has the methods. A resource is given as a dict of FHIR JSON or as a fhir.resources
model of R4B. In dicts numbers with a fraction are `Decimal`, so that they keep their digits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlencode

import msgspec

from app.errors import Invalid
from app.rest import shape
from app.rest.exchange import parse_query
from app.rest.services import Store
from app.store.types import Change, Method, SearchRequest, Stored

if TYPE_CHECKING:
    from app.fhir.models import Model

Json = dict[str, Any]
Params = str | Mapping[str, str | Sequence[str]] | Sequence[tuple[str, str]]

T = TypeVar("T")

_encode = msgspec.json.Encoder(decimal_format="number").encode

# Search parameters that say which part of the matches is wanted, and how: they do not change how
# many there are.
_OF_THE_ANSWER = frozenset(
    ("_count", "_elements", "_include", "_page", "_revinclude", "_sort", "_summary", "_total")
)


def create(
    resource: Json | Model, *, if_none_exist: Params | None = None, full_url: str | None = None
) -> Change:
    """Return the change that creates a resource; the hub gives it its id.

    if_none_exist: create it only if nothing meets these search criteria. full_url: what
    references of other changes of the same commit call it (`urn:uuid:...`).
    """
    content = as_json(resource)
    criteria = None if if_none_exist is None else _query(if_none_exist)
    return Change(
        Method.CREATE,
        _type(content),
        body=to_bytes(content),
        criteria=criteria,
        full_url=full_url,
    )


def update(
    resource: Json | Model,
    *,
    criteria: Params | None = None,
    if_match: int | str | None = None,
    create_only: bool = False,
    full_url: str | None = None,
) -> Change:
    """Return the change that writes a resource under its own id, or over the one match.

    if_match: the version that has to be the current one. create_only: refuse if it is there.
    """
    content = as_json(resource)
    return Change(
        Method.UPDATE,
        _type(content),
        None if criteria is not None else _id(content),
        body=to_bytes(content),
        criteria=None if criteria is None else _query(criteria),
        if_match=_versions(if_match),
        create_only=create_only,
        full_url=full_url,
    )


def delete(
    type: str,
    id: str | None = None,
    *,
    criteria: Params | None = None,
    if_match: int | str | None = None,
) -> Change:
    """Return the change that deletes a resource, named by its id or as the one match."""
    if (id is None) == (criteria is None):
        raise Invalid("a delete names either an id or criteria", at=type, code="required")
    query = None if criteria is None else _query(criteria)
    return Change(Method.DELETE, type, id, criteria=query, if_match=_versions(if_match))


def numbered(changes: Sequence[Change]) -> Sequence[Change]:
    """Return the changes of one commit; of several, each knows its place, for errors."""
    if len(changes) < 2:
        return changes
    return [replace(change, entry=index) for index, change in enumerate(changes)]


def as_json(resource: Json | Model) -> Json:
    """Return a resource as a dict, whichever way it was given."""
    if isinstance(resource, dict):
        return resource
    from app.fhir import models  # only here: who works with dicts need not wait for it

    return models.dump(resource)


def to_bytes(content: Any) -> bytes:
    """Return FHIR JSON in UTF-8. Raises Invalid for values that JSON does not have."""
    try:
        return _encode(content)
    except (TypeError, ValueError, RecursionError) as exc:
        raise Invalid("the resource holds a value that JSON does not have") from exc


def from_bytes(body: bytes) -> Json:
    """Return stored FHIR JSON as a dict with exact decimals."""
    content: Json = json.loads(body, parse_float=Decimal)
    return content


def to_model(body: bytes) -> Model:
    """Return a stored resource as its model. Raises NotSupported, Invalid: see `models.load`."""
    from app.fhir import models  # only here: who works with dicts need not wait for it

    content = from_bytes(body)
    return models.load(content["resourceType"], content)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a search.

    included: what `_include` and `_revinclude` brought beside the matches.
    """

    matches: Sequence[T]
    included: Sequence[T]


class Search(Generic[T]):
    """A search that is done as far as it is read: iterating fetches page after page.

    Each iteration begins anew. What is written or deleted meanwhile makes no other resource be
    skipped or come twice.
    """

    def __init__(self, store: Store, request: SearchRequest, make: Callable[[bytes], T]) -> None:
        self._store = store
        self._request = request
        self._make = make

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page.matches

    def pages(self) -> Iterator[Page[T]]:
        """Yield the pages, of `_count` matches each."""
        request = self._request
        rest = [pair for pair in request.params if pair[0] != "_page"]
        while True:
            page = self._store.search(request)
            if page.summary != "count":
                # _elements names elements of the type searched for; _summary goes for all.
                yield Page(
                    self._made(page.matches, page.summary, page.elements),
                    self._made(page.includes, page.summary, ()),
                )
            if page.next is None:
                return
            request = replace(request, params=[*rest, ("_page", page.next)])

    def first(self) -> T | None:
        """Return the first match, None when there is none."""
        return next(iter(self), None)

    def total(self) -> int:
        """Return how many resources match, counted now."""
        asked = [pair for pair in self._request.params if pair[0] not in _OF_THE_ANSWER]
        page = self._store.search(replace(self._request, params=[*asked, ("_summary", "count")]))
        return page.total or 0

    def _made(
        self, found: Sequence[Stored], summary: str | None, elements: Sequence[str]
    ) -> Sequence[T]:
        return [self._make(shape.reduced(one.body, one.type, summary, elements)) for one in found]


def pairs(params: Params) -> list[tuple[str, str]]:
    """Return search parameters as names and values: from a query, a mapping or pairs."""
    if isinstance(params, str):
        return parse_query(params.removeprefix("?"))
    if not isinstance(params, Mapping):
        return list(params)
    return [
        (name, value)
        for name, given in params.items()
        for value in ([given] if isinstance(given, str) else given)
    ]


def _query(criteria: Params) -> str:
    return urlencode(pairs(criteria))


def _type(content: Json) -> str:
    return _named(content, "resourceType")


def _id(content: Json) -> str:
    return _named(content, "id")


def _named(content: Json, member: str) -> str:
    found = content.get(member)
    if not isinstance(found, str):
        raise Invalid(f"the resource has no {member}", at=member, code="required")
    return found


def _versions(if_match: int | str | None) -> tuple[str, ...]:
    return () if if_match is None else (str(if_match),)
