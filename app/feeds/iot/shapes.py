"""The shape of a message: what is left of it without the members that only pass through.

A mapping names those members (`constants.stream`). Messages that differ in nothing else have one
shape; what was cut out are their blanks (`forms.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import msgspec

from app.clock import to_us
from app.feeds.iot import times
from app.feeds.iot.messages import Message
from app.fhir import primitives

# A text that is itself in JSON and in URIs, and that `number_of` takes for no other scheme: not
# octets in pairs (EUI-64, Bluetooth), which have an identity of their own.
PLAIN: Final = (
    r"(?!(?:[0-9A-Fa-f]{2}-){5,7}[0-9A-Fa-f]{2}(?![A-Za-z0-9._~-]))"
    r"[A-Za-z0-9][A-Za-z0-9._~-]{0,63}"
)
_is_plain: Final = re.compile(PLAIN, re.ASCII).fullmatch
is_digits: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII).fullmatch
_is_datetime: Final = primitives.RULES["dateTime"]
DAY_US: Final = 86_400_000_000  # a time further ahead than this is not believed
encode: Final = msgspec.json.Encoder(decimal_format="number").encode

# What stands for a blank in the shape of a message; no JSON, so that no message contains it.
TEXT, TIME, NUMBER, DIGITS = map(msgspec.Raw, (b"?text", b"?time", b"?number", b"?digits"))


@dataclass(frozen=True, slots=True)
class Stream:
    """The members of a mapping's messages that only pass through it, by what they hold."""

    paths: tuple[tuple[msgspec.Raw, tuple[str, ...]], ...]

    @classmethod
    def of(cls, constants: Mapping[str, Any]) -> Stream | None:
        """Return what `constants.stream` of a mapping says; None when it says nothing."""
        said = constants.get("stream")
        if not isinstance(said, dict):
            return None
        kinds = (("text", TEXT), ("time", TIME), ("number", NUMBER))
        return cls(
            tuple(
                (mark, tuple(str(path).replace("[*]", ".*").split(".")))
                for kind, mark in kinds
                for path in said.get(kind) or ()
            )
        )


@dataclass(frozen=True, slots=True)
class Stamp:
    """A time that is stored as it was told: as FHIR writes it, as record keys do, microseconds."""

    text: str
    key: str
    us: int


@dataclass(slots=True)
class Blanks:
    """What differs between the messages of a shape.

    numbers: as they stand in JSON; of digits in a string, the quotation mark before them too.
    """

    texts: list[str] = field(default_factory=list)
    stamps: list[Stamp] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Shape:
    """A message with its blanks cut out. places: containers and keys in which marks stand."""

    key: tuple[Any, ...]
    blanks: Blanks
    places: list[tuple[Any, Any]]


def shape_of(
    message: Message, name: str, stream: Stream, zone: tzinfo, received_us: int
) -> Shape | None:
    """Cut the blanks out of a message, whose payload is changed; None when it can have no form."""
    payload = message.payload
    if not isinstance(payload, dict) or message.characteristic or message.session_start:
        return None
    blanks, places = Blanks(), []
    topic, device = message.topic, message.topic_device
    if device is not None and _is_plain(device):
        blanks.texts.append(device)
        topic = None
    for mark, steps in stream.paths:
        for container, key in _places(payload, steps):
            cut = _cut(container[key], mark, blanks, zone, received_us)
            if cut is not None:
                container[key] = cut
                places.append((container, key))
    shape_key = (
        name,
        encode(payload),
        topic,
        message.topic_mapping,
        message.channel,
        message.patient_id,
        message.gateway,
        message.utc_offset,
        encode(message.device) if message.device else None,
    )
    return Shape(shape_key, blanks, places)


def _cut(
    value: Any, mark: msgspec.Raw, blanks: Blanks, zone: tzinfo, received_us: int
) -> msgspec.Raw | None:
    """Note a value as a blank and return the mark in its place; None when it is left there."""
    if mark is NUMBER:
        if type(value) is str and is_digits(value):
            blanks.numbers.append(f'"{value}')
            return DIGITS
        if type(value) is not int and type(value) is not Decimal:
            return None
        blanks.numbers.append(str(value))
    elif mark is TEXT:
        if type(value) is not str or not _is_plain(value):
            return None
        blanks.texts.append(value)
    else:
        found = stamp(value, zone) if type(value) in (str, int, Decimal) else None
        if found is None or found.us > received_us + DAY_US:
            return None
        blanks.stamps.append(found)
    return mark


@lru_cache(maxsize=4096)  # the devices of a ward tell of the same second
def stamp(value: str | int | Decimal, zone: tzinfo) -> Stamp | None:
    """Return a time that `times.Clock.moment` and R4 take as it is, unless it lies ahead."""
    moment = times.parse(value, zone)
    if moment is None or moment.at < times.OLDEST or not _is_datetime(moment.text):
        return None
    if len(moment.text) <= len("2026-03-01"):
        return None
    return Stamp(moment.text, moment.utc.replace(":", "%3A"), to_us(moment.at))


def _places(payload: dict[str, Any], steps: Sequence[str]) -> list[tuple[Any, Any]]:
    """Return the containers and keys of what stands at a path; `*`: all items or members."""
    if len(steps) == 1 and steps[0] in payload:  # most: half the cost
        return [(payload, steps[0])]
    found: list[Any] = [payload]
    for step in steps[:-1]:
        found = [value[key] for value in found for key in _keys(value, step)]
    return [(value, key) for value in found for key in _keys(value, steps[-1])]


def _keys(value: Any, step: str) -> Iterable[Any]:
    if type(value) is dict:
        return tuple(value) if step == "*" else (step,) if step in value else ()
    return range(len(value)) if step == "*" and type(value) is list else ()
