"""The plan of one search: what drives, what is probed, in which order. performance.md section 2.

The server plans, not the database: both databases' planners chose plans 100 to 1,000 times too
slow. Each condition that can list its rows is counted up to a bound; the smallest drives and the
others are probed by exact key. Every driver is a set of rows with alias `a` (pk, d, s).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    Pks,
    Primary,
    Rows,
    Sql,
    Verify,
    one_of,
)
from app.store.search.context import Context

_COUNT_MAX = 500
_FEW_ROWS = 40  # to look for fewer costs more than to test these
_FEW = 8
_CHUNK = 500


@dataclass(slots=True)
class Plan:
    """A driver and the tests on its rows.

    source: FROM and WHERE of the driver; several: it may list a row more than once.
    branches: one key each, when the driver is few keys of `ix`: each can be read in order.
    """

    context: Context
    types: Sequence[str]
    driver: Condition
    tests: list[Condition] = field(default_factory=list)
    low: int | None = None
    high: int | None = None
    verifiers: list[Verify] = field(default_factory=list)

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
                one = Plan(self.context, self.types, Keys([key]), self.tests, self.low, self.high)
                text, values = one.rows(sql, *extra)
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

    def _source(self, sql: Sql) -> tuple[str, str, list[Any]]:
        driver = self.driver
        if isinstance(driver, Keys):
            test, params = one_of(sql, "a.k", driver.keys)
            if self.low is not None:
                test, params = f"{test} AND a.d>=?", [*params, self.low]
            if self.high is not None:
                test, params = f"{test} AND a.d<?", [*params, self.high]
            return "ix a", test, params
        if isinstance(driver, Pks):
            test, params = driver.sql(sql, "a")
        elif isinstance(driver, Rows):
            text, params = driver.pks(sql)
            test = f"a.pk IN ({text})"
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
    demands = _paired(context, types, demands)
    scope = Keys([keys.of_type(context.tenant, definitions.type_number(t)) for t in types])
    driver = _driver(context, demands) or scope
    plan = Plan(
        context,
        types,
        driver,
        [demand for demand in demands if demand is not driver],
        verifiers=verifiers,
    )
    if len(types) > 1 and driver is not scope:
        plan.tests.append(scope)
    if isinstance(driver, Keys) and len(types) == 1:
        for demand in demands:
            if isinstance(demand, Primary):
                plan.low = _tighter(max, plan.low, demand.low)
                plan.high = _tighter(min, plan.high, demand.high)
    return plan


def list_pks(
    context: Context, type_name: str, conditions: Sequence[Condition], limit: int
) -> list[int]:
    """Return the pks of at most `limit` resources of a type that meet all conditions."""
    plan = make(context, [type_name], conditions)
    sql = Sql(context.db)
    text, params = plan.rows(sql)
    distinct = "DISTINCT " if plan.may_repeat else ""
    rows = context.db.all(
        f"SELECT {distinct}a.pk {text} LIMIT ?",
        (*params, limit if not plan.verifiers else -1 if context.db.dialect == "sqlite" else None),
    )
    pks = [row[0] for row in rows]
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
    text, params = make(context, [type_name], conditions).rows(
        sql,
        "EXISTS (SELECT 1 FROM ix o WHERE o.k=?+a.s AND o.d=a.d AND o.pk=a.pk)",
        [base],
    )
    return [row[0] for row in context.db.all(f"SELECT DISTINCT a.s {text}", params)]


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


def _driver(context: Context, demands: Sequence[Condition]) -> Condition | None:
    able = sorted((d for d in demands if isinstance(d, (Keys, Rows, Pks))), key=_promise)
    if len(able) == 1 and not isinstance(able[0], Rows):
        return able[0]
    best: Condition | None = None
    least = _COUNT_MAX
    for demand in able:
        size = _count(context, demand, least)
        if size < least or (best is None and not isinstance(demand, Rows)):
            best, least = demand, size
        if least <= _FEW_ROWS:
            break
    return best


def _promise(demand: Keys | Rows | Pks) -> int:
    """Return the place in the order of counting: what is likely to list few rows comes first."""
    if isinstance(demand, Pks):
        return 0
    if isinstance(demand, Keys):
        return 1 if demand.owner or not demand.param else 2
    return 3


def _count(context: Context, demand: Keys | Rows | Pks, most: int) -> int:
    """Return how many rows a demand lists, at most `most`."""
    if isinstance(demand, Pks):
        return min(len(demand.pks), most)
    sql = Sql(context.db)
    single = None
    if isinstance(demand, Keys):
        if not demand.keys:
            return 0
        single = demand.keys[0] if len(demand.keys) == 1 else None
        if single in context.learned.frequent:
            return most
        test, params = one_of(sql, "k", demand.keys)
        inner = f"SELECT 1 FROM ix WHERE {test}"
    else:
        inner, params = demand.pks(sql)
    row = context.db.one(f"SELECT count(*) FROM ({inner} LIMIT ?) AS n", [*params, most])
    size = int(row[0]) if row else 0
    if single is not None and size == _COUNT_MAX:
        context.learned.keep_frequent(single)
    return size


def _tighter(choose: Any, one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    chosen: int = choose(one, other)
    return chosen
