"""/id: any code is read, and a registered one leads to its resources (identifiers.md 2 and 7)."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from app.registry.indexed import identifier_keys

UDI = "(01)09521234000037(21)P100"
SCANNED = "]d20109521234000037" + "21P100"
LINK = "https://id.example.org/01/09521234000037/21/P100"
EPC = "urn:epc:id:sgtin:9521234.000003.P100"


def asked(api, code, **more):
    query = "&".join(f"{name}={quote(value)}" for name, value in {"code": code, **more}.items())
    answer = api.get(f"/id?{query}")
    assert answer.status == 200, answer.body
    return answer.json


@pytest.fixture(scope="module")
def ward(api):
    """A hospital's monitor that measured a patient twice."""
    owner = api.create({"resourceType": "Organization", "name": "西湖医院"})
    patient = api.create({"resourceType": "Patient", "name": [{"family": "张", "given": ["伟"]}]})
    device = api.create(
        {
            "resourceType": "Device",
            "udiCarrier": [{"deviceIdentifier": "09521234000037", "carrierHRF": UDI}],
            "manufacturer": "演示医疗",
            "modelNumber": "CM-10",
            "owner": {"reference": f"Organization/{owner['id']}"},
        }
    )
    for hour, rate in ((8, 72.5), (9, 84)):
        api.create(
            {
                "resourceType": "Observation",
                "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
                "subject": {"reference": f"Patient/{patient['id']}"},
                "device": {"reference": f"Device/{device['id']}"},
                "effectiveDateTime": f"2026-03-28T0{hour}:00:00+08:00",
                "valueQuantity": {"value": rate, "unit": "/min"},
            }
        )
    return {"owner": owner["id"], "patient": patient["id"], "device": device["id"]}


@pytest.mark.parametrize("code", [UDI, SCANNED, LINK, EPC], ids=["printed", "scan", "link", "epc"])
def test_every_carrier_of_a_udi_leads_to_the_same_device(api, ward, code):
    answer = asked(api, code)

    assert answer["canonical"] == "gs1:01:09521234000037:21:P100"
    assert [one["resource"] for one in answer["resolved"]] == [f"Device/{ward['device']}"]
    assert answer["resolved"][0]["display"] == "演示医疗 CM-10"


def test_a_device_tells_what_it_measured_on_whom_and_whose_it_is(api, ward):
    (device,) = asked(api, UDI)["resolved"]

    assert device["observations"]["total"] == 2
    assert [one["value"] for one in device["observations"]["listed"]] == ["84 /min", "72.5 /min"]
    assert device["observations"]["listed"][0]["display"] == "8867-4"
    assert device["patient"]["resource"] == f"Patient/{ward['patient']}"
    assert device["patient"]["display"] == "张伟"
    assert device["owner"]["display"] == "西湖医院"


def test_a_device_tells_on_whom_it_is_said_to_be_used(api):
    item = {"resourceType": "Device", "udiCarrier": [{"carrierHRF": "(01)09521234000037(21)USED"}]}
    device = {"reference": f"Device/{api.create(item)['id']}"}
    patients = [api.create({"resourceType": "Patient"})["id"] for _ in range(2)]
    uses = [
        {"status": "completed", "timingPeriod": {"start": "2026-03-01", "end": "2026-03-05"}},
        {"status": "active", "timingPeriod": {"start": "2026-03-06"}},
    ]
    for patient, use in zip(patients, uses, strict=True):
        subject = {"reference": f"Patient/{patient}"}
        kind = {"resourceType": "DeviceUseStatement"}
        api.create({**kind, "device": device, "subject": subject, **use})

    (told,) = asked(api, "(01)09521234000037(21)USED")["resolved"]

    assert {(one["subject"], one.get("end")) for one in told["uses"]} == {
        (f"Patient/{patients[0]}", "2026-03-05"),
        (f"Patient/{patients[1]}", None),
    }
    assert told["patient"]["resource"] == f"Patient/{patients[1]}"


@pytest.mark.parametrize("query", ["", "&as=gtin", "&as=nothing", "&at=2026-04-01", "&at=never"])
def test_the_answer_is_the_same_with_and_without_the_short_way(api, ward, query):
    path = f"/id?code={quote(UDI)}{query}"

    short, long = api.get(path), api.get(path, Yilian_Hop="http://another.example")

    assert (short.status, short.body) == (long.status, long.body)
    assert short.headers["Content-Type"] == long.headers["Content-Type"]


def test_more_readings_than_are_listed_are_counted(api):
    item = {"resourceType": "Device", "udiCarrier": [{"carrierHRF": "(01)09521234000037(21)BUSY"}]}
    device = api.create(item)
    reading = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "pulse"},
        "device": {"reference": f"Device/{device['id']}"},
    }
    for minute in range(12):
        api.create({**reading, "effectiveDateTime": f"2026-03-28T08:{minute:02}:00+08:00"})

    observations = asked(api, "(01)09521234000037(21)BUSY")["resolved"][0]["observations"]

    assert observations["total"] == 12
    assert observations["more"] is False
    assert [one["effective"][14:16] for one in observations["listed"]] == [
        f"{minute:02}" for minute in range(11, 1, -1)
    ]


def test_a_device_that_was_asked_for_before_is_told_as_it_is_now(api):
    code = "(01)09521234000037(21)AGAIN"
    owners = [api.create({"resourceType": "Organization", "name": name}) for name in ("A", "B")]
    device = {"resourceType": "Device", "udiCarrier": [{"carrierHRF": code}]}
    device["id"] = api.create(device)["id"]
    seen = [asked(api, code)["resolved"][0].get("owner")]
    for owner in owners:
        api.put(
            f"Device/{device['id']}",
            device | {"owner": {"reference": f"Organization/{owner['id']}"}},
        )
        seen.append(asked(api, code)["resolved"][0]["owner"]["display"])
    api.delete(f"Device/{device['id']}")

    assert seen == [None, "A", "B"]
    assert all(one["id"] != device["id"] for one in asked(api, code)["resolved"])


def test_a_time_in_the_past_shows_what_was_then(api, ward):
    (device,) = asked(api, UDI, at="2126-01-01")["resolved"]

    assert device["observations"]["total"] == 2
    assert asked(api, UDI, at="2026-03-28T08:30:00+08:00")["resolved"] == []


def test_the_item_leads_to_its_devices_when_the_unit_is_unknown(api, ward):
    found = asked(api, "(01)09521234000037(21)OTHER")["resolved"]

    assert {device["key"] for device in found} == {"gs1:01:09521234000037"}
    assert f"Device/{ward['device']}" in [device["resource"] for device in found]


@pytest.mark.parametrize(
    ("identifier", "code"),
    [
        ({"system": "urn:oid:2.16.156.10011.1.3", "value": "110105199003071239"},
         "110105199003071239"),
        ({"system": "urn:x-hospital:mrn", "value": "Aa-7"}, "urn:x-hospital:mrn|Aa-7"),
    ],
    ids=["resident id", "token"],
)  # fmt: skip
def test_a_number_leads_to_the_person(api, identifier, code):
    person = api.create({"resourceType": "Patient", "identifier": [identifier]})

    assert [one["id"] for one in asked(api, code)["resolved"]] == [person["id"]]


def test_what_is_changed_or_deleted_is_no_longer_found(api):
    code = "urn:x-moved:mrn|1"
    identifier = {"system": "urn:x-moved:mrn", "value": "1"}
    person = api.create({"resourceType": "Patient", "identifier": [identifier]})
    assert len(asked(api, code)["resolved"]) == 1

    api.put(f"Patient/{person['id']}", {"resourceType": "Patient", "id": person["id"]})
    assert asked(api, code)["resolved"] == []

    other = api.create({"resourceType": "Patient", "identifier": [identifier]})
    api.delete(f"Patient/{other['id']}")
    assert asked(api, code)["resolved"] == []


@pytest.mark.parametrize("code", ["", "(01)09521234000038(21)P100", "\udc00", "x" * 5000])
def test_a_code_that_cannot_be_read_is_answered_too(api, code):
    answer = api.post("/id", {"code": code}, Content_Type="application/json")

    assert answer.status == 200
    assert answer.json["valid"] is False
    assert answer.json["errors"]
    assert answer.json["resolved"] == []


def test_many_codes_are_answered_in_order_with_their_numbers(api):
    codes = [{"n": 7, "code": UDI}, "no object", {"n": 8, "code": "1.2.840.10008"}]

    answers = api.post("/id", codes, Content_Type="application/json").json

    assert [one.get("n") for one in answers] == [7, None, 8]
    assert [one["valid"] for one in answers] == [True, False, True]


def test_lines_are_answered_with_lines(api):
    lines = b'{"code":"1.2.840.10008"}\n\nnot json\n{"code":"' + UDI.encode() + b'"}\n'

    answer = api.post("/id", lines, Content_Type="application/x-ndjson")

    assert answer.headers["Content-Type"] == "application/x-ndjson"
    found = [json.loads(line)["valid"] for line in answer.body.splitlines()]
    assert found == [True, False, True]


@pytest.mark.parametrize(
    ("method", "path", "body", "at"),
    [
        ("GET", "/id", None, "http.code"),
        ("GET", "/id?code=1&at=noon", None, "http.at"),
        ("POST", "/id", b"{", None),
        ("POST", "/id", b"{}", "$.code"),
        ("POST", "/id", b'{"code":7}', "$.code"),
    ],
)
def test_a_broken_request_is_a_problem_with_its_place(api, method, path, body, at):
    answer = api.request(method, path, body, Content_Type="application/json")

    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["errors"][0].get("at") == at


def test_keys_come_from_identifiers_and_udi_carriers_of_any_type():
    definition = {
        "resourceType": "DeviceDefinition",
        "identifier": [{"system": "urn:x-a", "value": "1"}],
        "udiDeviceIdentifier": [
            {
                "deviceIdentifier": "09521234000037",
                "issuer": "http://hl7.org/fhir/NamingSystem/gs1-di",
            }
        ],
    }
    questions = {"resourceType": "QuestionnaireResponse", "identifier": {"value": "x"}}
    scanned = {"udiCarrier": [{"carrierAIDC": "MDEwOTUyMTIzNDAwMDAzNzIxUDEwMA=="}]}

    assert list(identifier_keys("DeviceDefinition", definition)) == [
        "id:urn:x-a|1",
        "gs1:01:09521234000037",
    ]
    assert list(identifier_keys("QuestionnaireResponse", questions)) == []
    assert list(identifier_keys("Device", scanned)) == [
        "gs1:01:09521234000037",
        "gs1:01:09521234000037:21:P100",
    ]
