"""What is not FHIR: operators' addresses, and RFC 9457 problem JSON for errors."""

from __future__ import annotations

import pytest
from flask import Blueprint
from werkzeug.test import Client, EnvironBuilder

from app.errors import Unavailable
from app.rest import create_app
from tests.rest.conftest import Api, OneProcess


@pytest.fixture
def client(api: Api) -> Client:
    doors = Blueprint("doors", __name__)

    @doors.get("/busy")
    def busy() -> str:
        raise Unavailable("Not now", retry_after_s=7)

    @doors.get("/fault")
    def fault() -> str:
        raise RuntimeError("secret detail")

    return Client(create_app(api.hub, [doors]))


def test_a_query_that_is_no_text_is_refused(api: Api):
    told = []
    environ = EnvironBuilder("/fhir/Patient").get_environ() | {"QUERY_STRING": "name=\xff"}

    body = b"".join(create_app(api.hub)(environ, lambda status, headers: told.append(status)))

    assert told == ["400 Bad Request"]
    assert b"OperationOutcome" in body


def test_operators_see_health_readiness_and_numbers(client: Client, api: Api):
    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/readyz").status_code == 200
    assert client.get("/metrics").content_type.startswith("text/plain; version=0.0.4")


def test_readyz_names_what_is_missing(api: Api):
    hub = OneProcess(api.hub.store, missing=["the writer"])

    answer = Client(create_app(hub)).get("/readyz")

    assert answer.status_code == 503
    assert answer.json["waiting_for"] == ["the writer"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/fhirx", 404), ("POST", "/healthz", 405)],
)
def test_errors_elsewhere_are_problem_json(client: Client, method: str, path: str, status: int):
    answer = client.open(path, method=method)

    assert answer.status_code == answer.json["status"] == status
    assert answer.content_type == "application/problem+json"
    assert ("Allow" in answer.headers) == (status == 405)


def test_errors_of_the_tree_keep_their_status_elsewhere(client: Client):
    answer = client.get("/busy")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "7"
    assert answer.json["detail"] == "Not now"
    assert answer.json["errors"][0]["code"] == "transient"


def test_a_fault_elsewhere_tells_a_number_only(client: Client):
    answer = client.get("/fault")

    assert answer.status_code == 500
    assert "secret" not in answer.text
