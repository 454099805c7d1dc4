"""A whole search: parameters in, a page out. R4 search.html; http.html#search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from app.errors import Invalid, Issue, NotSupported, UnknownParameter, UnknownType
from app.fhir import definitions
from app.store.search import include, sort
from app.store.search.conditions import Condition, Nothing
from app.store.search.context import Context
from app.store.search.demand import demand, in_compartment, in_compartment_of_types
from app.store.search.merged import is_meant
from app.store.search.page import Cursor, page, total
from app.store.search.plan import Plan, make
from app.store.types import SearchPage, SearchRequest, Stored

COUNT_DEFAULT = 20
COUNT_MAX = 1000
_MERGED_MAX = 1000  # survivors of merges that a conditional write looks through
_SUMMARIES = ("true", "text", "data", "count", "false")
_TOTALS = ("none", "estimate", "accurate")
_NOT_OURS = frozenset({"_format", "_pretty"})  # the door's own


@dataclass(slots=True)
class _Wishes:
    """What the result parameters ask for."""

    count: int = COUNT_DEFAULT
    sort: list[sort.Key] = field(default_factory=list)
    total: str | None = None
    summary: str | None = None
    elements: list[str] = field(default_factory=list)
    includes: list[include.Wish] = field(default_factory=list)
    cursor: Cursor | None = None


def search(context: Context, request: SearchRequest) -> SearchPage:
    """Return one page. Raises UnknownType, Invalid, NotSupported, TooCostly."""
    types, asked = _types(request)
    wishes = _Wishes()
    conditions: list[Condition] = [Nothing()] if asked and not asked & {*types} else []
    used: list[tuple[str, str]] = []
    ignored: list[Issue] = []
    if request.compartment is not None:
        compartment, id_ = request.compartment
        conditions.append(
            in_compartment(context, compartment, id_, types[0])
            if len(types) == 1
            else in_compartment_of_types(context, compartment, id_, types)
        )
    for name, value in request.params:
        if name in _NOT_OURS or name == "_type":
            used.append((name, value))
            continue
        try:
            code, colon, _ = name.partition(":")
            reader = _RESULT.get(code)
            if reader is not None:
                if colon and reader is not _include:
                    raise Invalid(f"{code} takes no modifier", at=f"http.{code}")
                reader(context, types, wishes, name, value)
            elif value:
                conditions.append(demand(context, types, name, value))
            else:
                continue  # `family=` asks for nothing
        except UnknownParameter as exc:
            if request.strict:
                raise
            ignored.append(Issue("warning", "not-supported", str(exc), exc.at))
            continue
        if name != "_page":
            used.append((name, value))
    plan = make(context, types, conditions)
    return _answer(context, plan, wishes, used, ignored)


def matches(context: Context, type_name: str, criteria: Sequence[tuple[str, str]]) -> list[str]:
    """Return the ids of at most two resources that meet the criteria of a conditional write.

    Raises as `matching`.
    """
    return [stored.id for stored in matching(context, type_name, criteria, 2)]


def matching(
    context: Context, type_name: str, criteria: Sequence[tuple[str, str]], most: int
) -> list[Stored]:
    """Return at most `most` resources that meet the criteria of a conditional write.

    Raises Invalid or NotSupported: unknown parameters are never ignored here.
    """
    conditions = [demand(context, [type_name], name, value) for name, value in criteria if value]
    if not conditions:
        raise Invalid("a conditional interaction needs criteria", code="required")
    plan = make(context, [type_name], conditions)
    found = [each.stored for each in page(plan, [], most, None)[0]]
    meant = [each for each in found if is_meant(each.body, criteria, context.same_systems)]
    if len(meant) < len(found) == most:  # what is not meant took the place of others
        found = [each.stored for each in page(plan, [], most + _MERGED_MAX, None)[0]]
        meant = [each for each in found if is_meant(each.body, criteria, context.same_systems)]
    return meant[:most]


def _answer(
    context: Context,
    plan: Plan,
    wishes: _Wishes,
    used: Sequence[tuple[str, str]],
    ignored: Sequence[Issue],
) -> SearchPage:
    if wishes.summary == "count" or wishes.count == 0:
        return SearchPage((), (), total(plan), used, ignored=ignored, summary="count")
    found, following = page(plan, wishes.sort, wishes.count, wishes.cursor)
    number: int | None = None
    if wishes.total in ("accurate", "estimate"):
        number = total(plan)
    elif following is None and wishes.cursor is None and wishes.total is None:
        number = len(found)
    return SearchPage(
        [each.stored for each in found],
        include.collect(context, found, wishes.includes) if wishes.includes else (),
        number,
        used,
        next=following.text() if following else None,
        ignored=ignored,
        summary=wishes.summary,
        elements=wishes.elements,
    )


def _types(request: SearchRequest) -> tuple[Sequence[str], frozenset[str]]:
    """Return the types to look through, and those that `_type` names."""
    if request.type is not None and not definitions.is_resource_type(request.type):
        raise UnknownType("R4 has no such resource type")
    asked = [t for name, value in request.params if name == "_type" for t in value.split(",") if t]
    for type_name in asked:
        if not definitions.is_resource_type(type_name):
            raise Invalid("_type names no resource type", at="http._type")
    own = [request.type] if request.type is not None else asked or definitions.resource_types()
    return own, frozenset(asked)


# --- result parameters --------------------------------------------------------------------------


def _count(context: Context, types: Sequence[str], wishes: _Wishes, name: str, value: str) -> None:
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        raise Invalid("_count is a whole number, not negative", at="http._count")
    wishes.count = min(int(value), COUNT_MAX)


def _sort(context: Context, types: Sequence[str], wishes: _Wishes, name: str, value: str) -> None:
    wishes.sort += sort.parse(context, types, value)


def _total(context: Context, types: Sequence[str], wishes: _Wishes, name: str, value: str) -> None:
    if value not in _TOTALS:
        raise Invalid("_total is none, estimate or accurate", at="http._total")
    wishes.total = value


def _summary(
    context: Context, types: Sequence[str], wishes: _Wishes, name: str, value: str
) -> None:
    if value not in _SUMMARIES:
        raise Invalid("_summary is true, text, data, count or false", at="http._summary")
    wishes.summary = None if value == "false" else value


def _elements(
    context: Context, types: Sequence[str], wishes: _Wishes, name: str, value: str
) -> None:
    wishes.elements += [each.strip() for each in value.split(",") if each.strip()]


def _include(
    context: Context, types: Sequence[str], wishes: _Wishes, name: str, value: str
) -> None:
    wishes.includes.append(include.parse(name, value))


def _page(context: Context, types: Sequence[str], wishes: _Wishes, name: str, value: str) -> None:
    wishes.cursor = Cursor.parse(value)


def _contained(
    context: Context, types: Sequence[str], wishes: _Wishes, name: str, value: str
) -> None:
    if value != "false":
        raise NotSupported("contained resources are not searched", at=f"http.{name}")


_RESULT: Mapping[str, Callable[[Context, Sequence[str], _Wishes, str, str], None]] = {
    "_count": _count,
    "_sort": _sort,
    "_total": _total,
    "_summary": _summary,
    "_elements": _elements,
    "_include": _include,
    "_revinclude": _include,
    "_page": _page,
    "_contained": _contained,
}
