"""The times that devices tell, and what to believe of them.

R4 datatypes.html#dateTime. Devices send RFC 3339 with or without a zone, a space for the "T", the
compact HL7 form, seconds or milliseconds since 1970. Their clocks are wrong as often as not:
`Clock` shifts by the skew that the message itself shows, or gives the time of receipt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

_ISO = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})"
    r"(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*(Z|[+-]\d{2}:?\d{2})?)?",
    re.ASCII,
)
_COMPACT = re.compile(
    r"(\d{4})(\d{2})(\d{2})(?:(\d{2})(\d{2})(\d{2})?(?:\.(\d{1,9}))?([+-]\d{4})?)?", re.ASCII
)
_SLASHED = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})", re.ASCII)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OLDEST: Final = datetime(2010, 1, 1, tzinfo=UTC)
_AHEAD: Final = timedelta(days=1)
_TOLERATED: Final = timedelta(seconds=60)
_MILLISECONDS_FROM: Final = 100_000_000_000  # larger numbers cannot be seconds


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as FHIR writes it, and as an aware datetime for comparing.

    raw: what the device said, where its clock was not believed. fault: the clock is wrong and the
    time of receipt stands instead.
    """

    text: str
    at: datetime
    raw: str | None = None
    fault: bool = False

    @property
    def utc(self) -> str:
        """Return the time in UTC as it stands in record keys."""
        return self.at.astimezone(UTC).isoformat()[:19] + _fraction(self.at) + "Z"

    @property
    def instant(self) -> str:
        """Return the time as a FHIR instant."""
        return self.text if len(self.text) > len("2026-03-01") else self.at.isoformat()


def parse(value: Any, zone: tzinfo) -> Moment | None:
    """Return the time that a payload's value stands for, None when it is none.

    A value without an offset is local time of `zone`; offset and precision stay as sent.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | Decimal):
        return _since_1970(Decimal(value), zone)
    return _read(str(value), zone)


@lru_cache(maxsize=1024)  # the same time stands in the keys and the bodies of a message
def _read(text: str, zone: tzinfo) -> Moment | None:
    text = text.strip()
    if text.isdecimal() and len(text) in (10, 13):
        return _since_1970(Decimal(text), zone)
    slashed = _SLASHED.match(text)
    if slashed:
        year, month, day = slashed.groups()
        text = f"{year}-{int(month):02d}-{int(day):02d}" + text[slashed.end() :]
    match = _ISO.fullmatch(text) or _COMPACT.fullmatch(text)
    return _moment(match.groups(), zone) if match else None


def shifted(moment: Moment, seconds: float) -> Moment:
    """Return the moment so many seconds later, in the same zone."""
    at = moment.at + timedelta(seconds=seconds)
    return Moment(at.isoformat()[:19] + _fraction(at) + _offset(at), at)


def _since_1970(number: Decimal, zone: tzinfo) -> Moment | None:
    if not number.is_finite() or abs(number.adjusted()) > 18:
        return None
    if abs(number) >= _MILLISECONDS_FROM:
        number /= 1000
    try:
        at = (EPOCH + timedelta(microseconds=int(number * 1_000_000))).astimezone(zone)
    except OverflowError:
        return None
    return Moment(at.isoformat()[:19] + _fraction(at) + _offset(at), at)


def _moment(parts: tuple[str | None, ...], zone: tzinfo) -> Moment | None:
    year, month, day, hour, minute, second, fraction, offset = parts
    micros = int((fraction or "0")[:6].ljust(6, "0"))
    try:
        at = datetime(
            int(year or 0),
            int(month or 0),
            int(day or 0),
            int(hour or 0),
            int(minute or 0),
            min(int(second or 0), 59),  # FHIR knows no leap second
            micros,
            tzinfo=_zone(offset) or zone,
        )
    except ValueError:
        return None
    on = f"{year}-{month}-{day}"
    if hour is None:
        return Moment(on, at)
    digits = f".{fraction}" if fraction else ""
    return Moment(f"{on}T{hour}:{minute}:{at.second:02d}{digits}{_offset(at)}", at)


@lru_cache(maxsize=256)
def _zone(offset: str | None) -> tzinfo | None:
    """Return the zone of "Z", "+08:00" or "+0800", None without one; raises ValueError."""
    if not offset:
        return None
    if offset == "Z":
        return UTC
    return datetime.strptime(offset.replace(":", ""), "%z").tzinfo


def zone_of(offset: Any) -> tzinfo | None:
    """Return the zone of an offset in a message, None when it is none."""
    if not isinstance(offset, str) or not re.fullmatch(r"Z|[+-]\d{2}:?\d{2}", offset):
        return None
    try:
        return _zone(offset)
    except ValueError:
        return None


def _offset(at: datetime) -> str:
    if at.tzinfo is UTC:
        return "Z"
    return at.isoformat()[-6:]


def _fraction(at: datetime) -> str:
    if not at.microsecond:
        return ""
    return f".{at.microsecond:06d}".rstrip("0")


@dataclass(frozen=True, slots=True)
class Clock:
    """What one message tells about its device's clock.

    received: when the message was received, None when nobody knows. skew: how far the device's
    clock is behind.
    """

    zone: tzinfo
    received: Moment | None = None
    skew: timedelta = timedelta(0)
    shows_now: bool = False

    def with_device_now(self, value: Any) -> Clock:
        """Return the clock corrected by the device's own idea of now, as the message gives it."""
        now = parse(value, self.zone)
        if now is None or self.received is None:
            return self
        skew = self.received.at - now.at
        believed = abs(skew) <= _TOLERATED
        return Clock(self.zone, self.received, timedelta(0) if believed else skew, shows_now=True)

    def moment(self, value: Any) -> Moment | None:
        """Return the time to store for a payload's time; without one the time of receipt."""
        told = parse(value, self.zone)
        if told is None:
            return self.received
        if self.skew:
            return replace(shifted(told, self.skew.total_seconds()), raw=told.text)
        if self.received is None or self.shows_now:
            return told
        if told.at < OLDEST or told.at > self.received.at + _AHEAD:
            return Moment(self.received.text, self.received.at, raw=told.text, fault=True)
        return told
