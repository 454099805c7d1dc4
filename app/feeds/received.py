"""What was received, for those who look: pages of the inbox, single entries, bounded counts.

And what somebody asks for by hand: another try, or that a failed message is put aside. Reads over a
connection for each thread. `inbox.py` is what the feeds write with.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from typing import TypedDict, Unpack

from app.errors import Conflict, Invalid, Unavailable
from app.feeds import inbox
from app.feeds.inbox import Entry, State, Wanted
from app.fhir import dates
from app.store.database import (
    Address,
    Connection,
    Connections,
    connect,
    driver_errors,
    transaction,
)

MOST_REPLAYED = 100_000  # at once
_PORTION = 200  # entries moved in a transaction: what feeds write waits for one at most
STATES: Mapping[str, State] = {state.name.lower(): state for state in State}


@dataclass(frozen=True, slots=True)
class Counted:
    """How many of the newest entries of one feed are in one state."""

    feed: str
    state: str
    count: int


class Words(TypedDict, total=False):
    """Which entries are meant, as somebody says it."""

    feed: str | None
    source: str | None
    control_id: str | None
    states: Sequence[str]
    since: str | None
    until: str | None


def wanted(*, zone: tzinfo, at: str, **words: Unpack[Words]) -> Wanted:
    """Return which entries words name. A time is all that it stands for: a day, a minute.

    at: what stands before `since` and `until` where they are said, for errors. Raises Invalid.
    """
    return Wanted(
        feed=words.get("feed"),
        source=words.get("source"),
        control_id=words.get("control_id"),
        states=tuple(STATES[name] for name in words.get("states", ())),
        since_us=_bounds(words.get("since"), zone, f"{at}since")[0],
        until_us=_bounds(words.get("until"), zone, f"{at}until")[1],
    )


def _bounds(text: str | None, zone: tzinfo, at: str) -> tuple[int, int] | tuple[None, None]:
    if not text:
        return None, None
    try:
        return dates.bounds(text, zone)
    except Invalid as exc:
        raise Invalid(str(exc), at=at) from exc


def to_replay(db: Connection, tenant: int, which: Wanted) -> list[int]:
    """Return the ids of entries to replay: what failed, unless `which` names states."""
    if not which.states:
        which = replace(which, states=(State.FAILED,))
    return [entry.id for entry in inbox.page(db, tenant, which, count=MOST_REPLAYED)]


def move_all(
    db: Connection, tenant: int, ids: Sequence[int], to: State, *, reason: str | None = None
) -> int:
    """Do as `inbox.move`, a portion in each transaction; return how many were moved."""
    moved = 0
    for start in range(0, len(ids), _PORTION):
        with transaction(db):
            moved += inbox.move(db, tenant, ids[start : start + _PORTION], to, reason=reason)
    return moved


class Received:
    """The inbox as a console or a monitor sees it. Safe to use from many threads."""

    def __init__(self, address: Address, tenant: int = 0, zone: tzinfo = UTC) -> None:
        """zone: of times without one."""
        self._address = address
        self._tenant = tenant
        self._zone = zone
        self._local = threading.local()
        self._connections = Connections()

    def page(self, *, before: int | None = None, count: int, **words: Unpack[Words]) -> list[Entry]:
        """Return entries without their bytes, newest first; `before` an id goes on with a page."""
        which = wanted(zone=self._zone, at="http.", **words)
        with self._reading() as db:
            return inbox.page(db, self._tenant, which, count=count, before=before)

    def get(self, id_: int) -> Entry:
        """Return one entry with the bytes received. Raises NotFound."""
        with self._reading() as db:
            return inbox.get(db, self._tenant, id_)

    def replay(self, id_: int) -> None:
        """Have an entry applied again. Raises NotFound, Conflict when it cannot be."""
        with self._writing() as db:
            if not move_all(db, self._tenant, [id_], State.REPLAY):
                raise Conflict("a duplicate, or a message whose bytes are no longer kept")

    def replay_all(self, **words: Unpack[Words]) -> int:
        """Have entries applied again, those that failed unless states are named; say how many."""
        which = wanted(zone=self._zone, at="http.", **words)
        with self._writing() as db:
            ids = to_replay(db, self._tenant, which)
            return move_all(db, self._tenant, ids, State.REPLAY)

    def discard(self, id_: int, reason: str) -> None:
        """Put a failed entry aside. Raises NotFound, Conflict when it has not failed."""
        with self._writing() as db:
            if not move_all(db, self._tenant, [id_], State.DISCARDED, reason=reason):
                raise Conflict("only what failed can be put aside")

    def counts(self, most: int) -> list[Counted]:
        """Return how many of the newest `most` entries there are by feed and state."""
        with self._reading() as db:
            rows = db.all(
                "SELECT feed, state, count(*) FROM (SELECT feed, state FROM inbox WHERE tenant=?"
                " ORDER BY id DESC LIMIT ?) AS newest GROUP BY feed, state ORDER BY feed, state",
                (self._tenant, most),
            )
        return [Counted(feed, State(state).name.lower(), count) for feed, state, count in rows]

    def oldest_waiting(self) -> Mapping[str, int]:
        """Return feed -> when its oldest entry that is still to be applied was received (us).

        Looks at the oldest thousand only: what waits behind them is younger.
        """
        with self._reading() as db:
            rows = [
                row
                for state in (State.RECEIVED, State.REPLAY)
                for row in db.all(
                    "SELECT feed, min(received) FROM (SELECT feed, received FROM inbox"
                    " WHERE state=? AND tenant=? ORDER BY id LIMIT 1000) AS oldest GROUP BY feed",
                    (int(state), self._tenant),
                )
            ]
        oldest: dict[str, int] = {}
        for feed, received_us in rows:
            oldest[feed] = min(received_us, oldest.get(feed, received_us))
        return oldest

    def close(self) -> None:
        self._connections.close_all()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """Give a connection that writes: few ask, and seldom. Raises Unavailable."""
        try:
            with closing(connect(self._address, write=True)) as db:
                yield db
        except driver_errors(self._address.dialect) as exc:
            raise Unavailable("the database cannot be written now") from exc

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """Give this thread's connection; one that fails is not used again. Raises Unavailable."""
        db: Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = connect(self._address)
            self._local.lease = self._connections.lend(db)
        try:
            yield db
        except driver_errors(db.dialect) as exc:
            self._local.db = None
            self._connections.close(db)
            raise Unavailable("the database cannot be read now") from exc
