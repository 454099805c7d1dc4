"""String parameters: starts with, `:exact`, `:contains`. R4 search.html#string."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.fhir.extract import extractor
from app.fhir.searchparams import Param
from app.fhir.strings import fold
from app.store.database import POSTGRESQL
from app.store.entries import CHUNK, EXACT, PINYIN, STRING_MAX, cut, spelled_params, string_value
from app.store.search.conditions import Condition, Nothing, Rows, Verify, either
from app.store.search.context import Context, plain
from app.store.search.parse import alternatives, unescape

AFTER = "\U0010ffff"  # sorts after every character that can follow a prefix
OWN_MODIFIERS = frozenset({"equals", "ends"})  # what `_filter` needs: eq and ew of the folded text


def condition(context: Context, param: Param, modifier: str | None, value: str) -> Condition:
    """Return what a string parameter asks for.

    Texts asked for that are longer than one index row only name candidates: the body decides.
    """
    rows = plain(param)
    wanted = [unescape(each) for each in alternatives(value)]
    tests: list[str] = []
    params: list[Any] = []
    for row in rows:
        for text in wanted:
            numbers = [context.scope(row) | flag for flag in _flags(row, modifier, text)]
            test, more = _test(context, modifier, text)
            tests.append(f"({_is('#.p', numbers)} AND {test})")
            params += [*numbers, *more]
    if not tests:
        return Nothing()
    folded = [fold(text) for text in wanted]
    verify = None
    if modifier in _HOLDS and any(len(text) > STRING_MAX for text in folded):
        verify = _verify(context, {row.number for row in rows}, _HOLDS[modifier], folded)
    return Rows("str", either(tests), params, verify)


def _flags(param: Param, modifier: str | None, text: str) -> list[int]:
    """Return what is added to the parameter's number in the rows that may answer."""
    if modifier in ("contains", "ends"):
        return [0, CHUNK]
    spelled = spelled_params(param.resource_type)
    if modifier is not None or not text.isalpha() or param.number not in spelled:
        return [0]
    # Other letters than Latin ones: of whole names only, the parts have rows of their own.
    return [0, PINYIN] if text.isascii() or spelled[param.number] is not None else [0]


def _is(column: str, numbers: Sequence[int]) -> str:
    return f"{column}=?" if len(numbers) == 1 else f"{column} IN ({','.join('?' * len(numbers))})"


def _test(context: Context, modifier: str | None, text: str) -> tuple[str, list[Any]]:
    if modifier == "exact":
        return "#.v=?", [string_value(text)]
    folded = fold(text)
    if modifier == "equals":
        whole = cut(folded) + EXACT
        return "#.v>=? AND #.v<?", [whole, whole + AFTER]
    find = "strpos" if context.db.dialect == POSTGRESQL else "instr"
    if modifier == "ends":
        return f"{find}(#.v,?)>0", [folded[-STRING_MAX:] + EXACT]
    if modifier == "contains":
        return f"{find}(#.v,?)>0", [folded[:STRING_MAX]]
    start = folded[:STRING_MAX]
    return "#.v>=? AND #.v<?", [start, start + AFTER]


def _verify(
    context: Context, numbers: set[int], holds: Callable[[str, str], bool], wanted: Sequence[str]
) -> Verify:
    def verify(type_name: str, resource: Mapping[str, Any]) -> bool:
        strings = extractor(type_name)(resource, context.zone).strings
        texts = [fold(text) for p, text in strings if p in numbers]
        return any(holds(text, each) for text in texts for each in wanted)

    return verify


# modifier -> what it means for a folded text and what is asked
_HOLDS: Mapping[str | None, Callable[[str, str], bool]] = {
    None: str.startswith,
    "contains": str.__contains__,
    "ends": str.endswith,
}
