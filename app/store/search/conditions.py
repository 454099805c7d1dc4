"""What a search parameter demands, as values that the planner can order and turn into SQL.

Every condition can be tested on a row that has pk, d and s (of `ix` or `res`); some can also
drive, that is list the rows that meet them. R4 search.html; performance.md section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from app.errors import TooCostly
from app.store import keys
from app.store.database import POSTGRESQL, Connection

Verify = Callable[[str, Mapping[str, Any]], bool]
_FEW_KEYS = 8
# SQLite nests no deeper than 1000; a statement of more tests is nobody's question either.
_MOST_TESTS = 500


class Sql:
    """A statement being written: parameters in order of their marks, fresh alias names."""

    __slots__ = ("_aliases", "body", "db", "fence")

    def __init__(self, db: Connection) -> None:
        self.db = db
        # Keeps PostgreSQL from turning a probe by exact key into a join of its own choosing.
        self.fence = " OFFSET 0" if db.dialect == POSTGRESQL else ""
        # Joins the row `r` of `res` to each row of `q`, in their order and by key on both.
        self.body = (
            "CROSS JOIN LATERAL (SELECT * FROM res WHERE res.pk=q.pk OFFSET 0) AS r"
            if db.dialect == POSTGRESQL
            else "CROSS JOIN res r ON r.pk=q.pk"
        )
        self._aliases = count()

    def alias(self) -> str:
        return f"t{next(self._aliases)}"


Fragment = tuple[str, list[Any]]


class Condition:
    """One demand. `verify`: the rows found are only candidates, the body decides."""

    verify: Verify | None = None

    def sql(self, sql: Sql, row: str) -> Fragment:
        """Return a test of the row with alias `row`."""
        raise NotImplementedError

    def verifiers(self) -> list[Verify]:
        """Return every test that needs the body."""
        return [self.verify] if self.verify else []


@dataclass(slots=True)
class Nothing(Condition):
    """Cannot be met: a code or target that was never seen."""

    def sql(self, sql: Sql, row: str) -> Fragment:
        return "1=0", []


@dataclass(slots=True)
class Keys(Condition):
    """The resource has one of these keys in `ix`.

    param: number of the token parameter they are all of, 0 if that does not matter;
    owner: they are references to patients.
    """

    keys: Sequence[int]
    verify: Verify | None = None
    param: int = 0
    owner: bool = False

    def sql(self, sql: Sql, row: str) -> Fragment:
        if not self.keys:
            return "1=0", []
        x = sql.alias()
        test, params = one_of(sql, f"{x}.k", self.keys)
        return (
            f"EXISTS (SELECT 1 FROM ix {x} WHERE {test} AND {x}.d={row}.d AND {x}.pk={row}.pk"
            f"{sql.fence})",
            params,
        )


@dataclass(slots=True)
class Rows(Condition):
    """The resource has a row in `str`, `qty` or `dt` that meets `where` (written for alias `#`)."""

    table: str
    where: str
    params: list[Any]
    verify: Verify | None = None

    def sql(self, sql: Sql, row: str) -> Fragment:
        x = sql.alias()
        where = self.where.replace("#", x)
        return (
            f"EXISTS (SELECT 1 FROM {self.table} {x} WHERE {x}.pk={row}.pk"
            f" AND ({where}){sql.fence})",
            list(self.params),
        )

    def written(self) -> tuple[object, ...]:
        """Return what tells it from all others."""
        return (self.table, self.where, *self.params)

    def pks(self, sql: Sql) -> Fragment:
        """Return a SELECT of the pks that meet it, as `n`."""
        x = sql.alias()
        return (
            f"SELECT {x}.pk AS n FROM {self.table} {x} WHERE {self.where.replace('#', x)}",
            list(self.params),
        )


@dataclass(slots=True)
class Pks(Condition):
    """The resource is one of these."""

    pks: Sequence[int]
    verify: Verify | None = None

    def sql(self, sql: Sql, row: str) -> Fragment:
        return one_of(sql, f"{row}.pk", self.pks)


@dataclass(slots=True)
class Row(Condition):
    """A test on the row itself (`#`: alias with pk, d, s) and, as `@`, its row of `res`."""

    test: str
    params: list[Any]

    def sql(self, sql: Sql, row: str) -> Fragment:
        if "@" not in self.test:
            return self.test.replace("#", row), list(self.params)
        x = sql.alias()
        test = self.test.replace("@", x).replace("#", row)
        return (
            f"EXISTS (SELECT 1 FROM res {x} WHERE {x}.pk={row}.pk AND ({test}){sql.fence})",
            list(self.params),
        )


@dataclass(slots=True)
class Primary(Condition):
    """A test of the primary date: `low` and `high` bound `d` (inclusive, exclusive).

    near: a tighter `low`, as long as `dt` has no row of `long` (intervals longer than a year).
    """

    test: Condition
    low: int
    near: int | None
    high: int | None
    long: int

    def sql(self, sql: Sql, row: str) -> Fragment:
        return self.test.sql(sql, row)


@dataclass(slots=True)
class Not(Condition):
    """The opposite of a condition that needs no body."""

    of: Condition

    def sql(self, sql: Sql, row: str) -> Fragment:
        text, params = self.of.sql(sql, row)
        return f"NOT ({text})", params


@dataclass(slots=True)
class Any_(Condition):
    """At least one of the conditions holds."""

    of: Sequence[Condition]

    def sql(self, sql: Sql, row: str) -> Fragment:
        return _joined(sql, row, self.of, " OR ", "1=0")


@dataclass(slots=True)
class All(Condition):
    """All of the conditions hold."""

    of: Sequence[Condition]

    def sql(self, sql: Sql, row: str) -> Fragment:
        return _joined(sql, row, self.of, " AND ", "1=1")

    def verifiers(self) -> list[Verify]:
        own = [self.verify] if self.verify else []
        return own + [verify for part in self.of for verify in part.verifiers()]


@dataclass(slots=True)
class PointedAt(Condition):
    """Some resource that meets `inner` refers to this one by a parameter (`_has`).

    bases: parameter numbers shifted to their place in the key.
    """

    bases: Sequence[int]
    inner: Sequence[Condition] = field(default_factory=list)

    def sql(self, sql: Sql, row: str) -> Fragment:
        parts, params = [], []
        for base in self.bases:
            x = sql.alias()
            test, more = _joined(sql, x, self.inner, " AND ", "1=1")
            parts.append(
                f"EXISTS (SELECT 1 FROM ix {x} WHERE {x}.k=?+{row}.pk AND {test}{sql.fence})"
            )
            params += [base, *more]
        return "(" + " OR ".join(parts) + ")", params


@dataclass(slots=True)
class PointedAtPair(PointedAt):
    """`PointedAt` by the parameters of `PAIRS`: one key for each resource pointed at.

    tokens: the token keys, of which one has to be there; param: number of the reference parameter.
    """

    tenant: int = 0
    param: int = 0
    tokens: Sequence[int] = ()

    def among(self, db: Connection, pks: Sequence[int]) -> set[int]:
        """Return those of `pks` that meet it: a probe by exact key for each."""
        by_key = {
            keys.pair(self.tenant, self.param, pk, token): pk for pk in pks for token in self.tokens
        }
        rows = db.all(
            f"SELECT e.value FROM {db.listed('e')}"
            f" WHERE EXISTS (SELECT 1 FROM ix x WHERE x.k=e.value{Sql(db).fence})",
            (db.array(list(by_key)),),
        )
        return {by_key[row[0]] for row in rows}


@dataclass(slots=True)
class OwnerIn(Condition):
    """The row refers by a parameter to one of these patients, in whose compartment it then is.

    base: the parameter's number at its place in the key.
    """

    base: int
    pks: Sequence[int]

    def keys(self) -> Keys:
        """Return the same as keys that can be listed."""
        return Keys([self.base + pk for pk in self.pks], owner=True)

    def sql(self, sql: Sql, row: str) -> Fragment:
        x = sql.alias()
        test, params = one_of(sql, f"{row}.s", self.pks, often=True)
        return (
            f"{test} AND EXISTS (SELECT 1 FROM ix {x} WHERE {x}.k=?+{row}.s AND {x}.d={row}.d"
            f" AND {x}.pk={row}.pk{sql.fence})",
            [*params, self.base],
        )


@dataclass(slots=True)
class OwnerMeets(Condition):
    """The patient whose compartment the row is in is referred to by a parameter and meets `inner`.

    Walks from the row to its patient by `s`, which is an index column.
    """

    base: int
    inner: Sequence[Condition]

    def sql(self, sql: Sql, row: str) -> Fragment:
        x, c = sql.alias(), sql.alias()
        test, params = _joined(sql, c, self.inner, " AND ", "1=1")
        return (
            f"EXISTS (SELECT 1 FROM ix {x} JOIN res {c} ON {c}.pk={row}.s WHERE {x}.k=?+{row}.s"
            f" AND {x}.d={row}.d AND {x}.pk={row}.pk AND {c}.method IN (0,1)"
            f" AND {test}{sql.fence})",
            [self.base, *params],
        )


def one_of(sql: Sql, column: str, values: Sequence[Any], *, often: bool = False) -> Fragment:
    """Return a test that `column` is one of `values`.

    often: they are integers, and so many rows are tested that it pays to make a set of them first.
    """
    if not values:
        return "1=0", []
    if len(values) == 1:
        return f"{column}=?", [values[0]]
    if len(values) <= _FEW_KEYS:
        return f"{column} IN ({','.join('?' * len(values))})", list(values)
    test = sql.db.in_set(column) if often else sql.db.in_list(column)
    return test, [sql.db.array(values)]


def either(tests: Sequence[str]) -> str:
    """Return the test that one of `tests` holds. Raises TooCostly for too many of them."""
    _require_few(tests)
    return " OR ".join(tests)


def _require_few(tests: Sequence[object]) -> None:
    if len(tests) > _MOST_TESTS:
        raise TooCostly("the search asks for too many values at once")


def _joined(sql: Sql, row: str, conditions: Sequence[Condition], word: str, empty: str) -> Fragment:
    if not conditions:
        return empty, []
    _require_few(conditions)
    texts, params = [], []
    for condition in conditions:
        text, more = condition.sql(sql, row)
        texts.append(f"({text})")
        params += more
    return word.join(texts), params
