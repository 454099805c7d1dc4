"""What the HTTP doors need from the rest of the house; the hub hands it in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Protocol

from app.clock import Clock
from app.registry.peers import Peers
from app.store.graph import Graph
from app.store.resolve import Around, Guess, Thing, Wanted
from app.store.types import Change, HistoryPage, Outcome, SearchPage, SearchRequest, Stored
from app.terminology.service import Terminology
from app.terminology.tables import Tables


class Store(Tables, Protocol):
    """Reads and the one write path of `app/store`."""

    def lookup(self, type: str, id: str) -> Stored | None:
        """Return the current version (also a deletion), None for what never existed."""
        ...

    def read(self, type: str, id: str) -> Stored:
        """Return the current version. Raises NotFound, Deleted."""
        ...

    def vread(self, type: str, id: str, version_id: str) -> Stored:
        """Return one version, also a deletion (`deleted`). Raises NotFound."""
        ...

    def history(
        self,
        type: str | None,
        id: str | None,
        *,
        since_us: int | None = None,
        at: tuple[int, int] | None = None,
        count: int,
        cursor: str | None = None,
    ) -> HistoryPage:
        """Return one page of versions, newest first. Raises NotFound for an unknown id."""
        ...

    def search(self, request: SearchRequest) -> SearchPage:
        """Return one page of matches. Raises Invalid or NotSupported for a bad parameter."""
        ...

    def matching(self, type: str, criteria: str, most: int) -> list[Stored]:
        """Return at most `most` resources that meet the criteria of a conditional write."""
        ...

    def search_generation(self) -> int:
        """Learn which SearchParameters were posted; the number moves when they change."""
        ...

    def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        """Do all changes or none."""
        ...

    @property
    def graph(self) -> Graph:
        """What is linked with what."""
        ...

    def same_systems(self, system: str) -> Sequence[str]:
        """Return the identifier systems that NamingSystems say are the same, itself first."""
        ...

    def find_by_keys(self, keys: Sequence[str], *, limit: int = 100) -> list[Stored]:
        """Return the resources that carry one of these canonical identifier keys."""
        ...

    def things(self, keys: Sequence[str], *, limit: int) -> list[Thing]:
        """Return the resources that carry one of these keys, and what is one with each."""
        ...

    def things_and_around(
        self, keys: Sequence[str], wanted: Sequence[Wanted], guess: Guess, *, limit: int
    ) -> tuple[list[Thing], Around | None]:
        """Return what `things` does, and what is around it if the guess is right."""
        ...

    def around(
        self,
        thing: Thing,
        wanted: Sequence[Wanted],
        also: Sequence[tuple[str, str]] = (),
        *,
        until_us: int | None = None,
    ) -> Around:
        """Return the newest resources that refer to a thing, their patients, and `also` others."""
        ...


LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class Options:
    """What a site may decide about its HTTP doors.

    base_url: the public FHIR base, when it is known; else `Forwarded` of a trusted proxy or a
        `Host` that names one of `hosts` decides.
    hosts: the names of this hub; a request for another one is refused.
    cors_origins: origins of web pages that may use the hub beside those of its own names;
        `*` for all.
    zone: of dates and times without one; peers: other hubs that answer for some codes.
    multiple_delete: a conditional delete deletes all its matches, not only one.
    """

    base_url: str | None = None
    hosts: tuple[str, ...] = LOOPBACK
    trusted_proxies: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    max_body_bytes: int = 32 << 20
    max_query_bytes: int = 64 << 10
    compress_from_bytes: int = 2048
    history_count: int = 100
    history_count_max: int = 1000
    zone: tzinfo = UTC
    peers: Peers | None = None
    multiple_delete: bool = False
    software_version: str = "0.1.0"
    software_date: str = "2026-11-22"


class Hub(Protocol):
    """The composition root as the HTTP doors see it."""

    @property
    def store(self) -> Store: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def http(self) -> Options: ...

    @property
    def terminology(self) -> Terminology: ...

    def not_ready(self) -> Sequence[str]:
        """Return what is not serving yet, in words for an operator; empty when all is."""
        ...

    def metrics(self) -> bytes:
        """Return the numbers of this process in the Prometheus text format."""
        ...
