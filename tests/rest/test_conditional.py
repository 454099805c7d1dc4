"""Conditional create, update, delete and patch: R4 http.html#ccreate, #cond-update, #3.1.0.7.1."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

import pytest

from tests.rest.conftest import Api, OneProcess, identified, patient


def criteria(value: str) -> str:
    return f"identifier=urn:x-test|{value}"


def found(api: Api, value: str) -> list[str]:
    return [e["resource"]["id"] for e in api.get(f"Patient?{criteria(value)}").entries]


def test_an_update_by_criteria_does_not_take_the_id_of_another(api: Api):
    value = api.value()
    id = api.create(patient())["id"]

    answer = api.put(f"Patient?{criteria(value)}", patient(id=id, identifier=identified(value)))

    assert (answer.status, answer.issue["code"]) == (409, "conflict")
    assert api.get(f"Patient/{id}").json["meta"]["versionId"] == "1"


def test_an_identifier_that_a_merge_left_is_not_meant_by_a_conditional_write(api: Api):
    value, own = api.value(), api.value()
    merged = api.create(patient())["id"]
    survivor = patient(
        identifier=[{**identified(value)[0], "use": "old"}, *identified(own)],
        link=[{"other": {"reference": f"Patient/{merged}"}, "type": "replaces"}],
    )
    survivor = api.create(survivor)

    created = api.post(
        "Patient", patient(identifier=identified(value)), If_None_Exist=criteria(value)
    )
    known = api.post("Patient", patient(identifier=identified(own)), If_None_Exist=criteria(own))
    patched = api.patch(
        f"Patient?{criteria(value)}", [{"op": "add", "path": "/active", "value": True}]
    )

    assert len(found(api, value)) == 2  # a search finds the survivor by it as well
    assert (created.status, known.status, patched.status) == (201, 200, 200)
    assert known.json["id"] == survivor["id"]
    assert patched.json["id"] == created.json["id"]


@pytest.mark.parametrize("encoded", [False, True])
def test_create_only_if_none_exists(api: Api, encoded: bool):
    value = api.value()
    condition = criteria(value)
    if encoded:
        condition = "identifier=" + quote(condition.removeprefix("identifier="), safe="")
    body = patient(identifier=identified(value))

    first = api.post("Patient", body, If_None_Exist=condition)
    second = api.post("Patient", body, If_None_Exist=condition)

    assert (first.status, second.status) == (201, 200)
    assert second.headers["Location"] == first.headers["Location"]
    assert second.json == first.json
    assert len(found(api, value)) == 1


def test_criteria_may_come_with_the_address_before_them(api: Api):
    value = api.value()
    body = patient(identifier=identified(value))
    api.create(body)

    assert api.post("Patient", body, If_None_Exist=f"Patient?{criteria(value)}").status == 200
    assert api.post("Patient", body, If_None_Exist=f"?{criteria(value)}").status == 200
    assert api.post("Patient", body, If_None_Exist=quote(criteria(value), safe="")).status == 200
    other = api.post("Patient", body, If_None_Exist=f"Device?{criteria(value)}")
    assert (other.status, other.issue["expression"]) == (400, ["http.If-None-Exist"])


def test_several_matches_are_412_and_nothing_is_written(api: Api):
    value = api.value()
    body = patient(identifier=identified(value))
    api.create(body)
    api.create(body)
    address = f"Patient?{criteria(value)}"

    answers = [
        api.post("Patient", body, If_None_Exist=criteria(value)),
        api.put(address, body),
        api.delete(address),
        api.patch(address, [{"op": "add", "path": "/active", "value": True}]),
    ]

    assert [a.status for a in answers] == [412] * 4
    assert {a.issue["code"] for a in answers} == {"multiple-matches"}
    assert len(found(api, value)) == 2


def test_update_by_criteria_creates_then_updates(api: Api):
    value = api.value()
    body = patient(identifier=identified(value))

    first = api.put(f"Patient?{criteria(value)}", body)
    second = api.put(f"Patient?{criteria(value)}", body | {"gender": "female"})
    other = api.put(f"Patient?{criteria(value)}", body | {"id": "another"})

    assert (first.status, second.status, other.status) == (201, 200, 400)
    assert second.json["id"] == first.json["id"]
    assert second.json["gender"] == "female"


def test_delete_by_criteria_deletes_one_or_nothing(api: Api):
    value = api.value()
    api.create(patient(identifier=identified(value)))

    assert api.delete(f"Patient?{criteria(value)}").status == 204
    assert found(api, value) == []
    assert api.delete(f"Patient?{criteria(value)}").status == 204


@pytest.mark.parametrize("address", ["Patient", "Patient?_format=json", "Patient?identifierr=x"])
def test_a_write_without_usable_criteria_is_refused(api: Api, address: str):
    id = api.create(patient())["id"]

    assert api.delete(address).status == 400
    assert api.put(address, patient()).status == 400
    assert api.patch(address, []).status == 400
    assert api.get(f"Patient/{id}").status == 200


def test_conditional_writes_are_strict_whatever_is_preferred(api: Api):
    answer = api.delete("Patient?nosuch=1", Prefer="handling=lenient")

    assert answer.status == 400


def test_patch_by_criteria_changes_the_one_match(api: Api):
    value = api.value()
    created = api.create(patient(identifier=identified(value)))
    patch = [{"op": "add", "path": "/active", "value": True}]

    assert api.patch(f"Patient?{criteria(value)}", patch).json["id"] == created["id"]
    assert api.get(f"Patient/{created['id']}").json["active"] is True
    assert api.patch(f"Patient?{criteria(api.value())}", patch).status == 404


@pytest.fixture
def deleting_all(api: Api) -> Api:
    """The facade of a site that lets a conditional delete delete all its matches."""
    options = replace(api.hub.http, multiple_delete=True)
    return Api(OneProcess(api.hub.store, options))


def test_delete_by_criteria_deletes_all_where_a_site_has_it_so(api: Api, deleting_all: Api):
    value = api.value()
    body = patient(identifier=identified(value))
    ids = [api.create(body)["id"] for _ in range(3)]
    other = api.create(patient(identifier=identified(api.value())))["id"]
    address = f"Patient?{criteria(value)}"

    answer = deleting_all.delete(address)

    assert (answer.status, answer.body) == (204, b"")
    assert "ETag" not in answer.headers
    assert [api.get(f"Patient/{id}").status for id in ids] == [410] * 3
    assert api.get(f"Patient/{other}").status == 200
    assert deleting_all.delete(address).status == 204


def test_delete_of_all_is_declared(api: Api, deleting_all: Api):
    declared = [
        {r["conditionalDelete"] for r in asked.get("metadata").json["rest"][0]["resource"]}
        for asked in (api, deleting_all)
    ]

    assert declared == [{"single"}, {"multiple"}]


@pytest.mark.parametrize(
    "address", ["Patient", "Patient?", "Patient?name=", "Patient?identifierr=x", "Patient?_count=1"]
)
def test_delete_of_all_needs_usable_criteria_too(api: Api, deleting_all: Api, address: str):
    id = api.create(patient())["id"]

    assert deleting_all.delete(address).status == 400
    assert api.get(f"Patient/{id}").status == 200


def test_delete_of_all_happens_whole_or_not_at_all(api: Api, deleting_all: Api):
    value = api.value()
    body = patient(identifier=identified(value))
    first, second = (api.create(body)["id"] for _ in range(2))
    api.put(f"Patient/{second}", body | {"id": second, "gender": "male"})
    address = f"Patient?{criteria(value)}"

    refused = deleting_all.delete(address, If_Match='W/"1"')

    assert refused.status == 412
    assert sorted(found(api, value)) == sorted([first, second])


def test_delete_of_all_inside_of_a_transaction(api: Api, deleting_all: Api):
    value = api.value()
    body = patient(identifier=identified(value))
    ids = [api.create(body)["id"] for _ in range(2)]
    entries = [
        {"request": {"method": "POST", "url": "Patient"}, "resource": body},
        {"request": {"method": "DELETE", "url": f"Patient?{criteria(value)}"}},
        {"request": {"method": "DELETE", "url": "Patient?identifier=urn:x-test|nobody"}},
    ]

    answer = deleting_all.post(
        "", {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    )

    statuses = [entry["response"]["status"][:3] for entry in answer.json["entry"]]
    assert statuses == ["201", "204", "204"]
    assert [api.get(f"Patient/{id}").status for id in ids] == [410] * 2
    assert len(found(api, value)) == 1
