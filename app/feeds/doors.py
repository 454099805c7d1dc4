"""The doors beside HL7 v2: objects over DICOM, device messages over MQTT and HTTP.

Both read with the shipped mappings and the site's overlays, and hand what they receive to the
dispatcher. A broker that is away is no reason not to start: the subscriber goes on trying.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from app.clock import Clock
from app.errors import Unavailable, YilianError
from app.feeds.dicom import convert as dicom_convert
from app.feeds.dicom import door as dicom_door
from app.feeds.dicom import scp
from app.feeds.dicom.objects import ObjectStore
from app.feeds.dispatch import Dispatcher, Reread
from app.feeds.iot import convert as iot_convert
from app.feeds.iot import door as iot_door
from app.feeds.iot import intake, mqtt
from app.feeds.iot.catalogue import Catalogue
from app.feeds.iot.mqtt_broker import Spoken
from app.feeds.iot.reading import Reader
from app.feeds.iot.said import Outside
from app.fhir.ids import Ids
from app.mapping import assigners
from app.mapping.run import Context
from app.paths import shipped
from app.store.prepare import Preparer

_ASSIGNERS = "assigners.yaml"


@dataclass(frozen=True, slots=True)
class Setting:
    """What these doors need to know of their installation.

    dicom: where to listen; mqtt: the broker's URL; None for not at all. objects: the folder of
    received DICOM objects; intake: the socket for device messages from the HTTP workers. overlay:
    the site's own mappings.
    """

    preparer: Preparer
    id_secret: bytes
    time_zone: str
    objects: Path
    intake: Path
    dicom: tuple[str, int] | None = None
    mqtt: str | None = None
    allow: Sequence[scp.Network] = ()
    overlay: Path | None = None


class Doors:
    """The doors of one process, from start to stop."""

    def __init__(self, setting: Setting, dispatcher: Dispatcher, clock: Clock) -> None:
        self._setting = setting
        reader = device_reader(setting)
        reader.converter.catalogue.check()
        self.iot = iot_door.Door(dispatcher, reader, clock)
        self._dicom = _dicom(setting, dispatcher, clock)
        self._listener: scp.Listener | None = None
        self._subscriber: mqtt.Subscriber | None = None
        self._intake: intake.Server | None = None

    @property
    def rereads(self) -> Mapping[str, Reread]:
        """How each feed reads its entries again."""
        return {dicom_door.FEED: self._dicom.reread, iot_door.FEED: self.iot.reread}

    def start(self) -> Mapping[str, str]:
        """Listen and subscribe; return the addresses by listener. Raises Unavailable."""
        self.iot.start(expecting=self._setting.mqtt is not None)
        self._dicom.start()
        self._intake = intake.Server(self._setting.intake, self.iot.accept)
        addresses = {}
        if self._setting.dicom is not None:
            self._listener = self._listen(self._setting.dicom)
            host, port = self._listener.address
            addresses["dicom"] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if self._setting.mqtt is not None:
            spoken = Spoken(self._setting.objects.with_name("mqtt.json"))
            self._subscriber = mqtt.serve(self._setting.mqtt, self.iot.published, spoken=spoken)
        return addresses

    def _listen(self, address: tuple[str, int]) -> scp.Listener:
        limits = scp.Limits(allow=self._setting.allow)
        try:
            return scp.serve(address, self._dicom.accept, limits=limits)
        except OSError as exc:
            reason = exc.strerror or "the address is not usable"
            raise Unavailable(f"--dicom: cannot listen on {address}: {reason}") from exc

    def stop(self, timeout_s: float = 10.0) -> None:
        """Take no more, and finish what was taken."""
        if self._intake is not None:
            self._intake.close()
        if self._subscriber is not None:
            self._subscriber.close(timeout_s)
        if self._listener is not None:
            self._listener.close(timeout_s)
        self._dicom.stop()
        self.iot.stop()


def _folders(setting: Setting) -> list[Path]:
    return [shipped("mappings")] + ([setting.overlay] if setting.overlay else [])


def _context(setting: Setting, **values: object) -> Context:
    tables = [folder / _ASSIGNERS for folder in _folders(setting)]
    known = assigners.load(path for path in tables if path.is_file())
    return Context(Ids(setting.id_secret), {"assigners": known, **values})


class HttpIntake:
    """Device messages in an HTTP worker: read here, made safe by the process that writes."""

    def __init__(
        self, setting: Setting, clock: Clock, notice: Callable[[], None] = lambda: None
    ) -> None:
        """notice: has the preparer learn what was posted."""
        self._reader = device_reader(setting)
        self._notice = notice
        self._client = intake.Client(setting.intake)
        self._clock = clock

    def warm(self) -> None:
        """Do what the first message would wait for."""
        self._reader.warm()

    def knows(self, mapping: str) -> bool:
        return self._reader.converter.catalogue.knows(mapping)

    def take(
        self, body: bytes, mapping: str, peer: str, *, lines: bool | None
    ) -> Sequence[tuple[int, str, int, YilianError | None]]:
        """Return id, state, messages and problem of each entry of a body, once they are safe.

        Raises Malformed or TooMuch when nothing in it is a message, Unavailable.
        """
        outside = Outside(mapping=mapping, peer=peer)
        now_us = self._clock.now_us()
        self._notice()
        read = iot_door.read_all(self._reader, body, outside, now_us, lines=lines)
        problem = intake.first_problem(read)
        if problem is not None:
            raise problem
        return [
            (kept.id, kept.state.name.lower(), one.count, one.wrong.error() if one.wrong else None)
            for one, kept in zip(read, self._client.keep(read), strict=True)
        ]


def device_reader(setting: Setting) -> Reader:
    """Return what reads device messages with the shipped mappings and the site's."""
    zone = ZoneInfo(setting.time_zone)
    catalogue = Catalogue([folder / "iot" for folder in _folders(setting)])
    converter = iot_convert.Converter(catalogue, _context(setting, zone=zone), zone)
    return Reader(converter, setting.preparer)


def dicom_converter(setting: Setting) -> dicom_convert.Converter:
    """Return what converts DICOM objects with the shipped mappings and the site's."""
    mapping = dicom_convert.load([folder / "dicom" for folder in _folders(setting)])
    context = _context(setting, mapping_digest=mapping.digest)
    return dicom_convert.Converter(mapping, context, ZoneInfo(setting.time_zone))


def _dicom(setting: Setting, dispatcher: Dispatcher, clock: Clock) -> dicom_door.Door:
    converter = dicom_converter(setting)
    objects = ObjectStore(setting.objects)
    waiting = setting.objects / "waiting"
    return dicom_door.Door(dispatcher, converter, objects, waiting, clock, setting.preparer)
