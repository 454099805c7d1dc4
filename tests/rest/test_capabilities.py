"""The CapabilityStatement is true: R4 http.html#capabilities, capabilitystatement.html."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from app.fhir import definitions, searchparams
from app.fhir.searchparams import Param
from tests.rest.conftest import BASE, Api, patient

VALUES = {
    "string": "zz", "token": "zz", "date": "2020-01-01", "number": "1", "quantity": "1",
    "reference": "zz", "uri": "http://zz.example/x", "special": "zz",
}  # fmt: skip
SPECIAL = {"near": "36.07|120.38|5|km", "_filter": "_id eq zz"}


def sample(param: Param) -> str:
    """Return a value that a search by the parameter accepts."""
    if param.components:
        return "$".join(sample(component.param) for component in param.components)
    return SPECIAL.get(param.code) or VALUES[param.type]


@pytest.fixture(scope="module")
def statement(api: Api) -> Any:
    return api.get("metadata").json


def test_it_can_be_asked_for_a_part_of_it(api: Api):
    elements = api.get("metadata?_elements=fhirVersion").json
    summary = api.get("metadata?_summary=true").json

    assert elements["fhirVersion"] == "4.0.1"
    assert "rest" not in elements
    assert summary["meta"]["tag"][0]["code"] == "SUBSETTED"


def test_it_says_who_and_what_the_server_is(statement: Any):
    assert statement["resourceType"] == "CapabilityStatement"
    assert statement["fhirVersion"] == "4.0.1"
    assert (statement["status"], statement["kind"]) == ("active", "instance")
    assert statement["implementation"]["url"] == BASE
    assert statement["rest"][0]["mode"] == "server"
    assert "application/fhir+json" in statement["format"]


def test_it_lists_every_resource_type(statement: Any):
    listed = [resource["type"] for resource in statement["rest"][0]["resource"]]

    assert listed == list(definitions.resource_types())


def test_it_is_valid_r4(api: Api, statement: Any):
    answer = api.post("CapabilityStatement/$validate", statement)

    assert [i for i in answer.json["issue"] if i["severity"] in ("error", "fatal")] == []


def test_it_is_cached_by_its_entity_tag(api: Api):
    tag = api.get("metadata").headers["ETag"]

    assert api.get("metadata", If_None_Match=tag).status == 304
    assert api.get("metadata", If_None_Match='W/"other"').status == 200
    assert api.get("metadata?mode=nosuch").status == 400


def test_every_search_parameter_it_lists_works(api: Api, statement: Any):
    refused = []
    for resource in statement["rest"][0]["resource"]:
        for param in resource["searchParam"]:
            value = sample(searchparams.params(resource["type"])[param["name"]])
            path = f"{resource['type']}?{param['name']}={quote(value)}&_count=1"
            answer = api.get(path)
            if answer.status != 200:
                refused.append((path, answer.issue["diagnostics"]))

    assert refused == []


def test_every_include_it_lists_works(api: Api, statement: Any):
    by_type = {r["type"]: r for r in statement["rest"][0]["resource"]}
    refused = [
        (name, kind, value)
        for name in ("Observation", "Patient", "Encounter")
        for kind, key in (("_include", "searchInclude"), ("_revinclude", "searchRevInclude"))
        for value in by_type[name].get(key, ())
        if api.get(f"{name}?{kind}={quote(value)}&_count=1").status != 200
    ]

    assert refused == []


def test_every_operation_it_lists_is_there(api: Api, statement: Any):
    id = api.create(patient())["id"]
    known = {"Patient": f"Patient/{id}"}
    answers = {}
    for name in ("Patient", "Observation"):
        resource = next(r for r in statement["rest"][0]["resource"] if r["type"] == name)
        for operation in resource["operation"]:
            assert operation["definition"].endswith(operation["name"])
            for path in (name, known.get(name, name)):
                answers.setdefault(operation["name"], []).append(
                    api.post(f"{path}/${operation['name']}", b"").status
                )

    assert all(set(statuses) != {404} for statuses in answers.values()), answers


def test_terminology_capabilities_are_there_and_valid(api: Api):
    answer = api.get("metadata?mode=terminology")

    checked = api.post("TerminologyCapabilities/$validate", answer.json)
    assert answer.json["resourceType"] == "TerminologyCapabilities"
    assert [i for i in checked.json["issue"] if i["severity"] in ("error", "fatal")] == []
