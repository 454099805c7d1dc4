"""R4 search.html: what a resource can be found by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.errors import Invalid, NotFound
from app.fhir import definitions, searchparams
from app.fhir.dates import OPEN_HIGH
from app.fhir.extract import INFINITY, Values, compiled, extractor, source
from app.fhir.searchparams import FIRST_CUSTOM_NUMBER, Param, SearchParameters
from app.fhir.searchpaths import (
    At,
    Equals,
    Get,
    HasExtension,
    Holds,
    Location,
    Refers,
    Step,
    locate_part,
)

SHANGHAI = ZoneInfo("Asia/Shanghai")
LISTS = [name for name in Values.__struct_fields__ if name not in {"present", "posted"}]

Json = dict[str, Any]


def found(resource: Json) -> dict[str, list[Any]]:
    """Return "list:parameter" -> values, as a search engineer would write them down."""
    params = {
        param.number: param for param in searchparams.params(resource["resourceType"]).values()
    }
    result: dict[str, list[Any]] = {}
    values = extractor(resource["resourceType"])(resource, SHANGHAI)
    for name in LISTS:
        for number, *value in getattr(values, name):
            result.setdefault(f"{name}:{params[number].code}", []).append(
                value[0] if len(value) == 1 else tuple(value)
            )
    return result


def present(resource: Json) -> set[str]:
    mask = extractor(resource["resourceType"])(resource, SHANGHAI).present
    table = searchparams.params(resource["resourceType"])
    return {code for code, param in table.items() if param.mask & mask} - {"_id", "_lastUpdated"}


def us(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[arg-type]


def concept(system: str, code: str, display: str | None = None) -> Json:
    coding = {"system": system, "code": code}
    return {"coding": [coding | ({"display": display} if display else {})]}


LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
PRESSURE = {"value": 120, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"}
DAY = (us(2024, 3, 9, 16), us(2024, 3, 10, 16))

CASES: dict[str, tuple[Json, dict[str, list[Any]]]] = {
    "Patient": (
        {
            "resourceType": "Patient",
            "id": "p1",
            "meta": {"profile": ["http://p"], "tag": [{"code": "t"}], "source": "urn:feed"},
            "identifier": [
                {
                    "system": "urn:mrn",
                    "value": "42",
                    "type": {"coding": [{"system": "urn:t", "code": "MR"}], "text": "number"},
                },
                {"value": "43"},
                {"system": "urn:empty"},
            ],
            "active": False,
            "name": [{"text": "王伟", "family": "王", "given": ["伟", None, "小伟"]}],
            "telecom": [{"system": "phone", "value": "123"}, {"system": "email", "value": "a@b"}],
            "gender": "male",
            "birthDate": "2024-03-10",
            "deceasedDateTime": "2024-03-10",
            "address": [
                {"line": ["1 Road"], "city": "上海", "postalCode": "200000", "use": "home"}
            ],
            "communication": [{"language": {"coding": [{"code": "zh"}]}}],
            "link": [{"other": {"reference": "Patient/p2"}, "type": "seealso"}],
            "managingOrganization": {"identifier": {"system": "urn:org", "value": "7"}},
            "generalPractitioner": [{"reference": "#gp"}],
        },
        {
            "uris:_profile": ["http://p"],
            "tokens:_tag": [(None, "t")],
            "uris:_source": ["urn:feed"],
            "identifiers:identifier": [
                ("urn:mrn", "42", "urn:t", "MR"),
                (None, "43", None, None),
            ],
            "texts:identifier": ["number"],
            "tokens:active": [(None, "false")],
            "strings:name": ["王伟", "王", "伟", "小伟"],
            "strings:family": ["王"],
            "strings:given": ["伟", "小伟"],
            "tokens:telecom": [(None, "123"), (None, "a@b")],
            "tokens:phone": [(None, "123")],
            "tokens:email": [(None, "a@b")],
            "tokens:gender": [("http://hl7.org/fhir/administrative-gender", "male")],
            "dates:birthdate": [DAY],
            "dates:death-date": [DAY],
            "tokens:deceased": [(None, "true")],
            "strings:address": ["1 Road", "上海", "200000"],
            "strings:address-city": ["上海"],
            "strings:address-postalcode": ["200000"],
            "tokens:address-use": [("http://hl7.org/fhir/address-use", "home")],
            "tokens:language": [(None, "zh")],
            "references:link": [("Patient/p2", None)],
            "reference_identifiers:organization": [("urn:org", "7")],
        },
    ),
    "Observation-with-components": (
        {
            "resourceType": "Observation",
            "status": "final",
            "code": concept(LOINC, "85354-9", "Blood pressure") | {"text": "BP"},
            "subject": {"reference": "Patient/p1"},
            "effectiveDateTime": "2024-03-10",
            "component": [
                {"code": concept(LOINC, "8480-6"), "valueQuantity": PRESSURE},
                {
                    "code": concept(LOINC, "8462-4"),
                    "valueQuantity": {"value": 80.5, "comparator": ">", "unit": "mmHg"},
                },
                {"code": concept(LOINC, "8478-0"), "dataAbsentReason": {"text": "unknown"}},
            ],
        },
        {
            "tokens:status": [("http://hl7.org/fhir/observation-status", "final")],
            "tokens:code": [(LOINC, "85354-9")],
            "texts:code": ["Blood pressure", "BP"],
            "references:subject": [("Patient/p1", None)],
            "dates:date": [DAY],
            "tokens:component-code": [(LOINC, "8480-6"), (LOINC, "8462-4"), (LOINC, "8478-0")],
            "quantities:component-value-quantity": [
                (UCUM, "mm[Hg]", "mmHg", 120.0, 120.0),
                (None, None, "mmHg", 80.5, INFINITY),
            ],
            "composites:component-code-value-quantity": [
                ([(LOINC, "8480-6")], [(UCUM, "mm[Hg]", "mmHg", 120.0, 120.0)]),
                ([(LOINC, "8462-4")], [(None, None, "mmHg", 80.5, INFINITY)]),
            ],
            "texts:component-data-absent-reason": ["unknown"],
        },
    ),
    "Observation-with-a-coded-value": (
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "valueCodeableConcept": concept("urn:v", "pos") | {"text": "positive"},
            "effectivePeriod": {"start": "2024-03-10"},
        },
        {
            "tokens:status": [("http://hl7.org/fhir/observation-status", "final")],
            "texts:code": ["x"],
            "tokens:value-concept": [("urn:v", "pos")],
            "texts:value-concept": ["positive"],
            "strings:value-string": ["positive"],
            "dates:date": [(DAY[0], OPEN_HIGH)],
        },
    ),
    "Encounter": (
        {
            "resourceType": "Encounter",
            "status": "finished",
            "class": {"system": "urn:c", "code": "AMB", "display": "ambulatory"},
            "participant": [
                {"individual": {"reference": "Practitioner/d"}},
                {"individual": {"reference": "https://other.example/fhir/RelatedPerson/r"}},
            ],
            "length": {"value": 3, "unit": "days", "system": UCUM, "code": "d"},
            "location": [
                {
                    "location": {"reference": "Location/l"},
                    "period": {"start": "2024-03-10", "end": "2024-03-10"},
                }
            ],
        },
        {
            "tokens:status": [("http://hl7.org/fhir/encounter-status", "finished")],
            "tokens:class": [("urn:c", "AMB")],
            "texts:class": ["ambulatory"],
            "references:participant": [
                ("Practitioner/d", None),
                ("https://other.example/fhir/RelatedPerson/r", None),
            ],
            "quantities:length": [(UCUM, "d", "days", 3.0, 3.0)],
            "references:location": [("Location/l", None)],
            "dates:location-period": [DAY],
        },
    ),
    "Condition": (
        {
            "resourceType": "Condition",
            "subject": {"reference": "Patient/p1", "type": "Patient"},
            "onsetAge": {"value": 40, "unit": "a", "system": UCUM, "code": "a"},
            "abatementString": "soon",
            "recordedDate": "2024-03-10",
        },
        {
            "references:subject": [("Patient/p1", "Patient")],
            "quantities:onset-age": [(UCUM, "a", "a", 40.0, 40.0)],
            "strings:abatement-string": ["soon"],
            "dates:recorded-date": [DAY],
        },
    ),
    "MedicationRequest": (
        {
            "resourceType": "MedicationRequest",
            "status": "active",
            "intent": "order",
            "medicationCodeableConcept": concept("urn:rx", "1"),
            "subject": {"reference": "urn:uuid:5c3b0f4e-0f4c-4c39-8a5e-0d9d6e3d7c11"},
            "authoredOn": "2024-03-10",
            "dosageInstruction": [{"timing": {"event": ["2024-03-10"]}}],
        },
        {
            "tokens:status": [
                ("http://hl7.org/fhir/CodeSystem/medicationrequest-status", "active")
            ],
            "tokens:intent": [("http://hl7.org/fhir/CodeSystem/medicationrequest-intent", "order")],
            "tokens:code": [("urn:rx", "1")],
            "references:subject": [("urn:uuid:5c3b0f4e-0f4c-4c39-8a5e-0d9d6e3d7c11", None)],
            "dates:authoredon": [DAY],
            "dates:date": [DAY],
        },
    ),
    "ImagingStudy": (
        {
            "resourceType": "ImagingStudy",
            "status": "available",
            "subject": {"reference": "Patient/p1"},
            "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}],
            "modality": [{"system": "urn:m", "code": "CT"}],
            "started": "2024-03-10",
            "series": [
                {
                    "uid": "1.2.3.4",
                    "modality": {"system": "urn:m", "code": "MR"},
                    "instance": [
                        {"uid": "1.2.3.4.5", "sopClass": {"system": "urn:s", "code": "1.2"}}
                    ],
                }
            ],
        },
        {
            "tokens:status": [("http://hl7.org/fhir/imagingstudy-status", "available")],
            "references:subject": [("Patient/p1", None)],
            "identifiers:identifier": [("urn:dicom:uid", "urn:oid:1.2.3", None, None)],
            "dates:started": [DAY],
            "tokens:modality": [("urn:m", "MR")],
            "tokens:series": [(None, "1.2.3.4")],
            "tokens:instance": [(None, "1.2.3.4.5")],
            "tokens:dicom-class": [("urn:s", "1.2")],
        },
    ),
    "Device": (
        {
            "resourceType": "Device",
            "deviceName": [{"name": "Monitor", "type": "user-friendly-name"}],
            "udiCarrier": [{"deviceIdentifier": "0123", "carrierHRF": "(01)0123"}],
            "type": concept("urn:t", "vs") | {"text": "vital signs monitor"},
            "url": "http://10.0.0.1",
        },
        {
            "strings:device-name": ["Monitor", "vital signs monitor"],
            "strings:udi-di": ["0123"],
            "strings:udi-carrier": ["(01)0123"],
            "tokens:type": [("urn:t", "vs")],
            "texts:type": ["vital signs monitor"],
            "uris:url": ["http://10.0.0.1"],
        },
    ),
    "ValueSet": (
        {
            "resourceType": "ValueSet",
            "url": "urn:vs",
            "status": "active",
            "version": "2",
            "compose": {"include": [{"system": "urn:cs"}]},
            "useContext": [
                {
                    "code": {"system": "urn:u", "code": "age"},
                    "valueRange": {"low": {"value": 1, "unit": "a"}},
                }
            ],
        },
        {
            "uris:url": ["urn:vs"],
            "tokens:status": [("http://hl7.org/fhir/publication-status", "active")],
            "tokens:version": [(None, "2")],
            "uris:reference": ["urn:cs"],
            "tokens:context-type": [("urn:u", "age")],
            "quantities:context-quantity": [(None, None, "a", 1.0, INFINITY)],
            "composites:context-type-quantity": [
                ([("urn:u", "age")], [(None, None, "a", 1.0, INFINITY)])
            ],
        },
    ),
    "Library": (
        {
            "resourceType": "Library",
            "status": "active",
            "relatedArtifact": [
                {"type": "depends-on", "resource": "urn:x|1"},
                {"type": "depends-on", "resource": "#inside"},
                {"type": "successor", "resource": "urn:y"},
            ],
        },
        {
            "tokens:status": [("http://hl7.org/fhir/publication-status", "active")],
            "canonicals:depends-on": ["urn:x|1"],
            "canonicals:successor": ["urn:y"],
        },
    ),
    "ChargeItem": (
        {
            "resourceType": "ChargeItem",
            "status": "billable",
            "factorOverride": 0.05,
            "priceOverride": {"value": 12.5, "currency": "CNY"},
        },
        {
            "numbers:factor-override": [(0.05, 0.05)],
            "quantities:price-override": [("urn:iso:std:iso:4217", "CNY", "CNY", 12.5, 12.5)],
        },
    ),
    "Location": (
        {"resourceType": "Location", "position": {"latitude": 31.2, "longitude": 121.5}},
        {"positions:near": [(31.2, 121.5)]},
    ),
    "Bundle": (
        {
            "resourceType": "Bundle",
            "type": "document",
            "entry": [
                {"resource": {"resourceType": "Composition", "id": "c"}},
                {"resource": {"resourceType": "Composition", "id": "d"}},
            ],
        },
        {
            "tokens:type": [("http://hl7.org/fhir/bundle-type", "document")],
            "references:composition": [("Composition/c", "Composition")],
        },
    ),
    "MolecularSequence": (
        {
            "resourceType": "MolecularSequence",
            "coordinateSystem": 0,
            "referenceSeq": {"chromosome": concept("urn:chr", "7"), "windowStart": 5},
            "variant": [{"start": 10, "end": 20}, {"start": 30}],
        },
        {
            "tokens:chromosome": [("urn:chr", "7")],
            "numbers:window-start": [(5.0, 5.0)],
            "numbers:variant-start": [(10.0, 10.0), (30.0, 30.0)],
            "numbers:variant-end": [(20.0, 20.0)],
            "composites:chromosome-variant-coordinate": [
                ([("urn:chr", "7")], [(10.0, 10.0)], [(20.0, 20.0)])
            ],
        },
    ),
    "Task": (
        {
            "resourceType": "Task",
            "status": "requested",
            "intent": "order",
            "for": {"reference": "Patient/p1"},
            "authoredOn": "2024-03-10T12:00:00+08:00",
        },
        {
            "tokens:status": [("http://hl7.org/fhir/task-status", "requested")],
            "tokens:intent": [("http://hl7.org/fhir/request-intent", "order")],
            "references:subject": [("Patient/p1", None)],
            "dates:authored-on": [(us(2024, 3, 10, 4), us(2024, 3, 10, 4, 0, 1))],
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_values_of(case: str) -> None:
    resource, expected = CASES[case]

    assert found(resource) == expected


def test_presence_covers_the_aliases() -> None:
    resource, _ = CASES["Observation-with-components"]

    assert present(resource) == {
        *("status", "code", "subject", "patient", "date", "combo-code"),
        *("component-code", "component-value-quantity", "combo-value-quantity"),
        *("component-code-value-quantity", "combo-code-value-quantity"),
        *("component-data-absent-reason", "combo-data-absent-reason"),
    }


def test_a_device_as_subject_is_no_patient() -> None:
    resource = {"resourceType": "Observation", "subject": {"reference": "Device/d"}}

    assert present(resource) == {"subject"}


def test_deceased_has_a_value_even_where_the_element_is_absent() -> None:
    assert found({"resourceType": "Patient"}) == {"tokens:deceased": [(None, "false")]}
    dead = {"resourceType": "Patient", "deceasedBoolean": True}
    alive = {"resourceType": "Patient", "deceasedBoolean": False}
    assert found(dead) == {"tokens:deceased": [(None, "true")]}
    assert found(alive) == {"tokens:deceased": [(None, "false")]}


def test_an_element_with_only_an_extension_is_missing() -> None:
    extended = {"resourceType": "Patient", "_birthDate": {"extension": [{"url": "urn:x"}]}}

    assert "birthdate" not in present(extended)


def test_a_date_outside_the_calendar_is_refused() -> None:
    with pytest.raises(Invalid):
        found({"resourceType": "Patient", "birthDate": "2023-02-30"})


def test_an_unknown_type_is_not_found() -> None:
    with pytest.raises(NotFound):
        extractor("Patients")


# --- every parameter of every type ---------------------------------------------------------------

SAMPLES: dict[str, Any] = {
    "CodeableConcept": concept("urn:s", "c", "d"),
    "Coding": {"system": "urn:s", "code": "c"},
    "Identifier": {"system": "urn:s", "value": "v"},
    "ContactPoint": {"value": "v"},
    "HumanName": {"family": "f"},
    "Address": {"city": "c"},
    "Annotation": {"text": "t"},
    "Reference": {"reference": "Patient/1"},
    "Resource": {"resourceType": "Composition", "id": "1"},
    "Period": {"start": "2024-03-10"},
    "Timing": {"event": ["2024-03-10"]},
    "Range": {"low": {"value": 1}, "high": {"value": 2}},
    "Money": {"value": 1.5, "currency": "CNY"},
    "BackboneElement": {"latitude": 1, "longitude": 2},
    "boolean": True,
    "date": "2024-03-10",
    "dateTime": "2024-03-10",
    "instant": "2024-03-10T12:00:00Z",
    **dict.fromkeys(("integer", "positiveInt", "unsignedInt", "decimal"), 7),
    **{t: {"value": 1} for t in ("Quantity", "Age", "Count", "Distance", "Duration")},
    **dict.fromkeys(("string", "markdown", "code", "id", "uri", "url", "canonical", "oid"), "x"),
    "uuid": "x",
}


def build(resource: Json, steps: Iterable[Step], kind: str) -> None:
    """Write into `resource` what the steps lead to, with a sample of the data type at the end."""
    place: Any = resource
    gets = [step for step in steps if isinstance(step, Get)]
    for step in steps:
        match step:
            case Get(name, many):
                sample = SAMPLES[kind] if step is gets[-1] else {}
                child = dict(sample) if isinstance(sample, dict) else sample
                stored = place.setdefault(name, [child] if many else child)
                place = stored[0] if many else stored
            case Equals(name, value):
                place[name] = value
            case Refers(resource_type):
                place["reference"] = f"{resource_type}/1"
            case HasExtension(url):
                place["extension"] = [{"url": url}]
            case Holds(names):
                place[names[0]] = True
            case At():
                pass


def simple() -> Iterator[tuple[Param, Location]]:
    for resource_type in definitions.resource_types():
        for param in searchparams.params(resource_type).values():
            if param.type != "composite" and not param.computed:
                yield from ((param, location) for location in param.locations)


def test_every_location_of_every_parameter_gives_a_value() -> None:
    missed: list[tuple[Param, Location]] = []
    for param, location in simple():
        resource: Json = {"resourceType": param.resource_type}
        build(resource, location.steps, location.type)
        if location.type == "Resource":
            resource["entry"][0]["resource"]["resourceType"] = param.targets[0]

        values = extractor(param.resource_type)(resource, UTC)

        numbers = {entry[0] for name in LISTS for entry in getattr(values, name)}
        if not values.present & param.mask or (param.number in numbers) == param.is_alias:
            missed.append((param, location))
    assert missed == []


def test_every_composite_gives_its_components_together() -> None:
    seen = 0
    for resource_type in definitions.resource_types():
        for param in searchparams.params(resource_type).values():
            for root in param.locations if param.type == "composite" else ():
                resource: Json = {"resourceType": resource_type}
                for component in param.components:
                    types = searchparams.SEARCHABLE[component.param.type]
                    parts = locate_part(component.expression, resource_type, root)
                    part = next(p for p in parts if p.type in types)
                    inside = [s for s in part.steps if isinstance(s, Get)]
                    absolute = len(inside) < len(part.steps)  # %resource
                    build(resource, inside if absolute else [*root.steps, *inside], part.type)

                values = extractor(resource_type)(resource, UTC)

                seen += 1
                assert values.present & param.mask
                assert (param.number in {c[0] for c in values.composites}) != param.is_alias
    assert seen == 74


# --- posted parameters ---------------------------------------------------------------------------


def test_a_posted_parameter_over_an_extension() -> None:
    table = SearchParameters()
    table.register(
        {
            "url": "https://example.org/SearchParameter/eye-colour",
            "code": "eye-colour",
            "type": "token",
            "base": ["Patient"],
            "expression": "Patient.extension('https://example.org/it\\'s').value",
        },
        FIRST_CUSTOM_NUMBER,
    )
    resource = {
        "resourceType": "Patient",
        "extension": [
            {"url": "https://example.org/other", "valueCode": "green"},
            {"url": "https://example.org/it's", "valueCode": "brown"},
        ],
    }

    values = compiled("Patient", table)(resource, UTC)

    assert (FIRST_CUSTOM_NUMBER, None, "brown") in values.tokens
    assert list(values.posted) == [FIRST_CUSTOM_NUMBER]


EVALUATED: dict[str, tuple[str, str, list[tuple[Any, ...]]]] = {
    "Patient.name.where(use = 'official' or use = 'usual').family": ("string", "strings", [("x",)]),
    "Patient.name.select(given.first() & ' ' & family)": ("string", "strings", [("w x",)]),
    "Patient.name.count()": ("number", "numbers", [(1.0, 1.0)]),
    "Patient.name.given.exists()": ("token", "tokens", [(None, "true")]),
    "Patient.extension.where(url.startsWith('urn:')).value": ("token", "tokens", [("urn:s", "c")]),
    "Patient.extension.where(url.startsWith('urn:'))": ("token", "tokens", [("urn:s", "c")]),
    "Patient.birthDate + 1 year": ("date", "dates", [(us(1981, 1, 1), us(1982, 1, 1))]),
    "iif(active, 5 'mg')": ("quantity", "quantities", [(UCUM, "mg", "mg", 5.0, 5.0)]),
    "Patient.link.other.where(reference.exists())": (
        "reference",
        "references",
        [("Patient/2", None)],
    ),
    "Patient.name.family + 1": ("string", "strings", []),  # an error of FHIRPath: no value
    "Patient.photo.where(url.exists())": ("string", "strings", []),
}


@pytest.mark.parametrize("expression", EVALUATED)
def test_a_posted_parameter_that_only_fhirpath_finds(expression: str) -> None:
    search_type, listed, expected = EVALUATED[expression]
    table = SearchParameters()
    (param,) = table.register(
        {
            "url": "https://example.org/SearchParameter/x",
            "code": "x",
            "type": search_type,
            "base": ["Patient"],
            "expression": expression,
        },
        FIRST_CUSTOM_NUMBER,
    )
    resource = {
        "resourceType": "Patient",
        "active": True,
        "birthDate": "1980",
        "extension": [{"url": "urn:x", "valueCoding": {"system": "urn:s", "code": "c"}}],
        "name": [{"use": "usual", "family": "x", "given": ["w"]}],
        "link": [{"other": {"reference": "Patient/2"}}],
    }

    values = compiled("Patient", table)(resource, UTC)

    found = [tuple(rest) for p, *rest in getattr(values, listed) if p == param.number]
    assert found == expected
    assert list(values.posted) == ([param.number] if expected else [])


def test_text_of_an_expression_never_becomes_code() -> None:
    table = SearchParameters()
    table.register(
        {
            "url": "https://example.org/SearchParameter/evil",
            "code": "evil",
            "type": "string",
            "base": ["Patient"],
            "expression": "Patient.name.where(text = '\\'}: {v} {0} \\n import os \\\\').family",
        },
        FIRST_CUSTOM_NUMBER,
    )
    resource = {
        "resourceType": "Patient",
        "name": [{"text": "'}: {v} {0} \n import os \\", "family": "x"}],
    }

    assert (FIRST_CUSTOM_NUMBER, "x") in compiled("Patient", table)(resource, UTC).strings


def test_the_source_can_be_looked_at() -> None:
    assert "def extract(r, zone):" in source("Slot")
