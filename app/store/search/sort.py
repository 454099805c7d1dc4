"""`_sort`: keys as SQL expressions. R4 search.html#sort.

Resources without a value come last in both directions, and `pk` is the last key, so that the
order is total. The primary date needs no expression: rows come in its order (`page.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.errors import Invalid, NotSupported, UnknownParameter
from app.fhir import searchparams
from app.fhir.searchparams import Param
from app.fhir.searchpaths import Get
from app.store.database import POSTGRESQL, SQLITE
from app.store.search.context import Context, plain


@dataclass(frozen=True, slots=True)
class Key:
    """One sort key: an expression over alias `a`, None for the order of `d`."""

    sql: str | None
    params: tuple[Any, ...]
    descending: bool


def parse(context: Context, types: Sequence[str], text: str) -> Sequence[Key]:
    """Return the keys of a `_sort` value. Raises UnknownParameter, NotSupported."""
    written = (*types, text, searchparams.shared.generation)
    found = context.learned.sorts.get(written)
    if found is None:
        found = _parsed(context, types, text)
        context.learned.keep_sort(written, found)
    return found


def _parsed(context: Context, types: Sequence[str], text: str) -> Sequence[Key]:
    found = []
    for part in text.split(","):
        code = part.strip()
        descending = code.startswith("-")
        code = code.removeprefix("-")
        if code:
            found.append(_key(context, types, code, descending))
    return found


def _key(context: Context, types: Sequence[str], code: str, descending: bool) -> Key:
    column = _COLUMNS.get(code)
    if column is not None:
        return Key(f"(SELECT r.{column} FROM res r WHERE r.pk=a.pk)", (), descending)
    if ":" in code:
        raise Invalid("_sort takes no modifiers", at="http._sort")
    if len(types) != 1:
        raise NotSupported("across types only _id and _lastUpdated can be sorted by")
    param = searchparams.find(types[0], code)
    if param is None:
        raise UnknownParameter("unknown parameter in _sort", at="http._sort")
    primary = searchparams.primary_date(types[0])
    if primary is not None and primary.number == param.number:
        return Key(None, (), descending)
    write = _EXPRESSIONS.get(param.type)
    if write is None:
        raise NotSupported(f"{code} cannot be sorted by", at="http._sort")
    text, params = write(context, plain(param), descending)
    return Key(text, tuple(params), descending)


def _string(context: Context, params: Sequence[Param], descending: bool) -> tuple[str, list[Any]]:
    return _extreme(context, params, "str", "v", descending)


def _quantity(context: Context, params: Sequence[Param], descending: bool) -> tuple[str, list[Any]]:
    return _extreme(context, params, "qty", "lo", descending)


def _date(context: Context, params: Sequence[Param], descending: bool) -> tuple[str, list[Any]]:
    return _extreme(context, params, "dt", "lo", descending)


def _extreme(
    context: Context, params: Sequence[Param], table: str, column: str, descending: bool
) -> tuple[str, list[Any]]:
    choose = "max" if descending else "min"
    numbers = [n for p in params for n in (context.scope(p), context.scope(p) | 1 << 30)]
    marks = ",".join("?" * len(numbers))
    return (
        f"(SELECT {choose}(x.{column}) FROM {table} x WHERE x.pk=a.pk AND x.p IN ({marks}))",
        numbers,
    )


def _token(context: Context, params: Sequence[Param], descending: bool) -> tuple[str, list[Any]]:
    """Order by code. The dictionary of codes seen gives the text of each key."""
    if any("Identifier" in param.datatypes for param in params):
        return _identifier(context, params, descending)
    choose = "max" if descending else "min"
    marks = ",".join("?" * len(params))
    return (
        f"(SELECT {choose}(c.code) FROM code c JOIN ix x ON x.k=c.k AND x.d=a.d AND x.pk=a.pk"
        f" WHERE c.p IN ({marks}) AND c.k<>0)",
        [context.scope(p) for p in params],
    )


def _identifier(
    context: Context, params: Sequence[Param], descending: bool
) -> tuple[str, list[Any]]:
    """Order by the value of identifiers, which no table holds: it is read from the resources."""
    dialect = _VALUES[context.db.dialect]
    choose = "max" if descending else "min"
    picks = []
    for where in (where for param in params for where in param.locations):
        match where.steps:
            case (Get(name, many),) if where.type == "Identifier":
                picks.append(dialect[many].format(name=name))
            case _:
                raise NotSupported("identifiers below other elements cannot be sorted by")
    return f"(SELECT {choose}(x.v) FROM ({' UNION ALL '.join(picks)}) AS x)", []


# dialect -> SELECT of the values of one identifier, of a list of them
_VALUES: Mapping[str, tuple[str, str]] = {
    SQLITE: (
        "SELECT json_extract(CAST(r.body AS TEXT),'$.{name}.value') AS v"
        " FROM res r WHERE r.pk=a.pk",
        "SELECT json_extract(e.value,'$.value') AS v"
        " FROM res r,json_each(CAST(r.body AS TEXT),'$.{name}') e WHERE r.pk=a.pk",
    ),
    POSTGRESQL: (
        "SELECT convert_from(r.body,'UTF8')::jsonb->'{name}'->>'value' COLLATE \"C\" AS v"
        " FROM res r WHERE r.pk=a.pk",
        "SELECT e->>'value' COLLATE \"C\" AS v FROM res r,"
        "jsonb_array_elements(convert_from(r.body,'UTF8')::jsonb->'{name}') e WHERE r.pk=a.pk",
    ),
}
_COLUMNS: Mapping[str, str] = {"_id": "id", "_lastUpdated": "lu"}
_EXPRESSIONS = {
    "string": _string,
    "uri": _string,
    "quantity": _quantity,
    "number": _quantity,
    "date": _date,
    "token": _token,
}
