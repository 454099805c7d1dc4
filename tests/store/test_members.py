"""What is known of a resource member by member is what the resource says as a whole."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from app.fhir import definitions, validate
from app.fhir import json as fhir_json
from app.registry.indexed import identifier_keys
from app.store import entries
from app.store.members import Pieces
from tests import generate

ZONE = ZoneInfo("Asia/Shanghai")
BASES = ("https://here.example/fhir/",)
AS_A_WHOLE = {"MolecularSequence"}  # a parameter of it begins at the resource again


def pieces() -> Pieces:
    return Pieces(3, ZONE, BASES, identifier_keys)


def together(known: Pieces, type_name: str, body: bytes) -> dict[str, object] | None:
    found = known.entries(type_name, body)
    return None if found is None else content(found)


def as_a_whole(type_name: str, body: bytes) -> dict[str, object]:
    return content(
        entries.entries_of(
            type_name,
            fhir_json.load(body),
            tenant=3,
            zone=ZONE,
            bases=BASES,
            identifier_keys=identifier_keys,
        )
    )


def content(found: entries.Entries) -> dict[str, object]:
    return {
        name: set(value) if isinstance(value := getattr(found, name), list) else value
        for name in found.__struct_fields__
    }


@pytest.mark.parametrize("type_name", definitions.resource_types())
def test_members_together_give_the_entries_of_the_resource(type_name: str) -> None:
    known = pieces()
    looked_at = 0
    for seed in (0, 1, 0):  # the last one from memory
        made = generate.resource(type_name, seed)
        for resource in (made, generate.minimal(type_name), *without_one_each(made)):
            body = fhir_json.compact(generate.body(resource))

            found = together(known, type_name, body)

            assert (found is None) or validate.check(fhir_json.load(body), type_name)
            if found is not None:
                looked_at += 1
                assert found == as_a_whole(type_name, body)
    assert bool(looked_at) is (type_name not in AS_A_WHOLE)


def without_one_each(resource: dict) -> list[dict]:
    """Return the resource without each of its members; some of these are not valid."""
    return [
        {name: value for name, value in resource.items() if name != left_out}
        for left_out in resource
        if left_out != "resourceType"
    ]


RESULT = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
    "valueQuantity": {"value": 70, "code": "/min", "system": "http://unitsofmeasure.org"},
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "done"},
        {"status": ["final"]},
        {"code": {}},
        {"code": None},
        {"sttus": "final"},
        {"valueString": "two values"},
        {"subject": {"reference": "Encounter/1"}},
        {"effectiveDateTime": "2024-02-30"},
        {"note": []},
        {"_status": {"id": "a"}},
        {"subject": {"reference": "#nobody"}},
        {"contained": [{"resourceType": "Patient", "id": "p"}]},
    ],
)
def test_what_is_not_right_or_not_alone_is_left_to_who_looks_at_the_whole(wrong: dict) -> None:
    known = pieces()
    assert together(known, "Observation", generate.body(RESULT)) is not None

    for _ in range(2):
        body = fhir_json.compact(generate.body({**RESULT, **wrong}))
        assert together(known, "Observation", body) is None

    assert together(known, "Observation", generate.body(RESULT)) is not None


def test_a_type_whose_members_are_always_new_is_looked_at_as_a_whole_for_a_while() -> None:
    known = pieces()

    found = [
        together(
            known,
            "Basic",
            generate.body(
                {
                    "resourceType": "Basic",
                    "code": {"text": f"{number}"},
                    "created": f"2024-01-{number % 28 + 1:02d}",
                    "subject": {"reference": f"Patient/{number}"},
                }
            ),
        )
        for number in range(6000)
    ]

    answers = [one is not None for one in found]
    first = answers.index(False)
    assert 300 < first < 400
    assert answers.index(True, first) == first + 4096


def test_what_is_remembered_is_bounded() -> None:
    known = pieces()
    for number in range(3000):
        body = generate.body({**RESULT, "issued": f"2024-01-01T00:00:00.{number:04d}Z"})
        assert together(known, "Observation", fhir_json.compact(body)) is not None

    steps = known._kinds["Observation"].steps.values()
    assert max(len(step.known) for step in steps) <= 1024
