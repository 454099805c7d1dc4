"""The store as its users see it: reads over a connection a thread, writes through one writer."""

from __future__ import annotations

import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TypeVar

from app.clock import Clock, WallClock
from app.errors import Invalid, Unavailable
from app.fhir import searchparams
from app.fhir.searchparams import Param
from app.store import history, noted, read, resolve, schema
from app.store.aside import Aside, Statement
from app.store.commit import Match
from app.store.criteria import parse
from app.store.database import (
    SQLITE,
    Address,
    Connection,
    Connections,
    connect,
    data_errors,
    driver_errors,
    timeouts,
)
from app.store.effects import Effects
from app.store.entries import IdentifierKeys, LinkRules
from app.store.graph import Graph
from app.store.handover import SocketWriter
from app.store.posted import Posted
from app.store.prepare import Preparer
from app.store.reindex import Upkeep
from app.store.resolve import Around, Guess, Thing, Wanted
from app.store.search import demand, run
from app.store.search.context import Codes, Context, Learned
from app.store.search.systems import Systems
from app.store.turns import Overdue, Turn
from app.store.types import (
    Change,
    HistoryPage,
    Outcome,
    SearchPage,
    SearchRequest,
    Stored,
)
from app.store.unite import Unite
from app.store.writer import Writer, local_writer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Setting:
    """What a store needs to know of its installation.

    tenant: number of the tenant this store serves; zone: for dates without one; bases: own base
    URLs with a trailing slash; identifier_keys: canonical keys of a resource's identifiers;
    link_rules: what a resource links with what; unite: when resources of a type are one thing.
    """

    tenant: int = 0
    zone: tzinfo = UTC
    bases: tuple[str, ...] = ()
    identifier_keys: IdentifierKeys | None = None
    link_rules: LinkRules | None = None
    unite: Unite | None = None

    def preparer(self, posted: Posted | None = None) -> Preparer:
        """Return what prepares writes; `posted` also learns of each SearchParameter written."""
        effects: Effects = {**noted.EFFECTS}
        if posted is not None:
            effects = {**effects, "SearchParameter": posted}
        return Preparer(
            self.tenant,
            self.zone,
            self.bases,
            self.identifier_keys,
            effects,
            posted,
            self.link_rules,
            self.unite,
        )


class Store:
    """Reads and commits. Safe to use from many threads.

    Make one with `open_store` (a process that may write) or `open_worker` (an HTTP worker beside
    the writer process of a SQLite file).
    """

    def __init__(
        self,
        address: Address,
        setting: Setting,
        clock: Clock,
        writer: Writer,
        preparer: Preparer,
        posted: Posted,
        upkeep: Upkeep | None = None,
    ) -> None:
        self._address = address
        self._setting = setting
        self._clock = clock
        self._writer = writer
        self._preparer = preparer
        self._posted = posted
        self._upkeep = upkeep
        self._local = threading.local()
        self._connections = Connections()
        self._learned = Learned()
        self._systems = Systems(setting.tenant)
        self.codes: Codes | None = None  # the terminology service, once there is one

    def take_turns(self, turn: Turn, loop: AbstractEventLoop) -> None:
        """Read and write for an event loop: `loop`, which runs in this thread of a worker.

        Its reads raise Overdue when a turn is over; while something is written it goes on.
        """
        self._local.turn = turn
        self._db.watch(turn.is_over)
        if isinstance(self._writer, SocketWriter):
            self._writer.serve_loop(loop, turn)

    def lookup(self, type: str, id: str) -> Stored | None:
        """Return the newest version, a deletion too; None for what was never written."""
        return self._read(lambda db: read.lookup(db, self._setting.tenant, type, id))

    def read(self, type: str, id: str) -> Stored:
        """Return the current version. Raises NotFound, Deleted."""
        return self._read(lambda db: read.read(db, self._setting.tenant, type, id))

    def vread(self, type: str, id: str, version_id: str) -> Stored:
        """Return one version, which may be a deletion. Raises NotFound."""
        return self._read(lambda db: read.vread(db, self._setting.tenant, type, id, version_id))

    def history(
        self,
        type: str | None,
        id: str | None,
        *,
        since_us: int | None = None,
        at: tuple[int, int] | None = None,
        count: int,
        cursor: str | None = None,
    ) -> HistoryPage:
        """Return one page of versions, newest first. Raises NotFound for an unknown id."""
        return self._read(
            lambda db: history.history(
                db,
                self._setting.tenant,
                type,
                id,
                since_us=since_us,
                at=at,
                count=count,
                cursor=cursor,
            )
        )

    def search(self, request: SearchRequest) -> SearchPage:
        """Return one page of matches. Raises UnknownType, Invalid, NotSupported, TooCostly."""
        bases = (*self._setting.bases, *((request.base + "/",) if request.base else ()))

        def found(db: Connection) -> SearchPage:
            self._posted.notice(db)
            context = _context(
                db, self._setting, self._clock, bases, self._systems, self.codes, self._learned
            )
            return run.search(context, request)

        return self._read(found)

    def matching(self, type: str, criteria: str, most: int) -> list[Stored]:
        """Return at most `most` resources that meet the criteria of a conditional write.

        Raises Invalid or NotSupported: unknown parameters are never ignored here.
        """

        def found(db: Connection) -> list[Stored]:
            self._posted.notice(db)
            context = _context(db, self._setting, self._clock, self._setting.bases, self._systems)
            return run.matching(context, type, parse(criteria), most)

        return self._read(found)

    def find_by_keys(self, keys: Sequence[str], *, limit: int = 100) -> list[Stored]:
        """Return the resources that carry one of these canonical keys, oldest first."""
        return self._read(lambda db: resolve.find_by_keys(db, self._setting.tenant, keys, limit))

    def same_systems(self, system: str) -> Sequence[str]:
        """Return the identifier systems that NamingSystems say are the same, itself first."""
        return self._read(lambda db: self._systems.same(db, system))

    def things(self, keys: Sequence[str], *, limit: int) -> list[Thing]:
        """Return the resources that carry one of these keys, and what is one with each."""
        return self._read(lambda db: resolve.things(db, self._setting.tenant, keys, limit))

    def things_and_around(
        self, keys: Sequence[str], wanted: Sequence[Wanted], guess: Guess, *, limit: int
    ) -> tuple[list[Thing], Around | None]:
        """Return what `things` does, and what is around it if the guess is right."""
        tenant = self._setting.tenant
        return self._read(
            lambda db: resolve.things_and_around(db, tenant, keys, limit, wanted, guess)
        )

    def around(
        self,
        thing: Thing,
        wanted: Sequence[Wanted],
        also: Sequence[tuple[str, str]] = (),
        *,
        until_us: int | None = None,
    ) -> Around:
        """Return the newest resources that refer to a thing, their patients, and `also` others."""
        tenant = self._setting.tenant
        return self._read(lambda db: resolve.around(db, tenant, thing.pks, wanted, also, until_us))

    def count_types(self, most: int) -> dict[str, int]:
        """Return how many resources there are by type, each counted up to `most`."""
        return self._read(lambda db: resolve.count_types(db, self._setting.tenant, most))

    @property
    def tenant(self) -> int:
        """Whose data these are."""
        return self._setting.tenant

    @property
    def dialect(self) -> str:
        return self._address.dialect

    @property
    def clock(self) -> Clock:
        return self._clock

    def ask(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` reads, over this thread's connection, from tables of its own."""
        return self._read(work)

    def write_aside(self, statements: Sequence[Statement]) -> None:
        """Write rows of tables that hold no resources, all or none, durably."""
        self._writer.write_aside(Aside(statements))

    @property
    def graph(self) -> Graph:
        """What is linked with what, as this thread may read it now."""
        return Graph(self._db, self._setting.tenant)

    def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        """Do all changes or none, durably. Raises the first error, located in its Bundle."""
        self._read(self._posted.notice)
        return self._writer.commit(self._preparer.prepare(changes))

    def search_parameters(self, type: str) -> Mapping[str, Param]:
        """Return code -> what a type can be searched by now, ready posted parameters included."""
        self._read(self._posted.notice)
        return searchparams.params(type)

    def search_generation(self) -> int:
        """Learn which SearchParameters were posted; the number moves when what they give changes.

        It never comes back in this process, whatever databases it opens one after the other.
        """
        self._read(self._posted.notice)
        return searchparams.shared.generation

    def close(self) -> None:
        """Finish what was handed in and close the connections."""
        if self._upkeep is not None:
            self._upkeep.close()
        self._writer.close()
        self._connections.close_all()
        self._posted.close()

    @property
    def preparer(self) -> Preparer:
        """What prepares writes for this store; see `notice`."""
        return self._preparer

    def notice(self) -> None:
        """Learn which search parameters other processes have posted, before preparing writes."""
        self._read(self._posted.notice)

    @property
    def writer(self) -> Writer:
        """The one that commits; that of a SQLite file can serve other processes."""
        return self._writer

    def _read(self, work: Callable[[Connection], T]) -> T:
        """Do `work` over this thread's connection. Raises Unavailable when the server is gone."""
        db = self._db
        turn: Turn | None = getattr(self._local, "turn", None)
        if turn is not None and turn.is_over():
            raise Overdue
        try:
            return work(db)
        except driver_errors(db.dialect) as exc:
            if turn is not None and turn.is_over():
                raise Overdue from None
            if db.lost:
                raise Unavailable("the database cannot be read now") from exc
            if isinstance(exc, timeouts(db.dialect)):
                raise Unavailable("the database takes too long to answer", code="timeout") from exc
            if isinstance(exc, data_errors(db.dialect)):
                raise Invalid("a value that no resource can have") from exc
            raise

    @property
    def _db(self) -> Connection:
        found: Connection | None = getattr(self._local, "db", None)
        if found is not None and found.lost:
            self._connections.close(found)
            found = None
        if found is None:
            self._local.db = None
            found = connect(self._address)
            self._local.db = found
            self._local.lease = self._connections.lend(found)
        return found


def open_store(
    url: str,
    setting: Setting | None = None,
    clock: Clock | None = None,
    *,
    upgrade: bool = True,
    upkeep: bool = True,
) -> Store:
    """Open the database of `url` for reading and writing, at the newest schema.

    upkeep: index posted search parameters and seal the change log in the background.
    """
    address, setting, clock = Address(url), setting or Setting(), clock or WallClock()
    _settle_schema(address, upgrade=upgrade)
    posted = Posted(setting.tenant)
    preparer = setting.preparer(posted)
    writer = local_writer(address, preparer=preparer, clock=clock, match=_matcher(setting, clock))
    keeper = Upkeep(address, posted=posted, preparer=preparer, writer=writer) if upkeep else None
    return Store(address, setting, clock, writer, preparer, posted, keeper)


def open_worker(
    url: str, socket: Path, setting: Setting | None = None, clock: Clock | None = None
) -> Store:
    """Open the database for an HTTP worker: on SQLite writes go to the process at `socket`."""
    address, setting, clock = Address(url), setting or Setting(), clock or WallClock()
    if address.dialect != SQLITE:
        return open_store(url, setting, clock, upgrade=False)
    posted = Posted(setting.tenant)
    preparer = setting.preparer(posted)
    return Store(address, setting, clock, SocketWriter(socket), preparer, posted)


def _settle_schema(address: Address, *, upgrade: bool) -> None:
    if upgrade:
        schema.upgrade(address)
        return
    db = connect(address)
    try:
        schema.require_current(db)
    finally:
        db.close()


def _matcher(setting: Setting, clock: Clock) -> Match:
    """Return how the write path finds the resources that criteria name."""
    systems = Systems(setting.tenant)

    def match(db: Connection, type_name: str, criteria: str) -> Sequence[str]:
        context = _context(db, setting, clock, setting.bases, systems)
        return run.matches(context, type_name, parse(criteria))

    return match


def _context(
    db: Connection,
    setting: Setting,
    clock: Clock,
    bases: tuple[str, ...],
    systems: Systems,
    codes: Codes | None = None,
    learned: Learned | None = None,
) -> Context:
    return Context(
        db=db,
        tenant=setting.tenant,
        zone=setting.zone,
        now_us=clock.now_us(),
        bases=bases,
        codes=codes,
        inner=demand.inner,
        learned=learned or Learned(),
        systems=systems,
    )
