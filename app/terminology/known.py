"""A code system as operations look at it: one version, with what its header means at hand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from app.terminology import status
from app.terminology.names import STANDARDS_STATUS
from app.terminology.types import Concept, Json, System


class Known:
    """One version of a code system, supplements included."""

    def __init__(self, system: System, supplements: Sequence[System] = ()) -> None:
        self.system = system
        self.header: Json = system.header
        self.supplements = supplements
        self.url: str = str(self.header.get("url"))
        self.version: str | None = self.header.get("version")
        self.language: str | None = self.header.get("language")
        self.fragment = self.header.get("content") == "fragment"

    @property
    def canonical(self) -> str:
        """Return url|version, or the url when there is no version."""
        return f"{self.url}|{self.version}" if self.version else self.url

    @cached_property
    def declared(self) -> status.Declared:
        """Return what its properties mean; systems that keep it are asked for it."""
        kept = getattr(self.system, "declared", None)
        return kept if isinstance(kept, status.Declared) else status.declared(self.header)

    @cached_property
    def folds(self) -> bool:
        """Whether case does not count in its codes; it does when the system does not say."""
        return self.header.get("caseSensitive") is False

    def is_inactive(self, concept: Concept) -> bool:
        """Whether a concept should not be used any more."""
        return self.declared.is_inactive(concept)

    def is_abstract(self, concept: Concept) -> bool:
        """Whether a concept is for grouping only."""
        return self.declared.is_abstract(concept)

    def status(self, concept: Concept) -> str | None:
        """Return the status that a concept states, by property or standards status."""
        stated = self.declared.status(concept)
        if stated is None:
            stated = next(
                (e.get("valueCode") for e in concept.extension if e.get("url") == STANDARDS_STATUS),
                None,
            )
        return stated


def canonical(resource: Json) -> str:
    """Return url|version of a resource, or the url when there is no version."""
    url, version = resource.get("url", ""), resource.get("version")
    return f"{url}|{version}" if version else str(url)
