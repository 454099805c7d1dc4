"""What can be seen: the catalogues as operations ask them, for a version or the latest."""

from __future__ import annotations

from collections.abc import Sequence

from app.terminology import versions
from app.terminology.canonicals import split
from app.terminology.catalogue import Composed, Resources
from app.terminology.types import Json, System

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
        url, stated = split(canonical)
        wanted = stated or version
        found = self.value_sets(url) or self.implied(url)
        if wanted:
            found = [v for v in found if versions.fits(wanted, v.get("version"))]
        by = versions.algorithm(found[0]) if len(found) > 1 else None
        return versions.latest(found, [v.get("version") for v in found], by)
