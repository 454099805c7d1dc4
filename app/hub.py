"""The composition root: builds the services and hands them to each other. Decides nothing.

`Hub` is what an HTTP worker works with; `ingest` is the whole life of the process that receives
the feeds and, on SQLite, writes.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from app import console, folder, metrics, rest
from app.clock import Clock, WallClock
from app.errors import Unavailable, YilianError
from app.feeds.doors import HttpIntake
from app.feeds.doors import Setting as DoorsSetting
from app.feeds.iot.messages import MAX_BODY_BYTES
from app.feeds.received import Received
from app.feeds.running import Feeds, helpers
from app.feeds.running import Setting as FeedsSetting
from app.registry import links, peers
from app.registry.indexed import identifier_keys
from app.rest import devices, registry, resolver, trace
from app.rest.services import Options
from app.settings import Address as Listening
from app.settings import Settings
from app.store import schema
from app.store.database import SQLITE, Address, connect
from app.store.store import Setting, Store, open_store, open_worker
from app.store.types import Change, Method
from app.store.writer import GroupWriter, WriterServer

Report = Callable[[Mapping[str, str]], None]

_MQTT_PORTS = {"mqtt": 1883, "mqtts": 8883}
_FEEDS = ("hl7v2", "dicom", "iot")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the processes of one hub have in common.

    writer_socket: where the writer process listens (SQLite); on PostgreSQL nobody does.
    """

    settings: Settings
    id_secret: str
    writer_socket: Path

    @property
    def database(self) -> Address:
        return Address(self.settings.database)

    @property
    def store_setting(self) -> Setting:
        return Setting(
            zone=ZoneInfo(self.settings.time_zone),
            identifier_keys=identifier_keys,
            link_rules=self.link_rules,
        )

    @property
    def peers(self) -> peers.Peers | None:
        """The other hubs that answer for some codes, as the site's peers.yaml says."""
        overlay = self.settings.overlay
        return peers.load(overlay / "peers.yaml" if overlay else None)

    @property
    def link_rules(self) -> links.Rules:
        """What links what: the shipped rules and the site's."""
        return links.rules_of(self.settings.overlay)

    @property
    def needs_ingest(self) -> bool:
        """Whether there is work for the ingest process: a file to write, or a feed to hear."""
        settings = self.settings
        doors = (settings.http, settings.mllp, settings.dicom, settings.mqtt)
        return self.database.dialect == SQLITE or any(door is not None for door in doors)

    @property
    def doors(self) -> DoorsSetting:
        """What the doors beside HL7 v2 need to know."""
        return DoorsSetting(
            preparer=self.store_setting.preparer(),
            id_secret=self.id_secret.encode(),
            time_zone=self.settings.time_zone,
            objects=self.settings.data.absolute() / "objects",
            intake=self.writer_socket.with_name("iot.sock"),
            dicom=self.settings.dicom,
            mqtt=self.settings.mqtt,
            allow=self.settings.allow,
            overlay=self.settings.overlay,
        )

    def at(self, addresses: Mapping[str, str]) -> Parts:
        """Return the parts with the addresses the listeners really have, to be had again."""
        listeners: dict[str, Any] = {
            name: Listening(host.strip("[]"), int(port))
            for name, text in addresses.items()
            for host, _, port in (text.rpartition(":"),)
        }
        return replace(self, settings=replace(self.settings, **listeners))


class Hub:
    """The services of one process. `open_store` makes one for a process that is alone."""

    def __init__(self, parts: Parts, *, clock: Clock | None = None) -> None:
        self._parts = parts
        self.clock: Clock = clock or WallClock()
        self.http = Options(
            software_version=released(),
            zone=ZoneInfo(parts.settings.time_zone),
            peers=parts.peers,
        )
        self.store: Store = open_worker(
            parts.settings.database, parts.writer_socket, parts.store_setting, self.clock
        )
        self.inbox = Received(parts.database)

    def listeners(self) -> Mapping[str, str]:
        """Return listener -> address, of those that accept."""
        found = dict(folder.announced(self._parts.settings.data))
        if self._parts.settings.mqtt is not None:  # not a listener of ours, but heard all the same
            broker = urlsplit(self._parts.settings.mqtt)
            found["mqtt"] = f"{broker.hostname}:{broker.port or _MQTT_PORTS[broker.scheme]}"
        return found

    def not_ready(self) -> Sequence[str]:
        """Return what is not serving yet, in words for an operator; empty when all is."""
        missing = []
        if not self._database_answers():
            missing.append("the database")
        if self._parts.database.dialect == SQLITE:
            if not _accepts(socket.AF_UNIX, str(self._parts.writer_socket)):
                missing.append("the writer")
        elif (mllp := self._parts.settings.mllp) and not _accepts(_family(mllp.host), mllp):
            missing.append("the HL7 v2 listener")
        return missing

    def metrics(self) -> bytes:
        """Return the numbers of all processes of this hub in the Prometheus text format."""
        return metrics.exposition(self._queue_ages())

    def _queue_ages(self) -> Mapping[str, float]:
        """Return how long the oldest message of each feed waits; nothing without a database."""
        now_us = self.clock.now_us()
        try:
            waiting = self.inbox.oldest_waiting()
        except Unavailable:
            return {}
        return {feed: max(0, now_us - waiting.get(feed, now_us)) / 1e6 for feed in _FEEDS}

    def close(self) -> None:
        """Finish what was handed in and close the connections."""
        self.inbox.close()
        self.store.close()

    def _database_answers(self) -> bool:
        try:
            db = connect(self._parts.database)
            with contextlib.closing(db):
                schema.require_current(db)
        except YilianError:
            return False
        return True


def application(parts: Parts) -> rest.Wsgi:
    """Return the HTTP application of one worker process."""
    hub = Hub(parts)
    intake = HttpIntake(parts.doors, hub.clock)
    kinds = parts.link_rules.kinds
    doors = [
        console.blueprint(hub),
        devices.blueprint(intake, MAX_BODY_BYTES),
        trace.blueprint(hub, kinds),
        registry.blueprint(hub, kinds),
        resolver.blueprint(hub, kinds),
    ]
    return rest.create_app(hub, doors)


def ingest(parts: Parts, ready: Report, stop: threading.Event) -> None:
    """Receive the feeds and, on SQLite, own the file for all who write, until `stop` is set.

    Then no more is taken; what was taken is committed and answered, and the database is closed.
    Raises Unavailable when a listener cannot have its address.
    """
    clock = WallClock()
    setting = FeedsSetting(
        database=parts.database,
        preparer=parts.store_setting.preparer(),
        id_secret=parts.id_secret.encode(),
        time_zone=parts.settings.time_zone,
        mllp=parts.settings.mllp,
        allow=parts.settings.allow,
        doors=parts.doors,
    )
    readers = helpers(setting)  # before the store brings threads
    store = open_store(parts.settings.database, parts.store_setting, clock, upgrade=False)
    with ExitStack() as open_now:
        open_now.callback(store.close)
        feeds = Feeds(setting, store.writer, clock, readers, meter=metrics.FeedMeter())
        open_now.callback(feeds.stop)
        try:
            addresses = feeds.start()
        except OSError as exc:
            reason = exc.strerror or "the address is not usable"
            raise Unavailable(f"--mllp: cannot listen on {parts.settings.mllp}: {reason}") from exc
        if isinstance(store.writer, GroupWriter):  # last: `Hub.not_ready` takes it as the sign
            open_now.callback(WriterServer(store.writer, parts.writer_socket).close)
        ready(addresses)
        stop.wait()


def preload(setting: Setting) -> None:
    """Load what every process needs, before they part: they share its memory and start warm.

    One resource prepared brings in the definitions, validators and extractors.
    """
    body = b'{"resourceType":"Observation","status":"final","code":{"text":"warm"}}'
    setting.preparer().prepare([Change(Method.CREATE, "Observation", body=body)])


def released() -> str:
    """Return the version of Yilian that is installed."""
    try:
        return version("yilian")
    except PackageNotFoundError:  # a checkout that was never installed
        return "0"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _accepts(family: socket.AddressFamily, address: str | tuple[str, int]) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(address)
        except OSError:
            return False
    return True
