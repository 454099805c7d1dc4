"""R4 dateTime from what devices send, and which clocks to believe."""

from datetime import timedelta, timezone

import pytest

from app.feeds.iot.times import Clock, parse

SHANGHAI = timezone(timedelta(hours=8))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2026-11-05T10:00:00+08:00", "2026-11-05T10:00:00+08:00"),
        ("2026-11-05T02:00:00.250Z", "2026-11-05T02:00:00.250Z"),
        ("2026-11-05T10:00:00", "2026-11-05T10:00:00+08:00"),
        ("2026-11-05 10:00", "2026-11-05T10:00:00+08:00"),
        ("2026/11/5 10:00:00", "2026-11-05T10:00:00+08:00"),
        ("20261105100000", "2026-11-05T10:00:00+08:00"),
        ("20261105100000.5-0500", "2026-11-05T10:00:00.5-05:00"),
        ("2026-11-05", "2026-11-05"),
        (1793844000000, "2026-11-05T10:00:00+08:00"),
        (1793844000, "2026-11-05T10:00:00+08:00"),
        ("1793844000123", "2026-11-05T10:00:00.123+08:00"),
        ("2026-02-30", None),
        ("yesterday", None),
        (True, None),
        (10**40, None),
    ],
)
def test_parse(value, text):
    found = parse(value, SHANGHAI)

    assert (found.text if found else None) == text


def clock(received: str) -> Clock:
    return Clock(SHANGHAI, parse(received, SHANGHAI))


def test_a_clock_that_shows_its_own_now_is_corrected_by_the_difference():
    wrong = clock("2026-11-05T10:30:00+08:00").with_device_now("2026-11-04T22:30:00+08:00")

    moment = wrong.moment("2026-11-04T22:15:00+08:00")

    assert moment.text == "2026-11-05T10:15:00+08:00"
    assert moment.raw == "2026-11-04T22:15:00+08:00"


def test_a_difference_within_a_minute_is_none():
    near = clock("2026-11-05T10:30:00+08:00").with_device_now("2026-11-05T10:29:10+08:00")

    assert near.moment("2026-11-05T10:15:00+08:00").text == "2026-11-05T10:15:00+08:00"


@pytest.mark.parametrize("told", ["1970-01-01T00:00:10+08:00", "2026-11-07T10:30:00+08:00"])
def test_a_clock_that_cannot_be_right_gives_way_to_the_time_of_receipt(told):
    moment = clock("2026-11-05T10:30:00+08:00").moment(told)

    assert (moment.text, moment.fault) == ("2026-11-05T10:30:00+08:00", True)


def test_data_of_days_ago_are_believed():
    moment = clock("2026-11-05T10:30:00+08:00").moment("2026-10-20T10:30:00+08:00")

    assert moment.text == "2026-10-20T10:30:00+08:00"


def test_no_time_at_all_is_the_time_of_receipt():
    assert clock("2026-11-05T10:30:00+08:00").moment(None).text == "2026-11-05T10:30:00+08:00"


def test_record_keys_speak_utc():
    assert parse("2026-11-05T10:00:00.50+08:00", SHANGHAI).utc == "2026-11-05T02:00:00.5Z"
