"""R4 datatypes.html#dateTime, search.html#date: what a date stands for."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Invalid
from app.fhir import dates

SHANGHAI = ZoneInfo("Asia/Shanghai")


def us(*parts: int, fraction: int = 0) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1_000_000 + fraction  # type: ignore[arg-type]


BOUNDS = {
    "year": ("2019", us(2018, 12, 31, 16), us(2019, 12, 31, 16)),
    "month": ("2019-03", us(2019, 2, 28, 16), us(2019, 3, 31, 16)),
    "december": ("2019-12", us(2019, 11, 30, 16), us(2019, 12, 31, 16)),
    "leap-february": ("2024-02", us(2024, 1, 31, 16), us(2024, 2, 29, 16)),
    "day": ("2019-03-10", us(2019, 3, 9, 16), us(2019, 3, 10, 16)),
    "minute": ("2019-03-10T12:00", us(2019, 3, 10, 4), us(2019, 3, 10, 4, 1)),
    "minute-utc": ("2019-03-10T12:00Z", us(2019, 3, 10, 12), us(2019, 3, 10, 12, 1)),
    "second": ("2019-03-10T12:00:00", us(2019, 3, 10, 4), us(2019, 3, 10, 4, 0, 1)),
    "second-offset": (
        "2019-03-10T23:30:00-05:00",
        us(2019, 3, 11, 4, 30),
        us(2019, 3, 11, 4, 30, 1),
    ),
    "tenth": (
        "2019-03-10T12:00:00.5Z",
        us(2019, 3, 10, 12, fraction=500_000),
        us(2019, 3, 10, 12, fraction=600_000),
    ),
    "millisecond": (
        "2019-03-10T12:00:00.500Z",
        us(2019, 3, 10, 12, fraction=500_000),
        us(2019, 3, 10, 12, fraction=501_000),
    ),
    "nanosecond-is-a-microsecond-long": (
        "2019-03-10T12:00:00.123456789Z",
        us(2019, 3, 10, 12, fraction=123_456),
        us(2019, 3, 10, 12, fraction=123_457),
    ),
    "leap-second": ("2016-12-31T23:59:60Z", us(2017, 1, 1), us(2017, 1, 1, 0, 0, 1)),
    "last-year": ("9999", us(9998, 12, 31, 16), us(9999, 12, 31, 16)),
    "last-day-beyond-the-calendar": ("9999-12-31T23:59:59-12:00", None, None),
    "first-year": ("0001-01-01T00:00:00+14:00", None, None),
}


@pytest.mark.parametrize("case", BOUNDS)
def test_bounds_follow_the_precision_of_the_value(case: str) -> None:
    value, low, high = BOUNDS[case]

    found = dates.bounds(value, SHANGHAI)

    assert low is None or found == (low, high)
    assert dates.OPEN_LOW < found[0] < found[1] < dates.OPEN_HIGH


@pytest.mark.parametrize(
    "value",
    [
        "",
        "notadate",
        "2024-13-01",
        "2024-02-30",
        "20240310",
        "2024-3-1",
        "0000",
        "2024-03-10T",
        "2024-03-10T24:00:00Z",
        "2024-03-10T12",
        "2024-03-10T12:00:00+0800",
        "2024-03-10T12:00:00 08:00",
        "2024-03-10T12:00:00+14:30",
        "2024-03-10 12:00:00Z",
        "2024-03-10T12:00:00.Z",
        "2024-03-10T12:61:00Z",
        "２０２４",
        "2024-W10-1T10:00",
    ],
)
def test_what_is_no_date_is_refused(value: str) -> None:
    with pytest.raises(Invalid):
        dates.bounds(value, SHANGHAI)


def test_a_period_is_open_where_a_side_is_absent() -> None:
    start = {"start": "2024-02-01"}
    end = {"end": "2024-02-05"}

    assert dates.period_bounds(start, UTC) == (us(2024, 2, 1), dates.OPEN_HIGH)
    assert dates.period_bounds(end, UTC) == (dates.OPEN_LOW, us(2024, 2, 6))
    assert dates.period_bounds(start | end, UTC) == (us(2024, 2, 1), us(2024, 2, 6))
    assert dates.period_bounds({"_start": {"id": "x"}}, UTC) is None


def test_a_timing_counts_by_its_outer_limits() -> None:
    events = {"event": ["2024-02-03", "2024-02-01"]}
    bounded = {"repeat": {"boundsPeriod": {"start": "2024-01-01", "end": "2024-01-02"}}}

    assert dates.timing_bounds(events, UTC) == (us(2024, 2, 1), us(2024, 2, 4))
    assert dates.timing_bounds(events | bounded, UTC) == (us(2024, 1, 1), us(2024, 2, 4))
    assert dates.timing_bounds({"code": {"text": "daily"}}, UTC) is None


@pytest.mark.parametrize(
    ("text", "prefix"),
    [("2024-03-10", "eq"), ("eq2024-03-10", "eq"), ("sa2024-03-10", "sa"), ("ap2024-03-10", "ap")],
)
def test_a_search_value_may_carry_a_prefix(text: str, prefix: str) -> None:
    assert dates.parse_date_search(text, UTC) == (prefix, us(2024, 3, 10), us(2024, 3, 11))


@pytest.mark.parametrize("text", ["xx2024", "eq", "gtge2024", "ge"])
def test_a_search_value_that_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        dates.parse_date_search(text, UTC)


def test_approximately_widens_by_a_tenth_of_the_distance_to_now() -> None:
    assert dates.around(100, 200, 1200) == (0, 300)
    assert dates.around(100, 200, 150) == (100, 200)


@given(
    st.datetimes(),
    st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m))),
)
def test_every_moment_lies_in_its_second_minute_day_month_and_year(
    at: datetime, zone: timezone
) -> None:
    moment = (at.replace(tzinfo=zone) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        microseconds=1
    )
    text = at.isoformat()[:19]

    intervals = [dates.bounds(text[:size], zone) for size in (4, 7, 10, 16, 19)]

    assert all(low <= moment < high for low, high in intervals)
    assert all(
        outer[0] <= inner[0] and inner[1] <= outer[1] for outer, inner in pairwise(intervals)
    )


@given(st.text(max_size=30))
def test_nothing_crashes_the_parser(text: str) -> None:
    with suppress(Invalid):
        dates.parse_date_search(text, SHANGHAI)
