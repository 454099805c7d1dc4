"""What device messages say, as plain values that pass from one process to another.

Most of a body are readings that differ in little: what is the same for all of them goes over the
socket once (`Common`), what differs for each (`Filling`). Frames are MessagePack without names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from app import errors
from app.errors import Issue, Unavailable, YilianError
from app.feeds.apply import Stated
from app.feeds.iot.lifecycle import Lifecycle
from app.feeds.iot.templates import Variable, joined
from app.feeds.statement import Recent, Statement
from app.store.entries import Entries
from app.store.prepare import Prepared
from app.store.types import Method


@dataclass(frozen=True, slots=True)
class Outside:
    """What the transport knows about a body."""

    mapping: str | None = None
    topic: str | None = None
    peer: str = ""


class Common(msgspec.Struct, array_like=True, frozen=True):
    """What resources made by one part of a form have in common: see `templates.Part`.

    always: but for the dictionary rows, which are `words` (`app.store.prepare`).
    """

    type: str
    system: str
    front: int
    generation: int
    always: Entries
    words: bytes


class Filling(msgspec.Struct, array_like=True, gc=False):
    """One resource made by a form. common: place in `Said.common`; value: of its key."""

    common: int
    value: str
    id: str
    body: bytes
    more: Variable

    def statement(self, common: Common) -> Statement:
        """Return it as what is applied."""
        id_, body = self.id, self.body
        entries = joined(common.always, self.more)
        prepared = Prepared(
            Method.UPDATE, common.type, id_, None, (), False, False, None, None,
            body, id_, entries, [], common.generation, common.front, common.words,
        )  # fmt: skip
        key = common.system, self.value
        return Statement(common.type, key, id_, False, body, None, prepared)


@dataclass(frozen=True, slots=True)
class Said:
    """What a message says. at: event time, microseconds; course: of something that lasts.

    fillings: more statements, that were made by forms.
    """

    statements: list[Statement]
    at: int
    course: bool
    common: list[Common] = field(default_factory=list)
    fillings: list[Filling] = field(default_factory=list)

    @property
    def everything(self) -> list[Statement]:
        """All that is said, as what is applied."""
        common = self.common
        return self.statements + [one.statement(common[one.common]) for one in self.fillings]

    def stated(self) -> Stated:
        return Stated(self.everything, self.at, Lifecycle(course=self.course))


@dataclass(frozen=True, slots=True)
class Wrong:
    """An error of `app/errors.py` as plain values."""

    kind: str
    issues: tuple[Issue, ...]

    @classmethod
    def of(cls, error: YilianError) -> Wrong:
        return cls(type(error).__name__, tuple(error.issues))

    def error(self) -> YilianError:
        kind: type[YilianError] = getattr(errors, self.kind, YilianError)
        if kind is Unavailable:
            return Unavailable(self.issues[0].text)
        return kind.of(self.issues)


@dataclass(frozen=True, slots=True)
class Read:
    """One entry for the inbox: what it says (None: nothing to apply), or what is wrong with it.

    count: how many messages it holds; their bytes are lines of `raw`.
    """

    raw: bytes
    outside: Outside
    said: Said | None = None
    wrong: Wrong | None = None
    issues: tuple[Issue, ...] = ()
    count: int = 1


# --- between processes ---------------------------------------------------------------------------


class _Statement(msgspec.Struct, array_like=True, gc=False):
    """A statement without names."""

    type: str
    key: tuple[str, str] | None
    id: str
    mention: bool
    body: bytes
    replaced_by: str | None
    prepared: Prepared | None


class _Said(msgspec.Struct, array_like=True):
    statements: list[_Statement]
    at: int
    course: bool
    common: list[Common]
    fillings: list[Filling]


class _Read(msgspec.Struct, array_like=True):
    raw: bytes
    outside: Outside
    said: _Said | None
    wrong: Wrong | None
    issues: tuple[Issue, ...]
    count: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Read]).decode


def packed(read: Sequence[Read], sent: Recent) -> bytes:
    """Return messages that are read as bytes.

    sent: what was mentioned before; it is there by now, and is not prepared for the case that it
    is new. (If it is not there after all, who applies it prepares it.)
    """
    return _encode([_packed(one, sent) for one in read])


def unpacked(data: bytes) -> list[Read]:
    """Return what `packed` made bytes of."""
    return [
        Read(one.raw, one.outside, _unpacked(one.said), one.wrong, one.issues, one.count)
        for one in _decode(data)
    ]


def _packed(read: Read, sent: Recent) -> _Read:
    said = None
    if read.said is not None:
        statements = [
            _Statement(
                one.type,
                one.key,
                one.id,
                one.mention,
                one.body,
                one.replaced_by,
                None if one.mention and sent.again(one.id) else one.prepared,
            )
            for one in read.said.statements
        ]
        said = _Said(
            statements, read.said.at, read.said.course, read.said.common, read.said.fillings
        )
    return _Read(read.raw, read.outside, said, read.wrong, read.issues, read.count)


def _unpacked(said: _Said | None) -> Said | None:
    if said is None:
        return None
    statements = [
        Statement(one.type, one.key, one.id, one.mention, one.body, one.replaced_by, one.prepared)
        for one in said.statements
    ]
    return Said(statements, said.at, said.course, said.common, said.fillings)
