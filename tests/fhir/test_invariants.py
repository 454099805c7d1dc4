"""R4 conformance-rules.html#constraints: which invariants a resource breaks, and where."""

from __future__ import annotations

from typing import Any

import pytest

from app.fhir import invariants

Json = dict[str, Any]

CODE = {"text": "x"}
QUANTITY = {"value": 1, "unit": "mg"}

BROKEN: dict[str, tuple[Json, set[tuple[str, str]]]] = {
    "obs-6": (
        {
            "resourceType": "Observation",
            "status": "final",
            "code": CODE,
            "valueString": "x",
            "dataAbsentReason": CODE,
        },
        {("obs-6", "Observation")},
    ),
    "a-component-without-fault": (
        {
            "resourceType": "Observation",
            "status": "final",
            "code": CODE,
            "component": [{"code": CODE, "valueQuantity": QUANTITY}],
        },
        set(),
    ),
    "obs-7": (
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"coding": [{"code": "a"}]},
            "valueString": "x",
            "component": [{"code": {"coding": [{"code": "a"}]}}],
        },
        {("obs-7", "Observation")},
    ),
    "pat-1-of-one-contact": (
        {
            "resourceType": "Patient",
            "contact": [{"name": {"text": "x"}}, {"gender": "male"}],
        },
        {("pat-1", "Patient.contact[1]")},
    ),
    "a-datatype's-own": (
        {
            "resourceType": "Patient",
            "identifier": [{"period": {"start": "2024-03-10", "end": "2024-03-09"}}],
        },
        {("per-1", "Patient.identifier[0].period")},
    ),
    "a-choice": (
        {
            "resourceType": "Observation",
            "status": "final",
            "code": CODE,
            "valueRange": {"low": {"value": 2}, "high": {"value": 1}},
        },
        {("rng-2", "Observation.valueRange")},
    ),
    "contained-and-not-used": (
        {"resourceType": "Patient", "contained": [{"resourceType": "Device", "id": "d"}]},
        {("dom-3", "Patient")},
    ),
    "contained-and-used": (
        {
            "resourceType": "Patient",
            "contained": [{"resourceType": "Organization", "id": "o", "name": "Ward"}],
            "managingOrganization": {"reference": "#o"},
        },
        set(),
    ),
    "inside-a-contained-resource": (
        {
            "resourceType": "Patient",
            "contained": [{"resourceType": "Organization", "id": "o"}],
            "managingOrganization": {"reference": "#o"},
        },
        {("org-1", "Patient.contained[0]")},
    ),
    "inside-a-bundle": (
        {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [
                {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Organization"}},
            ],
        },
        {("org-1", "Bundle.entry[0].resource")},
    ),
    "a-bundle-with-a-total": (
        {"resourceType": "Bundle", "type": "collection", "total": 1},
        {("bdl-1", "Bundle")},
    ),
    "an-answer-without-full-urls": (
        {
            "resourceType": "Bundle",
            "type": "transaction-response",
            "entry": [{"response": {"status": "201 Created"}}],
        },
        set(),
    ),
    "nested-questions": (
        {
            "resourceType": "Questionnaire",
            "name": "Intake",
            "status": "draft",
            "item": [
                {"linkId": "1", "type": "group", "item": [{"linkId": "1", "type": "string"}]},
            ],
        },
        {("que-2", "Questionnaire")},
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken(case: str) -> None:
    resource, expected = BROKEN[case]

    found = invariants.broken(resource)

    assert {(issue.details, issue.at) for issue in found} == expected


def test_severity_is_that_of_the_definition() -> None:
    resource = {"resourceType": "ValueSet", "status": "draft", "name": "not a name"}

    (issue,) = invariants.broken(resource)

    assert (issue.severity, issue.code, issue.details) == ("warning", "invariant", "vsd-0")
