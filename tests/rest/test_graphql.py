"""$graphql: R4 graphql.html, resource-operation-graphql.html."""

from __future__ import annotations

import json
from base64 import b64decode
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import YilianError
from app.rest.graphql import language
from tests.rest.conftest import Api, identified, observation, patient

NAMES = [
    {"use": "official", "family": "Chalmers", "given": ["Peter", "James"]},
    {"use": "usual", "given": ["Jim"]},
]


@pytest.fixture(scope="module")
def value(api: Api) -> str:
    return f"graphql-{api.value()}"


@pytest.fixture(scope="module")
def known(api: Api, value: str) -> dict[str, str]:
    """A patient with an observation, by type."""
    organization = {"resourceType": "Organization", "id": "o", "name": "East"}
    person = api.create(
        patient(
            identifier=identified(value),
            name=NAMES,
            active=True,
            contained=[organization],
            managingOrganization={"reference": "#o"},
            birthDate="1974-12-25",
            _birthDate={"extension": [{"url": "urn:x-e", "valueString": "known"}]},
        )
    )
    seen = api.post(
        "Observation",
        b'{"resourceType":"Observation","status":"final","code":{"text":"x"},'
        b'"subject":{"reference":"Patient/%b"},"valueQuantity":{"value":1.50}}'
        % person["id"].encode(),
    ).json
    return {"Patient": person["id"], "Observation": seen["id"]}


def ask(api: Api, query: str, at: str = "", **members: Any) -> Any:
    body = json.dumps({"query": query, **members})
    answer = api.post(f"{at}$graphql", body, Content_Type="application/json")
    assert answer.status == 200, answer.body
    return answer.json["data"]


def about(api: Api, known: dict[str, str], query: str, type: str = "Patient") -> Any:
    return ask(api, query, f"{type}/{known[type]}/")


CASES = {
    "fields": ("{name{family given}}", {"name": [NAMES[0] | {"use": None}, NAMES[1]]}),
    "alias": ("{born: birthDate}", {"born": "1974-12-25"}),
    "missing": ("{gender active}", {"active": True}),
    "argument": ('{name(use: usual){given}}', {"name": [{"given": ["Jim"]}]}),
    "fhirpath": (
        "{name(fhirpath: \"given.count() > 1\"){use}}", {"name": [{"use": "official"}]}),
    "count": ("{name(_count: 1){use}}", {"name": [{"use": "official"}]}),
    "offset": ("{name(_offset: 1){use}}", {"name": [{"use": "usual"}]}),
    "extension": (
        "{_birthDate{extension{valueString}}}",
        {"_birthDate": {"extension": [{"valueString": "known"}]}}),
    "contained": (
        "{managingOrganization{resource{...on Organization{name}}}}",
        {"managingOrganization": {"resource": {"name": "East"}}}),
    "fragment": (
        "{...F} fragment F on Patient {active ...{birthDate}}",
        {"active": True, "birthDate": "1974-12-25"}),
    "other type": ("{...on Group{quantity} active}", {"active": True}),
    "twice": (
        "{name{use} name{family}}",
        {"name": [{"use": "official", "family": "Chalmers"}, {"use": "usual"}]}),
    "include": ("{active @include(if: false) birthDate @skip(if: true) resourceType}",
                {"resourceType": "Patient"}),
    "first": ("{name @first{use}}", {"name": [{"use": "official"}]}),
    "flatten": (
        "{name @flatten{given use}}",
        {"given": ["Peter", "James", "Jim"], "use": ["official", "usual"]}),
    "flatten first": ("{name @first @flatten{family}}", {"family": "Chalmers"}),
    "singleton": ("{name @flatten{family @singleton}}", {"family": "Chalmers"}),
    "slice": (
        '{name @flatten @slice(fhirpath: "use"){given @first @singleton}}',
        {"given.official": "Peter", "given.usual": "Jim"}),
    "slice by place": (
        '{name @flatten @slice(fhirpath: "$index"){use @singleton}}',
        {"use.0": "official", "use.1": "usual"}),
    "type name": (
        "{__typename name @first{__typename}}",
        {"__typename": "Patient", "name": [{"__typename": "HumanName"}]}),
    "type of contained": (
        "{contained{resourceType}}", {"contained": [{"resourceType": "Organization"}]}),
    "flatten resource": (
        "{managingOrganization @flatten{resource @flatten{...on Organization{name}}}}",
        {"name": "East"}),
    "flatten list": (
        "{birthDate ObservationList(_reference: patient) @flatten{status valueQuantity{value}}}",
        {"birthDate": "1974-12-25", "status": ["final"], "valueQuantity": [{"value": 1.5}]}),
    "flatten first of list": (
        "{ObservationList(_reference: patient) @first @flatten{status}}", {"status": "final"}),
    "slice list": (
        '{ObservationList(_reference: patient) @slice(fhirpath: "status"){status}}',
        {"ObservationList.final": [{"status": "final"}]}),
    "list of nothing": ("{EncounterList(_reference: patient){id}}", {"EncounterList": []}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_resource_is_asked_for_some_of_it(api: Api, known: dict[str, str], case: str):
    query, expected = CASES[case]
    if case == "fields":
        expected = {"name": [{k: v for k, v in n.items() if k != "use"} for n in NAMES]}

    assert about(api, known, query) == expected


def test_decimals_keep_their_digits(api: Api, known: dict[str, str]):
    query = quote("{valueQuantity{value}}")

    answer = api.get(f"Observation/{known['Observation']}/$graphql?query={query}")

    assert answer.body == b'{"data":{"valueQuantity":{"value":1.50}}}'
    assert answer.headers["Content-Type"] == "application/json"


def test_references_are_followed_both_ways(api: Api, known: dict[str, str]):
    forth = "{subject{resource(type: Patient){...on Patient{id}}}}"
    back = "{ObservationList(_reference: patient, status: final){id}}"

    assert about(api, known, forth, "Observation") == {
        "subject": {"resource": {"id": known["Patient"]}}
    }
    assert about(api, known, back) == {"ObservationList": [{"id": known["Observation"]}]}
    other = about(api, known, "{subject{type resource(type: Group){id}}}", "Observation")
    assert other == {"subject": {}}


def test_a_reference_to_nothing_may_be_optional(api: Api):
    subject = {"identifier": {"value": "x"}}
    id = api.create(observation(subject=subject))["id"]

    found = ask(api, "{subject{resource(optional: true){id}}}", f"Observation/{id}/")
    refused = api.get(f"Observation/{id}/$graphql?query={quote('{subject{resource{id}}}')}")

    assert found == {"subject": {}}
    assert refused.status == 404


def test_the_system_is_read_and_searched(api: Api, known: dict[str, str], value: str):
    query = """query Q($who: ID!, $key: String = "none") {
        one: Patient(id: $who) { active }
        PatientList(identifier: $key, _count: 5) { id }  # a comment
    }"""

    found = ask(api, query, variables={"who": known["Patient"], "key": f"urn:x-test|{value}"})

    assert found == {"one": {"active": True}, "PatientList": [{"id": known["Patient"]}]}


def test_a_connection_leads_from_page_to_page(api: Api):
    key = api.value()
    ids = {api.create(patient(identifier=identified(key)))["id"] for _ in range(3)}
    query = """query($key: String, $page: String) {
        PatientConnection(identifier: $key, _count: 2, _cursor: $page) {
            count pagesize next edges { mode resource { id } }
        }
    }"""
    asked = {"key": f"urn:x-test|{key}"}

    first = ask(api, query.replace(", _cursor: $page", ""), variables=asked)["PatientConnection"]
    second = ask(api, query, variables=asked | {"page": first["next"]})["PatientConnection"]

    assert (first["count"], first["pagesize"], second["pagesize"]) == (3, 2, 1)
    assert "next" not in second
    edges = [*first["edges"], *second["edges"]]
    assert {edge["resource"]["id"] for edge in edges} == ids
    assert {edge["mode"] for edge in edges} == {"match"}


def test_a_query_is_sent_as_it_is_too(api: Api, known: dict[str, str]):
    query = f'{{ Patient(id: "{known["Patient"]}") {{ active }} }}'

    answer = api.post("$graphql", query, Content_Type="application/graphql")

    assert answer.json == {"data": {"Patient": {"active": True}}}


def test_a_query_in_the_address_has_variables_too(api: Api, known: dict[str, str]):
    query = "query a {PatientList{id}} query b($id: ID!) {Patient(id: $id) {active}}"
    variables = json.dumps({"id": known["Patient"]})
    address = f"$graphql?query={quote(query)}&operationName=b&variables="

    assert api.get(address + quote(variables)).json == {"data": {"Patient": {"active": True}}}
    assert api.get(f"{address}%7B").status == 400


def test_in_a_batch_the_answer_is_a_binary(api: Api, known: dict[str, str]):
    url = f"Patient/{known['Patient']}/$graphql?query={quote('{active}')}"
    entries = [{"request": {"method": "GET", "url": url}}]

    answer = api.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries})

    (entry,) = answer.entries
    assert json.loads(b64decode(entry["resource"]["data"])) == {"data": {"active": True}}


@pytest.mark.parametrize(
    "query",
    [
        "", "{", "{}", "{name}", "{name{}}", "{nosuch}", "{birthDate{x}}", "{_name{id}}",
        "{name(nosuch: 1){use}}", "{active(_count: 1)}", "{name(_count: \"-1\"){use}}",
        "{name @slice{use}}", "{active @nosuch}", "{active @skip}", "mutation{active}",
        "{...F}", "{...F} fragment F on Patient{...F}", "query A{active} query B{active}",
        "query($a: ID!){active}", "{active @skip(if: $a)}", "{ObservationList{id}}",
        "{ObservationList(_reference: patient, nosuch: 1){id}}", "{name @flatten{use @singleton}}",
        "{ObservationList(_reference: patient, _summary: count){id}}", "{a: active a: birthDate}",
        "{name(fhirpath: \"((\"){use}}", "{active(", "{active 1.2.3}", '{name(use: "\\x"){use}}',
        "{" * 40, "{name{use " * 30 + "}" * 60,
    ],
)  # fmt: skip
def test_what_is_no_good_query_is_refused(api: Api, known: dict[str, str], query: str):
    answer = api.get(f"Patient/{known['Patient']}/$graphql?query={quote(query)}")

    assert answer.status == 400, answer.body
    assert answer.issue["severity"] == "error"


def test_a_query_that_asks_for_too_much_is_refused(api: Api, known: dict[str, str]):
    spread = "".join(f"fragment F{n} on Patient{{{f'...F{n + 1} ' * 9}}}" for n in range(8))
    query = "{...F0}" + spread + "fragment F8 on Patient{active}"

    answer = api.post(
        f"Patient/{known['Patient']}/$graphql", query, Content_Type="application/graphql"
    )

    assert answer.issue["code"] == "too-costly"


@settings(max_examples=200)
@given(st.text(alphabet='{}()[]:$@!=."\\#ab1 \n', max_size=60))
def test_any_text_is_read_or_refused(text: str):
    with suppress(YilianError):
        language.parse(text)
