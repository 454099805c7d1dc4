"""Operations: R4 operations.html and the operations' own pages."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rest.conftest import Api, identified, observation, patient


def parameters(**given: Any) -> dict[str, Any]:
    listed = []
    for name, value in given.items():
        key = "resource" if isinstance(value, dict) and "resourceType" in value else "valueMeta"
        if isinstance(value, str):
            key = "valueString"
        listed.append({"name": name, key: value})
    return {"resourceType": "Parameters", "parameter": listed}


BASE_PROFILES = "http://hl7.org/fhir/StructureDefinition/"


def severities(answer: Any) -> list[str]:
    assert answer.json["resourceType"] == "OperationOutcome"
    return [issue["severity"] for issue in answer.json["issue"]]


# --- $validate -----------------------------------------------------------------------------------


def test_validate_says_that_all_is_well_and_stores_nothing(api: Api):
    value = api.value()
    resource = patient(identifier=identified(value), gender="male")

    wrapped = api.post("Patient/$validate", parameters(resource=resource))
    bare = api.post("Patient/$validate", resource)

    assert (wrapped.status, bare.status) == (200, 200)
    assert "error" not in severities(wrapped) + severities(bare)
    assert api.get(f"Patient?identifier={value}").entries == []


def test_validate_reports_all_problems_with_their_places(api: Api):
    answer = api.post(
        "Patient/$validate", parameters(resource=patient(gender="man", birthDate="x"))
    )

    assert answer.status == 200
    places = [i["expression"][0] for i in answer.json["issue"] if i["severity"] == "error"]
    assert places == ["Patient.gender", "Patient.birthDate"]


def test_validate_of_an_instance_and_of_modes(api: Api):
    id = api.create(patient())["id"]

    assert "error" not in severities(api.get(f"Patient/{id}/$validate"))
    update = api.post("Patient/$validate", parameters(resource=patient(), mode="update"))
    assert severities(update) == ["error"]
    other = api.post("Patient/$validate", parameters(resource=observation()))
    assert severities(other) == ["error"]
    assert api.post("Patient/$validate", parameters(mode="create")).status == 400
    assert api.post("Patient/$validate", parameters(resource=patient(), mode="x")).status == 400
    assert api.get(f"Patient/{id}/$validate?mode=delete").status == 200
    assert api.get("Patient/never-there/$validate").status == 404


def test_validate_does_not_pass_over_a_profile_it_does_not_know(api: Api):
    answer = api.post("Patient/$validate?profile=http://example.org/unknown", patient())
    other = api.post(f"Patient/$validate?profile={BASE_PROFILES}Observation", patient())

    assert "error" in severities(answer)
    assert "error" in severities(other)


@pytest.mark.parametrize("name", ["Patient", "Patient|4.0.1", "DomainResource"])
def test_validate_knows_the_base_definitions_as_profiles(api: Api, name: str):
    answer = api.post(
        "Patient/$validate", parameters(resource=patient(), profile=BASE_PROFILES + name)
    )

    assert severities(answer) == ["information"]


# --- $meta ---------------------------------------------------------------------------------------

RED = {"system": "urn:x-test", "code": "red"}
BLUE = {"system": "urn:x-test", "code": "blue"}


def test_meta_is_read_added_to_and_taken_from(api: Api):
    id = api.create(patient(meta={"tag": [RED], "profile": ["http://example.org/p"]}))["id"]
    path = f"Patient/{id}"

    added = api.post(f"{path}/$meta-add", parameters(meta={"tag": [RED, BLUE]}))
    taken = api.post(f"{path}/$meta-delete", parameters(meta={"tag": [RED]}))

    assert added.json["parameter"][0]["valueMeta"]["tag"] == [RED, BLUE]
    assert taken.json["parameter"][0]["valueMeta"]["tag"] == [BLUE]
    now = api.get(f"{path}/$meta").json["parameter"][0]
    assert (now["name"], now["valueMeta"]["tag"]) == ("return", [BLUE])
    assert now["valueMeta"]["profile"] == ["http://example.org/p"]
    then = api.get(f"{path}/_history/1/$meta").json["parameter"][0]["valueMeta"]
    assert then["tag"] == [RED]


def test_the_last_label_can_be_taken(api: Api):
    id = api.create(patient(meta={"tag": [RED]}))["id"]

    taken = api.post(f"Patient/{id}/$meta-delete", parameters(meta={"tag": [RED]}))

    assert "tag" not in taken.json["parameter"][0]["valueMeta"]
    assert api.get(f"Patient?_id={id}&_tag=urn:x-test%7Cred").entries == []


def test_labels_are_added_once_and_never_to_what_was(api: Api):
    id = api.create(patient())["id"]
    twice = parameters(meta={"tag": [RED, BLUE, {**RED, "display": "red"}]})

    added = api.post(f"Patient/{id}/$meta-add", twice)
    refused = api.post(f"Patient/{id}/_history/1/$meta-add", twice)

    assert added.json["parameter"][0]["valueMeta"]["tag"] == [RED, BLUE]
    assert refused.status == 405
    assert api.get(f"Patient/{id}").json["meta"]["versionId"] == "2"


def test_meta_is_changed_by_post_only(api: Api):
    id = api.create(patient())["id"]

    assert api.get(f"Patient/{id}/$meta-add").status == 405
    assert api.get(f"Patient/{id}/$meta-add").headers["Allow"] == "POST, OPTIONS"
    assert api.post(f"Patient/{id}/$meta-add", parameters()).status == 400
    assert api.get(f"Patient/{id}/$meta").status == 200


# --- $everything ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(api: Api) -> dict[str, str]:
    """Two patients with an encounter, a condition, observations and a practitioner."""
    made: dict[str, str] = {}

    def make(name: str, resource: dict[str, Any]) -> None:
        made[name] = f"{resource['resourceType']}/{api.create(resource)['id']}"

    make("doctor", {"resourceType": "Practitioner", "name": [{"family": "Chen"}]})
    for who in ("one", "other"):
        make(who, patient(generalPractitioner=[{"reference": made["doctor"]}]))
        subject = {"reference": made[who]}
        make(
            f"{who} visit",
            {
                "resourceType": "Encounter",
                "status": "finished",
                "class": {"code": "AMB"},
                "subject": subject,
            },
        )
        make(f"{who} problem", {"resourceType": "Condition", "subject": subject})
        for day in (1, 2, 3):
            make(
                f"{who} result {day}",
                observation(
                    subject=subject,
                    encounter={"reference": made[f"{who} visit"]},
                    effectiveDateTime=f"2024-01-0{day}",
                    code={"coding": [{"system": "urn:x-test", "code": f"c{day % 2}"}]},
                ),
            )
    return made


def walk(api: Api, url: str | None) -> list[str]:
    found = []
    while url:
        answer = api.get(url)
        assert answer.status == 200, answer.body
        found += [f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in answer.entries]
        url = answer.link("next")
    return found


@pytest.mark.parametrize("query", ["", "?_count=2", "?_count=1", "?_count=0"])
def test_everything_of_a_patient_and_nothing_of_another(api: Api, world, query: str):
    found = walk(api, f"{world['one']}/$everything{query}")

    expected = {path for name, path in world.items() if name.startswith("one")}
    assert set(found) - {world["doctor"]} == expected
    assert world["doctor"] in found
    assert found[0] == world["one"]


def test_head_of_an_operation_is_its_get_without_a_body(api: Api, world):
    answer = api.request("HEAD", f"{world['one']}/$everything")

    assert (answer.status, answer.body) == (200, b"")
    assert api.request("HEAD", f"{world['one']}/$meta-add").status == 405


def test_everything_can_be_limited(api: Api, world):
    path = f"{world['one']}/$everything"

    assert set(walk(api, f"{path}?_type=Condition")) == {world["one problem"]}
    dated = walk(api, f"{path}?_type=Observation&start=2024-01-02&end=2024-01-02")
    assert world["one result 2"] in dated
    assert world["one result 1"] not in dated
    assert walk(api, f"{path}?_since=2100-01-01T00:00:00Z&_type=Condition") == []
    assert api.get(f"{path}?_type=Nosuch").status == 400
    assert api.get(f"{path}?_page=forged").status == 400
    assert api.get("Patient/never-there/$everything").status == 404


def test_everything_of_some_types_is_of_no_others(api: Api, world):
    path = f"{world['one']}/$everything"

    seen = {name: world[f"one {name}"] for name in ("visit", "problem")}
    assert set(walk(api, f"{path}?_type=Encounter&_type=Condition")) == set(seen.values())
    assert walk(api, f"{path}?_type=Practitioner&_count=2") == [world["doctor"]]
    both = walk(api, f"{path}?_type=Practitioner,Condition")
    assert set(both) == {world["doctor"], seen["problem"]}
    assert walk(api, f"{path}?_type=Medication") == []


def test_everything_of_an_encounter(api: Api, world):
    found = walk(api, f"{world['one visit']}/$everything")

    assert {world["one visit"], world["one result 1"]} <= set(found)
    assert world["other result 1"] not in found


# --- $lastn --------------------------------------------------------------------------------------


def lastn(api: Api, query: str) -> list[str]:
    answer = api.get(f"Observation/$lastn?{query}")
    assert answer.status == 200, answer.body
    return [e["resource"]["effectiveDateTime"] for e in answer.entries]


def test_lastn_gives_the_newest_of_each_code(api: Api, world):
    patient_id = world["one"]

    assert lastn(api, f"patient={patient_id}") == ["2024-01-03", "2024-01-02"]
    assert lastn(api, f"patient={patient_id}&max=2") == ["2024-01-03", "2024-01-02", "2024-01-01"]
    assert lastn(api, f"patient={patient_id}&code=urn:x-test%7Cc0") == ["2024-01-02"]
    posted = api.post("Observation/$lastn", parameters(patient=patient_id, max="2"))
    assert len(posted.entries) == 3
    assert api.get("Observation/$lastn").status == 400
    assert api.get(f"Observation/$lastn?patient={patient_id}&max=0").status == 400


def test_operations_stand_where_they_are_defined_only(api: Api):
    assert api.get("Observation/x/$everything").status == 404
    assert api.get("Patient/$lastn").status == 404
    assert api.post("$validate", patient()).status == 404


# --- $convert ------------------------------------------------------------------------------------


def test_convert_gives_the_resource_in_the_other_format(api: Api):
    as_xml = api.post("$convert", patient(gender="male"), Accept="application/fhir+xml")
    as_json = api.post(
        "$convert",
        as_xml.body,
        Content_Type="application/fhir+xml",
        Accept="application/fhir+json",
    )

    assert b'<gender value="male"/>' in as_xml.body
    assert as_json.json == patient(gender="male")
    assert api.get("$convert").status == 405
    assert api.post("$convert", b"{").status == 400
    assert api.post("$convert", {"x": 1}, Accept="application/fhir+xml").status == 400
