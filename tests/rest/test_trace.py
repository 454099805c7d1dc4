"""/trace: links of a code as JSON, CSV, Bundle and picture (identifiers.md 8)."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest

from app.registry.indexed import identifier_keys
from app.registry.links import shipped_rules
from app.rest import trace
from app.store.store import Setting, open_store
from tests.rest.conftest import BASE, Api, OneProcess

SYSTEM = "https://yilian.example/fhir/sid/pack-c"


@pytest.fixture(scope="module")
def api(backend_url: str) -> Iterator[Api]:
    rules = shipped_rules()
    setting = Setting(bases=(f"{BASE}/",), identifier_keys=identifier_keys, link_rules=rules)
    store = open_store(backend_url, setting)
    hub = OneProcess(store)
    yield Api(hub, [trace.blueprint(hub, rules.kinds)])
    store.close()


@pytest.fixture(scope="module")
def operation(api):
    """A pack used on a patient; returns (code of the pack, address of pack, of patient)."""
    value = api.value()
    patient = api.create({"resourceType": "Patient", "name": [{"text": "=1+1 <张伟>"}]})
    device = api.create(
        {"resourceType": "Device", "identifier": [{"system": SYSTEM, "value": value}]}
    )
    api.create(
        {
            "resourceType": "Procedure",
            "status": "completed",
            "subject": {"reference": f"{BASE}/Patient/{patient['id']}"},
            "usedReference": [{"reference": f"Device/{device['id']}"}],
            "performedDateTime": "2026-03-02T10:00:00+08:00",
        }
    )
    return f"{SYSTEM}%7C{value}", f"Device/{device['id']}", f"Patient/{patient['id']}"


def test_json_names_nodes_and_edges_with_time_and_source(api, operation):
    code, pack, patient = operation

    found = api.get(f"/trace?code={code}&kinds=used-on").json

    assert {node["id"] for node in found["nodes"]} >= {pack, patient}
    (edge,) = [edge for edge in found["edges"] if edge["relation"] == "used-on"]
    assert (edge["from"], edge["to"]) == (pack, patient)
    assert edge["start"] == "2026-03-02T02:00:00.000Z"
    assert edge["source"].startswith("Procedure/")
    assert found["truncated"] is False


def test_csv_has_a_line_a_link_and_runs_no_formula(api, operation):
    _, pack, patient = operation

    answer = api.get(f"/trace?code={pack}&kinds=used-on&format=csv")

    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    (line,) = csv.DictReader(io.StringIO(answer.body.decode()))
    assert (line["relation"], line["from"], line["to"]) == ("used-on", pack, patient)
    assert line["to_text"].startswith("'=")


def test_a_bundle_holds_the_resources_found(api, operation):
    _, pack, patient = operation

    answer = api.get(f"/trace?code={pack}", Accept="application/fhir+json")

    assert answer.headers["Content-Type"] == "application/fhir+json"
    assert {entry["fullUrl"] for entry in answer.entries} >= {f"{BASE}/{pack}", f"{BASE}/{patient}"}
    assert answer.json["type"] == "collection"


def test_a_picture_is_well_formed_and_escapes_what_it_shows(api, operation):
    _, pack, _ = operation

    answer = api.get(f"/trace?code={pack}&format=svg")

    root = ET.fromstring(answer.body)  # noqa: S314 - our own output
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert answer.headers["Content-Type"].startswith("image/svg+xml")
    assert {"used-on", "=1+1 <张伟>"} <= texts


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("?code=", 400),
        ("?code=X&direction=up", 400),
        ("?code=X&from=yesterday", 400),
        ("?code=X&depth=-1", 400),
        ("?code=X&depth=99999999999999999999", 400),
        ("?code=X&format=pdf", 406),
        ("?code=Device/nobody-has-this", 404),
        ("?code=%00", 404),
    ],
)
def test_what_cannot_be_asked_is_refused(api, query, status):
    answer = api.get(f"/trace{query}")

    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_an_unknown_kind_is_refused(api, operation):
    assert api.get(f"/trace?code={operation[1]}&kinds=eaten-by").status == 400


def test_links_between_entries_of_a_transaction_are_kept(api):
    def entry(n, resource):
        type_name = resource["resourceType"]
        return {
            "fullUrl": f"urn:uuid:00000000-0000-4000-8000-00000000000{n}",
            "resource": resource,
            "request": {"method": "POST", "url": type_name},
        }

    def to(n):
        return {"reference": f"urn:uuid:00000000-0000-4000-8000-00000000000{n}"}

    operation = {"resourceType": "Procedure", "status": "completed", "subject": to(1)}
    answer = api.post(
        "",
        {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                entry(0, operation | {"usedReference": [to(2)]}),
                entry(1, {"resourceType": "Patient"}),
                entry(2, {"resourceType": "Device"}),
            ],
        },
    )
    locations = [entry["response"]["location"] for entry in answer.entries]
    operation, patient, device = (each.partition("/_history")[0] for each in locations)

    found = api.get(f"/trace?code={patient}").json

    assert {node["id"] for node in found["nodes"]} == {operation, patient, device}
