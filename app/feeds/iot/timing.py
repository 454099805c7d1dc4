"""Functions of the mapping language about times: which to store, and what the device said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.feeds.iot import times
from app.feeds.iot.measuring import decimal_of
from app.feeds.iot.times import Clock, Moment


def _moment(run: Any, value: Any, device_now: Any = None) -> Moment | None:
    known = ("moment", str(value), str(device_now))
    if known not in run.memo:
        clock: Clock = run.doc.clock
        if device_now is not None:
            clock = clock.with_device_now(device_now)
        run.memo[known] = clock.moment(value)
    found: Moment | None = run.memo[known]
    return found


def when(_: Any, run: Any, value: Any = None, device_now: Any = None) -> str | None:
    """Return the time to store: corrected, or of receipt when there is none."""
    found = _moment(run, value, device_now)
    return found.text if found else None


def instant(value: Any, run: Any) -> str | None:
    found = _moment(run, value)
    return found.instant if found else None


def told_time(_: Any, run: Any, value: Any = None, device_now: Any = None) -> str | None:
    """Return what the device said, where that is not what is stored."""
    found = _moment(run, value, device_now)
    return found.raw if found else None


def time_fault(_: Any, run: Any, value: Any = None, device_now: Any = None) -> str | None:
    found = _moment(run, value, device_now)
    return "time-fault" if found and found.fault else None


def when_given(_: Any, run: Any, value: Any = None, device_now: Any = None) -> str | None:
    """Return the time to store, None when the payload has none."""
    return None if value is None else when(_, run, value, device_now)


def span(index: int) -> Callable[..., str | None]:
    """Return the function that gives one end of an interval of two of start, end and duration."""

    def end(_: Any, run: Any, interval: Any) -> str | None:
        if not isinstance(interval, dict):
            return None
        told = interval.get(("start_date_time", "end_date_time")[index])
        if told is not None:
            return when(_, run, told)
        other = _moment(run, interval.get(("end_date_time", "start_date_time")[index]))
        seconds = _seconds(run, interval.get("duration"))
        if other is None or seconds is None:
            return None
        return times.shifted(other, seconds if index else -seconds).text

    return end


def _seconds(run: Any, duration: Any) -> float | None:
    if not isinstance(duration, dict):
        return None
    number, unit = decimal_of(duration.get("value")), run.doc.vocabulary.unit(duration.get("unit"))
    if number is None or unit is None:
        return None
    seconds = run.doc.vocabulary.convert(number, unit, "s")
    return None if seconds is None or abs(seconds) > 10**9 else float(seconds)


def recorded(_: Any, run: Any) -> str:
    """Return when the message was received; where nobody knows, the latest time it speaks of."""
    if run.doc.clock.received is not None:
        return str(run.doc.clock.received.instant)
    moments = [found for known, found in run.memo.items() if known[0] == "moment" and found]
    latest = max(moments, key=lambda moment: moment.at, default=None)
    return latest.instant if latest else "1970-01-01T00:00:00Z"


def after(_: Any, run: Any, start: Any, seconds: Any) -> str | None:
    """Return the time `seconds` after `start`."""
    begun, length = _moment(run, start), decimal_of(seconds)
    if begun is None or length is None or abs(length) > 10**9:
        return None
    return times.shifted(begun, float(length)).text
