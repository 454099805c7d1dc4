"""Versions of code systems and value sets: which is later, which fits what was asked for.

R5 canonicalresource.html#versionAlgorithm. The algorithm that a resource names decides; without
one versions compare as semantic versions when both look so, then as dates, else as natural text
(numbers in it by value). In what is asked for, a part `x`, `X` or `*` stands for anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cmp_to_key
from typing import Any, TypeVar

from app.terminology.short import LONGEST, remembered

T = TypeVar("T")
Json = Mapping[str, Any]

ALGORITHM = "extension-CanonicalResource.versionAlgorithm"
_SEMVER = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")
_DATE = re.compile(r"(\d{4})-?(\d\d)?-?(\d\d)?(?:T.*)?")
_PIECES = re.compile(r"\d+|\D+")
_WILD = frozenset("xX*")
_PARTS = re.compile(r"([.\-+])")


def algorithm(resource: Json) -> str | None:
    """Return the version algorithm a resource names: semver, integer, alpha, date, natural."""
    named = resource.get("versionAlgorithmString")
    coding = resource.get("versionAlgorithmCoding")
    for extension in resource.get("extension", ()):
        if str(extension.get("url", "")).endswith(ALGORITHM):
            named = named or extension.get("valueString")
            coding = coding or extension.get("valueCoding")
    if isinstance(coding, dict):
        named = coding.get("code", named)
    return named if isinstance(named, str) else None


@remembered(1024)
def compare(one: str, other: str, by: str | None = None) -> int:
    """Return -1, 0 or 1 for an earlier, equal or later version."""
    if one == other:
        return 0
    if len(one) + len(other) > LONGEST:  # no version, but something to be put in an order
        return -1 if one < other else 1
    for name in (by,) if by in _KEYS else ("semver", "date", "natural"):
        key = _KEYS[str(name)]
        a, b = key(one), key(other)
        if a is not None and b is not None and a != b:
            return -1 if a < b else 1
    return -1 if one < other else 1


def latest(found: Sequence[T], versions: Sequence[str | None], by: str | None = None) -> T | None:
    """Return the latest of what was found; what has no version is earlier than all."""
    if len(found) < 2:
        return found[0] if found else None
    order = _order(by)
    ranked = max(
        range(len(found)),
        key=lambda i: (versions[i] is not None, order(versions[i] or "")),
    )
    return found[ranked]


def in_order(versions: Iterable[str], by: str | None = None) -> list[str]:
    """Return versions, the earliest first."""
    return sorted(versions, key=_order(by))


def _order(by: str | None) -> Callable[[str], Any]:
    """Return the key by which versions are sorted."""

    def compared(one: str, other: str) -> int:
        return compare(one, other, by)

    return cmp_to_key(compared)


@remembered(1024)
def is_pattern(wanted: str) -> bool:
    """Say whether a version asked for has parts that stand for anything."""
    return any(part in _WILD for part in _PARTS.split(wanted))


@remembered(4096)
def fits(wanted: str, version: str | None) -> bool:
    """Say whether a version is the one asked for, literally or by its pattern.

    "1.0.x" is met by "1.0.0" and "1.0.3"; "1" only by "1". A wild last part also stands for all
    that follows.
    """
    if wanted == version:
        return True
    if version is None or not is_pattern(wanted):
        return False
    return _pattern(wanted).fullmatch(version) is not None


@remembered(256)
def _pattern(wanted: str) -> re.Pattern[str]:
    parts = _PARTS.split(wanted)
    written = [r"[^.\-+]+" if part in _WILD else re.escape(part) for part in parts]
    if parts[-1] in _WILD:
        written[-1] = r".+"
    return re.compile("".join(written))


def _semver(version: str) -> tuple[Any, ...] | None:
    """Return a key by semver.org section 11: a pre-release comes before its release."""
    found = _SEMVER.fullmatch(version)
    if found is None:
        return None
    major, minor, patch, label = found.groups()
    release = (int(major), int(minor), int(patch or 0))
    if label is None:
        return (*release, 1)
    return (*release, 0, *((0, int(p), "") if p.isdigit() else (1, 0, p) for p in label.split(".")))


def _date(version: str) -> tuple[Any, ...] | None:
    found = _DATE.fullmatch(version)
    if found is None:
        return None
    year, month, day = found.groups()
    return (int(year), int(month or 0), int(day or 0), version)


def _natural(version: str) -> tuple[Any, ...]:
    return tuple(
        (0, int(p), "") if p.isdigit() else (1, 0, p) for p in _PIECES.findall(version.casefold())
    )


def _integer(version: str) -> tuple[Any, ...] | None:
    return (int(version),) if version.isdecimal() else None


def _alpha(version: str) -> tuple[Any, ...]:
    return (version,)


_KEYS: Mapping[str, Callable[[str], tuple[Any, ...] | None]] = {
    "semver": _semver,
    "date": _date,
    "natural": _natural,
    "integer": _integer,
    "alpha": _alpha,
}
