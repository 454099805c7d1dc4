"""Object identifiers (X.660) in dotted, URN (RFC 3061), `OID:` and ASN.1 notation (X.680 32).

First arc 0 to 2, second at most 39 under 0 and 1, no leading zeros, no other bound. `2.25.n` is a
UUID (X.667) and has the key of one.
"""

from __future__ import annotations

import re

from app.registry.reading import MARKED, MARKED_AND_CHECKED, Context, Reading

_PREFIXES = ("urn:oid:", "oid:")
_DICOM_ROOT = "1.2.840.10008."
_LONGEST_DICOM_UID = 64
_DIGITS_OF_UUID = 39

# Names that stand without a number in ASN.1 notation (X.660 annex A): arc above -> name -> arc.
_NAMES: dict[str, dict[str, str]] = {
    "": {
        "itu-t": "0",
        "ccitt": "0",
        "itu-r": "0",
        "iso": "1",
        "joint-iso-itu-t": "2",
        "joint-iso-ccitt": "2",
    },
    "0": {"recommendation": "0", "administration": "2", "network-operator": "3"},
    "1": {
        "standard": "0",
        "registration-authority": "1",
        "member-body": "2",
        "identified-organization": "3",
        "org": "3",
    },
    "1.2": {"cn": "156", "us": "840"},
    "2": {"country": "16", "registration-procedures": "17", "uuid": "25"},
    "2.16": {"cn": "156", "us": "840"},
}
_COMPONENT = re.compile(r"([a-z][A-Za-z0-9\-]*)?(?:\(([0-9]+)\)|([0-9]+))?")


def read(text: str, context: Context) -> Reading:
    """Read an OID in any notation."""
    reading = Reading("oid", MARKED)
    if text.startswith("{"):
        dotted = _of_asn1(reading, text)
    else:
        lower = text[:8].lower()
        prefix = next((p for p in _PREFIXES if lower.startswith(p)), "")
        dotted = text[len(prefix) :]
        if prefix:
            reading.confidence = MARKED_AND_CHECKED
    return _read_dotted(reading, dotted) if dotted is not None else reading


def read_dicom(text: str, context: Context) -> Reading:
    """Read a DICOM UID (PS3.5 section 9): an OID of at most 64 characters."""
    reading = read(text.removeprefix("urn:dicom:uid:"), context)
    if reading.scheme == "oid":
        reading.scheme = "dicom-uid"
    if len(text) > _LONGEST_DICOM_UID:
        reading.canonical, reading.uri = None, None
        reading.keys.clear()
        reading.fail("length", "a DICOM UID has at most 64 characters")
    return reading


def fault(dotted: str) -> tuple[str, str, int] | None:
    """Return (code, message, offset) of the first thing wrong with a dotted OID."""
    arcs, at = dotted.split("."), 0
    for arc in arcs:
        if not arc:
            return "format", "an arc is empty", at
        if not (arc.isascii() and arc.isdigit()):
            return "illegal-character", "arcs are numbers", at
        if arc[0] == "0" and arc != "0":
            return "bad-arc", "an arc begins with zero", at
        at += len(arc) + 1
    if arcs[0] not in ("0", "1", "2"):
        return "bad-arc", "the first arc is 0, 1 or 2", 0
    if len(arcs) < 2:
        return "format", "at least two arcs are expected", 0
    if arcs[0] != "2" and (len(arcs[1]) > 2 or int(arcs[1]) > 39):
        return "bad-arc", "the second arc is at most 39 here", 2
    return None


def _read_dotted(reading: Reading, dotted: str) -> Reading:
    wrong = fault(dotted)
    if wrong:
        code, message, at = wrong
        return reading.fail(code, message, "oid", at)
    reading.fields["oid"] = dotted
    if dotted.startswith("2.25.") and dotted.count(".") == 2:
        return _uuid(reading, dotted[5:])
    if dotted.startswith(_DICOM_ROOT) and len(dotted) <= _LONGEST_DICOM_UID:
        reading.scheme = "dicom-uid"
    reading.uri = f"urn:oid:{dotted}"
    return reading.identify("instance", f"oid:{dotted}")


def _uuid(reading: Reading, arc: str) -> Reading:
    reading.scheme = "uuid"
    if len(arc) > _DIGITS_OF_UUID or int(arc) >> 128:
        return reading.fail("out-of-range", "not below 2 to the power of 128", "uuid", 5)
    digits = f"{int(arc):032x}"
    text = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    reading.fields["uuid"] = text
    reading.uri = f"urn:uuid:{text}"
    return reading.identify("instance", f"uuid:{text}")


def _of_asn1(reading: Reading, text: str) -> str | None:
    """Return the dotted form of `{iso(1) member-body(2) 156}`."""
    if not text.endswith("}"):
        reading.fail("format", "the closing brace is missing")
        return None
    arcs: list[str] = []
    for word in text[1:-1].split():
        found = _COMPONENT.fullmatch(word)
        arc = None
        if found:
            arc = found[2] or found[3] if not (found[1] and found[3]) else None
            if arc is None and found[1]:
                arc = _NAMES.get(".".join(arcs), {}).get(found[1])
        if arc is None:
            reading.fail("format", "a component without a number that is no well-known name")
            return None
        arcs.append(arc)
    if not arcs:
        reading.fail("empty", "there is no component")
        return None
    return ".".join(arcs)


def build_urn(dotted: str) -> str:
    """Return the URN of a dotted OID."""
    return f"urn:oid:{dotted}"


def build_asn1(dotted: str) -> str:
    """Return the ASN.1 notation with bare numbers."""
    return "{" + dotted.replace(".", " ") + "}"
