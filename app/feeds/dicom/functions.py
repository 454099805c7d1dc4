"""Functions that DICOM mappings may use: times, names, numbers and their authorities, UDI, UIDs."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from app.feeds.dicom import report
from app.feeds.dicom.dataset import DataSet
from app.feeds.dicom.names import human_names, plain_name
from app.feeds.dicom.values import PersonName, fhir_date, fhir_datetime, offset_text
from app.fhir.ids import encode_part
from app.mapping.assigners import universal_system
from app.mapping.source import Function
from app.registry import carrier
from app.registry.parse import parse

DICOMWEB: Final = "https://yilian.example/dicomweb"
UID_SYSTEM: Final = "urn:dicom:uid"
V2_0203: Final = "http://terminology.hl7.org/CodeSystem/v2-0203"


def _study_uid(value: Any, _: Any) -> dict[str, str]:
    return {"system": UID_SYSTEM, "value": f"urn:oid:{value}"}


def _oid(value: Any, _: Any) -> str:
    return f"urn:oid:{value}"


def _moment(ds: DataSet, day: str, time: str, zone: Any) -> str | None:
    """Return the dateTime of a date and a time element; (0008,0201) beats the default zone."""
    on = ds.text(day)
    offset = offset_text(ds.text("TimezoneOffsetFromUTC"))
    if offset is None:
        date = fhir_date(on)
        offset = _offset_on(date, zone) if date else "+00:00"
    return fhir_datetime(on, ds.text(time), offset)


def _offset_on(date: str, zone: Any) -> str:
    parts = [int(part) for part in date.split("-")] + [1, 1]
    text = datetime(parts[0], parts[1], parts[2], 12, tzinfo=zone).strftime("%z")
    return f"{text[:3]}:{text[3:5]}"


def _earliest(pairs: tuple[tuple[str, str], ...]) -> Callable[..., str | None]:
    """Return the function for the earliest of the times that the data sets of a place claim."""

    def earliest(place: Any, run: Any) -> str | None:
        found = {
            moment
            for ds in place.sets
            for day, time in pairs
            if (moment := _moment(ds, day, time, run.doc.zone))
        }
        return min(found, key=lambda moment: (_comparable(moment), -len(moment)), default=None)

    return earliest


def _comparable(moment: str) -> datetime:
    parts = moment.split("-")
    full = moment if len(parts) > 2 else f"{moment}-01-01"[:10]
    at = datetime.fromisoformat(full)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _names(value: Any, _: Any) -> list[dict[str, Any]]:
    return human_names(value) if isinstance(value, PersonName) else []


def _plain_name(value: Any, _: Any) -> str | None:
    return plain_name(value) if isinstance(value, PersonName) else str(value).strip() or None


def _date(value: Any, _: Any) -> str | None:
    return fhir_date(str(value))


def _recorded(place: Any, run: Any) -> str:
    """Return when the message was received; for files, when the study was made."""
    received = run.context.values.get("received_at")
    if received:
        return str(received)
    pairs = (("InstanceCreationDate", "InstanceCreationTime"), ("StudyDate", "StudyTime"))
    for pair in pairs:
        found: str | None = _earliest((pair,))(place, run)
        if found and "T" in found:
            return found
        if found and len(found) == len("2026-03-01"):
            return f"{found}T00:00:00{_offset_on(found, run.doc.zone)}"
    return "1970-01-01T00:00:00Z"


def _numbered(number: str, issuer: str, issuers: str) -> Callable[..., dict[str, Any] | None]:
    """Return the function that gives an Identifier: a number with the system of who assigned it.

    The Universal Entity ID of the issuer, else the issuer's own name, else the calling AE, else the
    institution: looked up in the table of assigning authorities (PS3.3 10.14, 10.15).
    """

    def numbered(place: Any, run: Any) -> dict[str, Any] | None:
        value = _first(place, number)
        if not value:
            return None
        items = place.get(issuers) if issuers else []
        qualifier = items[0] if items and isinstance(items[0], DataSet) else None
        name = _first(place, issuer) if issuer else ""
        universal = kind = ""
        if qualifier is not None:
            universal = qualifier.text("UniversalEntityID")
            kind = qualifier.text("UniversalEntityIDType")
            name = name or qualifier.text("LocalNamespaceEntityID")
        system = _system(run, name, universal, kind, _institution(place))
        identifier: dict[str, Any] = {"system": system, "value": value}
        if name:
            identifier["assigner"] = {"display": name}
        return identifier

    return numbered


def _first(place: Any, keyword: str) -> str:
    values = place.get(keyword)
    return str(values[0]).strip() if values else ""


def _institution(place: Any) -> str:
    while place is not None:
        found = _first(place, "InstitutionName")
        if found:
            return found
        place = place.up
    return ""


def _system(run: Any, name: str, universal: str, kind: str, institution: str) -> str:
    table = run.context.values["assigners"]
    uri = universal_system(universal, kind or None) if universal else None
    if uri is not None:
        return uri
    sender = run.doc.facts.get("calling-ae")
    facility = sender if sender in table.rows else institution or sender
    system, known = table.system(name or universal or None, None, None, facility)
    if not known:
        warning = "an assigning authority is in no table; its own name is used"
        run.warn(warning, None, "unresolved-assigner")
    return str(system)


def _typed(identifier: Any, _: Any, code: str) -> dict[str, Any]:
    """Return the Identifier with a type of HL7 table 0203 in front."""
    return {"type": {"coding": [{"system": V2_0203, "code": code}]}, **identifier}


def _serial(value: Any, _: Any, manufacturer: Any = None) -> dict[str, str] | None:
    text = str(value).strip()
    if not text or manufacturer is None:
        return None
    return {"system": f"urn:x-yilian:serial:{encode_part(str(manufacturer))}", "value": text}


def _udi_key(value: Any, _: Any) -> dict[str, str] | None:
    """Return the registry's key of a UDI that names one device (DI and serial)."""
    return carrier.key_of(str(value))


def _udi(value: Any, _: Any) -> dict[str, Any]:
    """Return a udiCarrier with what the registry reads in it."""
    return carrier.carrier_of(str(value))


def _udi_part(name: str) -> Callable[[Any, Any], str | None]:
    def part(value: Any, _: Any) -> str | None:
        found = parse(str(value))
        got = found.fields.get(name) if found.valid else None
        return str(got) if got else None

    return part


def _instance_url(place: Any, run: Any) -> str:
    """Return the WADO-RS address of an instance under our own DICOMweb (PS3.18 10.4)."""
    base = str(run.context.values.get("dicomweb") or DICOMWEB).rstrip("/")
    study, series, instance = (
        _first(place, name) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    )
    return f"{base}/studies/{study}/series/{series}/instances/{instance}"


def _recorded_content(place: Any, run: Any) -> str | None:
    """Return when a report's content was made, as an instant."""
    found: str | None = _earliest((("ContentDate", "ContentTime"),))(place, run)
    return found if found and "T" in found else None


def _report_text(place: Any, _: Any) -> str | None:
    """Return a report as plain text, in base64."""
    if place.ds is None:
        return None
    return base64.b64encode(report.text(place.ds).encode()).decode()


def _clean_uid(value: Any, _: Any) -> str:
    return str(value).strip()


FUNCTIONS: Final[dict[str, Function]] = {
    "study_uid": Function(_study_uid, type="Identifier"),
    "instance_url": Function(_instance_url, takes="node", type="url"),
    "oid": Function(_oid, type="string"),
    "uid": Function(_clean_uid, type="id"),
    "date": Function(_date, type="date"),
    "started": Function(_earliest((("StudyDate", "StudyTime"),)), takes="node", type="dateTime"),
    "series_started": Function(
        _earliest((("SeriesDate", "SeriesTime"),)), takes="node", type="dateTime"
    ),
    "content_time": Function(
        _earliest((("ContentDate", "ContentTime"),)), takes="node", type="dateTime"
    ),
    "recorded_content": Function(_recorded_content, takes="node", type="instant"),
    "report_text": Function(_report_text, takes="node", type="base64Binary"),
    "recorded": Function(_recorded, takes="node", type="instant"),
    "names": Function(_names, gives_list=True, type="HumanName"),
    "plain_name": Function(_plain_name, type="string"),
    "patient_number": Function(
        _numbered("PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence"),
        takes="node",
        type="Identifier",
    ),
    "accession": Function(
        _numbered("AccessionNumber", "", "IssuerOfAccessionNumberSequence"),
        takes="node",
        type="Identifier",
    ),
    "requested_procedure": Function(
        _numbered("RequestedProcedureID", "", ""), takes="node", type="Identifier"
    ),
    "placer_order": Function(
        _numbered("PlacerOrderNumberImagingServiceRequest", "", "OrderPlacerIdentifierSequence"),
        takes="node",
        type="Identifier",
    ),
    "filler_order": Function(
        _numbered("FillerOrderNumberImagingServiceRequest", "", "OrderFillerIdentifierSequence"),
        takes="node",
        type="Identifier",
    ),
    "typed": Function(_typed, type="Identifier", args=(1, 1)),
    "serial": Function(_serial, type="Identifier", args=(0, 1)),
    "udi_key": Function(_udi_key, type="Identifier"),
    "udi": Function(_udi, type="BackboneElement"),
    "udi_lot": Function(_udi_part("lot"), type="string"),
    "udi_expiry": Function(_udi_part("expiry"), type="dateTime"),
    "udi_made": Function(_udi_part("production"), type="dateTime"),
}
