"""What the messages of one shape become: resources and index entries with blanks.

Filling a form in needs no mapping, no parser and no check: all of that was done when it was learnt
(`learning.py`), and what can differ since cannot be wrong (`shapes.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from decimal import Decimal
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

import msgspec

from app.errors import Issue
from app.feeds.iot.shapes import Blanks
from app.feeds.iot.vocabulary import Concept, Vocabulary
from app.fhir import dates
from app.store.entries import Entries, default_length
from app.store.prepare import Prepared, pack_words
from app.store.types import Method

Values = list[str]  # what is filled in: facts of the message, its blanks, ids of its resources
UNUSED: Final = ""
_LONGEST_NUMBER: Final = 17
_REMEMBERED: Final = 4096
_NUMBERS: Final = 256  # that are remembered of one measure


class Template:
    """Text with blanks, of which each is one of the values."""

    __slots__ = ("fill", "places")

    def __init__(self, pieces: Sequence[str], places: Sequence[int]) -> None:
        """pieces: the text between the blanks, one more than there are places."""
        self.places = tuple(places)
        self.fill: Callable[[Values], str]
        if not places:
            text = pieces[0]
            self.fill = lambda values: text
            return
        form = "%s".join(piece.replace("%", "%%") for piece in pieces)
        pick: Callable[[Values], Any] = itemgetter(*places)
        self.fill = lambda values: form % pick(values)

    @classmethod
    def of(cls, text: str, values: Values) -> Template:
        """Return the text with a blank wherever one of the values stands."""
        place = {value: n for n, value in enumerate(values)}
        known = sorted((value for value in place if value), key=len, reverse=True)
        pieces = re.split("(" + "|".join(map(re.escape, known)) + ")", text)
        return cls(pieces[::2], [place[piece] for piece in pieces[1::2]])


class Variable(msgspec.Struct, array_like=True, gc=False):
    """The index entries that differ from message to message, as `Entries` has them."""

    d: int
    keys: list[int]
    refs: list[tuple[int, str, str]]
    qtys: list[tuple[int, int, float, float]]
    dts: list[tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Index:
    """The index entries of a resource: what they always are, and how the others are found.

    hashed: what makes a key of a text. references: parameter, type, id. dates: parameter, place of
    the text, whether it is the resource's primary one. quantities: parameter, unit, place.
    kept, words: `always` as it is handed over, its dictionary rows in one piece.
    """

    always: Entries
    hashed: tuple[tuple[Callable[[str], int], Template], ...]
    references: tuple[tuple[int, str, Template], ...]
    dates: tuple[tuple[int, int, bool], ...]
    quantities: tuple[tuple[int, int, int], ...]
    kept: Entries = field(init=False, compare=False)
    words: bytes = field(init=False, compare=False)

    def __post_init__(self) -> None:
        apart = Prepared(
            Method.UPDATE, "", None, None, (), False, False, None, None,
            entries=msgspec.structs.replace(self.always),
        )  # fmt: skip
        pack_words(apart)
        object.__setattr__(self, "kept", apart.entries)
        object.__setattr__(self, "words", apart.words)

    def fill(self, values: Values, zone: tzinfo) -> Variable:
        d = self.always.d
        dts = []
        for p, place, primary in self.dates:
            low, high = _bounds(values[place], zone)
            fine = high - low == default_length(low)
            if primary:
                d = 2 * low + (not fine)
            if not primary or not fine:
                dts.append((p, low, high))
        return Variable(
            d,
            [key(text.fill(values)) for key, text in self.hashed],
            [(p, name, id_.fill(values)) for p, name, id_ in self.references],
            [(p, u, x, x) for p, u, n in self.quantities for x in (float(values[n]),)],
            dts,
        )


_bounds = lru_cache(maxsize=_REMEMBERED)(dates.bounds)


def joined(always: Entries, more: Variable) -> Entries:
    """Return all index entries of a resource; the lists that never differ are shared."""
    return Entries(
        more.d,
        always.have,
        always.keys + more.keys,
        always.refs + more.refs,
        always.urls,
        always.pair,
        always.strs,
        always.qtys + more.qtys,
        always.dts + more.dts,
        always.codes,
        always.texts,
        always.units,
        always.idents,
        always.links,
    )


@dataclass(frozen=True, slots=True)
class Part:
    """One resource of a form.

    system, name: of its key, the name is `system|value`. index: None where the entries are worked
    out from the body: for mentions, of which there are few, and what is not simple. front: of the
    body (`fhir.json.front`), whose ids are all of one length.
    """

    type: str
    mention: bool
    system: str
    name: Template
    body: Template
    source: Template | None
    index: Index | None
    front: int


@dataclass(frozen=True, slots=True)
class Measure:
    """How a number is measured: its unit as sent, and what it is a measure of.

    known: what numbers became lately; None: no number to be filled in.
    """

    unit: str | None
    concept: Concept
    known: dict[str, str | None] = field(default_factory=dict, compare=False)

    def text(self, number: str, vocabulary: Vocabulary) -> str | None:
        """Return a number of a message as the resource has it."""
        try:
            return self.known[number]
        except KeyError:
            pass
        value = vocabulary.measured(value_of(number), self.unit, self.concept).value
        text = str(value) if type(value) is Decimal else None
        if text is not None and len(text) > _LONGEST_NUMBER:
            text = None
        if len(self.known) >= _NUMBERS:
            self.known.clear()
        self.known[number] = text
        return text


def value_of(number: str) -> int | Decimal | str:
    """Return a number of `Blanks` as the mapping would see it."""
    if number.startswith('"'):
        return number[1:]
    return int(number) if number.lstrip("-").isdigit() else Decimal(number)


@dataclass(frozen=True, slots=True)
class Form:
    """What the messages of one shape become.

    measures: of each number; None: it stands nowhere. provenance: the Bundle entry of the
    Provenance, with the name of its key. generation: of the search parameters the index knows.
    """

    parts: tuple[Part, ...]
    measures: tuple[Measure | None, ...]
    issues: tuple[Issue, ...]
    provenance: tuple[Template, Template] | None
    vocabulary: Vocabulary
    generation: int
    nameless: bool  # whether the digest of a message stands somewhere

    def values(self, blanks: Blanks, digest: str, received: str) -> Values | None:
        """Return what is filled in, but for the ids; None when a number is none."""
        values = [received, digest, *blanks.texts]
        for stamp in blanks.stamps:
            values.append(stamp.text)
            values.append(stamp.key)
        for number, measure in zip(blanks.numbers, self.measures, strict=True):
            text = UNUSED if measure is None else measure.text(number, self.vocabulary)
            if text is None:
                return None
            values.append(text)
        return values


class Filled(msgspec.Struct, frozen=True):
    """One message in its form. at: event time, microseconds; names and ids: of the parts."""

    form: Form
    names: list[str]
    ids: list[str]
    values: Values
    at: int


DIGEST_PLACE: Final = 1


def filled(
    form: Form,
    blanks: Blanks,
    digest: str,
    received: tuple[str, int],
    id_of: Callable[[Part, str], str],
) -> Filled | None:
    """Return a message filled in; None when a value is none, or two resources are one.

    digest: of the message, its first 32 characters. received: as text and microseconds.
    """
    values = form.values(blanks, digest, received[0])
    if values is None:
        return None
    names = [part.name.fill(values) for part in form.parts]
    ids = [id_of(part, name) for part, name in zip(form.parts, names, strict=True)]
    if len(set(ids)) < len(ids):
        return None
    values += ids
    at = max([stamp.us for stamp in blanks.stamps], default=received[1])
    return Filled(form, names, ids, values, at)
