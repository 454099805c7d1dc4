"""The feeds of one process, from start to stop: listener, door, dispatcher, in this order.

On SQLite this is the writer process; on PostgreSQL a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zoneinfo import ZoneInfo

from app.clock import Clock
from app.errors import Unavailable
from app.feeds.apply import Applier
from app.feeds.dispatch import Dispatcher, Meter
from app.feeds.doors import Doors
from app.feeds.doors import Setting as DoorsSetting
from app.feeds.hl7v2 import senders
from app.feeds.hl7v2.convert import of_site
from app.feeds.hl7v2.door import Door, Profile
from app.feeds.hl7v2.helpers import Helpers
from app.feeds.hl7v2.loop import Loop
from app.feeds.hl7v2.mllp import Counts, Listener, Network
from app.feeds.hl7v2.named import FEED
from app.feeds.hl7v2.reading import Read, Reader
from app.feeds.lanes import Lane
from app.store.database import Address, Connection, connect, driver_errors
from app.store.posted import Posted
from app.store.prepare import Preparer
from app.store.writer import GroupWriter, Writer

_MOST_HELPERS = 4


@dataclass(frozen=True, slots=True)
class Setting:
    """What the feeds need to know of their installation.

    mllp: where to listen, None for not at all; allow: networks that may connect. doors: the same
    for DICOM and MQTT. overlay: the site's own mappings, authorities and senders.
    """

    database: Address
    preparer: Preparer
    id_secret: bytes
    time_zone: str
    mllp: tuple[str, int] | None
    allow: Sequence[Network] = ()
    doors: DoorsSetting | None = None
    overlay: Path | None = None


def reader(setting: Setting) -> Reader:
    """Return how messages are read in this installation. Raises Invalid (`of_site`)."""
    options = of_site(setting.time_zone, setting.id_secret, setting.overlay)
    return Reader(options, ZoneInfo(setting.time_zone), setting.preparer)


def helpers(setting: Setting, count: int | None = None) -> Helpers | None:
    """Start processes that read messages; call it before this process has other threads.

    count: by default one for every two processors, at most four: the writer keeps up with no more.
    """
    if setting.mllp is None:
        return None
    if count is None:
        count = min(max(len(os.sched_getaffinity(0)) // 2, 1), _MOST_HELPERS)
    noticing = _Noticing(setting)
    return Helpers(noticing.read, count, warm=noticing.reader.read)


class _Noticing:
    """The reader of a process without a store: learns by itself what was posted."""

    def __init__(self, setting: Setting) -> None:
        self._address = setting.database
        self._posted = Posted(setting.preparer.tenant)
        self._db: Connection | None = None
        self._away: tuple[type[Exception], ...] = (
            Unavailable,
            *driver_errors(setting.database.dialect),
        )
        knowing = replace(setting.preparer, posted=self._posted)
        self.reader = reader(replace(setting, preparer=knowing))

    def read(self, raw: bytes) -> Read:
        try:
            self._db = self._db or connect(self._address)
            self._posted.notice(self._db)
        except self._away:
            self._db = None  # what is not noticed is indexed by the writer
        return self.reader.read(raw)


class Feeds:
    """Dispatcher and doors of one process."""

    def __init__(
        self,
        setting: Setting,
        writer: Writer,
        clock: Clock,
        helpers: Helpers | None = None,
        *,
        meter: Meter | None = None,
    ) -> None:
        self._helpers = helpers
        self._lane: Lane | None = None
        if isinstance(writer, GroupWriter):
            grouping: GroupWriter | Lane = writer
        else:
            grouping = self._lane = Lane(writer)
        self.dispatcher = Dispatcher(
            grouping,
            Applier(setting.preparer),
            clock,
            lambda: connect(setting.database),
            meter=meter,
        )
        profile = Profile(ZoneInfo(setting.time_zone))
        self.door = Door(
            self.dispatcher,
            reader(setting),
            profile,
            clock,
            helpers,
            senders=senders.load(setting.overlay, profile),
        )
        self._doors = Doors(setting.doors, self.dispatcher, clock) if setting.doors else None
        self._loop = Loop("mllp")
        self._listener = None
        if setting.mllp is not None:
            self._listener = Listener(
                setting.mllp, self.door.accept, allow=setting.allow, loop=self._loop
            )

    @property
    def counts(self) -> Counts | None:
        """What the MLLP listener has seen, for metrics."""
        return self._listener.counts if self._listener else None

    def start(self) -> Mapping[str, str]:
        """Apply what an earlier life left, then listen; return the addresses by listener."""
        if self._listener is not None:
            self._loop.start()
        if self._helpers is not None:
            self._helpers.start(self._loop)
        others = self._doors.rereads if self._doors else {}
        self.dispatcher.start({FEED: self.door.reread, **others})
        addresses = {}
        if self._listener is not None:
            self._listener.start()
            addresses["mllp"] = f"{self._listener.address[0]}:{self._listener.port}"
        if self._doors is not None:
            addresses.update(self._doors.start())
        if self._helpers is not None:
            self._helpers.warm()  # not before: it would hold up who listens
        return addresses

    def stop(self, timeout_s: float = 10.0) -> None:
        """Answer what is complete, then stop; the writer is closed afterwards."""
        if self._listener is not None:
            self._listener.stop(timeout_s)
        if self._doors is not None:
            self._doors.stop(timeout_s)
        self.door.stop()
        self.dispatcher.stop()
        self._loop.stop()
        if self._lane is not None:
            self._lane.close()
