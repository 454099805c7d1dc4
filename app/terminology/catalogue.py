"""Where code systems, value sets and concept maps are found: sources, one after the other.

A request may bring its own resources; they come before what is stored, and that before what the
definitions of R4 hold. Of two with the same url and version the first source's is the one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TypeVar

from app.fhir import definitions
from app.terminology.canonicals import split
from app.terminology.memory import MemorySystem
from app.terminology.types import Catalogue, Json, System

T = TypeVar("T")


class Composed:
    """Sources as one catalogue, the first has precedence."""

    def __init__(self, sources: Sequence[Catalogue]) -> None:
        self._sources = sources

    def systems(self, url: str) -> Sequence[System]:
        """Return every version known of a code system."""
        return _first((s.systems(url) for s in self._sources), _header_version)

    def value_sets(self, url: str) -> Sequence[Json]:
        """Return every version known of a value set."""
        return _first((s.value_sets(url) for s in self._sources), _version)

    def implied(self, url: str) -> Sequence[Json]:
        """Return value sets that no resource is, but that a code system names as all its codes."""
        asked: Iterable[Callable[[str], Sequence[Json]] | None]
        asked = (getattr(source, "implied", None) for source in self._sources)
        return _first((implied(url) for implied in asked if implied), _version)

    def concept_maps(
        self, *, url: str | None = None, source: str | None = None, target: str | None = None
    ) -> Sequence[Json]:
        """Return concept maps by url, or by the systems their groups map from and to."""
        found = (s.concept_maps(url=url, source=source, target=target) for s in self._sources)
        return _first(found, lambda m: (m.get("url"), m.get("version")) if "url" in m else id(m))

    def supplements(self, url: str) -> Sequence[System]:
        """Return the code systems that supplement the one of that url."""
        found = (s.supplements(url) for s in self._sources)
        return _first(found, lambda s: (s.header.get("url"), s.header.get("version")))

    def headers(self) -> Iterable[Json]:
        """Return the header of every version of every code system."""
        found = (list(s.headers()) for s in self._sources)
        return _first(found, lambda h: (h.get("url"), h.get("version")))


def _first(found: Iterable[Sequence[T]], key: Callable[[T], object]) -> Sequence[T]:
    """Return all that was found, of equal ones the first."""
    kept: dict[object, T] = {}
    for some in found:
        for one in some:
            kept.setdefault(key(one), one)
    return list(kept.values())


def _header_version(system: System) -> object:
    """Return what tells one code system of a url from another.

    A resource that only describes a code system (`content` not-present) stands beside the one that
    has its codes.
    """
    header = system.header
    return header.get("version"), header.get("content") == "not-present"


def _version(resource: Json) -> object:
    return resource.get("version")


class Resources:
    """A catalogue of resources at hand: those a request brings, those of a package."""

    def __init__(self, systems: Iterable[System] = (), others: Iterable[Json] = ()) -> None:
        self._systems: dict[str, list[System]] = {}
        self._supplements: dict[str, list[System]] = {}
        self._value_sets: dict[str, list[Json]] = {}
        self._implied: dict[str, list[Json]] = {}  # of code systems that name their value set
        self._maps: list[Json] = []
        for system in systems:
            self._add_system(system)
        for resource in others:
            self._add(resource)

    def _add_system(self, system: System) -> None:
        header = system.header
        self._systems.setdefault(str(header.get("url")), []).append(system)
        if header.get("content") == "supplement":
            url = split(str(header.get("supplements")))[0]
            self._supplements.setdefault(url, []).append(system)
        elif "valueSet" in header:
            url = split(str(header["valueSet"]))[0]
            self._implied.setdefault(url, []).append(header)

    def _add(self, resource: Json) -> None:
        if resource.get("resourceType") == "ValueSet":
            self._value_sets.setdefault(str(resource.get("url")), []).append(resource)
        elif resource.get("resourceType") == "ConceptMap":
            self._maps.append(resource)

    def systems(self, url: str) -> Sequence[System]:
        """Return every version known of a code system."""
        return self._systems.get(url, ())

    def value_sets(self, url: str) -> Sequence[Json]:
        """Return every version known of a value set."""
        return self._value_sets.get(url, ())

    def implied(self, url: str) -> Sequence[Json]:
        """Return the value sets that code systems name as all their codes."""
        return [whole_system(header) for header in self._implied.get(url, ())]

    def concept_maps(
        self, *, url: str | None = None, source: str | None = None, target: str | None = None
    ) -> Sequence[Json]:
        """Return concept maps by url, or by the systems their groups map from and to."""
        return [one for one in self._maps if maps(one, url, source, target)]

    def supplements(self, url: str) -> Sequence[System]:
        """Return the code systems that supplement the one of that url."""
        return self._supplements.get(url, ())

    def headers(self) -> Iterable[Json]:
        """Return the header of every version of every code system."""
        return [system.header for found in self._systems.values() for system in found]


def whole_system(header: Json) -> Json:
    """Return the value set that a code system names as that of all its codes."""
    include = {"system": header["url"]}
    if "version" in header:
        include["version"] = header["version"]
    kept = ("version", "name", "title", "status", "experimental", "date", "publisher", "language")
    return {
        "resourceType": "ValueSet",
        "url": split(str(header["valueSet"]))[0],
        **{name: header[name] for name in kept if name in header},
        "compose": {"include": [include]},
    }


def maps(one: Json, url: str | None, source: str | None, target: str | None) -> bool:
    """Say whether a concept map has the url and a group from and to these systems."""
    if url is not None and one.get("url") != url:
        return False
    if source is None and target is None:
        return True
    return any(
        (source is None or split(str(group.get("source", "")))[0] == source)
        and (target is None or split(str(group.get("target", "")))[0] == target)
        for group in one.get("group", ())
    )


class Definitions:
    """The code systems, value sets and concept maps of R4 core: immutable, so shared by all."""

    def systems(self, url: str) -> Sequence[System]:
        """Return the code system of that url, if R4 has it."""
        return (_core_system(url),) if definitions.has("CodeSystem", url) else ()

    def value_sets(self, url: str) -> Sequence[Json]:
        """Return the value set of that url, if R4 has it."""
        return (definitions.value_set(url),) if definitions.has("ValueSet", url) else ()

    def concept_maps(
        self, *, url: str | None = None, source: str | None = None, target: str | None = None
    ) -> Sequence[Json]:
        """Return concept maps by url, or by the systems their groups map from and to."""
        return [one for one in _core_maps() if maps(one, url, source, target)]

    def supplements(self, url: str) -> Sequence[System]:
        """Return nothing: R4 has no supplements."""
        return ()

    def headers(self) -> Iterable[Json]:
        """Return the headers of the code systems of R4."""
        return _core_headers()


@cache
def _core_system(url: str) -> System:
    """Return a code system of R4; asked for known urls only, so the cache is bounded."""
    return MemorySystem(definitions.resource("CodeSystem", url))


@cache
def _core_headers() -> Sequence[Json]:
    return [
        {name: value for name, value in one.items() if name != "concept"}
        for one in definitions.resources("CodeSystem")
    ]


@cache
def _core_maps() -> Sequence[Json]:
    return list(definitions.resources("ConceptMap"))
