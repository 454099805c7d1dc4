"""The composition root: builds the services and hands them to each other. Decides nothing.

`Hub` is what an HTTP worker works with, and a Python program (`Hub.open`); `ingest` is the whole
life of the process that receives the feeds and, on SQLite, writes.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, overload
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from app import api, console, folder, metrics, paths, rest, settings
from app.api import Json, Params, Search
from app.clock import Clock, WallClock
from app.errors import Deleted, Invalid, Unavailable, YilianError
from app.feeds.conversion import Conversion, Conversions
from app.feeds.doors import HttpIntake
from app.feeds.doors import Setting as DoorsSetting
from app.feeds.iot.messages import MAX_BODY_BYTES
from app.feeds.received import Received
from app.feeds.running import Feeds, helpers
from app.feeds.running import Setting as FeedsSetting
from app.fhir.ids import CONVERT_SECRET
from app.registry import links, peers
from app.registry.indexed import identifier_keys
from app.registry.unite import Devices
from app.rest import capabilities, devices, registry, resolver, rsgi, trace
from app.rest.exchange import Request
from app.rest.identify import Resolver
from app.rest.process import process
from app.rest.services import LOOPBACK, Options
from app.settings import Address as Listening
from app.settings import Settings
from app.store import schema
from app.store.database import SQLITE, Address, connect
from app.store.store import Setting, Store, open_store, open_worker
from app.store.types import Change, Method, Outcome, SearchRequest
from app.store.writer import GroupWriter
from app.terminology import unmapped
from app.terminology.catalogue import Definitions
from app.terminology.posted import Posted
from app.terminology.searched import SearchedCodes
from app.terminology.service import Terminology
from app.terminology.shelf import InDatabase
from app.terminology.shipped import shipped
from app.terminology.stored.catalogue import Stored
from app.terminology.systems import Specials

if TYPE_CHECKING:
    from app.fhir.models import Model

Report = Callable[[Mapping[str, str]], None]

_MQTT_PORTS = {"mqtt": 1883, "mqtts": 8883}
_FEEDS = ("hl7v2", "dicom", "iot")
_WARM_AFTER_S = 3.0  # by then the worker is ready
# A search asks some ten times for Python's lock (at each statement, at each answer). While a thread
# does what takes long it waited 5 ms for it each time: 40 ms a search.
_SWITCH_S = 0.0005
_BASE = "http://localhost/fhir"  # of Bundles processed in this process, when no base is configured


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
            unite=Devices(),
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
    """The services of one process: of an HTTP worker, or of a Python program (`Hub.open`).

    Safe to use from many threads.
    """

    def __init__(
        self, parts: Parts, *, clock: Clock | None = None, store: Store | None = None
    ) -> None:
        self._parts = parts
        self._held = ExitStack()
        self.clock: Clock = clock or WallClock()
        self.http = Options(
            software_version=released(),
            hosts=(*LOOPBACK, *parts.settings.allow_host),
            cors_origins=parts.settings.allow_origin,
            zone=ZoneInfo(parts.settings.time_zone),
            peers=parts.peers,
            multiple_delete=parts.settings.conditional_delete == "multiple",
        )
        self.store: Store = store or open_worker(
            parts.settings.database, parts.writer_socket, parts.store_setting, self.clock
        )
        self.terminology = Terminology(
            [
                Stored(self.store),  # before its headers, which are posted without concepts
                Posted(self.store),
                Specials(),
                shipped(paths.shipped("profiles")),
                Definitions(),
            ],
            InDatabase(self.store),
        )
        self.store.codes = SearchedCodes(self.terminology)
        self.inbox = Received(parts.database, zone=ZoneInfo(parts.settings.time_zone))
        self._conversions = Conversions(parts.doors)

    @classmethod
    def open(
        cls,
        where: str | Path | None = None,
        *,
        data: str | Path | None = None,
        time_zone: str | None = None,
        overlay: str | Path | None = None,
        clock: Clock | None = None,
    ) -> Hub:
        """Open the hub of a data folder or of a database URL. Use it in a `with` block.

        What is not given is decided as for `yilian serve`: environment, yilian.toml, defaults.
        If a hub already runs on the folder of a SQLite file, it is handed what is written here;
        else this process is the hub until `close`, and keeps others out of the folder.

        where: a folder, or `postgresql://...` or `sqlite:///...`. data: the data folder that
        belongs to a database URL (of a SQLite file: where it lies).
        Raises Unavailable when another program holds the folder and takes no writes.
        """
        chosen = _settings(where, data, time_zone=time_zone, overlay=overlay)
        if Address(chosen.database).dialect != SQLITE:
            parts = _parts(chosen)
            return cls(parts, clock=clock, store=_alone(parts, clock))
        try:
            held = folder.Folder(chosen.data, Address(chosen.database).path)
        except Unavailable:
            return cls(_of_running(chosen), clock=clock)
        with ExitStack() as taken:
            taken.callback(held.close)
            held.id_key()
            parts = _parts(chosen)
            hub = cls(parts, clock=clock, store=_alone(parts, clock))
            hub._held = taken.pop_all()
        return hub

    @overload
    def read(
        self, type: str, id: str, *, version: int | str | None = ..., as_model: Literal[False] = ...
    ) -> Json: ...
    @overload
    def read(
        self, type: str, id: str, *, version: int | str | None = ..., as_model: Literal[True]
    ) -> Model: ...
    def read(
        self,
        type: str,
        id: str,
        *,
        version: int | str | None = None,
        as_model: bool = False,
    ) -> Json | Model:
        """Return a resource as it is now, or one version of it.

        Raises NotFound, Deleted; with `as_model` NotSupported for R4 types without a model and
        Invalid for what R4B does not allow.
        """
        if version is None:
            stored = self.store.read(type, id)
        else:
            stored = self.store.vread(type, id, str(version))
            if stored.deleted:
                raise Deleted("this version is the deletion of the resource")
        return api.to_model(stored.body) if as_model else api.from_bytes(stored.body)

    @overload
    def search(
        self, type: str | None, params: Params = ..., *, as_model: Literal[False] = ...
    ) -> Search[Json]: ...
    @overload
    def search(
        self, type: str | None, params: Params = ..., *, as_model: Literal[True]
    ) -> Search[Model]: ...
    def search(
        self, type: str | None, params: Params = (), *, as_model: bool = False
    ) -> Search[Json] | Search[Model]:
        """Return a search to iterate over, which fetches its pages as it goes.

        type: None searches all types. params: as a query (`"name=Wang&_count=50"`), a mapping
        (a list of values: all have to fit) or pairs. What is wrong with them is raised when the
        first page is fetched: UnknownType, Invalid, NotSupported, TooCostly.
        """
        request = SearchRequest(type, api.pairs(params), base=self.http.base_url or "")
        if as_model:
            return Search(self.store, request, api.to_model)
        return Search(self.store, request, api.from_bytes)

    def commit(self, *changes: Change) -> list[Outcome]:
        """Do all changes or none, durably; return what each did, in their order.

        Make them with `app.api.create`, `update` and `delete`. Several may refer to each other by
        `full_url`; an error names the change as `Bundle.entry[n]`.
        """
        return self.store.commit(api.numbered(changes))

    def transaction(self, bundle: Json | Model) -> Json:
        """Process a Bundle of type transaction or batch and return the response Bundle.

        All that `POST /fhir` can do, reads and patches too. Raises what made a transaction fail.
        """
        body = api.to_bytes(api.as_json(bundle))
        return api.from_bytes(
            process(self, Request("POST", "", {}, self.http.base_url or _BASE, body)).body
        )

    def convert(self, feed: str, data: bytes, *, mapping: str | None = None) -> list[Conversion]:
        """Return what messages would become, a transaction Bundle each; nothing is kept.

        feed: hl7v2, dicom or iot. mapping: of device messages that do not name theirs.
        """
        return self._conversions.convert(feed, data, mapping)

    def resolve(self, code: str, *, as_: str | None = None, at: str | None = None) -> Json:
        """Return what a barcode or identifier is and which resources carry it, as `/id` does.

        as_: the scheme it is in. at: a FHIR date or dateTime in the past.
        """
        return Resolver(self).answer({"code": code, "as": as_, "at": at})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

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
        return metrics.exposition(self._queue_ages(), self._unmapped())

    def _unmapped(self) -> int | None:
        """Return how many codes no concept map knows; None without a database."""
        try:
            return unmapped.count(self.store)
        except Unavailable:
            return None

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
        self._held.close()

    def _database_answers(self) -> bool:
        try:
            db = connect(self._parts.database)
            with contextlib.closing(db):
                schema.require_current(db)
        except YilianError:
            return False
        return True


def _settings(where: str | Path | None, data: str | Path | None, **more: object) -> Settings:
    """Return the settings of a hub that is opened by a program."""
    given = {name: str(value) for name, value in more.items() if value is not None}
    if isinstance(where, str) and "://" in where:
        given["database_url"] = where
        if data is None and Address(where).dialect == SQLITE:
            data = Address(where).path.absolute().parent
            if not folder.may_become(data):
                raise Invalid("say which data folder this SQLite file belongs to", at="data")
    elif where is not None:
        data = where
    if data is not None:
        given["data"] = str(data)
    return settings.gather(given)


def _alone(parts: Parts, clock: Clock | None) -> Store:
    """Open the store of a process that writes by itself."""
    return open_store(parts.settings.database, parts.store_setting, clock)


def _of_running(chosen: Settings) -> Parts:
    """Return the parts of the hub that runs on a data folder. Raises Unavailable for none."""
    parts = _parts(chosen)
    if not _accepts(socket.AF_UNIX, str(parts.writer_socket)):
        raise Unavailable(
            "another program holds the data folder or the database and takes no writes here: it is"
            " no hub, one of another data folder, or one that is starting or stopping"
        )
    return parts


def _parts(chosen: Settings) -> Parts:
    """Return the parts for a data folder as it is; without an id secret, that of `convert`."""
    known = chosen.id_secret or folder.known_id_key(chosen.data)
    socket_path = folder.writer_socket(chosen.data)
    return Parts(chosen, known or CONVERT_SECRET.decode(), socket_path)


def runs_on_loop(parts: Parts) -> bool:
    """Say whether an HTTP worker runs on an event loop: a server's answers are waited for on
    threads."""
    return parts.database.dialect == SQLITE


def application(parts: Parts, threads: int) -> rest.Wsgi | rsgi.Application:
    """Return the HTTP application of one worker process: RSGI if it `runs_on_loop`, else WSGI.

    threads: how many an RSGI application has for what takes long.
    """
    hub = Hub(parts)
    doors_setting = replace(parts.doors, preparer=hub.store.preparer)
    intake = HttpIntake(doors_setting, hub.clock, hub.store.notice)
    kinds = parts.link_rules.kinds
    doors = [
        console.blueprint(hub),
        devices.blueprint(intake, MAX_BODY_BYTES),
        trace.blueprint(hub, kinds),
        registry.blueprint(hub, kinds),
        resolver.blueprint(hub, kinds),
    ]
    sys.setswitchinterval(_SWITCH_S)
    warming = threading.Timer(_WARM_AFTER_S, _warm, (hub, intake))
    warming.daemon = True
    warming.start()
    wsgi = metrics.counted(rest.create_app(hub, doors))
    if not runs_on_loop(parts):
        return wsgi
    asks_peers = hub.http.peers is not None
    return rsgi.Application(wsgi, hub.store, threads=threads, asks_peers=asks_peers)


def _warm(hub: Hub, intake: HttpIntake) -> None:
    """Make what nobody should wait for; who asks sooner waits for it as before."""
    with contextlib.suppress(YilianError):
        capabilities.warm(hub)
        intake.warm()


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
        overlay=parts.settings.overlay,
    )
    readers = helpers(setting)  # before the store brings threads
    store = open_store(parts.settings.database, parts.store_setting, clock, upgrade=False)
    with ExitStack() as open_now:
        open_now.callback(store.close)
        # Theirs know what is posted only if they are those of the store.
        setting = replace(
            setting,
            preparer=store.preparer,
            doors=replace(parts.doors, preparer=store.preparer),
        )
        feeds = Feeds(setting, store.writer, clock, readers, meter=metrics.FeedMeter())
        open_now.callback(feeds.stop)
        try:
            addresses = feeds.start()
        except OSError as exc:
            reason = exc.strerror or "the address is not usable"
            raise Unavailable(f"--mllp: cannot listen on {parts.settings.mllp}: {reason}") from exc
        if isinstance(store.writer, GroupWriter):  # last: `Hub.not_ready` takes it as the sign
            open_now.callback(store.writer.serve(parts.writer_socket).close)
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
