"""The dates inside codes: two-digit years, day 00, Julian days, all to ISO 8601 text.

Every function gives None for a date that is not in the calendar.
"""

from __future__ import annotations

_DAYS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def month_days(year: int, month: int) -> int:
    return 29 if month == 2 and leap(year) else _DAYS[month]


def century(yy: int, this_year: int) -> int:
    """Return the full year of a two-digit one (GS1 General Specifications 7.12).

    51 or more ahead of this year is the previous century, 50 or more behind the next one.
    """
    year = this_year - this_year % 100 + yy
    ahead = yy - this_year % 100
    if ahead >= 51:
        return year - 100
    return year + 100 if ahead <= -50 else year


def ymd(year: int, month: int, day: int) -> str | None:
    """Return YYYY-MM-DD."""
    if not 1 <= month <= 12 or not 1 <= day <= month_days(year, month):
        return None
    return f"{year:04d}-{month:02d}-{day:02d}"


def month_end(year: int, month: int) -> str | None:
    """Return the last day of a month, which is what a month-only expiry means."""
    return ymd(year, month, month_days(year, month)) if 1 <= month <= 12 else None


def julian(year: int, day: int) -> str | None:
    """Return the date of the n-th day (1 to 366) of a year."""
    if not 1 <= day <= 365 + leap(year):
        return None
    month = 1
    while day > month_days(year, month):
        day -= month_days(year, month)
        month += 1
    return f"{year:04d}-{month:02d}-{day:02d}"


def compact(text: str) -> str | None:
    """Return the date that eight digits YYYYMMDD stand for."""
    return ymd(int(text[:4]), int(text[4:6]), int(text[6:8]))


def clock(text: str) -> str | None:
    """Return HH:MM of four digits."""
    return f"{text[:2]}:{text[2:4]}" if text[:2] < "24" and text[2:4] < "60" else None
