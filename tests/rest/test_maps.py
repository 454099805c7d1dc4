"""$translate, $subsumes, $closure and $compare over HTTP."""

from __future__ import annotations

from typing import Any

from tests.rest.conftest import Api


def given(**values: Any) -> dict[str, Any]:
    kinds = {str: "valueString", dict: "valueCoding", bool: "valueBoolean"}
    listed = []
    for name, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            key = "resource" if isinstance(one, dict) and "resourceType" in one else None
            listed.append({"name": name, key or kinds[type(one)]: one})
    return {"resourceType": "Parameters", "parameter": listed}


def concept_map(source: str, target: str) -> dict[str, Any]:
    pair = {"code": "a", "target": [{"code": "b", "equivalence": "equal"}]}
    return {
        "resourceType": "ConceptMap",
        "status": "active",
        "group": [{"source": source, "target": target, "element": [pair]}],
    }


def result(answer: Any) -> bool:
    return answer.json["parameter"][0]["valueBoolean"]


def test_a_posted_map_translates_by_systems_and_as_an_instance(api: Api):
    source, target = f"urn:from:{api.value()}", f"urn:to:{api.value()}"
    id = api.create(concept_map(source, target))["id"]
    asked = f"code=a&system={source}&targetsystem={target}"

    by_system = api.get(f"ConceptMap/$translate?{asked}")
    by_instance = api.get(f"ConceptMap/{id}/$translate?code=a&system={source}")
    by_post = api.post("ConceptMap/$translate", given(sourceCode="a", sourceSystem=source))

    assert (by_system.status, result(by_system)) == (200, True)
    assert result(by_instance)
    assert result(by_post)


def test_a_map_that_a_request_brings_is_seen_by_it_alone(api: Api):
    source = f"urn:from:{api.value()}"
    brought = concept_map(source, "urn:to")

    own = api.post(
        "ConceptMap/$translate", given(**{"tx-resource": brought}, code="a", system=source)
    )
    other = api.post("ConceptMap/$translate", given(code="a", system=source))

    assert (result(own), result(other)) == (True, False)


def test_what_cannot_be_translated_is_an_outcome(api: Api):
    assert api.get("ConceptMap/$translate?system=urn:x").status == 400
    unknown = api.get("ConceptMap/$translate?code=a&system=urn:x&url=urn:none")
    assert (unknown.status, unknown.issue["code"]) == (404, "not-found")


def test_subsumption_in_a_posted_code_system(api: Api):
    url = f"urn:tree:{api.value()}"
    tree = {
        "resourceType": "CodeSystem",
        "url": url,
        "status": "active",
        "content": "complete",
        "concept": [{"code": "a", "concept": [{"code": "b"}]}],
    }
    id = api.create(tree)["id"]

    by_url = api.get(f"CodeSystem/$subsumes?system={url}&codeA=a&codeB=b")
    by_instance = api.get(f"CodeSystem/{id}/$subsumes?codeA=b&codeB=a")
    unknown = api.get(f"CodeSystem/$subsumes?system={url}&codeA=a&codeB=z")

    assert by_url.json["parameter"] == [{"name": "outcome", "valueCode": "subsumes"}]
    assert by_instance.json["parameter"] == [{"name": "outcome", "valueCode": "subsumed-by"}]
    assert unknown.status == 404


def test_a_closure_table_is_kept_between_requests(api: Api):
    name = api.value()
    system = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
    concepts = [{"system": system, "code": code} for code in ("IMP", "ACUTE")]

    begun = api.post("$closure", given(name=name))
    told = api.post("$closure", given(name=name, concept=concepts))
    never = api.post("$closure", given(name=api.value(), concept=concepts))

    assert (begun.status, begun.json["version"]) == (200, "0")
    (group,) = told.json["group"]
    (element,) = group["element"]
    assert (element["code"], element["target"][0]["code"]) == ("ACUTE", "IMP")
    assert never.status == 404
    assert api.get(f"$closure?name={name}").status == 405


def test_two_value_sets_of_r4_are_compared(api: Api):
    base = "http://hl7.org/fhir/ValueSet/"

    answer = api.get(
        f"ValueSet/$compare?thisUrl={base}observation-status&otherUrl={base}observation-status"
    )

    assert answer.json["parameter"][0] == {"name": "result", "valueCode": "same"}
    assert api.get(f"ValueSet/$compare?thisUrl={base}observation-status").status == 400
