"""TerminologyCapabilities: which code systems are known, and what terminology operations take.

R4 terminologycapabilities.html. Code systems are listed whether or not they can be read as
resources: built-in ones, loaded ones and those of R4's own definitions too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Json = dict[str, Any]

# Of ValueSet/$expand.
_EXPANSION = (
    "activeOnly",
    "cache-id",
    "check-system-version",
    "count",
    "default-valueset-version",
    "designation",
    "displayLanguage",
    "excludeNested",
    "filter",
    "force-system-version",
    "includeDefinition",
    "includeDesignations",
    "offset",
    "property",
    "system-version",
    "tx-resource",
    "useSupplement",
    "valueSetVersion",
)


def statement(instance: Json, headers: Iterable[Json]) -> Json:
    """Return the statement. instance: what it has in common with the CapabilityStatement."""
    software = {k: v for k, v in instance["software"].items() if k in ("name", "version")}
    return {
        "resourceType": "TerminologyCapabilities",
        **instance,
        "software": software,
        "codeSystem": _code_systems(headers),
        "expansion": {
            "hierarchical": True,
            "paging": True,
            "incomplete": True,
            "parameter": [{"name": name} for name in _EXPANSION],
            "textFilter": "Every word asked for begins a word of a name or is part of Chinese text",
        },
        "codeSearch": "all",
        "validateCode": {"translations": True},
        "translation": {"needsMap": True},
        "closure": {"translation": False},
    }


def _code_systems(headers: Iterable[Json]) -> Sequence[Json]:
    """Return the code systems by url, each with its versions."""
    found: dict[str, list[Json]] = {}
    for header in headers:
        if isinstance(header.get("url"), str) and header.get("content") != "supplement":
            found.setdefault(header["url"], []).append(header)
    return [
        {"uri": url, **_versions([one["version"] for one in listed if "version" in one])}
        for url, listed in sorted(found.items())
    ]


def _versions(versions: Sequence[str]) -> Json:
    return {"version": [{"code": version} for version in versions]} if versions else {}
