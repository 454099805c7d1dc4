"""The plan of one search: what drives, what is probed, in which order. performance.md section 2.

The server plans, not the database: both databases' planners chose plans 100 to 1,000 times too
slow. Each condition that can list its rows is counted up to a bound; the smallest drives and the
others are probed by exact key. Every driver is a set of rows with alias `a` (pk, d, s).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.fhir import definitions
from app.fhir import json as fhir_json
from app.store import keys
from app.store.entries import pair_params
from app.store.search.conditions import (
    All,
    Condition,
    Fragment,
    Keys,
    OwnerIn,
    Pks,
    Primary,
    Rows,
    Sql,
    Verify,
    one_of,
)
from app.store.search.context import FREQUENT, Context

_COUNT_MAX = FREQUENT
_FEW_ROWS = 40  # to look for fewer costs more than to test these
_FEW = 8
_CHUNK = 500
# Many patients' rows: to seek each of them costs as much as to walk so many rows in their order.
_WALK_FROM = 25
_WALK_ROWS = 60
_WALK_ROWS_MAX = 20_000


@dataclass(slots=True)
class Plan:
    """A driver and the tests on its rows.

    low, high: bounds of `d` when the driver is keys of `ix`; near: a tighter `low` as long as `dt`
    has no row of `long` (see `Primary`).
    walk_rows: not 0: the driver, one key that very many rows have, is followed in its order for so
    many rows only; `settled` is the plan that finds all.
    """

    context: Context
    types: Sequence[str]
    driver: Condition
    tests: list[Condition] = field(default_factory=list)
    low: int | None = None
    high: int | None = None
    near: int | None = None
    long: int = 0
    verifiers: list[Verify] = field(default_factory=list)
    walk_rows: int = 0
    otherwise: Callable[[], Plan] | None = None

    def settled(self) -> Plan:
        """Return the plan that finds all rows."""
        return self if self.otherwise is None else self.otherwise()

    def rows(self, sql: Sql, extra: str = "1=1", params: Sequence[Any] = ()) -> Fragment:
        """Return `FROM ... WHERE ...` of all rows that match, alias `a`."""
        source, where, values = self._source(sql)
        tests, more = self._tests(sql)
        return f"FROM {source} WHERE {where} AND {tests} AND {extra}", [*values, *more, *params]

    @property
    def may_repeat(self) -> bool:
        """Say whether a resource may come more than once: it may have several of the keys."""
        return isinstance(self.driver, Keys) and len(self.driver.keys) > 1

    def in_order(self, sql: Sql, *, descending: bool, extra: Fragment, limit: int) -> Fragment:
        """Return a SELECT of (d, pk) in the order of `d`: a range scan for each key."""
        order = "DESC" if descending else "ASC"
        tail = f"ORDER BY a.d {order},a.pk {order} LIMIT ?"
        driver = self.driver
        if isinstance(driver, Keys) and 1 < len(driver.keys) <= _FEW:
            parts, params = [], []
            for key in driver.keys:
                text, values = replace(self, driver=Keys([key])).rows(sql, *extra)
                parts.append(f"SELECT * FROM (SELECT a.d,a.pk {text} {tail})")
                params += [*values, limit]
            union = " UNION ".join(f"{part} AS u{n}" for n, part in enumerate(parts))
            return (
                f"SELECT a.d,a.pk FROM ({union}) AS a {tail}",
                [*params, limit],
            )
        text, values = self.rows(sql, *extra)
        distinct = "DISTINCT " if self.may_repeat else ""
        return f"SELECT {distinct}a.d,a.pk {text} {tail}", [*values, limit]

    def walked(self, sql: Sql, *, descending: bool, extra: Fragment, limit: int) -> Fragment:
        """As `in_order`, of the first `walk_rows` rows of the driver."""
        order = "DESC" if descending else "ASC"
        source, where, params = self._source(sql)
        more, extra_params = extra
        tests, tests_params = self._tests(sql)
        return (
            f"SELECT a.d,a.pk FROM (SELECT a.d,a.pk,a.s FROM {source} WHERE {where} AND {more}"
            f" ORDER BY a.d {order},a.pk {order} LIMIT ?) AS a WHERE {tests} LIMIT ?",
            [*params, *extra_params, self.walk_rows, *tests_params, limit],
        )

    def _source(self, sql: Sql) -> tuple[str, str, list[Any]]:
        driver = self.driver
        if isinstance(driver, Keys):
            test, params = one_of(sql, "a.k", driver.keys)
            if self.near is not None:
                # The least, not EXISTS: PostgreSQL would take an index that it has to read whole.
                test += (
                    " AND a.d>=CASE WHEN (SELECT min(l.lo) FROM dt l WHERE l.p=?) IS NULL"
                    " THEN ? ELSE ? END"
                )
                params = [*params, self.long, self.near, self.low]
            elif self.low is not None:
                test, params = f"{test} AND a.d>=?", [*params, self.low]
            if self.high is not None:
                test, params = f"{test} AND a.d<?", [*params, self.high]
            return "ix a", test, params
        if isinstance(driver, Pks):
            test, params = driver.sql(sql, "a")
        elif isinstance(driver, Rows):
            text, params = driver.pks(sql)
            test = sql.db.sought("a.pk", text)
        else:
            raise TypeError(type(driver).__name__)
        of_type, numbers = one_of(sql, "a.type", [definitions.type_number(t) for t in self.types])
        return "res a", f"{test} AND {of_type} AND a.method IN (0,1)", [*params, *numbers]

    def _tests(self, sql: Sql) -> Fragment:
        return All(self.tests).sql(sql, "a")


def make(context: Context, types: Sequence[str], conditions: Sequence[Condition]) -> Plan:
    """Return the plan of a search for resources of `types` that meet all conditions."""
    demands = _flat(conditions)
    verifiers = [verify for demand in conditions for verify in demand.verifiers()]
    owners = [d for d in demands if isinstance(d, OwnerIn)] if len(types) == 1 else []
    if owners and len(owners[0].pks) > _WALK_FROM:
        return _of_many_owners(context, types, demands, verifiers, len(owners[0].pks))
    return _of_keys(context, types, demands, verifiers)


def _of_keys(
    context: Context,
    types: Sequence[str],
    demands: Sequence[Condition],
    verifiers: list[Verify],
) -> Plan:
    """Return the plan with the demand as driver that the fewest rows meet."""
    demands = [d.keys() if isinstance(d, OwnerIn) else d for d in demands]
    demands = _paired(context, types, demands)
    scope = _scope(context, types)
    driver = _driver(context, demands)[0] or scope
    plan = _driven_by(context, types, driver, demands, verifiers)
    if len(types) > 1 and driver is not scope:
        plan.tests.append(scope)
    return plan


def _of_many_owners(
    context: Context,
    types: Sequence[str],
    demands: Sequence[Condition],
    verifiers: list[Verify],
    owners: int,
) -> Plan:
    """Return the plan for the resources of many patients.

    What few rows meet drives, and whose they are is tested. Without that, the rows that are common
    are followed in order, as long as that costs no more than to seek each patient's.
    """
    driver, size = _driver(context, demands, always_count=True)
    if driver is not None and size < FREQUENT:
        return _driven_by(context, types, driver, demands, verifiers)
    if not isinstance(driver, Keys) or len(driver.keys) != 1:
        driver = _scope(context, types)
    plan = _driven_by(context, types, driver, demands, verifiers)
    plan.walk_rows = min(owners * _WALK_ROWS, _WALK_ROWS_MAX)
    plan.otherwise = lambda: _of_keys(context, types, demands, verifiers)
    return plan


def _scope(context: Context, types: Sequence[str]) -> Keys:
    """Return the demand to be of one of these types."""
    return Keys([keys.of_type(context.tenant, definitions.type_number(t)) for t in types])


def _driven_by(
    context: Context,
    types: Sequence[str],
    driver: Condition,
    demands: Sequence[Condition],
    verifiers: list[Verify],
) -> Plan:
    tests = [demand for demand in demands if demand is not driver]
    plan = Plan(context, types, driver, tests, verifiers=verifiers)
    if isinstance(driver, Keys) and len(types) == 1:
        for demand in demands:
            if isinstance(demand, Primary):
                plan.low = demand.low if plan.low is None else max(plan.low, demand.low)
                plan.high = _tighter(min, plan.high, demand.high)
                plan.near = _tighter(max, plan.near, demand.near)
                plan.long = demand.long
        if plan.near is not None and plan.low is not None:
            plan.near = max(plan.near, plan.low)
    return plan


def list_pks(
    context: Context, type_name: str, conditions: Sequence[Condition], limit: int
) -> list[int]:
    """Return the pks of at most `limit` resources of a type that meet all conditions."""
    sql = Sql(context.db)
    demands = _flat(conditions)
    if len(demands) == 1 and isinstance(demands[0], Rows) and not demands[0].verifiers():
        # A parameter is of one type, and only resources that are here have rows.
        text, params = demands[0].pks(sql)
        pks = sql.db.numbers(f"{text} LIMIT ?", (*params, limit))
        if len(pks) < limit:
            return list(dict.fromkeys(pks))
        return sql.db.numbers(
            f"SELECT DISTINCT all_rows.n FROM ({text}) AS all_rows LIMIT ?", (*params, limit)
        )
    plan = make(context, [type_name], conditions).settled()
    text, params = plan.rows(sql)
    distinct = "DISTINCT " if plan.may_repeat else ""
    pks = context.db.numbers(
        f"SELECT {distinct}a.pk AS n {text} LIMIT ?",
        (*params, limit if not plan.verifiers else -1 if context.db.dialect == "sqlite" else None),
    )
    if not plan.verifiers:
        return pks
    found: list[int] = []
    for start in range(0, len(pks), _CHUNK):
        chunk = pks[start : start + _CHUNK]
        found += verified(context, type_name, chunk, plan.verifiers)
        if len(found) >= limit:
            break
    return found[:limit]


def list_owners(
    context: Context, type_name: str, conditions: Sequence[Condition], base: int
) -> list[int]:
    """Return the patients (`s`) that resources refer to by a parameter, of those that match.

    base: the parameter's number at its place in the key. Only for conditions that few meet and
    that need no body.
    """
    sql = Sql(context.db)
    text, params = (
        make(context, [type_name], conditions)
        .settled()
        .rows(
            sql,
            "EXISTS (SELECT 1 FROM ix o WHERE o.k=?+a.s AND o.d=a.d AND o.pk=a.pk)",
            [base],
        )
    )
    return context.db.numbers(f"SELECT DISTINCT a.s AS n {text}", params)


def verified(
    context: Context, type_name: str, pks: Sequence[int], verifiers: Sequence[Verify]
) -> list[int]:
    """Return those of `pks` whose body passes, in their order."""
    db = context.db
    rows = db.all(f"SELECT pk,body FROM res WHERE {db.in_list('pk')}", (db.array(pks),))
    good = {pk for pk, body in rows if body and passes(type_name, fhir_json.load(body), verifiers)}
    return [pk for pk in pks if pk in good]


def passes(type_name: str, resource: Mapping[str, Any], verifiers: Sequence[Verify]) -> bool:
    """Say whether a resource passes all tests that need its body."""
    return all(verify(type_name, resource) for verify in verifiers)


def _flat(conditions: Sequence[Condition]) -> list[Condition]:
    found: list[Condition] = []
    for condition in conditions:
        if isinstance(condition, All):
            found += _flat(condition.of)
        else:
            found.append(condition)
    return found


def _paired(context: Context, types: Sequence[str], demands: list[Condition]) -> list[Condition]:
    """Replace a reference and a token by their combined key where the type has one."""
    if len(types) != 1:
        return demands
    pair_p, pair_token = pair_params(types[0])
    if not pair_p:
        return demands
    patients = [d for d in demands if isinstance(d, Keys) and _all_references(d, pair_p)]
    codes = [
        d for d in demands if isinstance(d, Keys) and d.param == pair_token and d.verify is None
    ]
    if not patients or not codes or len(patients[0].keys) * len(codes[0].keys) > _COUNT_MAX:
        return demands
    patient, code = patients[0], codes[0]
    mask = (1 << keys.PK_BITS) - 1
    combined = Keys(
        [
            keys.pair(context.tenant, pair_p, key & mask, token)
            for key in patient.keys
            for token in code.keys
        ]
    )
    return [combined, *(d for d in demands if d is not patient and d is not code)]


def _all_references(demand: Keys, p: int) -> bool:
    """Say whether every key is a reference by parameter `p` to a patient."""
    return demand.owner and all(key >> keys.PK_BITS == p for key in demand.keys)


def _driver(
    context: Context, demands: Sequence[Condition], *, always_count: bool = False
) -> tuple[Condition | None, int]:
    """Return the demand that lists the fewest rows, and how many, counted up to `_COUNT_MAX`.

    A single one need not be counted.
    """
    listed = sorted((d for d in demands if isinstance(d, (Keys, Pks))), key=_promise)
    ranges = [d for d in demands if isinstance(d, Rows)]
    if len(listed) == 1 and not ranges and not always_count:
        return listed[0], _COUNT_MAX
    best: Condition | None = None
    least = _COUNT_MAX
    for demand, size in zip(listed, _sizes(context, listed), strict=True):
        if size < least or best is None:
            best, least = demand, size
    if ranges and least > _FEW_ROWS:
        for interval, size in zip(ranges, _sizes(context, ranges), strict=True):
            if size < least:
                best, least = interval, size
    return best, least


def _promise(demand: Keys | Pks) -> int:
    """Return the place among demands of one size: what is likely to list few rows comes first."""
    if isinstance(demand, Pks):
        return 0
    return 1 if demand.owner or not demand.param else 2


def _sizes(context: Context, demands: Sequence[Keys | Pks | Rows]) -> list[int]:
    """Return how many rows each demand lists, counted up to `_COUNT_MAX`, in one statement."""
    sql = Sql(context.db)
    frequent = context.learned.frequent
    sizes = [_COUNT_MAX] * len(demands)
    asked: list[int] = []  # the places in `sizes` that are counted
    parts: list[str] = []
    params: list[Any] = []
    for place, demand in enumerate(demands):
        if isinstance(demand, Rows):
            if (known := context.learned.size(demand.written())) is not None:
                sizes[place] = known
                continue
            inner, values = demand.pks(sql)
        elif isinstance(demand, Pks) or not demand.keys:
            sizes[place] = min(len(demand.pks), _COUNT_MAX) if isinstance(demand, Pks) else 0
            continue
        elif len(demand.keys) == 1 and demand.keys[0] in frequent:
            continue
        else:
            test, values = one_of(sql, "k", demand.keys)
            inner = f"SELECT 1 FROM ix WHERE {test}"
        asked.append(place)
        parts.append(f"(SELECT count(*) FROM ({inner} LIMIT ?) AS n)")
        params += [*values, _COUNT_MAX]
    row = sql.db.one(f"SELECT {','.join(parts)}", params) if parts else None
    for place, size in zip(asked, row or (), strict=True):
        sizes[place] = size
        counted = demands[place]
        if isinstance(counted, Rows):
            context.learned.keep_size(counted.written(), size)
        elif size == _COUNT_MAX and isinstance(counted, Keys) and len(counted.keys) == 1:
            context.learned.keep_frequent(counted.keys[0])
    return sizes


def _tighter(choose: Any, one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    chosen: int = choose(one, other)
    return chosen
