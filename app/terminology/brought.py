"""The resources a request brings along: `tx-resource` parameters, and those under a cache id.

They live for the request, or under an id for a time (`shelf.py`): `$cache-control?mode=start` hands
out an unguessable one, sent as X-Cache-Id; with the older `cache-id` parameter the client chooses.
What was parsed is kept by the digest of its content: the same bytes mean the same, whoever sends
them, so nothing of one request can be seen by another.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from secrets import token_urlsafe
from typing import Any

import orjson

from app.errors import NotFound
from app.terminology.catalogue import Resources
from app.terminology.memory import MemorySystem
from app.terminology.shelf import Shelf
from app.terminology.types import Catalogue, Json, Passing, System

_KEPT_BYTES = 16 << 20  # of parsed resources, as JSON; in memory they are some times as large
_LARGEST_BYTES = 2 << 20  # of one that is kept
_HANDED_OUT, _CHOSEN = "handed-out/", "chosen/"


class Remembered:
    """What is kept between requests; safe to use from many threads."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._parsed: OrderedDict[str, tuple[System | Json, int]] = OrderedDict()
        self._total = 0  # bytes of what is kept, as JSON
        self._lock = threading.Lock()

    def of(self, inputs: Mapping[str, Sequence[Any]], cache_id: str | None) -> Sequence[Catalogue]:
        """Return the catalogue of what a request brings, () when it brings nothing.

        cache_id: one that was handed out. Raises NotFound when it is not known any more.
        """
        brought = [r for r in inputs.get("tx-resource", ()) if isinstance(r, dict)]
        found = [self._of(one) for one in brought]
        if cache_id is not None:
            found += self._under(_HANDED_OUT + cache_id)
        for chosen in inputs.get("cache-id", ()):
            found += self._chosen(str(chosen), brought)
        if not found:
            return ()
        systems: list[System] = []
        others: list[Json] = []
        for one in found:
            if isinstance(one, dict):
                others.append(one)
            else:
                systems.append(one)
        return (Resources(systems, others),)

    def resources(
        self, inputs: Mapping[str, Sequence[Any]], cache_id: str | None
    ) -> Sequence[Json]:
        """Return what a request brings, as it was sent: for who has to say what is wrong in it."""
        found = [r for r in inputs.get("tx-resource", ()) if isinstance(r, dict)]
        keys = [_HANDED_OUT + cache_id] if cache_id is not None else []
        for chosen in inputs.get("cache-id", ()):
            keys += [_HANDED_OUT + str(chosen), _CHOSEN + str(chosen)]
        for key in keys:
            bodies = (self._shelf.get(key, d) for d in self._shelf.digests(key) or ())
            found += [orjson.loads(body) for body in bodies if body is not None]
        return found

    def start(self, resources: Sequence[Json]) -> str:
        """Keep resources under a new id, which only who is told it can know."""
        cache_id = token_urlsafe(24)
        self._shelf.put(_HANDED_OUT + cache_id, _bodies(resources))
        return cache_id

    def end(self, cache_id: str) -> None:
        """Forget what an id stands for."""
        self._shelf.drop(_HANDED_OUT + cache_id)

    def _chosen(self, cache_id: str, brought: Sequence[Json]) -> list[System | Json]:
        """Return what lies under an id of the client's choice, `brought` added to it."""
        if self._shelf.digests(_HANDED_OUT + cache_id) is not None:
            return self._under(_HANDED_OUT + cache_id)
        key = _CHOSEN + cache_id
        held = self._shelf.digests(key)
        new = {d: b for d, b in _bodies(brought).items() if d not in (held or ())}
        if new:
            self._shelf.put(key, new)
        return [] if held is None else self._under(key)

    def _under(self, key: str) -> list[System | Json]:
        digests = self._shelf.digests(key)
        if digests is None:
            raise NotFound("The cache id is not known here, or it has expired")
        found: list[System | Json] = []
        for digest in digests:
            held = self._parsed.get(digest)
            if held is not None:
                found.append(held[0])
                continue
            body = self._shelf.get(key, digest)
            if body is not None:
                found.append(self._keep(digest, orjson.loads(body), len(body)))
        return found

    def _of(self, resource: Json) -> System | Json:
        """Return a resource as it is used: a code system is indexed once for equal content."""
        if resource.get("resourceType") != "CodeSystem":
            return Passing(resource)
        body = orjson.dumps(resource)
        digest = _digest(body)
        held = self._parsed.get(digest)
        return held[0] if held else self._keep(digest, resource, len(body))

    def _keep(self, digest: str, resource: Json, size: int) -> System | Json:
        """Make a resource usable, and keep it when there is room for one of its size."""
        made: System | Json = Passing(resource)
        if resource.get("resourceType") == "CodeSystem":
            made = MemorySystem(resource)
        if size > _LARGEST_BYTES:
            return made
        with self._lock:
            if digest not in self._parsed:
                self._parsed[digest] = (made, size)
                self._total += size
            while self._total > _KEPT_BYTES:
                _, (_, gone) = self._parsed.popitem(last=False)
                self._total -= gone
        return made


def _bodies(resources: Sequence[Json]) -> dict[str, bytes]:
    return {_digest(body): body for body in map(orjson.dumps, resources)}


def _digest(body: bytes) -> str:
    return blake2b(body, digest_size=16).hexdigest()
