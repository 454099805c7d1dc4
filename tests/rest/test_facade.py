"""The frame of every answer: errors, headers, methods, the base. R4 http.html#3.1.0.1."""

from __future__ import annotations

import io
import logging
from typing import Any

import pytest
from werkzeug.test import Client, EnvironBuilder

from app.rest import base, create_app, problems
from app.rest.services import Options
from tests.rest.conftest import FHIR_JSON, Api, OneProcess, patient


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "Patientt", 404, "not-supported"),
        ("GET", "patient/1", 404, "not-found"),
        ("GET", "Patient/1/2/3/4/5", 404, "not-found"),
        ("GET", "Patient/_search", 405, "not-supported"),
        ("GET", "Patient/$nosuch", 404, "not-supported"),
        ("GET", "$nosuch", 404, "not-supported"),
        ("GET", "Patient/1/_history/1/x", 404, "not-found"),
        ("DELETE", "metadata", 405, "not-supported"),
        ("POST", "metadata", 405, "not-supported"),
        ("PUT", "", 405, "not-supported"),
        ("PROPFIND", "Patient", 405, "not-supported"),
        ("GET", "Patient/%24x", 404, "not-supported"),
        ("GET", "DomainResource/1", 404, "not-supported"),
    ],
)
def test_what_is_not_offered_is_an_operation_outcome(api: Api, method, path, status, code):
    answer = api.request(method, path)

    assert answer.status == status
    assert answer.issue["code"] == code
    assert answer.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
    assert ("Allow" in answer.headers) == (status == 405)


def test_a_slash_at_the_end_does_not_matter(api: Api):
    assert api.get("metadata/").status == 200
    assert api.get("Patient/?_count=1").status == 200


def test_options_says_what_an_address_allows(api: Api):
    answer = api.request("OPTIONS", "Patient/1")

    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Allow"] == "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"
    assert "POST" in api.request("OPTIONS", "").headers["Allow"]
    assert api.request("OPTIONS", "nothing/here").status == 404


@pytest.mark.parametrize("path", ["Patient/never-there", "metadata"])
def test_a_request_id_is_echoed(api: Api, path: str):
    assert api.get(path, X_Request_Id="abc-1").headers["X-Request-Id"] == "abc-1"
    assert "X-Request-Id" not in api.get(path, X_Request_Id="a b").headers


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({"Accept": "image/png"}, "", 406),
        ({"Accept": "application/fhir+json; fhirVersion=1.0"}, "", 406),
        ({"Accept": "image/png"}, "?_format=json", 200),
        ({}, "?_format=application/fhir+json", 200),
        ({}, "?_format=pdf", 406),
        ({"Accept": "text/html"}, "", 406),
    ],
)
def test_formats_are_negotiated(api: Api, headers, query: str, status: int):
    id = api.create(patient())["id"]

    answer = api.get(f"Patient/{id}{query}", **headers)

    assert answer.status == status


def test_nothing_is_written_when_the_answer_would_not_be_accepted(api: Api):
    id = f"unwanted-{api.value()}"

    refused = api.put(f"Patient/{id}", patient(id=id), Accept="image/png")

    assert refused.status == 406
    assert api.get(f"Patient/{id}").status == 404


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/fhir+json; fhirVersion=3.0", "image/png"]
)
def test_an_unknown_content_type_is_415(api: Api, content_type: str):
    answer = api.post("Patient", patient(), Content_Type=content_type)

    assert (answer.status, answer.issue["expression"]) == (415, ["http.Content-Type"])


class _Broken:
    """A store with a fault in it."""

    def lookup(self, type: str, id: str) -> Any:
        raise RuntimeError("secret detail")

    read = vread = lookup


def test_only_what_names_a_request_is_logged_as_its_name(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.ERROR):
        problems.fault(KeyError(), "r-1")
        problems.fault(KeyError(), "Zhang San, 1980\n")

    assert [record.request_id for record in caplog.records] == ["r-1", ""]


def test_a_fault_of_ours_tells_a_number_only(caplog: pytest.LogCaptureFixture):
    client = Client(create_app(OneProcess(_Broken())))  # type: ignore[arg-type]

    with caplog.at_level(logging.ERROR):
        answer = client.get("/fhir/Patient/1?_pretty=true")

    assert answer.status_code == 500
    assert answer.json["issue"][0]["code"] == "exception"
    assert "secret" not in answer.text
    number = answer.json["issue"][0]["diagnostics"].rpartition(" ")[2]
    assert caplog.records[0].code == number


def test_a_fault_in_the_fast_path_is_an_outcome_too():
    client = Client(create_app(OneProcess(_Broken())))  # type: ignore[arg-type]

    assert client.get("/fhir/Patient/1").json["resourceType"] == "OperationOutcome"


def test_a_body_of_unknown_length_is_read_up_to_the_limit(api: Api):
    def send(body: bytes) -> int:
        environ = EnvironBuilder(
            "/fhir/Patient", method="POST", input_stream=io.BytesIO(body), content_type=FHIR_JSON
        ).get_environ()
        environ.pop("CONTENT_LENGTH", None)
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
        return Client(create_app(api.hub)).open(environ).status_code

    assert send(b'{"resourceType":"Patient"}') == 201
    assert send(b" " * (api.hub.http.max_body_bytes + 1)) == 413


@pytest.mark.parametrize(
    ("environ", "options", "expected"),
    [
        ({"HTTP_HOST": "127.0.0.1:8080"}, Options(), "http://127.0.0.1:8080/fhir"),
        ({"HTTP_HOST": "[::1]:8080"}, Options(), "http://[::1]:8080/fhir"),
        ({"HTTP_HOST": "evil.example", "SERVER_PORT": "8080"}, Options(),
         "http://localhost:8080/fhir"),
        ({"HTTP_HOST": 'x"><script>', "SERVER_PORT": "80"}, Options(), "http://localhost:80/fhir"),
        ({"HTTP_HOST": "evil.example"}, Options(base_url="https://h.example/fhir"),
         "https://h.example/fhir"),
        ({"HTTP_HOST": "127.0.0.1", "HTTP_FORWARDED": "host=h.example", "REMOTE_ADDR": "9.9.9.9"},
         Options(), "http://127.0.0.1/fhir"),
        ({"HTTP_HOST": "127.0.0.1", "HTTP_FORWARDED": 'for=1;host="h.example";proto=https, for=2',
          "REMOTE_ADDR": "10.0.0.1"},
         Options(trusted_proxies=("10.0.0.1",)), "https://h.example/fhir"),
    ],
)  # fmt: skip
def test_the_base_is_believed_from_those_who_may_say_it(environ, options, expected):
    assert base.base_url({"wsgi.url_scheme": "http", **environ}, options) == expected
