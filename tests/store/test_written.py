"""What is written and indexed member by member is what the resource is and says as a whole."""

from __future__ import annotations

import itertools
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from app.fhir import definitions, validate
from app.fhir import json as fhir_json
from app.registry.indexed import identifier_keys
from app.store import entries, members, prepare
from app.store.written import Writing
from tests import generate

ZONE = ZoneInfo("Asia/Shanghai")
ID = "11111111-2222-8333-8444-555555555555"


def writing() -> Writing:
    return Writing(members.Pieces(3, ZONE, (), identifier_keys))


def indexed(writing: Writing, resource: dict, local: dict) -> tuple[bytes, dict | None]:
    """Return a body and its index entries as they can be compared."""
    written = writing.write(ID, resource, local)
    found = writing.entries(written)
    if found is None:
        return written.body, None
    rows, words = found
    if words:
        more = prepare.unpacked_words(words)
        rows.codes, rows.texts, rows.units = more.codes, more.texts, more.units
    return written.body, content(rows)


def as_a_whole(type_name: str, body: bytes) -> dict:
    return content(
        entries.entries_of(
            type_name, fhir_json.load(body), tenant=3, zone=ZONE, identifier_keys=identifier_keys
        )
    )


def content(found: entries.Entries) -> dict:
    return {
        name: sorted(value) if isinstance(value := getattr(found, name), list) else value
        for name in found.__struct_fields__
    }


@pytest.mark.parametrize("type_name", definitions.resource_types())
def test_members_together_are_the_resource(type_name: str) -> None:
    known = writing()
    for seed in (0, 1, 0, 0):  # the last ones from memory
        made = fhir_json.load(generate.body(generate.resource(type_name, seed)))

        body, found = indexed(known, made, {})

        assert fhir_json.load(body) == {**made, "id": ID}
        assert (found is None) or validate.check(fhir_json.load(body), type_name)
        assert found is None or found == as_a_whole(type_name, body)


def uuid(number: int) -> str:
    return f"{number:08x}-2222-8333-8444-555555555555"


def said(*numbers: int) -> dict:
    """Return a Provenance about Patient, Observation and something that is not kept."""
    return {
        "resourceType": "Provenance",
        "target": [{"reference": f"urn:uuid:{uuid(number)}"} for number in numbers],
        "recorded": "2024-05-01T00:00:00Z",
        "agent": [{"who": {"identifier": {"value": "hub"}}}],
    }


@pytest.mark.parametrize("numbers", [(1, 2, 9), (1, 1, 2), (9,), (2, 9, 9, 1)])
def test_references_of_a_message_lead_to_its_resources(numbers: tuple[int, ...]) -> None:
    known = writing()
    for message in range(4):  # the pattern is learnt at the second, used from the third
        own = [number + 100 * message for number in numbers]
        local = {
            uuid(1 + 100 * message).encode(): b"Patient",
            uuid(2 + 100 * message).encode(): b"Observation",
        }

        body, found = indexed(known, said(*own), local)

        targets = [one["reference"] for one in fhir_json.load(body)["target"]]
        types = {1: "Patient/", 2: "Observation/", 9: "urn:uuid:"}
        assert targets == [types[number % 100] + uuid(number) for number in own]
        assert found == as_a_whole("Provenance", body)


def test_a_shared_value_is_written_for_the_message_that_says_it() -> None:
    known = writing()
    shared = [{"reference": f"urn:uuid:{uuid(1)}"}]
    resource = {**said(), "target": shared}

    bodies = [known.write(ID, resource, local).body for local in ({uuid(1).encode(): b"Group"}, {})]

    assert [fhir_json.load(body)["target"][0]["reference"] for body in bodies] == [
        f"Group/{uuid(1)}",
        f"urn:uuid:{uuid(1)}",
    ]


RESULT = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
    "valueQuantity": {"value": Decimal("70.10"), "code": "/min"},
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "done"},
        {"code": {}},
        {"sttus": "final"},
        {"valueString": "two values"},
        {"subject": {"reference": "Encounter/1"}},
        {"effectiveDateTime": "2024-02-30"},
        {"subject": {"reference": "#nobody"}},
        {"contained": [{"resourceType": "Patient", "id": "p"}]},
    ],
)
def test_what_is_not_right_or_not_alone_is_left_to_who_looks_at_the_whole(wrong: dict) -> None:
    known = writing()

    answers = [indexed(known, {**RESULT, **more}, {})[1] for more in ({}, wrong, wrong, {})]

    assert [one is None for one in answers] == [False, True, True, False]


def test_numbers_keep_their_digits_and_meta_stands_in_front() -> None:
    body = writing().write(ID, {**RESULT, "meta": {"source": "urn:a"}}, {}).body

    assert body.startswith(
        b'{"resourceType":"Observation","id":"%b","meta":{"source":"urn:a"},"status":"final"'
        % ID.encode()
    )
    assert b'"value":70.10,' in body


@pytest.mark.parametrize(
    ("meta", "inside"),
    [
        ({"source": "urn:a"}, True),
        ({}, False),
        ({"versionId": "1"}, False),
        ({"lastUpdated": "2024-01-01T00:00:00Z", "source": "urn:a"}, False),
    ],
)
def test_what_the_server_says_is_put_where_meta_begins(meta: dict, inside: bool) -> None:
    written = writing().write(ID, {**RESULT, "meta": meta}, {})

    assert written.front == (fhir_json.front(written.body, fhir_json.load(written.body)))
    assert (written.front > 0) is inside


def test_what_is_remembered_is_bounded() -> None:
    known = writing()
    for number in range(2500):
        for local in ({}, {}):
            status = [{"text": f"{number}"}]
            assert indexed(known, {**RESULT, "interpretation": status}, local)[1] is not None

    slots = list(known._types["Observation"].slots.values())
    remembered = itertools.chain.from_iterable((one.known, one.patterns) for one in slots)
    assert max(map(len, remembered)) <= 1024
    assert all(len(form.joints) <= 1024 for form in known._types["Observation"].forms.values())
