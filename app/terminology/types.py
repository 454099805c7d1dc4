"""The shapes that all of terminology shares: what a code system is to those who ask it.

A code system may stand in a request, in the definitions of FHIR, in the database (millions of
concepts) or be a grammar (UCUM, BCP-47). Operations see only `System`; a new kind of code system is
a new class with these methods.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

Json = dict[str, Any]


class Passing(dict[str, Any]):
    """A resource that one request brings along: nothing that is made of it is kept."""


@dataclass(frozen=True, slots=True)
class Designation:
    """Another name of a concept. `use` is a Coding, as JSON."""

    value: str
    language: str | None = None
    use: Json | None = None
    extension: Sequence[Json] = ()


@dataclass(frozen=True, slots=True)
class Property:
    """One property of a concept: `kind` is the x of value[x] ("code", "boolean", "Coding" ...)."""

    code: str
    kind: str
    value: Any


@dataclass(frozen=True, slots=True)
class Concept:
    """One concept of a code system, as its definition says it; parents are direct ones.

    Whether it is inactive, abstract or deprecated is read from its properties (`status.py`), by
    the declarations in the header of its system.
    """

    code: str
    display: str | None = None
    definition: str | None = None
    designations: Sequence[Designation] = ()
    properties: Sequence[Property] = ()
    parents: Sequence[str] = ()
    extension: Sequence[Json] = ()


@dataclass(frozen=True, slots=True)
class Filter:
    """ValueSet.compose.include.filter: `op` with the codes of R5 as well (child-of ...)."""

    property: str
    op: str
    value: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Which concepts of one system are wanted: all filters hold, all words of the text are met.

    active_only: inactive ones are not; asked of `Paged` systems only.
    """

    filters: Sequence[Filter] = ()
    text: str | None = None
    active_only: bool = False


class System(Protocol):
    """One version of one code system.

    Filters raise app.errors.Unprocessable for a property or an operator that the system does not
    know: never silently ignored.
    """

    @property
    def header(self) -> Json:
        """Return the CodeSystem resource without `concept`: url, version, content, property ..."""
        ...

    def find(self, code: str) -> Concept | None:
        """Return the concept of a code as spelled, or of another case where case does not count."""
        ...

    def children(self, code: str | None) -> Sequence[str]:
        """Return the codes directly below one (of the roots for None), in the system's order."""
        ...

    def is_a(self, code: str, ancestor: str) -> bool:
        """Whether `code` is `ancestor` or below it (every parent counts); no walk of the system."""
        ...

    def matches(self, code: str, filters: Sequence[Filter]) -> bool:
        """Whether one known code satisfies all filters, without expanding them."""
        ...

    def select(self, wanted: Selection) -> Iterator[str]:
        """Yield the codes that are wanted in the system's order (depth first), lazily.

        Raises Unprocessable for a grammar, which cannot list its codes (`closed` is False).
        """
        ...

    def count(self, wanted: Selection) -> int | None:
        """Return how many `select` would yield when that is cheap to say, else None."""
        ...

    @property
    def closed(self) -> bool:
        """Whether all codes can be listed; grammars and post-coordination cannot."""
        ...


@runtime_checkable
class Paged(Protocol):
    """A system that knows without looking at them which concepts are active, and which the nth is.

    Its `select` and `count` understand `active_only`; what it does not know it does not offer.
    """

    def page(self, wanted: Selection, offset: int, count: int) -> Iterator[str]:
        """Yield some of what `select` yields; a far page costs what the first one does."""
        ...


class Catalogue(Protocol):
    """Where code systems, value sets and concept maps are found, by canonical url."""

    def systems(self, url: str) -> Sequence[System]:
        """Return every version known of a code system, in no order."""
        ...

    def value_sets(self, url: str) -> Sequence[Json]:
        """Return every version known of a value set, as resources."""
        ...

    def concept_maps(
        self, *, url: str | None = None, source: str | None = None, target: str | None = None
    ) -> Sequence[Json]:
        """Return concept maps by url, or by the systems their groups map from and to."""
        ...

    def supplements(self, url: str) -> Sequence[System]:
        """Return the code systems that supplement the one of that url."""
        ...

    def headers(self) -> Iterable[Json]:
        """Return the header of every version of every code system, to list them."""
        ...
