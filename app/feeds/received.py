"""What was received, for those who look: pages of the inbox, single entries, bounded counts.

Reads only, over a connection for each thread. `inbox.py` is what the feeds write with.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from app.errors import Unavailable
from app.feeds import inbox
from app.feeds.inbox import Entry, State, Wanted
from app.store.database import Address, Connection, Connections, connect, driver_errors

STATES: Mapping[str, State] = {state.name.lower(): state for state in State}


@dataclass(frozen=True, slots=True)
class Counted:
    """How many of the newest entries of one feed are in one state."""

    feed: str
    state: str
    count: int


class Received:
    """The inbox as a console or a monitor sees it. Safe to use from many threads."""

    def __init__(self, address: Address, tenant: int = 0) -> None:
        self._address = address
        self._tenant = tenant
        self._local = threading.local()
        self._connections = Connections()

    def page(
        self,
        *,
        feed: str | None = None,
        states: Sequence[str] = (),
        source: str | None = None,
        control_id: str | None = None,
        before: int | None = None,
        count: int,
    ) -> list[Entry]:
        """Return entries without their bytes, newest first; `before` an id goes on with a page."""
        wanted = Wanted(
            feed=feed,
            states=[STATES[name] for name in states],
            source=source,
            control_id=control_id,
        )
        with self._reading() as db:
            return inbox.page(db, self._tenant, wanted, count=count, before=before)

    def get(self, id_: int) -> Entry:
        """Return one entry with the bytes received. Raises NotFound."""
        with self._reading() as db:
            return inbox.get(db, self._tenant, id_)

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
