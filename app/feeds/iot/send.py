"""`yilian send iot URL FILE...`: device messages to a hub, over HTTP or through an MQTT broker.

HTTP: each file is one POST to `/iot/{mapping}`. MQTT: each message of a file is published with
QoS 1 to `yilian/{mapping}/{deviceId}`; what counts is the broker's acknowledgement.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from app.errors import Invalid, Unavailable, YilianError
from app.feeds.iot import messages
from app.feeds.iot.mqtt_broker import broker

_TIMEOUT_S: Final = 30.0


def main(argv: Sequence[str], stdin: IO[bytes], stdout: IO[str]) -> int:
    """Send the files, print one line per answer, and return 0 when all were accepted."""
    parser = argparse.ArgumentParser(prog="yilian send iot", description="send device messages")
    parser.add_argument("url", metavar="URL", help="http://HOST:PORT or mqtt://HOST:PORT")
    parser.add_argument("files", nargs="+", metavar="FILE", help="JSON or NDJSON; - is stdin")
    parser.add_argument("--mapping", default="generic", help="name of the mapping")
    parser.add_argument("--token", help="bearer token (HTTP)")
    args = parser.parse_args(argv)
    bodies = [
        (name, stdin.read() if name == "-" else Path(name).read_bytes()) for name in args.files
    ]
    if urlsplit(args.url).scheme in ("mqtt", "mqtts"):
        return _publish(args.url, args.mapping, bodies, stdout)
    return _post(args.url, args.mapping, args.token, bodies, stdout)


def _post(
    url: str, mapping: str, token: str | None, bodies: Sequence[tuple[str, bytes]], stdout: IO[str]
) -> int:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Invalid("the URL is http://HOST:PORT or mqtt://HOST:PORT", at="URL")
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=_TIMEOUT_S)
    path = f"{parts.path.rstrip('/')}/iot/{quote(mapping)}"
    failed = 0
    for name, body in bodies:
        lines = name.endswith((".ndjson", ".jsonl"))
        headers = {"Content-Type": "application/x-ndjson" if lines else "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, HTTPException) as exc:
            raise Unavailable("the hub does not answer") from exc
        failed += answer.status >= 300
        print(f"{answer.status}  {name}", file=stdout)
    connection.close()
    return 1 if failed else 0


def _publish(url: str, mapping: str, bodies: Sequence[tuple[str, bytes]], stdout: IO[str]) -> int:
    to = broker(url)
    version = MQTTProtocolVersion(to.versions[-1])
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
    if to.user is not None:
        client.username_pw_set(to.user, to.password)
    if to.tls:
        client.tls_set(to.ca)
    try:
        client.connect(to.host, to.port)
    except OSError as exc:
        raise Unavailable("the broker does not answer") from exc
    client.loop_start()
    failed = 0
    try:
        for name, body in bodies:
            sent, broken = _published(client, mapping, body)
            failed += broken
            print(f"{sent} published, {broken} broken  {name}", file=stdout)
    finally:
        client.disconnect()
        client.loop_stop()
    return 1 if failed else 0


def _published(client: paho.Client, mapping: str, body: bytes) -> tuple[int, int]:
    """Return how many messages the broker has acknowledged, and how many are none."""
    waiting = []
    broken = 0
    for topic, raw in _topics(mapping, body):
        if topic is None:
            broken += 1
        else:
            waiting.append(client.publish(topic, raw, qos=1))
    for one in waiting:
        one.wait_for_publish(_TIMEOUT_S)
    return sum(one.is_published() for one in waiting), broken


def _topics(mapping: str, body: bytes) -> Iterator[tuple[str | None, bytes]]:
    """Yield topic and bytes of each message; a topic of None says that it is no message."""
    for raw in messages.split(body):
        if isinstance(raw, YilianError):
            yield None, b""
            continue
        try:
            payload = messages.decode(raw)
        except YilianError:
            yield None, raw
            continue
        device = payload.get("deviceId") if isinstance(payload, dict) else None
        level = str(device or "device").translate(str.maketrans("/+#", "---"))
        yield f"yilian/{mapping}/{level}", raw
