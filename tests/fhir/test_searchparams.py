"""R4 searchparameter-registry.html: what every type can be searched by."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from app.errors import Invalid, NotFound
from app.fhir import definitions, searchparams
from app.fhir.searchparams import FIRST_CUSTOM_NUMBER, SearchParameters

EYE_COLOUR: dict[str, Any] = {
    "resourceType": "SearchParameter",
    "url": "https://example.org/SearchParameter/eye-colour",
    "code": "eye-colour",
    "type": "token",
    "base": ["Patient"],
    "expression": "Patient.extension('https://example.org/eye-colour').value",
}


def test_numbers_are_an_on_disk_format() -> None:
    names = [f"{t}.{code}" for t, code in searchparams._names_in_order()]

    assert searchparams.params("Account")["_content"].number == 1
    assert searchparams.params("Observation")["code"].number == 2069
    assert searchparams.params("VisionPrescription")["status"].number == len(names) == 3165
    assert (
        hashlib.sha256(" ".join(names).encode()).hexdigest()
        == "7c60d09aa596411520d617375e22440910b555ba05937747aeac3262217bd729"
    )


def test_every_type_has_its_parameters_and_bits_fit_into_a_signed_integer() -> None:
    numbers: set[int] = set()
    for resource_type in definitions.resource_types():
        table = searchparams.params(resource_type)
        bits = [p.bit for p in table.values() if p.bit is not None]

        assert "_id" in table
        assert len(set(bits)) == len(table)
        assert max(bits) <= 62
        assert all(p.locations or p.computed for p in table.values())
        numbers.update(p.number for p in table.values())
    assert len(numbers) == 3163
    assert max(numbers) < FIRST_CUSTOM_NUMBER


def test_an_unknown_type_is_not_found() -> None:
    with pytest.raises(NotFound):
        searchparams.params("Patients")


UNIONS = {
    ("Observation", "combo-code"): {"code", "component-code"},
    ("Observation", "combo-value-quantity"): {"value-quantity", "component-value-quantity"},
    ("Observation", "combo-code-value-quantity"): {
        "code-value-quantity",
        "component-code-value-quantity",
    },
    ("Patient", "phonetic"): {"name"},
}


@pytest.mark.parametrize("name", UNIONS, ids=".".join)
def test_a_parameter_that_others_cover_is_their_union(name: tuple[str, str]) -> None:
    param = searchparams.params(name[0])[name[1]]

    assert {p.code for p in param.union} == UNIONS[name]
    assert not any(p.union for p in param.union)


@pytest.mark.parametrize(
    ("resource_type", "code", "of", "target"),
    [
        ("Observation", "patient", "subject", "Patient"),
        ("Encounter", "patient", "subject", "Patient"),
        ("Encounter", "practitioner", "participant", "Practitioner"),
        ("Appointment", "location", "actor", "Location"),
        ("Task", "patient", "subject", "Patient"),
    ],
)
def test_a_parameter_may_narrow_another_to_one_target(
    resource_type: str, code: str, of: str, target: str
) -> None:
    table = searchparams.params(resource_type)

    assert table[code].narrows == (table[of], target)


def test_a_patient_parameter_with_an_element_of_its_own_is_no_alias() -> None:
    assert not searchparams.params("AllergyIntolerance")["patient"].is_alias
    assert not searchparams.params("Bundle")["message"].is_alias  # composition is another type


def test_a_composite_over_the_whole_resource_is_its_parts() -> None:
    whole = searchparams.params("Observation")["code-value-quantity"]
    repeats = searchparams.params("Observation")["component-code-value-quantity"]

    assert [p.code for p in whole.parts] == ["code", "value-quantity"]
    assert repeats.parts == ()
    assert [c.param.code for c in repeats.components] == [
        "component-code",
        "component-value-quantity",
    ]


@pytest.mark.parametrize(
    ("resource_type", "code"),
    [
        ("Observation", "date"),
        ("Patient", "birthdate"),
        ("MedicationRequest", "authoredon"),
        ("ImagingStudy", "started"),
        ("Encounter", "date"),
        ("Condition", "recorded-date"),
        ("Task", "authored-on"),
        ("Device", None),
        ("Organization", None),
    ],
)
def test_primary_date(resource_type: str, code: str | None) -> None:
    param = searchparams.primary_date(resource_type)

    assert (param.code if param else None) == code


def test_what_a_search_may_say() -> None:
    table = searchparams.params("Observation")

    assert table["identifier"].modifiers >= {"of-type", "not", "missing", "text"}
    assert "of-type" not in table["code"].modifiers
    assert table["subject"].modifiers == {"missing", "identifier", "[type]"}
    assert table["subject"].targets == ("Group", "Device", "Patient", "Location")
    assert table["subject"].allows_bare_id
    assert table["date"].prefixes >= {"eq", "ap", "sa"}
    assert table["code"].prefixes == frozenset()
    assert searchparams.params("Library")["depends-on"].is_canonical
    assert searchparams.params("Observation")["focus"].targets == ()


def test_a_posted_parameter_is_used_at_once_and_gone_when_deleted() -> None:
    table = SearchParameters()

    (param,) = table.register(EYE_COLOUR, FIRST_CUSTOM_NUMBER + 5)

    assert table.find("Patient", "eye-colour") is param
    assert param.number == FIRST_CUSTOM_NUMBER + 5
    assert param.bit is None
    assert table.generation == 1

    assert table.unregister(EYE_COLOUR["url"]) == (param,)
    assert table.find("Patient", "eye-colour") is None


def test_a_posted_parameter_for_several_types_takes_a_number_for_each() -> None:
    table = SearchParameters()
    resource = EYE_COLOUR | {
        "base": ["Person", "Patient"],
        "expression": "Patient.gender | Person.gender",
    }

    params = table.register(resource, FIRST_CUSTOM_NUMBER)

    assert [(p.resource_type, p.number - FIRST_CUSTOM_NUMBER) for p in params] == [
        ("Patient", 0),
        ("Person", 1),
    ]


def test_posting_again_replaces_and_r4s_own_are_left_alone() -> None:
    table = SearchParameters()
    table.register(EYE_COLOUR, FIRST_CUSTOM_NUMBER)

    table.register(EYE_COLOUR | {"expression": "Patient.gender"}, FIRST_CUSTOM_NUMBER)
    own = {"url": "http://hl7.org/fhir/SearchParameter/Patient-active", "type": "token"}

    assert [p.expression for p in table.posted()] == ["Patient.gender"]
    assert table.register(own, FIRST_CUSTOM_NUMBER + 9) == ()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no-fhirpath": ({"expression": "Patient..gender"}, "SearchParameter.expression"),
    "no-such-element": ({"expression": "Patient.eyes"}, "SearchParameter.expression"),
    "another-type": ({"expression": "Person.gender"}, "SearchParameter.expression"),
    "unknown-function": ({"expression": "Patient.name.nosuch()"}, "SearchParameter.expression"),
    "no-limit-on-its-cost": (
        {"expression": "Patient.name.where(family.matches('(a+)+'))"},
        "SearchParameter.expression",
    ),
    "terminology": (
        {"expression": "Patient.maritalStatus.where(memberOf('urn:x'))"},
        "SearchParameter.expression",
    ),
    "wrong-search-type": (
        {"type": "quantity", "expression": "Patient.gender"},
        "SearchParameter.expression",
    ),
    "no-expression": ({"expression": None}, "SearchParameter.expression"),
    "unknown-base": ({"base": ["Patients"]}, "SearchParameter.base[0]"),
    "unknown-type": ({"type": "colour"}, "SearchParameter.type"),
    "code-is-taken": ({"code": "gender"}, "SearchParameter.code"),
    "composite-without-parts": (
        {"type": "composite", "expression": "Patient"},
        "SearchParameter.component",
    ),
    "composite-of-unknown-parts": (
        {
            "type": "composite",
            "expression": "Patient",
            "component": [{"definition": "https://example.org/x", "expression": "gender"}],
        },
        "SearchParameter.component[0].definition",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_parameter_that_cannot_work_is_refused_where_it_is_wrong(case: str) -> None:
    change, at = REFUSED[case]
    resource = {k: v for k, v in (EYE_COLOUR | change).items() if v is not None}

    with pytest.raises(Invalid) as refused:
        SearchParameters().check(resource)

    assert refused.value.at == at
