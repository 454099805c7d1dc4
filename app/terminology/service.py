"""The terminology service: what all that ask about codes are handed.

    terminology = Terminology([Stored(store), Resources(...), Definitions()])
    scope = terminology.catalogue(inputs)     # of one request, with the resources it brings
    scope.system(url, version), scope.value_set(canonical), scope.supplements(url) ...

Everything that answers from codes takes a `Scope`; without a request it is `terminology.scope`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.terminology import languages, names
from app.terminology.brought import Remembered
from app.terminology.membership import contains
from app.terminology.scope import Scope
from app.terminology.shelf import InMemory, Shelf
from app.terminology.types import Catalogue, Json, System

__all__ = ["Scope", "Terminology"]

Inputs = Mapping[str, Sequence[Any]]


class Terminology:
    """The sources of one process, and what is asked of them without a request."""

    def __init__(self, sources: Sequence[Catalogue], shelf: Shelf | None = None) -> None:
        self._sources = sources
        self.scope = Scope(sources)
        self.remembered = Remembered(shelf or InMemory())

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

    def display(self, system: str, code: str, language: str = "zh-CN") -> str | None:
        """Return the name of a code in a language (a list as Accept-Language), else its display.

        None for what is not known.
        """
        found = self.scope.system(system)
        concept = found.find(code) if found is not None else None
        if found is None or concept is None:
            return None
        known = names.names(concept, found.header.get("language"))
        chosen = names.best(known, languages.parse(language)) or names.default(known)
        return chosen.value if chosen else None

    def contains(self, value_set: str, system: str, code: str) -> bool | None:
        """Say whether a value set has a code; None when it or its code systems are not known."""
        return contains(self.scope, value_set, system, code)
