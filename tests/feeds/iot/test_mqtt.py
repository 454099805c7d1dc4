"""MQTT 3.1.1 and 5: the subscriber with real brokers; a message is acknowledged when durable."""

import socket
import threading
from concurrent.futures import Future

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from app.errors import Invalid, Unavailable
from app.feeds.iot import mqtt
from app.feeds.iot import mqtt_packets as packets
from app.feeds.iot.mqtt_broker import Spoken, broker
from tests.support import wait_for


class Inbox:
    """Keeps what was published; the twin of the durable inbox."""

    def __init__(self) -> None:
        self.kept: list[mqtt.Published] = []
        self.lock = threading.Lock()

    def accept(self, published: mqtt.Published) -> Future:
        with self.lock:
            self.kept.append(published)
        done: Future = Future()
        done.set_result(None)
        return done

    @property
    def payloads(self) -> list[bytes]:
        return [one.payload for one in self.kept]


@pytest.fixture
def subscribe():
    """Return a function that subscribes; what it made is closed after the test."""
    made = []

    def start(url: str, accept, **options) -> mqtt.Subscriber:
        made.append(mqtt.serve(url, accept, pauses_s=(1, 1), **options))
        assert made[-1].subscribed.wait(60)
        return made[-1]

    yield start
    for subscriber in made:
        subscriber.close(2)


@pytest.fixture
def publisher():
    """Return a function that connects a publisher to a broker."""
    made = []

    def connect(port: int) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id="gateway", clean_session=False)
        client.reconnect_delay_set(1, 1)
        client.connect("127.0.0.1", port)
        client.loop_start()
        made.append(client)
        return client

    yield connect
    for client in made:
        client.disconnect()
        client.loop_stop()


@pytest.mark.parametrize("version", ["3", "5"])
def test_topic_and_payload_arrive(mosquitto, subscribe, publisher, version):
    inbox = Inbox()
    subscribe(f"{mosquitto.url}/?version={version}&client=v{version}", inbox.accept)

    publisher(mosquitto.port).publish("yilian/generic/D1", b'{"a":1}', qos=1).wait_for_publish(60)

    wait_for(lambda: inbox.kept)
    assert (inbox.kept[0].topic, inbox.kept[0].payload) == ("yilian/generic/D1", b'{"a":1}')


def test_an_empty_payload_is_acknowledged_and_is_no_message(mosquitto, subscribe, publisher):
    inbox = Inbox()
    subscribe(mosquitto.url, inbox.accept)
    client = publisher(mosquitto.port)

    client.publish("yilian/generic/D1", b"", qos=1, retain=True).wait_for_publish(60)
    client.publish("yilian/generic/D1", b"1", qos=1).wait_for_publish(60)

    wait_for(lambda: inbox.kept)
    assert inbox.payloads == [b"1"]


def test_it_subscribes_at_any_broker(any_broker, subscribe, publisher):
    inbox = Inbox()
    subscribe(any_broker.url, inbox.accept, topics=("ward/#",))
    client = publisher(any_broker.port)

    client.publish("ward/7/monitor", b"1", qos=1).wait_for_publish(60)
    client.publish("other", b"2", qos=1).wait_for_publish(60)
    client.publish("yilian/generic/D1", b"3", qos=1).wait_for_publish(60)

    wait_for(lambda: len(inbox.kept) == 2)
    assert inbox.payloads == [b"1", b"3"]


def test_what_is_not_durable_yet_is_not_acknowledged_and_comes_again(
    mosquitto, subscribe, publisher
):
    first, open_ = [], []

    def keep_open(published):
        first.append(published.payload)
        open_.append(Future())
        return open_[-1]

    subscriber = subscribe(mosquitto.url, keep_open)
    publisher(mosquitto.port).publish("yilian/generic/D1", b"1", qos=1).wait_for_publish(60)
    wait_for(lambda: first)
    subscriber.close(0.1)  # the hub dies before the commit

    inbox = Inbox()
    subscribe(mosquitto.url, inbox.accept)

    wait_for(lambda: inbox.kept)
    assert inbox.payloads == [b"1"]
    assert inbox.kept[0].again


def test_what_could_not_be_stored_is_delivered_again(mosquitto, subscribe, publisher):
    inbox, refused = Inbox(), []

    def accept(published):
        if not refused:
            refused.append(published)
            failed: Future = Future()
            failed.set_exception(Unavailable("the disk is full"))
            return failed
        return inbox.accept(published)

    subscribe(mosquitto.url, accept)
    publisher(mosquitto.port).publish("yilian/generic/D1", b"1", qos=1).wait_for_publish(60)

    wait_for(lambda: inbox.kept)
    assert inbox.payloads == [b"1"]


def test_the_broker_keeps_what_comes_while_the_hub_is_away(mosquitto, subscribe, publisher):
    inbox = Inbox()
    subscribe(mosquitto.url, inbox.accept).close()
    client = publisher(mosquitto.port)

    for number in range(20):
        client.publish("yilian/generic/D1", str(number), qos=1).wait_for_publish(60)
    subscribe(mosquitto.url, inbox.accept)

    wait_for(lambda: len(inbox.kept) == 20)
    assert inbox.payloads == [str(number).encode() for number in range(20)]


def test_a_broker_that_restarts_in_mid_stream_loses_nothing(mosquitto, subscribe, publisher):
    inbox = Inbox()
    subscribe(mosquitto.url, inbox.accept)
    client = publisher(mosquitto.port)

    sent = [client.publish("yilian/generic/D1", str(n), qos=1) for n in range(300)]
    wait_for(lambda: len(inbox.kept) >= 50)
    mosquitto.stop()
    sent += [client.publish("yilian/generic/D1", str(n), qos=1) for n in range(300, 600)]
    mosquitto.start()
    for one in sent:
        one.wait_for_publish(60)

    wait_for(lambda: len(set(inbox.payloads)) == 600)
    assert set(inbox.payloads) == {str(n).encode() for n in range(600)}


@pytest.mark.parametrize(
    "url",
    [
        "http://host",
        "mqtt://",
        "mqtt://host:port",
        "mqtt://host/?version=4",
        "mqtts://host/?ca=/no/such/file.pem",
    ],
)
def test_a_wrong_url_is_refused(url):
    with pytest.raises(Invalid):
        broker(url)


def test_the_url_tells_everything():
    to = broker("mqtts://u:p%40ss@broker.example:8884/?version=5&client=hub1&topic=a/%23")

    assert (to.host, to.port, to.tls) == ("broker.example", 8884, True)
    assert (to.user, to.password, to.client_id) == ("u", "p@ss", "hub1")
    assert to.topics == ("yilian/+/+", "a/#")


# --- over TLS ------------------------------------------------------------------------------------


def test_a_message_comes_over_tls(tls_mosquitto, subscribe, publisher):
    inbox = Inbox()
    subscribe(f"{tls_mosquitto.secure_url}/?ca={tls_mosquitto.certificate}", inbox.accept)

    client = publisher(tls_mosquitto.port)
    for n in range(300):
        last = client.publish("yilian/generic/D1", str(n), qos=1)
    last.wait_for_publish(60)

    wait_for(lambda: len(inbox.kept) == 300)
    assert inbox.payloads == [str(n).encode() for n in range(300)]


def test_a_broker_with_a_certificate_nobody_trusts_is_not_heard(tls_mosquitto, caplog):
    subscriber = mqtt.serve(tls_mosquitto.secure_url, Inbox().accept, pauses_s=(1, 1))

    wait_for(lambda: "mqtt.disconnected" in caplog.messages)

    assert not subscriber.subscribed.is_set()
    subscriber.close(0)


# --- which version is spoken ---------------------------------------------------------------------


class Silent:
    """A broker that knows no MQTT 5: neither answers nor refuses it, and accepts 3.1.1."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._hear(connection)

    def _hear(self, connection: socket.socket) -> None:
        version = connection.recv(1000)[8]  # behind the header and the name of the protocol
        self.asked.append(version)
        while version == packets.V311:
            connection.sendall(b"\x20\x02\x00\x00")
            connection.recv(1000)
            connection.sendall(b"\x90\x03\x00\x01\x01")
            version = 0
        connection.recv(1000)  # until the subscriber goes

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(60)


def test_what_a_silent_broker_speaks_is_found_out_once(tmp_path):
    silent, spoken = Silent(), Spoken(tmp_path / "mqtt.json")

    asked = []
    for _ in range(2):
        before = len(silent.asked)
        subscriber = mqtt.serve(silent.url, Inbox().accept, pauses_s=(1, 1), spoken=spoken)
        assert subscriber.subscribed.wait(60)
        subscriber.close(10)
        asked.append(silent.asked[before:])

    silent.close()
    # A broker that a busy machine keeps from answering in time is asked once more.
    assert asked[0][:2] == [packets.V5, packets.V311]
    assert asked[1][0] == packets.V311


def test_what_was_remembered_is_only_tried_first(tmp_path):
    path = tmp_path / "spoken.json"
    to = broker("mqtt://broker.example")
    path.write_text('{"broker.example:1883": 3}')

    assert Spoken(path).order(to) == (packets.V5, packets.V311)
    path.write_text("nonsense")
    assert Spoken(path).order(to) == (packets.V5, packets.V311)
    Spoken(path).note(to, packets.V311)
    assert Spoken(path).order(to) == (packets.V311, packets.V5)
    assert Spoken(path).order(broker("mqtt://broker.example/?version=5")) == (packets.V5,)
