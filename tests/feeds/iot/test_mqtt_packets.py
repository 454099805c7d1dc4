"""MQTT 3.1.1 and 5.0, chapter 3: the packets of a subscriber."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.feeds.iot import mqtt_packets as packets
from app.feeds.iot.mqtt_packets import V5, V311, Publish, Reader, Refused


def published(version, topic, payload, packet_id, properties=b""):
    """Return a PUBLISH as a broker sends it."""
    content = len(topic).to_bytes(2, "big") + topic
    content += packet_id.to_bytes(2, "big") if packet_id is not None else b""
    content += bytes((len(properties),)) + properties if version == V5 else b""
    content += payload
    size = bytearray()
    left = len(content)
    while True:
        left, digit = divmod(left, 128)
        size.append(digit | (0x80 if left else 0))
        if not left:
            break
    return bytes((0x32 if packet_id is not None else 0x30,)) + bytes(size) + content


def test_connect_asks_the_broker_to_keep_the_session():
    plain = packets.connect(V311, "yilian", None, None, keep_alive_s=60, most=1000)
    signed_in = packets.connect(V5, "hub", "u", "pw", keep_alive_s=60, most=1000)

    assert plain == b"\x10\x12\x00\x04MQTT\x04\x00\x00\x3c\x00\x06yilian"
    assert signed_in == (
        b"\x10\x1f\x00\x04MQTT\x05\xc0\x00\x3c\x08\x11\xff\xff\xff\xff\x21\x03\xe8"
        b"\x00\x03hub\x00\x01u\x00\x02pw"
    )


def test_subscribe_and_puback():
    assert packets.subscribe(V311, ["a/+"], 1) == b"\x82\x08\x00\x01\x00\x03a/+\x01"
    assert packets.subscribe(V5, ["a/+"], 1) == b"\x82\x09\x00\x01\x00\x00\x03a/+\x01"
    assert packets.puback(258) == b"\x40\x02\x01\x02"


@pytest.mark.parametrize(
    ("version", "answer"),
    [(V311, b"\x20\x02\x00\x01"), (V5, b"\x20\x03\x00\x84\x00"), (V5, b"\x20\x02\x00\x01")],
)
def test_a_refused_connection_is_no_connection(version, answer):
    reader = Reader(version)

    with pytest.raises(Refused):
        list(reader.messages(answer))

    assert not reader.connected


def test_the_server_may_set_the_keep_alive_time():
    reader = Reader(V5)

    list(reader.messages(b"\x20\x0b\x00\x00\x08\x21\x00\x13\x13\x00\x1e\x24\x01"))

    assert reader.connected
    assert reader.keep_alive_s == 30


@pytest.mark.parametrize(("reason", "granted"), [(1, True), (0x80, False)])
def test_a_subscription_is_granted_or_not(reason, granted):
    reader = Reader(V311)

    list(reader.messages(b"\x20\x02\x00\x00\x90\x03\x00\x01" + bytes((reason,))))

    assert reader.subscribed is granted


MESSAGES = st.lists(
    st.tuples(
        st.binary(max_size=20),
        st.binary(max_size=300),
        st.one_of(st.none(), st.integers(1, 65535)),
        st.sampled_from([b"", b"\x01\x01"]),
    ),
    max_size=8,
)


@pytest.mark.parametrize("version", [V311, V5])
@given(messages=MESSAGES, cuts=st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_messages_are_the_same_however_the_octets_come(version, messages, cuts):
    octets = b"\x20\x02\x00\x00" + b"".join(published(version, *one) for one in messages)
    reader, found, at = Reader(version), [], 0
    cuts = [*cuts, len(octets)]

    for cut in cuts:
        found += reader.messages(octets[at : at + cut])
        at += cut

    expected = [
        Publish(topic, payload, packet_id, False) for topic, payload, packet_id, _ in messages
    ]
    assert found == expected


@pytest.mark.parametrize("version", [V311, V5])
@given(octets=st.binary(max_size=200))
def test_nonsense_ends_the_connection_and_nothing_else(version, octets):
    reader = Reader(version)
    try:
        list(reader.messages(octets))
    except (EOFError, Refused):
        return
    assert all(isinstance(one, Publish) for one in reader.messages(b""))
