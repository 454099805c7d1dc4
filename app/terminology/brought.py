"""The resources a request brings along: `tx-resource` parameters, and those under a cache id.

They live for the request, or under an id for a time: `$cache-control?mode=start` hands out an
unguessable one; with the older `cache-id` parameter the client chooses. What was parsed is kept by
the digest of its content: the same bytes mean the same, whoever sends them, so nothing of one
request can be seen by another.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from secrets import token_urlsafe
from typing import Any

import orjson

from app.errors import NotFound, TooMuch
from app.terminology.catalogue import Resources
from app.terminology.memory import MemorySystem
from app.terminology.types import Catalogue, Json, System

_SYSTEMS_KEPT = 256
_IDS_KEPT = 64
_LIFE_S = 3600.0
_MOST_RESOURCES = 500  # under one cache id


class Remembered:
    """What is kept between requests; safe to use from many threads."""

    def __init__(self) -> None:
        self._systems: OrderedDict[bytes, System] = OrderedDict()
        self._ids: OrderedDict[str, tuple[float, list[Json]]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, inputs: Mapping[str, Sequence[Any]], cache_id: str | None) -> Sequence[Catalogue]:
        """Return the catalogue of what a request brings, () when it brings nothing.

        cache_id: one that was handed out. Raises NotFound when it is not known any more.
        """
        brought = [r for r in inputs.get("tx-resource", ()) if isinstance(r, dict)]
        if cache_id is not None:
            brought += self._under(cache_id)
        for chosen in inputs.get("cache-id", ()):
            brought = self._adding(f"chosen/{chosen}", brought)
        return (self._catalogue(brought),) if brought else ()

    def start(self, resources: Sequence[Json]) -> str:
        """Keep resources under a new id, which only who is told it can know."""
        cache_id = token_urlsafe(24)
        self._adding(cache_id, resources)
        return cache_id

    def end(self, cache_id: str) -> None:
        """Forget what an id stands for."""
        with self._lock:
            self._ids.pop(cache_id, None)

    def _under(self, cache_id: str) -> list[Json]:
        with self._lock:
            held = self._ids.get(cache_id)
            if held is None or held[0] < time.monotonic():
                raise NotFound("The cache id is not known here, or it has expired")
            return held[1]

    def _adding(self, key: str, resources: Sequence[Json]) -> list[Json]:
        """Return what an id stands for once `resources` are added to it."""
        now = time.monotonic()
        with self._lock:
            until, held = self._ids.pop(key, (0.0, []))
            found = [*resources, *(held if until >= now else ())]
            if len(found) > _MOST_RESOURCES:
                found = _without_doubles(found)
            if len(found) > _MOST_RESOURCES:
                raise TooMuch("There are too many resources under this cache id")
            self._ids[key] = (now + _LIFE_S, found)
            while len(self._ids) > _IDS_KEPT:
                self._ids.popitem(last=False)
        return found

    def _catalogue(self, brought: Sequence[Json]) -> Catalogue:
        systems = [r for r in brought if r.get("resourceType") == "CodeSystem"]
        others = [r for r in brought if r.get("resourceType") != "CodeSystem"]
        return Resources([self._system(r) for r in systems], others)

    def _system(self, resource: Json) -> System:
        digest = blake2b(orjson.dumps(resource), digest_size=16).digest()
        with self._lock:
            found = self._systems.get(digest)
            if found is not None:
                self._systems.move_to_end(digest)
                return found
        made = MemorySystem(resource)
        with self._lock:
            self._systems[digest] = made
            while len(self._systems) > _SYSTEMS_KEPT:
                self._systems.popitem(last=False)
        return made


def _without_doubles(resources: Sequence[Json]) -> list[Json]:
    """Return resources, of equal ones the first."""
    kept: dict[bytes, Json] = {}
    for one in resources:
        kept.setdefault(blake2b(orjson.dumps(one), digest_size=16).digest(), one)
    return list(kept.values())
