"""String parameters: starts with, `:exact`, `:contains`. R4 search.html#string."""

from __future__ import annotations

from typing import Any

from app.fhir.searchparams import Param
from app.fhir.strings import fold
from app.store.database import POSTGRESQL
from app.store.entries import EXACT, PINYIN, spelled_params, string_value
from app.store.search.conditions import Condition, Nothing, Rows
from app.store.search.context import Context, plain
from app.store.search.parse import alternatives, unescape

AFTER = "\U0010ffff"  # sorts after every character that can follow a prefix
OWN_MODIFIERS = frozenset({"equals", "ends"})  # what `_filter` needs: eq and ew of the folded text
_EQUALS = {1: "=?", 2: " IN (?,?)"}
_PREFIX_MAX = 200  # as many characters as are indexed


def condition(context: Context, param: Param, modifier: str | None, value: str) -> Condition:
    """Return what a string parameter asks for."""
    tests: list[str] = []
    params: list[Any] = []
    for row in plain(param):
        for each in alternatives(value):
            text = unescape(each)
            test, more = _test(context, modifier, text)
            numbers = [context.scope(row)]
            if modifier is None and _may_be_pinyin(text) and _is_spelled(row):
                numbers.append(numbers[0] | PINYIN)
            tests.append(f"(#.p{_EQUALS[len(numbers)]} AND {test})")
            params += [*numbers, *more]
    if not tests:
        return Nothing()
    return Rows("str", " OR ".join(tests), params)


def _may_be_pinyin(text: str) -> bool:
    return text.isascii() and text.isalpha()


def _is_spelled(param: Param) -> bool:
    return param.number in spelled_params(param.resource_type)


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
