"""What only a real server shows: connections, processes, and many clients at once."""

from __future__ import annotations

import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.support import RunningHub

JSON = {"Content-Type": "application/fhir+json"}


def patient(**members: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **members}


def found(hub: RunningHub, value: str) -> list[Any]:
    status, _, body = hub.request("GET", f"/fhir/Patient?identifier={value}")
    assert status == 200
    return json.loads(body).get("entry", [])


def test_links_name_the_address_that_was_asked(hub: RunningHub):
    status, headers, body = hub.request("POST", "/fhir/Patient", patient())

    assert status == 201
    assert headers["location"].startswith(f"{hub.base}/fhir/Patient/")
    path = headers["location"].removeprefix(hub.base)
    assert hub.request("GET", path)[2] == body


@pytest.mark.parametrize("path", ["/fhir/Patient", "/inbox", "/metrics", "/nothing/here"])
def test_a_name_that_leads_here_by_rebinding_gets_nothing(hub: RunningHub, path: str):
    status, _, body = hub.request("GET", path, headers={"Host": "evil.example:8080"})

    assert status == 421
    assert b"--allow-host" in body


@pytest.mark.parametrize("escaped", [True, False])
def test_a_query_may_come_unescaped(hub: RunningHub, escaped: bool):
    name = f"张{uuid4().hex[:8]}"
    status, _, _ = hub.request("POST", "/fhir/Patient", patient(name=[{"family": name}]))
    assert status == 201

    host, _, port = hub.addresses["http"].rpartition(":")
    query = f"family={quote(name) if escaped else name}&_tag:missing=true"
    with socket.create_connection((host, int(port)), 120) as sock:
        head = f"GET /fhir/Patient?{query} HTTP/1.0\r\nHost: localhost\r\n\r\n"
        sock.sendall(head.encode())
        with sock.makefile("rb") as stream:
            answer = stream.read()

    bundle = json.loads(answer.split(b"\r\n\r\n", 1)[1])
    assert bundle["total"] == 1
    assert bundle["link"][0]["url"].endswith(f"family={quote(name)}&_tag:missing=true")


def test_head_keeps_the_connection_in_step(hub: RunningHub):
    connection = http.client.HTTPConnection(hub.addresses["http"], timeout=120)
    statuses = []
    for method, path in (("HEAD", "/fhir/metadata"), ("GET", "/fhir/Patient/x"), ("HEAD", "/x")):
        connection.request(method, path)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()

    assert statuses == [200, 404, 404]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused_and_the_server_unharmed(hub: RunningHub, chunked):
    connection = http.client.HTTPConnection(hub.addresses["http"], timeout=120)
    size = 40 << 20
    body = (b" " * (1 << 20) for _ in range(40)) if chunked else b" " * size
    connection.request("POST", "/fhir/Patient", body, JSON, encode_chunked=chunked)
    answer = connection.getresponse()
    outcome = json.loads(answer.read())
    connection.close()

    assert (answer.status, outcome["resourceType"]) == (413, "OperationOutcome")
    assert hub.request("POST", "/fhir/Patient", patient())[0] == 201


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("DELETE", "/fhir/Patient?nosuch=1", None, 400),
        ("PUT", "/fhir/Patient/never-there", patient(id="other"), 400),
        ("POST", "/fhir/Patient", patient(gender="man"), 400),
        ("POST", "/fhir/Nosuch", patient(), 404),
        ("PROPFIND", "/fhir/Patient", None, 405),
    ],
)
def test_refusals_of_the_writing_process_keep_their_status(hub, method, path, body, status):
    told, _, answer = hub.request(method, path, body)

    assert told == status
    assert json.loads(answer)["resourceType"] == "OperationOutcome"


def test_many_conditional_creates_at_once_make_one_resource(hub: RunningHub):
    value = f"v-{uuid4()}"
    headers = {**JSON, "If-None-Exist": f"identifier={value}"}
    body = json.dumps(patient(identifier=[{"value": value}]))

    def create(_: int) -> int:
        return hub.request("POST", "/fhir/Patient", body, headers)[0]

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(create, range(8)))

    assert statuses == [200] * 7 + [201]
    assert len(found(hub, value)) == 1


def test_of_many_updates_of_one_version_one_wins(hub: RunningHub):
    id = f"id-{uuid4()}"
    hub.request("PUT", f"/fhir/Patient/{id}", patient(id=id))

    def update(number: int) -> int:
        body = json.dumps(patient(id=id, name=[{"text": f"N{number}"}]))
        headers = {**JSON, "If-Match": 'W/"1"'}
        return hub.request("PUT", f"/fhir/Patient/{id}", body, headers)[0]

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(update, range(8)))

    assert statuses == [200] + [412] * 7
