"""Concept maps as vocabulary tables: R4 conceptmap.html.

A table may name a ConceptMap by its url (`concept-map: URL`) in place of rows, or beside rows that
go before it. The map is a file `ConceptMap-*.json` in the folder of the mapping file or in
`profiles/`: the same message becomes the same resources with and without a database.

An element's first target that says the same, or something wider or narrower, is its row; one that
has only targets which are disjoint, or none, has no translation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app import paths
from app.errors import Invalid, YilianError
from app.fhir import json

Row = tuple[str | None, str | None, str | None]

_NONE = frozenset(("unmatched", "disjoint"))


def read(url: str, folder: Path | None, at: str) -> tuple[dict[str, Row], str | None, bytes]:
    """Return the rows of a concept map, the system they are from, and the bytes of its file.

    folder: of the mapping file, None for one without. Raises Invalid where there is no such map.
    """
    for place in (folder, paths.shipped("profiles")):
        raw = None if place is None else _files(place).get(url)
        if raw is not None:
            return *_rows(json.parse(raw)), raw
    raise Invalid("there is no file with this concept map", at=at)


def _files(folder: Path) -> dict[str, bytes]:
    """Return url -> file of the concept maps of a folder."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.glob("ConceptMap-*.json")):
        raw = path.read_bytes()
        try:
            found[str(json.parse(raw).get("url"))] = raw
        except YilianError as exc:
            raise Invalid("the concept map cannot be read", at=path.name) from exc
    return found


def _rows(one: dict[str, Any]) -> tuple[dict[str, Row], str | None]:
    rows: dict[str, Row] = {}
    origins = []
    for group in one.get("group", ()):
        origins.append(_system(group, "source"))
        system = _system(group, "target")
        for element in group.get("element", ()):
            target = next(_said(element), None)
            if target is not None:
                rows.setdefault(element["code"], (target["code"], target.get("display"), system))
    return rows, origins[0] if len(set(origins)) == 1 else None


def _said(element: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for target in element.get("target", ()):
        if "code" in target and target.get("equivalence") not in _NONE:
            yield target


def _system(group: dict[str, Any], side: str) -> str | None:
    return str(group.get(side, "")).partition("|")[0] or None
