"""The keys a resource is found by when one of its codes is scanned or typed.

What the write path indexes for each resource: every Identifier at its first level, and UDI carriers
(Device.udiCarrier, DeviceDefinition.udiDeviceIdentifier). Which elements those are follows from the
definitions; R4 resource.html#identifiers, device.html, identifiers.md section 5.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from app.fhir import definitions
from app.fhir.ids import RECORD
from app.registry.keys import canonical_keys, udi_keys

Reader = Callable[[Mapping[str, Any]], Iterable[str]]

_DI = "deviceIdentifier"
_ISSUER = "issuer"
_PRINTED = "carrierHRF"  # for people
_SCANNED = "carrierAIDC"  # what the scanner gives


def identifier_keys(type_name: str, resource: Mapping[str, Any]) -> Iterable[str]:
    """Return the canonical keys of a resource's identifiers, each once.

    0.3 us for a resource without any: what a type may have is looked up once.
    """
    found: dict[str, None] = {}
    for name, read in _elements(type_name):
        value = resource.get(name)
        if value:
            for each in value if isinstance(value, list) else (value,):
                found.update(dict.fromkeys(read(each)))
    return found


@cache
def _elements(type_name: str) -> tuple[tuple[str, Reader], ...]:
    """Return the elements of a type that hold identifiers, each with what reads one value."""
    found: list[tuple[str, Reader]] = []
    for name, member in definitions.structure(type_name).shape.members.items():
        if member.type.code == "Identifier":
            found.append((name, _of_identifier))
        elif member.shape is not None and _DI in member.shape.members:
            found.append((name, _of_udi))
    return tuple(found)


def _of_identifier(identifier: Mapping[str, Any]) -> Iterable[str]:
    """Return the keys of an Identifier.

    Record keys are left out: nobody can scan one, every resource of a feed has one, and
    `identifier=` finds them.
    """
    system = identifier.get("system")
    value = identifier.get("value")
    if not isinstance(value, str) or system == RECORD:
        return ()
    return canonical_keys(system, value)


def _of_udi(carrier: Mapping[str, Any]) -> Iterable[str]:
    """Return the keys of a UDI: of the device identifier (UDI-DI) and of the whole carrier."""
    device_identifier = carrier.get(_DI)
    if isinstance(device_identifier, str):
        issuer = carrier.get(_ISSUER)
        yield from (
            canonical_keys(issuer, device_identifier)
            if isinstance(issuer, str)
            else udi_keys(device_identifier)
        )
    printed, scanned = carrier.get(_PRINTED), carrier.get(_SCANNED)
    if isinstance(printed, str):
        yield from udi_keys(printed)
    if isinstance(scanned, str):
        yield from udi_keys(_decoded(scanned))


def _decoded(scanned: str) -> str:
    """Return the text in a base64Binary; what is none is taken as it is."""
    try:
        return base64.b64decode(scanned, validate=True).decode("ascii")
    except ValueError:  # no base64, or no text in it
        return scanned
