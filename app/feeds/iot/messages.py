"""Bodies of device messages: one JSON value, an array or NDJSON; and the envelope around them.

RFC 8259 (JSON), newline-delimited JSON. Numbers keep their digits (Decimal), since a stored value
is written as the device wrote it. Every entry of a batch stands for itself: a broken line is one
problem and its neighbours are messages.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import msgspec

from app.errors import Malformed, TooMuch, YilianError

ENVELOPE: Final = "yilian-iot/1"
MAX_BODY_BYTES: Final = 8 << 20
MAX_MESSAGES: Final = 20_000
_MAX_DEPTH: Final = 40
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_ENTRIES = msgspec.json.Decoder(list[msgspec.Raw])
_DEPTH = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)
_TOPIC = re.compile(r"yilian/([^/]+)/([^/]+)")


class Message(msgspec.Struct, frozen=True):
    """One message: the payload as decoded JSON, and what its envelope says about it.

    Paths of the payload begin at `payload`; everything else is None where nobody said it. raw: its
    bytes, envelope and all.
    """

    payload: Any
    raw: bytes
    mapping: str | None = None
    channel: str | None = None
    topic: str | None = None
    service: str | None = None
    characteristic: str | None = None
    device: dict[str, Any] | None = None
    patient_id: str | None = None
    received_at: Any = None
    utc_offset: str | None = None
    session_start: Any = None
    gateway: str | None = None

    @property
    def digest(self) -> str:
        """What names a message that has no id of its own."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def topic_device(self) -> str | None:
        """The device id in a topic `yilian/{mapping}/{deviceId}`."""
        return _topic(self.topic)[1] if self.topic else None

    @property
    def topic_mapping(self) -> str | None:
        return _topic(self.topic)[0] if self.topic else None

    @property
    def message_id(self) -> str | None:
        """The sender's own id of the message, by which a repetition is known."""
        payload = self.payload
        if not isinstance(payload, dict):
            return None
        header = payload.get("header")
        nested = header.get("id") if isinstance(header, dict) else None
        found = payload.get("messageId") or payload.get("id") or nested
        return str(found) if isinstance(found, str | int) else None


@lru_cache(maxsize=8192)
def _topic(text: str) -> tuple[str | None, str | None]:
    """Return mapping and device of a topic, None for both where it is of another form."""
    match = _TOPIC.fullmatch(text)
    return (match[1], match[2]) if match else (None, None)


def split(body: bytes, *, lines: bool | None = None) -> Iterator[bytes | YilianError]:
    """Return the entries of a body, each the bytes of one message or why it is none.

    lines: True for NDJSON, False for one JSON value or array, None to see by looking.
    Raises TooMuch for a body over the limits; everything else is said per entry.
    """
    if len(body) > MAX_BODY_BYTES:
        raise TooMuch("the body is larger than allowed")
    body = body.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n")
    if lines is None:
        lines = _is_lines(body)
    return _lines(body) if lines else _values(body)


def _is_lines(body: bytes) -> bool:
    """Whether the body has several lines of which the first is a JSON value of its own."""
    first, newline, _ = body.partition(b"\n")
    if not newline or not first.startswith(b"{"):
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return True


def _lines(body: bytes) -> Iterator[bytes | YilianError]:
    entries = [line for line in body.split(b"\n") if line.strip()]
    if len(entries) > MAX_MESSAGES:
        raise TooMuch("more messages in one body than allowed")
    for line in entries:
        yield line.strip()


def _values(body: bytes) -> Iterator[bytes | YilianError]:
    if not body.startswith(b"["):
        yield body
        return
    try:
        entries = _array(body)
    except YilianError as exc:
        yield exc
        return
    if len(entries) > MAX_MESSAGES:
        raise TooMuch("more messages in one body than allowed")
    for entry in entries:
        yield bytes(entry)


def _array(body: bytes) -> list[msgspec.Raw]:
    """Return the entries of a JSON array as they were sent; raises Malformed or TooMuch."""
    try:
        return _ENTRIES.decode(body)
    except (msgspec.DecodeError, RecursionError):
        decode(body)  # says what is wrong
    raise Malformed("the text is not JSON")


def decode(raw: bytes) -> Any:
    """Return the decoded JSON; raises Malformed or TooMuch."""
    if raw.count(b"[") + raw.count(b"{") > _MAX_DEPTH:
        _check_depth(raw)
    try:
        return _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # the slower reader tells apart what is wrong, and takes lone surrogates
    try:
        return json.loads(raw, parse_float=Decimal, parse_constant=_refuse)
    except RecursionError as exc:
        raise TooMuch("the JSON is nested deeper than allowed") from exc
    except UnicodeDecodeError as exc:
        raise Malformed("the text is not UTF-8") from exc
    except ValueError as exc:
        raise Malformed("the text is not JSON") from exc


def _refuse(_: str) -> Any:
    raise ValueError("NaN and Infinity are no JSON")


def _check_depth(raw: bytes) -> None:
    depth = 0
    for token in _DEPTH.finditer(raw):
        if token[0] in (b"[", b"{"):
            depth += 1
            if depth > _MAX_DEPTH:
                raise TooMuch("the JSON is nested deeper than allowed")
        elif token[0] in (b"]", b"}"):
            depth -= 1


def message(raw: bytes, **outside: Any) -> Message:
    """Return the message in the bytes of one entry, out of its envelope if it has one.

    outside: what the transport knows (mapping, topic, received_at ...); the envelope beats it.
    Raises Malformed or TooMuch.
    """
    value = decode(raw)
    known = {name: given for name, given in outside.items() if given is not None}
    if not isinstance(value, dict) or value.get("envelope") is None:
        return Message(payload=value, raw=raw, **known)
    if value["envelope"] != ENVELOPE:
        raise Malformed("an envelope of another version", at="$.envelope")
    if "payload" not in value:
        raise Malformed("an envelope without payload", at="$.payload")
    told: dict[str, Any] = {
        name: _text(value[key], key) for name, key in _ENVELOPE_TEXTS if key in value
    }
    device = value.get("device")
    if device is not None and not isinstance(device, dict):
        device = {"id": device}
    told |= {
        "device": device,
        "received_at": value.get("receivedAt"),
        "session_start": value.get("sessionStart"),
    }
    known |= {name: given for name, given in told.items() if given is not None}
    return Message(payload=value["payload"], raw=raw, **known)


_ENVELOPE_TEXTS: Final = (
    ("mapping", "mapping"),
    ("channel", "channel"),
    ("topic", "topic"),
    ("service", "service"),
    ("characteristic", "characteristic"),
    ("patient_id", "patientId"),
    ("utc_offset", "utcOffset"),
    ("gateway", "gateway"),
)


def _text(value: Any, key: str) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str | int):
        return str(value)
    raise Malformed("this is not a text", at=f"$.{key}")
