"""Read, vread and conditional read: R4 http.html#read, #vread, #cread."""

from __future__ import annotations

import gzip

import pytest

from tests.rest.conftest import Api, patient


def test_read_gives_the_stored_resource_with_its_version(api: Api):
    created = api.create(patient())

    answer = api.get(f"Patient/{created['id']}")

    assert answer.status == 200
    assert answer.json == created
    assert answer.headers["ETag"] == 'W/"1"'
    assert answer.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
    assert answer.headers["Last-Modified"].endswith(" GMT")


def test_head_has_the_headers_of_get_and_no_body(api: Api):
    path = f"Patient/{api.create(patient())['id']}"

    get, head = api.get(path), api.request("HEAD", path)

    assert (head.status, head.body) == (200, b"")
    for name in ("ETag", "Last-Modified", "Content-Type", "Content-Length"):
        assert head.headers[name] == get.headers[name]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If_None_Match": 'W/"1"'}, 304),
        ({"If_None_Match": 'W/"9", W/"1"'}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": 'W/"2"'}, 200),
        ({"If_Modified_Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 304),
        ({"If_Modified_Since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 200),
        ({"If_Modified_Since": "some day"}, 200),
        ({"If_None_Match": 'W/"2"', "If_Modified_Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 200),
    ],
)
@pytest.mark.parametrize("query", ["", "?_pretty=true"])
def test_conditional_read_answers_304_when_the_client_has_it(api: Api, headers, status, query):
    path = f"Patient/{api.create(patient())['id']}{query}"

    answer = api.get(path, **headers)

    assert answer.status == status
    assert answer.headers["ETag"] == 'W/"1"'
    assert bool(answer.body) == (status == 200)


def test_if_modified_since_compares_whole_seconds(api: Api):
    path = f"Patient/{api.create(patient())['id']}"
    modified = api.get(path).headers["Last-Modified"]

    assert api.get(path, If_Modified_Since=modified).status == 304


def test_an_unknown_id_is_404_and_a_deleted_one_410(api: Api):
    gone = api.create(patient())["id"]
    api.delete(f"Patient/{gone}")

    unknown, deleted = api.get("Patient/never-there"), api.get(f"Patient/{gone}")

    assert (unknown.status, unknown.issue["code"]) == (404, "not-found")
    assert (deleted.status, deleted.issue["code"]) == (410, "deleted")


@pytest.mark.parametrize("id", ["x" * 65, "bad%20id!", "a_b", "%E5%BC%A0"])
def test_what_cannot_be_an_id_is_404(api: Api, id):
    assert api.get(f"Patient/{id}").status == 404


def test_ids_are_case_sensitive(api: Api):
    api.put("Patient/Case-1", patient(id="Case-1"))

    assert api.get("Patient/case-1").status == 404


def test_vread_gives_each_version_and_410_for_a_deletion(api: Api):
    created = api.create(patient(gender="male"))
    path = f"Patient/{created['id']}"
    api.put(path, patient(id=created["id"], gender="female"))
    api.delete(path)

    first, second = api.get(f"{path}/_history/1"), api.get(f"{path}/_history/2")

    assert first.json["gender"] == "male"
    assert first.headers["ETag"] == 'W/"1"'
    assert second.json["gender"] == "female"
    assert api.get(f"{path}/_history/3").status == 410
    assert api.get(f"{path}/_history/4").status == 404
    assert api.get(f"{path}/_history/one").status == 404
    assert api.get(f"{path}/_history/01").status == 404


def test_elements_and_summary_apply_to_read(api: Api):
    created = api.create(
        patient(gender="male", birthDate="1980-01-01", photo=[{"title": "not in the summary"}])
    )
    path = f"Patient/{created['id']}"

    chosen, short = api.get(f"{path}?_elements=gender"), api.get(f"{path}?_summary=true")

    assert set(chosen.json) == {"resourceType", "id", "meta", "gender"}
    assert chosen.json["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert "photo" not in short.json
    assert short.json["birthDate"] == "1980-01-01"
    assert api.get(f"{path}?_elements=nosuch").status == 400
    assert api.get(f"{path}?_summary=count").status == 400


def test_pretty_indents_and_keeps_numbers(api: Api):
    created = api.post(
        "Observation",
        b'{"resourceType":"Observation","status":"final","code":{"text":"x"},'
        b'"valueQuantity":{"value":1.00}}',
    ).json

    answer = api.get(f"Observation/{created['id']}?_pretty=true")

    assert b'\n    "value": 1.00\n' in answer.body


def test_answers_are_compressed_when_that_is_asked_for_and_pays(api: Api):
    large = api.create(patient(text={"status": "generated", "div": _narrative()}))
    small = api.create(patient())

    squeezed = api.get(f"Patient/{large['id']}", Accept_Encoding="gzip")
    plain = api.get(f"Patient/{small['id']}", Accept_Encoding="gzip")

    assert squeezed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(squeezed.body) == api.get(f"Patient/{large['id']}").body
    assert "Content-Encoding" not in plain.headers


def _narrative() -> str:
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{"<p>long</p>" * 400}</div>'
