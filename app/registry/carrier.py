"""A UDI as FHIR has it: R4 device.html; identifiers.md section 5."""

from __future__ import annotations

import base64
from typing import Any

from app.fhir.ids import BASE
from app.registry.parse import parse

# R4 Device.udiCarrier.issuer by the beginning of the scheme.
_ISSUERS = {
    "gs1": "http://hl7.org/fhir/NamingSystem/gs1-di",
    "epc": "http://hl7.org/fhir/NamingSystem/gs1-di",
    "hibc": "http://hl7.org/fhir/NamingSystem/hibcc-dI",
    "isbt128": "http://hl7.org/fhir/NamingSystem/iccbba-blood-di",
    "ma": f"{BASE}/NamingSystem/ma-di",
}


_BEGINNINGS = ("(", "]", "+", "=", "&", "MA.", "01", "\x1d", "http", "urn:epc:")


def key_of(udi: str) -> dict[str, str] | None:
    """Return the registry's key of a UDI that names one device (DI and serial), an Identifier.

    None for any other number, which most are: these are not even parsed.
    """
    text = udi.strip()
    if not text.startswith(_BEGINNINGS):
        return None
    found = parse(text)
    if not found.valid or found.level != "instance" or not found.canonical:
        return None
    if found.scheme.partition("-")[0] not in _ISSUERS:
        return None
    system, key = found.identifiers[-1]
    return {"system": system, "value": key}


def carrier_of(udi: str) -> dict[str, Any]:
    """Return a UDI as a Device.udiCarrier: as printed, or as scanned with its separators."""
    text = udi.strip()
    scanned = text.startswith("]") or any(not c.isprintable() for c in text)
    carrier: dict[str, Any] = (
        {"carrierAIDC": base64.b64encode(text.encode()).decode()}
        if scanned
        else {"carrierHRF": text}
    )
    found = parse(text)
    device_id = found.fields.get("gtin") or found.fields.get("udiDi") if found.valid else None
    if device_id:
        carrier["deviceIdentifier"] = str(device_id)
        issuer = _ISSUERS.get(found.scheme.partition("-")[0])
        if issuer:
            carrier["issuer"] = issuer
    return carrier
