"""How a form is learnt from its mapping.

Two made-up messages of the shape are converted, checked and indexed in the ordinary way; where
their resources differ stands a blank, and the form counts only if filling it in gives exactly both
of them, to the last index entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Final

import msgspec

from app.clock import to_us
from app.errors import Issue, YilianError
from app.feeds.iot import messages
from app.feeds.iot.convert import Converter
from app.feeds.iot.lifecycle import told
from app.feeds.iot.messages import Message
from app.feeds.iot.shapes import (
    DIGITS,
    NUMBER,
    TEXT,
    TIME,
    Blanks,
    Shape,
    encode,
    is_digits,
    stamp,
)
from app.feeds.iot.templates import (
    DIGEST_PLACE,
    Filled,
    Form,
    Index,
    Measure,
    Part,
    Template,
    Values,
    filled,
    joined,
    value_of,
)
from app.feeds.iot.vocabulary import Concept, Measured, Vocabulary
from app.feeds.statement import Statement, statements
from app.fhir import dates, extract, primitives, searchparams
from app.fhir import json as fhir_json
from app.mapping.run import Made
from app.store import keys
from app.store.entries import Entries, local_reference
from app.store.prepare import Prepared, Preparer
from app.store.types import Change, Method

# Two messages that have nothing in common but their shape. Numbers lie far apart, so that a limit
# the mapping compares them with lies between; the times of receipt too, for clocks.
_PROBES: Final = (
    ("Zq{}xK", "2021-03-04T05:{:02d}:06.125+08:00", "-54321{}.5", "2021-03-04T09:00:00.375Z"),
    ("7{}hW", "2022-09-18T21:{:02d}:47.5+08:00", "8765{}.25", "2022-09-19T11:30:00.625Z"),
)
_MOST_BLANKS: Final = 50  # of a kind
_DIGEST: Final = 32  # characters of a digest that stand in keys

_is_datetime: Final = primitives.RULES["dateTime"]
_CONTENT: Final = (
    "d", "have", "keys", "refs", "urls", "pair", "strs", "qtys", "dts", "codes", "texts", "units",
    "idents", "links",
)  # fmt: skip
_LISTS: Final = _CONTENT[2:]
_SETTLED: Final = ("urls", "pair", "strs", "codes", "texts", "units", "idents", "links")


@dataclass(slots=True)
class _Probe:
    """A made-up message of a shape, and what the mapping makes of it.

    about: the Bundle entry of its Provenance, as text, and the name of its key.
    """

    blanks: Blanks
    digest: str
    received: tuple[str, int]
    said: list[Statement]
    about: tuple[str, str] | None
    issues: tuple[Issue, ...]
    at: int
    measured: Sequence[tuple[Any, str | None, Concept, Measured]]


class _Listening(Vocabulary):
    """A vocabulary that notes what it was asked to measure."""

    def __init__(self, of: Vocabulary) -> None:
        self.__dict__.update(of.__dict__)
        self.measurings: list[tuple[Any, str | None, Concept, Measured]] = []

    def measured(self, value: Any, unit: str | None, concept: Concept) -> Measured:
        found = super().measured(value, unit, concept)
        self.measurings.append((value, unit, concept, found))
        return found


class _NoForm(Exception):
    """What is said cannot be said by a form."""


def learn(
    shape: Shape, message: Message, zone: tzinfo, converter: Converter, preparer: Preparer
) -> Form | None:
    """Return the form of a shape; None when its messages do not become what a form can say."""
    blanks = shape.blanks
    if max(len(blanks.texts), len(blanks.stamps), len(blanks.numbers)) > _MOST_BLANKS:
        return None
    generation = preparer.generation
    vocabulary = converter.catalogue.get(shape.key[0]).vocabulary
    try:
        one, two = (_probe(shape, message, zone, converter, preparer, how) for how in _PROBES)
        if one.issues != two.issues or len(one.said) != len(two.said):
            return None
        measures = tuple(_measures(one, two))
        bare = Form((), measures, one.issues, None, vocabulary, generation, nameless=True)
        form = _form(one, two, bare, preparer)
    except (YilianError, _NoForm):
        return None
    ids = converter.context.ids
    for probe in (one, two):
        again = filled(
            form,
            probe.blanks,
            probe.digest,
            probe.received,
            lambda p, name: ids.id_of(p.type, name),
        )
        if again is None or not _agree(probe, again, preparer, ids.id_of):
            return None
    return form


def prepared_the_long_way(
    type_name: str, id_: str, body: bytes, preparer: Preparer
) -> Prepared | None:
    """Return it prepared; None when something is wrong: whoever applies it finds that again."""
    try:
        return preparer.prepare([Change(Method.UPDATE, type_name, id_, body)])[0]
    except YilianError:
        return None


# --- made-up messages ----------------------------------------------------------------------------


def _probe(
    shape: Shape,
    message: Message,
    zone: tzinfo,
    converter: Converter,
    preparer: Preparer,
    how: Sequence[str],
) -> _Probe:
    """Make up a message of the shape and have it converted. Raises YilianError."""
    text, time, number, received_at = how
    blanks = Blanks(
        [text.format(n) for n in range(len(shape.blanks.texts))],
        [
            known
            for n in range(len(shape.blanks.stamps))
            if (known := stamp(time.format(n), zone)) is not None
        ],
        [
            ('"' if one.startswith('"') else "") + number.format(n + 10)
            for n, one in enumerate(shape.blanks.numbers)
        ],
    )
    again, received = _made_up(shape, message, blanks, time, received_at), _us(received_at)
    vocabulary = _Listening(converter.catalogue.get(shape.key[0]).vocabulary)
    done = converter.converted(again, vocabulary=vocabulary).made
    at, alone, _ = told((one.body or {} for one in done.entries), received)
    if alone:
        raise _NoForm
    said = statements(done.bundle())
    for one in said:
        if prepared_the_long_way(one.type, one.id, one.body, preparer) is None:
            raise _NoForm
    return _Probe(
        blanks,
        again.digest[:_DIGEST],
        (received_at, received),
        [one for one in said if one.type != "Provenance"],
        _about(done),
        tuple(done.issues),
        at,
        vocabulary.measurings,
    )


def _us(instant: str) -> int:
    """Return a FHIR instant in microseconds."""
    return to_us(datetime.fromisoformat(instant))


def _made_up(
    shape: Shape, message: Message, blanks: Blanks, time: str, received_at: str
) -> Message:
    """Return the message with other blanks."""
    rest = iter(blanks.texts)
    topic = message.topic
    if shape.key[2] is None and topic is not None:
        topic = f"yilian/{message.topic_mapping}/{next(rest)}"
    numbers = map(value_of, blanks.numbers)
    said: Mapping[int, Iterator[Any]] = {
        id(TEXT): rest,
        id(TIME): (time.format(n) for n in range(len(blanks.stamps))),
        id(NUMBER): numbers,
        id(DIGITS): numbers,
    }
    marks = [container[key] for container, key in shape.places]
    for (container, key), mark in zip(shape.places, marks, strict=True):
        container[key] = next(said[id(mark)])
    raw = encode(message.payload)
    for (container, key), mark in zip(shape.places, marks, strict=True):
        container[key] = mark
    return msgspec.structs.replace(
        message, payload=messages.decode(raw), raw=raw, topic=topic, received_at=received_at
    )


def _about(done: Made) -> tuple[str, str] | None:
    found = [one for one in done.entries if one.type == "Provenance"]
    if not found:
        return None
    if len(found) > 1 or found[0].key is None:
        raise _NoForm
    system, value = found[0].key
    return encode(found[0].printed()).decode(), f"{system}|{value}"


def _measures(one: _Probe, two: _Probe) -> Iterator[Measure | None]:
    """Yield by which unit and concept each number is measured: None if it is not.

    Raises _NoForm when it is measured in two ways.
    """
    for first, second in zip(one.blanks.numbers, two.blanks.numbers, strict=True):
        asked = [
            (unit, concept)
            for probe, number in ((one, first), (two, second))
            for value, unit, concept, _ in probe.measured
            if str(value) == number.removeprefix('"')
        ]
        if asked and asked.count(asked[0]) < len(asked):
            raise _NoForm
        yield Measure(*asked[0]) if asked else None


# --- templates -----------------------------------------------------------------------------------


def _form(one: _Probe, two: _Probe, bare: Form, preparer: Preparer) -> Form:
    """Return the form that says what the first made-up message became."""
    facts = bare.values(one.blanks, one.digest, one.received[0])
    if facts is None:
        raise _NoForm
    values = facts + [said.id for said in one.said]
    about = None
    if one.about is not None:
        entry, name = one.about
        values.append(str(messages.decode(entry.encode())["fullUrl"]).removeprefix("urn:uuid:"))
        about = Template.of(name, facts), Template.of(entry, values)
    used = [value for value in values if value]
    if len(set(used)) < len(used):
        raise _NoForm
    parts = tuple(_parts(one, two, facts, values, preparer))
    templates = [*about] if about else []
    for part in parts:
        templates += [part.name, part.body, *([part.source] if part.source else [])]
        if part.index is not None:
            templates += [text for _, text in part.index.hashed]
    nameless = any(DIGEST_PLACE in template.places for template in templates)
    return Form(
        parts, bare.measures, bare.issues, about, bare.vocabulary, bare.generation, nameless
    )


def _parts(
    one: _Probe, two: _Probe, facts: Values, values: Values, preparer: Preparer
) -> Iterator[Part]:
    for first, second in zip(one.said, two.said, strict=True):
        if first.key is None or second.type != first.type or first.replaced_by:
            raise _NoForm
        system, value = first.key
        if second.key is None or second.key[0] != system:
            raise _NoForm
        resource = fhir_json.load(first.body)
        source = (resource.get("meta") or {}).get("source")
        yield Part(
            type=first.type,
            mention=first.mention,
            system=system,
            name=Template.of(f"{system}|{value}", facts),
            body=Template.of(first.body.decode(), values),
            source=Template.of(source, facts) if source else None,
            index=None if first.mention else _index(first, second, values, preparer),
            front=fhir_json.front(first.body, resource),
        )


# --- index entries -------------------------------------------------------------------------------


def _index(first: Statement, second: Statement, values: Values, preparer: Preparer) -> Index | None:
    """Return how the index entries of a resource follow from its blanks; None if not simply."""
    full, other = _entries(first, preparer), _entries(second, preparer)
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


def _entries(said: Statement, preparer: Preparer) -> Entries:
    prepared = prepared_the_long_way(said.type, said.id, said.body, preparer)
    if prepared is None or prepared.entries is None or prepared.body != said.body:
        raise _NoForm
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


# --- the proof -----------------------------------------------------------------------------------


def _agree(
    probe: _Probe, again: Filled, preparer: Preparer, id_of: Callable[[str, str], str]
) -> bool:
    """Say whether the form gives what the mapping gave, to the last index entry."""
    form, values = again.form, again.values
    if again.at != probe.at or (form.provenance is None) != (probe.about is None):
        return False
    if form.provenance is not None:
        name, entry = (template.fill for template in form.provenance)
        if (entry([*values, id_of("Provenance", name(values))]), name(values)) != probe.about:
            return False
    for said, part, name_, id_ in zip(probe.said, form.parts, again.names, again.ids, strict=True):
        if said.key is None or name_ != "|".join(said.key):
            return False
        if (id_, part.type, part.mention) != (said.id, said.type, said.mention):
            return False
        if part.body.fill(values).encode() != said.body:
            return False
        if part.front != fhir_json.front(said.body, fhir_json.load(said.body)):
            return False
        if part.index is not None:
            entries = joined(part.index.always, part.index.fill(values, preparer.zone))
            if _content(entries) != _content(_entries(said, preparer)):
                return False
    return True


def _content(entries: Entries) -> list[Any]:
    """Return index entries so that they can be compared: their rows in any order."""
    return [
        set(value) if isinstance(value := getattr(entries, name), list) else value
        for name in _CONTENT
    ]
