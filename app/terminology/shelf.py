"""Where resources lie under a cache id: in the database, so that every worker process finds them.

A row of the table `fact` for each resource, and one that says until when the id lives. Ids are
capability secrets: what is stored is their digest. Numbers of ids and of resources are bounded, and
what has expired is removed when the next id is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Protocol

from app.errors import TooMuch
from app.store.aside import Statement
from app.terminology.tables import Tables

_LIFE_US = 3600 * 1_000_000
_IDS_KEPT = 256
_MOST_RESOURCES = 1000  # under one id
_MOST_BYTES = 64 << 20  # of all resources under one id
_PREFIX = "tx/"
_DIGITS = 20  # of a time, so that times sort as text
_PUT = (
    "INSERT INTO fact (name,value) VALUES (?,?)"
    " ON CONFLICT (name) DO UPDATE SET value=excluded.value"
)


class Shelf(Protocol):
    """What is kept under cache ids: resources as JSON, by their digests."""

    def digests(self, cache_id: str) -> Sequence[str] | None:
        """Return what lies under an id; None when the id is not known or has expired."""
        ...

    def get(self, cache_id: str, digest: str) -> bytes | None:
        """Return one resource."""
        ...

    def put(self, cache_id: str, resources: Mapping[str, bytes]) -> None:
        """Add resources, and let the id live on. Raises TooMuch."""
        ...

    def drop(self, cache_id: str) -> None:
        """Forget an id."""
        ...


class InDatabase:
    """The shelf of one store."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def digests(self, cache_id: str) -> Sequence[str] | None:
        """Return what lies under an id; None when the id is not known or has expired."""
        start = _start(cache_id)
        if self._size(start) is None:
            return None
        rows = self._tables.ask(
            lambda db: db.all(
                "SELECT name FROM fact WHERE name LIKE ? AND name<>?", (f"{start}%", start)
            )
        )
        return [name[len(start) :] for (name,) in rows]

    def _size(self, start: str) -> int | None:
        """Return how many bytes lie under an id, None when it is not known or has expired."""
        marker = self._tables.ask(
            lambda db: db.one("SELECT value FROM fact WHERE name=?", (start,))
        )
        if marker is None:
            return None
        until, _, size = marker[0].partition(" ")
        return int(size) if int(until) >= self._tables.clock.now_us() else None

    def get(self, cache_id: str, digest: str) -> bytes | None:
        """Return one resource."""
        name = _start(cache_id) + digest
        row = self._tables.ask(lambda db: db.one("SELECT value FROM fact WHERE name=?", (name,)))
        return None if row is None else str(row[0]).encode()

    def put(self, cache_id: str, resources: Mapping[str, bytes]) -> None:
        """Add resources, and let the id live on. Raises TooMuch."""
        start = _start(cache_id)
        held = self.digests(cache_id)
        size = (self._size(start) or 0) + sum(map(len, resources.values()))
        if len(resources) + len(held or ()) > _MOST_RESOURCES or size > _MOST_BYTES:
            raise TooMuch("There are too many resources under this cache id")
        now = self._tables.clock.now_us()
        rows = [(start + digest, body.decode()) for digest, body in resources.items()]
        rows.append((start, f"{str(now + _LIFE_US).zfill(_DIGITS)} {size}"))
        statements = [Statement(_PUT, rows)]
        if held is None:
            statements[:0] = self._removals(now)
        self._tables.write_aside(statements)

    def drop(self, cache_id: str) -> None:
        """Forget an id."""
        self._tables.write_aside([_removal(_start(cache_id))])

    def _removals(self, now: int) -> list[Statement]:
        """Return what removes expired ids, and the oldest when there are too many."""
        rows = self._tables.ask(
            lambda db: db.all(
                "SELECT name,value FROM fact WHERE name LIKE ?",
                (f"{_PREFIX}%/",),
            )
        )
        ids = sorted((value, name) for name, value in rows)
        limit = str(now).zfill(_DIGITS)
        too_many = ids[: max(0, len(ids) - _IDS_KEPT + 1)]
        gone = {name for value, name in ids if value < limit} | {name for _, name in too_many}
        return [_removal(name) for name in sorted(gone)]


def _start(cache_id: str) -> str:
    digest = blake2b(cache_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{_PREFIX}{digest}/"


def _removal(start: str) -> Statement:
    return Statement("DELETE FROM fact WHERE name LIKE ?", [(f"{start}%",)])


class InMemory:
    """A shelf of this process alone, for programs that have no store."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, bytes]] = {}

    def digests(self, cache_id: str) -> Sequence[str] | None:
        """Return what lies under an id, None when it is not known."""
        held = self._held.get(cache_id)
        return None if held is None else list(held)

    def get(self, cache_id: str, digest: str) -> bytes | None:
        """Return one resource."""
        return self._held.get(cache_id, {}).get(digest)

    def put(self, cache_id: str, resources: Mapping[str, bytes]) -> None:
        """Add resources."""
        while len(self._held) >= _IDS_KEPT:
            del self._held[next(iter(self._held))]
        self._held.setdefault(cache_id, {}).update(resources)

    def drop(self, cache_id: str) -> None:
        """Forget an id."""
        self._held.pop(cache_id, None)
