"""What one operation sees: code systems in the versions asked for, value sets and their imports.

A view lives for one call. It remembers what it resolved, and what was used on the way, for the
answer to say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.errors import TooCostly
from app.terminology import pins, versions
from app.terminology.call import Call
from app.terminology.canonicals import split
from app.terminology.issues import Refused, TxIssue, issue
from app.terminology.known import Known
from app.terminology.pins import Asked
from app.terminology.supplement import Supplemented
from app.terminology.types import Json, Passing, System
from app.terminology.value_set import Compose, Include, Reader, read

_DEEPEST = 50  # imports in imports
_reader = Reader()  # of definitions: equal input, equal output; nothing of a request in it


class MissingImport(Refused):
    """A value set that another one imports is not known."""


@dataclass(frozen=True, slots=True)
class Import:
    """A value set that another one imports; `version` when the import names one."""

    url: str
    version: str | None
    compose: Compose


class View:
    """The code systems and value sets of one call."""

    def __init__(self, call: Call) -> None:
        self.scope = call.scope
        self.pins = pins.read(call)
        self.supplements: list[System] = []
        self.used_supplements: dict[str, None] = {}
        self._known: dict[tuple[str, str | None], Known | None] = {}
        self._imports: dict[tuple[int, str], Compose] = {}
        self._composed: dict[int, Compose] = {}  # of what the request brings

    # --- value sets ------------------------------------------------------------------------------

    def value_set(self, url: str, version: str | None) -> Compose:
        """Return a value set that the client names. Raises Refused."""
        found = self.scope.value_set(url, version)
        if found is None:
            name = f"{url}|{version}" if version and split(url)[1] is None else url
            raise Refused(issue("Unable_to_resolve_value_Set_", valueSet=name))
        return self._read(found)

    def _read(self, resource: Json) -> Compose:
        """Return a value set as it is evaluated, the same one for the same resource."""
        if not isinstance(resource, Passing):
            return _reader.of(resource)
        held = self._composed.get(id(resource))
        if held is None:
            held = self._composed[id(resource)] = read(resource)
        return held

    def imported(self, by: Compose, url: str) -> Compose:
        """Return a value set that another one imports. Raises MissingImport."""
        key = (id(by), url)
        held = self._imports.get(key)
        if held is None:
            held = self._imports[key] = self._import(by, url)
        return held

    def _import(self, by: Compose, url: str) -> Compose:
        inside = by.contained.get(url)
        if inside is not None:
            return self._read(Passing(inside))
        name, version = split(url)
        pinned = version or self.pins.value_sets.get(name)
        found = self.scope.value_set(name, pinned)
        if found is None:
            missing = f"{name}|{pinned}" if pinned else name
            raise MissingImport(issue("Unable_to_resolve_value_Set_", valueSet=missing))
        return self._read(found)

    def check_imports(self, compose: Compose, *, tolerant: bool = False) -> None:
        """Follow all imports. Raises Refused for a circle, MissingImport unless `tolerant`."""
        self._follow(compose, (compose,), set(), tolerant=tolerant)

    def _follow(
        self, compose: Compose, path: tuple[Compose, ...], done: set[int], *, tolerant: bool
    ) -> None:
        """Follow what one value set imports; `path` leads to it, `done` needs no second look."""
        if len(path) > _DEEPEST:
            raise TooCostly("Value sets import each other too deeply")
        for url in (url for part in compose.parts for url in part.imports):
            try:
                other = self.imported(compose, url)
            except MissingImport:
                if tolerant:
                    continue
                raise
            if any(other is one for one in path):
                raise Refused(_circle(other, path))
            if id(other) not in done:
                self._follow(other, (*path, other), done, tolerant=tolerant)
        done.add(id(compose))

    def all_of(self, compose: Compose) -> Iterator[Compose]:
        """Yield a value set and all that it imports, each once."""
        seen: dict[int, Compose] = {}
        todo = [compose]
        while todo:
            one = todo.pop()
            if id(one) in seen:
                continue
            seen[id(one)] = one
            yield one
            todo += [self.imported(one, url) for part in one.parts for url in part.imports]

    # --- supplements -----------------------------------------------------------------------------

    def require_supplements(self, canonicals: Sequence[str]) -> None:
        """Let supplements count. Raises Refused when one is not known."""
        missing = [text for text in canonicals if not self._add_supplement(text)]
        if missing:
            raise Refused(issue("VALUESET_SUPPLEMENT_MISSING", supplements=", ".join(missing)))

    def _add_supplement(self, canonical: str) -> bool:
        url, version = split(canonical)
        found = [s for s in self.scope.systems(url) if s.header.get("content") == "supplement"]
        if version:
            found = [s for s in found if versions.fits(version, s.header.get("version"))]
        chosen = versions.latest(found, [s.header.get("version") for s in found])
        if chosen is not None and chosen not in self.supplements:
            self.supplements.append(chosen)
        return chosen is not None

    # --- code systems ----------------------------------------------------------------------------

    def known(self, url: str, version: str | None = None) -> Known | None:
        """Return a code system: the latest version that fits, with its supplements."""
        key = (url, version)
        if key not in self._known:
            system = self.scope.system(url, version)
            self._known[key] = None if system is None else self._with_supplements(url, system)
        return self._known[key]

    def _with_supplements(self, url: str, system: System) -> Known:
        mine = [s for s in self.supplements if _supplements(s, url, system)]
        if not mine:
            return Known(system)
        for one in mine:
            self.used_supplements[Known(one).canonical] = None
        return Known(Supplemented(system, mine), mine)

    def versions_of(self, url: str) -> list[str]:
        """Return the known versions of a code system, the earliest first."""
        found = self.scope.known(url)
        stated = [v for s in found if isinstance(v := s.header.get("version"), str)]
        by = versions.algorithm(found[0].header) if found else None
        return versions.in_order(set(stated), by)

    def asked(self, include: Include) -> Asked:
        """Return the version that an include asks for."""
        return self.pins.asked(str(include.system), include.version)

    def unknown(
        self, url: str, version: str | None, at: str | None = None, *, expanding: bool = False
    ) -> TxIssue:
        """Return the issue of a code system, or a version of it, that is not known."""
        kind = "_EXP" if expanding else ""
        if version is None:
            shown = url if ":" in url else f"'{url}'"
            return issue(f"UNKNOWN_CODESYSTEM{kind}", at, system=shown)
        listed = self.versions_of(url)
        if not listed:
            none = f"UNKNOWN_CODESYSTEM_VERSION{kind}_NONE"
            return issue(none, at, system=url, version=version)
        return issue(
            f"UNKNOWN_CODESYSTEM_VERSION{kind}",
            at,
            system=url,
            version=version,
            versions=" or ".join(listed),
        )


def _supplements(one: System, url: str, system: System) -> bool:
    """Say whether a supplement is for this code system in this version."""
    of, version = split(str(one.header.get("supplements")))
    return of == url and (not version or versions.fits(version, system.header.get("version")))


def _circle(other: Compose, path: Sequence[Compose]) -> TxIssue:
    return issue(
        "VALUESET_CIRCULAR_REFERENCE",
        valueSet=other.canonical,
        pathway=", ".join(one.canonical for one in path),
    )
