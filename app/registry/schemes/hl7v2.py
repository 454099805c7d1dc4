"""HL7 v2 identifiers: CX, EI and HD (HL7 v2.5.1 chapter 2A.14, 2A.28, 2A.33).

    10001^^^HOSPA&1.2.156.1&ISO^MR      PUMP1^ACME^1.2.156.2^ISO      HIS^1.2.156.3^ISO

A universal id beats the namespace. A namespace alone goes through the assigning-authority table;
unlisted it becomes a system of its own, with a warning.
"""

from __future__ import annotations

import re

from app.fhir.systems import canonical_system
from app.registry import systems
from app.registry.gs1 import escape
from app.registry.reading import MARKED, Context, Reading
from app.registry.schemes import eui, oid, uuid
from app.registry.schemes.assigned import assign

_ESCAPE = re.compile(r"\\([TSFRE])\\")
_ESCAPED = {"T": "&", "S": "^", "F": "|", "R": "~", "E": "\\"}
# HL7 table 0301: universal id types.
_UNIVERSAL_TYPES = frozenset(
    {"ISO", "UUID", "GUID", "DNS", "URI", "URL", "EUI-64", "HCD", "HL7", "L", "M", "N", "X400"}
)
# HL7 table 0203: types whose number names a person.
_PERSON_TYPES = frozenset(
    {"MR", "PI", "PT", "PE", "PN", "NI", "NNCHN", "NNxxx", "PPN", "SS", "DL", "NPI", "MD", "EI"}
)


_LONGEST = 1024


def _plain(text: str) -> str:
    """Return a component with the HL7 escapes of delimiters undone."""
    return _ESCAPE.sub(lambda m: _ESCAPED[m[1]], text) if "\\" in text else text


def _authority(reading: Reading, parts: list[str], context: Context) -> str:
    """Return the system of an assigning authority: namespace, universal id, its type."""
    namespace, universal, kind = (_plain(p) for p in (*parts, "", "", "")[:3])
    if namespace:
        reading.fields["assignerNamespace"] = namespace
    if universal:
        system = _universal(universal, kind)
    else:
        known = context.names().namespaces.get(namespace) if namespace else None
        if known is None:
            reading.warn("unresolved-assigner")
        system = known or f"urn:x-yilian:ns:{escape_name(namespace.strip() or 'local')}"
    reading.fields["assigner"] = system
    return system


def escape_name(name: str) -> str:
    """Return a local name percent-encoded (UTF-8) for one of our derived URIs."""
    return escape(name.encode("utf-8", "replace").decode("latin-1"))


def _universal(universal: str, kind: str) -> str:
    if kind == "ISO" or (not kind and universal[:2] in ("0.", "1.", "2.")):
        return canonical_system(f"urn:oid:{universal.removeprefix('urn:oid:')}")
    if kind in ("UUID", "GUID") or uuid.FORM.fullmatch(universal):
        return f"urn:uuid:{universal.removeprefix('urn:uuid:').lower()}"
    return universal


def read(text: str, context: Context) -> Reading:
    """Read whichever of the three types a text with carets is."""
    parts = text.split("^")
    if len(parts) == 3 and parts[2] in _UNIVERSAL_TYPES and "&" not in text:
        return read_hd(text, context)
    if len(parts) == 4 and parts[3] in _UNIVERSAL_TYPES and parts[2] and "&" not in text:
        return read_ei(text, context)
    return read_cx(text, context)


def _new(scheme: str, text: str) -> Reading:
    reading = Reading(scheme, MARKED)
    if len(text) > _LONGEST:
        reading.fail("length", f"more than {_LONGEST} characters")
    return reading


def _value(reading: Reading, text: str) -> str | None:
    value = _plain(text).strip()
    if not value:
        reading.fail("empty", "there is no identifier in the first component", "value", 0)
        return None
    reading.fields["value"] = value
    return value


def read_cx(text: str, context: Context) -> Reading:
    """Read an extended composite id: value, check, scheme, authority, type."""
    reading = _new("hl7-cx", text)
    if reading.errors:
        return reading
    parts = [*text.split("^"), "", "", "", "", ""]
    value = _value(reading, parts[0])
    if value is None:
        return reading
    for field, part in (("checkDigit", parts[1]), ("checkScheme", parts[2]), ("type", parts[4])):
        if part:
            reading.fields[field] = _plain(part)
    if parts[4] in _PERSON_TYPES:
        reading.level = "person"
    system = _authority(reading, parts[3].split("&"), context)
    return assign(reading, system, value, context)


def read_ei(text: str, context: Context) -> Reading:
    """Read an entity identifier: value, namespace, universal id, its type."""
    reading = _new("hl7-ei", text)
    if reading.errors:
        return reading
    parts = text.split("^")
    value = _value(reading, parts[0])
    if value is None:
        return reading
    if len(parts) > 3 and parts[3] == "EUI-64":  # IHE PCD: the universal id is the device
        device = eui.read_64(_plain(parts[2]) or value, context)
        reading.fields.update(device.fields)
        reading.errors.extend(device.errors)
        return reading.identify("instance", *device.keys) if device.canonical else reading
    return assign(reading, _authority(reading, parts[1:], context), value, context)


def read_hd(text: str, context: Context) -> Reading:
    """Read a hierarchic designator: it names an authority, so its key is that of the system."""
    reading = _new("hl7-hd", text)
    if reading.errors:
        return reading
    parts = text.split("^") if "^" in text else text.split("&")
    if not any(parts):
        return reading.fail("empty", "there is neither namespace nor universal id")
    system = _authority(reading, parts, context)
    if "unresolved-assigner" in reading.warnings:
        return reading
    if system.startswith("urn:oid:"):
        reading.errors.extend(oid.read(system, context).errors)
        return reading if reading.errors else reading.identify("party", f"oid:{system[8:]}")
    if system.startswith("urn:uuid:"):
        reading.errors.extend(uuid.read(system, context).errors)
        return reading if reading.errors else reading.identify("party", f"uuid:{system[9:]}")
    return reading.identify("party", systems.local_key(systems.URI_VALUES, system))


def build_cx(value: str, oid_of_authority: str, type_code: str) -> str:
    """Return a CX whose authority is an OID."""
    return f"{_escaped(value)}^^^&{oid_of_authority}&ISO^{type_code}"


def build_ei(value: str, namespace: str, oid_of_authority: str) -> str:
    """Return an EI whose authority is an OID."""
    return f"{_escaped(value)}^{namespace}^{oid_of_authority}^ISO"


_TO_ESCAPE = str.maketrans({c: f"\\{e}\\" for e, c in _ESCAPED.items()})


def _escaped(text: str) -> str:
    return text.translate(_TO_ESCAPE)
