"""A posted SearchParameter in a hub of several processes: every one of them learns of it."""

from __future__ import annotations

import json

from tests.support import RunningHub, wait_for

URL = "http://example.org/SearchParameter/bed"
BED = {
    "resourceType": "SearchParameter",
    "id": "bed",
    "url": URL,
    "name": "bed",
    "status": "active",
    "description": "x",
    "code": "bed",
    "base": ["Patient"],
    "type": "string",
    "expression": "Patient.extension('http://example.org/bed').value",
}
_TIMES = 24  # enough for every HTTP worker to be asked


def patient(id_: str) -> dict[str, object]:
    extension = [{"url": "http://example.org/bed", "valueString": "North 7"}]
    return {"resourceType": "Patient", "id": id_, "extension": extension}


def found(hub: RunningHub) -> int | None:
    """Return how many patients a search finds; None while the parameter is unknown."""
    status, _, body = hub.request("GET", "/fhir/Patient?bed=north&_summary=count")
    return int(json.loads(body)["total"]) if status == 200 else None


def test_every_process_of_a_hub_learns_of_a_posted_parameter(hub: RunningHub) -> None:
    hub.request("PUT", "/fhir/Patient/before", patient("before"))
    assert found(hub) is None

    status, _, _ = hub.request("PUT", "/fhir/SearchParameter/bed", BED)
    hub.request("PUT", "/fhir/Patient/after", patient("after"))

    assert status == 201
    wait_for(lambda: [found(hub) for _ in range(_TIMES)] == [2] * _TIMES)
    hub.request("DELETE", "/fhir/SearchParameter/bed")
    wait_for(lambda: [found(hub) for _ in range(_TIMES)] == [None] * _TIMES)
