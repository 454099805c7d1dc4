"""One version of a stored code system, as a `System`.

One code is found by its key, and membership is decided by look-ups: the interval labels of an
ancestor, the block of a set. A selection is calculated with sets (`bits.py`), of which each is one
indexed statement. What was found is kept, a few thousand concepts and some sets; a version never
changes, a new load is another one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from app.store.store import Store
from app.terminology import status
from app.terminology.regex import LAST
from app.terminology.stored import bits, filtering, rows, terms
from app.terminology.stored.rows import Body, Facts, Held, concept_id, set_key
from app.terminology.types import Concept, Filter, Json, Selection

T = TypeVar("T")

_CONCEPTS_KEPT = 8192
_SETS_KEPT_BYTES = 16 << 20
_AT_ONCE = 500  # codes fetched together
_AT_FIRST = 32  # a page is often all that is wanted
_FEW = 200  # keys asked for one by one; more are a scan of the range
_ROW = "id,key,code,last,spans,body"
_CODE_PREFIX = 3  # shortest beginning of a code that a text filter may be


class Row(NamedTuple):
    """A concept with its place: those below it are n + 1 ... last and those of `spans`."""

    n: int
    last: int
    spans: bytes
    body: Body
    concept: Concept

    def has_below(self, n: int) -> bool:
        """Whether the concept of that number is this one or below it."""
        if self.n <= n <= self.last:
            return True
        spans = rows.unpacked_spans(self.spans)
        low, high = 0, len(spans) // 2
        while low < high:  # the first interval that ends at n or later
            middle = (low + high) >> 1
            if spans[2 * middle + 1] < n:
                low = middle + 1
            else:
                high = middle
        return 2 * low < len(spans) and spans[2 * low] <= n

    @property
    def is_leaf(self) -> bool:
        return self.last == self.n and not self.spans


class Kept(Generic[T]):
    """What was found last, up to a weight. Safe to use from many threads."""

    def __init__(self, most: int, weight: Callable[[T], int]) -> None:
        self._most = most
        self._weight = weight
        self._held: OrderedDict[Hashable, T] = OrderedDict()
        self._total = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, find: Callable[[], T]) -> T:
        """Return what is kept under a key, or find and keep it."""
        try:
            return self._held[key]  # not moved to the end: first in, first out is good enough here
        except KeyError:
            pass
        found = find()
        with self._lock:
            if key not in self._held:
                self._held[key] = found
                self._total += self._weight(found)
                while self._total > self._most:
                    _, oldest = self._held.popitem(last=False)
                    self._total -= self._weight(oldest)
        return found


class StoredSystem:
    """One version. Safe to use from many threads."""

    closed = True

    def __init__(self, store: Store, v: int, header: Json, facts: Facts) -> None:
        self.header = header
        self.v = v
        self._store = store
        self._facts = facts
        self.declared = status.declared(header)
        self._rows: Kept[Row | None] = Kept(_CONCEPTS_KEPT, lambda row: 1)
        self._sets: Kept[int] = Kept(_SETS_KEPT_BYTES, lambda found: 64 + found.bit_length() // 8)
        self.all: int = (1 << facts.size) - 1

    # --- one code ------------------------------------------------------------------------------

    def find(self, code: str) -> Concept | None:
        """Return the concept of a code as spelled, or of another case where case does not count."""
        row = self.row(code)
        return None if row is None else row.concept

    def row(self, code: str) -> Row | None:
        """Return the concept of a code with its place."""
        return self._rows.get(code, lambda: self._read(code))

    def _read(self, code: str) -> Row | None:
        key = self.key(code)
        found = self._store.ask(
            lambda db: db.one(f"SELECT {_ROW} FROM cs_concept WHERE v=? AND key=?", (self.v, key))
        )
        return None if found is None else self._made(*found)

    def _made(
        self, id_: int, key: str, spelled: str, last: int, spans: bytes, encoded: bytes
    ) -> Row:
        body = rows.decode_body(encoded)
        concept = rows.concept(spelled or key, body, self._facts)
        return Row(id_ & 0xFFFFFFFF, last, spans, body, concept)

    def key(self, code: str) -> str:
        """Return a code as it is looked up."""
        plain = code.replace("\x00", "")
        return plain.casefold() if self._facts.folds else plain

    def is_a(self, code: str, ancestor: str) -> bool:
        """Whether `code` is `ancestor` or below it; two look-ups, however deep."""
        below, above = self.row(code), self.row(ancestor)
        return below is not None and above is not None and above.has_below(below.n)

    def matches(self, code: str, filters: Sequence[Filter]) -> bool:
        """Whether one known code satisfies all filters, without expanding them."""
        row = self.row(code)
        return row is not None and all(filtering.meets(self, row, one) for one in filters)

    def is_member(self, n: int, number: int, value: str) -> bool:
        """Whether a concept is in a set: one look-up of its block."""
        found = self._store.ask(
            lambda db: db.one(
                "SELECT bits FROM cs_set WHERE p=? AND value=? AND block=?",
                (set_key(self.v, number), value, n >> 16),
            )
        )
        return found is not None and bits.holds(found[0], n & 0xFFFF)

    # --- lists -----------------------------------------------------------------------------------

    def children(self, code: str | None) -> Sequence[str]:
        """Return the codes directly below one (of the roots for None), in the system's order."""
        return list(self.codes(self.set_of(rows.CHILDREN, "" if code is None else self.key(code))))

    def select(self, wanted: Selection) -> Iterator[str]:
        """Yield the codes that are wanted in the system's order (depth first), lazily."""
        return self._listed(self.selected(wanted))

    def page(self, wanted: Selection, offset: int, count: int) -> Iterator[str]:
        """Yield some of what `select` would yield, without the codes before them."""
        return islice(self._listed(bits.after(self.selected(wanted), offset)), count)

    def _listed(self, chosen: int) -> Iterator[str]:
        """Yield the codes of a set, each with its concept at hand for who asks for it next."""
        for found in self._all(chosen, _ROW):
            code = found[2] or found[1]
            self._rows.get(code, partial(self._made, *found))
            yield code

    def count(self, wanted: Selection) -> int:
        """Return how many `select` would yield."""
        return self.selected(wanted).bit_count()

    def selected(self, wanted: Selection) -> int:
        """Return what is wanted as a set."""
        found = self.all
        for one in wanted.filters:
            found &= filtering.members(self, one)
        if wanted.text:
            found &= self.named(wanted.text)
        if wanted.active_only:
            found &= ~self.set_of(rows.STATE, "inactive")
        return found

    def codes(self, chosen: int) -> Iterator[str]:
        """Yield the codes of a set, ascending."""
        return (code or key for code, key in self._all(chosen, "code,key"))

    def bodies(self, chosen: int) -> Iterator[tuple[int, str, Body]]:
        """Yield number, code and body of each concept of a set, ascending."""
        for id_, code, key, encoded in self._all(chosen, "id,code,key,body"):
            yield id_ & 0xFFFFFFFF, code or key, rows.decode_body(encoded)

    def leaves(self, chosen: int) -> int:
        """Return those of a set that have nothing below them."""
        return self.of(
            id_ & 0xFFFFFFFF
            for id_, last, spans in self._all(chosen, "id,last,spans")
            if last == id_ & 0xFFFFFFFF and not spans
        )

    def spelled(self, fits: Callable[[str], object], low: str, high: str) -> int:
        """Return the concepts whose code fits: a scan of the codes from `low` to `high`."""
        if self._facts.folds:  # the keys are not in the order of the codes
            low, high = "", LAST
        found = self._store.ask(
            lambda db: db.all(
                "SELECT id,key,code FROM cs_concept WHERE v=? AND key BETWEEN ? AND ?",
                (self.v, low, high),
            )
        )
        return self.of(id_ & 0xFFFFFFFF for id_, key, code in found if fits(code or key))

    def scanned(self, test: Callable[[Concept], bool]) -> int:
        """Return the concepts that pass a test: each is looked at."""
        return self.of(
            n
            for n, code, body in self.bodies(self.all)
            if test(rows.concept(code, body, self._facts))
        )

    def of(self, numbers: Iterable[int]) -> int:
        """Return the set of some concepts."""
        return bits.of(numbers, self._facts.size)

    def _all(self, chosen: int, columns: str) -> Iterator[tuple[Any, ...]]:
        """Yield columns of the concepts of a set, ascending."""
        numbers, size = bits.members(chosen), _AT_FIRST
        while some := [concept_id(self.v, n) for n in islice(numbers, size)]:
            yield from self._rows_of(some, columns)
            size = min(2 * size, _AT_ONCE)

    def _rows_of(self, ids: Sequence[int], columns: str) -> list[tuple[Any, ...]]:
        first, last = ids[0], ids[-1]
        select = f"SELECT {columns} FROM cs_concept"
        if last - first == len(ids) - 1:
            return self._store.ask(
                lambda db: db.all(f"{select} WHERE id BETWEEN ? AND ? ORDER BY id", (first, last))
            )
        return self._store.ask(
            lambda db: db.all(f"{select} WHERE {db.in_list('id')} ORDER BY id", (db.array(ids),))
        )

    def reference_sets(self) -> Sequence[str]:
        """Return the codes of the reference sets that have members."""
        found = self._store.ask(
            lambda db: db.all(
                "SELECT DISTINCT value FROM cs_set WHERE p=? ORDER BY value",
                (set_key(self.v, rows.MEMBERS),),
            )
        )
        return [value for (value,) in found]

    # --- for ECL (`ecl.Concepts`) ----------------------------------------------------------------

    def number(self, code: str) -> int | None:
        """Return the number of a concept."""
        row = self.row(code)
        return None if row is None else row.n

    def all_below(self, chosen: int) -> int:
        """Return what is below any concept of a set."""
        found = 0
        for id_, last, spans in self._all(chosen, "id,last,spans"):
            n = id_ & 0xFFFFFFFF
            if last > n or spans:
                found |= bits.span(n + 1, last) | _joined(spans)
        return found

    def children_of(self, chosen: int) -> int:
        """Return what is right below any concept of a set."""
        return self._with_keys(rows.CHILDREN, [self.key(code) for code in self.codes(chosen)])

    def parents_of(self, chosen: int) -> int:
        """Return what is right above any concept of a set."""
        codes = {code for _, _, body in self.bodies(chosen) for code in body.parents}
        return self.numbers(sorted(codes))

    def members_of(self, chosen: int) -> int:
        """Return the members of all reference sets of a set."""
        if chosen == self.all:
            return self.beginning(rows.MEMBERS, "")
        return self._with_keys(rows.MEMBERS, list(self.codes(chosen)))

    def attributes(self) -> Sequence[str]:
        """Return the properties that are concepts themselves."""
        return self._attributes

    @cached_property
    def _attributes(self) -> Sequence[str]:
        return [code for code in self.properties if self.row(code) is not None]

    def having(self, attribute: str) -> int:
        """Return the concepts with an attribute, whatever its value."""
        return self.set_of(rows.HAVING, attribute)

    def with_value(self, attribute: str, codes: Sequence[str]) -> int:
        """Return the concepts with one of some values."""
        return self._with_keys(self.properties[attribute], codes)

    def _with_keys(self, number: int, keys: Sequence[str]) -> int:
        found = 0
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            found |= bits.union(self._some_sets(number, some))
        return found

    def _some_sets(self, number: int, keys: Sequence[str]) -> list[tuple[int, bytes]]:
        return self._store.ask(
            lambda db: db.all(
                f"SELECT block,bits FROM cs_set WHERE p=? AND {db.in_list('value')}",
                (set_key(self.v, number), db.array(keys)),
            )
        )

    def with_value_in(self, attribute: str, wanted: int) -> int:
        """Return the concepts of which a value, itself a concept, is in a set."""
        found = self._values(attribute)
        return bits.union(
            [(block, part) for id_, block, part in found if wanted >> (id_ & 0xFFFFFFFF) & 1]
        )

    def values(self, attribute: str) -> Iterator[tuple[int, int]]:
        """Yield each concept that is a value of an attribute, with a part of those it is for."""
        for id_, block, part in self._values(attribute):
            yield id_ & 0xFFFFFFFF, bits.union([(block, part)])

    def _values(self, attribute: str) -> list[tuple[int, int, bytes]]:
        if "code" not in self._facts.kinds.get(attribute, ()):
            return []
        return self._store.ask(
            lambda db: db.all(
                "SELECT c.id,s.block,s.bits FROM cs_set s JOIN cs_concept c ON c.v=? AND"
                " c.key=s.value WHERE s.p=?",
                (self.v, set_key(self.v, self.properties[attribute])),
            )
        )

    def concrete(self, attribute: str, fits: Callable[[str, str], bool]) -> int:
        """Return the concepts with a value, no concept itself, whose (kind, text) fits."""
        kinds = [kind for kind in self._facts.kinds.get(attribute, ()) if kind != "code"]
        number = self.properties[attribute]
        found = self.valued(number, lambda text: any(fits(kind, text) for kind in kinds))
        if self._facts.kinds.get(attribute, []) == kinds and len(kinds) <= 1:
            return found
        return self.of(
            n
            for n, _, body in self.bodies(found)
            if any(
                h.code == attribute and fits(h.kind, rows.value_text(h.value)) for h in body.held
            )
        )

    def relations(self, chosen: int) -> Iterator[tuple[int, Sequence[Held]]]:
        """Yield the properties of each concept of a set."""
        for n, _, body in self.bodies(chosen):
            yield n, body.held

    # --- sets ------------------------------------------------------------------------------------

    def set_of(self, number: int, value: str) -> int:
        """Return the concepts of one set."""
        return self._sets.get((number, value), lambda: self._read_set(number, value))

    def _read_set(self, number: int, value: str) -> int:
        found = self._store.ask(
            lambda db: db.all(
                "SELECT block,bits FROM cs_set WHERE p=? AND value=?",
                (set_key(self.v, number), value),
            )
        )
        return bits.union(found)

    def beginning(self, number: int, start: str) -> int:
        """Return the concepts of all sets whose value begins so."""
        return self._sets.get((number, start, "*"), lambda: self._read_beginning(number, start))

    def _read_beginning(self, number: int, start: str) -> int:
        found = self._store.ask(
            lambda db: db.all(
                "SELECT block,bits FROM cs_set WHERE p=? AND value>=? AND value<?",
                (set_key(self.v, number), start, start + "\U0010ffff"),
            )
        )
        return bits.union(found)

    def valued(self, number: int, fits: Callable[[str], object]) -> int:
        """Return the concepts of all sets whose value fits: a scan of the values there are."""
        found = self._store.ask(
            lambda db: db.all(
                "SELECT block,bits,value FROM cs_set WHERE p=?", (set_key(self.v, number),)
            )
        )
        return bits.union([(block, part) for block, part, value in found if fits(value)])

    def below(self, code: str) -> int:
        """Return the concept of a code and all below it; nothing for an unknown code."""
        row = self.row(code)
        if row is None:
            return 0
        return bits.span(row.n, row.last) | _joined(row.spans)

    def above(self, code: str) -> int:
        """Return the concept of a code and all above it, level by level."""
        row = self.row(code)
        if row is None:
            return 0
        found, waiting = {row.n}, list(row.concept.parents)
        while waiting:
            level = [one for one in map(self.row, dict.fromkeys(waiting)) if one is not None]
            fresh = [one for one in level if one.n not in found]
            found.update(one.n for one in fresh)
            waiting = [parent for one in fresh for parent in one.concept.parents]
        return self.of(found)

    def numbers(self, codes: Sequence[str]) -> int:
        """Return the concepts of some codes; unknown ones are left out."""
        if len(codes) == 1:
            row = self.row(codes[0])
            return 0 if row is None else 1 << row.n
        found: list[int] = []
        for start in range(0, len(codes), _AT_ONCE):
            some = [self.key(code) for code in codes[start : start + _AT_ONCE]]
            found += self._numbers(some)
        return self.of(found)

    def _numbers(self, keys: Sequence[str]) -> list[int]:
        found = self._store.ask(
            lambda db: db.all(
                f"SELECT id FROM cs_concept WHERE v=? AND {db.in_list('key')}",
                (self.v, db.array(keys)),
            )
        )
        return [id_ & 0xFFFFFFFF for (id_,) in found]

    @property
    def properties(self) -> Mapping[str, int]:
        """Return the properties that concepts have: code -> number of its sets."""
        return self._facts.properties

    def calculated(self, name: str, text: str, calculate: Callable[[], int]) -> int:
        """Return the set that a text stands for, calculated once as long as it is kept."""
        return self._sets.get((name, text), calculate)

    def named(self, text: str) -> int:
        """Return the concepts whose names have all words of a text, or whose code begins so."""
        return self.calculated("named", text, lambda: self._named(text))

    def _named(self, text: str) -> int:
        words = terms.asked(text)
        found = self.all if words else 0
        for word in words:
            met = 0
            for reading in word:
                part = self.all
                for term in reading:
                    look = self.beginning if term.is_beginning else self.set_of
                    part &= look(term.kind, term.text)
                met |= part
            found &= met
        return found | self._coded(text.strip())

    def _coded(self, text: str) -> int:
        """Return the concepts whose code begins with a text."""
        if len(text) < _CODE_PREFIX:
            return self.numbers([text]) if text else 0
        starts = {self.key(one) for one in (text, text.upper(), text.lower())}
        return self.of(n for start in starts for n in self._beginning_code(start))

    def _beginning_code(self, start: str) -> list[int]:
        found = self._store.ask(
            lambda db: db.all(
                "SELECT id FROM cs_concept WHERE v=? AND key>=? AND key<?",
                (self.v, start, start + "\U0010ffff"),
            )
        )
        return [id_ & 0xFFFFFFFF for (id_,) in found]


def _joined(stored: bytes) -> int:
    """Return the concepts of stored spans."""
    return bits.spans(rows.unpacked_spans(stored))
