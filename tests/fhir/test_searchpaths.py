"""R4 searchparameter.html: where the values of an expression stand."""

from __future__ import annotations

import pytest

from app.errors import Invalid, NotSupported
from app.fhir.searchpaths import At, Equals, Get, HasExtension, Holds, Location, Refers, locate

CASES: dict[str, tuple[str, list[Location]]] = {
    "Observation.subject.where(resolve() is Patient)": (
        "Observation",
        [
            Location(
                (Get("subject", False), Refers("Patient")),
                "Reference",
                ("Patient", "Group", "Device", "Location"),
            )
        ],
    ),
    "(Observation.value as Quantity) | (Observation.value as SampledData)": (
        "Observation",
        [
            Location((Get("valueQuantity", False),), "Quantity"),
            Location((Get("valueSampledData", False),), "SampledData"),
        ],
    ),
    "(Observation.value as CodeableConcept).text": (
        "Observation",
        [Location((Get("valueCodeableConcept", False), Get("text", False)), "string")],
    ),
    "Observation.value.as(DateTime)": (
        "Observation",
        [Location((Get("valueDateTime", False),), "dateTime")],
    ),
    "Patient.telecom.where(system='phone') | Person.telecom": (
        "Patient",
        [Location((Get("telecom", True), Equals("system", "phone")), "ContactPoint")],
    ),
    "Patient.gender": (
        "Patient",
        [
            Location(
                (Get("gender", False),),
                "code",
                (),
                "http://hl7.org/fhir/ValueSet/administrative-gender",
            )
        ],
    ),
    "Patient.deceased.exists() and Patient.deceased != false": (
        "Patient",
        [Location((Holds(("deceasedBoolean", "deceasedDateTime")),), "boolean")],
    ),
    "Bundle.entry[0].resource": (
        "Bundle",
        [Location((At(0), Get("entry", True), Get("resource", False)), "Resource")],
    ),
    "Patient.name.first().family": (
        "Patient",
        [Location((At(0), Get("name", True), Get("family", False)), "string")],
    ),
    "Patient.extension('http://x').value.ofType(Coding)": (
        "Patient",
        [
            Location(
                (Get("extension", True), Equals("url", "http://x"), Get("valueCoding", False)),
                "Coding",
            )
        ],
    ),
    "item.where(hasExtension('http://x')).answer.value.ofType(Reference)": (
        "QuestionnaireResponse",
        [
            Location(
                (
                    Get("item", True),
                    HasExtension("http://x"),
                    Get("answer", True),
                    Get("valueReference", False),
                ),
                "Reference",
                ("Resource",),
            )
        ],
    ),
    "Resource.id": ("Patient", [Location((Get("id", False),), "id")]),
    "Person.gender": ("Patient", []),
}


@pytest.mark.parametrize("expression", CASES)
def test_locations_of(expression: str) -> None:
    resource_type, expected = CASES[expression]

    assert list(locate(expression, resource_type)) == expected


@pytest.mark.parametrize(
    "expression",
    ["Patient.eyes", "Patient.name.", "(" * 200, "Patient" + ".name" * 9000],
)
def test_what_leads_nowhere_is_invalid(expression: str) -> None:
    with pytest.raises(Invalid):
        locate(expression, "Patient")


@pytest.mark.parametrize(
    "expression",
    [
        "Patient.name.where(use.exists())",
        "Patient.name.count() > 1",
        "Patient.name[-1]",
        "now()",
        "Patient.link.other.resolve().name",
        "'x'",
    ],
)
def test_what_is_more_than_a_walk_is_not_located(expression: str) -> None:
    with pytest.raises(NotSupported):
        locate(expression, "Patient")
