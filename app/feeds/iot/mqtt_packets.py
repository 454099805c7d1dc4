"""The packets that a subscriber of MQTT 3.1.1 and 5.0 sends and hears (OASIS; chapter 3 of both).

Only what the subscriber needs: CONNECT, SUBSCRIBE, PUBACK, PINGREQ and DISCONNECT go out; CONNACK,
SUBACK and PUBLISH of QoS 0 and 1 come in, all others are passed over. Pure: octets in and out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

V311, V5 = 4, 5  # protocol levels
PING: Final = b"\xc0\x00"
DISCONNECT: Final = b"\xe0\x00"

_CONNECT, _CONNACK, _PUBLISH, _PUBACK, _SUBSCRIBE, _SUBACK, _DISCONNECT = (
    0x10, 0x20, 0x30, 0x40, 0x82, 0x90, 0xE0,
)  # fmt: skip
_USER, _PASSWORD = 0x80, 0x40  # connect flags
_NEVER_S: Final = 0xFFFFFFFF  # session expiry: the session does not end
_EXPIRY, _RECEIVE_MAXIMUM, _SERVER_KEEP_ALIVE = 0x11, 0x21, 0x13  # properties of version 5
_FAILED: Final = 0x80
_LONGEST_KEEP_ALIVE_S: Final = 65535


class Refused(Exception):
    """The broker does not accept the connection, or speaks another protocol."""


class Publish(msgspec.Struct, frozen=True, gc=False):
    """One message; packet_id: None for QoS 0, which nobody acknowledges."""

    topic: bytes
    payload: bytes
    packet_id: int | None
    dup: bool


def connect(
    version: int,
    client_id: str,
    user: str | None,
    password: str | None,
    *,
    keep_alive_s: int,
    most: int,
) -> bytes:
    """Return CONNECT for a session that the broker keeps; most: unacknowledged messages (5.0)."""
    flags = (_USER if user is not None else 0) | (_PASSWORD if password is not None else 0)
    content = _text("MQTT") + bytes((version, flags)) + struct.pack("!H", keep_alive_s)
    if version == V5:
        properties = struct.pack("!BIBH", _EXPIRY, _NEVER_S, _RECEIVE_MAXIMUM, most)
        content += _length(len(properties)) + properties
    parts = (client_id, user, password)
    return _packet(_CONNECT, content + b"".join(_text(one) for one in parts if one is not None))


def subscribe(version: int, topics: Sequence[str], qos: int) -> bytes:
    """Return SUBSCRIBE to all topics at once."""
    filters = b"".join(_text(topic) + bytes((qos,)) for topic in topics)
    return _packet(_SUBSCRIBE, b"\x00\x01" + (b"\x00" if version == V5 else b"") + filters)


def puback(packet_id: int) -> bytes:
    return struct.pack("!BBH", _PUBACK, 2, packet_id)


class Reader:
    """Takes octets as they come.

    connected: the broker has accepted. subscribed: whether it granted what was asked; None as long
    as it has not answered. keep_alive_s: what it wishes.
    """

    def __init__(self, version: int) -> None:
        self._version = version
        self._rest = b""
        self.connected = False
        self.subscribed: bool | None = None
        self.keep_alive_s = _LONGEST_KEEP_ALIVE_S

    def messages(self, data: bytes) -> Iterator[Publish]:
        """Yield the messages that are complete now. Raises Refused, EOFError."""
        data = self._rest + data if self._rest else data
        at = 0
        while True:
            head = _head(data, at)
            if head is None or head[1] > len(data):
                break
            begin, end = head
            kind = data[at]
            at = end
            if kind & 0xF0 == _PUBLISH:
                yield self._publish(kind, data, begin, end)
            else:
                self._other(kind, data[begin:end])
        self._rest = data[at:]

    def _publish(self, kind: int, data: bytes, begin: int, end: int) -> Publish:
        after = begin + 2 + int.from_bytes(data[begin : begin + 2], "big")
        topic = data[begin + 2 : after]
        packet_id = None
        if kind & 0x06:
            packet_id = int.from_bytes(data[after : after + 2], "big")
            after += 2
        if self._version == V5:
            after = _after_properties(data, after)
        if after > end:
            raise EOFError("a packet of the broker is broken")
        return Publish(topic, data[after:end], packet_id, bool(kind & 0x08))

    def _other(self, kind: int, content: bytes) -> None:
        if kind == _CONNACK:
            if len(content) < 2 or content[1] != 0:
                raise Refused
            self.connected = True
            if self._version == V5:
                self._settings(content[2:])
        elif kind == _SUBACK:
            after = _after_properties(content, 2) if self._version == V5 else 2
            self.subscribed = all(reason < _FAILED for reason in content[after:])
        elif kind == _DISCONNECT:
            raise EOFError("the broker says good-bye")
        elif not self.connected:
            raise Refused

    def _settings(self, properties: bytes) -> None:
        """Note the keep alive time that the server sets (3.2.2.3.14)."""
        at, end = _head(b"\x00" + properties, 0) or (1, 0)
        at, end = at - 1, min(end - 1, len(properties))
        while at < end:
            name = properties[at]
            at += 1
            if name == _SERVER_KEEP_ALIVE:
                self.keep_alive_s = int.from_bytes(properties[at : at + 2], "big")
            at += _SIZES.get(name, 0)
            for _ in range(_STRINGS.get(name, 0)):
                at += 2 + int.from_bytes(properties[at : at + 2], "big")


# Of the properties that a CONNACK may have: octets, or how many strings.
_SIZES: Final = {
    0x11: 4, 0x13: 2, 0x21: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1,
}  # fmt: skip
_STRINGS: Final = {0x12: 1, 0x15: 1, 0x16: 1, 0x1A: 1, 0x1C: 1, 0x1F: 1, 0x26: 2}


def _head(data: bytes, at: int) -> tuple[int, int] | None:
    """Return where the content of a packet begins and ends; None if its length is not there yet."""
    length = shift = 0
    for place in range(at + 1, min(at + 5, len(data))):
        octet = data[place]
        length |= (octet & 0x7F) << shift
        if octet < 0x80:
            return place + 1, place + 1 + length
        shift += 7
    if len(data) >= at + 5:
        raise EOFError("a packet of the broker is broken")
    return None


def _after_properties(data: bytes, at: int) -> int:
    """Return where the properties that begin here end."""
    head = _head(data, at - 1)
    if head is None:
        raise EOFError("a packet of the broker is broken")
    return head[1]


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("!H", len(raw)) + raw


def _length(size: int) -> bytes:
    out = bytearray()
    while True:
        size, digit = divmod(size, 128)
        out.append(digit | (0x80 if size else 0))
        if not size:
            return bytes(out)


def _packet(kind: int, content: bytes) -> bytes:
    return bytes((kind,)) + _length(len(content)) + content
