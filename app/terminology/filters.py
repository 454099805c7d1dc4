"""ValueSet.compose.include.filter as tests of one concept. R4 and R5 valueset-filter-operator.

A filter is compiled once for a system and then asked about concepts: membership of one code costs
one test. Values are compared as they are written, case counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from app.errors import Unprocessable
from app.terminology.regex import whole
from app.terminology.status import Declared
from app.terminology.types import Concept, Filter

Test = Callable[[Concept], bool]
Values = Callable[[Concept], Sequence[str]]


class Hierarchy(Protocol):
    """What a filter asks of a system."""

    def find(self, code: str) -> Concept | None: ...

    def children(self, code: str | None) -> Sequence[str]: ...

    def is_a(self, code: str, ancestor: str) -> bool: ...


def tests(system: Hierarchy, filters: Sequence[Filter], declared: Declared) -> Sequence[Test]:
    """Return one test for each filter. Raises Unprocessable for an unknown operator."""
    return [_test(system, wanted, declared) for wanted in filters]


def _test(system: Hierarchy, wanted: Filter, declared: Declared) -> Test:
    if wanted.property in _ITSELF and wanted.op in _BY_HIERARCHY:
        return _BY_HIERARCHY[wanted.op](system, wanted.value)
    make = _BY_VALUE.get(wanted.op)
    if make is None:
        raise Unprocessable(
            "The filter's operator is not understood for this property", code="not-supported"
        )
    return make(_values(system, wanted.property, declared), wanted.value)


# --- by the hierarchy ----------------------------------------------------------------------------

_ITSELF = frozenset(("concept", "code"))


def _is_a(system: Hierarchy, value: str) -> Test:
    return lambda concept: system.is_a(concept.code, value)


def _descendent_of(system: Hierarchy, value: str) -> Test:
    return lambda concept: concept.code != value and system.is_a(concept.code, value)


def _is_not_a(system: Hierarchy, value: str) -> Test:
    return lambda concept: not system.is_a(concept.code, value)


def _child_of(system: Hierarchy, value: str) -> Test:
    return lambda concept: value in concept.parents


def _descendent_leaf(system: Hierarchy, value: str) -> Test:
    return lambda concept: (
        concept.code != value
        and not system.children(concept.code)
        and system.is_a(concept.code, value)
    )


def _generalizes(system: Hierarchy, value: str) -> Test:
    return lambda concept: system.is_a(value, concept.code)


_BY_HIERARCHY: Mapping[str, Callable[[Hierarchy, str], Test]] = {
    "is-a": _is_a,
    "descendent-of": _descendent_of,
    "is-not-a": _is_not_a,
    "child-of": _child_of,
    "descendent-leaf": _descendent_leaf,
    "generalizes": _generalizes,
}


# --- by values -----------------------------------------------------------------------------------


def _values(system: Hierarchy, name: str, declared: Declared) -> Values:
    """Return what gives the values of a property, as text."""
    if name in _ITSELF:
        return lambda concept: (concept.code,)
    if name == "display":
        return lambda concept: (concept.display,) if concept.display else ()
    if name == "definition":
        return lambda concept: (concept.definition,) if concept.definition else ()
    if name in declared.codes["parent"]:
        return lambda concept: concept.parents
    if name in declared.codes["child"]:
        return lambda concept: system.children(concept.code)
    return lambda concept: [_text(p.value) for p in concept.properties if p.code == name]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return str(value.get("code", ""))
    return str(value)


def _equal(values: Values, value: str) -> Test:
    return lambda concept: value in values(concept)


def _listed(value: str) -> frozenset[str]:
    return frozenset(part.strip() for part in value.split(","))


def _in(values: Values, value: str) -> Test:
    wanted = _listed(value)
    return lambda concept: not wanted.isdisjoint(values(concept))


def _not_in(values: Values, value: str) -> Test:
    unwanted = _listed(value)
    return lambda concept: unwanted.isdisjoint(values(concept))


def _regex(values: Values, value: str) -> Test:
    fits = whole(value)
    return lambda concept: any(fits(held) for held in values(concept))


def _exists(values: Values, value: str) -> Test:
    if value not in ("true", "false"):
        raise Unprocessable("The filter exists takes true or false", code="invalid")
    wanted = value == "true"
    return lambda concept: bool(values(concept)) is wanted


_BY_VALUE: Mapping[str, Callable[[Values, str], Test]] = {
    "=": _equal,
    "in": _in,
    "not-in": _not_in,
    "regex": _regex,
    "exists": _exists,
}
