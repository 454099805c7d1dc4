"""What a site brings to the mappings of a feed, where messages are converted without a hub."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.errors import Invalid
from app.mapping import assigners
from app.mapping.assigners import Assigners
from app.paths import shipped


def zone(name: str) -> ZoneInfo:
    """Return the time zone of that name. Raises Invalid."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as exc:
        raise Invalid("no such time zone", at="--time-zone") from exc


def folders(feed: str, overlay: Path | None) -> list[Path]:
    """Return where the mappings of a feed lie: the shipped ones, then the site's own.

    overlay: the site's folder, with one folder a feed or only this feed's files.
    """
    found = [shipped("mappings") / feed]
    if overlay is not None:
        found.append(overlay / feed if (overlay / feed).is_dir() else overlay)
    return found


def authorities(overlay: Path | None) -> Assigners:
    """Return the shipped table of assigning authorities with the site's rows."""
    tables = [folder / "assigners.yaml" for folder in (shipped("mappings"), overlay) if folder]
    return assigners.load([tables[0], *(path for path in tables[1:] if path.is_file())])
