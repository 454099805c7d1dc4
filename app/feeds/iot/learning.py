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
from app.feeds.iot.indexing import (
    NoForm,
    content_of,
    entries_of,
    index_of,
    prepared_the_long_way,
)
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
    stamp,
)
from app.feeds.iot.templates import (
    DIGEST_PLACE,
    Filled,
    Form,
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
from app.fhir import json as fhir_json
from app.mapping.run import Made
from app.store.prepare import Preparer

# Two messages that have nothing in common but their shape. Numbers lie far apart, so that a limit
# the mapping compares them with lies between; the times of receipt too, for clocks.
_PROBES: Final = (
    ("Zq{}xK", "2021-03-04T05:{:02d}:06.125+08:00", "-54321{}.5", "2021-03-04T09:00:00.375Z"),
    ("7{}hW", "2022-09-18T21:{:02d}:47.5+08:00", "8765{}.25", "2022-09-19T11:30:00.625Z"),
)
_MOST_BLANKS: Final = 50  # of a kind
_DIGEST: Final = 32  # characters of a digest that stand in keys


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
    except (YilianError, NoForm):
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
        raise NoForm
    said = statements(done.bundle())
    for one in said:
        if prepared_the_long_way(one.type, one.id, one.body, preparer) is None:
            raise NoForm
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
        raise NoForm
    system, value = found[0].key
    return encode(found[0].printed()).decode(), f"{system}|{value}"


def _measures(one: _Probe, two: _Probe) -> Iterator[Measure | None]:
    """Yield by which unit and concept each number is measured: None if it is not.

    Raises NoForm when it is measured in two ways.
    """
    for first, second in zip(one.blanks.numbers, two.blanks.numbers, strict=True):
        asked = [
            (unit, concept)
            for probe, number in ((one, first), (two, second))
            for value, unit, concept, _ in probe.measured
            if str(value) == number.removeprefix('"')
        ]
        if asked and asked.count(asked[0]) < len(asked):
            raise NoForm
        yield Measure(*asked[0]) if asked else None


# --- templates -----------------------------------------------------------------------------------


def _form(one: _Probe, two: _Probe, bare: Form, preparer: Preparer) -> Form:
    """Return the form that says what the first made-up message became."""
    facts = bare.values(one.blanks, one.digest, one.received[0])
    if facts is None:
        raise NoForm
    values = facts + [said.id for said in one.said]
    about = None
    if one.about is not None:
        entry, name = one.about
        values.append(str(messages.decode(entry.encode())["fullUrl"]).removeprefix("urn:uuid:"))
        about = Template.of(name, facts), Template.of(entry, values)
    used = [value for value in values if value]
    if len(set(used)) < len(used):
        raise NoForm
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
            raise NoForm
        system, value = first.key
        if second.key is None or second.key[0] != system:
            raise NoForm
        resource = fhir_json.load(first.body)
        source = (resource.get("meta") or {}).get("source")
        yield Part(
            type=first.type,
            mention=first.mention,
            system=system,
            name=Template.of(f"{system}|{value}", facts),
            body=Template.of(first.body.decode(), values),
            source=Template.of(source, facts) if source else None,
            index=None if first.mention else index_of(first, second, values, preparer),
            front=fhir_json.front(first.body, resource),
        )


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
            if content_of(entries) != content_of(entries_of(said, preparer)):
                return False
    return True
