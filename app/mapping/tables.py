"""Vocabulary tables as steps of formulas: `table`, `coding`, `display`, `translate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.mapping.library import Table

Step = Callable[[Any], Any]  # a value -> what the table has for it


def _code(table: Table) -> Step:
    rows = {code: row[0] for code, row in table.rows.items()}
    return lambda value: rows.get(str(value))


def _coding_of(table: Table) -> Step:
    ready = {code: _coding(row, table) for code, row in table.rows.items()}
    return lambda value: ready.get(str(value))


def _display(table: Table) -> Step:
    return lambda value: table.rows.get(str(value), (None, None, None))[1]


def _translate(table: Table) -> Step:
    """The concept with the target code of its first coding in front.

    Codings without a system get the one the table's source codes are in.
    """
    ready = {code: _coding(row, table) for code, row in table.rows.items()}

    def translate(concept: Any) -> Any:
        codings = concept.get("coding")
        if not codings:
            return concept
        first = codings[0]
        if "system" not in first and table.origin:
            codings = [{"system": table.origin, **first}, *codings[1:]]
        target = ready.get(str(first.get("code")))
        if target is None or first.get("system", table.origin) != table.origin:
            return {**concept, "coding": codings} if codings is not concept["coding"] else concept
        if target.get("system") == codings[0].get("system") and target["code"] == first.get("code"):
            return {**concept, "coding": [{**target, **codings[0]}, *codings[1:]]}
        return {**concept, "coding": [target, *codings]}

    return translate


def _coding(row: tuple[str | None, str | None, str | None], table: Table) -> Any:
    code, display, system = row
    if code is None:
        return None
    out = {"system": system or table.system, "code": code, "display": display}
    return {name: value for name, value in out.items() if value}


STEPS: dict[str, Callable[[Table], Step]] = {
    "table": _code,
    "coding": _coding_of,
    "display": _display,
    "translate": _translate,
}
# Steps whose second argument is what stands for a value that is in no row.
WITH_DEFAULT = frozenset(("table", "coding"))
