"""The code systems, value sets and concept maps that are resources of the store, as a catalogue.

What was read and parsed is kept until a resource of these types is written, by whatever process:
the store's note of it (`app/store/noted.py`) is looked at again after a millisecond, less than it
takes a client to get the answer to a write and send the next request.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import quote

from app.fhir import json
from app.store import noted
from app.store.database import Connection
from app.store.types import SearchPage, SearchRequest, Stored
from app.terminology.canonicals import IMPLICIT, split
from app.terminology.catalogue import maps, whole_system
from app.terminology.memory import MemorySystem
from app.terminology.types import Json, System

T = TypeVar("T")

_INTERVAL_S = 0.001
_KEPT = 512
_VERSIONS = 200  # of one url that are looked at
_SUPPLEMENTS = 500
_PAGE = "500"


class Store(Protocol):
    """What is asked of the store."""

    def ask(self, work: Callable[[Connection], T]) -> T: ...

    def matching(self, type: str, criteria: str, most: int) -> list[Stored]: ...

    def search(self, request: SearchRequest) -> SearchPage: ...


class Posted:
    """The terminology resources of one store. Safe to use from many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._until = 0.0
        self._generation = ""
        self._kept: OrderedDict[tuple[str, ...], Any] = OrderedDict()
        self._lock = threading.Lock()

    def systems(self, url: str) -> Sequence[System]:
        """Return every version of a code system that was posted."""
        return self._get(("CodeSystem", url), lambda: self._systems(f"url={_quoted(url)}"))

    def value_sets(self, url: str) -> Sequence[Json]:
        """Return every version of a value set that was posted."""
        if IMPLICIT in url:  # no resource is called so; each such url would be asked for
            return ()
        return self._get(("ValueSet", url), lambda: self._read("ValueSet", url))

    def implied(self, url: str) -> Sequence[Json]:
        """Return the value sets of all codes of posted code systems that name them so."""
        found = self._get(("implied",), self._named).get(url, ())
        return [whole_system(header) for header in found]

    def concept_maps(
        self, *, url: str | None = None, source: str | None = None, target: str | None = None
    ) -> Sequence[Json]:
        """Return concept maps by url, or by the systems their groups map from and to."""
        criteria = "&".join(
            f"{name}={_quoted(value)}"
            for name, value in (("url", url), ("source-system", source), ("target-system", target))
            if value is not None
        )
        if not criteria:
            return ()
        found = self._get(("ConceptMap", criteria), lambda: self._resources("ConceptMap", criteria))
        return [one for one in found if maps(one, url, source, target)]

    def supplements(self, url: str) -> Sequence[System]:
        """Return the posted code systems that supplement the one of that url."""
        found = self._get(
            ("supplements",), lambda: self._systems("content-mode=supplement", _SUPPLEMENTS)
        )
        return [one for one in found if split(str(one.header.get("supplements")))[0] == url]

    # --- reading ---------------------------------------------------------------------------------

    def _systems(self, criteria: str, most: int = _VERSIONS) -> Sequence[System]:
        return [MemorySystem(one) for one in self._resources("CodeSystem", criteria, most)]

    def _read(self, type_name: str, url: str) -> Sequence[Json]:
        return self._resources(type_name, f"url={_quoted(url)}")

    def _resources(self, type_name: str, criteria: str, most: int = _VERSIONS) -> Sequence[Json]:
        return [json.load(one.body) for one in self._store.matching(type_name, criteria, most)]

    def _named(self) -> dict[str, list[Json]]:
        found: dict[str, list[Json]] = {}
        for header in self.headers():
            whole = header.get("valueSet")
            if isinstance(whole, str) and "url" in header:
                found.setdefault(split(whole)[0], []).append(header)
        return found

    def headers(self) -> Sequence[Json]:
        """Return the header of every version of every code system that was posted."""
        return self._get(("headers",), self._all_headers)

    def _all_headers(self) -> list[Json]:
        """Return url -> headers of the code systems that name it as the set of all their codes.

        All posted code systems are read for it, since no search parameter knows it: asked only
        for urls that nothing else has.
        """
        found: list[Json] = []
        page: str | None = None
        while True:
            params = [("_count", _PAGE), *([("_page", page)] if page else [])]
            answer = self._store.search(SearchRequest("CodeSystem", params))
            for one in answer.matches:
                found.append({k: v for k, v in json.load(one.body).items() if k != "concept"})
            page = answer.next
            if page is None:
                return found

    # --- keeping ---------------------------------------------------------------------------------

    def _get(self, key: tuple[str, ...], find: Callable[[], T]) -> T:
        self._notice()
        held = self._kept.get(key)
        if held is not None:
            return cast(T, held)
        before = self._generation
        found = find()
        with self._lock:
            if self._generation == before:
                self._kept[key] = found
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return found

    def _notice(self) -> None:
        """Forget everything when a resource was written since."""
        now = time.monotonic()
        if now < self._until:
            return
        found = self._store.ask(lambda db: noted.generation(db, noted.TERMINOLOGY))
        with self._lock:
            self._until = now + _INTERVAL_S
            if found != self._generation:
                self._generation = found
                self._kept.clear()


def _quoted(value: str) -> str:
    """Return a value of a criterion: what the search syntax would split at is escaped."""
    plain = value
    for special in "\\|$,":
        plain = plain.replace(special, "\\" + special)
    return quote(plain, safe="")
