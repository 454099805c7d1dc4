"""A code system with supplements: their names and properties count as its own.

R4 codesystem.html#supplements. A supplement adds to concepts of another code system; it has no
codes of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from app.terminology import status
from app.terminology.filters import tests
from app.terminology.text import Matcher
from app.terminology.types import Concept, Filter, Json, Selection, System


class Supplemented:
    """A `System` and the supplements that count with it."""

    def __init__(self, system: System, supplements: Sequence[System]) -> None:
        self._system = system
        self._supplements = supplements
        declared = [p for s in supplements for p in s.header.get("property", ())]
        self._added = {p.get("code") for p in declared}
        self.header: Json = dict(system.header)
        if declared:
            self.header["property"] = [*system.header.get("property", ()), *declared]

    @property
    def closed(self) -> bool:
        """Whether all codes can be listed."""
        return self._system.closed

    def find(self, code: str) -> Concept | None:
        """Return the concept of a code with what the supplements add to it."""
        found = self._system.find(code)
        if found is None:
            return None
        for supplement in self._supplements:
            more = supplement.find(found.code)
            if more is not None:
                found = replace(
                    found,
                    designations=[*found.designations, *more.designations],
                    properties=[*found.properties, *more.properties],
                    extension=[*found.extension, *more.extension],
                )
        return found

    def children(self, code: str | None) -> Sequence[str]:
        """Return the codes directly below one."""
        return self._system.children(code)

    def is_a(self, code: str, ancestor: str) -> bool:
        """Whether `code` is `ancestor` or below it."""
        return self._system.is_a(code, ancestor)

    def matches(self, code: str, filters: Sequence[Filter]) -> bool:
        """Whether one known code satisfies all filters, those on added properties too."""
        own = [f for f in filters if f.property not in self._added]
        added = [f for f in filters if f.property in self._added]
        if own and not self._system.matches(code, own):
            return False
        if not added:
            return True
        concept = self.find(code)
        checks = tests(self, added, self.declared)
        return concept is not None and all(check(concept) for check in checks)

    def select(self, wanted: Selection) -> Iterator[str]:
        """Yield the codes that are wanted; an added name may be what the text meets."""
        added = [f for f in wanted.filters if f.property in self._added]
        if not added and not wanted.text:
            yield from self._system.select(wanted)
            return
        own = [f for f in wanted.filters if f.property not in self._added]
        checks = tests(self, added, self.declared)
        text = Matcher(wanted.text) if wanted.text else None
        for code in self._system.select(replace(wanted, filters=own, text=None)):
            concept = self.find(code)
            if concept is None or not all(check(concept) for check in checks):
                continue
            if text is None or text.meets(concept):
                yield code

    def count(self, wanted: Selection) -> int | None:
        """Return how many there are when that is cheap to say."""
        if wanted.text or any(f.property in self._added for f in wanted.filters):
            return None
        return self._system.count(wanted)

    @cached_property
    def declared(self) -> status.Declared:
        """Return what its properties mean."""
        return status.declared(self.header)
