"""The project's own code systems, value sets and concept maps: the resources of `profiles/`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from app.fhir import json
from app.terminology.catalogue import Resources
from app.terminology.memory import MemorySystem

_TYPES = ("ValueSet", "ConceptMap")


@cache
def shipped(folder: Path) -> Resources:
    """Return what a folder holds as a catalogue; files are named Type-id.json."""
    systems = [MemorySystem(_read(path)) for path in sorted(folder.glob("CodeSystem-*.json"))]
    others = [_read(path) for kind in _TYPES for path in sorted(folder.glob(f"{kind}-*.json"))]
    return Resources(systems, others)


def _read(path: Path) -> json.Json:
    return json.parse(path.read_bytes())
