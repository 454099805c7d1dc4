"""Identifier systems that mean one of the registered schemes, in every spelling in use.

identifiers.md section 5; FHIR R4 identifier-registry and NamingSystem pages. A value of such a
system has the key of its scheme, so that a token, a CX and a scan find the same thing.
"""

from __future__ import annotations

from app.registry import detect
from app.registry.reading import Context, Reading
from app.registry.schemes import reader

SID = "https://yilian.example/fhir/sid/"
URI_VALUES = "urn:ietf:rfc:3986"  # the value is itself a URI (R4 datatypes.html#Identifier)
KEY = SID + "key"
DICOM = "urn:dicom:uid"

_NAMING = "http://hl7.org/fhir/NamingSystem/"
_OWN_NAMING = "https://yilian.example/fhir/NamingSystem/"

# System -> scheme that reads its values.
SCHEMES = {
    "https://www.gs1.org/gtin": "gtin",
    "http://www.gs1.org/gtin": "gtin",
    "urn:oid:1.3.160": "gtin",
    "https://www.gs1.org/gln": "gln",
    "urn:oid:1.3.88": "gln",
    "https://www.gs1.org/sscc": "sscc",
    "https://www.gs1.org/gsrn": "gsrn",
    "https://www.gs1.org/gsrnp": "gsrnp",
    "https://www.gs1.org/grai": "grai",
    "https://www.gs1.org/giai": "giai",
    "https://www.gs1.org/gdti": "gdti",
    _NAMING + "gs1-di": "gtin",
    _NAMING + "gs1": "gtin",
    "urn:oid:2.51.1.1": "gtin",
    _NAMING + "hibcc-dI": "hibc-di",
    _NAMING + "hibcc-di": "hibc-di",
    _NAMING + "hibcc": "hibc-di",
    "urn:oid:1.0.15961.10.816": "hibc-di",
    _NAMING + "iccbba-other-di": "isbt128-di",
    _NAMING + "iccbba-blood-di": "isbt128-di",
    _NAMING + "iccbba": "isbt128-di",
    "urn:oid:2.16.840.1.113883.6.18": "isbt128-di",
    "urn:oid:2.16.840.1.113883.6.40": "isbt128-di",
    _OWN_NAMING + "ma-di": "ma-udi",
    SID + "ma-di": "ma-udi",
    "urn:oid:2.16.156.10011.1.3": "cn-resident-id",
    SID + "cn-resident-id": "cn-resident-id",
    "http://hl7.org/fhir/sid/passport-CHN": "cn-passport",
    SID + "cn-passport": "cn-passport",
    "http://hl7.org/fhir/sid/us-npi": "npi",
    "urn:oid:2.16.840.1.113883.4.6": "npi",
    SID + "uscc": "cn-uscc",
    SID + "cn-uscc": "cn-uscc",
    SID + "drug-trace": "cn-drug-trace",
    SID + "cn-drug-trace": "cn-drug-trace",
    SID + "drug-approval": "cn-drug-approval",
    SID + "cn-drug-approval": "cn-drug-approval",
    SID + "nhsa-drug": "nhsa-drug",
    SID + "cn-nhsa-drug": "nhsa-drug",
    SID + "nhsa-consumable": "nhsa-consumable",
    SID + "cn-nhsa-consumable": "nhsa-consumable",
    "urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680": "eui64",
    SID + "eui64": "eui64",
    "http://hl7.org/fhir/sid/eui-48/bluetooth": "eui48",
    "http://hl7.org/fhir/sid/eui-48/ethernet": "eui48",
    DICOM: "dicom-uid",
}
# Aliases that are published with the product; a site's own come from its table of assigners.
ALIASES = {system.removeprefix(SID): system for system in SCHEMES if system.startswith(SID)}

# Canonical key -> the FHIR Identifier that carries it (what Yilian writes itself).
_WRITTEN = {
    "gs1:01": "https://www.gs1.org/gtin",
    "gs1:00": "https://www.gs1.org/sscc",
    "gs1:414": "https://www.gs1.org/gln",
    "gs1:8018": "https://www.gs1.org/gsrn",
    "gs1:8017": "https://www.gs1.org/gsrn",
    "gs1:8003": "https://www.gs1.org/grai",
    "gs1:8004": "https://www.gs1.org/giai",
    "gs1:253": "https://www.gs1.org/gdti",
    "cn-rid": "urn:oid:2.16.156.10011.1.3",
    "passport:CHN": "http://hl7.org/fhir/sid/passport-CHN",
    "npi": "http://hl7.org/fhir/sid/us-npi",
    "cn-uscc": SID + "uscc",
    "cn-dtc": SID + "drug-trace",
    "cn-drug-approval": SID + "drug-approval",
}

_TWO_PART = frozenset({"gs1", "passport"})  # families whose second part names the kind


def read_value(system: str, value: str, context: Context) -> Reading | None:
    """Read a value by the scheme its system stands for; None for any other system."""
    if system == URI_VALUES:
        return _read_uri(value, context)
    scheme = SCHEMES.get(system)
    if scheme is None:
        return None
    return reader(scheme)(value, context)


def _read_uri(value: str, context: Context) -> Reading | None:
    scheme = detect.prefixed(value)
    reading = reader(scheme)(value, context) if scheme else None
    return reading if reading is not None and reading.canonical else None


def local_key(system: str, value: str) -> str:
    """Return the key of an assigned identifier."""
    return f"id:{system}|{value}"


def identifiers(canonical: str) -> list[tuple[str, str]]:
    """Return the FHIR identifiers (system, value) that a canonical key is written as."""
    if canonical.startswith("id:"):
        system, _, value = canonical[3:].partition("|")
        return [(system, value)]
    family, _, value = canonical.partition(":")
    if family in ("oid", "uuid"):
        return [(URI_VALUES, f"urn:{family}:{value}")]
    if family in ("eui48", "eui64"):
        return [_address(family, value)]
    root = f"{family}:{value.partition(':')[0]}" if family in _TWO_PART else family
    if root not in _WRITTEN:
        return [(KEY, canonical)]
    plain, narrowed, _ = canonical[len(root) + 1 :].partition(":")
    written = [(_WRITTEN[root], plain)]
    return [*written, (KEY, canonical)] if narrowed else written


_ADDRESS_SYSTEMS = {
    "eui48": "http://hl7.org/fhir/sid/eui-48/bluetooth",
    "eui64": "urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680",
}


def _address(family: str, digits: str) -> tuple[str, str]:
    pairs = "-".join(digits[n : n + 2].upper() for n in range(0, len(digits), 2))
    return _ADDRESS_SYSTEMS[family], pairs
