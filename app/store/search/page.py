"""One page of matches: order, seek, total. R4 http.html#paging, search.html#sort, #total.

Paging is by seek: the next link carries the last row's sort keys and an upper bound of pk taken
with the first page, so that nothing that comes later moves what is still to be read, and the cost
does not depend on the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from app.errors import Invalid
from app.fhir import json as fhir_json
from app.store import pagelink
from app.store.entries import D_MISSING
from app.store.search.conditions import Fragment, Sql
from app.store.search.context import Context
from app.store.search.include import Found, fetch
from app.store.search.plan import Plan, passes
from app.store.search.sort import Key

_VERIFY_STEP = 4  # rows read for each match wanted when bodies decide
_ROUNDS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the next page begins: the bound of pk, and the sort keys of the last row."""

    bound: int
    last: tuple[Any, ...]

    def text(self) -> str:
        return pagelink.text([self.bound, *self.last])

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Raises Invalid for what is no link of ours."""
        bound, *last = pagelink.parse(text, integers=1)
        return cls(cast(int, bound), tuple(last))


def page(
    plan: Plan, sort: Sequence[Key], count: int, cursor: Cursor | None
) -> tuple[list[Found], Cursor | None]:
    """Return at most `count` matches and where the page after them begins."""
    context = plan.context
    bound = cursor.bound if cursor else _bound(context)
    last = cursor.last if cursor else None
    found: list[Found] = []
    places: dict[int, tuple[Any, ...]] = {}  # of all rounds: the last match may be of an earlier
    wanted = count + 1
    for _ in range(_ROUNDS_MAX):
        limit = wanted if not plan.verifiers else wanted * _VERIFY_STEP
        rows = _rows(plan, sort, limit, bound, last)
        places.update((row[-1], row) for row in rows)
        for each in fetch(context, [row[-1] for row in rows]):
            if plan.verifiers and not passes(
                each.stored.type, fhir_json.load(each.stored.body), plan.verifiers
            ):
                continue
            found.append(each)
            if len(found) == wanted:
                return found[:count], Cursor(bound, tuple(places[found[count - 1].pk])) if (
                    count
                ) else None
        if len(rows) < limit:
            break
        last = tuple(rows[-1])
    return found, None


def total(plan: Plan) -> int:
    """Return how many resources match, exactly."""
    context = plan.context
    sql = Sql(context.db)
    text, params = plan.rows(sql)
    if plan.verifiers:
        rows = context.db.all(f"SELECT DISTINCT a.pk {text}", params)
        pks = [row[0] for row in rows]
        return sum(
            passes(each.stored.type, fhir_json.load(each.stored.body), plan.verifiers)
            for start in range(0, len(pks), 500)
            for each in fetch(context, pks[start : start + 500])
        )
    what = "count(DISTINCT a.pk)" if plan.may_repeat else "count(*)"
    row = context.db.one(f"SELECT {what} {text}", params)
    return int(row[0]) if row else 0


def _bound(context: Context) -> int:
    row = context.db.one("SELECT max(pk) FROM res")
    return (row[0] if row else None) or 0


def _rows(
    plan: Plan, sort: Sequence[Key], limit: int, bound: int, last: tuple[Any, ...] | None
) -> list[tuple[Any, ...]]:
    """Return rows whose last column is pk and whose columns are the seek keys."""
    sql = Sql(plan.context.db)
    if len(plan.types) == 1 and (not sort or (len(sort) == 1 and sort[0].sql is None)):
        descending = sort[0].descending if sort else True
        text, params = plan.in_order(
            sql,
            descending=descending,
            extra=_after(descending, bound, last),
            limit=limit,
        )
    else:
        text, params = _sorted(plan, sql, sort, limit, bound, last)
    return plan.context.db.all(text, params)


def _after(descending: bool, bound: int, last: tuple[Any, ...] | None) -> Fragment:
    if last is None:
        return "a.pk<=?", [bound]
    if len(last) != 2 or not all(isinstance(value, int) for value in last):
        raise Invalid("this page link belongs to another search", at="http._page")
    sign = "<" if descending else ">"
    d, pk = last
    return (
        f"a.pk<=? AND a.d{sign}=? AND (a.d{sign}? OR a.pk{sign}?)",
        [bound, d, d, pk],
    )


def _sorted(
    plan: Plan,
    sql: Sql,
    sort: Sequence[Key],
    limit: int,
    bound: int,
    last: tuple[Any, ...] | None,
) -> Fragment:
    names = [f"k{n}" for n in range(len(sort))]
    expressions: list[str] = []
    params: list[Any] = []
    for key, name in zip(sort, names, strict=True):
        expressions.append(f",{key.sql or f'NULLIF(a.d,{D_MISSING})'} AS {name}")
        params += key.params
    text, values = plan.rows(sql, "a.pk<=?", [bound])
    distinct = "DISTINCT " if plan.may_repeat else ""
    where, more = _seek(sort, names, last)
    order = "".join(
        f"q.{name} IS NULL,q.{name} {'DESC' if key.descending else 'ASC'},"
        for key, name in zip(sort, names, strict=True)
    )
    columns = "".join(f"q.{name}," for name in names)
    return (
        f"SELECT {columns}q.pk FROM (SELECT {distinct}a.pk AS pk{''.join(expressions)} {text}) AS q"
        f" WHERE {where} ORDER BY {order}q.pk LIMIT ?",
        [*params, *values, *more, limit],
    )


def _seek(sort: Sequence[Key], names: Sequence[str], last: tuple[Any, ...] | None) -> Fragment:
    """Return the test of being after the last row: null sorts after every value."""
    if last is None:
        return "1=1", []
    if len(last) != len(sort) + 1:
        raise Invalid("this page link belongs to another search", at="http._page")
    tests, params = [], []
    equal: list[str] = []
    equal_params: list[Any] = []
    for key, name, value in zip(sort, names, last[:-1], strict=True):
        if value is not None:
            sign = "<" if key.descending else ">"
            tests.append(" AND ".join([*equal, f"(q.{name}{sign}? OR q.{name} IS NULL)"]))
            params += [*equal_params, value]
            equal.append(f"q.{name}=?")
            equal_params.append(value)
        else:
            equal.append(f"q.{name} IS NULL")
    tests.append(" AND ".join([*equal, "q.pk>?"]))
    params += [*equal_params, last[-1]]
    return "(" + " OR ".join(f"({test})" for test in tests) + ")", params
