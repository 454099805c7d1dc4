"""Lists the codes of value sets that can be listed from the definitions at hand alone.

R4 valueset.html#compositions, as far as required bindings of the base specification need it:
whole code systems with complete content, listed concepts, `is-a` and `descendent-of`, other value
sets, exclusions. A value set with any other filter, or of a system that is not at hand (UCUM,
BCP 47, MIME types), has no list here; the terminology service expands it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Json = dict[str, Any]
Lookup = Callable[[str], Json | None]
Codes = Mapping[str, frozenset[str]]  # system -> codes

_HIERARCHY = frozenset({"is-a", "descendent-of"})


def codes(url: str, value_set: Lookup, code_system: Lookup) -> Codes | None:
    """Return system -> codes of the value set with that url, or None if it cannot be listed."""
    found = value_set(url)
    if found is None:
        return None
    compose = found["compose"]
    included = [_include(part, value_set, code_system) for part in compose["include"]]
    excluded = [_include(part, value_set, code_system) for part in compose.get("exclude", ())]
    total: dict[str, frozenset[str]] = {}
    for part in included:
        if part is None:
            return None
        for system, listed in part.items():
            total[system] = total.get(system, frozenset()) | listed
    for part in excluded:
        if part is None:
            return None
        for system, listed in part.items():
            total[system] = total.get(system, frozenset()) - listed
    return total


def _include(include: Json, value_set: Lookup, code_system: Lookup) -> Codes | None:
    """Return system -> codes of one include: what all its parts have in common."""
    parts: list[Codes | None] = [
        codes(url.partition("|")[0], value_set, code_system) for url in include.get("valueSet", ())
    ]
    if "system" in include:
        parts.append(_system(include, code_system))
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    first, *others = known
    return {
        system: listed.intersection(*(o.get(system, frozenset()) for o in others))
        for system, listed in first.items()
    }


def _system(include: Json, code_system: Lookup) -> Codes | None:
    url = include["system"]
    if "concept" in include:
        return {url: frozenset(c["code"] for c in include["concept"])}
    system = code_system(url)
    if system is None or system["content"] != "complete":
        return None
    above = dict(_parents(system.get("concept", ()), None))
    listed = set(above)
    for condition in include.get("filter", ()):
        if condition["property"] != "concept" or condition["op"] not in _HIERARCHY:
            return None
        top = condition["value"]
        below = {code for code in above if top in _ancestors(above, code)}
        listed &= below | {top} if condition["op"] == "is-a" else below
    return {url: frozenset(listed)}


def _parents(concepts: Sequence[Json], parent: str | None) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield code and direct parents; v3 systems name more of them as property `subsumedBy`."""
    for concept in concepts:
        named = {
            p["valueCode"]
            for p in concept.get("property", ())
            if p["code"] == "subsumedBy" and "valueCode" in p
        }
        yield concept["code"], frozenset(named | ({parent} if parent else set()))
        yield from _parents(concept.get("concept", ()), concept["code"])


def _ancestors(above: Mapping[str, frozenset[str]], code: str) -> set[str]:
    found: set[str] = set()
    todo = [code]
    while todo:
        more = above.get(todo.pop(), frozenset()) - found
        found |= more
        todo += more
    return found
