"""$lookup: R4 codesystem-operation-lookup.html."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import Invalid
from app.terminology.lookup import NotKnown, lookup
from tests.terminology.ward import WARD, call, parameter, wards


def found_properties(answer: Any) -> list[tuple[Any, ...]]:
    """Return code, value and description of each property."""
    return [
        tuple(next(v for k, v in part.items() if k != "name") for part in one["part"])
        for one in answer["parameter"]
        if one["name"] == "property"
    ]


def test_a_code_is_told_with_its_names():
    found = lookup(call(wards(), system=WARD, code="paed"))

    assert parameter(found, "name") == "Wards"
    assert parameter(found, "version") == "2.0.0"
    assert parameter(found, "display") == "Paediatrics"
    assert [
        next(p["valueString"] for p in one["part"] if p["name"] == "value")
        for one in found["parameter"]
        if one["name"] == "designation"
    ] == ["Paediatrics", "儿科"]


def test_the_display_comes_in_the_language_wanted():
    found = lookup(call(wards(), system=WARD, code="paed", displayLanguage="zh"))

    assert parameter(found, "display") == "儿科"


def test_all_properties_are_shown_when_all_are_asked_for():
    plain = lookup(call(wards(), system=WARD, code="surg"))
    whole = lookup(call(wards(), coding={"system": WARD, "code": "surg"}, property="*"))

    assert found_properties(plain) == [("inactive", False)]
    assert found_properties(whole) == [
        ("inactive", False),
        ("abstract", True),
        ("child", "card", "Cardiac surgery 2.0.0"),
        ("child", "neuro", "Neurosurgery"),
    ]
    assert parameter(whole, "abstract") is True
    assert parameter(whole, "definition") == "All that cut"


@pytest.mark.parametrize(
    "given",
    [
        {"system": WARD, "code": "none"},
        {"system": "http://other.example", "code": "x"},
        {"system": WARD, "code": "paed", "version": "9"},
    ],
)
def test_what_is_not_known_is_an_error(given: dict[str, str]):
    with pytest.raises(NotKnown):
        lookup(call(wards(), **given))


def test_a_code_without_a_system_is_no_question():
    with pytest.raises(Invalid):
        lookup(call(wards(), code="paed"))
