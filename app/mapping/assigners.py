"""The assigning-authority table: whose number is this? One for all feeds.

A universal id (OID, UUID, URI) wins as it is; else the table; else `urn:x-yilian:ns:` + the
namespace, else the facility, else `local`, and the caller warns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from app.errors import Invalid, NotFound
from app.fhir.ids import encode_part
from app.mapping.yamldoc import Block, parse

_OID = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*)){2,}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_KEYS = {"assigners", "person-wide", "overlay", "note"}


class Assigners:
    """Namespaces, facilities, issuers and AE titles -> identifier systems."""

    def __init__(
        self, rows: Mapping[str, str], types: Iterable[str], systems: Iterable[str]
    ) -> None:
        self.rows = dict(rows)
        self._types = frozenset(types)
        self._systems = tuple(systems)
        self.system = lru_cache(maxsize=4096)(self._system)  # every number asks for its own

    def _system(
        self,
        namespace: str | None,
        universal: str | None,
        kind: str | None,
        facility: str | None,
        application: str | None = None,
    ) -> tuple[str, bool]:
        """Return (identifier system, whether it was known)."""
        if universal:
            uri = universal_system(universal, kind)
            if uri is not None:
                return uri, True
        for name in (namespace, universal):
            if name:
                return self._named(name)
        if facility:
            both = f"{facility}:{application}" if application else facility
            return (self.rows[both], True) if both in self.rows else self._named(facility)
        return "urn:x-yilian:ns:local", False

    def _named(self, name: str) -> tuple[str, bool]:
        found = self.rows.get(name)
        if found is not None:
            return found, True
        if name.startswith(("urn:", "http://", "https://")) and not re.search(r"\s", name):
            return name, True
        if _OID.fullmatch(name):
            return f"urn:oid:{name}", True
        return f"urn:x-yilian:ns:{encode_part(name)}", False

    def person_wide(self, type_code: str | None, system: str | None) -> bool:
        """Say whether a number names the person everywhere, not a record of one institution."""
        return type_code in self._types or (system or "").startswith(self._systems)


def universal_system(universal: str, kind: str | None) -> str | None:
    """Return the URI of a universal id, None when it is none."""
    if universal.startswith(("urn:", "http://", "https://")) and not re.search(r"\s", universal):
        return universal
    if _OID.fullmatch(universal):
        return f"urn:oid:{universal}"
    if _UUID.fullmatch(universal):
        return f"urn:uuid:{universal.lower()}"
    return None


def load(paths: Iterable[Path]) -> Assigners:
    """Return the table of the files together; later files win. Raises NotFound, Invalid."""
    rows: dict[str, str] = {}
    types: list[str] = []
    systems: list[str] = []
    for path in paths:
        try:
            text = path.read_text("utf-8")
        except OSError as exc:
            raise NotFound(
                "the table of assigning authorities cannot be read", at=str(path)
            ) from exc
        body = parse(text, path.name)
        if not isinstance(body, Block):
            raise Invalid("the table of assigning authorities is a YAML mapping", at=path.name)
        for key in body:
            if key not in _KEYS:
                raise Invalid(f"unknown section `{key}`", at=f"{path.name}:{body.lines[key]}")
        rows.update(_rows(body, path.name))
        wide: Any = body.get("person-wide") or {}
        types.extend(str(code) for code in wide.get("types") or ())
        systems.extend(str(system) for system in wide.get("systems") or ())
    return Assigners(rows, types, systems)


def _rows(body: Block, name: str) -> dict[str, str]:
    out: dict[str, str] = {}
    listed = body.get("assigners") or Block()
    for key, system in listed.items():
        if not isinstance(system, str) or not re.match(r"(urn:|https?://)\S+$", system):
            raise Invalid("a system has to be a URI", at=f"{name}:{listed.lines[key]}")
        out[key] = system
    return out
