"""Concepts as they come, turned into rows: a tree is chosen, numbers are given, sets are made.

What is kept in memory while concepts come is their encoded bodies and who is below whom: about
400 bytes a concept. The sets are made for 65,536 concepts at a time.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from app.errors import Invalid, Issue
from app.terminology import status
from app.terminology.stored import bits, rows, terms
from app.terminology.stored.hierarchy import Order, arrange, cycle
from app.terminology.stored.rows import Body, Facts, Held, concept_id, set_key
from app.terminology.types import Json

ConceptRow = tuple[int, int, str, str, int, bytes, bytes]
SetRow = tuple[int, str, int, bytes]

PINYIN = "pinyin"  # a property that is a name as well, as lists with their own spelling have it

_MOST_ISSUES = 100
_CHILDREN, _HAVING, _STATE = chr(rows.CHILDREN), chr(rows.HAVING), chr(rows.STATE)
_INACTIVE = _STATE + "inactive"

Where = Callable[[int], str]


def _nth(place: int) -> str:
    return f"concept {place}"


class Draft:
    """The concepts of one version, in the order they are to have among their siblings.

    where: says where in the input a place is ("icd.csv:17").
    """

    def __init__(self, header: Json, where: Where = _nth) -> None:
        self._declared = status.declared(header)
        self._where = where
        self._bodies: list[bytes] = []
        self._codes: list[str] = []
        self._places = array("Q")
        self._position: dict[str, int] = {}
        self._members: dict[str, Sequence[str]] = {}
        self._further: dict[str, list[tuple[str, bool]]] = {}
        self._issues: list[Issue] = []
        self.facts = Facts(folds=header.get("caseSensitive") is False)
        self._uses: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._codes)

    def __contains__(self, code: str) -> bool:
        return self._key(code) in self._position

    def _key(self, code: str) -> str:
        return code.casefold() if self.facts.folds else code

    def use(self, use: Json | None) -> int:
        """Return the number of a designation use."""
        if not use:
            return -1
        name = repr(sorted(use.items()))
        found = self._uses.get(name)
        if found is None:
            found = self._uses[name] = len(self.facts.uses)
            self.facts.uses.append(use)
        return found

    def problem(self, text: str, place: int, code: str = "value") -> None:
        """Note what is wrong at a place; `rows` raises it."""
        if len(self._issues) < _MOST_ISSUES:
            self._issues.append(Issue("error", code, text, self._where(place)))

    def add(self, code: str, body: Body, place: int) -> None:
        """Add a concept, whose parents may come later."""
        if not code or "\x00" in code:
            self.problem("a concept has no code, or one that cannot be", place, "required")
            return
        key = self._key(code)
        if key in self._position:
            self.problem("this code is there already", place, "duplicate")
            return
        self._position[key] = len(self._codes)
        self._codes.append(code)
        self._places.append(place)
        self._bodies.append(rows.encode_body(body))

    def add_parent(self, code: str, parent: str, *, only: bool = False) -> None:
        """Say that a concept is below another one as well, if both are there in the end.

        only: unless it has parents of its own.
        """
        self._further.setdefault(self._key(code), []).append((parent, only))

    def codes(self) -> Sequence[str]:
        """Return the codes added so far."""
        return self._codes

    def add_members(self, reference_set: str, codes: Sequence[str]) -> None:
        """Say which concepts a reference set has; unknown ones are left out."""
        self._members[reference_set] = codes

    def arranged(self) -> Rows:
        """Return what makes the rows. Raises Invalid with all that is wrong with the concepts."""
        self._take_further()
        parents = self._parents()
        for position in () if self._issues else cycle(parents):
            self.problem("this concept is below itself", self._places[position], "invariant")
        if self._issues:
            raise Invalid.of(self._issues)
        self.facts.size = len(self._codes)
        order = arrange(parents)
        members = {
            name: sorted(order.numbers[p] for p in map(self._position.get, codes) if p is not None)
            for name, codes in self._members.items()
        }
        return Rows(self.facts, self._declared, order, self._codes, self._bodies, members)

    def _take_further(self) -> None:
        """Write the further parents into the bodies."""
        for key, further in self._further.items():
            position = self._position.get(key)
            if position is None:
                continue
            body = rows.decode_body(self._bodies[position])
            known = {self._key(code) for code in body.parents}
            fresh = [
                code
                for code, only in further
                if code in self and self._key(code) not in known and not (only and known)
            ]
            parents = list(dict.fromkeys([*body.parents, *fresh]))
            self._bodies[position] = rows.encode_body(
                msgspec.structs.replace(body, parents=parents)
            )

    def _parents(self) -> list[tuple[int, ...]]:
        parents: list[tuple[int, ...]] = []
        shared: dict[tuple[int, ...], tuple[int, ...]] = {}
        for position, encoded in enumerate(self._bodies):
            above = []
            for code in rows.decode_body(encoded).parents:
                found = self._position.get(self._key(code))
                if found is None:
                    self.problem("the parent is no concept here", self._places[position])
                else:
                    above.append(found)
            one = tuple(above)
            parents.append(shared.setdefault(one, one))
        return parents


class Rows:
    """The rows of one version, in the order of their keys as far as they are in memory at once."""

    def __init__(
        self,
        facts: Facts,
        declared: status.Declared,
        order: Order,
        codes: list[str],
        bodies: list[bytes],
        members: dict[str, list[int]],
    ) -> None:
        self.facts = facts
        self._declared = declared
        self._order = order
        self._codes = codes
        self._bodies = bodies
        self._members = members

    def blocks(self, v: int) -> Iterator[tuple[list[ConceptRow], list[SetRow]]]:
        """Yield the rows of concepts and of sets, a block of concepts after the other."""
        for number in range((len(self._codes) + bits.BLOCK - 1) // bits.BLOCK):
            yield self._block(v, number)

    def _block(self, v: int, number: int) -> tuple[list[ConceptRow], list[SetRow]]:
        order, folds = self._order, self.facts.folds
        sets: dict[str, array[int]] = {}
        concepts: list[ConceptRow] = []
        first = number * bits.BLOCK
        for n in range(first, min(first + bits.BLOCK, len(self._codes))):
            position = order.positions[n]
            code, encoded = self._codes[position], self._bodies[position]
            spans = order.spans.get(n)
            key = code.casefold() if folds else code
            concepts.append(
                (
                    concept_id(v, n),
                    v,
                    key,
                    "" if key == code else code,
                    order.last[n],
                    rows.packed_spans(spans) if spans else b"",
                    encoded,
                )
            )
            place = n - first
            for one in self._sets(rows.decode_body(encoded)):
                members = sets.get(one)
                if members is None:
                    sets[one] = array("H", (place,))
                else:
                    members.append(place)
        for name, all_members in self._members.items():
            here = [n - first for n in all_members if n // bits.BLOCK == number]
            if here:
                sets[chr(rows.MEMBERS) + name] = array("H", here)
        listed = [
            (set_key(v, ord(one[0])), one[1:], number, bits.packed(sets[one]))
            for one in sorted(sets)
        ]
        return concepts, listed

    def _sets(self, body: Body) -> Iterable[str]:
        """Return the sets a concept is in: chr(number) and the value in one string each."""
        names = [d.value for d in body.designations]
        names += [str(held.value) for held in body.held if held.code == PINYIN]
        found = terms.terms([body.display, *names] if body.display else names)
        for parent in body.parents:
            found.add(_CHILDREN + (parent.casefold() if self.facts.folds else parent))
        for held in body.held:
            number = self._number(held.code, held.kind)
            found.add(chr(number) + rows.value_key(rows.value_text(held.value)))
            found.add(_HAVING + held.code)
            self._state(held, found)
        if not body.parents and _INACTIVE not in found:  # retired ones are above nothing
            found.add(_CHILDREN)
        return found

    def _number(self, code: str, kind: str) -> int:
        found = self.facts.properties.get(code)
        if found is None:
            found = rows.FIRST_PROPERTY + len(self.facts.properties)
            if found > rows.LAST_PROPERTY:
                raise Invalid("the concepts have too many different properties", code="too-long")
            self.facts.properties[code] = found
        kinds = self.facts.kinds.setdefault(code, [])
        if kind not in kinds:
            kinds.append(kind)
        return found

    def _state(self, held: Held, found: set[str]) -> None:
        names = self._declared.codes
        if held.value in (True, "true"):
            if held.code in names["inactive"]:
                found.add(_INACTIVE)
            if held.code in names["notSelectable"]:
                found.add(_STATE + "abstract")
        elif held.code in names["status"] and held.value in ("retired", "inactive"):
            found.add(_INACTIVE)
