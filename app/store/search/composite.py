"""Composite parameters: all parts hold within the same repeat. R4 search.html#composite.

Over the resource itself (code-value-quantity) that is the AND of the parts. Within a repeating
element (component-code-value-quantity) the parts name the candidates and each one's own repeats
decide, so that no rows are kept for composites.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from app.errors import Invalid, NotSupported
from app.fhir import ucum
from app.fhir.dates import around, parse_date_search
from app.fhir.extract import extractor
from app.fhir.numbers import parse_number_search
from app.fhir.searchparams import Param
from app.fhir.strings import fold
from app.store.search.conditions import All, Any_, Condition, Nothing, Verify
from app.store.search.context import Context, plain
from app.store.search.parse import alternatives, split, token_parts, unescape

Part = Callable[[Context, Param, str | None, str], Condition]
Test = Callable[[tuple[Any, ...]], bool]


def condition(context: Context, param: Param, value: str, part: Part) -> Condition:
    """Return what a composite asks for; `part` reads one component. Raises Invalid."""
    found: list[Condition] = []
    tests: list[list[Test]] = []
    for each in alternatives(value):
        values = split(each, "$")
        if len(values) != len(param.components):
            raise Invalid(
                f"{param.code} has {len(param.components)} parts joined by $",
                at=f"http.{param.code}",
            )
        parts = zip(param.components, values, strict=True)
        tests.append([_test(context, component.param, v) for component, v in parts])
        for branch in plain(param):
            components = zip(branch.components, values, strict=True)
            found.append(All([part(context, c.param, None, v) for c, v in components]))
    if not found:
        return Nothing()
    candidates: Condition = found[0] if len(found) == 1 else Any_(found)
    decided = len(found) == 1 or not any(each.verifiers() for each in found)
    if decided and all(branch.parts for branch in plain(param)):
        return candidates
    checked = All([candidates])
    checked.verify = _same_repeat(context, plain(param), tests)
    return checked


def _same_repeat(
    context: Context, branches: Sequence[Param], alternatives: Sequence[list[Test]]
) -> Verify:
    """Return what looks for a repeat in which all tests of one of the alternatives hold."""
    whole = [branch for branch in branches if branch.parts]
    numbers = {branch.number for branch in branches}

    def verify(type_name: str, resource: Mapping[str, Any]) -> bool:
        values = extractor(type_name)(resource, context.zone)
        repeats = [lists for number, *lists in values.composites if number in numbers]
        return any(
            any(_repeat_holds(lists, tests) for lists in repeats)
            or any(_root_holds(branch, values, tests) for branch in whole)
            for tests in alternatives
        )

    return verify


def _repeat_holds(lists: Sequence[Sequence[tuple[Any, ...]]], tests: Sequence[Test]) -> bool:
    return all(
        any(test(value) for value in found) for test, found in zip(tests, lists, strict=True)
    )


def _root_holds(branch: Param, values: Any, tests: list[Test]) -> bool:
    lists = {
        "token": values.tokens,
        "quantity": values.quantities,
        "number": values.numbers,
        "date": values.dates,
        "string": values.strings,
        "uri": values.uris,
        "reference": values.references,
    }
    return all(
        any(test(row[1:]) for row in lists[part.type] if row[0] == part.number)
        for part, test in zip(branch.parts, tests, strict=True)
    )


# --- tests of one extracted value ----------------------------------------------------------------


def _test(context: Context, param: Param, value: str) -> Test:
    """Return the test of one component's extracted value (as in `Values.composites`)."""
    make = _TESTS.get(param.type)
    if make is None:
        raise NotSupported("a composite with such a part cannot be searched")
    return make(context, param, value)


def _token(context: Context, param: Param, value: str) -> Test:
    system, code = token_parts(value)

    def test(found: tuple[Any, ...]) -> bool:
        return (system is None or (found[0] or "") == system) and (
            code is None or found[1].casefold() == code.casefold()
        )

    return test


def _string(context: Context, param: Param, value: str) -> Test:
    folded = fold(unescape(value))
    return lambda found: fold(found[0]).startswith(folded)


def _uri(context: Context, param: Param, value: str) -> Test:
    text = unescape(value)
    return lambda found: bool(found[0] == text)


def _reference(context: Context, param: Param, value: str) -> Test:
    text = unescape(value)
    for base in context.bases:
        text = text.removeprefix(base)
    return lambda found: found[0] == text or found[0].endswith("/" + text)


def _compare(prefix: str, low: Any, high: Any, start: Any, end: Any, value: Any) -> bool:
    inside = low >= start and (high < end or (high == low and high < end))
    return bool(
        {
            "eq": inside,
            "ne": not inside,
            "gt": high > value,
            "lt": low < value,
            "ge": high >= value,
            "le": low <= value,
            "sa": low > value,
            "eb": high < value,
            "ap": high >= start and low <= end,
        }[prefix]
    )


def _number(context: Context, param: Param, value: str) -> Test:
    asked = parse_number_search(unescape(value))

    def test(found: tuple[Any, ...]) -> bool:
        low, high = found[-2:]
        return _compare(
            asked.prefix, low, high, float(asked.low), float(asked.high), float(asked.value)
        )

    return test


def _quantity(context: Context, param: Param, value: str) -> Test:
    parts = [unescape(part) for part in split(value, "|")]
    asked = parse_number_search(parts[0])
    system, code = (parts[1], parts[2]) if len(parts) == 3 else ("", "")
    wanted = ucum.canonical(code) if code else None

    def test(found: tuple[Any, ...]) -> bool:
        own_system, own_code, unit, low, high = found
        bounds = [asked.low, asked.high, asked.value]
        if (system or code) and not (
            (own_system == system and own_code == code) or (not system and code in (own_code, unit))
        ):
            own = ucum.canonical(own_code) if own_code else None
            if wanted is None or own is None or own.unit != wanted.unit:
                return False
            low, high = own.of(Decimal(str(low))), own.of(Decimal(str(high)))
            numbers = [wanted.of(bound) for bound in bounds]
        else:
            numbers = [float(bound) for bound in bounds]
        return _compare(asked.prefix, low, high, *numbers)

    return test


def _date(context: Context, param: Param, value: str) -> Test:
    prefix, low, high = parse_date_search(unescape(value), context.zone)
    if prefix == "ap":
        low, high = around(low, high, context.now_us)

    def test(found: tuple[Any, ...]) -> bool:
        start, end = found
        inside = start >= low and end <= high
        held: dict[str, bool] = {
            "eq": inside,
            "ne": not inside,
            "gt": end > high,
            "lt": start < low,
            "ge": end > high or inside,
            "le": start < low or inside,
            "sa": start >= high,
            "eb": end <= low,
            "ap": end > low and start < high,
        }
        return held[prefix]

    return test


_TESTS: Mapping[str, Callable[[Context, Param, str], Test]] = {
    "token": _token,
    "string": _string,
    "uri": _uri,
    "reference": _reference,
    "number": _number,
    "quantity": _quantity,
    "date": _date,
}
