"""The codes of a value set, one after the other: includes, imports, excludes, filters.

R4 valueset.html#expansion. Codes come in the order of the definition (listed ones as listed, others
in the order of their code system) and lazily: a page costs what it shows, not what the value set
holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from app.errors import TooCostly
from app.terminology import versions
from app.terminology.canonicals import split
from app.terminology.issues import Refused, issue
from app.terminology.known import Known
from app.terminology.membership import excluded, listed
from app.terminology.systems.grammar import Explains
from app.terminology.text import Matcher
from app.terminology.types import Concept, Json, Paged, Selection
from app.terminology.value_set import Compose, Include
from app.terminology.view import MissingImport, View

_BUDGET = 2_000_000  # codes looked at for one expansion


@dataclass(frozen=True, slots=True)
class Item:
    """One code of an expansion, with the include that brought it."""

    known: Known
    concept: Concept
    entry: Json | None
    part: Include


class Expansion:
    """The codes of one value set for one call, and what was used to find them.

    unclosed: code systems that have more codes than can be listed, and why.
    """

    def __init__(self, view: View, compose: Compose, text: str | None, active_only: bool) -> None:
        self._view = view
        self._compose = compose
        self._text = text
        self._matcher = Matcher(text) if text else None
        self._active_only = active_only
        self._known: dict[int, Known] = {}
        self._spent = 0
        self._times: Counter[int] = Counter()  # how often each value set is imported
        self._lists: dict[int, list[Item]] = {}
        self.systems: dict[str, Known] = {}
        self.value_sets: dict[str, Compose] = {}
        self.unclosed: dict[str, str] = {}
        self.common: list[Compose] = []  # value sets that stand in for grammars
        self.versions_match = _assumed(compose)
        self._resolve(compose)

    # --- what is used ----------------------------------------------------------------------------

    def _resolve(self, compose: Compose) -> None:
        """Find every code system and value set that is needed. Raises Refused."""
        for part in compose.parts:
            if part.system is not None:
                self._known[id(part)] = self._resolved(part, part.system)
            for url in part.imports:
                other = self._imported(compose, url)
                if not url.startswith("#"):
                    self.value_sets.setdefault(other.canonical, other)
                self._times[id(other)] += 1
                if self._times[id(other)] == 1:
                    self._resolve(other)

    def _resolved(self, part: Include, url: str) -> Known:
        asked = self._view.asked(part)
        known = self._view.known(url, asked.version)
        if known is None:
            raise Refused(self._view.unknown(url, asked.version, expanding=True))
        refused = self._view.pins.refused(url, known.version, None)
        if refused is not None:
            raise Refused(refused)
        self.systems.setdefault(known.canonical, known)
        return known

    def _imported(self, compose: Compose, url: str) -> Compose:
        try:
            return self._view.imported(compose, url)
        except MissingImport:
            name, version = split(url)
            pinned = version or self._view.pins.value_sets.get(name)
            if not pinned:
                raise
            about = {"valueSet": name, "version": pinned}
            raise Refused(issue("VS_EXP_IMPORT_UNK_PINNED", **about)) from None

    @property
    def with_versions(self) -> bool:
        """Whether codes need their version: the definition names a system in several."""
        stated: dict[str, set[str | None]] = {}
        for part in self._compose.parts:
            if part.system is not None:
                stated.setdefault(part.system, set()).add(part.version)
        return any(len(found) > 1 for found in stated.values())

    @property
    def nests(self) -> bool:
        """Whether the codes are (part of) the hierarchy of one code system."""
        if len(self._compose.includes) != 1 or self._text:
            return False
        part = self._compose.includes[0]
        return (
            part.concepts is None
            and not part.imports
            and all(f.property in ("concept", "code") and f.op in _NESTING for f in part.filters)
        )

    def cheap_total(self) -> int | None:
        """Return how many codes there are when a code system can say it at once."""
        part = self._plain
        if part is None:
            return None
        return self._known[id(part)].system.count(self._plainly(part))

    def window(self, start: int, most: int) -> Iterator[Item]:
        """Yield the codes of a page; those before it are not looked at when one need not."""
        part = self._plain
        if part is None:
            yield from islice(self, start, start + most)
            return
        known = self._known[id(part)]
        wanted = self._plainly(part)
        if isinstance(known.system, Paged):
            codes = known.system.page(wanted, start, most)
        else:
            codes = islice(known.system.select(wanted), start, start + most)
        for code in codes:
            concept = known.system.find(code)
            if concept is not None:
                yield Item(known, concept, None, part)

    @property
    def _plain(self) -> Include | None:
        """The one include, when its codes are all that one code system selects by it."""
        compose = self._compose
        if len(compose.includes) != 1 or compose.excludes:
            return None
        part = compose.includes[0]
        if part.concepts is not None or part.imports or part.system is None:
            return None
        system = self._known[id(part)].system
        if self._wants_active and not isinstance(system, Paged):
            return None
        return part if system.closed else None

    def _plainly(self, part: Include) -> Selection:
        """Return what the one include selects."""
        return Selection(part.filters, self._text, active_only=self._wants_active)

    # --- the codes -------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Item]:
        """Yield the codes, each once; with `versions_match` from the newest version."""
        if self.versions_match and self.with_versions:
            yield from self._newest()
            return
        yield from self._of(self._compose)

    def _newest(self) -> Iterator[Item]:
        found: dict[tuple[str, str], Item] = {}
        for item in self._of(self._compose):
            key = (item.known.url, item.concept.code)
            held = found.get(key)
            newer = held is None or (
                versions.compare(held.known.version or "", item.known.version or "") < 0
            )
            if newer:
                found[key] = item
        yield from found.values()

    @property
    def _wants_active(self) -> bool:
        return self._active_only or self._compose.active_only

    def _of(self, compose: Compose) -> Iterator[Item]:
        """Yield the codes of one value set, each once."""
        active_only = self._active_only or compose.active_only
        several = len(compose.includes) > 1
        seen: set[tuple[str, str | None, str]] = set()
        for part in compose.includes:
            for item in self._part(compose, part):
                self._spend()
                if several:
                    key = (item.known.url, item.known.version, item.concept.code)
                    if key in seen:
                        continue
                    seen.add(key)
                if active_only and item.known.is_inactive(item.concept):
                    continue
                if not self._is_excluded(compose, item):
                    yield item

    def _of_import(self, compose: Compose) -> Iterable[Item]:
        """Return the codes of an imported value set; one that is imported often is read once."""
        if self._times[id(compose)] < 2:
            return self._of(compose)
        held = self._lists.get(id(compose))
        if held is None:
            held = self._lists[id(compose)] = list(self._of(compose))
        return held

    def _spend(self) -> None:
        """Count a step, for imports that multiply. Raises TooCostly."""
        self._spent += 1
        if self._spent > _BUDGET:
            raise TooCostly("The expansion takes too many steps")

    def _part(self, compose: Compose, part: Include) -> Iterator[Item]:
        others = [self._view.imported(compose, url) for url in part.imports]
        found: Iterable[Item]
        if part.system is not None:
            found = self._own(part, self._known[id(part)])
        elif others:
            found = self._of_import(others.pop(0))
        else:
            return
        for item in found:
            if all(self._has(other, item) for other in others):
                yield item

    def _own(self, part: Include, known: Known) -> Iterator[Item]:
        if part.concepts is not None:
            yield from self._listed(part, known)
            return
        if not known.system.closed:
            yield from self._common(part, known)
            return
        for code in known.system.select(Selection(part.filters, self._text)):
            concept = known.system.find(code)
            if concept is not None:
                yield Item(known, concept, None, part)

    def _listed(self, part: Include, known: Known) -> Iterator[Item]:
        for code, entry in (part.concepts or {}).items():
            concept = known.system.find(code)
            if concept is None or (part.filters and not known.system.matches(code, part.filters)):
                continue
            if self._matcher and not (
                self._matcher.meets(concept) or self._matcher.found_in(entry.get("display"))
            ):
                continue
            yield Item(known, concept, entry, part)

    def _common(self, part: Include, known: Known) -> Iterator[Item]:
        """Yield the common codes of a grammar, if it has such."""
        system = known.system
        if not isinstance(system, Explains):
            raise TooCostly("The code system is a grammar: its codes cannot be listed")
        self.unclosed[known.url] = (
            f"The code System '{known.url}' has a grammar and so has infinite members."
            f" This extension is based on {system.common}"
        )
        if not part.filters:
            self.common.append(self._view.value_set(system.common, None))
        for code in system.select(Selection(part.filters, self._text)):
            concept = system.find(code)
            if concept is not None:
                yield Item(known, concept, None, part)

    # --- membership of a code that was found -----------------------------------------------------

    def _is_excluded(self, compose: Compose, item: Item) -> bool:
        if not compose.excludes:
            return False
        gone: list[str | None] = []
        for part in compose.excludes:
            if part.system is None:
                if self._agrees(compose, part, item):
                    gone.append(item.known.version)
            elif part.system == item.known.url and self._agrees(compose, part, item):
                gone.append(self._known[id(part)].version)
        included = {
            self._known[id(part)].version
            for part in compose.includes
            if part.system == item.known.url
        }
        return excluded(item.known.version, gone, included, compose.versions_match)

    def _has(self, compose: Compose, item: Item) -> bool:
        """Whether a value set has a code that was found elsewhere."""
        self._spend()
        if compose.active_only and item.known.is_inactive(item.concept):
            return False
        return any(
            (part.system is None or part.system == item.known.url)
            and self._agrees(compose, part, item)
            for part in compose.includes
        ) and not self._is_excluded(compose, item)

    def _agrees(self, compose: Compose, part: Include, item: Item) -> bool:
        """Whether all that one include says holds for a code."""
        code = item.concept.code
        if part.system is not None:
            known = self._known[id(part)]
            if part.concepts is not None and listed(part, code, folds=known.folds) is None:
                return False
            if part.concepts is None and known.system.find(code) is None:
                return False
            if part.filters and not known.system.matches(code, part.filters):
                return False
        return all(self._has(self._view.imported(compose, url), item) for url in part.imports)


_NESTING = frozenset(("is-a", "descendent-of", "child-of", "descendent-leaf", "is-not-a"))


def _assumed(compose: Compose) -> bool:
    """Say whether codes of different versions count as the same, by word or by an exclude.

    An exclude of a version that is not itself included can only mean the codes of another.
    """
    if compose.versions_match is not None:
        return compose.versions_match
    included: dict[str | None, set[str | None]] = {}
    for part in compose.includes:
        included.setdefault(part.system, set()).add(part.version)
    return any(
        part.system in included and part.version and part.version not in included[part.system]
        for part in compose.excludes
        if None not in included.get(part.system, {None})
    )


def nested(items: Sequence[Item]) -> Iterator[tuple[int, int | None]]:
    """Yield (place of an item, place of the item above it); None for one at the top.

    What is left out does not separate: a code stands below its nearest ancestor that is there.
    """
    places = {item.concept.code: place for place, item in enumerate(items)}
    for place, item in enumerate(items):
        above = list(item.concept.parents)
        seen = set(above)
        found = None
        while above and found is None:
            code = above.pop(0)
            if code in places and places[code] != place:
                found = places[code]
                break
            parent = item.known.system.find(code)
            more = [c for c in (parent.parents if parent else ()) if c not in seen]
            seen.update(more)
            above += more
        yield place, found
