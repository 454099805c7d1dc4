"""One device message from bytes to statements: everything that needs no store.

What comes out is plain values, so that another process than the one that writes may do it: reading,
converting, checking and indexing are most of the work on a message.
"""

from __future__ import annotations

from dataclasses import dataclass

from app import errors
from app.clock import instant
from app.errors import Issue, Unavailable, YilianError
from app.feeds.apply import Stated
from app.feeds.iot.convert import Converter
from app.feeds.iot.lifecycle import Lifecycle, told
from app.feeds.statement import Statement, statements
from app.store.prepare import Preparer


@dataclass(frozen=True, slots=True)
class Outside:
    """What the transport knows about a body."""

    mapping: str | None = None
    topic: str | None = None
    peer: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What a message says. at: event time, microseconds; course: of something that lasts."""

    statements: list[Statement]
    at: int
    course: bool

    def stated(self) -> Stated:
        return Stated(self.statements, self.at, Lifecycle(course=self.course))


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
    """One message read: what it says (None: nothing to apply), or what is wrong with it."""

    raw: bytes
    outside: Outside
    said: Said | None = None
    wrong: Wrong | None = None
    issues: tuple[Issue, ...] = ()


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads messages with one installation's mappings; `preparer` prepares what is new."""

    converter: Converter
    preparer: Preparer | None = None

    def read(self, raw: bytes, outside: Outside, received_us: int) -> Read:
        """Return a message read and converted, or what is wrong with it."""
        try:
            made = self.converter.convert(
                raw,
                mapping=outside.mapping,
                topic=outside.topic,
                received_at=instant(received_us),
            ).made
        except YilianError as exc:
            return Read(raw, outside, wrong=Wrong.of(exc))
        if not made.entries:
            return Read(raw, outside, issues=tuple(made.issues))
        at, course = told((entry.body or {} for entry in made.entries), received_us)
        said = Said(statements(made.bundle(), self.preparer), at, course)
        return Read(raw, outside, said, issues=tuple(made.issues))
