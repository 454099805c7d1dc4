"""The MQTT subscriber: device messages from a broker, acknowledged when they are durable.

MQTT 3.1.1 and 5.0 (OASIS), QoS 1. The session is persistent (fixed client id, clean start off), so
that the broker keeps what comes while the hub is away. A message is acknowledged (PUBACK) when the
future that `accept` returned is done; until then it belongs to the broker, which sends it again
after a reconnect. Whoever accepts has to know a repeated message: QoS 1 means at least once.

The few packets a subscriber needs are spoken here (`mqtt_packets.py`): a client library takes
120 us for a message, most of it for reading single octets and for acknowledging one by one.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Final

from app.feeds.iot import mqtt_packets as packets
from app.feeds.iot.mqtt_broker import Broker, Spoken, broker

log = logging.getLogger(__name__)

_QOS: Final = 1
_UNACKNOWLEDGED: Final = 1000
_ANSWER_S: Final = 2.0  # how long a broker may think about a version of the protocol
_CONNECT_S: Final = 10.0
_KEEP_ALIVE_S: Final = 60
_READ_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Published:
    """One message as the broker delivered it; `again`: the broker says it did so before."""

    topic: str
    payload: bytes
    again: bool


# Makes a message durable; the future ends when it is, with an error when it could not be.
Accept = Callable[[Published], "Future[Any]"]


class _Unreachable(OSError):
    """Nobody listens at the broker's address."""


class Subscriber:
    """A subscription that keeps itself alive: it reconnects with growing pauses until closed."""

    def __init__(
        self,
        to: Broker,
        accept: Accept,
        *,
        shared: bool = False,
        pauses_s: tuple[int, int] = (1, 60),
        spoken: Spoken | None = None,
    ) -> None:
        self._to = to
        self._spoken = spoken
        self._versions = spoken.order(to) if spoken else to.versions
        self._accept = accept
        prefix = "$share/yilian/" if shared else ""
        self._topics = [prefix + topic for topic in to.topics]
        self._pauses_s = pauses_s
        self._closed = threading.Event()
        self._lock = threading.Condition()
        self._open = 0  # accepted, not yet acknowledged
        self._durable: list[tuple[object, int]] = []  # session and packet id, to be acknowledged
        self._again: object = None  # the session that is to end, so that messages come again
        self._agreed = False  # on a version of the protocol
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self.subscribed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 10.0) -> None:
        """Acknowledge what is being accepted, then disconnect; the broker keeps the session."""
        with self._lock:
            self._lock.wait_for(lambda: self._open == 0, timeout_s)
        self._closed.set()
        self._rouse()
        self._thread.join(timeout_s)

    # --- the connection --------------------------------------------------------------------------

    def _run(self) -> None:
        with self._woken, self._wake:
            self._keep_connected()

    def _keep_connected(self) -> None:
        versions = itertools.cycle(self._versions)
        version = next(versions)
        shortest, longest = self._pauses_s
        pause_s = shortest
        while not self._closed.is_set():
            try:
                self._session(version)
                pause_s = shortest
            except (OSError, EOFError, packets.Refused) as exc:
                if self.subscribed.is_set():
                    pause_s = shortest
                if isinstance(exc, packets.Refused):
                    log.warning("mqtt.refused", extra={"feed": "iot"})
                else:
                    log.warning("mqtt.disconnected", extra={"feed": "iot"})
                if self._undecided and not isinstance(exc, _Unreachable):
                    version = next(versions)
                    if version != self._versions[0]:
                        continue  # the next one at once; after the last one a pause
            except Exception:
                log.exception("mqtt.fault", extra={"feed": "iot"})
            finally:
                self.subscribed.clear()
            self._closed.wait(pause_s)
            pause_s = min(pause_s * 2, longest)

    @property
    def _undecided(self) -> bool:
        """Whether the broker may speak another version than the one that is tried."""
        return not self._agreed and len(self._versions) > 1

    def _session(self, version: int) -> None:
        """Connect, subscribe and hear messages until closed. Raises OSError, EOFError, Refused."""
        to = self._to
        tls = ssl.create_default_context(cafile=to.ca) if to.tls else None
        try:
            plain = socket.create_connection((to.host, to.port), _CONNECT_S)
        except OSError as exc:
            raise _Unreachable from exc
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with plain:
            plain.getpeername()  # of who is gone already, wrap_socket leaves a socket open
            sock = tls.wrap_socket(plain, server_hostname=to.host) if tls else plain
            with sock:
                sock.settimeout(_ANSWER_S if self._undecided else _CONNECT_S)
                reader = packets.Reader(version)
                sock.sendall(
                    packets.connect(
                        version,
                        to.client_id,
                        to.user,
                        to.password,
                        keep_alive_s=_KEEP_ALIVE_S,
                        most=_UNACKNOWLEDGED,
                    )
                )
                while not reader.connected:  # raises Refused
                    self._heard(sock, reader, object())
                self._agreed = True
                if self._spoken is not None:
                    self._spoken.note(to, version)
                sock.settimeout(_CONNECT_S)
                sock.sendall(packets.subscribe(version, self._topics, _QOS))
                self._hear(sock, reader, min(reader.keep_alive_s, _KEEP_ALIVE_S))

    def _hear(self, sock: socket.socket, reader: packets.Reader, keep_alive_s: float) -> None:
        session = object()
        heard = said = time.monotonic()
        while True:
            ready, _, _ = select.select((sock, self._woken), (), (), keep_alive_s / 4)
            now = time.monotonic()
            if self._woken in ready:
                self._woken.recv(4096)
                self._acknowledge(sock, session)
                if self._closed.is_set() or self._again is session:
                    sock.sendall(packets.DISCONNECT)
                    return
            if sock in ready:
                self._heard(sock, reader, session)
                heard = now
            elif now - heard > 1.5 * keep_alive_s:
                raise EOFError("nothing is heard of the broker")
            if now - said > keep_alive_s / 2:
                sock.sendall(packets.PING)
                said = now

    def _heard(self, sock: socket.socket, reader: packets.Reader, session: object) -> None:
        data = sock.recv(_READ_BYTES)
        while isinstance(sock, ssl.SSLSocket) and sock.pending():
            data += sock.recv(sock.pending())
        if not data:
            raise EOFError("the broker has hung up")
        for message in reader.messages(data):
            self._take(message, session)
        if reader.subscribed is not None and not self.subscribed.is_set():
            if reader.subscribed:
                log.info("mqtt.subscribed", extra={"feed": "iot"})
                self.subscribed.set()
            else:
                log.error("mqtt.subscription_refused", extra={"feed": "iot"})
            reader.subscribed = None

    # --- messages --------------------------------------------------------------------------------

    def _take(self, message: packets.Publish, session: object) -> None:
        with self._lock:
            self._open += 1
        mid = message.packet_id
        try:
            topic = message.topic.decode()
        except UnicodeDecodeError:  # MQTT-1.5.4-1 forbids it: nothing could be done with it later
            self._settle(None, session, mid)
            return
        if (
            not message.payload
        ):  # clears a retained message (MQTT 5.0 section 3.3.1.3), says no more
            self._settle(None, session, mid)
            return
        try:
            future = self._accept(Published(topic, message.payload, message.dup))
        except Exception:
            log.exception("mqtt.fault", extra={"feed": "iot"})
            self._ended()
            self._deliver_again(session)
            return
        future.add_done_callback(lambda done: self._settle(done, session, mid))

    def _settle(self, done: Future[Any] | None, session: object, mid: int | None) -> None:
        """Acknowledge what is durable; what is not comes again with the next connection."""
        if done is not None and (done.cancelled() or done.exception() is not None):
            log.warning("mqtt.not_stored", extra={"feed": "iot"})
            self._ended()
            self._deliver_again(session)
        elif mid is None:
            self._ended()
        else:
            with self._lock:
                first = not self._durable
                self._durable.append((session, mid))
            if first:
                self._rouse()

    def _acknowledge(self, sock: socket.socket, session: object) -> None:
        """Send the acknowledgements that wait, all at once; those of a lost session are void."""
        with self._lock:
            durable, self._durable = self._durable, []
        acks = b"".join(packets.puback(mid) for of, mid in durable if of is session)
        try:
            if acks:
                sock.sendall(acks)
        finally:
            self._ended(len(durable))

    def _deliver_again(self, session: object) -> None:
        """Drop the connection: the broker delivers what is not acknowledged after the next one."""
        self._again = session
        self._rouse()

    def _rouse(self) -> None:
        with contextlib.suppress(OSError):  # it is awake already, or gone
            self._wake.send(b".")

    def _ended(self, count: int = 1) -> None:
        with self._lock:
            self._open -= count
            if self._open == 0:
                self._lock.notify_all()


def serve(
    url: str,
    accept: Accept,
    *,
    topics: Sequence[str] = (),
    shared: bool = False,
    pauses_s: tuple[int, int] = (1, 60),
    spoken: Spoken | None = None,
) -> Subscriber:
    """Subscribe at a broker; each message is acknowledged when the future of `accept` is done.

    topics: further patterns beside `yilian/{mapping}/{deviceId}`. shared: several hubs share the
    messages ($share/yilian/...). pauses_s: shortest and longest pause before connecting again.
    spoken: remembers which version of MQTT the broker speaks.
    """
    to = broker(url)
    to = replace(to, topics=(*to.topics, *topics))
    return Subscriber(to, accept, shared=shared, pauses_s=pauses_s, spoken=spoken)
