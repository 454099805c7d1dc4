"""Posted SearchParameters: their numbers and states, and how every process learns of them.

R4 searchparameter.html. A SearchParameter takes effect when it is `active`, has an expression and
is not one of R4's own. Its state is a fact beside the data, written in the transaction that writes
the resource:

    search                 the generation: moves whenever one of the others changes
    search/next            the next free parameter number
    search/<tenant>/<id>   what the SearchParameter of that id says, its first number and state

A number is given once and never again, so that index rows of what a parameter used to mean are
never found. A new meaning (expression, type, bases) is a new number and is indexed anew;
`reindex.py` does that in the background and makes the parameter ready.

Every process asks for the generation before it prepares a write or plans a search (`notice`), as
often as `_INTERVAL_S` says: between, asking costs 0.1 us. Who writes a SQLite file learns of what
it commits before it evaluates the next change set (`settle`), so what others prepared in ignorance
is prepared again. There is one database a process: the parameters known are those of
`searchparams.shared`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from app.errors import Invalid, YilianError
from app.fhir import json as fhir_json
from app.fhir import searchparams
from app.fhir.searchparams import FIRST_CUSTOM_NUMBER, Param
from app.store.database import POSTGRESQL, SQLITE, Connection

log = logging.getLogger(__name__)

BUILDING, READY = "building", "ready"

# For so long a process may not know what another one posted.
_INTERVAL_S = {SQLITE: 0.02, POSTGRESQL: 0.25}
_LOCK = 0x59494C51  # advisory lock number: parameters are posted one after the other
_GENERATION = "search"
_NEXT = "search/next"
_MEMBERS = ("url", "code", "type", "base", "expression", "target")


class Posting(msgspec.Struct):
    """What is known of one posted SearchParameter.

    definition: the members that decide what it finds; first: its first parameter number;
    place: (type, id) of the last resource indexed; done, total: resources indexed, and to index.
    """

    definition: dict[str, Any]
    first: int
    state: str = BUILDING
    place: tuple[str, str] | None = None
    done: int = 0
    total: int = 0

    @property
    def url(self) -> str:
        return str(self.definition["url"])


class Posted:
    """The posted SearchParameters of one tenant, as this process knows them.

    Also the effect of writing a SearchParameter (`effects.py`). Safe to use from many threads.
    """

    def __init__(self, tenant: int) -> None:
        self.generation = 0  # of the database, as far as this process has noticed
        self.building = threading.Event()  # there is something to index
        self._prefix = f"search/{tenant}/"
        self._until = 0.0
        self._announced = False
        self._known: dict[str, tuple[int, str]] = {}  # url -> first number, state
        self._urls: dict[str, str] = {}  # id -> url
        self._lock = threading.Lock()

    # --- noticing --------------------------------------------------------------------------------

    def notice(self, db: Connection) -> None:
        """Learn what was posted since, if anything was."""
        now = time.monotonic()
        if now >= self._until:
            self._until = now + _INTERVAL_S[db.dialect]
            self._look(db)

    def settle(self, db: Connection) -> None:
        """Learn at once what the transaction that has just been committed here posted."""
        if self._announced:
            self._announced = False
            self._look(db)

    def _look(self, db: Connection) -> None:
        row = db.one("SELECT value FROM fact WHERE name='search'")
        if row is not None and int(row[0]) != self.generation:
            self.learn(db)

    def learn(self, db: Connection) -> None:
        """Take over what the database says now."""
        with self._lock:
            # The generation first: what comes in between is learned again next time.
            row = db.one("SELECT value FROM fact WHERE name=?", (_GENERATION,))
            postings = self.all(db)
            wanted = {posting.url: posting for posting in postings.values()}
            for url in self._known.keys() - wanted.keys():
                searchparams.shared.unregister(url)
                del self._known[url]
            for url, posting in _composites_last(wanted):
                if self._known.get(url) != (posting.first, posting.state):
                    self._register(posting)
                    self._known[url] = (posting.first, posting.state)
            self._urls = {id_: posting.url for id_, posting in postings.items()}
            self.generation = int(row[0]) if row else 0
        if any(posting.state == BUILDING for posting in postings.values()):
            self.building.set()

    def _register(self, posting: Posting) -> None:
        try:
            searchparams.shared.register(
                posting.definition, posting.first, ready=posting.state == READY
            )
        except YilianError:  # it builds on one that was deleted
            searchparams.shared.unregister(posting.url)
            log.warning("store.search_parameter_unusable", extra={"version": posting.first})

    def close(self) -> None:
        """Forget them all: this process leaves the database."""
        with self._lock:
            for url in self._known:
                searchparams.shared.unregister(url)
            self._known.clear()
            self.generation = 0

    # --- the facts -------------------------------------------------------------------------------

    def all(self, db: Connection) -> dict[str, Posting]:
        """Return id -> posting, as the database has them."""
        rows = db.all(
            "SELECT name,value FROM fact WHERE name LIKE ? ORDER BY name", (f"{self._prefix}%",)
        )
        size = len(self._prefix)
        return {name[size:]: _decode(value.encode()) for name, value in rows}

    def one(self, db: Connection, id_: str) -> Posting | None:
        """Return the posting of a SearchParameter that is in force."""
        row = db.one("SELECT value FROM fact WHERE name=?", (self._prefix + id_,))
        return _decode(row[0].encode()) if row else None

    def put(self, db: Connection, id_: str, posting: Posting) -> None:
        """Write a posting, inside the caller's transaction."""
        _put(db, self._prefix + id_, msgspec.json.encode(posting).decode())

    def announce(self, db: Connection) -> None:
        """Make every process look, once the caller's transaction is over."""
        row = db.one("SELECT value FROM fact WHERE name=?", (_GENERATION,))
        _put(db, _GENERATION, str(int(row[0]) + 1 if row else 1))
        self._announced = True

    def never_retired(self, db: Connection) -> bool:
        """Say whether every number ever given is in force: index rows of others stay, unfound."""
        row = db.one("SELECT value FROM fact WHERE name=?", (_NEXT,))
        given = int(row[0]) - FIRST_CUSTOM_NUMBER if row else 0
        ready = [p for p in self.all(db).values() if p.state == READY]
        return given == sum(len(searchparams.bases(p.definition)) for p in ready)

    # --- the effect of a write -------------------------------------------------------------------

    def check(self, resource: Mapping[str, Any]) -> None:
        """Raise Invalid, with the element at fault, if a SearchParameter could not be used."""
        if _in_force(resource):
            searchparams.shared.check(resource, self._urls.get(resource.get("id", "")))

    def written(self, db: Connection, id_: str, body: bytes | None) -> None:
        """Record what a SearchParameter says now. Raises Invalid when another says the same."""
        _one_after_the_other(db)
        definition = None if body is None else _definition(fhir_json.load(body))
        postings = self.all(db)
        before = postings.pop(id_, None)
        if definition == (before.definition if before else None):
            return
        db.run("DELETE FROM fact WHERE name=?", (self._prefix + id_,))
        if definition is not None:
            _refuse_doubles(definition, postings.values())
            self.put(db, id_, Posting(definition, _take_numbers(db, definition)))
        self.announce(db)

    # --- what was posted -------------------------------------------------------------------------

    def params(self, posting: Posting) -> list[Param]:
        """Return the parameters of a posting, one a base type."""
        return [param for param in searchparams.shared.posted() if param.url == posting.url]


_decode = msgspec.json.Decoder(Posting).decode


def _in_force(resource: Mapping[str, Any]) -> bool:
    return resource.get("status") == "active" and "expression" in resource


def _definition(resource: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what decides what a SearchParameter finds; None when it is not in force."""
    if not _in_force(resource) or searchparams.is_own(resource["url"]):
        return None
    found = {name: resource[name] for name in _MEMBERS if name in resource}
    found["component"] = [
        {name: component[name] for name in ("definition", "expression")}
        for component in resource.get("component", ())
    ]
    return found


def _composites_last(wanted: Mapping[str, Posting]) -> Iterable[tuple[str, Posting]]:
    """Return the postings so that a composite comes after what it is made of."""
    return sorted(wanted.items(), key=lambda item: item[1].definition["type"] == "composite")


def _refuse_doubles(definition: Mapping[str, Any], others: Iterable[Posting]) -> None:
    types = set(searchparams.bases(definition))
    for other in others:
        if other.url == definition["url"]:
            raise Invalid(
                "another SearchParameter has this url already",
                at="SearchParameter.url",
                code="duplicate",
            )
        if other.definition["code"] == definition["code"] and types & set(
            searchparams.bases(other.definition)
        ):
            raise Invalid(
                "another SearchParameter gives this code to the same type already",
                at="SearchParameter.code",
                code="duplicate",
            )


def _take_numbers(db: Connection, definition: Mapping[str, Any]) -> int:
    row = db.one("SELECT value FROM fact WHERE name=?", (_NEXT,))
    first = int(row[0]) if row else FIRST_CUSTOM_NUMBER
    _put(db, _NEXT, str(first + len(searchparams.bases(definition))))
    return first


def _one_after_the_other(db: Connection) -> None:
    if db.dialect == POSTGRESQL:
        db.run("SELECT pg_advisory_xact_lock(?)", (_LOCK,))


def _put(db: Connection, name: str, value: str) -> None:
    db.run(
        "INSERT INTO fact (name,value) VALUES (?,?)"
        " ON CONFLICT (name) DO UPDATE SET value=excluded.value",
        (name, value),
    )
