"""RFC 8259, NDJSON: bodies to messages; the envelope."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Malformed, TooMuch, YilianError
from app.feeds.iot.messages import MAX_BODY_BYTES, Message, decode, message, split


def test_one_value_over_several_lines_is_one_message():
    assert list(split(b'{\n "a": 1\n}\n')) == [b'{\n "a": 1\n}']


def test_an_array_is_a_batch_of_messages_as_they_were_sent():
    assert list(split('[{"a": 1.50}, {"名": "b"}]'.encode())) == [
        b'{"a": 1.50}',
        '{"名": "b"}'.encode(),
    ]


def test_ndjson_is_one_message_a_line():
    assert list(split(b'{"a":1}\n\n{"a":2}\r\n')) == [b'{"a":1}', b'{"a":2}']


def test_a_byte_order_mark_is_no_content():
    assert list(split(b'\xef\xbb\xbf{"a":1}')) == [b'{"a":1}']


def test_a_broken_array_is_one_problem():
    (entry,) = split(b'[{"a":1}, {')

    assert isinstance(entry, Malformed)


def test_a_body_over_the_limit_is_refused():
    with pytest.raises(TooMuch):
        split(b" " * (MAX_BODY_BYTES + 1))


def test_numbers_keep_their_digits():
    assert str(decode(b'{"v": 36.50}')["v"]) == "36.50"
    assert decode(b'{"v": 36.50}')["v"] == Decimal("36.50")


@pytest.mark.parametrize(
    "raw", [b'{"a":', b'{"a": NaN}', b"\xff\xfe", b"", b"[" * 50 + b"]" * 50, b"[" * 100_000]
)
def test_what_is_no_json_is_refused(raw):
    with pytest.raises((Malformed, TooMuch)):
        decode(raw)


def test_the_envelope_is_taken_off_and_beats_the_transport():
    raw = (
        b'{"envelope":"yilian-iot/1","mapping":"monitor","topic":"yilian/monitor/M1",'
        b'"receivedAt":"2026-11-05T10:00:00+08:00","utcOffset":"+08:00",'
        b'"patientId":7,"device":{"mac":"c4:7c:8d:01:02:03"},"payload":{"id":"x1","a":1}}'
    )

    found = message(raw, mapping="generic", received_at="2026-11-05T11:00:00+08:00")

    assert found.payload == {"id": "x1", "a": 1}
    assert (found.mapping, found.topic_device, found.patient_id) == ("monitor", "M1", "7")
    assert found.received_at == "2026-11-05T10:00:00+08:00"
    assert found.message_id == "x1"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"envelope":"yilian-iot/9","payload":{}}',
        b'{"envelope":"yilian-iot/1"}',
        b'{"envelope":"yilian-iot/1","payload":{},"topic":{"a":1}}',
    ],
)
def test_a_wrong_envelope_is_refused(raw):
    with pytest.raises(Malformed):
        message(raw)


def test_a_message_without_envelope_is_its_own_payload():
    assert message(b'{"a":1}', topic="yilian/generic/D1").topic_mapping == "generic"


@given(st.binary(max_size=200))
def test_nothing_crashes_the_reader(body):
    try:
        for entry in split(body):
            if isinstance(entry, bytes):
                assert isinstance(message(entry), Message)
    except YilianError:
        pass
