"""The MQTT subscriber: device messages from a broker, acknowledged when they are durable.

MQTT 3.1.1 and 5.0 (OASIS), QoS 1. The session is persistent (fixed client id, clean start off), so
that the broker keeps what comes while the hub is away. A message is acknowledged (PUBACK) when the
future that `accept` returned is done; until then it belongs to the broker, which sends it again
after a reconnect. Whoever accepts has to know a repeated message: QoS 1 means at least once.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from app.errors import Invalid

log = logging.getLogger(__name__)

TOPIC: Final = "yilian/+/+"
CLIENT_ID: Final = "yilian"
_QOS: Final = 1
_NEVER_S: Final = 0xFFFFFFFF  # session expiry of MQTT 5: the session does not end
_UNACKNOWLEDGED: Final = 1000
_ANSWER_S: Final = 2.0  # how long a broker may think about a version of the protocol
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
# Version 5 lets the subscriber say how much may be under way; many brokers allow 20 messages else.
_VERSIONS: Final = {
    "3": (MQTTProtocolVersion.MQTTv311,),
    "5": (MQTTProtocolVersion.MQTTv5,),
    "any": (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311),
}


@dataclass(frozen=True, slots=True)
class Published:
    """One message as the broker delivered it; `again`: the broker says it did so before."""

    topic: str
    payload: bytes
    again: bool


# Makes a message durable; the future ends when it is, with an error when it could not be.
Accept = Callable[[Published], "Future[Any]"]


@dataclass(frozen=True, slots=True)
class Broker:
    """Where to subscribe: mqtt[s]://user:password@host:port/?version=5&client=NAME&topic=a/b/#.

    versions: of the protocol, in the order in which they are tried.
    """

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = None
    versions: tuple[MQTTProtocolVersion, ...] = _VERSIONS["any"]
    client_id: str = CLIENT_ID
    topics: tuple[str, ...] = (TOPIC,)


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
    return Broker(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        tls=parts.scheme == "mqtts",
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        versions=_VERSIONS[version],
        client_id=query.get("client", [CLIENT_ID])[-1],
        topics=(TOPIC, *query.get("topic", ())),
    )


class Subscriber:
    """A subscription that keeps itself alive: it reconnects with growing pauses until closed."""

    def __init__(
        self,
        to: Broker,
        accept: Accept,
        *,
        shared: bool = False,
        pauses_s: tuple[int, int] = (1, 60),
    ) -> None:
        self._to = to
        self._accept = accept
        prefix = "$share/yilian/" if shared else ""
        self._topics = [prefix + topic for topic in to.topics]
        self._closed = threading.Event()
        self._lock = threading.Condition()
        self._open = 0  # accepted, not yet acknowledged
        self.subscribed = threading.Event()
        self._pauses_s = pauses_s
        self._agreed = False  # on a version of the protocol
        self._refused = False  # before a version was agreed on
        self._client = self._make(to.versions[0])
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 10.0) -> None:
        """Acknowledge what is being accepted, then disconnect; the broker keeps the session."""
        with self._lock:
            self._lock.wait_for(lambda: self._open == 0, timeout_s)
        self._closed.set()
        self._client.disconnect()
        self._thread.join(timeout_s)

    def _make(self, version: MQTTProtocolVersion) -> paho.Client:
        to = self._to
        five = version is MQTTProtocolVersion.MQTTv5
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=to.client_id,
            clean_session=None if five else False,
            protocol=version,
            manual_ack=True,
        )
        if to.user is not None:
            client.username_pw_set(to.user, to.password)
        if to.tls:
            client.tls_set()
        client.reconnect_delay_set(*self._pauses_s)
        client.on_socket_open = self._on_open
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    def _run(self) -> None:
        versions = itertools.cycle(self._to.versions)
        version = next(versions)
        while not self._closed.is_set():
            try:
                self._connect(version)
                self._client.loop_forever(retry_first_connection=True)
                if self._refused:
                    self._refused = False
                    version = next(versions)
                    self._client = self._make(version)
            except Exception:
                log.exception("mqtt.fault", extra={"feed": "iot"})
                self._closed.wait(1.0)

    def _connect(self, version: MQTTProtocolVersion) -> None:
        """Name the broker; `loop_forever` makes the connection, and makes it again."""
        if version is not MQTTProtocolVersion.MQTTv5:
            self._client.connect_async(self._to.host, self._to.port)
            return
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho
        properties.SessionExpiryInterval = _NEVER_S
        properties.ReceiveMaximum = _UNACKNOWLEDGED
        self._client.connect_async(
            self._to.host, self._to.port, clean_start=False, properties=properties
        )

    def _on_open(self, client: paho.Client, _: Any, __: Any) -> None:
        """Give the broker some time: a few do not even refuse a version they do not know."""
        if not self._agreed and len(self._to.versions) > 1:
            waiting = threading.Timer(_ANSWER_S, self._try_another, (client,))
            waiting.daemon = True
            waiting.start()

    def _on_connect(self, client: paho.Client, _: Any, __: Any, reason: Any, ___: Any) -> None:
        if reason.is_failure:
            log.warning("mqtt.refused", extra={"feed": "iot"})
            self._try_another(client)
            return
        self._agreed = True
        client.subscribe([(topic, _QOS) for topic in self._topics])

    def _on_subscribe(self, _: Any, __: Any, ___: Any, reasons: Any, ____: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            log.error("mqtt.subscription_refused", extra={"feed": "iot"})
            return
        log.info("mqtt.subscribed", extra={"feed": "iot"})
        self.subscribed.set()

    def _try_another(self, client: paho.Client) -> None:
        """Have the next version tried, unless one was agreed on before."""
        several = len(self._to.versions) > 1
        if several and not self._agreed and not self._refused and client is self._client:
            self._refused = True
            client.disconnect()

    def _on_disconnect(self, client: paho.Client, __: Any, ___: Any, ____: Any, _____: Any) -> None:
        self.subscribed.clear()
        if not self._closed.is_set():
            log.warning("mqtt.disconnected", extra={"feed": "iot"})
            self._try_another(client)  # some brokers only hang up on a version they do not know

    def _on_message(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:  # MQTT-1.5.4-1 forbids it: nothing could be done with it later
            client.ack(message.mid, message.qos)
            return
        published = Published(topic, bytes(message.payload), bool(message.dup))
        with self._lock:
            self._open += 1
        try:
            future = self._accept(published)
        except Exception:
            log.exception("mqtt.fault", extra={"feed": "iot"})
            self._ended()
            self._deliver_again()
            return
        future.add_done_callback(lambda done: self._settle(client, done, message.mid, message.qos))

    def _settle(self, client: paho.Client, done: Future[Any], mid: int, qos: int) -> None:
        """Acknowledge what is durable; what is not comes again with the next connection."""
        try:
            if done.cancelled() or done.exception() is not None:
                log.warning("mqtt.not_stored", extra={"feed": "iot"})
                self._deliver_again()
            else:
                client.ack(mid, qos)
        finally:
            self._ended()

    def _deliver_again(self) -> None:
        """Drop the connection: the broker delivers what is not acknowledged after the next one."""
        if not self._closed.is_set():
            self._client.disconnect()

    def _ended(self) -> None:
        with self._lock:
            self._open -= 1
            self._lock.notify_all()


def serve(
    url: str,
    accept: Accept,
    *,
    topics: Sequence[str] = (),
    shared: bool = False,
    pauses_s: tuple[int, int] = (1, 60),
) -> Subscriber:
    """Subscribe at a broker; each message is acknowledged when the future of `accept` is done.

    topics: further patterns beside `yilian/{mapping}/{deviceId}`. shared: several hubs share the
    messages ($share/yilian/...). pauses_s: shortest and longest pause before connecting again.
    """
    to = broker(url)
    to = replace(to, topics=(*to.topics, *topics))
    return Subscriber(to, accept, shared=shared, pauses_s=pauses_s)
