"""What the terminology page shows: code systems, codes, value sets, and codes without a map.

Here is what is looked up and how it is named in the reader's language; `terminology.py` has the
routes. Everything is bounded: a page is for a person, programs ask `/fhir`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from typing import Any

from app.errors import NotFound, YilianError
from app.fhir import definitions
from app.terminology import languages, names
from app.terminology.call import Call
from app.terminology.canonicals import split
from app.terminology.expansion import Expansion
from app.terminology.known import Known
from app.terminology.scope import Scope
from app.terminology.text import folded
from app.terminology.translate import Coded, Match, Question, matches_of
from app.terminology.types import Concept, Json, Selection, System
from app.terminology.value_set import read
from app.terminology.view import View

MOST = 100  # rows of one list


@dataclass(frozen=True, slots=True)
class Code:
    """One code of a list."""

    system: str
    code: str
    display: str
    other: str = ""  # its name in the other language


@dataclass(frozen=True, slots=True)
class Shown:
    """One concept in full."""

    header: Json
    code: Code
    definition: str
    abstract: bool
    inactive: bool
    names: Sequence[names.Name]
    properties: Sequence[tuple[str, str, bool]]  # name, value, whether it is a code of the system
    paths: Sequence[Sequence[Code]]  # from a root to the concept, one for each parent
    children: Sequence[Code]
    more_children: bool
    translations: Sequence[tuple[Match, Code]]


class Reader:
    """Looks codes up in one scope for a reader of one language."""

    def __init__(self, scope: Scope, language: str) -> None:
        self._scope = scope
        self._wanted = languages.parse("zh-CN" if language == "zh" else "en")
        self._other = languages.parse("en" if language == "zh" else "zh-CN")

    # --- lists -----------------------------------------------------------------------------------

    def systems(self, text: str = "") -> Sequence[Json]:
        """Return the code systems whose url or name has a text; without one, those beside R4's."""
        low = text.lower()
        found = [
            header
            for header in self._scope.headers()
            if "url" in header and (low in _named(header) if low else not _is_r4(header))
        ]
        return sorted(found, key=lambda h: (_is_r4(h), str(h.get("title", h["url"])).lower()))

    def value_sets(self, text: str) -> Sequence[Json]:
        """Return the value sets of R4 whose url or name has a text."""
        low = text.lower()
        return [one for one in _core_value_sets() if low in _named(one)][:MOST]

    def find(self, text: str, system: str | None) -> Sequence[Code]:
        """Return the codes that are, or are named, what was typed; in one system or in all."""
        if system is not None:
            chosen = [self._system(system)]
        else:
            urls = dict.fromkeys(header["url"] for header in self.systems())
            chosen = [one for url in urls if (one := self._scope.system(url)) is not None]
        exact = (self._code(*pair) for one in chosen for pair in _exact(one, text))
        by_name = (
            self._code(*pair) for one in chosen if one.closed for pair in _by_name(one, text)
        )
        of_r4 = () if system else _of_r4(text)
        return list(islice(dict.fromkeys(chain(exact, islice(by_name, MOST), of_r4)), MOST))

    def first(self, system: str) -> Sequence[Code]:
        """Return the first codes of a system; none when only its header is known."""
        url, version = split(system)
        if not self._scope.systems(url):
            raise NotFound("The code system is not known here", at="http.system")
        one = self._scope.system(url, version)
        if one is None:
            return ()
        codes = islice(one.children(None), MOST)
        return [self._code(one, c) for code in codes if (c := one.find(code)) is not None]

    def expanded(self, url: str) -> tuple[Json, Sequence[Code]]:
        """Return a value set and its first codes. Raises NotFound."""
        resource = self._scope.value_set(url)
        if resource is None:
            raise NotFound("The value set is not known here", at="http.valueset")
        codes: list[Code] = []
        with suppress(YilianError):  # what cannot be expanded is shown without codes
            view = View(Call({}, self._scope))
            compose = read(resource)
            view.check_imports(compose)
            items = islice(iter(Expansion(view, compose, None, active_only=False)), MOST)
            codes += [self._code(item.known.system, item.concept) for item in items]
        return resource, codes

    # --- one code --------------------------------------------------------------------------------

    def shown(self, system: str, code: str) -> Shown:
        """Return one concept in full. Raises NotFound."""
        one = self._system(system)
        concept = one.find(code)
        if concept is None:
            raise NotFound("The code is not known in the code system", at="http.code")
        known = Known(one)
        below = list(islice(one.children(concept.code), MOST + 1)) if one.closed else []
        return Shown(
            header=one.header,
            code=self._code(one, concept),
            definition=concept.definition or "",
            abstract=known.is_abstract(concept),
            inactive=known.is_inactive(concept),
            names=names.names(concept, known.language),
            properties=[
                (p.code, _value(p.value), p.kind == "code" and one.find(str(p.value)) is not None)
                for p in concept.properties
            ],
            paths=[self._path(one, parent) for parent in islice(concept.parents, 10)],
            children=self._codes(one, below[:MOST]),
            more_children=len(below) > MOST,
            translations=list(islice(self._translations(one, concept), MOST)),
        )

    def _path(self, system: System, code: str) -> Sequence[Code]:
        """Return the concepts from a root down to one, by the first parent of each."""
        path: list[str] = []
        at: str | None = code
        while at is not None and at not in path and len(path) < 50:
            path.append(at)
            concept = system.find(at)
            at = next(iter(concept.parents), None) if concept else None
        return self._codes(system, reversed(path))

    def _translations(self, system: System, concept: Concept) -> Iterator[tuple[Match, Code]]:
        """Yield what concept maps say of a code, those that map to it last."""
        asked = Coded(str(system.header.get("url")), concept.code)
        for reverse in (False, True):
            for match in matches_of(Question(self._scope, reverse=reverse), asked):
                yield match, self._coded(match.found)

    def _coded(self, one: Coded) -> Code:
        system = self._scope.system(one.system) if one.system else None
        concept = system.find(one.code) if system is not None else None
        if system is None or concept is None:
            return Code(one.system or "", one.code, one.display or "")
        return self._code(system, concept)

    # --- names -----------------------------------------------------------------------------------

    def _system(self, url: str) -> System:
        found = self._scope.system(*split(url))
        if found is None:
            raise NotFound("The code system is not known here", at="http.system")
        return found

    def _codes(self, system: System, codes: Iterable[str]) -> list[Code]:
        return [self._code(system, c) for code in codes if (c := system.find(code)) is not None]

    def _code(self, system: System, concept: Concept) -> Code:
        found = names.names(concept, system.header.get("language"))
        own = names.best(found, self._wanted) or names.default(found)
        other = names.best(found, self._other)
        display = own.value if own else ""
        beside = other.value if other and other.value != display else ""
        return Code(str(system.header.get("url")), concept.code, display, beside)


def _exact(system: System, text: str) -> Iterator[tuple[System, Concept]]:
    if text.isdigit() and not system.closed:
        return  # any number is a unit of UCUM, and what is typed is meant as a code
    with suppress(YilianError):  # a text that a grammar cannot even look at
        concept = system.find(text)
        if concept is not None:
            yield system, concept


def _of_r4(text: str) -> Iterator[Code]:
    """Yield the codes of R4's own code systems: found in a list of all of them, made once."""
    words = folded(text).split()
    if words:
        for line, code in _core_codes():
            if all(word in line for word in words):
                yield code


@cache
def _core_codes() -> Sequence[tuple[str, Code]]:
    found = []
    for system in definitions.resources("CodeSystem"):
        stack = list(reversed(system.get("concept", ())))
        while stack:
            one = stack.pop()
            stack += reversed(one.get("concept", ()))
            code = Code(system["url"], one["code"], one.get("display", ""))
            found.append((folded(f"{code.code} {code.display}"), code))
    return found


def _by_name(system: System, text: str) -> Iterator[tuple[System, Concept]]:
    for code in islice(system.select(Selection(text=text)), MOST):
        concept = system.find(code)
        if concept is not None:
            yield system, concept


def _named(resource: Json) -> str:
    return " ".join(str(resource.get(n, "")) for n in ("url", "name", "title")).lower()


def _is_r4(header: Json) -> bool:
    return header.get("url", "") in _core_urls()


@cache
def _core_urls() -> frozenset[str]:
    return frozenset(definitions.urls("CodeSystem"))


@cache
def _core_value_sets() -> Sequence[Json]:
    kept = ("url", "version", "name", "title", "status")
    return [{n: one[n] for n in kept if n in one} for one in definitions.resources("ValueSet")]


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return " ".join(str(value[n]) for n in ("code", "display") if n in value)
    return str(value)
