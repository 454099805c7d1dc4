"""Validation against the base definitions of R4: json.html, datatypes.html, references.html,
terminologies.html#strength, narrative.html. Both passes have to agree on everything."""

import copy
import json
from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import Malformed, NotFound
from app.fhir import definitions
from app.fhir.validate import check, problems
from tests import generate
from tests.generate import RELAXED

DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><p>text</p></div>'
OBSERVATION = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
EXTENSION = [{"url": "http://example.org/x", "valueString": "y"}]


def patient(**members):
    return {"resourceType": "Patient", **members}


def observation(**members):
    return {**OBSERVATION, **members}


VALID = {
    "empty patient": patient(),
    "one name": patient(name=[{"family": "张", "given": ["三"]}]),
    "primitive extension beside a value": patient(
        birthDate="2000-01-01", _birthDate={"extension": EXTENSION}
    ),
    "primitive extension alone": patient(_birthDate={"extension": EXTENSION}),
    "id beside a value": patient(birthDate="2000", _birthDate={"id": "a"}),
    "extensions padded with null": patient(
        name=[{"given": ["a", "b"], "_given": [None, {"extension": EXTENSION}]}]
    ),
    "values padded with null": patient(
        name=[{"given": ["a", None], "_given": [None, {"extension": EXTENSION}]}]
    ),
    "repeating extensions alone": patient(name=[{"_given": [{"extension": EXTENSION}]}]),
    "required element by extension": {
        "resourceType": "Observation",
        "_status": {"extension": EXTENSION},
        "code": {"text": "x"},
    },
    "choice with its own extension": observation(
        valueString="a", _valueString={"extension": EXTENSION}
    ),
    "decimal as integer": observation(valueQuantity={"value": 1}),
    "decimal as Decimal": observation(valueQuantity={"value": Decimal("1.00")}),
    "nested extension": patient(
        extension=[{"url": "http://a", "extension": [{"url": "b", "valueBoolean": True}]}]
    ),
    "narrative": patient(text={"status": "generated", "div": DIV}),
    "relative reference": observation(subject={"reference": "Patient/1"}),
    "versioned reference": observation(subject={"reference": "Patient/1/_history/2"}),
    "absolute reference": observation(subject={"reference": "https://a/fhir/Group/1"}),
    "urn reference": observation(
        subject={"reference": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"}
    ),
    "conditional reference": observation(subject={"reference": "Patient?identifier=a|b"}),
    "logical reference": observation(subject={"type": "Patient", "identifier": {"value": "1"}}),
    "type as url": observation(
        subject={"type": "http://hl7.org/fhir/StructureDefinition/Patient", "display": "x"}
    ),
    "reference of a logical model": observation(subject={"type": "http://a/b", "display": "x"}),
    "reference to any type": patient(
        extension=[{"url": "http://a", "valueReference": {"reference": "Measure/1"}}]
    ),
    "internal reference": observation(contained=[patient(id="p")], subject={"reference": "#p"}),
    "reference to the container": observation(
        contained=[
            {**OBSERVATION, "id": "o", "hasMember": [{"reference": "#"}]},
        ],
        derivedFrom=[{"reference": "#o"}],
    ),
    "bound concept": {
        "resourceType": "Condition",
        "subject": {"reference": "Patient/1"},
        "clinicalStatus": {
            "coding": [
                {"system": "http://example.org", "code": "x"},
                {
                    "system": "http://terminology.hl7.org/CodeSystem/condition-clinical",
                    "code": "active",
                },
            ]
        },
    },
    "content reference": {
        "resourceType": "Questionnaire",
        "status": "draft",
        "item": [{"linkId": "1", "type": "group", "item": [{"linkId": "2", "type": "string"}]}],
    },
    "bundle": {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": patient(contained=[patient(id="a")], link=None)}],
    },
    "parameters": {
        "resourceType": "Parameters",
        "parameter": [{"name": "a", "resource": patient(gender="male")}],
    },
}
del VALID["bundle"]["entry"][0]["resource"]["link"]

WRONG = {
    # name: (resource, place, issue code)
    "unknown member": (patient(foo="x"), "Patient.foo", "structure"),
    "unknown nested member": (patient(name=[{"first": "x"}]), "Patient.name[0].first", "structure"),
    "hostile member name": (patient(**{"a b<script>": "x"}), "Patient", "structure"),
    "member of another choice type": (
        observation(valueMoney={"value": 1}),
        "Observation.valueMoney",
        "structure",
    ),
    "two types of a choice": (
        patient(deceasedBoolean=False, deceasedDateTime="2020-01-01"),
        "Patient.deceasedDateTime",
        "structure",
    ),
    "two types of a choice, one by extension": (
        patient(deceasedBoolean=False, _deceasedDateTime={"extension": EXTENSION}),
        "Patient.deceasedDateTime",
        "structure",
    ),
    "missing element": (
        {"resourceType": "Observation", "code": {"text": "x"}},
        "Observation.status",
        "required",
    ),
    "missing nested element": (
        patient(link=[{"type": "replaces"}]),
        "Patient.link[0].other",
        "required",
    ),
    "missing choice": (
        {"resourceType": "MedicationStatement", "status": "active", "subject": {"display": "x"}},
        "MedicationStatement.medication",
        "required",
    ),
    "object for an array": (patient(name={"family": "x"}), "Patient.name", "structure"),
    "string for an array": (patient(name="Bob"), "Patient.name", "structure"),
    "array for one": (patient(gender=["male"]), "Patient.gender", "structure"),
    "string for an object": (observation(subject="Patient/1"), "Observation.subject", "structure"),
    "text for a boolean": (patient(active="true"), "Patient.active", "structure"),
    "boolean for an integer": (
        patient(multipleBirthInteger=True),
        "Patient.multipleBirth",
        "structure",
    ),
    "text for a decimal": (
        observation(valueQuantity={"value": "1.0"}),
        "Observation.value.value",
        "structure",
    ),
    "boolean for a decimal": (
        observation(valueQuantity={"value": True}),
        "Observation.value.value",
        "structure",
    ),
    "number for a string": (patient(name=[{"family": 7}]), "Patient.name[0].family", "structure"),
    "null": (patient(gender=None), "Patient.gender", "structure"),
    "null in a list": (patient(name=[None]), "Patient.name[0]", "structure"),
    "null beside no extension": (
        patient(name=[{"given": ["a", None]}]),
        "Patient.name[0].given[1]",
        "structure",
    ),
    "null beside null": (
        patient(name=[{"given": ["a", None], "_given": [{"id": "x"}, None]}]),
        "Patient.name[0].given[1]",
        "structure",
    ),
    "lists of different lengths": (
        patient(name=[{"given": ["a"], "_given": [None, {"extension": EXTENSION}]}]),
        "Patient.name[0].given",
        "structure",
    ),
    "object beside a list": (
        patient(name=[{"given": ["a"], "_given": {"extension": EXTENSION}}]),
        "Patient.name[0].given",
        "structure",
    ),
    "id alone beside no value": (patient(_birthDate={"id": "a"}), "Patient.birthDate", "invariant"),
    "underscore of an object": (patient(_name=[{"id": "a"}]), "Patient._name", "structure"),
    "underscore of the id": (patient(id="a", _id={"id": "b"}), "Patient._id", "structure"),
    "empty string": (patient(name=[{"family": ""}]), "Patient.name[0].family", "value"),
    "empty array": (patient(name=[]), "Patient.name", "structure"),
    "empty object": (patient(name=[{}]), "Patient.name[0]", "structure"),
    "only an id": (patient(name=[{"id": "a"}]), "Patient.name[0]", "invariant"),
    "control character": (patient(name=[{"family": "a\x00b"}]), "Patient.name[0].family", "value"),
    "no such day": (patient(birthDate="2024-02-30"), "Patient.birthDate", "value"),
    "time without a zone": (
        observation(effectiveDateTime="2024-01-01T00:00:00"),
        "Observation.effective",
        "value",
    ),
    "bad id": (patient(id="a b"), "Patient.id", "value"),
    "code not in the required value set": (patient(gender="man"), "Patient.gender", "code-invalid"),
    "concept not in the required value set": (
        {
            "resourceType": "Condition",
            "subject": {"reference": "Patient/1"},
            "clinicalStatus": {"coding": [{"system": "http://a", "code": "active"}]},
        },
        "Condition.clinicalStatus",
        "code-invalid",
    ),
    "text alone under a required binding": (
        {
            "resourceType": "Condition",
            "subject": {"reference": "Patient/1"},
            "clinicalStatus": {"text": "active"},
        },
        "Condition.clinicalStatus",
        "code-invalid",
    ),
    "reference to a wrong type": (
        observation(subject={"reference": "Medication/1"}),
        "Observation.subject.reference",
        "value",
    ),
    "absolute reference to a wrong type": (
        observation(subject={"reference": "http://a/fhir/Medication/1"}),
        "Observation.subject.reference",
        "value",
    ),
    "reference to no type of R4": (
        observation(subject={"reference": "Person2/1"}),
        "Observation.subject.reference",
        "value",
    ),
    "type not among the targets": (
        observation(subject={"type": "Medication", "display": "x"}),
        "Observation.subject.type",
        "value",
    ),
    "type against the reference": (
        observation(subject={"type": "Group", "reference": "Patient/1"}),
        "Observation.subject.type",
        "value",
    ),
    "internal reference to nothing": (
        observation(subject={"reference": "#p"}),
        "Observation.subject.reference",
        "invariant",
    ),
    "internal reference to a wrong type": (
        observation(
            contained=[{"resourceType": "Medication", "id": "m"}], subject={"reference": "#m"}
        ),
        "Observation.subject.reference",
        "value",
    ),
    "nested contained": (
        patient(contained=[patient(id="a", contained=[patient(id="b")])]),
        "Patient.contained[0].contained",
        "invariant",
    ),
    "contained with a version": (
        patient(contained=[patient(id="a", meta={"versionId": "1"})]),
        "Patient.contained[0].meta.versionId",
        "invariant",
    ),
    "contained of no type": (
        patient(contained=[{"resourceType": "Foo"}]),
        "Patient.contained[0]",
        "structure",
    ),
    "wrong resource in a contained one": (
        patient(contained=[patient(gender="x")]),
        "Patient.contained[0].gender",
        "code-invalid",
    ),
    "wrong resource in a bundle": (
        {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [{"resource": patient(gender="x")}],
        },
        "Bundle.entry[0].resource.gender",
        "code-invalid",
    ),
    "wrong resource in parameters": (
        {
            "resourceType": "Parameters",
            "parameter": [{"name": "a", "resource": {"resourceType": "Observation"}}],
        },
        "Parameters.parameter[0].resource.status",
        "required",
    ),
    "internal reference out of a bundle entry": (
        {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [{"resource": observation(subject={"reference": "#p"})}],
        },
        "Bundle.entry[0].resource.subject.reference",
        "invariant",
    ),
    "extension without value": (
        patient(extension=[{"url": "http://a"}]),
        "Patient.extension[0]",
        "invariant",
    ),
    "extension with value and extensions": (
        patient(extension=[{"url": "http://a", "valueString": "x", "extension": EXTENSION}]),
        "Patient.extension[0]",
        "invariant",
    ),
    "extension without url": (
        patient(extension=[{"valueString": "x"}]),
        "Patient.extension[0].url",
        "required",
    ),
    "script in the narrative": (
        patient(
            text={
                "status": "generated",
                "div": DIV.replace("<p>", "<script>alert(1)</script><p>"),
            }
        ),
        "Patient.text.div",
        "value",
    ),
    "wrong resourceType": ({"resourceType": "Group"}, "Patient.resourceType", "structure"),
    "no resourceType": ({"active": True}, "Patient.resourceType", "structure"),
    "nothing": ({}, "Patient", "structure"),
}


@pytest.mark.parametrize("name", VALID)
def test_a_valid_resource_passes(name):
    resource = VALID[name]

    assert problems(resource, resource["resourceType"]) == []
    assert check(resource, resource["resourceType"])


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_resource_is_refused_with_place_and_code(name):
    resource, at, code = WRONG[name]
    type_name = at.partition(".")[0]

    found = problems(resource, type_name)

    assert (at, code) in [(issue.at, issue.code) for issue in found]
    assert not check(resource, type_name)


def test_all_problems_are_reported_in_the_order_of_the_document():
    resource = patient(
        gender="x", name=[{"family": ""}, {"given": [1, "ok", ""]}], birthDate="2024-13-01"
    )

    assert [issue.at for issue in problems(resource, "Patient")] == [
        "Patient.gender",
        "Patient.birthDate",
        "Patient.name[0].family",
        "Patient.name[1].given[0]",
        "Patient.name[1].given[2]",
    ]


def test_texts_hold_no_value_of_the_input():
    resource = patient(gender="MARKER", birthDate="MARKER", name=[{"family": ["MARKER"]}])

    found = problems(resource, "Patient")

    assert len(found) == 3
    assert not any("MARKER" in issue.text for issue in found)


def test_a_type_that_r4_does_not_have_is_not_found():
    for type_name in ("Foo", "Resource", "HumanName"):
        with pytest.raises(NotFound):
            check(patient(), type_name)
        with pytest.raises(NotFound):
            problems(patient(), type_name)


@pytest.mark.parametrize("value", [None, [], "Patient", 5])
def test_what_is_no_object_is_refused(value):
    assert not check(value, "Patient")
    assert [issue.code for issue in problems(value, "Patient")] == ["structure"]


def nested(levels):
    inner = {"url": "a", "valueString": "x"}
    for _ in range(levels):
        inner = {"url": "a", "extension": [inner]}
    return patient(extension=[inner])


def test_deep_nesting_within_the_limit_is_judged():
    resource = nested(120)

    assert check(resource, "Patient")
    assert problems(resource, "Patient") == []


def test_deeper_nesting_is_refused_clearly():
    for call in (check, problems):
        with pytest.raises(Malformed):
            call(nested(5000), "Patient")


def test_a_reference_within_a_reference_may_go_deep():
    resource = observation(subject={"display": "x"})
    at = resource["subject"]
    for _ in range(100):
        at["identifier"] = {"assigner": {"display": "x"}}
        at = at["identifier"]["assigner"]

    assert check(resource, "Observation")
    assert problems(resource, "Observation") == []


def test_a_sender_who_never_repeats_an_order_of_members_is_judged_all_the_same():
    members = {"active": True, "gender": "male", "language": "zh", "id": "a", "birthDate": "2000"}
    members["implicitRules"] = "http://example.org"
    orders = [dict(order) for order in permutations(members.items())]

    valid = [check({"resourceType": "Person", **order}, "Person") for order in orders]
    wrong = [check({"resourceType": "Person", **o, "gender": "x"}, "Person") for o in orders]

    assert (len(orders), all(valid), any(wrong)) == (720, True, False)


@pytest.mark.parametrize("type_name", definitions.resource_types())
def test_every_type_compiles_and_accepts_what_the_definitions_allow(type_name):
    for resource in (generate.minimal(type_name), generate.maximal(type_name)):
        assert check(resource, type_name)
        assert problems(resource, type_name) == []


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.sampled_from(
        ["#x", "Patient/1", "Foo/1", "2024-02-30", "", " ", [], {}, [None], [{}], {"id": "a"}]
    ),
    st.sampled_from([[EXTENSION], {"extension": EXTENSION}, [{"extension": EXTENSION}], [""]]),
)


def places(value, found):
    """Collect the dicts and lists of a resource."""
    if isinstance(value, dict | list):
        found.append(value)
        for inner in value.values() if isinstance(value, dict) else value:
            places(inner, found)
    return found


@settings(RELAXED, max_examples=150)
@given(resource=generate.any_resources(), data=st.data())
def test_both_passes_agree_on_resources_with_a_defect(resource, data):
    type_name = resource["resourceType"]
    broken = copy.deepcopy(resource)
    place = data.draw(st.sampled_from(places(broken, [])))
    if isinstance(place, list):
        index = data.draw(st.integers(0, len(place)))
        place[index : index + 1] = data.draw(st.sampled_from([[], None])) or [data.draw(JUNK)]
    else:
        name = data.draw(st.sampled_from([*place, "_" + next(iter(place)), "extension", "foo"]))
        if name in place and data.draw(st.booleans()):
            del place[name]
        else:
            place[name] = data.draw(JUNK)

    assert check(resource, type_name)
    assert check(broken, type_name) == (problems(broken, type_name) == [])


@settings(RELAXED, max_examples=100)
@given(
    st.recursive(
        JUNK,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(["resourceType", "id", "extension", "url", "name", "contained"]),
                inner,
                max_size=3,
            ),
        ),
    )
)
def test_nothing_crashes_the_validator(value):
    for type_name in ("Patient", "Bundle", "Parameters"):
        assert check(value, type_name) == (problems(value, type_name) == [])


def test_the_verdict_is_that_of_the_json_as_parsed():
    resource = json.loads('{"resourceType":"Patient","multipleBirthInteger":1.0}')

    assert not check(resource, "Patient")
