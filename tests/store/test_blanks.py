"""Members that differ in a value alone come to what each of them says as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.fhir import json as fhir_json
from app.fhir import validate
from app.registry.indexed import identifier_keys
from app.store import entries, prepare
from app.store.blanks import cut
from app.store.members import Pieces
from app.store.written import Writing
from tests import generate

ZONE = ZoneInfo("Asia/Shanghai")
ID = "11111111-2222-8333-8444-555555555555"
UCUM = "http://unitsofmeasure.org"
MRN = {"type": {"coding": [{"system": "urn:t", "code": "MR"}], "text": "number"}}
CODE = {"coding": [{"system": "urn:c", "code": "a"}]}

Made = Callable[[Any], dict[str, Any]]


def observation(**members: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", "code": CODE, **members}


def patient(**members: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **members}


TEXTS: dict[str, Made] = {
    "identifier": lambda x: observation(identifier=[{"system": "urn:s", "value": x}]),
    "record": lambda x: observation(
        identifier=[{"system": "https://yilian.example/fhir/sid/record", "value": x}]
    ),
    "no-system": lambda x: observation(identifier=[{"value": x}]),
    "typed": lambda x: patient(identifier=[{**MRN, "system": "urn:s", "value": x}]),
    "gtin": lambda x: patient(identifier=[{"system": "https://www.gs1.org/gtin", "value": x}]),
    "two": lambda x: patient(
        identifier=[{"system": "urn:s", "value": x}, {**MRN, "value": "a" + x}]
    ),
    "telecom": lambda x: patient(telecom=[{"system": "phone", "value": x}]),
    "named": lambda x: observation(subject={"identifier": {"system": "urn:s", "value": x}}),
    "source": lambda x: observation(meta={"source": x}),
    "code": lambda x: patient(gender=x),
    "string": lambda x: {"resourceType": "Location", "name": x},
}
NUMBERS: dict[str, Made] = {
    "quantity": lambda x: observation(
        valueQuantity={"value": x, "unit": "a", "system": UCUM, "code": "g"}
    ),
    "below": lambda x: observation(valueQuantity={"value": x, "comparator": "<"}),
    "from": lambda x: observation(valueQuantity={"value": x, "comparator": ">="}),
    "range": lambda x: observation(valueRange={"low": {"value": x}, "high": {"value": 9}}),
    "reference-range": lambda x: observation(
        referenceRange=[{"low": {"value": x}, "high": {"value": x}}]
    ),
    "component": lambda x: observation(
        component=[{"code": CODE, "valueQuantity": {"value": x, "unit": "a"}}]
    ),
    "money": lambda x: {"resourceType": "Invoice", "totalNet": {"value": x, "currency": "EUR"}},
}
TIMES: dict[str, Made] = {
    "primary": lambda x: observation(effectiveDateTime=x),
    "instant": lambda x: observation(issued=x),
    "birth": lambda x: patient(birthDate=x),
    "death": lambda x: patient(deceasedDateTime=x),
    "recorded": lambda x: {
        "resourceType": "Provenance",
        "target": [{"reference": "Patient/1"}],
        "recorded": x,
        "occurredDateTime": x,
        "agent": [{"who": {"identifier": {"value": x}}}],
    },
}
USUAL: dict[str, tuple[str | float, ...]] = {"text": ("A1", "b-2", "c"), "number": (1.5, 2, 0.25)}
TIMES_USUAL = ("2024-05-01", "2024-05-02T03:04:05+08:00", "2024-05-03T00:00:00.5Z", "2024", "x")


def written(known: Writing, resource: dict[str, Any]) -> tuple[bytes, dict[str, Any] | None]:
    """Return a body and its entries, as a feed states them."""
    made = known.write(ID, resource, {})
    found = known.entries(made)
    if found is None:
        return made.body, None
    rows, words = found
    if words:
        more = prepare.unpacked_words(words)
        rows.codes, rows.texts, rows.units = more.codes, more.texts, more.units
    return made.body, content(rows)


def whole(body: bytes) -> dict[str, Any] | None:
    """Return the entries of a resource that is looked at as a whole; None: it is not valid."""
    resource = fhir_json.load(body)
    name = resource["resourceType"]
    if not validate.check(resource, name):
        return None
    return content(
        entries.entries_of(name, resource, tenant=3, zone=ZONE, identifier_keys=identifier_keys)
    )


def content(found: entries.Entries) -> dict[str, Any]:
    return {
        name: sorted(value) if isinstance(value := getattr(found, name), list) else value
        for name in found.__struct_fields__
    }


def agrees(make: Made, usual: tuple[Any, ...], value: Any) -> None:
    """See that values learnt from the usual ones come to the same, both ways they are met."""
    pieces = Pieces(3, ZONE, (), identifier_keys)
    known = Writing(Pieces(3, ZONE, (), identifier_keys))
    for one in (*usual, value, *usual, value):
        body, stated = written(known, make(one))
        posted = pieces.entries(make(one)["resourceType"], body)

        expected = whole(body)

        assert stated == expected
        assert (None if posted is None else content(posted)) == expected


texts = st.text(max_size=12) | st.sampled_from(
    ["", " ", "a b", 'a"b', "a\\b", "\x00", "#x", "号", "04006381333931", "x" * 300, "'", "urn:a"]
)


@pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS)
@settings(max_examples=30)
@given(value=texts)
def test_texts(make: Made, value: str) -> None:
    agrees(make, USUAL["text"], value)


@pytest.mark.parametrize("make", NUMBERS.values(), ids=NUMBERS)
@settings(max_examples=30)
@given(
    value=st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False, places=3)
    | st.just("1")
)
def test_numbers(make: Made, value: Any) -> None:
    agrees(make, USUAL["number"], value)


@pytest.mark.parametrize("make", TIMES.values(), ids=TIMES)
@settings(max_examples=30)
@given(
    value=st.datetimes(timezones=st.timezones()).map(lambda at: at.isoformat())
    | st.dates().map(str)
    | st.sampled_from(["2024-02-30", "2024-02-29T23:59:60Z", "0000-01-01", "2024-1-1", ""])
)
def test_times(make: Made, value: str) -> None:
    agrees(make, TIMES_USUAL[:4], value)


def test_what_stands_beside_a_blank_is_not_taken_for_it() -> None:
    known = Writing(Pieces(3, ZONE, (), identifier_keys))
    for number in range(4):
        assert written(known, TEXTS["identifier"](f"A{number}"))[1] is not None
    odd = [{"system": "urn:s", "value": "A", "use": "none"}]
    more = [{"system": "urn:s", "value": "A", "period": {"start": "2024"}}]

    answers = [written(known, observation(identifier=one)) for one in (odd, more)]

    assert answers[0][1] is None
    assert answers[1][1] == whole(answers[1][0])


@pytest.mark.parametrize(
    ("text", "blanks"),
    [
        (b'"2024"', [b'"2024"']),
        (b'{"value":1.5,"unit":"a"}', [b"1.5"]),
        (b'[{"value":"a"},{"value":"b"}]', [b'"a"', b'"b"']),
        (b'{"value":{"value":1}}', None),
        (b'{"value":"a\\"b"}', None),
        (b'{"code":"a"}', None),
    ],
)
def test_a_member_is_cut_at_its_values(text: bytes, blanks: list[bytes] | None) -> None:
    found = cut(text, 0)

    assert (None if found is None else list(found[1])) == blanks


def test_any_resource_says_the_same_again() -> None:
    pieces = Pieces(3, ZONE, (), identifier_keys)
    for name in ("Patient", "Observation", "Device", "MedicationRequest", "Claim"):
        for seed in (0, 1, 2, 0, 1, 2, 0):
            body = fhir_json.compact(generate.body(generate.resource(name, seed)))
            found = pieces.entries(name, body)
            assert found is None or content(found) == whole(body)
