"""/registry, /links and /oid: what is registered by hand (identifiers.md 6)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from app.registry.indexed import identifier_keys
from app.registry.links import shipped_rules
from app.registry.peers import Peer, Peers
from app.registry.unite import Devices
from app.rest import registry, trace
from app.rest.services import Options
from app.store.store import Setting, open_store
from tests.rest.conftest import BASE, Api, OneProcess

LINES = "application/x-ndjson"
SID = "https://yilian.example/fhir/sid/"


@pytest.fixture(scope="module")
def api(backend_url: str) -> Iterator[Api]:
    rules = shipped_rules()
    setting = Setting(
        bases=(f"{BASE}/",), identifier_keys=identifier_keys, link_rules=rules, unite=Devices()
    )
    store = open_store(backend_url, setting)
    hub = OneProcess(store)
    yield Api(hub, [registry.blueprint(hub, rules.kinds), trace.blueprint(hub, rules.kinds)])
    store.close()


def post(api, path, body, kind="application/json"):
    return api.post(path, body, Content_Type=kind)


def lines(answer):
    return [json.loads(line) for line in answer.body.splitlines()]


def test_every_kind_of_the_page_can_be_registered(api):
    kinds = api.get("/registry").json["kinds"]

    for kind, type_name in kinds.items():
        value = api.value()
        answer = post(
            api, "/registry", {"kind": kind, "name": "甲", "system": SID + "reg", "value": value}
        )
        assert answer.status == 201, answer.body
        assert answer.json["resource"].startswith(f"{type_name}/")
        (found,) = api.get(f"/registry?code={SID}reg|{value}").json["entities"]
        assert found["kind"] == kind
    assert len(kinds) == 13


def test_registering_again_changes_nothing_and_adds_an_alias(api):
    number, alias = api.value(), api.value()
    row = {"kind": "device", "name": "泵", "system": SID + "asset", "value": number}

    first = post(api, "/registry", row)
    again = post(api, "/registry", row)
    both = {
        "kind": "device",
        "identifiers": [
            {"system": SID + "asset", "value": number},
            {
                "system": SID + "spd",
                "value": alias,
                "assigner": "SPD",
                "start": "2026-01-01",
                "end": "2027-01-01",
                "use": "secondary",
            },
        ],
    }
    more = post(api, "/registry", both)

    assert (first.status, again.status, more.status) == (201, 200, 200)
    assert [each.json["result"] for each in (first, again, more)] == [
        "created", "unchanged", "updated",
    ]  # fmt: skip
    (found,) = api.get(f"/registry?code={SID}spd|{alias}").json["entities"]
    assert found["resource"] == first.json["resource"]
    assert found["identifiers"][1] == {
        "system": SID + "spd",
        "value": alias,
        "key": f"id:{SID}spd|{alias}",
        "use": "secondary",
        "assigner": "SPD",
        "start": "2026-01-01",
        "end": "2027-01-01",
    }


def test_two_owners_of_one_number_are_a_conflict(api):
    number = api.value()
    for _ in range(2):
        api.create(
            {"resourceType": "Device", "identifier": [{"system": SID + "a", "value": number}]}
        )

    refused = post(api, "/registry", {"kind": "device", "system": SID + "a", "value": number})

    assert refused.status == 409
    assert api.get(f"/registry?code={SID}a|{number}").json["conflict"] is True


def test_bulk_lines_are_answered_one_by_one_with_their_errors(api):
    values = [api.value() for _ in range(3)]
    rows = [{"kind": "specimen", "system": SID + "tube", "value": value} for value in values]
    body = "\n".join([json.dumps(rows[0]), "{", json.dumps({"kind": "x"}), json.dumps(rows[1])])

    said = lines(post(api, "/registry", body, LINES))

    assert [each["line"] for each in said] == [1, 2, 3, 4]
    assert [each.get("result") for each in said] == ["created", None, None, "created"]
    assert (said[1]["status"], said[2]["error"]["at"]) == (400, "kind")

    rest = lines(post(api, "/registry?after=3", body, LINES))
    assert [(each["line"], each["result"]) for each in rest] == [(4, "unchanged")]


def test_csv_has_a_head_line(api):
    value = api.value()
    body = f"kind,system,value,name\r\ndevice,{SID}asset,{value},床边监护仪\r\ndevice,,,x\r\n"

    first, second = lines(post(api, "/registry", body.encode(), "text/csv"))

    assert (first["line"], first["result"]) == (2, "created")
    assert second["status"] == 400


@pytest.mark.parametrize(
    ("body", "status"), [(b"kind,value\n\xff\xfe", 400), (b"", 200), (b"kind\n\x00,\n", 200)]
)
def test_a_csv_that_cannot_be_read_is_answered(api, body, status):
    answer = post(api, "/registry", body, "text/csv")

    assert answer.status == status
    assert all(each["status"] == 400 for each in (lines(answer) if status == 200 else []))


def test_an_oid_a_uri_and_a_token_of_one_system_find_the_same(api):
    number, oid = api.value(), "1.2.156.99999.77"
    uri = f"https://hospital.example/{number}"
    api.create(
        {"resourceType": "Patient", "identifier": [{"system": f"urn:oid:{oid}", "value": number}]}
    )

    assert api.get(f"/registry?code={uri}|{number}").json["entities"] == []
    row = {"oid": oid, "name": "Hospital77", "uri": f"{uri}x", "kind": "identifier"}
    assert post(api, "/oid", row).status == 201

    for spelling in (f"{uri}x|{number}", f"urn:oid:{oid}|{number}", f"{number}^^^NS%26{oid}%26ISO"):
        assert len(api.get(f"/registry?code={spelling}").json["entities"]) == 1, spelling


def test_the_oid_tree_is_browsed_up_and_down(api):
    for oid, name in (
        ("2.16.156.4711", "Root"),
        ("2.16.156.4711.5", "Five"),
        ("2.16.156.4711.10.2", "TenTwo"),
        ("2.16.156.4711.5.1", "FiveOne"),
    ):
        assert post(api, "/oid", {"oid": oid, "name": name, "responsible": "H"}).status == 201

    root = api.get("/oid/2.16.156.4711").json
    leaf = api.get("/oid/urn:oid:2.16.156.4711.5.1").json
    unknown = api.get("/oid/2.16.156.4711.5.9").json

    assert [arc["oid"] for arc in root["children"]] == ["2.16.156.4711.5", "2.16.156.4711.10.2"]
    assert root["namingSystem"]["name"] == "Root"
    assert [arc["name"] for arc in leaf["parents"]] == ["Root", "Five"]
    assert (unknown["registered"], unknown["parents"][-1]["name"]) == (False, "Five")
    assert api.get("/oid/1.3.6.1.4.1.55555").status == 404
    assert api.get("/oid/9.9").status == 400


def test_a_delegated_arc_says_to_whom(api):
    rules = shipped_rules()
    peer = Peer("b", "127.0.0.1", 1, secure=False, path="", prefixes=["oid:1.2.156.4713"])
    hub = OneProcess(api.hub.store, Options(peers=Peers("a", [peer])))
    here = Api(hub, [registry.blueprint(hub, rules.kinds)])

    found = here.get("/oid/1.2.156.4713.1").json

    assert found["registered"] is False
    assert found["delegatedTo"] == {"hub": "b", "prefix": "oid:1.2.156.4713"}


def test_an_arc_registered_again_is_the_same_arc(api):
    first = post(api, "/oid", {"oid": "1.2.156.4712", "name": "Before"})
    again = post(api, "/oid", {"oid": "1.2.156.4712", "name": "After"})

    assert first.json["resource"] == again.json["resource"]
    assert api.get("/oid/1.2.156.4712").json["name"] == "After"


def test_a_registered_link_is_followed_until_it_is_withdrawn(api):
    item = "(01)09521234000037(21)" + api.value()
    row = {"kind": "device", "code": item}
    assert post(api, "/registry", row).status == 201
    link = {
        "relation": "packed-in",
        "from": item,
        "to": "(00)006141411234567890",
        "start": "2026-03-01",
    }

    made = post(api, "/links", link)

    found = api.get("/trace?code=(00)006141411234567890&kinds=packed-in").json
    (edge,) = [each for each in found["edges"] if each["relation"] == "packed-in"]
    assert edge["source"] == made.json["resource"]
    assert any(node["id"].startswith("Device/") for node in found["nodes"])

    api.delete(made.json["resource"])
    assert api.get("/trace?code=(00)006141411234567890").status in (200, 404)
    left = api.get(f"/trace?code={item}").json
    assert all(each["relation"] != "packed-in" for each in left["edges"])


@pytest.mark.parametrize(
    ("path", "row"),
    [
        ("/registry", {"kind": "device"}),
        ("/registry", {"kind": "device", "code": "(01)123"}),
        ("/registry", {"kind": "device", "value": 7}),
        ("/links", {"relation": "eaten-by", "from": "Device/1", "to": "Device/2"}),
        ("/links", {"relation": "same-as", "from": "Device/1", "to": "??"}),
        ("/oid", {"oid": "1.2.3"}),
        ("/oid", {"oid": "3.1", "name": "x"}),
        ("/oid", "1.2"),
    ],
)
def test_a_wrong_row_is_refused(api, path, row):
    answer = post(api, path, json.dumps(row))

    assert answer.status == 400
