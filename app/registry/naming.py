"""One system, however it is written: the uniqueIds of a NamingSystem are one system.

A number's authority is an OID in a CDA, a URI in FHIR and both in an HD of HL7 v2. Whoever looks
for `id:<system>|<value>` looks for every spelling that a NamingSystem of this hub lists. The
NamingSystems are asked when a key is looked up, so that one written later applies to what was there
before. R4 namingsystem.html; identifiers.md sections 3 and 6.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import orjson

from app.registry.systems import canonical_system, local_key
from app.store.types import SearchPage, SearchRequest

_KEPT_S = 2.0  # for so long a process may not know of a NamingSystem that was just written
_KEPT_MOST = 10_000
_ASSIGNED = "id:"
_OID = "urn:oid:"
_UUID = "urn:uuid:"


class Searchable(Protocol):
    """What is asked for NamingSystems."""

    def search(self, request: SearchRequest) -> SearchPage: ...


class Naming:
    """The spellings of systems that the NamingSystems of a store tell."""

    def __init__(self, store: Searchable) -> None:
        self._store = store
        self._kept: dict[str, tuple[float, tuple[str, ...]]] = {}

    def spellings(self, key: str) -> list[str]:
        """Return a canonical key in every spelling of its system, its own first."""
        if not key.startswith(_ASSIGNED):
            return [key]
        system, _, value = key[len(_ASSIGNED) :].partition("|")
        return [key, *(local_key(each, value) for each in self.systems(system) if each != system)]

    def systems(self, system: str) -> Sequence[str]:
        """Return the systems that are the same as one, itself included."""
        now = time.monotonic()
        kept = self._kept.get(system)
        if kept is not None and kept[0] > now:
            return kept[1]
        found = tuple(dict.fromkeys([system, *self._listed(system)]))
        if len(self._kept) >= _KEPT_MOST:
            self._kept.clear()
        self._kept[system] = (now + _KEPT_S, found)
        return found

    def _listed(self, system: str) -> Iterable[str]:
        bare = system.removeprefix(_OID).removeprefix(_UUID)
        for value in dict.fromkeys([system, bare]):
            escaped = value.replace("\\", "\\\\").replace(",", "\\,").replace("$", "\\$")
            page = self._store.search(
                SearchRequest("NamingSystem", [("value:exact", escaped), ("_count", "10")])
            )
            for stored in page.matches:
                yield from systems_of(orjson.loads(stored.body))


def systems_of(naming: dict[str, Any]) -> list[str]:
    """Return the systems a NamingSystem lists, as they stand in an Identifier, preferred first."""
    if naming.get("kind") == "codesystem" or naming.get("status") == "retired":
        return []
    listed = sorted(naming.get("uniqueId") or (), key=lambda each: not each.get("preferred"))
    return [as_system(each.get("type", ""), each["value"]) for each in listed if each.get("value")]


def as_system(kind: str, value: str) -> str:
    """Return a uniqueId as the system of an Identifier (R4 datatypes.html#Identifier)."""
    if kind == "oid":
        return canonical_system(value)
    if kind == "uuid" and not value.startswith(_UUID):
        return _UUID + value.lower()
    return canonical_system(value)
