"""Posted SearchParameters over HTTP: declared when they are ready, unknown before and after."""

from __future__ import annotations

from tests.support import wait_for

SHIRT = {
    "resourceType": "SearchParameter",
    "id": "shirt",
    "url": "http://example.org/SearchParameter/shirt",
    "name": "shirt",
    "status": "active",
    "description": "x",
    "code": "shirt",
    "base": ["Patient"],
    "type": "token",
    "expression": "Patient.extension('http://example.org/shirt').value",
}


def declared(api):
    (rest,) = api.get("metadata").json["rest"]
    (patient,) = [r for r in rest["resource"] if r["type"] == "Patient"]
    return [p for p in patient["searchParam"] if p["name"] == "shirt"]


def test_a_posted_parameter_is_declared_when_it_is_ready_and_gone_when_it_is_deleted(api):
    red = {"url": "http://example.org/shirt", "valueCode": "red"}
    api.put("Patient/p", {"resourceType": "Patient", "id": "p", "extension": [red]})
    assert declared(api) == []
    assert api.get("Patient?shirt=red").status == 400

    api.put("SearchParameter/shirt", SHIRT)

    wait_for(lambda: declared(api))
    assert declared(api) == [{"name": "shirt", "definition": SHIRT["url"], "type": "token"}]
    assert len(api.get("Patient?shirt=red").entries) == 1
    api.delete("SearchParameter/shirt")
    wait_for(lambda: not declared(api))
    assert api.get("Patient?shirt=red").status == 400


def test_a_bad_expression_is_refused_with_its_place(api):
    answer = api.post("SearchParameter", {**SHIRT, "expression": "Patient.(("})

    assert answer.status == 400
    assert answer.issue["expression"] == ["SearchParameter.expression"]
