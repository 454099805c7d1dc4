"""Messages known by their bytes: only what is the same JSON but for its blanks is taken for it."""

import json
from zoneinfo import ZoneInfo

import pytest

from app.feeds.iot import messages
from app.feeds.iot.patterns import Strange, pattern_of
from app.feeds.iot.shapes import Stream, shape_of

ZONE = ZoneInfo("Asia/Shanghai")
NOW_US = 1_780_000_000_000_000
STREAM = Stream.of({"stream": {"text": ["id"], "time": ["at"], "number": ["rows[*].v"]}})
RAW = b'{"id":"D1","at":"2026-05-01T10:00:00Z","rows":[{"c":"hr","v":72}]}'


def pattern(raw: bytes):
    message = messages.message(raw)
    return pattern_of(message, shape_of(message, "m", STREAM, ZONE, NOW_US), ZONE)


def blanks(found, raw: bytes):
    told = found.blanks(raw.decode("latin-1"), NOW_US)
    return told and (told.texts, [one.text for one in told.stamps], told.numbers)


def test_the_blanks_of_another_message_are_found():
    raw = b'{"id":"x-9","at":"2026-05-01 18:00:00+0800","rows":[{"c":"hr","v":-7.50}]}'

    assert blanks(pattern(RAW), raw) == (["x-9"], ["2026-05-01T18:00:00+08:00"], ["-7.50"])


@pytest.mark.parametrize(
    "raw",
    [
        RAW.replace(b'"hr"', b'"rr"'),
        RAW.replace(b'"D1"', b'"D 1"'),
        RAW.replace(b'"D1"', b'"D\\u0031"'),
        RAW.replace(b'"D1"', b'"00-A0-37-00-00-AB-12-CD"'),
        RAW.replace(b'"D1"', '"病"'.encode()),
        RAW.replace(b"72", b'"72"'),
        RAW.replace(b"72", b"072"),
        RAW.replace(b"72", b"7e1"),
        RAW.replace(b"72", b"72,73"),
        RAW.replace(b'{"c"', b'{"d":1,"c"'),
        RAW.replace(b":72", b": 72"),
        RAW + b" ",
        b"",
    ],
    ids=range(13),
)
def test_another_text_is_another_message(raw):
    assert blanks(pattern(RAW), raw) is None


@pytest.mark.parametrize("time", ["2026-05-01", "2026-13-01T10:00:00Z", "2009-05-01T10:00:00Z"])
def test_a_time_that_is_not_stored_as_told_is_left_to_the_mapping(time):
    with pytest.raises(Strange):
        blanks(pattern(RAW), RAW.replace(b"2026-05-01T10:00:00Z", time.encode()))


def test_a_time_that_lies_ahead_is_left_to_the_mapping():
    with pytest.raises(Strange):
        blanks(pattern(RAW), RAW.replace(b"2026-05-01", b"2029-05-01"))


@pytest.mark.parametrize(
    ("raw", "other", "found"),
    [
        (RAW.replace(b":", b" : "), RAW, None),
        (RAW.replace(b'"2026-05-01T10:00:00Z"', b"1777629600"), RAW, None),
        (
            RAW.replace(b'"2026-05-01T10:00:00Z"', b"1777629600"),
            RAW.replace(b'"2026-05-01T10:00:00Z"', b"1777629600123"),
            (["D1"], ["2026-05-01T18:00:00.123+08:00"], ["72"]),
        ),
        (
            RAW.replace(b"72", b'"72"'),
            RAW.replace(b"72", b'"8.0"'),
            (["D1"], ["2026-05-01T10:00:00Z"], ['"8.0']),
        ),
        (
            RAW.replace(b'"hr"', b'"\\u5fc3%s.*"'),
            RAW.replace(b'"hr"', b'"\\u5fc3%s.*"'),
            (["D1"], ["2026-05-01T10:00:00Z"], ["72"]),
        ),
    ],
    ids=["spaces", "text-for-number", "milliseconds", "digits", "literal"],
)
def test_a_pattern_knows_one_way_of_writing(raw, other, found):
    assert blanks(pattern(raw), other) == found


def test_a_member_that_stands_twice_has_no_pattern():
    assert pattern(RAW.replace(b'"id":"D1"', b'"id":"D1","id":"D2"')) is None


def test_the_device_in_the_topic_is_a_blank():
    def told(device: str, value: int) -> bytes:
        payload = {"at": "2026-05-01T10:00:00Z", "rows": [{"c": "hr", "v": value}]}
        topic = f"yilian/m/{device}"
        return json.dumps({"envelope": "yilian-iot/1", "topic": topic, "payload": payload}).encode()

    found = blanks(pattern(told("D1", 1)), told("D2", 2))

    assert found == (["D2"], ["2026-05-01T10:00:00Z"], ["2"])
