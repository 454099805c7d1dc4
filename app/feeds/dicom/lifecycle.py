"""What one object means for its study, whatever of that study is stored already.

Objects come one by one, in any order, over parallel associations, and again. Inside the transaction
the series and instances of the stored ImagingStudy are joined with those of the object by their
UIDs, and the counts are counted: nothing is added up, so nothing can be added twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from app.feeds.merge import Json, Special

_STUDY: Final = "ImagingStudy"


class Lifecycle:
    """The rules for the ImagingStudy of an object."""

    def specials(self, type_name: str) -> Mapping[str, Special]:
        return _SPECIALS if type_name == _STUDY else {}

    def finish(self, type_name: str, known: Json | None, after: Json) -> None:
        """Count series and instances, and let the study's modalities follow from its series."""
        if type_name != _STUDY:
            return
        all_series = after.get("series") or []
        for series in all_series:
            if "instance" in series:
                series["numberOfInstances"] = len(series["instance"])
        after["numberOfSeries"] = len(all_series)
        after["numberOfInstances"] = sum(one.get("numberOfInstances", 0) for one in all_series)
        modalities: list[Json] = []
        for series in all_series:
            if series["modality"] not in modalities:
                modalities.append(series["modality"])
        after["modality"] = modalities


def _series(known: Any, said: Any, newer: bool) -> tuple[Any, bool]:
    return _by_uid(known, said, newer, _one_series), newer


def _one_series(known: Json, said: Json, newer: bool) -> Json:
    joined = {**known, **said} if newer else {**said, **known}
    for name in ("performer", "specimen"):
        have = list(known.get(name) or ())
        more = [one for one in said.get(name) or () if one not in have]
        if have or more:
            joined[name] = have + more
    times = [one["started"] for one in (known, said) if "started" in one]
    if times:
        joined["started"] = min(times, key=_at)
    instances = _by_uid(known.get("instance"), said.get("instance"), newer, _one_instance)
    if instances:
        joined["instance"] = instances
    return joined


def _one_instance(known: Json, said: Json, newer: bool) -> Json:
    return said if newer else known


def _by_uid(known: Any, said: Any, newer: bool, join: Any) -> list[Json]:
    """Return the items of both, one for each UID, in the order of their UIDs."""
    found = {one["uid"]: one for one in known or ()}
    for one in said or ():
        before = found.get(one["uid"])
        found[one["uid"]] = one if before is None else join(before, one, newer)
    return [found[uid] for uid in sorted(found)]


def _started(known: Any, said: Any, newer: bool) -> tuple[Any, bool]:
    times = [one for one in (known, said) if one]
    return min(times, key=_at), newer


def _at(text: str) -> datetime:
    """Return a date or dateTime for comparing; a date is its first moment."""
    parts = text.split("T")[0].count("-")
    whole = text + ("", "-01", "-01-01")[2 - parts] if parts < 2 else text
    at = datetime.fromisoformat(whole)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


_SPECIALS: Final[Mapping[str, Special]] = {"series": _series, "started": _started}
