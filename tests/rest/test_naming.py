"""One system, however it is written. R4 namingsystem.html; identifiers.md section 6."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rest.conftest import Api, observation, patient

pytestmark = pytest.mark.usefixtures("named")
URI, OID, BARE = "https://a.example/mrn", "urn:oid:1.2.156.99.7", "1.2.156.99.7"


@pytest.fixture
def named(api: Api) -> None:
    """A NamingSystem by which a URI and an OID are one, as everybody knows at once."""
    naming: dict[str, Any] = {
        "resourceType": "NamingSystem",
        "id": "mrn-of-a",
        "name": "MrnOfA",
        "status": "active",
        "kind": "identifier",
        "date": "2026-01-01",
        "uniqueId": [
            {"type": "uri", "value": URI, "preferred": True},
            {"type": "oid", "value": BARE},
        ],
    }
    api.put("NamingSystem/mrn-of-a", naming)


def ids(api: Api, path: str) -> list[str]:
    answer = api.get(path)
    assert answer.status == 200, answer.body
    return sorted(entry["resource"]["id"] for entry in answer.entries)


@pytest.mark.parametrize("written", [URI, OID])
@pytest.mark.parametrize("asked", [URI, OID, BARE, f"urn:OID:{BARE}"])
def test_a_number_is_found_by_every_spelling_of_its_system(api: Api, written: str, asked: str):
    value = api.value()
    made = api.create(patient(identifier=[{"system": written, "value": value}]))

    assert ids(api, f"Patient?identifier={asked}|{value}") == [made["id"]]
    assert made["id"] in ids(api, f"Patient?identifier={asked}|&_count=1000")
    assert api.get(f"/id?code={OID}%7C{value}").json["resolved"][0]["id"] == made["id"]


def test_another_system_and_a_number_without_one_stay_what_they_are(api: Api):
    value = api.value()
    api.create(patient(identifier=[{"system": "urn:oid:1.2.156.99.8", "value": value}]))
    bare = api.create(patient(identifier=[{"value": value}]))

    assert ids(api, f"Patient?identifier={OID}|{value}") == []
    assert ids(api, f"Patient?identifier=|{value}") == [bare["id"]]


def test_a_logical_reference_is_found_by_every_spelling(api: Api):
    value = api.value()
    subject = {"identifier": {"system": URI, "value": value}}
    made = api.create({**observation(), "subject": subject})

    assert ids(api, f"Observation?subject:identifier={BARE}|{value}") == [made["id"]]


def test_a_conditional_create_meets_the_patient_whose_number_is_written_otherwise(api: Api):
    value = api.value()
    made = api.create(patient(identifier=[{"system": URI, "value": value}]))

    answer = api.post("Patient", patient(), If_None_Exist=f"identifier={OID}|{value}")

    assert answer.status == 200
    assert made["id"] in answer.headers["Location"]


def test_what_a_retired_or_changed_naming_system_said_is_forgotten(api: Api):
    value = api.value()
    made = api.create(patient(identifier=[{"system": URI, "value": value}]))
    naming = api.get("NamingSystem/mrn-of-a").json

    api.put("NamingSystem/mrn-of-a", {**naming, "status": "retired"})

    assert ids(api, f"Patient?identifier={OID}|{value}") == []
    assert ids(api, f"Patient?identifier={URI}|{value}") == [made["id"]]
