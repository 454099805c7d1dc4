"""What an ECL expression selects: as a set of all, and for one concept alone.

Sets are integers with one bit a concept (`stored/bits.py`). A plain attribute is a union of sets
that the database has; counts and groups are looked at concept by concept, among those that can fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from operator import and_, eq, ge, gt, le, lt, ne, or_
from typing import Any, Protocol

from app.errors import Unprocessable
from app.terminology.ecl.parse import (
    Attribute,
    Compound,
    Concept,
    Condition,
    Conditions,
    Constraint,
    Dotted,
    Everything,
    Group,
    Node,
    Refined,
)


class Relation(Protocol):
    """An attribute of a concept with its value, in a role group (0: in none)."""

    @property
    def code(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def value(self) -> Any: ...
    @property
    def group(self) -> int: ...


class Concepts(Protocol):
    """What is asked of a system: sets of its concepts, and one concept at a time."""

    all: int

    def codes(self, chosen: int) -> Iterator[str]: ...
    def numbers(self, codes: Sequence[str]) -> int: ...
    def number(self, code: str) -> int | None: ...
    def is_a(self, code: str, ancestor: str) -> bool: ...
    def all_below(self, chosen: int) -> int: ...
    def children_of(self, chosen: int) -> int: ...
    def parents_of(self, chosen: int) -> int: ...
    def members_of(self, chosen: int) -> int: ...
    def attributes(self) -> Sequence[str]: ...
    def having(self, attribute: str) -> int: ...
    def with_value(self, attribute: str, codes: Sequence[str]) -> int: ...
    def with_value_in(self, attribute: str, wanted: int) -> int: ...
    def values(self, attribute: str) -> Iterable[tuple[int, int]]:
        """Yield each concept that is a value of an attribute, with the set of those it is for."""
        ...

    def concrete(self, attribute: str, fits: Any) -> int:
        """Return the concepts with a value, no concept itself, whose (kind, text) fits."""
        ...

    def relations(self, chosen: int) -> Iterator[tuple[int, Sequence[Relation]]]: ...


_FEW = 100  # values looked up one by one; more are compared with all there are
_COMPARE = {"=": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
_NUMBERS = frozenset(("decimal", "integer"))


class Evaluation:
    """One evaluation; what it has found of parts is remembered while it lasts."""

    def __init__(self, system: Concepts) -> None:
        self._system = system
        self._known: dict[Node, int] = {}
        self._fit: dict[tuple[Attribute, str, str], bool] = {}

    # --- all that are selected ---------------------------------------------------------------

    def members(self, node: Node) -> int:
        """Return the set that an expression selects."""
        found = self._known.get(node)
        if found is None:
            found = self._known[node] = self._members(node)
        return found

    def _members(self, node: Node) -> int:
        system = self._system
        match node:
            case Everything():
                return system.all
            case Concept(code):
                return system.numbers([code])
            case Constraint(operator, of):
                return _APPLY[operator](system, self.members(of))
            case Compound("MINUS", (first, second)):
                return self.members(first) & ~self.members(second)
            case Compound(operator, parts):
                return _joined(operator, map(self.members, parts))
            case Refined(focus, condition):
                chosen = self.members(focus)
                return self._satisfying(condition, chosen) if chosen else 0
            case Dotted(focus, name):
                return self._values_of(self.members(focus), name)

    def _values_of(self, sources: int, name: Node) -> int:
        values = (v for attribute in self._attributes(name) for v in self._system.values(attribute))
        return _union(n for n, having in values if having & sources)

    def _attributes(self, name: Node) -> Sequence[str]:
        """Return the attributes in use that an expression names."""
        if isinstance(name, Concept):
            return [name.code] if name.code in self._system.attributes() else []
        return [code for code in self._system.attributes() if self.has(name, code)]

    def _satisfying(self, condition: Condition, chosen: int) -> int:
        """Return those of a set for which a condition holds."""
        match condition:
            case Conditions("AND", parts):
                for part in parts:
                    chosen = self._satisfying(part, chosen) if chosen else 0
                return chosen
            case Conditions(_, parts):
                return _joined("OR", (self._satisfying(part, chosen) for part in parts))
            case Group(cardinality, inner):
                possible = chosen & self._possible(inner)
                found = _union(
                    n
                    for n, relations in self._system.relations(possible)
                    if cardinality.allows(self._groups(inner, relations))
                )
                return found | (chosen & ~possible if cardinality.allows(0) else 0)
            case Attribute(cardinality):
                having = chosen & self._having(condition)
                if cardinality.high is None and cardinality.low <= 1:
                    return having if cardinality.low else chosen
                none = chosen & ~having if cardinality.allows(0) else 0
                if cardinality.high == 0:
                    return none
                return none | _union(
                    n for n, count in self._counted(condition, having) if cardinality.allows(count)
                )

    def _possible(self, condition: Condition) -> int:
        """Return a set outside which no role group satisfies a condition."""
        match condition:
            case Conditions(operator, parts):
                return _joined(operator, map(self._possible, parts))
            case Attribute(cardinality, is_reversed):
                if is_reversed:
                    raise Unprocessable(
                        "ECL: a reversed attribute in a group is not supported",
                        code="not-supported",
                    )
                return self._having(condition) if cardinality.low else self._system.all
            case Group():
                raise Unprocessable("ECL: a group within a group has no meaning", code="invalid")

    def _having(self, attribute: Attribute) -> int:
        """Return the concepts with at least one such attribute and value."""
        return _joined("OR", (self._with(attribute, n) for n in self._attributes(attribute.name)))

    def _with(self, attribute: Attribute, name: str) -> int:
        system, value = self._system, attribute.value
        if isinstance(value, Decimal | str | bool):
            if attribute.is_reversed:
                raise Unprocessable(
                    "ECL: a reversed attribute has no concrete value", code="invalid"
                )
            return system.concrete(name, lambda kind, text: _fits(attribute, kind, text))
        wanted = self.members(value)
        if attribute.is_reversed:
            sources = wanted if attribute.comparison == "=" else system.all & ~wanted
            return _union(n for n, having in system.values(name) if having & sources)
        if attribute.comparison == "=":
            if isinstance(value, Everything):
                return system.having(name)
            if wanted.bit_count() <= _FEW:
                return system.with_value(name, list(system.codes(wanted)))
            return system.with_value_in(name, wanted)
        return system.with_value_in(name, system.all & ~wanted)

    def _counted(self, attribute: Attribute, having: int) -> Iterator[tuple[int, int]]:
        """Yield how many fitting attributes each concept of a set has."""
        if attribute.is_reversed:
            yield from self._counted_sources(attribute, having).items()
            return
        for n, relations in self._system.relations(having):
            yield n, sum(self._fits(attribute, relation) for relation in relations)

    def _counted_sources(self, attribute: Attribute, having: int) -> Counter[int]:
        assert not isinstance(attribute.value, Decimal | str | bool)
        wanted = self.members(attribute.value)
        sources = wanted if attribute.comparison == "=" else self._system.all & ~wanted
        counts: Counter[int] = Counter()
        for name in self._attributes(attribute.name):
            for n, of in self._system.values(name):
                if having >> n & 1:
                    counts[n] += (of & sources).bit_count()
        return counts

    def _groups(self, condition: Condition, relations: Sequence[Relation]) -> int:
        """Return how many role groups of a concept satisfy a condition."""
        groups: dict[int, list[Relation]] = {}
        for index, relation in enumerate(relations):
            # What is in no group is a group of its own.
            groups.setdefault(relation.group or -1 - index, []).append(relation)
        return sum(self._in_group(condition, group) for group in groups.values())

    def _in_group(self, condition: Condition, relations: Sequence[Relation]) -> bool:
        match condition:
            case Conditions(operator, parts):
                some = (self._in_group(part, relations) for part in parts)
                return all(some) if operator == "AND" else any(some)
            case Attribute(cardinality):
                return cardinality.allows(sum(self._fits(condition, one) for one in relations))
            case Group():
                return False

    def _fits(self, attribute: Attribute, relation: Relation) -> bool:
        key = (attribute, relation.code, str(relation.value))
        found = self._fit.get(key)
        if found is None:
            found = self._fit[key] = self._compare(attribute, relation)
        return found

    def _compare(self, attribute: Attribute, relation: Relation) -> bool:
        # Properties whose codes are no concepts (moduleId) are no attributes.
        if self._system.number(relation.code) is None or not self.has(
            attribute.name, relation.code
        ):
            return False
        value = attribute.value
        if isinstance(value, Decimal | str | bool):
            return _fits(attribute, relation.kind, _text(relation.value))
        if relation.kind != "code" or self._system.number(relation.value) is None:
            return False
        return self.has(value, relation.value) is (attribute.comparison == "=")

    # --- one concept -------------------------------------------------------------------------

    def has(self, node: Node, code: str) -> bool:
        """Whether an expression selects a code."""
        system = self._system
        match node:
            case Everything():
                return system.number(code) is not None
            case Concept(named):
                number = system.number(code)
                return number is not None and number == system.number(named)
            case Constraint("<<", Concept(named)):
                return system.is_a(code, named)
            case Constraint("<", Concept(named)):
                return system.is_a(code, named) and system.number(code) != system.number(named)
            case Constraint(">>", Concept(named)):
                return system.is_a(named, code)
            case Constraint(">", Concept(named)):
                return system.is_a(named, code) and system.number(code) != system.number(named)
            case Compound("MINUS", (first, second)):
                return self.has(first, code) and not self.has(second, code)
            case Compound(operator, parts):
                some = (self.has(part, code) for part in parts)
                return all(some) if operator == "AND" else any(some)
            case Refined(focus, condition):
                number = system.number(code)
                return (
                    number is not None
                    and self.has(focus, code)
                    and bool(self._satisfied(condition, number))
                )
            case _:
                number = system.number(code)
                return number is not None and bool(self.members(node) >> number & 1)

    def _satisfied(self, condition: Condition, number: int) -> bool:
        """Whether a condition holds for one concept."""
        match condition:
            case Conditions(operator, parts):
                some = (self._satisfied(part, number) for part in parts)
                return all(some) if operator == "AND" else any(some)
            case Group(cardinality, inner):
                self._possible(inner)  # refuses what has no meaning
                return cardinality.allows(self._groups(inner, self._relations(number)))
            case Attribute(cardinality, is_reversed):
                if is_reversed:
                    return bool(self._satisfying(condition, 1 << number))
                relations = self._relations(number)
                return cardinality.allows(sum(self._fits(condition, one) for one in relations))

    def _relations(self, number: int) -> Sequence[Relation]:
        return next((some for _, some in self._system.relations(1 << number)), ())


def _fits(attribute: Attribute, kind: str, text: str) -> bool:
    """Whether a concrete value compares as an attribute asks."""
    compare: Any = _COMPARE[attribute.comparison]
    wanted = attribute.value
    if isinstance(wanted, Decimal):
        if kind not in _NUMBERS:
            return False
        try:
            return bool(compare(Decimal(text), wanted))
        except InvalidOperation:
            return False
    if isinstance(wanted, bool):
        return kind == "boolean" and bool(compare(text, "true" if wanted else "false"))
    return kind == "string" and bool(compare(text, wanted))


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _joined(operator: str, sets: Iterable[int]) -> int:
    """Return the intersection or union of sets, of which there is at least one for AND."""
    join = and_ if operator == "AND" else or_
    found: int | None = None
    for one in sets:
        found = one if found is None else join(found, one)
    return found or 0


def _union(numbers: Iterable[int]) -> int:
    found = bytearray()
    for n in numbers:
        if n >> 3 >= len(found):
            found.extend(bytes((n >> 3) + 1 - len(found)))
        found[n >> 3] |= 1 << (n & 7)
    return int.from_bytes(found, "little")


def _ancestors(system: Concepts, chosen: int) -> int:
    found, level = 0, system.parents_of(chosen)
    while level:
        found |= level
        level = system.parents_of(level) & ~found
    return found


_APPLY: Mapping[str, Callable[[Concepts, int], int]] = {
    "<": lambda system, chosen: system.all_below(chosen),
    "<<": lambda system, chosen: chosen | system.all_below(chosen),
    "<!": lambda system, chosen: system.children_of(chosen),
    "<<!": lambda system, chosen: chosen | system.children_of(chosen),
    ">": _ancestors,
    ">>": lambda system, chosen: chosen | _ancestors(system, chosen),
    ">!": lambda system, chosen: system.parents_of(chosen),
    ">>!": lambda system, chosen: chosen | system.parents_of(chosen),
    "^": lambda system, chosen: system.members_of(chosen),
}
