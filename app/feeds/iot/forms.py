"""Forms: what all messages of one shape become, with blanks for what differs between them.

A device says the same thing every second: another time, another number, the rest as before. A
mapping names the members that only pass through it (`constants.stream`); messages that differ in
nothing else share a form, which is learnt from the mapping itself when their shape is met for the
second time. A form is filled in with a tenth of the work. What a form cannot say (a value that is
none, a clock that is wrong, an id of odd characters) is left to the mapping.

shapes.py     which members are blanks
patterns.py   the blanks of a message, told by its bytes
templates.py  what is filled in
learning.py   where forms come from; indexing.py: their index entries
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final

from app.clock import instant
from app.feeds.iot import messages, times
from app.feeds.iot.catalogue import Entry
from app.feeds.iot.convert import Converter
from app.feeds.iot.indexing import prepared_the_long_way
from app.feeds.iot.learning import learn
from app.feeds.iot.messages import Message
from app.feeds.iot.patterns import Pattern, Strange, pattern_of
from app.feeds.iot.said import Common, Filling
from app.feeds.iot.shapes import Shape, Stream, shape_of
from app.feeds.iot.templates import Filled, Form, Part, filled
from app.feeds.statement import Statement
from app.store.prepare import Preparer

_MOST: Final = 2048  # forms, and shapes seen once, that are remembered
_DIGEST: Final = 32  # characters of a digest that stand in keys
_MOST_PATTERNS: Final = 16  # of a mapping, tried one after the other
_PATTERNS_OF_A_FORM: Final = 4  # ways to write the same; each costs a millisecond to make


_Patterns = tuple[tuple[Pattern, Form], ...]


class Forms:
    """The forms that one process has learnt. Threads may share them: what two of them do at the
    same time is at worst done twice, or forgotten."""

    def __init__(self, converter: Converter, preparer: Preparer) -> None:
        self._converter = converter
        self._preparer = preparer
        self._forms: dict[tuple[Any, ...], Form | None] = {}
        self._once: dict[tuple[Any, ...], None] = {}
        self._patterns: dict[str | None, _Patterns] = {}  # the latest first
        self._patterns_made: dict[tuple[Any, ...], int] = {}
        self._mentions: dict[str, Statement] = {}
        self._ids: dict[tuple[str, str], str] = {}
        self._streams: dict[str, Stream | None] = {}
        self._received: tuple[str, int] = ("", -1)

    def fill(
        self, raw: bytes, received_us: int, *, mapping: str | None = None, topic: str | None = None
    ) -> Filled | None:
        """Return the message in its form; None when it has none, or not yet.

        mapping, topic: as for `messages.message`. Raises what is wrong with the message, as
        converting it does.
        """
        patterns = self._patterns.get(mapping) if topic is None else None
        if patterns:
            try:
                found = self._recognised(raw, received_us, mapping, patterns)
            except Strange:
                return None
            if found is not None:
                return found
        return self._read(raw, received_us, mapping, topic)

    def _recognised(
        self, raw: bytes, received_us: int, mapping: str | None, patterns: _Patterns
    ) -> Filled | None:
        """Return a message that looks like one before, filled in; None for any other.

        Raises Strange for one that its form cannot say.
        """
        text = raw.decode("latin-1")
        for n, (pattern, form) in enumerate(patterns):
            blanks = pattern.blanks(text, received_us)
            if blanks is None:
                continue
            others = patterns[:n] + patterns[n + 1 :]
            if form.generation != self._preparer.generation:
                self._patterns[mapping] = others
                return None
            if n:
                self._patterns[mapping] = (patterns[n], *others)
            digest = hashlib.sha256(raw).hexdigest()[:_DIGEST] if form.nameless else ""
            found = filled(form, blanks, digest, self._at(received_us), self._id_of)
            if found is None:
                raise Strange
            return found
        return None

    def _read(
        self, raw: bytes, received_us: int, mapping: str | None, topic: str | None
    ) -> Filled | None:
        """Return a message filled in by parsing it."""
        message = messages.message(raw, mapping=mapping, topic=topic)
        if message.received_at is not None:
            return None
        entry = self._converter.catalogue.get(self._converter.name(message))
        stream = self._stream(entry)
        if stream is None:
            return None
        zone = times.zone_of(message.utc_offset) or self._converter.zone
        shape = shape_of(message, entry.name, stream, zone, received_us)
        if shape is None:
            return None
        form = self._form(shape, message, zone)
        if form is None:
            return None
        if topic is None:
            self._remember(mapping, message, shape, zone, form)
        digest = message.digest[:_DIGEST]
        return filled(form, shape.blanks, digest, self._at(received_us), self._id_of)

    def _remember(
        self, mapping: str | None, message: Message, shape: Shape, zone: tzinfo, form: Form
    ) -> None:
        """Note how this message is written, to know the next one by its bytes."""
        made = self._patterns_made.get(shape.key, 0)
        if made == _PATTERNS_OF_A_FORM:
            return
        if len(self._patterns_made) >= _MOST:
            self._patterns_made.clear()
        self._patterns_made[shape.key] = made + 1
        pattern = pattern_of(message, shape, zone)
        if pattern is not None:
            others = self._patterns.get(mapping, ())[: _MOST_PATTERNS - 1]
            self._patterns[mapping] = ((pattern, form), *others)

    def provenance(self, of: Filled) -> Mapping[str, Any] | None:
        """Return the Bundle entry of a message's Provenance, None when it has none."""
        if of.form.provenance is None:
            return None
        name, entry = of.form.provenance
        id_ = self._converter.context.ids.id_of("Provenance", name.fill(of.values))
        found: Mapping[str, Any] = messages.decode(entry.fill([*of.values, id_]).encode())
        return found

    def said(
        self, filled: Sequence[tuple[Filled, int]]
    ) -> tuple[list[Statement], list[Common], list[Filling]]:
        """Return what messages say of some of their resources: message and number of the part.

        Parts without an index give statements; of the others, what is common and the fillings.
        """
        plain: list[Statement] = []
        common: list[Common] = []
        fillings: list[Filling] = []
        places: dict[int, int] = {}  # of indexes -> in `common`
        zone = self._preparer.zone
        for one, number in filled:
            part = one.form.parts[number]
            index = part.index
            if index is None:
                plain.append(self._statement(one, number))
                continue
            place = places.get(id(index))
            if place is None:
                place = places[id(index)] = len(common)
                generation = one.form.generation
                common.append(
                    Common(part.type, part.system, part.front, generation, index.kept, index.words)
                )
            values = one.values
            fillings.append(
                Filling(
                    place,
                    one.names[number][len(part.system) + 1 :],
                    one.ids[number],
                    part.body.fill(values).encode(),
                    index.fill(values, zone),
                )
            )
        return plain, common, fillings

    def _statement(self, of: Filled, number: int) -> Statement:
        """Return what a message says of a resource whose part has no index."""
        part = of.form.parts[number]
        body = part.body.fill(of.values)
        known = self._mentions.get(body)
        if known is not None:
            return known
        id_, raw = of.ids[number], body.encode()
        key = part.system, of.names[number][len(part.system) + 1 :]
        prepared = prepared_the_long_way(part.type, id_, raw, self._preparer)
        found = Statement(part.type, key, id_, part.mention, raw, None, prepared)
        if part.mention:
            if len(self._mentions) >= 2 * _MOST:
                self._mentions.clear()
            self._mentions[body] = found
        return found

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

    def _at(self, us: int) -> tuple[str, int]:
        """Return the time of receipt as the mapping sees it: the same for all of a body."""
        known = self._received
        if known[1] != us:
            text = instant(us)
            moment = times.parse(text, self._converter.zone)
            known = self._received = (moment.text if moment else text), us
        return known

    def _stream(self, entry: Entry) -> Stream | None:
        if entry.name not in self._streams:
            self._streams[entry.name] = Stream.of(entry.constants)
        return self._streams[entry.name]

    def _form(self, shape: Shape, message: Message, zone: tzinfo) -> Form | None:
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
        self._patterns_made.pop(key, None)
        learnt = learn(shape, message, zone, self._converter, self._preparer)
        self._forms[key] = learnt
        return learnt
