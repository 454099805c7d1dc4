"""MQTT 3.1.1 and 5: the subscriber with real brokers; a message is acknowledged when durable."""

import threading
from concurrent.futures import Future

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from app.errors import Invalid, Unavailable
from app.feeds.iot import mqtt
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
        assert made[-1].subscribed.wait(10)
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

    publisher(mosquitto.port).publish("yilian/generic/D1", b'{"a":1}', qos=1).wait_for_publish(10)

    wait_for(lambda: inbox.kept)
    assert (inbox.kept[0].topic, inbox.kept[0].payload) == ("yilian/generic/D1", b'{"a":1}')


def test_it_subscribes_at_any_broker(any_broker, subscribe, publisher):
    inbox = Inbox()
    subscribe(any_broker.url, inbox.accept, topics=("ward/#",))
    client = publisher(any_broker.port)

    client.publish("ward/7/monitor", b"1", qos=1).wait_for_publish(10)
    client.publish("other", b"2", qos=1).wait_for_publish(10)
    client.publish("yilian/generic/D1", b"3", qos=1).wait_for_publish(10)

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
    publisher(mosquitto.port).publish("yilian/generic/D1", b"1", qos=1).wait_for_publish(10)
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
    publisher(mosquitto.port).publish("yilian/generic/D1", b"1", qos=1).wait_for_publish(10)

    wait_for(lambda: inbox.kept)
    assert inbox.payloads == [b"1"]


def test_the_broker_keeps_what_comes_while_the_hub_is_away(mosquitto, subscribe, publisher):
    inbox = Inbox()
    subscribe(mosquitto.url, inbox.accept).close()
    client = publisher(mosquitto.port)

    for number in range(20):
        client.publish("yilian/generic/D1", str(number), qos=1).wait_for_publish(10)
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
        one.wait_for_publish(20)

    wait_for(lambda: len(set(inbox.payloads)) == 600, timeout_s=20)
    assert set(inbox.payloads) == {str(n).encode() for n in range(600)}


@pytest.mark.parametrize(
    "url", ["http://host", "mqtt://", "mqtt://host:port", "mqtt://host/?version=4"]
)
def test_a_wrong_url_is_refused(url):
    with pytest.raises(Invalid):
        mqtt.broker(url)


def test_the_url_tells_everything():
    to = mqtt.broker("mqtts://u:p%40ss@broker.example:8884/?version=5&client=hub1&topic=a/%23")

    assert (to.host, to.port, to.tls) == ("broker.example", 8884, True)
    assert (to.user, to.password, to.client_id) == ("u", "p@ss", "hub1")
    assert to.topics == ("yilian/+/+", "a/#")
