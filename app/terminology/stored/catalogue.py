"""The stored code systems of a database as a `Catalogue`, as this process knows them now.

Which versions there are is kept until the generation moves (`loading.py`), which is asked for as
often as `_INTERVAL_S` says.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import orjson

from app.store.database import Connection
from app.store.store import Store
from app.terminology.canonicals import split
from app.terminology.stored import implicit
from app.terminology.stored.loading import GENERATION
from app.terminology.stored.rows import READY, decode_facts
from app.terminology.stored.system import StoredSystem
from app.terminology.types import Json, System

_INTERVAL_S = 0.02


class Stored:
    """The stored versions of one store. Safe to use from many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._until = 0.0
        self._generation = ""
        self._systems: dict[tuple[int, int], StoredSystem] = {}
        self._by_url: dict[str, list[StoredSystem]] = {}
        self._lock = threading.Lock()

    def systems(self, url: str) -> Sequence[System]:
        """Return every version of a code system that is ready."""
        self._notice()
        return self._by_url.get(url, ())

    def supplements(self, url: str) -> Sequence[System]:
        """Return the stored code systems that supplement the one of that url."""
        self._notice()
        return [
            one
            for one in self._systems.values()
            if one.header.get("content") == "supplement"
            and split(str(one.header.get("supplements", "")))[0] == url
        ]

    def value_sets(self, url: str) -> Sequence[Json]:
        """Return the value set that a url with `?fhir_vs` implies, when its system is stored."""
        found = self.implicit(url)
        return [] if found is None else [found]

    def implicit(self, url: str) -> Json | None:
        """Return the implicit value set of a stored system: all, isa/X, refset/X, ecl/X."""
        self._notice()
        return implicit.value_set(url, self._by_url)

    def concept_maps(
        self, *, url: str | None = None, source: str | None = None, target: str | None = None
    ) -> Sequence[Json]:
        """Return nothing: concept maps are resources."""
        return ()

    def headers(self) -> Sequence[Json]:
        """Return the header of every version that is ready."""
        self._notice()
        return [one.header for one in self._systems.values()]

    def urls(self) -> Sequence[str]:
        """Return the urls of all stored code systems."""
        self._notice()
        return list(self._by_url)

    def _notice(self) -> None:
        if time.monotonic() < self._until:
            return
        with self._lock:  # nobody goes on with what was known before, least of all nothing
            if time.monotonic() >= self._until:
                self._store.ask(self._look)
                self._until = time.monotonic() + _INTERVAL_S

    def _look(self, db: Connection) -> None:
        row = db.one("SELECT value FROM fact WHERE name=?", (GENERATION,))
        if row is None or row[0] == self._generation:
            return
        known = self._systems
        # The number alone may have been another version's before; the time of its load was not.
        systems = {
            (v, touched): known.get((v, touched))
            or StoredSystem(self._store, v, orjson.loads(header), decode_facts(facts))
            for v, touched, header, facts in db.all(
                "SELECT v,touched,header,facts FROM cs WHERE tenant=? AND state=? ORDER BY v",
                (self._store.tenant, READY),
            )
        }
        by_url: dict[str, list[StoredSystem]] = {}
        for system in systems.values():
            by_url.setdefault(system.header["url"], []).append(system)
        self._systems, self._by_url = systems, by_url
        self._generation = row[0]
