"""String parameters: starts with, `:exact`, `:contains`. R4 search.html#string."""

from __future__ import annotations

from typing import Any

from app.fhir.searchparams import Param
from app.fhir.strings import fold
from app.store.database import POSTGRESQL
from app.store.entries import EXACT, string_value
from app.store.search.conditions import Condition, Nothing, Rows
from app.store.search.context import Context, plain
from app.store.search.parse import alternatives, unescape

AFTER = "\U0010ffff"  # sorts after every character that can follow a prefix
OWN_MODIFIERS = frozenset({"equals", "ends"})  # what `_filter` needs: eq and ew of the folded text
_PREFIX_MAX = 200  # as many characters as are indexed


def condition(context: Context, param: Param, modifier: str | None, value: str) -> Condition:
    """Return what a string parameter asks for."""
    tests: list[str] = []
    params: list[Any] = []
    for row in plain(param):
        for each in alternatives(value):
            test, more = _test(context, modifier, unescape(each))
            tests.append(f"(#.p=? AND {test})")
            params += [context.scope(row), *more]
    if not tests:
        return Nothing()
    return Rows("str", " OR ".join(tests), params)


def _test(context: Context, modifier: str | None, text: str) -> tuple[str, list[Any]]:
    if modifier == "exact":
        return "#.v=?", [string_value(text)]
    folded = fold(text)[:_PREFIX_MAX]
    if modifier == "equals":
        return "#.v>=? AND #.v<?", [folded + EXACT, folded + EXACT + AFTER]
    if modifier == "ends":
        find = "strpos" if context.db.dialect == POSTGRESQL else "instr"
        return f"{find}(#.v,?)>0", [folded + EXACT]
    if modifier == "contains":
        find = "strpos" if context.db.dialect == POSTGRESQL else "instr"
        return f"{find}(#.v,?)>0", [folded]
    return "#.v>=? AND #.v<?", [folded, folded + AFTER]
