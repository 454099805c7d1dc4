"""What the console needs from the rest of the house; the hub hands it in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from enum import IntEnum
from typing import Protocol, TypedDict, Unpack

from app.clock import Clock
from app.errors import Issue
from app.store.types import Stored
from app.terminology.service import Terminology
from app.terminology.tables import Tables


class Message(Protocol):
    """One message received, as the inbox keeps it."""

    @property
    def id(self) -> int: ...
    @property
    def feed(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def peer(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def control_id(self) -> str: ...
    @property
    def received_us(self) -> int: ...
    @property
    def state(self) -> IntEnum: ...
    @property
    def repeats(self) -> int: ...
    @property
    def raw(self) -> bytes: ...
    @property
    def answers(self) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]: ...
    @property
    def issues(self) -> tuple[Issue, ...]: ...
    @property
    def touched(self) -> tuple[str, ...]: ...


class Counted(Protocol):
    """How many messages of one feed are in one state."""

    @property
    def feed(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def count(self) -> int: ...


class Words(TypedDict, total=False):
    """Which messages are meant; since, until: times as FHIR writes them."""

    feed: str | None
    source: str | None
    control_id: str | None
    states: Sequence[str]
    since: str | None
    until: str | None


class Inbox(Protocol):
    """The messages received by all feeds."""

    def page(
        self, *, before: int | None = None, count: int, **words: Unpack[Words]
    ) -> Sequence[Message]:
        """Return messages without their bytes, newest first."""
        ...

    def get(self, id_: int) -> Message:
        """Return one message with its bytes. Raises NotFound."""
        ...

    def replay(self, id_: int) -> None:
        """Have a message applied again. Raises NotFound, Conflict."""
        ...

    def replay_all(self, **words: Unpack[Words]) -> int:
        """Have messages applied again, those that failed unless states are named; say how many."""
        ...

    def discard(self, id_: int, reason: str) -> None:
        """Put a failed message aside. Raises NotFound, Conflict."""
        ...

    def counts(self, most: int) -> Sequence[Counted]:
        """Return the newest `most` messages counted by feed and state."""
        ...


class Store(Tables, Protocol):
    """The resources."""

    def matching(self, type: str, criteria: str, most: int) -> list[Stored]:
        """Return at most `most` resources that meet the criteria of a search."""
        ...

    def count_types(self, most: int) -> Mapping[str, int]:
        """Return how many resources there are by type, each counted up to `most`."""
        ...


class Options(Protocol):
    """What a site may decide about its HTTP doors."""

    @property
    def zone(self) -> tzinfo: ...
    @property
    def software_version(self) -> str: ...


class Hub(Protocol):
    """The composition root as the console sees it."""

    @property
    def store(self) -> Store: ...
    @property
    def inbox(self) -> Inbox: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def http(self) -> Options: ...
    @property
    def terminology(self) -> Terminology: ...

    def listeners(self) -> Mapping[str, str]:
        """Return listener -> address, of those that accept."""
        ...
