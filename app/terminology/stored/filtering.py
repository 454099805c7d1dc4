"""ValueSet.compose.include.filter on a stored system: for one concept, and as a set.

R4 and R5 valueset-filter-operator; for SNOMED CT also R4 snomedct.html: `concept in X` with the
code of a reference set means its members, `constraint = ...` is an ECL expression.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from app.errors import Unprocessable
from app.terminology import ecl
from app.terminology.filters import tests
from app.terminology.regex import bounds, whole
from app.terminology.stored import rows
from app.terminology.types import Concept, Filter

if TYPE_CHECKING:
    from app.terminology.stored.system import Row, StoredSystem

# Every concept has these, whatever the header declares.
_OF_ALL = frozenset(("concept", "code", "display", "definition", "parent", "child"))


def meets(system: StoredSystem, row: Row, wanted: Filter) -> bool:
    """Whether a concept satisfies a filter. Raises Unprocessable for what is not understood."""
    special = _SPECIAL.get((wanted.property, wanted.op))
    if special is not None:
        return special.holds(system, row, wanted.value)
    return _compiled(system, wanted)(row.concept)


def members(system: StoredSystem, wanted: Filter) -> int:
    """Return all that satisfy a filter. Raises Unprocessable for what is not understood."""
    special = _SPECIAL.get((wanted.property, wanted.op))
    if special is not None:
        return special.members(system, wanted.value)
    compiled = _compiled(system, wanted)
    if wanted.property not in system.properties:
        return system.scanned(compiled)
    return _BY_VALUE[wanted.op](system, wanted.property, wanted.value)


def _compiled(system: StoredSystem, wanted: Filter) -> Callable[[Concept], bool]:
    name = wanted.property
    if not (
        name in _OF_ALL
        or name in system.properties
        or name in system.declared.uris
        or any(name in names for names in system.declared.codes.values())
    ):
        raise Unprocessable("The filter's property is not known here", code="not-supported")
    (test,) = tests(system, (wanted,), system.declared)
    return test


def _listed(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


# --- on the concept itself -------------------------------------------------------------------


class Special(NamedTuple):
    """A filter that needs no values: for one concept, and for all."""

    holds: Callable[[StoredSystem, Row, str], bool]
    members: Callable[[StoredSystem, str], int]


def _at_or_below(system: StoredSystem, row: Row, value: str) -> bool:
    above = system.row(value)
    return above is not None and above.has_below(row.n)


def _below(system: StoredSystem, row: Row, value: str) -> bool:
    above = system.row(value)
    return above is not None and above.n != row.n and above.has_below(row.n)


def _at_or_above(system: StoredSystem, row: Row, value: str) -> bool:
    below = system.row(value)
    return below is not None and row.has_below(below.n)


def _all_below(system: StoredSystem, value: str) -> int:
    return system.below(value) & ~system.numbers([value])


def _is(system: StoredSystem, row: Row, value: str) -> bool:
    other = system.row(value)
    return other is not None and other.n == row.n


def _reference_set(system: StoredSystem, value: str) -> str | None:
    """Return the code that `value` is, if it is that of a reference set with members."""
    codes = _listed(value)
    return codes[0] if len(codes) == 1 and system.set_of(rows.MEMBERS, codes[0]) else None


def _is_in(system: StoredSystem, row: Row, value: str) -> bool:
    reference_set = _reference_set(system, value)
    if reference_set is not None:
        return system.is_member(row.n, rows.MEMBERS, reference_set)
    return any(_is(system, row, code) for code in _listed(value))


def _all_in(system: StoredSystem, value: str) -> int:
    reference_set = _reference_set(system, value)
    if reference_set is not None:
        return system.set_of(rows.MEMBERS, reference_set)
    return system.numbers(_listed(value))


_ITSELF: Mapping[str, Special] = {
    "is-a": Special(_at_or_below, lambda system, value: system.below(value)),
    "descendent-of": Special(_below, _all_below),
    "is-not-a": Special(
        lambda system, row, value: not _at_or_below(system, row, value),
        lambda system, value: system.all & ~system.below(value),
    ),
    "child-of": Special(
        lambda system, row, value: system.key(value) in map(system.key, row.concept.parents),
        lambda system, value: system.set_of(rows.CHILDREN, system.key(value)),
    ),
    "descendent-leaf": Special(
        lambda system, row, value: row.is_leaf and _below(system, row, value),
        lambda system, value: system.leaves(_all_below(system, value)),
    ),
    "generalizes": Special(_at_or_above, lambda system, value: system.above(value)),
    "=": Special(_is, lambda system, value: system.numbers([value])),
    "in": Special(_is_in, _all_in),
    "not-in": Special(
        lambda system, row, value: not _is_in(system, row, value),
        lambda system, value: system.all & ~_all_in(system, value),
    ),
    "regex": Special(
        lambda system, row, value: bool(whole(value)(row.concept.code)),
        lambda system, value: system.spelled(whole(value), *bounds(value)),
    ),
}


def _constrained(system: StoredSystem, row: Row, value: str) -> bool:
    return ecl.contains(system, value, row.concept.code)


def _selected(system: StoredSystem, value: str) -> int:
    return system.calculated("ecl", value, lambda: ecl.members(system, value))


_ECL = Special(_constrained, _selected)
# `expressions` says whether post-coordinated codes belong to the set; those listed never are.
_EXPRESSIONS = Special(lambda system, row, value: True, lambda system, value: system.all)

_SPECIAL: Mapping[tuple[str, str], Special] = {
    **{(name, op): special for name in ("concept", "code") for op, special in _ITSELF.items()},
    ("constraint", "="): _ECL,
    ("expression", "="): _ECL,
    ("expressions", "="): _EXPRESSIONS,
}


# --- on values -------------------------------------------------------------------------------


def _equal(system: StoredSystem, name: str, value: str) -> int:
    return _exact(system, name, [value])


def _one_of(system: StoredSystem, name: str, value: str) -> int:
    return _exact(system, name, _listed(value))


def _none_of(system: StoredSystem, name: str, value: str) -> int:
    return system.all & ~_one_of(system, name, value)


def _exact(system: StoredSystem, name: str, wanted: Sequence[str]) -> int:
    found = 0
    for value in wanted:
        key = rows.value_key(value)
        some = system.set_of(system.properties[name], key)
        found |= some if key == value else _verified(system, some, name, value.__eq__)
    return found


def _fitting(system: StoredSystem, name: str, value: str) -> int:
    fits, number = whole(value), system.properties[name]
    found = system.valued(number, lambda held: not held.endswith(rows.CUT) and fits(held))
    cut = system.valued(number, lambda held: held.endswith(rows.CUT))
    return found | _verified(system, cut, name, fits)


def _existing(system: StoredSystem, name: str, value: str) -> int:
    having = system.set_of(rows.HAVING, name)
    return having if value == "true" else system.all & ~having


def _verified(system: StoredSystem, chosen: int, name: str, fits: Callable[[str], object]) -> int:
    """Return those of a set of which a whole value fits."""
    return system.of(
        n
        for n, _, body in system.bodies(chosen)
        if any(h.code == name and fits(rows.value_text(h.value)) for h in body.held)
    )


_BY_VALUE: Mapping[str, Callable[[StoredSystem, str, str], int]] = {
    "=": _equal,
    "in": _one_of,
    "not-in": _none_of,
    "regex": _fitting,
    "exists": _existing,
}
