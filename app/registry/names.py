"""The local names a site knows: its assigning authorities, and the aliases that follow from them.

`mappings/assigners.yaml` and the overlay files in its form. Read only when a code needs a name:
most do not, and the YAML reader costs more than the rest of the command.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from app.registry.reading import Names
from app.registry.systems import SID

if TYPE_CHECKING:
    from pathlib import Path


def load(paths: Iterable[Path]) -> Names:
    """Return the names of assigner tables; later files win. A file that is not there is empty."""
    import yaml  # only here: see above

    rows: dict[str, str] = {}
    for path in paths:
        if path.is_file():
            body = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
            rows.update(body.get("assigners") or {})
    return of(rows)


def of(assigners: dict[str, str]) -> Names:
    """Return the names that follow from namespace -> system."""
    aliases = {s.removeprefix(SID): s for s in assigners.values() if s.startswith(SID)}
    return Names(assigners, aliases)


@cache
def shipped_names() -> Names:
    """Return the names of the table that ships with the product."""
    from app.paths import shipped  # only here, like the YAML reader

    return load([shipped("mappings") / "assigners.yaml"])
