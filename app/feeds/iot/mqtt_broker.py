"""Which broker to subscribe at, as the URL says, and which version of MQTT it speaks."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from app.errors import Invalid
from app.feeds.iot import mqtt_packets as packets

TOPIC: Final = "yilian/+/+"
CLIENT_ID: Final = "yilian"
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
# Version 5 lets the subscriber say how much may be under way; many brokers allow 20 messages else.
_VERSIONS: Final = {
    "3": (packets.V311,),
    "5": (packets.V5,),
    "any": (packets.V5, packets.V311),
}


@dataclass(frozen=True, slots=True)
class Broker:
    """Where to subscribe: mqtt[s]://user:password@host:port/?version=5&client=NAME&topic=a/b/#.

    versions: of the protocol, in the order in which they are tried. ca: the file of certificates
    that a broker over TLS has to be signed by; None: those the system trusts.
    """

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = None
    versions: tuple[int, ...] = _VERSIONS["any"]
    client_id: str = CLIENT_ID
    topics: tuple[str, ...] = (TOPIC,)
    ca: str | None = None


def broker(url: str) -> Broker:
    """Return the broker of a URL. Raises Invalid; the message does not repeat the password."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as exc:
        raise Invalid("the port of the MQTT URL is no number", at="--mqtt") from exc
    if parts.scheme not in _PORTS or not parts.hostname:
        raise Invalid("an MQTT URL is mqtt://HOST:PORT or mqtts://HOST:PORT", at="--mqtt")
    query = parse_qs(parts.query)
    version = query.get("version", ["any"])[-1]
    if version not in _VERSIONS:
        raise Invalid("the MQTT version is 3 (3.1.1), 5 or any", at="--mqtt")
    ca = query.get("ca", [None])[-1]
    if ca is not None and not Path(ca).is_file():
        raise Invalid("there is no file of certificates at `ca` of the MQTT URL", at="--mqtt")
    return Broker(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        tls=parts.scheme == "mqtts",
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        versions=_VERSIONS[version],
        client_id=query.get("client", [CLIENT_ID])[-1],
        topics=(TOPIC, *query.get("topic", ())),
        ca=ca,
    )


class Spoken:
    """Remembers from one start of the hub to the next which version of MQTT a broker spoke.

    A broker that knows no MQTT 5 and says nothing costs two seconds to find out. A file in the data
    folder, `host:port` -> version; without it the hub finds out again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def order(self, to: Broker) -> tuple[int, ...]:
        """Return the versions that may be spoken with a broker, the one it spoke last in front."""
        known = self._read().get(_name(to))
        return tuple(sorted(to.versions, key=lambda version: version != known))

    def note(self, to: Broker, version: int) -> None:
        """Keep which version a broker speaks; a folder that cannot be written is no reason to
        stop."""
        known = self._read()
        if known.get(_name(to)) == version:
            return
        fresh = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):
            fresh.write_bytes(msgspec.json.encode({**known, _name(to): version}))
            os.replace(fresh, self._path)

    def _read(self) -> dict[str, int]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, int])
        except (OSError, msgspec.MsgspecError):
            return {}


def _name(to: Broker) -> str:
    return f"{to.host}:{to.port}"
