"""Search values of a resource taken together from those of its members.

What a resource can be found by is nearly always said member by member: the rows of `category` do
not depend on `subject`. Members whose values serve one parameter belong together (`effectivePeriod`
and `effectiveDateTime`); of all others the values can be found, and remembered, each for itself
(`app/store/members.py`). What depends on several members is their presence only: composites whose
parts lie in different members, and aliases; that is worked out last (`Shares.present`).

Types of which a parameter needs the resource as a whole have no shares: an expression that is no
walk, a walk that starts again at the resource.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

from app.fhir.extract import Resource, Walk, Writer, walk_of, walk_of_composite
from app.fhir.searchparams import Param, always_present, shared
from app.fhir.searchpaths import Get, Holds, Step

_MOST_REMEMBERED = 4096

Steps = tuple[Step, ...]
# Hands the values found in a resource to methods that are named after the lists of `Values`, and
# returns the presence of parameters and which parts of composites have a value (bits).
FindsValues = Callable[[Resource, tzinfo, Any], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Share:
    """The search values of members that belong together.

    names: the members. always: whether there are values also when none of them is there. extract:
    looks at a resource of these members alone.
    """

    names: frozenset[str]
    always: bool
    extract: FindsValues


@dataclass(frozen=True, slots=True)
class Shares:
    """The shares of one resource type, and what follows from all of them together."""

    generation: int
    list: tuple[Share, ...]
    _always: int
    _composites: tuple[tuple[int, int], ...]  # bits of the parts, mask of the parameter
    _derived: tuple[tuple[int, bool, int], ...]  # mask, whether all of it is needed, mask
    _known: dict[tuple[int, int], int] = field(default_factory=dict)

    def present(self, present: int, parts: int) -> int:
        """Return `Values.present` of the resource.

        present: that of its shares together; parts: the bits of parts of composites.
        """
        found = self._known.get((present, parts))
        if found is None:
            found = present | self._always
            for needed, mask in self._composites:
                if parts & needed == needed:
                    found |= mask
            for needed, whole, mask in self._derived:
                if found & needed and (not whole or found & needed == needed):
                    found |= mask
            if len(self._known) < _MOST_REMEMBERED:
                self._known[present, parts] = found
        return found


def no_values(resource: Resource, zone: tzinfo, to: Any) -> tuple[int, int]:
    """Find nothing, in members that no parameter is about."""
    return 0, 0


_shares: dict[str, tuple[int, Shares | None]] = {}


def shares(resource_type: str) -> Shares | None:
    """Return the shares of a type for the shared parameters as they are now; None: it has none."""
    known = _shares.get(resource_type)
    if known is None or known[0] != shared.generation:
        generation = shared.generation
        known = _shares[resource_type] = generation, _made(resource_type, generation)
    return known[1]


class _Whole(Exception):
    """A parameter needs the resource as a whole."""


def _made(resource_type: str, generation: int) -> Shares | None:
    params = shared.indexed(resource_type).values()
    try:
        return _divided(resource_type, list(params), generation)
    except _Whole:
        return None


def _divided(resource_type: str, params: list[Param], generation: int) -> Shares:
    if any(param.evaluated is not None for param in params):
        raise _Whole
    root = walk_of(params)
    if root.leaves or root.marks or any(param.bit is None for param, _ in root.roots):
        raise _Whole
    composites = [walk_of_composite(param, where) for param, where in root.roots]
    if any(walk.leaves for walk in composites):
        raise _Whole
    bits = _Bits()
    composed = tuple(
        (sum(bits.of(number, sink) for sink in range(len(param.components))), param.mask)
        for number, (param, _) in enumerate(root.roots)
    )
    groups = _groups(params, [root, *composites])
    made = tuple(_share(resource_type, names, root, composites, bits) for names in groups)
    return Shares(generation, made, always_present(resource_type), composed, _derivations(params))


class _Bits:
    """A bit for each part of each composite."""

    def __init__(self) -> None:
        self._bits: dict[tuple[int, int], int] = {}

    def of(self, composite: int, sink: int) -> int:
        return self._bits.setdefault((composite, sink), 1 << len(self._bits))


def _derivations(params: Iterable[Param]) -> tuple[tuple[int, bool, int], ...]:
    """Return what `Writer` derives the presence of aliases from, in its order."""
    return tuple(
        (sum({one.mask for one in param.union or param.parts}), not param.union, param.mask)
        for param in sorted(params, key=lambda param: bool(param.union))
        if param.union or param.parts
    )


def _first(steps: Steps) -> frozenset[str]:
    """Return the members of the resource that a step leads to. Raises _Whole."""
    match steps[-1]:
        case Get(name, _):
            return frozenset((name,))
        case Holds(names):
            return frozenset(names)
    raise _Whole


def _groups(params: Iterable[Param], walks: Iterable[Walk]) -> list[frozenset[str]]:
    """Return the members that belong together: a parameter takes values from all of them."""
    together = [_first(steps) for walk in walks for steps in walk.steps]
    for param in params:
        if not (param.computed or param.union or param.parts or param.narrows):
            walk = walk_of([param])
            together.append(frozenset().union(*map(_first, walk.steps)))
    groups: list[frozenset[str]] = []
    for names in filter(None, together):
        apart = [group for group in groups if group.isdisjoint(names)]
        joined = [group for group in groups if not group.isdisjoint(names)]
        groups = [*apart, names.union(*joined)]
    return groups


def _share(
    resource_type: str,
    names: frozenset[str],
    root: Walk,
    composites: Iterable[Walk],
    bits: _Bits,
) -> Share:
    writer = Writer()
    writer.add(0, "def extract(r, zone, to):")
    head = len(writer.lines)
    writer.add(1, "present = parts = 0")
    always = False
    for steps, place in root.steps.items():
        if _first(steps) <= names:
            always = always or isinstance(steps[-1], Holds)
            writer.step(steps, place, "r", 1)
    for number, walk in enumerate(composites):
        _parts(writer, number, walk, names, bits)
    writer.end_handing_over(head, "present, parts")
    if writer.from_resource:
        raise _Whole
    extract: Any = writer.compiled(f"<search values of {resource_type}.{'/'.join(sorted(names))}>")
    return Share(names, always, extract)


def _parts(writer: Writer, number: int, walk: Walk, names: frozenset[str], bits: _Bits) -> None:
    """Write which parts of a composite have a value in these members."""
    here = {steps: place for steps, place in walk.steps.items() if _first(steps) <= names}
    sinks = sorted({sink for place in here.values() for sink in _sinks(place)})
    for sink in sinks:
        writer.add(1, f"l{sink} = []")
    for steps, place in here.items():
        writer.step(steps, place, "r", 1)
    for sink in sinks:
        writer.add(1, f"if l{sink}: parts |= {bits.of(number, sink)}")


def _sinks(place: Walk) -> set[int]:
    found = {leaf.sink for leaf in place.leaves if leaf.sink is not None}
    return found.union(*map(_sinks, place.steps.values()))
