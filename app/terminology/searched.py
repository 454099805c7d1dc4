"""The codes behind the search modifiers :in, :not-in, :above and :below. R4 search.html#token.

Search asks by system and code, so a value set is listed and a branch of a hierarchy is walked, as
far as `LIMIT` goes; beyond, search has the codes that it knows of asked one by one. What was listed
for a value set is kept as long as the value set and the code systems it was made of are the same
objects: the catalogues give others when something was written.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from threading import Lock

from app.errors import NotFound, TooCostly
from app.terminology.call import Call
from app.terminology.expansion import Expansion
from app.terminology.membership import Membership
from app.terminology.service import Scope, Terminology
from app.terminology.types import Concept, Filter, Json, Selection, System
from app.terminology.value_set import Compose, read
from app.terminology.view import View

LIMIT = 10_000  # codes that one parameter of a search may stand for
_KEPT = 128
_TOO_MANY = "There are too many codes to search for; say which of them"

Codes = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Listed:
    """The codes of a value set, and what they were made of."""

    codes: Codes
    value_sets: Sequence[tuple[str, Json]]
    systems: Sequence[tuple[str, str | None, System]]

    def holds(self, scope: Scope) -> bool:
        """Say whether nothing has changed since."""
        return all(scope.value_set(url) is one for url, one in self.value_sets) and all(
            scope.system(url, version) is one for url, version, one in self.systems
        )


class SearchedCodes:
    """What search asks of terminology. Safe to use from many threads."""

    def __init__(self, terminology: Terminology) -> None:
        self._terminology = terminology
        self._kept: OrderedDict[str, _Listed] = OrderedDict()
        self._lock = Lock()

    def of_value_set(self, url: str) -> Codes:
        """Return (system, code) of all codes of a value set (with `|version` if that matters).

        Raises NotFound for an unknown one, TooCostly for too many codes or a grammar's.
        """
        scope = self._terminology.scope
        held = self._kept.get(url)
        if held is None or not held.holds(scope):
            held = _listed(scope, url)
            with self._lock:
                self._kept[url] = held
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return held.codes

    def related(self, system: str, code: str, *, above: bool) -> Sequence[str]:
        """Return the codes above or below one, itself included.

        Raises NotFound for what is not known, TooCostly for too many codes.
        """
        found, concept = self._known(system, code)
        return _above(found, concept.code) if above else _below(found, concept.code)

    def in_value_set(self, url: str) -> Callable[[str, str], bool]:
        """Return what says whether (system, code) is in a value set, whatever the case of the code.

        For value sets with too many codes to list. Raises NotFound for an unknown one.
        """
        scope = self._terminology.scope
        resource = scope.value_set(url)
        if resource is None:
            raise NotFound("The value set is not known here")
        view, compose = View(Call({}, scope)), read(resource)
        view.check_imports(compose)
        by_system: dict[str, Membership] = {}

        def fits(system: str, code: str) -> bool:
            asked = by_system.get(system)
            if asked is None:
                asked = by_system[system] = Membership(view, compose, system, None)
            return any(asked.matches(each) for each in _spelled(code))

        return fits

    def is_related(self, system: str, code: str, *, above: bool) -> Callable[[str], bool]:
        """Return what says whether a code, whatever its case, is above or below one.

        For branches with too many codes to list. Raises NotFound for what is not known.
        """
        found, concept = self._known(system, code)

        def fits(other: str) -> bool:
            if above:
                return any(found.is_a(concept.code, each) for each in _spelled(other))
            return any(found.is_a(each, concept.code) for each in _spelled(other))

        return fits

    def _known(self, system: str, code: str) -> tuple[System, Concept]:
        found = self._terminology.resolve_system(system)
        if found is None:
            raise NotFound("The code system is not known here")
        concept = found.find(code)
        if concept is None:
            raise NotFound("The code is not known in the code system")
        return found, concept


def _spelled(code: str) -> Sequence[str]:
    """Return a folded code and how it may have been written: in capitals."""
    upper = code.upper()
    return (code,) if upper == code else (code, upper)


def _listed(scope: Scope, url: str) -> _Listed:
    resource = scope.value_set(url)
    if resource is None:
        raise NotFound("The value set is not known here")
    view, compose = View(Call({}, scope)), read(resource)
    view.check_imports(compose)
    expansion = Expansion(view, compose, None, active_only=False)
    codes = [(item.known.url, item.concept.code) for item in islice(iter(expansion), LIMIT + 1)]
    if len(codes) > LIMIT:
        raise TooCostly(_TOO_MANY)
    if expansion.unclosed:
        raise TooCostly("The codes of the value set cannot all be listed")
    used = [(url, resource), *((one.canonical, one.resource) for one in _imports(view, compose))]
    systems = [
        (known.url, version, system)
        for known in expansion.systems.values()
        for version in (known.version, None)  # the one used, and the latest: it may change
        if (system := scope.system(known.url, version)) is not None
    ]
    return _Listed(codes, used, systems)


def _imports(view: View, compose: Compose) -> Sequence[Compose]:
    return [one for one in view.all_of(compose) if one.resource.get("url") and one is not compose]


def _below(system: System, code: str) -> Sequence[str]:
    wanted = Selection([Filter("concept", "is-a", code)])
    found = list(islice(system.select(wanted), LIMIT + 1)) if system.closed else [code]
    if len(found) > LIMIT:
        raise TooCostly(_TOO_MANY)
    return found


def _above(system: System, code: str) -> Sequence[str]:
    found = {code: None}
    todo = [code]
    while todo:
        concept = system.find(todo.pop())
        for parent in concept.parents if concept else ():
            if parent not in found:
                found[parent] = None
                todo.append(parent)
    return list(found)
