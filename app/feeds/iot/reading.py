"""Device messages from bytes to statements: everything that needs no store.

What comes out is plain values (`said.py`), so that another process than the one that writes may do
it: reading, converting, checking and indexing are most of the work on a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec.structs import replace

from app.clock import instant
from app.errors import Issue, YilianError
from app.feeds.iot.convert import Converter
from app.feeds.iot.forms import Forms
from app.feeds.iot.indexing import prepared_the_long_way
from app.feeds.iot.lifecycle import told
from app.feeds.iot.said import Outside, Read, Said, Wrong
from app.feeds.iot.templates import Filled
from app.feeds.statement import Statement, statements
from app.fhir.json import front
from app.mapping.run import Made
from app.store.prepare import Prepared, Preparer
from app.store.types import Method

_MENTIONS: Final = 4096
_PLAIN: Final = "generic"
_FIRST: Final = (
    b'{"deviceId":"warm","patientId":"warm","time":"2026-01-01T00:00:00Z",'
    b'"measurements":[{"code":"8867-4","value":60,"unit":"/min"}]}'
)
_SOME_TIME_US: Final = 1_767_225_600_000_000


@dataclass(slots=True)
class _Body:
    """The messages of one body that are told as one: what is said of each resource, by its id."""

    raws: list[bytes] = field(default_factory=list)
    said: dict[str, Statement | tuple[Filled, int]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] | None = None
    checked: bool = False  # whether the Provenance comes from a form, which was checked
    issues: dict[Issue, None] = field(default_factory=dict)
    at: int | None = None

    def add(self, raw: bytes, made: Made, at: int) -> None:
        """Add a message as its mapping told it."""
        self._note(raw, made.issues, at)
        bundle = made.bundle()
        for entry, one in zip(made.entries, statements(bundle), strict=True):
            if entry.type == "Provenance":
                self.provenance = self.provenance or entry.printed()
            elif not one.mention or one.id not in self.said:
                self.said[one.id] = one
                if entry.body and not one.mention:
                    self.sources[one.id] = entry.body["meta"]["source"]

    def fill(self, raw: bytes, filled: Filled) -> None:
        """Add a message in its form."""
        self._note(raw, filled.form.issues, filled.at)
        said = self.said
        for number, (part, id_) in enumerate(zip(filled.form.parts, filled.ids, strict=True)):
            if not part.mention:
                said[id_] = filled, number
                if part.source is not None:
                    self.sources[id_] = part.source.fill(filled.values)
            elif id_ not in said:
                said[id_] = filled, number

    def _note(self, raw: bytes, issues: Iterable[Issue], at: int) -> None:
        self.raws.append(raw)
        if issues:
            self.issues.update(dict.fromkeys(issues))
        if self.at is None or at > self.at:
            self.at = at

    def about(self, told: Mapping[str, str]) -> tuple[Statement, dict[str, Any]] | None:
        """Return the one Provenance about all that is told, and its body. told: id -> type."""
        if self.provenance is None:
            return None
        body = self.provenance["resource"]
        more = {"target": [{"reference": f"{type_}/{id_}"} for id_, type_ in told.items()]}
        sources = dict.fromkeys(self.sources[id_] for id_ in told if id_ in self.sources)
        entities = {"entity": [_entity(source) for source in sources]} if sources else {}
        resource = {**body, **more, **entities}
        (statement,) = statements({"entry": [{**self.provenance, "resource": resource}]})
        return statement, resource


def _entity(source: str) -> dict[str, Any]:
    """Return one message as a source of what it said."""
    identifier = {"system": "urn:ietf:rfc:3986", "value": source}
    return {"role": "source", "what": {"identifier": identifier}}


class Reader:
    """Reads messages with one installation's mappings.

    preparer: prepares what is new; a device or patient that is mentioned again and again is
    prepared once.
    """

    def __init__(self, converter: Converter, preparer: Preparer | None = None) -> None:
        self.converter = converter
        self._preparer = preparer
        self._forms = Forms(converter, preparer) if preparer else None
        self._mentioned: dict[bytes, Prepared | None] = {}

    def read(self, raws: Sequence[bytes], outside: Outside, received_us: int) -> list[Read]:
        """Return messages that came in one body, read and converted, or what is wrong with them.

        Those that can be told as one are one entry: plain readings, all of which are new or said
        before. A course or a correction has a time of its own and so is an entry of its own; so is
        what is wrong.
        """
        found: list[Read] = []
        body = _Body()
        forms = self._forms
        for raw in raws:
            try:
                filled = forms and forms.fill(
                    raw, received_us, mapping=outside.mapping, topic=outside.topic
                )
                if forms and filled:
                    if body.provenance is None:
                        body.provenance = forms.provenance(filled)
                        body.checked = True
                    body.fill(raw, filled)
                    continue
                made = self._made(raw, outside, received_us, provenance=body.provenance is None)
                at, alone, course = told((one.body or {} for one in made.entries), received_us)
                if alone and body.provenance is not None:
                    made = self._made(raw, outside, received_us, provenance=True)
            except YilianError as exc:
                found.append(Read(raw, outside, wrong=Wrong.of(exc)))
                continue
            if not made.entries:
                found.append(Read(raw, outside, issues=tuple(made.issues)))
            elif alone:
                found.append(self._alone(raw, outside, made, at, course=course))
            else:
                body.add(raw, made, at)
        if body.at is not None:
            said = self._all(body, body.at)
            raw = b"\n".join(body.raws)
            found.append(Read(raw, outside, said, issues=tuple(body.issues), count=len(body.raws)))
        return found

    def warm(self) -> None:
        """Read a made-up message: compiles what every mapping needs (0.1 s), and says nothing."""
        self.read([_FIRST], Outside(mapping=_PLAIN), _SOME_TIME_US)

    def _made(self, raw: bytes, outside: Outside, received_us: int, *, provenance: bool) -> Made:
        return self.converter.convert(
            raw,
            provenance=provenance,
            mapping=outside.mapping,
            topic=outside.topic,
            received_at=instant(received_us),
        ).made

    def _all(self, body: _Body, at: int) -> Said:
        """Return all that the messages of a body say."""
        told: dict[str, str] = {}
        plain: list[Statement] = []
        filled: list[tuple[Filled, int]] = []
        for id_, one in body.said.items():
            if isinstance(one, Statement):
                told[id_] = one.type
                plain.append(self._ready(one))
            else:
                told[id_] = one[0].form.parts[one[1]].type
                filled.append(one)
        more, common, fillings = self._forms.said(filled) if self._forms else ([], [], [])
        plain += more
        about = body.about(told)
        if about is not None:
            plain.append(self._about(*about) if body.checked else self._ready(about[0]))
        return Said(plain, at, False, common, fillings)

    def _about(self, one: Statement, resource: dict[str, Any]) -> Statement:
        """Return the Provenance of a body, prepared without a check.

        From the one that was checked when its form was learnt it differs by more references of the
        same kinds.
        """
        preparer = self._preparer
        if preparer is None or one.type in preparer.effects or b"urn:uuid:" in one.body:
            return self._ready(one)
        generation = preparer.generation  # before the entries: may be too old, never too new
        resource = {**resource, "id": one.id}
        prepared = Prepared(
            Method.UPDATE, one.type, one.id, None, (), False, False, None, None,
            body=one.body, body_id=one.id, generation=generation,
            entries=preparer.entries(one.type, resource), front=front(one.body, resource),
        )  # fmt: skip
        return replace(one, prepared=prepared)

    def _alone(self, raw: bytes, outside: Outside, made: Made, at: int, *, course: bool) -> Read:
        said = Said(self._statements(made.bundle()), at, course)
        return Read(raw, outside, said, issues=tuple(made.issues))

    def _statements(self, bundle: Mapping[str, Any]) -> list[Statement]:
        return [self._ready(one) for one in statements(bundle)]

    def _ready(self, one: Statement) -> Statement:
        return one if self._preparer is None else replace(one, prepared=self._prepared(one))

    def _prepared(self, one: Statement) -> Prepared | None:
        if not one.mention:
            return _prepare(one, self._preparer)
        with suppress(KeyError):
            return self._mentioned[one.body]
        prepared = _prepare(one, self._preparer)
        if len(self._mentioned) >= _MENTIONS:
            self._mentioned.clear()  # another thread may be about to look: it prepares again
        self._mentioned[one.body] = prepared
        return prepared


def _prepare(one: Statement, preparer: Preparer | None) -> Prepared | None:
    if preparer is None:
        return None
    return prepared_the_long_way(one.type, one.id, one.body, preparer)
