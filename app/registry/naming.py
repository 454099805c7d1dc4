"""One system, however it is written: the uniqueIds of a NamingSystem are one system.

A number's authority is an OID in a CDA, a URI in FHIR and both in an HD of HL7 v2. Whoever looks
for `id:<system>|<value>` looks for every spelling that a NamingSystem of this hub lists. The
NamingSystems are asked when a key is looked up, so that one written later applies to what was there
before. R4 namingsystem.html; identifiers.md sections 3 and 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from app.registry.systems import local_key

_ASSIGNED = "id:"


class Spelled(Protocol):
    """What is asked for the spellings of a system."""

    def same_systems(self, system: str) -> Sequence[str]:
        """Return the systems that are the same as one, itself first."""
        ...


class Naming:
    """The spellings of keys that the NamingSystems of a store tell."""

    def __init__(self, store: Spelled) -> None:
        self._store = store

    def spellings(self, key: str) -> list[str]:
        """Return a canonical key in every spelling of its system, its own first."""
        if not key.startswith(_ASSIGNED):
            return [key]
        system, _, value = key[len(_ASSIGNED) :].partition("|")
        same = self._store.same_systems(system)
        return [key] if len(same) == 1 else [key, *(local_key(each, value) for each in same[1:])]
