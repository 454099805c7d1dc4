"""How the index entries of a form follow from its blanks.

Search values that two made-up messages have in common stand in the index as they are; of each that
differs it is found out what it is made of. (The proof is `learning.py`'s: filling in gives the very
entries that indexing the resources gives.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from app.errors import YilianError
from app.feeds.iot.shapes import is_digits
from app.feeds.iot.templates import Index, Template, Values
from app.feeds.statement import Statement
from app.fhir import dates, extract, primitives, searchparams
from app.fhir import json as fhir_json
from app.store import keys
from app.store.entries import Entries, local_reference
from app.store.prepare import Prepared, Preparer
from app.store.types import Change, Method

_is_datetime: Final = primitives.RULES["dateTime"]
_CONTENT: Final = (
    "d", "have", "keys", "refs", "urls", "pair", "strs", "qtys", "dts", "codes", "texts", "units",
    "idents", "links",
)  # fmt: skip
_LISTS: Final = _CONTENT[2:]
_SETTLED: Final = ("urls", "pair", "strs", "codes", "texts", "units", "idents", "links")


class NoForm(Exception):
    """What is said cannot be said by a form."""


def prepared_the_long_way(
    type_name: str, id_: str, body: bytes, preparer: Preparer
) -> Prepared | None:
    """Return it prepared; None when something is wrong: whoever applies it finds that again."""
    try:
        return preparer.prepare([Change(Method.UPDATE, type_name, id_, body)])[0]
    except YilianError:
        return None


def index_of(
    first: Statement, second: Statement, values: Values, preparer: Preparer
) -> Index | None:
    """Return how the index entries of a resource follow from its blanks; None if not simply."""
    full, other = entries_of(first, preparer), entries_of(second, preparer)
    if any(getattr(full, name) != getattr(other, name) for name in _SETTLED):
        return None
    always = Entries(d=full.d, have=full.have)
    for name in _LISTS:
        theirs = getattr(other, name)
        setattr(always, name, [row for row in getattr(full, name) if row in theirs])
    moving = _Moving(first.type, values, full, preparer)
    find = extract.extractor(first.type)
    one, two = (find(fhir_json.load(said.body), preparer.zone) for said in (first, second))
    for name in ("identifiers", "uris", "references", "dates", "quantities"):
        here, there = getattr(one, name), getattr(two, name)
        if len(here) != len(there):
            return None
        for row, its in zip(here, there, strict=True):
            if row != its and not getattr(moving, name)(*row):
                return None
    return Index(
        always,
        tuple(moving.hashed),
        tuple(moving.refs),
        tuple(moving.dts),
        tuple(moving.qtys),
    )


def entries_of(said: Statement, preparer: Preparer) -> Entries:
    """Return the index entries of a resource. Raises NoForm for one that is not stored as it is."""
    prepared = prepared_the_long_way(said.type, said.id, said.body, preparer)
    if prepared is None or prepared.entries is None or prepared.body != said.body:
        raise NoForm
    return prepared.entries


class _Moving:
    """Search values that differ from message to message: what they come from.

    The methods are named after the lists of `extract.Values` and get their rows; they say whether
    the row follows simply.
    """

    def __init__(self, type_name: str, values: Values, full: Entries, preparer: Preparer) -> None:
        self._values = values
        self._full = full
        self._tenant = preparer.tenant
        self._zone = preparer.zone
        primary = searchparams.primary_date(type_name)
        self._primary = primary.number if primary else None
        self.hashed: list[tuple[Callable[[str], int], Template]] = []
        self.refs: list[tuple[int, str, Template]] = []
        self.dts: list[tuple[int, int, bool]] = []
        self.qtys: list[tuple[int, int, int]] = []

    def identifiers(
        self, p: int, system: str | None, value: str, _: str | None, code: str | None
    ) -> bool:
        key = keys.identifiers(self._tenant, p, system)
        self.hashed.append((key, Template.of(value, self._values)))
        return code is None

    def uris(self, p: int, uri: str) -> bool:
        self.hashed.append((keys.uris(self._tenant, p), Template.of(uri, self._values)))
        return True

    def references(self, p: int, text: str, _: str | None) -> bool:
        local = local_reference(text)
        if local is not None:
            self.refs.append((p, local[0], Template.of(local[1], self._values)))
        return local is not None

    def dates(self, p: int, low: int, high: int) -> bool:
        place = self._place(
            lambda text: _is_datetime(text) and dates.bounds(text, self._zone) == (low, high)
        )
        if place is None:
            return False
        self.dts.append((self._tenant << 32 | p, place, p == self._primary))
        return True

    def quantities(self, p: int, *row: Any) -> bool:
        number = row[-1]
        place = self._place(lambda text: bool(is_digits(text)) and float(text) == number)
        scoped = self._tenant << 32 | p
        units = {u for q, u, low, high in self._full.qtys if (q, low, high) == (scoped, *row[-2:])}
        if place is None or len(units) != 1 or row[-2] != number:
            return False
        self.qtys.append((scoped, units.pop(), place))
        return True

    def _place(self, holds: Callable[[str], bool]) -> int | None:
        return next((n for n, text in enumerate(self._values) if holds(text)), None)


def content_of(entries: Entries) -> list[Any]:
    """Return index entries so that they can be compared: their rows in any order."""
    return [
        set(value) if isinstance(value := getattr(entries, name), list) else value
        for name in _CONTENT
    ]
