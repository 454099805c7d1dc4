"""Identifier systems as NamingSystems name them. R4 namingsystem.html, datatypes.html#Identifier.

One system has many spellings: an OID in a CDA, a URI in FHIR, both in an HD of HL7 v2. The
uniqueIds of a NamingSystem are one system.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_UUID = "urn:uuid:"


def canonical_system(system: str) -> str:
    """Return the one spelling of a system: `urn:oid:` for OIDs, lower-case `urn:uuid:`."""
    head = system[:9].lower()
    if head.startswith("urn:oid:"):
        return "urn:oid:" + system[8:]
    if head == _UUID:
        return system.lower()
    if head.startswith("oid:"):
        return "urn:oid:" + system[4:]
    if system[:2] in ("0.", "1.", "2.") and system.replace(".", "").isdigit():
        return "urn:oid:" + system
    return system


def systems_of(naming: Mapping[str, Any]) -> list[str]:
    """Return the systems a NamingSystem lists, as they stand in an Identifier, preferred first."""
    if naming.get("kind") == "codesystem" or naming.get("status") == "retired":
        return []
    listed = sorted(naming.get("uniqueId") or (), key=lambda each: not each.get("preferred"))
    return [as_system(each.get("type", ""), each["value"]) for each in listed if each.get("value")]


def as_system(kind: str, value: str) -> str:
    """Return a uniqueId as the system of an Identifier."""
    if kind == "uuid" and not value.startswith(_UUID):
        return _UUID + value.lower()
    return canonical_system(value)
