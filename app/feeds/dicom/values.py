"""Values of DICOM elements as plain Python values: person names, dates, times.

DICOM PS3.5 6.2 (value representations), with the damage that old and careless devices send:
ACR-NEMA dates ("2026.03.07") and times ("10:20:30"), bare years, partial times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta, timezone, tzinfo
from typing import Final

GROUPS: Final = ("alphabetic", "ideographic", "phonetic")


@dataclass(frozen=True, slots=True)
class NameGroup:
    """One component group of a PN value: family ^ given ^ middle ^ prefix ^ suffix."""

    text: str
    family: str = ""
    given: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    suffix: tuple[str, ...] = ()

    @property
    def structured(self) -> bool:
        """Whether the sender separated the components."""
        return "^" in self.text


@dataclass(frozen=True, slots=True)
class PersonName:
    """A PN value (PS3.5 6.2.1.2): its three component groups, None where a group is empty."""

    alphabetic: NameGroup | None = None
    ideographic: NameGroup | None = None
    phonetic: NameGroup | None = None

    def __bool__(self) -> bool:
        return bool(self.alphabetic or self.ideographic or self.phonetic)


def person_name(text: str) -> PersonName:
    """Return the name that an already decoded PN value stands for."""
    groups = [name_group(part) for part in text.split("=", 2)]
    groups += [None] * (len(GROUPS) - len(groups))
    return PersonName(*groups)


def name_group(text: str) -> NameGroup | None:
    """Return the components of one group, None when all are empty."""
    text = text.strip(" \0").rstrip(" \0^")  # what begins with ^ has no family name
    if not text.strip(" ^"):
        return None
    parts = [part.strip() for part in text.split("^")] + [""] * 4
    return NameGroup(
        text=text,
        family=parts[0],
        given=(*parts[1].split(), *parts[2].split()),
        prefix=tuple(parts[3].split()),
        suffix=tuple(parts[4].split()),
    )


_DATE = re.compile(r"(\d{4})(?:[.\-/]?(\d{2})(?:[.\-/]?(\d{2}))?)?", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3])(?::?([0-5]\d)(?::?([0-5]\d|60)(?:\.(\d{1,6}))?)?)?", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})", re.ASCII)
_LAST_OFFSET_MIN = 14 * 60


def fhir_date(text: str) -> str | None:
    """Return the FHIR date of a DA value (also of a year or year and month), None if it is none."""
    match = _DATE.fullmatch(text.strip(" \0"))
    if match is None:
        return None
    year, month, day = match.groups()
    try:
        date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        return None
    return "-".join(part for part in (year, month, day) if part)


def fhir_time(text: str) -> str | None:
    """Return hh:mm:ss[.fff] of a TM value, missing parts as zero; None if it is none."""
    match = _TIME.fullmatch(text.strip(" \0"))
    if match is None:
        return None
    hour, minute, second, fraction = match.groups()
    second = "59" if second == "60" else second  # FHIR knows no leap second
    whole = f"{hour}:{minute or '00'}:{second or '00'}"
    return f"{whole}.{fraction}" if fraction and int(fraction) else whole


def fhir_datetime(day: str, time: str, offset: str) -> str | None:
    """Return the FHIR dateTime of a DA, a TM and an offset ("+08:00").

    Without a time only the date is known, and of an incomplete date the time says nothing.
    """
    on = fhir_date(day)
    at = fhir_time(time)
    if on is None or at is None or len(on) < len("2026-03-07"):
        return on
    return f"{on}T{at}{offset}"


def offset_text(text: str) -> str | None:
    """Return "+08:00" for the value of Timezone Offset From UTC (0008,0201), None if it is none."""
    match = _OFFSET.fullmatch(text.strip(" \0"))
    if match is None:
        return None
    sign, hours, minutes = match.groups()
    if int(hours) * 60 + int(minutes) > _LAST_OFFSET_MIN or int(minutes) > 59:
        return None
    return f"{sign}{hours}:{minutes}"


def zone_of(offset: str) -> tzinfo:
    """Return the time zone of an offset that `offset_text` gave."""
    size = timedelta(hours=int(offset[1:3]), minutes=int(offset[4:6]))
    return timezone(-size if offset[0] == "-" else size)
