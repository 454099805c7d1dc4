"""The envelope of a search: R4 http.html#search, #paging. What is found: tests/store."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest

from tests.rest.conftest import BASE, Api, identified, observation, patient


@pytest.fixture(scope="module")
def value(api: Api) -> str:
    """An identifier that five patients and one organization share."""
    value = api.value()
    organization = api.create(
        {"resourceType": "Organization", "name": "Ward", "identifier": identified(value)}
    )
    for number in range(5):
        api.create(
            patient(
                identifier=identified(value),
                gender="female",
                birthDate=f"198{number}-01-01",
                managingOrganization={"reference": f"Organization/{organization['id']}"},
            )
        )
    return value


def of(value: str) -> str:
    return f"identifier=urn:x-test%7C{value}"


def test_a_page_is_a_searchset_with_matches_and_links(api: Api, value: str):
    answer = api.get(f"Patient?{of(value)}&_count=2&_sort=birthdate")

    bundle = answer.json
    assert (answer.status, bundle["resourceType"], bundle["type"]) == (200, "Bundle", "searchset")
    assert [e["search"]["mode"] for e in answer.entries] == ["match", "match"]
    first = answer.entries[0]
    assert first["fullUrl"] == f"{BASE}/Patient/{first['resource']['id']}"
    assert first["resource"]["birthDate"] == "1980-01-01"
    self_link = unquote(answer.link("self") or "")
    assert self_link.startswith(f"{BASE}/Patient?")
    assert f"identifier=urn:x-test|{value}" in self_link


def test_next_links_lead_through_all_matches_once_and_keep_the_presentation(api: Api, value: str):
    found, url = [], f"Patient?{of(value)}&_count=2&_format=json&_pretty=true"
    while url:
        answer = api.get(url)
        assert b'\n  "resourceType"' in answer.body
        found += [e["resource"]["id"] for e in answer.entries]
        url = answer.link("next")

    assert len(found) == len(set(found)) == 5


def test_includes_are_marked(api: Api, value: str):
    answer = api.get(f"Patient?{of(value)}&_include=Patient:organization")

    modes = [(e["resource"]["resourceType"], e["search"]["mode"]) for e in answer.entries]
    assert modes == [("Patient", "match")] * 5 + [("Organization", "include")]


def test_post_search_merges_address_and_form(api: Api, value: str):
    answer = api.post(
        f"Patient/_search?{of(value)}",
        "birthdate=lt1982&gender=female",
        Content_Type="application/x-www-form-urlencoded; charset=UTF-8",
    )

    assert len(answer.entries) == 2
    assert "_search" not in (answer.link("self") or "")


def test_post_search_takes_raw_utf_8_and_refuses_other_types(api: Api):
    family = f"张{api.value()}"
    api.create(patient(name=[{"family": family}]))
    form = "application/x-www-form-urlencoded"

    raw = api.post("Patient/_search", f"family={family}".encode(), Content_Type=form)
    escaped = api.post("Patient/_search", f"family={quote(family)}", Content_Type=form)

    assert len(raw.entries) == len(escaped.entries) == 1
    assert api.post("Patient/_search", {"family": "x"}).status == 415
    assert api.post("Patient/_search", b"", Content_Type=form).status == 200


def test_a_form_says_the_format_of_the_answer_as_an_address_does(api: Api):
    form = "application/x-www-form-urlencoded"

    xml = api.post("Patient/_search", b"_id=x&_format=xml", Content_Type=form)
    both = api.post("Patient/_search?_format=json", b"_id=x&_format=xml", Content_Type=form)
    pretty = api.post("Patient/_search", b"_id=x&_pretty=true", Content_Type=form)
    unknown = api.post("Patient/_search", b"_id=x&_format=text/plain", Content_Type=form)

    assert xml.headers["Content-Type"].startswith("application/fhir+xml")
    assert both.headers["Content-Type"].startswith("application/fhir+json")  # the address first
    assert b"\n" in pretty.body
    assert unknown.status == 406


def test_compartments_are_searched_by_get_and_post(api: Api):
    id = api.create(patient())["id"]
    mine = api.create(observation(subject={"reference": f"Patient/{id}"}))["id"]
    api.create(observation())

    by_get = api.get(f"Patient/{id}/Observation?status=final")
    by_post = api.post(
        f"Patient/{id}/Observation/_search",
        "status=final",
        Content_Type="application/x-www-form-urlencoded",
    )

    assert [e["resource"]["id"] for e in by_get.entries] == [mine]
    assert [e["resource"]["id"] for e in by_post.entries] == [mine]
    assert by_get.link("self") == f"{BASE}/Patient/{id}/Observation?status=final"
    assert api.get(f"Patient/{id}/Organization").status == 404
    assert api.get(f"Organization/{id}/Patient").status == 404


def test_a_whole_compartment_can_be_searched(api: Api):
    id = api.create(patient())["id"]
    subject = {"reference": f"Patient/{id}"}
    mine = api.create(observation(subject=subject))["id"]
    problem = api.create({"resourceType": "Condition", "subject": subject})["id"]
    api.create(observation())

    answer = api.get(f"Patient/{id}/*")

    assert {e["resource"]["id"] for e in answer.entries} == {mine, problem}
    assert len(api.get(f"Patient/{id}/*?_type=Condition").entries) == 1


def test_the_whole_system_can_be_searched(api: Api, value: str):
    id = api.get(f"Patient?{of(value)}&_count=1").entries[0]["resource"]["id"]

    answer = api.get(f"?_type=Patient,Organization&_id={id}")

    assert [e["resource"]["id"] for e in answer.entries] == [id]


def test_unknown_parameters_are_refused_or_reported(api: Api, value: str):
    query = f"Patient?{of(value)}&nosuch=1"

    strict, lenient = api.get(query), api.get(query, Prefer="handling=lenient")

    assert (strict.status, strict.issue["expression"]) == (400, ["http.nosuch"])
    assert lenient.status == 200
    assert "nosuch" not in (lenient.link("self") or "")
    remarks = [e for e in lenient.entries if e["search"]["mode"] == "outcome"]
    assert remarks[0]["resource"]["issue"][0]["severity"] == "warning"
    assert len(lenient.entries) == 6


@pytest.mark.parametrize(
    "query",
    [
        "birthdate:contains=1980",
        "_count=-1",
        "_count=abc",
        "_sort=nosuch",
        "_include=Patient:nosuch",
        "family=a%00b",
        "family=%ff",
        "=x",
        "_summary=some",
        "_total=maybe",
        "_page=forged",
    ],
)
def test_a_bad_query_is_400(api: Api, query: str):
    assert api.get(f"Patient?{query}").status == 400


def test_results_come_reduced(api: Api, value: str):
    count = api.get(f"Patient?{of(value)}&_summary=count")
    elements = api.get(f"Patient?{of(value)}&_elements=gender&_count=1")
    data = api.get(f"Patient?{of(value)}&_summary=data&_count=1")

    assert (count.json["total"], count.entries) == (5, [])
    assert set(elements.entries[0]["resource"]) == {"resourceType", "id", "meta", "gender"}
    assert elements.entries[0]["resource"]["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert data.entries[0]["resource"]["birthDate"]


def test_a_query_over_the_limit_is_refused_with_advice(api: Api):
    long = "Patient?_id=" + ",".join(f"id{n}" for n in range(20_000))

    answer = api.get(long)

    assert answer.status == 400
    assert "_search" in answer.issue["diagnostics"]


def test_head_searches_without_a_body(api: Api, value: str):
    answer = api.request("HEAD", f"Patient?{of(value)}")

    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 0


def test_a_chain_to_many_patients_follows_the_reference_that_it_names(api: Api):
    """The owner of the resource is another patient than its performer."""
    family = f"Viele{api.value()}"
    many = [
        {
            "resource": patient(id=f"{family}-{n}", name=[{"family": family}]),
            "request": {"method": "PUT", "url": f"Patient/{family}-{n}"},
        }
        for n in range(210)
    ]
    assert api.post("", {"resourceType": "Bundle", "type": "transaction", "entry": many}).status
    owner = api.create(patient())["id"]
    made = api.create(
        observation(
            subject={"reference": f"Patient/{owner}"},
            performer=[{"reference": f"Patient/{family}-7"}],
        )
    )

    by_performer = api.get(f"Observation?performer:Patient.family={family}").entries
    by_subject = api.get(f"Observation?subject:Patient.family={family}").entries
    performers = api.get(f"Patient?_has:Observation:performer:_id={made['id']}").entries
    subjects = api.get(f"Patient?_has:Observation:patient:_id={made['id']}").entries

    assert [e["resource"]["id"] for e in by_performer] == [made["id"]]
    assert by_subject == []
    assert [e["resource"]["id"] for e in performers] == [f"{family}-7"]
    assert [e["resource"]["id"] for e in subjects] == [owner]
