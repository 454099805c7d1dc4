"""What messages of a feed would become, without keeping anything: for who has them in memory.

The same converters, tables and ids as those of the hub that receives such messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.errors import Issue, NotSupported, YilianError
from app.feeds.dicom.convert import grouped
from app.feeds.doors import Setting, device_reader, dicom_converter
from app.feeds.hl7v2 import convert as hl7v2
from app.feeds.iot import messages
from app.feeds.iot.state import State
from app.mapping.run import Made

_NOTHING = Issue("information", "informational", "there is nothing to convert in this message")


@dataclass(frozen=True, slots=True)
class Conversion:
    """What became of one message; of DICOM objects, of one study.

    bundle: a FHIR transaction Bundle; None when the message was refused (then `issues` says why)
    or holds nothing to convert.
    """

    bundle: dict[str, Any] | None
    issues: tuple[Issue, ...] = ()
    refused: bool = False


class Conversions:
    """Converts messages; the mappings of a feed are loaded when it is first asked for."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._ready: dict[str, Callable[[bytes, str | None], Iterator[Conversion]]] = {}

    def convert(self, feed: str, data: bytes, mapping: str | None = None) -> list[Conversion]:
        """Return one conversion for each message in `data`.

        mapping: the mapping of device messages that do not tell it. Raises NotSupported for an
        unknown feed.
        """
        make = _FEEDS.get(feed)
        if make is None:
            raise NotSupported("there is no such feed: hl7v2, dicom and iot are known", at="feed")
        if feed not in self._ready:
            self._ready[feed] = make(self._setting)
        return list(self._ready[feed](data, mapping))


def _hl7v2(setting: Setting) -> Callable[[bytes, str | None], Iterator[Conversion]]:
    options = hl7v2.of_site(setting.time_zone, setting.id_secret, setting.overlay)

    def convert(data: bytes, mapping: str | None) -> Iterator[Conversion]:
        for result in hl7v2.convert(data, options):
            yield Conversion(result.bundle, result.issues, result.refused)

    return convert


def _dicom(setting: Setting) -> Callable[[bytes, str | None], Iterator[Conversion]]:
    converter = dicom_converter(setting)

    def convert(data: bytes, mapping: str | None) -> Iterator[Conversion]:
        for group in grouped([data]):
            if group.issues:
                refused = any(issue.severity != "information" for issue in group.issues)
                yield Conversion(None, tuple(group.issues), refused)
            else:
                yield _made(converter.convert(group.instances))

    return convert


def _iot(setting: Setting) -> Callable[[bytes, str | None], Iterator[Conversion]]:
    converter = device_reader(setting).converter

    def convert(data: bytes, mapping: str | None) -> Iterator[Conversion]:
        state = State()
        try:
            for entry in messages.split(data):
                yield one(entry, state, mapping)
        except YilianError as exc:
            yield Conversion(None, tuple(exc.issues), refused=True)

    def one(entry: bytes | YilianError, state: State, mapping: str | None) -> Conversion:
        if isinstance(entry, YilianError):
            return Conversion(None, tuple(entry.issues), refused=True)
        try:
            return _made(converter.convert(entry, state, mapping=mapping).made)
        except YilianError as exc:
            return Conversion(None, tuple(exc.issues), refused=True)

    return convert


def _made(made: Made) -> Conversion:
    if not made.entries:
        return Conversion(None, (*made.issues, _NOTHING))
    return Conversion(made.bundle(), tuple(made.issues))


_FEEDS: Mapping[str, Callable[[Setting], Callable[[bytes, str | None], Iterator[Conversion]]]] = {
    "hl7v2": _hl7v2,
    "dicom": _dicom,
    "iot": _iot,
}
