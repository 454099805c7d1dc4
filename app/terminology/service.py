"""The terminology service: what all that ask about codes are handed.

    terminology = Terminology([Stored(store), Resources(...), Definitions()])
    scope = terminology.catalogue(inputs)     # of one request, with the resources it brings
    scope.system(url, version), scope.value_set(canonical), scope.supplements(url) ...

Everything that answers from codes takes a `Scope`; without a request it is `terminology.scope`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.terminology import brought, versions
from app.terminology.catalogue import Composed, Resources
from app.terminology.types import Catalogue, Json, System

Inputs = Mapping[str, Sequence[Any]]

# Content that says nothing about which codes there are: R4 codesystem.html#status.
_UNKNOWN_CONTENT = frozenset(("not-present", "example", "supplement"))


class Scope(Composed):
    """What one request sees: its own resources, then all that is known here."""

    def with_system(self, system: System) -> Scope:
        """Return the scope with one more code system, which comes before all others."""
        return Scope([Resources([system]), self])

    def known(self, url: str) -> Sequence[System]:
        """Return the versions of a code system whose codes are known."""
        return [s for s in self.systems(url) if s.header.get("content") not in _UNKNOWN_CONTENT]

    def system(self, url: str, version: str | None = None) -> System | None:
        """Return a code system: the latest version that fits the one asked for, if any fits."""
        found = self.known(url)
        if version is not None:
            found = [s for s in found if versions.fits(version, s.header.get("version"))]
        by = versions.algorithm(found[0].header) if len(found) > 1 else None
        return versions.latest(found, [s.header.get("version") for s in found], by)

    def value_set(self, canonical: str, version: str | None = None) -> Json | None:
        """Return a value set by its url, `|version` or `version` if given; else the latest."""
        url, _, stated = canonical.partition("|")
        wanted = stated or version
        found = self.value_sets(url)
        if wanted:
            found = [v for v in found if versions.fits(wanted, v.get("version"))]
        by = versions.algorithm(found[0]) if len(found) > 1 else None
        return versions.latest(found, [v.get("version") for v in found], by)


class Terminology:
    """The sources of one process, and what is asked of them without a request."""

    def __init__(self, sources: Sequence[Catalogue]) -> None:
        self._sources = sources
        self.scope = Scope(sources)
        self.remembered = brought.Remembered()

    def catalogue(self, inputs: Inputs | None = None, *, cache_id: str | None = None) -> Scope:
        """Return what a request sees: `tx-resource`s and what its `cache-id` stands for first.

        Raises NotFound for a cache id that is not known.
        """
        own = self.remembered.of(inputs or {}, cache_id)
        return Scope([*own, *self._sources]) if own else self.scope

    def resolve_system(self, url: str, version: str | None = None) -> System | None:
        """Return a code system, the latest version (that fits `version`) if there are several."""
        return self.scope.system(url, version)

    def value_set(self, canonical: str) -> Json | None:
        """Return a value set by its canonical url, with or without `|version`."""
        return self.scope.value_set(canonical)
