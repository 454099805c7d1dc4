"""Web pages from elsewhere: DNS rebinding (Host), other origins. Fetch 3.1-3.3."""

from __future__ import annotations

import pytest
from flask import Blueprint, Response
from werkzeug.test import Client

from app.errors import Misdirected
from app.rest import create_app
from app.rest.admit import Gate
from app.rest.services import LOOPBACK, Options
from tests.rest.conftest import FHIR_JSON, Api, OneProcess

FOREIGN = "https://app.example"
SITE = Options(hosts=(*LOOPBACK, "hub.example"), cors_origins=("https://viewer.example",))


def door() -> Blueprint:
    """One of the doors beside FHIR, that takes anything."""
    other = Blueprint("other", __name__)
    taken: list[str] = []

    @other.route("/other", methods=["GET", "POST"])
    def take() -> Response:
        taken.append("x")
        return Response(str(len(taken)))

    return other


@pytest.fixture
def site(api: Api) -> Client:
    return Client(create_app(OneProcess(api.hub.store, SITE), [door()]))


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8080", "127.0.0.1:9", "127.8.8.8", "[::1]:80", "hub.example:443", ""],
)
def test_a_request_for_a_name_of_the_hub_passes(host: str):
    gate = Gate(SITE)

    gate.admit({"HTTP_HOST": host})
    gate.admit({})


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "evil.example#localhost",
        "localhost@evil.example",
        "evil.example@localhost",
        "127.0.0.1.evil.example",
        "192.0.2.1:8080",
        "localhost:x",
        "[::1",
        "/",
    ],
)
def test_a_request_for_another_name_does_not(host: str):
    gate = Gate(SITE)

    for _ in range(2):
        with pytest.raises(Misdirected):
            gate.admit({"HTTP_HOST": host})


def test_a_refusal_by_name_has_the_form_of_its_door(site: Client):
    fhir = site.get("/fhir/Patient", headers={"Host": "evil.example"})
    other = site.get("/other", headers={"Host": "evil.example"})

    assert (fhir.status_code, fhir.json["resourceType"]) == (421, "OperationOutcome")
    assert fhir.json["issue"][0]["expression"] == ["http.host"]
    assert (other.status_code, other.content_type) == (421, "application/problem+json")


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:3000", "http://127.0.0.1", "https://hub.example", "https://viewer.example"],
)
def test_pages_of_this_machine_of_the_hub_and_those_named_may_use_it(site: Client, origin: str):
    sent = {"Origin": origin, "Content-Type": FHIR_JSON}

    made = site.post("/fhir/Patient", data=b'{"resourceType":"Patient"}', headers=sent)
    other = site.post("/other", data=b"x", headers=sent)

    assert (made.status_code, other.status_code) == (201, 200)
    for answer in (made, other):
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert "Origin" in answer.headers.getlist("Vary")
        for name in ("ETag", "Location", "Content-Location", "Last-Modified"):
            assert name in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize(
    "origin", [FOREIGN, "null", "https://viewer.example.evil.example", "https://viewer.example:1"]
)
def test_other_pages_are_refused_and_told_why(site: Client, origin: str):
    sent = {"Origin": origin, "Content-Type": "text/plain"}  # a page may send this unasked

    answers = [
        site.get("/fhir/Patient", headers=sent),
        site.post("/fhir/Patient", data=b"{}", headers=sent),
        site.post("/other", data=b"x", headers=sent),
    ]

    assert [answer.status_code for answer in answers] == [403] * 3
    assert [answer.headers["Access-Control-Allow-Origin"] for answer in answers] == ["*"] * 3
    assert b"--allow-origin" in answers[0].data
    assert site.get("/other").data == b"1"


@pytest.mark.parametrize("path", ["/fhir/Patient/1", "/other"])
def test_preflights_are_answered_to_any_page(site: Client, path: str):
    sent = {"Origin": FOREIGN, "Access-Control-Request-Method": "POST"}

    answer = site.options(path, headers=sent)

    assert (answer.status_code, answer.data) in ((204, b""), (200, b""))
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Allow-Methods"] == answer.headers["Allow"]
    assert "If-Match" in answer.headers["Access-Control-Allow-Headers"]


def test_what_is_public_is_read_by_any_page(site: Client):
    answer = site.get("/fhir/metadata", headers={"Origin": FOREIGN})

    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Origin" not in site.get("/fhir/metadata").headers


def test_a_site_may_open_it_to_all_pages(api: Api):
    client = Client(create_app(OneProcess(api.hub.store, Options(cors_origins=("*",)))))

    answer = client.get("/fhir/Patient", headers={"Origin": FOREIGN})

    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
