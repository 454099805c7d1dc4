"""Create, update, delete and Prefer: R4 http.html#create, #update, #delete, #ops."""

from __future__ import annotations

import gzip
import json
import re

import pytest

from tests.rest.conftest import BASE, Api, observation, patient


def test_create_answers_201_with_location_etag_and_the_stored_resource(api: Api):
    answer = api.post("Patient", patient(id="mine", meta={"versionId": "9", "source": "urn:x"}))

    assert answer.status == 201
    assert re.fullmatch(
        rf"{BASE}/Patient/[A-Za-z0-9.\-]{{1,64}}/_history/1", answer.headers["Location"]
    )
    assert answer.headers["ETag"] == 'W/"1"'
    assert "Last-Modified" in answer.headers
    assert answer.json["id"] != "mine"
    assert answer.json["meta"]["versionId"] == "1"
    assert answer.json["meta"]["source"] == "urn:x"


def test_prefer_says_what_a_write_answers(api: Api):
    minimal = api.post("Patient", patient(), Prefer="return=minimal")
    outcome = api.post("Patient", patient(), Prefer="return=OperationOutcome")
    id = api.create(patient())["id"]
    updated = api.put(f"Patient/{id}", patient(id=id), Prefer="return=minimal")
    deleted = api.delete(f"Patient/{id}", Prefer="return=OperationOutcome")

    assert (minimal.status, minimal.body) == (201, b"")
    assert (outcome.status, outcome.issue["severity"]) == (201, "information")
    assert (updated.status, updated.body) == (200, b"")
    assert (deleted.status, deleted.issue["severity"]) == (200, "information")


@pytest.mark.parametrize(
    ("body", "status", "place"),
    [
        (b'{"resourceType":"Patient",', 400, None),
        (b"", 400, None),
        (b"[]", 400, None),
        (b'"Patient"', 400, None),
        (b'{"resourceType":"Patient","gender":"\xff"}', 400, None),
        (b'{"resourceType":"Patient","gender":"male","gender":"female"}', 400, None),
        (b'{"resourceType":"Observation"}', 400, None),
        (b'{"resourceType":"Patient","gender":"man"}', 400, "Patient.gender"),
        (b'{"resourceType":"Patient","name":"Bob"}', 400, "Patient.name"),
        (b'{"resourceType":"Patient","birthDate":"1980-13-45"}', 400, "Patient.birthDate"),
        (b'{"resourceType":"Patient","name":[{"family":"a\\u0000b"}]}', 400, None),
        (b'{"resourceType":"Patient","extension":' + b"[" * 5000 + b"]" * 5000 + b"}", 400, None),
    ],
    ids=[
        "cut short", "empty", "array", "string", "not utf-8", "doubled", "other type", "code",
        "kind", "date", "nul", "deep",
    ],
)  # fmt: skip
def test_a_bad_body_is_refused_and_the_place_named(api: Api, body, status, place):
    answer = api.post("Patient", body)

    assert answer.status == status
    assert answer.issue["severity"] in ("error", "fatal")
    if place:
        assert answer.issue["expression"] == [place]


def test_a_body_over_the_limit_is_413_and_the_next_request_works(api: Api):
    answer = api.post("Patient", b" " * (api.hub.http.max_body_bytes + 1))

    assert (answer.status, answer.issue["code"]) == (413, "too-long")
    assert api.post("Patient", patient()).status == 201


def test_update_makes_a_new_version(api: Api):
    created = api.create(patient(gender="male", birthDate="1980-01-01"))

    answer = api.put(f"Patient/{created['id']}", patient(id=created["id"], gender="female"))

    assert answer.status == 200
    assert answer.headers["ETag"] == 'W/"2"'
    assert answer.headers["Location"].endswith(f"Patient/{created['id']}/_history/2")
    found = api.get(f"Patient/{created['id']}").json
    assert found["gender"] == "female"
    assert "birthDate" not in found


def test_update_to_a_new_id_creates(api: Api):
    id = f"chosen-{api.value()}"

    assert api.put(f"Patient/{id}", patient(id=id)).status == 201
    assert api.put(f"Patient/{id}", patient(id=id)).status == 200


@pytest.mark.parametrize("id", ["x" * 65, "a_b", "%E5%BC%A0"])
def test_update_to_what_is_no_id_says_so(api: Api, id: str):
    answer = api.put(f"Patient/{id}", patient(id="x"))

    assert (answer.status, answer.issue["expression"]) == (400, ["Patient.id"])


@pytest.mark.parametrize(
    "resource",
    [patient(), patient(id="other"), observation(id="the-id")],
    ids=["none", "id", "type"],
)
def test_update_needs_type_and_id_of_the_address(api: Api, resource):
    answer = api.put("Patient/the-id", resource)

    assert answer.status == 400
    assert api.get("Patient/the-id").status == 404


@pytest.mark.parametrize("reduced", ["_elements=gender", "_summary=true"])
def test_what_was_read_in_part_does_not_replace_the_whole(api: Api, reduced: str):
    id = api.create(patient(gender="male", photo=[{"title": "x"}]))["id"]
    part = api.get(f"Patient/{id}?{reduced}").json

    plain = api.put(f"Patient/{id}", part)
    conditional = api.put(f"Patient?_id={id}", part)

    assert [plain.status, conditional.status] == [422, 422]
    assert plain.issue["expression"] == ["Patient.meta.tag"]
    assert api.get(f"Patient/{id}").json["meta"]["versionId"] == "1"
    for wrong in ({"tag": "SUBSETTED"}, {"tag": [{"code": ["SUBSETTED"]}]}, ["SUBSETTED"]):
        assert api.put(f"Patient/{id}", part | {"meta": wrong}).status == 400
    whole = part | {"meta": {"tag": [{"system": "urn:x", "code": "SUBSETTED"}]}}
    assert api.put(f"Patient/{id}", whole).status == 200


def test_if_match_names_the_version_that_may_be_replaced(api: Api):
    id = api.create(patient())["id"]
    path, body = f"Patient/{id}", patient(id=id)

    assert api.put(path, body, If_Match='W/"1"').status == 200
    assert api.put(path, body, If_Match='W/"1"').status == 412
    assert api.put(path, body, If_Match='W/"7", W/"2"').status == 200
    assert api.put(path, body, If_Match="*").status == 200
    assert api.delete(path, If_Match='W/"1"').status == 412
    assert api.delete(path, If_Match='W/"4"').status == 204


def test_if_none_match_star_only_creates(api: Api):
    id = f"once-{api.value()}"

    assert api.put(f"Patient/{id}", patient(id=id), If_None_Match="*").status == 201
    assert api.put(f"Patient/{id}", patient(id=id), If_None_Match="*").status == 412
    assert api.put(f"Patient/{id}", patient(id=id), If_None_Match='W/"1"').status == 400


def test_delete_is_idempotent_and_update_brings_it_back(api: Api):
    id = api.create(patient())["id"]
    path = f"Patient/{id}"

    first, second, never = api.delete(path), api.delete(path), api.delete("Patient/never-was")
    again = api.put(path, patient(id=id))

    assert [a.status for a in (first, second, never)] == [204, 204, 204]
    assert (first.body, first.headers["ETag"]) == (b"", 'W/"2"')
    assert again.status == 201
    assert again.headers["ETag"] == 'W/"3"'


def test_numbers_and_unknown_white_space_survive_as_written(api: Api):
    body = (
        b'{"resourceType":"Observation", "status":"final","code":{"text":"\xf0\xa0\xae\xb7"},'
        b'"valueQuantity":{"value":-0.0500,"unit":"1e2"},'
        b'"component":[{"code":{"text":"a"},"valueQuantity":{"value":1.50e2}},'
        b'{"code":{"text":"b"},"valueQuantity":{"value":123456789012345678.90}}]}'
    )

    stored = api.get(f"Observation/{api.post('Observation', body).json['id']}").body

    for text in (b"-0.0500", b"1.50e2", b"123456789012345678.90", "𠮷".encode()):
        assert text in stored


def test_binary_goes_in_and_out_as_it_is(api: Api):
    content = bytes(range(256))

    created = api.post("Binary", content, Content_Type="application/octet-stream")
    path = created.headers["Location"]

    raw = api.get(path.removesuffix("/_history/1"))
    fhir = api.get(path.removesuffix("/_history/1"), Accept="application/fhir+json")
    assert created.status == 201
    assert raw.body == content
    assert raw.headers["Content-Type"] == "application/octet-stream"
    assert raw.headers["X-Content-Type-Options"] == "nosniff"
    assert fhir.json["resourceType"] == "Binary"
    assert api.get(path.removesuffix("/_history/1"), Accept="image/png").status == 406
    assert api.get(path, Accept="application/octet-stream").body == content


def test_binary_as_json_is_a_resource(api: Api):
    resource = {"resourceType": "Binary", "contentType": "text/plain", "data": "aGVsbG8="}

    created = api.post("Binary", resource)

    assert created.json["data"] == "aGVsbG8="
    assert api.get(f"Binary/{created.json['id']}").body == b"hello"
    assert api.get(f"Binary/{created.json['id']}?_format=json").json["data"] == "aGVsbG8="


def test_a_content_type_that_is_no_header_is_not_sent_as_one(api: Api):
    resource = {"resourceType": "Binary", "contentType": "text/plain é", "data": "aGVsbG8="}
    created = api.post("Binary", resource)

    raw = api.get(f"Binary/{created.json['id']}")

    assert (created.status, raw.status) == (201, 200)
    assert raw.headers["Content-Type"] == "application/octet-stream"


def test_a_raw_binary_can_be_replaced(api: Api):
    id = f"raw-{api.value()}"

    assert api.put(f"Binary/{id}", b"one", Content_Type="text/plain").status == 201
    assert api.put(f"Binary/{id}", b"two", Content_Type="text/plain").status == 200
    assert api.get(f"Binary/{id}").body == b"two"


def test_a_gzip_body_is_unpacked(api: Api):
    body = gzip.compress(json.dumps(patient(gender="male")).encode())

    assert api.post("Patient", body, Content_Encoding="gzip").json["gender"] == "male"
    assert api.post("Patient", b"not gzip", Content_Encoding="gzip").status == 400
    assert api.post("Patient", body[:-9], Content_Encoding="gzip").status == 400
    assert api.post("Patient", body, Content_Encoding="br").status == 415
