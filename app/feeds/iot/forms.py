"""Forms: what all messages of one shape become, with blanks for what differs between them.

A device says the same thing every second: another time, another number, the rest as before. A
mapping names the members that only pass through it (`constants.stream`); messages that differ in
nothing else share a form. It is learnt from the mapping itself: two made-up messages of the shape
are converted, checked and indexed in the ordinary way; where their resources differ stands a blank,
and the form counts only if filling it in gives exactly the second one. A form is filled in with a
tenth of the work. What a form cannot say (a value that is none, a clock that is wrong, an id of
odd characters) is left to the mapping.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo
from decimal import Decimal
from functools import partial
from typing import Any, Final

import msgspec

from app.clock import from_us, instant, to_us
from app.errors import Issue, YilianError
from app.feeds.iot import messages, times
from app.feeds.iot.catalogue import Entry
from app.feeds.iot.convert import Converter
from app.feeds.iot.lifecycle import told
from app.feeds.iot.messages import Message
from app.feeds.iot.times import Moment
from app.feeds.iot.vocabulary import Concept, Measured, Vocabulary
from app.feeds.statement import Statement, statements
from app.fhir import dates, extract, primitives, searchparams
from app.fhir import json as fhir_json
from app.store import keys
from app.store.entries import Entries, default_length, local_reference
from app.store.prepare import Prepared, Preparer
from app.store.types import Change, Method

_MOST: Final = 2048  # forms, and shapes seen once, that are remembered
# A text that is itself in JSON and in URIs, and that `number_of` takes for no other scheme: not
# octets in pairs (EUI-64, Bluetooth), which have an identity of their own.
_PLAIN: Final = re.compile(
    r"(?!(?:[0-9A-Fa-f]{2}-){5,7}[0-9A-Fa-f]{2}$)[A-Za-z0-9][A-Za-z0-9._~-]{0,63}", re.ASCII
)
_LONGEST_NUMBER: Final = 17
_DIGITS_ONLY: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII).fullmatch
_DAY: Final = timedelta(days=1)
_is_datetime: Final = primitives.RULES["dateTime"]
_encode = msgspec.json.Encoder(decimal_format="number").encode

# What stands for a blank in the shape of a message; no JSON, so that no message contains it.
_TEXT, _TIME, _NUMBER, _DIGITS = map(msgspec.Raw, (b"?text", b"?time", b"?number", b"?digits"))

Values = list[str]  # what is filled in: facts of the message, its blanks, ids of its resources
_UNUSED: Final = ""
_Measure = tuple[str | None, Concept]  # unit as sent, what is measured


# --- which members are blanks --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stream:
    """The members of a mapping's messages that only pass through it, by what they hold."""

    paths: tuple[tuple[msgspec.Raw, tuple[str, ...]], ...]

    @classmethod
    def of(cls, constants: Mapping[str, Any]) -> Stream | None:
        """Return what `constants.stream` of a mapping says; None when it says nothing."""
        said = constants.get("stream")
        if not isinstance(said, dict):
            return None
        kinds = (("text", _TEXT), ("time", _TIME), ("number", _NUMBER))
        return cls(
            tuple(
                (mark, tuple(str(path).replace("[*]", ".*").split(".")))
                for kind, mark in kinds
                for path in said.get(kind) or ()
            )
        )


def _places(payload: dict[str, Any], steps: Sequence[str]) -> list[tuple[Any, Any]]:
    """Return the containers and keys of what stands at a path; `*`: all items or members."""
    if len(steps) == 1 and steps[0] in payload:  # most: half the cost
        return [(payload, steps[0])]
    found: list[Any] = [payload]
    for step in steps[:-1]:
        found = [value[key] for value in found for key in _keys(value, step)]
    return [(value, key) for value in found for key in _keys(value, steps[-1])]


def _keys(value: Any, step: str) -> Iterable[Any]:
    if type(value) is dict:
        return tuple(value) if step == "*" else (step,) if step in value else ()
    return range(len(value)) if step == "*" and type(value) is list else ()


@dataclass(slots=True)
class _Shape:
    """A message with its blanks cut out: what is left is its shape."""

    key: tuple[Any, ...]
    texts: list[str] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    numbers: list[int | Decimal | str] = field(default_factory=list)  # as the payload has them
    places: list[tuple[Any, Any]] = field(default_factory=list)


def _shape(
    message: Message, name: str, stream: Stream, zone: tzinfo, received: Moment
) -> _Shape | None:
    """Cut the blanks out of a message, whose payload is changed; None when it can have no form."""
    payload = message.payload
    if not isinstance(payload, dict) or message.characteristic or message.session_start:
        return None
    shape = _Shape(())
    topic = message.topic
    device = message.topic_device
    if device is not None and _PLAIN.fullmatch(device):
        shape.texts.append(device)
        topic = None
    latest = received.at + _DAY
    for mark, steps in stream.paths:
        for container, key in _places(payload, steps):
            value = container[key]
            cut = mark
            if mark is _NUMBER:
                if type(value) is str and _DIGITS_ONLY(value):
                    cut = _DIGITS
                elif type(value) is not int and type(value) is not Decimal:
                    continue
                shape.numbers.append(value)
            elif mark is _TEXT:
                if type(value) is not str or not _PLAIN.fullmatch(value):
                    continue
                shape.texts.append(value)
            else:
                moment = times.parse(value, zone)
                if moment is None or not _is_plain(moment, latest):
                    continue
                shape.moments.append(moment)
            container[key] = cut
            shape.places.append((container, key))
    shape.key = (
        name,
        _encode(payload),
        topic,
        message.topic_mapping,
        message.channel,
        message.patient_id,
        message.gateway,
        message.utc_offset,
        _encode(message.device) if message.device else None,
    )
    return shape


def _is_plain(moment: Moment, latest: Any) -> bool:
    """Say whether a time is stored as it was told: `times.Clock.moment` and R4 agree."""
    return (
        times.OLDEST <= moment.at <= latest and len(moment.text) > 10 and _is_datetime(moment.text)
    )


# --- templates -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Template:
    """Text with blanks: `blanks` says which piece is which of the values."""

    pieces: tuple[str, ...]
    blanks: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, text: str, values: Values) -> _Template:
        """Return the text with a blank wherever one of the values stands."""
        place = {value: n for n, value in enumerate(values)}
        known = sorted((value for value in place if value), key=len, reverse=True)
        pieces = re.split("(" + "|".join(map(re.escape, known)) + ")", text)
        blanks = tuple((n, place[piece]) for n, piece in enumerate(pieces) if n % 2)
        return cls(tuple(pieces), blanks)

    def fill(self, values: Values) -> str:
        if not self.blanks:
            return self.pieces[0]
        pieces = list(self.pieces)
        for n, place in self.blanks:
            pieces[n] = values[place]
        return "".join(pieces)


@dataclass(frozen=True, slots=True)
class _Index:
    """The index entries of a resource: what they always are, and how the others are found.

    hashed: what makes a key of a text. references: parameter, type, id. dates: parameter, place of
    the text, whether it is the resource's primary one. quantities: parameter, unit, place.
    """

    always: Entries
    hashed: tuple[tuple[Callable[[str], int], _Template], ...]
    references: tuple[tuple[int, str, _Template], ...]
    dates: tuple[tuple[int, int, bool], ...]
    quantities: tuple[tuple[int, int, int], ...]

    def fill(self, values: Values, zone: tzinfo) -> Entries:
        always = self.always
        d, dts = always.d, always.dts
        for p, place, primary in self.dates:
            low, high = dates.bounds(values[place], zone)
            fine = high - low == default_length(low)
            if primary:
                d = 2 * low + (not fine)
            if not primary or not fine:
                dts = [*dts, (p, low, high)]
        return Entries(
            d=d,
            have=always.have,
            keys=always.keys + [key(text.fill(values)) for key, text in self.hashed],
            refs=always.refs + [(p, name, id_.fill(values)) for p, name, id_ in self.references],
            urls=always.urls,
            pair=always.pair,
            strs=always.strs,
            qtys=always.qtys
            + [(p, u, x, x) for p, u, n in self.quantities for x in (float(values[n]),)],
            dts=dts,
            codes=always.codes,
            texts=always.texts,
            units=always.units,
            idents=always.idents,
            links=always.links,
        )


_CONTENT: Final = (
    "d", "have", "keys", "refs", "urls", "pair", "strs", "qtys", "dts", "codes", "texts", "units",
    "idents", "links",
)  # fmt: skip
_LISTS: Final = _CONTENT[2:]
_SETTLED: Final = ("urls", "pair", "strs", "codes", "texts", "units", "idents", "links")


@dataclass(frozen=True, slots=True)
class Part:
    """One resource of a form.

    system, name: of its key, the name is `system|value`. index: None where the entries are worked
    out from the body: for mentions, of which there are few, and what is not simple.
    """

    type: str
    mention: bool
    system: str
    name: _Template
    body: _Template
    source: _Template | None
    index: _Index | None


@dataclass(frozen=True, slots=True)
class Form:
    """What the messages of one shape become.

    measures: by what each number is measured; None: it stands nowhere. generation: of the search
    parameters the index knows.
    """

    parts: tuple[Part, ...]
    measures: tuple[_Measure | None, ...]
    issues: tuple[Issue, ...]
    generation: int


class Filled(msgspec.Struct, frozen=True):
    """One message in its form. at: event time, microseconds; ids: of the parts, in their order."""

    form: Form
    ids: tuple[str, ...]
    values: Values
    at: int

    @property
    def issues(self) -> tuple[Issue, ...]:
        return self.form.issues


# --- filling in ----------------------------------------------------------------------------------


class Forms:
    """The forms that one process has learnt."""

    def __init__(self, converter: Converter, preparer: Preparer) -> None:
        self._converter = converter
        self._preparer = preparer
        self._forms: dict[tuple[Any, ...], Form | None] = {}
        self._once: dict[tuple[Any, ...], None] = {}
        self._mentions: dict[bytes, Statement] = {}
        self._ids: dict[tuple[str, str], str] = {}
        self._streams: dict[str, Stream | None] = {}
        self._received: tuple[int, tzinfo, Moment] | None = None

    def fill(self, raw: bytes, received_us: int, **outside: Any) -> Filled | None:
        """Return the message in its form; None when it has none, or not yet.

        outside: as for `messages.message`. Raises what is wrong with the message, as converting it
        does.
        """
        message = messages.message(raw, **outside)
        if message.received_at is not None:
            return None
        entry = self._converter.catalogue.get(self._converter.name(message))
        stream = self._stream(entry)
        if stream is None:
            return None
        zone = times.zone_of(message.utc_offset) or self._converter.zone
        received = self._moment(received_us, zone)
        shape = _shape(message, entry.name, stream, zone, received)
        if shape is None:
            return None
        form = self._form(shape, message, zone)
        if form is None:
            return None
        return _filled(form, shape, message.digest, received, entry.vocabulary, self._id_of)

    def _id_of(self, part: Part, name: str) -> str:
        """Return the id of a resource; that of a device or patient is asked again and again."""
        if not part.mention:
            return self._converter.context.ids.id_of(part.type, name)
        known = self._ids.get((part.type, name))
        if known is None:
            if len(self._ids) >= 2 * _MOST:
                self._ids.clear()
            known = self._converter.context.ids.id_of(part.type, name)
            self._ids[part.type, name] = known
        return known

    def statement(self, filled: Filled, number: int) -> Statement:
        """Return what a message says of one of its resources."""
        part, values = filled.form.parts[number], filled.values
        body = part.body.fill(values).encode()
        if part.mention and body in self._mentions:
            return self._mentions[body]
        id_ = filled.ids[number]
        key = part.system, part.name.fill(values)[len(part.system) + 1 :]
        prepared = self._prepared(filled.form, part, id_, body, values)
        found = Statement(part.type, key, id_, part.mention, body, None, prepared)
        if part.mention:
            if len(self._mentions) >= 2 * _MOST:
                self._mentions.clear()
            self._mentions[body] = found
        return found

    def _moment(self, us: int, zone: tzinfo) -> Moment:
        """Return the time of receipt as the mapping sees it: the same for all of a body."""
        known = self._received
        if known is None or known[:2] != (us, zone):
            text = instant(us)
            moment = times.parse(text, zone) or Moment(text, from_us(us))
            known = self._received = us, zone, moment
        return known[2]

    def _stream(self, entry: Entry) -> Stream | None:
        if entry.name not in self._streams:
            self._streams[entry.name] = Stream.of(entry.constants)
        return self._streams[entry.name]

    def _prepared(
        self, form: Form, part: Part, id_: str, body: bytes, values: Values
    ) -> Prepared | None:
        if part.index is None:
            return _prepared_the_long_way(part.type, id_, body, self._preparer)
        prepared = _bare(part.type, id_, body)
        prepared.generation = form.generation
        prepared.entries = part.index.fill(values, self._preparer.zone)
        return prepared

    def _form(self, shape: _Shape, message: Message, zone: tzinfo) -> Form | None:
        """Return the form of a shape, which is learnt when it is met for the second time."""
        key = shape.key
        form = self._forms.get(key)
        if form is not None and form.generation == self._preparer.generation:
            return form
        if form is None and key in self._forms:
            return None
        if form is None and key not in self._once:
            if len(self._once) >= _MOST:
                self._once.clear()
            self._once[key] = None
            return None
        if len(self._forms) >= _MOST:
            self._forms.clear()
        learnt = _learn(shape, message, zone, self._converter, self._preparer)
        self._forms[key] = learnt
        return learnt


def _filled(
    form: Form,
    shape: _Shape,
    digest: str,
    received: Moment,
    vocabulary: Vocabulary,
    ids_of: Callable[[Part, str], str],
) -> Filled | None:
    """Return a shape filled in; None when a value is none, or two resources turn out to be one."""
    values = _values(shape, digest, received, vocabulary, form.measures)
    if values is None:
        return None
    ids = [ids_of(part, part.name.fill(values)) for part in form.parts]
    if len(set(ids)) < len(ids):
        return None
    values += ids
    at = max((moment.at for moment in shape.moments), default=received.at)
    return Filled(form, tuple(ids), values, to_us(at))


def _values(
    shape: _Shape,
    digest: str,
    received: Moment,
    vocabulary: Vocabulary,
    measures: Sequence[_Measure | None],
) -> Values | None:
    """Return what is filled in, but for the ids; None when a number is none."""
    values = [received.text, digest[:32], *shape.texts]
    for moment in shape.moments:
        values.append(moment.text)
        values.append(moment.utc.replace(":", "%3A"))
    for number, measure in zip(shape.numbers, measures, strict=True):
        if measure is None:
            values.append(_UNUSED)
            continue
        value = vocabulary.measured(number, *measure).value
        text = str(value) if type(value) is Decimal else None
        if text is None or len(text) > _LONGEST_NUMBER:
            return None
        values.append(text)
    return values


def _bare(type_name: str, id_: str, body: bytes) -> Prepared:
    return Prepared(
        Method.UPDATE, type_name, id_, None, (), False, False, None, None, body=body, body_id=id_
    )


def _prepared_the_long_way(
    type_name: str, id_: str, body: bytes, preparer: Preparer
) -> Prepared | None:
    """Return it prepared; None when something is wrong: whoever applies it finds that again."""
    try:
        return preparer.prepare([Change(Method.UPDATE, type_name, id_, body)])[0]
    except YilianError:
        return None


# --- learning ------------------------------------------------------------------------------------

# Two messages that have nothing in common but their shape. Numbers lie far apart, so that a limit
# the mapping compares them with lies between; the times of receipt too, for clocks.
_PROBES: Final = (
    ("Zq{}xK", "2021-03-04T05:{:02d}:06.125+08:00", "-54321{}.5", "2021-03-04T09:00:00.375Z"),
    ("7{}hW", "2022-09-18T21:{:02d}:47.5+08:00", "8765{}.25", "2022-09-19T11:30:00.625Z"),
)
_MOST_BLANKS: Final = 50  # of a kind


@dataclass(slots=True)
class _Probe:
    """A made-up message of a shape, and what the mapping makes of it."""

    shape: _Shape
    digest: str
    received: Moment
    said: list[Statement]
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


def _learn(
    shape: _Shape, message: Message, zone: tzinfo, converter: Converter, preparer: Preparer
) -> Form | None:
    """Return the form of a shape; None when its messages do not become what a form can say."""
    if max(len(shape.texts), len(shape.moments), len(shape.numbers)) > _MOST_BLANKS:
        return None
    generation = preparer.generation
    vocabulary = converter.catalogue.get(shape.key[0]).vocabulary
    try:
        one, two = (_probe(shape, message, zone, converter, probe) for probe in _PROBES)
        if one.issues != two.issues or len(one.said) != len(two.said):
            return None
        measures = tuple(_measures(one, two))
        parts = tuple(_parts(one, two, measures, vocabulary, preparer))
    except (YilianError, _NoForm):
        return None
    form = Form(parts, measures, one.issues, generation)

    def ids_of(part: Part, name: str) -> str:
        return converter.context.ids.id_of(part.type, name)

    for probe in (one, two):
        filled = _filled(form, probe.shape, probe.digest, probe.received, vocabulary, ids_of)
        if filled is None or not _agree(probe, filled, preparer):
            return None
    return form


class _NoForm(Exception):
    """What is said cannot be said by a form."""


def _probe(
    shape: _Shape, message: Message, zone: tzinfo, converter: Converter, probe: Sequence[str]
) -> _Probe:
    """Make up a message of the shape and have it converted. Raises YilianError."""
    text, time, number, received_at = probe
    texts = [text.format(n) for n in range(len(shape.texts))]
    moments = [times.parse(time.format(n), zone) for n in range(len(shape.moments))]
    numbers: list[int | Decimal | str] = [
        text if isinstance(one, str) else Decimal(text)
        for n, one in enumerate(shape.numbers)
        for text in (number.format(n + 10),)
    ]
    made = _Shape(shape.key, texts, [one for one in moments if one], numbers)
    rest = iter(texts)
    topic = message.topic
    if shape.key[2] is None and topic is not None:
        topic = f"yilian/{message.topic_mapping}/{next(rest)}"
    said: Mapping[int, Iterator[Any]] = {
        id(_TEXT): rest,
        id(_TIME): (time.format(n) for n in range(len(moments))),
        id(_NUMBER): (said_numbers := iter(numbers)),
        id(_DIGITS): said_numbers,
    }
    marks = [container[key] for container, key in shape.places]
    for (container, key), mark in zip(shape.places, marks, strict=True):
        container[key] = next(said[id(mark)])
    raw = _encode(message.payload)
    for (container, key), mark in zip(shape.places, marks, strict=True):
        container[key] = mark
    again = msgspec.structs.replace(
        message, payload=messages.decode(raw), raw=raw, topic=topic, received_at=received_at
    )
    received = times.parse(received_at, zone)
    if received is None:
        raise _NoForm
    vocabulary = _Listening(converter.catalogue.get(shape.key[0]).vocabulary)
    done = converter.converted(again, provenance=False, vocabulary=vocabulary).made
    at, alone, _ = told((one.body or {} for one in done.entries), to_us(received.at))
    if alone:
        raise _NoForm
    return _Probe(
        made,
        again.digest,
        received,
        statements(done.bundle()),
        tuple(done.issues),
        at,
        vocabulary.measurings,
    )


def _measures(one: _Probe, two: _Probe) -> Iterator[_Measure | None]:
    """Yield by which unit and concept each number is measured: None if it is not.

    Raises _NoForm when it is measured in two ways.
    """
    for first, second in zip(one.shape.numbers, two.shape.numbers, strict=True):
        asked = [
            (unit, concept)
            for probe, number in ((one, first), (two, second))
            for value, unit, concept, _ in probe.measured
            if str(value) == str(number)
        ]
        if asked and asked.count(asked[0]) < len(asked):
            raise _NoForm
        yield asked[0] if asked else None


def _parts(
    one: _Probe,
    two: _Probe,
    measures: Sequence[_Measure | None],
    vocabulary: Vocabulary,
    preparer: Preparer,
) -> Iterator[Part]:
    facts = _values(one.shape, one.digest, one.received, vocabulary, measures)
    if facts is None:
        raise _NoForm
    values = facts + [said.id for said in one.said]
    used = [value for value in values if value]
    if len(set(used)) < len(used):
        raise _NoForm
    for first, second in zip(one.said, two.said, strict=True):
        if first.key is None or second.type != first.type or first.replaced_by:
            raise _NoForm
        system, value = first.key
        if second.key is None or second.key[0] != system:
            raise _NoForm
        source = (fhir_json.load(first.body).get("meta") or {}).get("source")
        yield Part(
            type=first.type,
            mention=first.mention,
            system=system,
            name=_Template.of(f"{system}|{value}", facts),
            body=_Template.of(first.body.decode(), values),
            source=_Template.of(source, facts) if source else None,
            index=None if first.mention else _index(first, second, values, preparer),
        )


def _index(
    first: Statement, second: Statement, values: Values, preparer: Preparer
) -> _Index | None:
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
    return _Index(
        always,
        tuple(moving.hashed),
        tuple(moving.refs),
        tuple(moving.dts),
        tuple(moving.qtys),
    )


def _entries(said: Statement, preparer: Preparer) -> Entries:
    prepared = _prepared_the_long_way(said.type, said.id, said.body, preparer)
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
        self.hashed: list[tuple[Callable[[str], int], _Template]] = []
        self.refs: list[tuple[int, str, _Template]] = []
        self.dts: list[tuple[int, int, bool]] = []
        self.qtys: list[tuple[int, int, int]] = []

    def identifiers(
        self, p: int, system: str | None, value: str, _: str | None, code: str | None
    ) -> bool:
        key = partial(keys.identifier, self._tenant, p, system)
        self.hashed.append((key, _Template.of(value, self._values)))
        return code is None

    def uris(self, p: int, uri: str) -> bool:
        self.hashed.append((partial(keys.uri, self._tenant, p), _Template.of(uri, self._values)))
        return True

    def references(self, p: int, text: str, _: str | None) -> bool:
        local = local_reference(text)
        if local is not None:
            self.refs.append((p, local[0], _Template.of(local[1], self._values)))
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
        place = self._place(lambda text: bool(_DIGITS_ONLY(text)) and float(text) == number)
        scoped = self._tenant << 32 | p
        units = {u for q, u, low, high in self._full.qtys if (q, low, high) == (scoped, *row[-2:])}
        if place is None or len(units) != 1 or row[-2] != number:
            return False
        self.qtys.append((scoped, units.pop(), place))
        return True

    def _place(self, holds: Callable[[str], bool]) -> int | None:
        return next((n for n, text in enumerate(self._values) if holds(text)), None)


def _agree(probe: _Probe, filled: Filled, preparer: Preparer) -> bool:
    """Say whether the form gives what the mapping gave, to the last index entry."""
    if filled.at != probe.at:
        return False
    values = filled.values
    for said, part, id_ in zip(probe.said, filled.form.parts, filled.ids, strict=True):
        if said.key is None or part.name.fill(values) != "|".join(said.key):
            return False
        if (id_, part.type, part.mention) != (said.id, said.type, said.mention):
            return False
        if part.body.fill(values).encode() != said.body:
            return False
        if part.index is not None:
            entries = part.index.fill(values, preparer.zone)
            if _content(entries) != _content(_entries(said, preparer)):
                return False
    return True


def _content(entries: Entries) -> list[Any]:
    """Return index entries so that they can be compared: their rows in any order."""
    return [
        set(value) if isinstance(value := getattr(entries, name), list) else value
        for name in _CONTENT
    ]
