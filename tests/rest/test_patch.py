"""Patch: R4 http.html#patch. The formats themselves: test_json_patch.py, test_fhirpath_patch.py."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.rest.conftest import FHIR_JSON, Api, identified, observation, patient

FEMALE = [{"op": "replace", "path": "/gender", "value": "female"}]


def test_json_patch_makes_a_version_and_keeps_numbers(api: Api):
    body = (
        b'{"resourceType":"Observation","status":"final","code":{"text":"x"},'
        b'"valueQuantity":{"value":7.500}}'
    )
    id = api.post("Observation", body).json["id"]

    answer = api.patch(
        f"Observation/{id}", [{"op": "replace", "path": "/status", "value": "amended"}]
    )

    assert (answer.status, answer.headers["ETag"]) == (200, 'W/"2"')
    assert b'"value":7.500' in answer.body
    assert answer.json["status"] == "amended"


def test_what_is_deleted_while_it_is_patched_by_criteria_is_not_there(api: Api):
    value = api.value()
    criteria = f"Patient?identifier=urn:x-test|{value}"

    def work(number: int) -> int:
        if number % 3 == 0:
            return api.put(criteria, patient(identifier=identified(value))).status
        if number % 3 == 1:
            return api.delete(criteria).status
        return api.patch(criteria, [{"op": "add", "path": "/active", "value": True}]).status

    with ThreadPoolExecutor(6) as pool:
        statuses = set(pool.map(work, range(60)))

    assert 410 not in statuses


def test_the_last_of_a_list_can_be_taken(api: Api):
    id = api.create(patient(telecom=[{"system": "phone", "value": "1"}]))["id"]

    answer = api.patch(f"Patient/{id}", [{"op": "remove", "path": "/telecom/0"}])

    assert answer.status == 200
    assert "telecom" not in answer.json


def test_a_patch_can_take_a_label_that_an_update_would_keep(api: Api):
    red = {"system": "urn:x-test", "code": "red"}
    id = api.create(patient(meta={"tag": [red]}))["id"]
    found = f"Patient?_id={id}&_tag=urn:x-test%7Cred"

    updated = api.put(f"Patient/{id}", patient(id=id, gender="male"))
    kept = api.get(found).entries
    patched = api.patch(f"Patient/{id}", [{"op": "remove", "path": "/meta/tag"}])

    assert updated.json["meta"]["tag"] == [red]
    assert len(kept) == 1
    assert "tag" not in patched.json["meta"]
    assert api.get(found).entries == []


def test_fhirpath_patch_comes_as_parameters(api: Api):
    id = api.create(patient(birthDate="1920-01-01"))["id"]
    operation = [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": "Patient.birthDate"},
        {"name": "value", "valueDate": "1930-01-01"},
    ]
    patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": operation}]}

    answer = api.patch(f"Patient/{id}", patch, Content_Type=FHIR_JSON)

    assert (answer.status, answer.json["birthDate"]) == (200, "1930-01-01")


@pytest.mark.parametrize(
    ("patch", "status"),
    [
        ([{"op": "test", "path": "/gender", "value": "male"}], 422),
        ([{"op": "remove", "path": "/status"}], 422),
        ([{"op": "replace", "path": "/id", "value": "other"}], 422),
        ([{"op": "add", "path": "", "value": {"resourceType": "Patient"}}], 422),
        ([{"op": "spam"}], 400),
        (b"{", 400),
    ],
)
def test_a_patch_that_fails_changes_nothing(api: Api, patch, status: int):
    id = api.create(observation())["id"]

    answer = api.patch(f"Observation/{id}", patch)

    assert answer.status == status
    assert answer.issue["severity"] == "error"
    assert api.get(f"Observation/{id}").headers["ETag"] == 'W/"1"'


def test_patch_answers_404_410_412_and_415(api: Api):
    path = f"Patient/{api.create(patient(gender='male'))['id']}"

    assert api.patch("Patient/never-there", FEMALE).status == 404
    assert api.patch(path, FEMALE, If_Match='W/"9"').status == 412
    assert api.patch(path, FEMALE, If_Match='W/"1"').status == 200
    assert api.patch(path, b"hello", Content_Type="text/plain").status == 415
    api.delete(path)
    assert api.patch(path, FEMALE).status == 410


def test_patches_at_the_same_time_are_all_kept(api: Api):
    path = f"Patient/{api.create(patient())['id']}"

    def add(number: int) -> int:
        given = [{"op": "add", "path": "/name/-", "value": {"family": f"N{number}"}}]
        return api.patch(path, given).status

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(add, range(4)))

    assert statuses == [200] * 4
    assert len(api.get(path).json["name"]) == 5
