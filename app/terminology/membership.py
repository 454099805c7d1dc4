"""Whether one code is in a value set: asked of each include, never by expanding.

A code is looked for in every include of its system, those of imported value sets too. Which version
of the system an include means is decided first (`Reading`); then each include is asked, imports and
excludes are combined, and what is found is a `Match` for each version.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.terminology import versions
from app.terminology.call import Call
from app.terminology.issues import Refused
from app.terminology.known import Known
from app.terminology.pins import Asked
from app.terminology.scope import Scope
from app.terminology.types import Concept, Json
from app.terminology.value_set import Compose, Include
from app.terminology.view import View


@dataclass(frozen=True, slots=True)
class Match:
    """A code found: in which version, as which concept, and as the value set lists it."""

    known: Known
    concept: Concept
    entry: Json | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """An include of the code's system, and the version of the system it is read in.

    known: None when the version asked for is not known. accepts: the version given with the code
    is the one meant, or none was given.
    """

    include: Include
    asked: Asked
    known: Known | None
    accepts: bool


class Membership:
    """The question about the codes of one system (in the version a client gave) and a value set."""

    def __init__(self, view: View, compose: Compose, system: str, version: str | None) -> None:
        self._view = view
        self._compose = compose
        self._system = system
        self._version = version
        self._any_status = False
        self._asked: dict[int, Sequence[Match]] = {}  # what was found in each value set
        self._read: dict[int, Reading] = {}
        self.readings = [self._reading(part) for part in self._leaves(compose)]
        # One include that means the version given settles it for all.
        self.settled = version is not None and any(r.accepts and r.known for r in self.readings)

    def _leaves(self, compose: Compose) -> Iterator[Include]:
        """Yield the includes of the system, those of imported value sets too, each once."""
        seen: set[int] = set()
        todo = [compose]
        while todo:
            one = todo.pop(0)
            if id(one) in seen:
                continue
            seen.add(id(one))
            for part in one.includes:
                if part.system == self._system:
                    yield part
                if not part.system or part.system == self._system:
                    todo += [self._view.imported(one, url) for url in part.imports]

    def _reading(self, part: Include) -> Reading:
        held = self._read.get(id(part))
        if held is None:
            held = self._read[id(part)] = self._make_reading(part)
        return held

    def _make_reading(self, part: Include) -> Reading:
        asked, given = self._view.asked(part), self._version
        if given is None:
            return Reading(part, asked, self._view.known(self._system, asked.version), True)
        if asked.version is None or versions.fits(asked.version, given):
            known = self._view.known(self._system, given)
            if known is not None:
                return Reading(part, asked, known, True)
        known = self._view.known(self._system, asked.version)
        return Reading(part, asked, known, known is not None and known.version == given)

    def matches(self, code: str, *, any_status: bool = False) -> Sequence[Match]:
        """Return where a code is found, the newest version first.

        any_status: as if value sets that want active concepts only took inactive ones too.
        """
        self._any_status = any_status
        self._asked.clear()
        found = list(self._in(self._compose, code))
        if len(found) > 1:
            order = versions.in_order([m.known.version or "" for m in found])
            found.sort(key=lambda m: -order.index(m.known.version or ""))
        return found

    def newest(self, readings: Sequence[Reading]) -> Reading | None:
        """Return the reading in the newest version."""
        stated = [r.known.version if r.known else None for r in readings]
        return versions.latest(readings, stated)

    def _in(self, compose: Compose, code: str) -> Sequence[Match]:
        """Return a match for each version in which a value set has the code."""
        held = self._asked.get(id(compose))
        if held is None:
            held = self._asked[id(compose)] = list(self._found(compose, code))
        return held

    def _found(self, compose: Compose, code: str) -> Iterator[Match]:
        found: dict[str | None, Match] = {}
        for part in compose.includes:
            for match in self._of(compose, part, code):
                found.setdefault(match.known.version, match)
        if not found:
            return
        gone = [
            match.known.version
            for part in compose.excludes
            for match in self._of(compose, part, code, excluding=True)
        ]
        included = {self._reading(p).known for p in compose.includes if p.system == self._system}
        kept = {known.version for known in included if known is not None}
        for version, match in found.items():
            if (
                not self._any_status
                and compose.active_only
                and match.known.is_inactive(match.concept)
            ):
                continue
            if not excluded(version, gone, kept, compose.versions_match):
                yield match

    def _of(
        self, compose: Compose, part: Include, code: str, *, excluding: bool = False
    ) -> Sequence[Match]:
        """Return the matches of one include or exclude: system and imports have to agree."""
        found: Sequence[Match] | None = None
        if part.system is not None:
            if part.system != self._system:
                return ()
            found = self._own(part, code, excluding=excluding)
        for url in part.imports:
            if found is not None and not found:
                return ()
            other = list(self._in(self._view.imported(compose, url), code))
            if found is None:
                found = other
            else:
                versions_there = {m.known.version for m in other}
                found = [m for m in found if m.known.version in versions_there] or (
                    list(found) if other and not self.settled else []
                )
        return found or ()

    def _own(self, part: Include, code: str, *, excluding: bool) -> Sequence[Match]:
        reading = self._reading(part)
        known = reading.known
        if known is None or (self.settled and not reading.accepts and not excluding):
            return ()
        concept = known.system.find(code)
        if concept is None:
            return ()
        entry = None
        if part.concepts is not None:
            entry = listed(part, concept.code, folds=known.folds)
            if entry is None:
                return ()
        if part.filters and not known.system.matches(concept.code, part.filters):
            return ()
        return (Match(known, concept, entry),)


def listed(part: Include, code: str, *, folds: bool) -> Json | None:
    """Return how an include lists a code, None when it does not."""
    concepts = part.concepts or {}
    found = concepts.get(code)
    if found is None and folds:
        folded = code.casefold()
        found = next((c for name, c in concepts.items() if name.casefold() == folded), None)
    return found


def excluded(
    version: str | None,
    gone: Sequence[str | None],
    included: set[str | None],
    versions_match: bool | None,
) -> bool:
    """Say whether a code of a version is excluded, when it is excluded in the versions `gone`.

    Without a word on it, an exclude of a version that is not itself included counts for all.
    """
    if not gone:
        return False
    if versions_match:
        return True
    if versions_match is False:
        return version in gone
    return version in gone or any(one not in included for one in gone)


def contains(scope: Scope, value_set: str, system: str, code: str) -> bool | None:
    """Say whether a value set has a code; None when it, or what it uses, is not known.

    Codes that a value set lists are known to be in it, even when nobody knows their code system.
    """
    view = View(Call({}, scope))
    try:
        compose = view.value_set(value_set, None)
        view.check_imports(compose)
    except Refused:
        return None
    membership = Membership(view, compose, system, None)
    if membership.readings and all(reading.known is None for reading in membership.readings):
        return _listed_only(compose, [reading.include for reading in membership.readings], code)
    return bool(membership.matches(code))


def _listed_only(compose: Compose, parts: Sequence[Include], code: str) -> bool | None:
    """Say whether includes of an unknown code system list a code; None when they do not list."""
    listing = all(part.concepts is not None for part in parts)
    plain = not any(part.filters or part.imports for part in parts)
    if compose.excludes or not listing or not plain:
        return None
    return any(code in (part.concepts or {}) for part in parts)
