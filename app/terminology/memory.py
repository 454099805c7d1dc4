"""A code system held in memory: a CodeSystem resource, indexed as far as it is asked.

R4 codesystem.html. Concepts nest, and may name further parents by properties (R4
codesystem-concept-properties.html#parent); both make the hierarchy. What is not asked is not built:
a request that looks at one code pays for one walk over the codes, not for their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from app.terminology import status
from app.terminology.filters import Test, tests
from app.terminology.text import Matcher
from app.terminology.types import Concept, Designation, Filter, Json, Property, Selection


class MemorySystem:
    """One CodeSystem resource as a `System`. The resource must not change afterwards."""

    closed = True

    def __init__(self, resource: Json) -> None:
        self.header: Json = {k: v for k, v in resource.items() if k != "concept"}
        self._roots: Sequence[Json] = resource.get("concept", ())
        self._concepts: dict[str, Concept] = {}
        self._folds = self.header.get("caseSensitive") is False

    def find(self, code: str) -> Concept | None:
        """Return the concept of a code as spelled, or of another case where case does not count."""
        found = self._concepts.get(code)
        if found is not None:
            return found
        if code not in self._listed:
            if not self._folds:
                return None
            spelled = self._folded.get(code.casefold())
            return None if spelled is None else self.find(spelled)
        made = _concept(self._listed[code], tuple(self._parents[code]))
        self._concepts[code] = made
        return made

    def children(self, code: str | None) -> Sequence[str]:
        """Return the codes directly below one (of the roots for None), in the system's order."""
        return self._children.get(code, ())

    def is_a(self, code: str, ancestor: str) -> bool:
        """Whether `code` is `ancestor` or below it; the walk is up, along the parents."""
        if code == ancestor:
            return code in self._listed
        seen: set[str] = set()
        above = list(self._parents.get(code, ()))
        while above:
            one = above.pop()
            if one == ancestor:
                return True
            if one not in seen:
                seen.add(one)
                above += self._parents.get(one, ())
        return False

    def matches(self, code: str, filters: Sequence[Filter]) -> bool:
        """Whether one known code satisfies all filters."""
        concept = self.find(code)
        return concept is not None and all(test(concept) for test in self._tests(filters))

    def select(self, wanted: Selection) -> Iterator[str]:
        """Yield the codes that are wanted in the system's order (depth first), lazily."""
        checks = self._tests(wanted.filters)
        text = Matcher(wanted.text) if wanted.text else None
        for code in self._listed:
            if checks or text:
                concept = self.find(code)
                if concept is None or not all(check(concept) for check in checks):
                    continue
                if text and not text.meets(concept):
                    continue
            yield code

    def count(self, wanted: Selection) -> int | None:
        """Return the number of concepts when all are wanted."""
        return None if wanted.filters or wanted.text else len(self._listed)

    def _tests(self, filters: Sequence[Filter]) -> Sequence[Test]:
        return tests(self, filters, self.declared) if filters else ()

    @cached_property
    def declared(self) -> status.Declared:
        """Return what its properties mean."""
        return status.declared(self.header)

    @cached_property
    def _walked(self) -> tuple[dict[str, Json], dict[str, list[str]]]:
        """Code -> its JSON, and code -> its parents, in the order of the system."""
        listed: dict[str, Json] = {}
        parents: dict[str, list[str]] = {}
        stack = [(concept, "") for concept in reversed(self._roots)]
        while stack:
            concept, above = stack.pop()
            code = concept.get("code")
            if not isinstance(code, str):
                continue
            listed.setdefault(code, concept)
            known = parents.setdefault(code, [])
            if above and above not in known:
                known.append(above)
            stack += [(c, code) for c in reversed(concept.get("concept", ()))]
        self._add_stated(listed, parents)
        return listed, parents

    def _add_stated(self, listed: Mapping[str, Json], parents: dict[str, list[str]]) -> None:
        """Add the parents and children that properties name."""
        up, down = (self.declared.codes[name] for name in ("parent", "child"))
        for code, concept in listed.items():
            for prop in concept.get("property", ()):
                other = prop.get("valueCode")
                if other not in listed:
                    continue
                if prop.get("code") in up and other not in parents[code]:
                    parents[code].append(other)
                elif prop.get("code") in down and code not in parents[other]:
                    parents[other].append(code)

    @property
    def _listed(self) -> dict[str, Json]:
        return self._walked[0]

    @property
    def _parents(self) -> dict[str, list[str]]:
        return self._walked[1]

    @cached_property
    def _folded(self) -> Mapping[str, str]:
        return {code.casefold(): code for code in reversed(self._listed)}

    @cached_property
    def _children(self) -> Mapping[str | None, Sequence[str]]:
        below: dict[str | None, list[str]] = {}
        for code, parents in self._parents.items():
            for parent in parents or (None,):
                below.setdefault(parent, []).append(code)
        return below


def _concept(written: Json, parents: Sequence[str]) -> Concept:
    return Concept(
        code=written["code"],
        display=written.get("display"),
        definition=written.get("definition"),
        designations=[_designation(d) for d in written.get("designation", ())],
        properties=[
            Property(p["code"], *_value(p)) for p in written.get("property", ()) if "code" in p
        ],
        parents=parents,
        extension=written.get("extension", ()),
    )


def _designation(written: Json) -> Designation:
    return Designation(
        value=written.get("value", ""),
        language=written.get("language"),
        use=written.get("use"),
        extension=written.get("extension", ()),
    )


def _value(written: Json) -> tuple[str, Any]:
    """Return what value[x] is and holds."""
    for name, value in written.items():
        if name.startswith("value"):
            kind = name[5:]
            return (kind if kind == "Coding" else kind[:1].lower() + kind[1:]), value
    return "string", None
