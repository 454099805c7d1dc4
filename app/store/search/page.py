"""One page of matches: order, seek, total. R4 http.html#paging, search.html#sort, #total.

Paging is by seek: the next link carries the last row's sort keys and an upper bound of pk taken
with the first page, so that nothing that comes later moves what is still to be read, and the cost
does not depend on the page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import itemgetter
from typing import Any, cast

from app.errors import Invalid
from app.fhir import definitions
from app.fhir import json as fhir_json
from app.store import pagelink
from app.store.entries import D_MISSING
from app.store.read import METHODS, current
from app.store.search.conditions import Fragment, PointedAtPair, Sql
from app.store.search.include import Found, fetch
from app.store.search.plan import Plan, passes
from app.store.search.sort import Key
from app.store.types import Stored

_VERIFY_STEP = 4  # rows read for each match wanted when bodies decide
_PROBE_STEP = 4  # rows looked at for each match wanted when further probes decide
_PROBE_MOST = 500  # at once
_ROUNDS_MAX = 1000
# The highest pk there is bounds all pages after the first.
_RESOURCE = "r.type,r.id,r.vid,r.lu,r.method,r.body,(SELECT max(pk) FROM res)"
_TYPE, _BODY, _BOUND = 0, 5, 6  # where they stand
_BY_DATE = itemgetter(-2, -1)
# Places in the order of `d` that no row has: before all, and behind those without a date.
_BEFORE_ALL, _BEFORE_DATES = (D_MISSING - 1, 0), (D_MISSING, 1 << 62)

# How many are wanted, bound, last -> the matches after it, their places, the bound of pk.
_Read = Callable[
    [int, int | None, tuple[Any, ...] | None],
    tuple[list[Found], list[tuple[Any, ...]], int | None],
]


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
    """Return at most `count` matches, not 0, and where the page after them begins."""
    bound, last = (cursor.bound, cursor.last) if cursor else (None, None)
    plan, probes = _stepwise(plan)
    by_date = _is_by_date(plan, sort)
    descending = not sort or sort[0].descending

    def read(
        wanted: int, bound: int | None, last: tuple[Any, ...] | None
    ) -> tuple[list[Found], list[tuple[Any, ...]], int | None]:
        if probes and not plan.verifiers and not plan.walk_rows and by_date:
            return _narrowed(plan, probes, descending, wanted, bound, last)
        if probes or plan.verifiers:
            return _sifted(plan, probes, sort, wanted, bound, last)
        rows = _rows(plan, sort, wanted, bound, last)
        bound = rows[0][_BOUND] if rows and bound is None else bound
        return _found(plan, rows), [row[_BOUND + 1 :] for row in rows], bound

    reader = read if descending or not by_date else _dated_first(read)
    found, places, bound = reader(count + 1, bound, last)
    if len(found) <= count:
        return found, None
    return found[:count], Cursor(bound or 0, places[count - 1])


def _dated_first(read: _Read) -> _Read:
    """Return what reads in the order of `d`, but what has no date last, where `d` has it first."""

    def reader(
        wanted: int, bound: int | None, last: tuple[Any, ...] | None
    ) -> tuple[list[Found], list[tuple[Any, ...]], int | None]:
        found: list[Found] = []
        places: list[tuple[Any, ...]] = []
        if last is None or last[:1] != (D_MISSING,):
            found, places, bound = read(wanted, bound, last or _BEFORE_DATES)
            last = _BEFORE_ALL
        if len(found) < wanted:
            more, where, bound = read(wanted - len(found), bound, last)
            undated = sum(place[0] == D_MISSING for place in where)
            found, places = found + more[:undated], places + where[:undated]
        return found, places, bound

    return reader


def _is_by_date(plan: Plan, sort: Sequence[Key]) -> bool:
    """Say whether the rows of the driver come in the order that is asked for."""
    return len(plan.types) == 1 and (not sort or (len(sort) == 1 and sort[0].sql is None))


def _narrowed(
    plan: Plan,
    probes: Sequence[PointedAtPair],
    descending: bool,
    wanted: int,
    bound: int | None,
    last: tuple[Any, ...] | None,
) -> tuple[list[Found], list[tuple[Any, ...]], int | None]:
    """As `_sifted` where probes decide: bodies are read of what has passed them only."""
    context, sql = plan.context, Sql(plan.context.db)
    found: list[Found] = []
    places: dict[int, tuple[Any, ...]] = {}
    limit, step = wanted * _PROBE_STEP, wanted + wanted // 2
    for _ in range(_ROUNDS_MAX):
        extra = _after(descending, bound, last)
        text, params = plan.in_order(sql, descending=descending, extra=extra, limit=limit)
        rows = sql.db.all(f"SELECT (SELECT max(pk) FROM res),q.d,q.pk FROM ({text}) AS q", params)
        rows.sort(key=_BY_DATE, reverse=descending)
        if bound is None and rows:
            bound = rows[0][0]
        at = 0
        while at < len(rows) and len(found) < wanted:
            good = _probed(plan, probes, rows[at : at + step])[: wanted - len(found)]
            at += step
            places.update((row[-1], row[1:]) for row in good)
            found += fetch(context, [row[-1] for row in good])
        if len(found) == wanted or len(rows) < limit:
            break
        last = rows[-1][1:]
        limit = min(2 * limit, _PROBE_MOST)
    return found, [places[one.pk] for one in found], bound


def _sifted(
    plan: Plan,
    probes: Sequence[PointedAtPair],
    sort: Sequence[Key],
    wanted: int,
    bound: int | None,
    last: tuple[Any, ...] | None,
) -> tuple[list[Found], list[tuple[Any, ...]], int | None]:
    """Return the matches among rows that are only candidates, their places, the bound of pk."""
    found: list[Found] = []
    places: list[tuple[Any, ...]] = []
    limit = wanted * _VERIFY_STEP if plan.verifiers else wanted + wanted // 2
    for _ in range(_ROUNDS_MAX):
        rows = _rows(plan, sort, limit, bound, last)
        if bound is None and rows:
            bound = rows[0][_BOUND]
        good = _probed(plan, probes, rows)
        if plan.verifiers:
            good = _verified(plan, good, wanted - len(found))
        good = good[: wanted - len(found)]
        found += _found(plan, good)
        places += [row[_BOUND + 1 :] for row in good]
        if len(found) == wanted or len(rows) < limit:
            break
        last = rows[-1][_BOUND + 1 :]
        if not plan.verifiers:
            limit = min(2 * limit, _PROBE_MOST)
    return found, places, bound


def _verified(plan: Plan, rows: Sequence[tuple[Any, ...]], wanted: int) -> list[tuple[Any, ...]]:
    """Return the first `wanted` of the rows whose bodies pass."""
    passed = (
        row
        for row in rows
        if passes(definitions.type_name(row[_TYPE]), fhir_json.load(row[_BODY]), plan.verifiers)
    )
    return list(islice(passed, wanted))


def _stepwise(plan: Plan) -> tuple[Plan, list[PointedAtPair]]:
    """Return a plan without those of its tests that cost less when they are asked together."""
    probes = [test for test in plan.tests if isinstance(test, PointedAtPair)]
    if not probes:
        return plan, []
    return replace(plan, tests=[test for test in plan.tests if test not in probes]), probes


def _probed(
    plan: Plan, probes: Sequence[PointedAtPair], rows: list[tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    for probe in probes:
        good = probe.among(plan.context.db, [row[-1] for row in rows])
        rows = [row for row in rows if row[-1] in good]
    return rows


def _found(plan: Plan, rows: Sequence[tuple[Any, ...]]) -> list[Found]:
    """Return what rows of `_RESOURCE` stand for, for all of one type at once."""
    if len(plan.types) != 1:
        return [Found(row[-1], current(row[0], row[1:_BOUND])) for row in rows]
    name = plan.types[0]
    return [
        Found(row[-1], Stored(name, row[1], row[2], row[3], row[5], False, METHODS[row[4]]))
        for row in rows
    ]


def total(plan: Plan) -> int:
    """Return how many resources match, exactly."""
    context, plan = plan.context, plan.settled()
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


def _rows(
    plan: Plan, sort: Sequence[Key], limit: int, bound: int | None, last: tuple[Any, ...] | None
) -> list[tuple[Any, ...]]:
    """Return rows in order: those of `_RESOURCE`, the highest pk there is, the seek keys, pk.

    bound: only pks up to it.
    """
    sql = Sql(plan.context.db)
    if _is_by_date(plan, sort):
        descending = sort[0].descending if sort else True
        extra = _after(descending, bound, last)
        if plan.walk_rows:
            text, params = plan.walked(sql, descending=descending, extra=extra, limit=limit)
            rows = _in_order(sql, text, params, descending=descending)
            if len(rows) == limit:
                return rows
            plan = plan.settled()
        text, params = plan.in_order(sql, descending=descending, extra=extra, limit=limit)
        return _in_order(sql, text, params, descending=descending)
    plan = plan.settled()
    names = [f"k{n}" for n in range(len(sort))]
    order = "".join(
        f"q.{name} IS NULL,q.{name} {'DESC' if key.descending else 'ASC'},"
        for key, name in zip(sort, names, strict=True)
    )
    text, params = _sorted(plan, sql, sort, names, order, limit, bound, last)
    columns = "".join(f"q.{name}," for name in names)
    return sql.db.all(
        f"SELECT {_RESOURCE},{columns}q.pk FROM ({text}) AS q {sql.body} ORDER BY {order}q.pk",
        params,
    )


def _in_order(
    sql: Sql, text: str, params: Sequence[Any], *, descending: bool
) -> list[tuple[Any, ...]]:
    rows = sql.db.all(f"SELECT {_RESOURCE},q.d,q.pk FROM ({text}) AS q {sql.body}", params)
    # They come in this order; sorting them in the statement would copy the bodies.
    rows.sort(key=_BY_DATE, reverse=descending)
    return rows


def _up_to(bound: int | None) -> Fragment:
    return ("1=1", []) if bound is None else ("a.pk<=?", [bound])


def _after(descending: bool, bound: int | None, last: tuple[Any, ...] | None) -> Fragment:
    text, params = _up_to(bound)
    if last is None:
        return text, params
    if len(last) != 2 or not all(isinstance(value, int) for value in last):
        raise Invalid("this page link belongs to another search", at="http._page")
    sign = "<" if descending else ">"
    d, pk = last
    return (
        f"{text} AND a.d{sign}=? AND (a.d{sign}? OR a.pk{sign}?)",
        [*params, d, d, pk],
    )


def _sorted(
    plan: Plan,
    sql: Sql,
    sort: Sequence[Key],
    names: Sequence[str],
    order: str,
    limit: int,
    bound: int | None,
    last: tuple[Any, ...] | None,
) -> Fragment:
    """Return a SELECT of the sort keys and pk of one page."""
    expressions: list[str] = []
    params: list[Any] = []
    for key, name in zip(sort, names, strict=True):
        expressions.append(f",{key.sql or f'NULLIF(a.d,{D_MISSING})'} AS {name}")
        params += key.params
    text, values = plan.rows(sql, *_up_to(bound))
    distinct = "DISTINCT " if plan.may_repeat else ""
    where, more = _seek(sort, names, last)
    return (
        f"SELECT * FROM (SELECT {distinct}a.pk AS pk{''.join(expressions)} {text}) AS q"
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
