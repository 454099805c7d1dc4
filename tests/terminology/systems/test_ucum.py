"""UCUM as a code system: validity with reasons, canonical forms, names, conversion."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.fhir import ucum
from app.terminology.systems import special
from app.terminology.systems.grammar import Explains
from app.terminology.systems.ucum import Ucum
from app.terminology.types import Filter, Selection

UCUM = Ucum()

CANONICAL = {
    "mL": "m3",
    "g/mol": "g",
    "mg/mmol{creat}": "g",
    "mmol/L": "m-3",
    "mg/dL{milligram per deciliter}": "g.m-3",
    "mm[Hg]": "g.m-1.s-2",
    "%": "1",
    "[pH]": "[pH]",
}

PROBLEMS = {
    "kgXX": "The unit 'kgXX' is unknown at character 1",
    "mg/dl/foo": "The unit 'foo' is unknown at character 7",
    "": "A unit is missing at character 1",
    "m(": "The parentheses are not balanced at character 2",
    "(m": "The parentheses are not balanced at character 3",
    "m m": "A character that UCUM does not have at character 2",
    "kg/0": "A factor of zero is no unit at character 4",
    "m100": "The exponent is too large at character 1",
    "Cel/min": "The scale 'Cel' has an offset, and so has to stand alone at character 1",
}

NAMES = {
    "mg/dL": ["(milligram) / (deciliter)", "毫克每分升"],
    "mg/dL{milligram per deciliter}": ["(milligram) / (deciliter) * 1", "毫克每分升"],
    "kg.m2": ["(kilogram) * (meter ^ 2)", "千克·平方米"],
    "/min": ["1 / (minute)", "每分钟"],
    "10*9/L": ["(the number ten for arbitrary powers ^ 9) / (liter)", "10的9次方每升"],
    "mm[Hg]": ["(millimeter of mercury column)", "毫米汞柱"],
}


@pytest.mark.parametrize("code", CANONICAL)
def test_a_unit_says_what_it_is_measured_in(code: str) -> None:
    concept = UCUM.find(code)

    assert concept is not None
    assert concept.display == code
    assert concept.properties[0].value == CANONICAL[code]


@pytest.mark.parametrize("code", PROBLEMS)
def test_what_is_no_unit_says_why_and_where(code: str) -> None:
    assert UCUM.find(code) is None
    assert UCUM.problem(code) == f"Error processing unit '{code}': {PROBLEMS[code]}"


@pytest.mark.parametrize("code", NAMES)
def test_a_unit_has_names_in_words(code: str) -> None:
    concept = UCUM.find(code)

    assert concept is not None
    assert [d.value for d in concept.designations] == NAMES[code]


def test_units_are_selected_by_what_they_measure() -> None:
    mass = [Filter("canonical", "=", "g")]

    assert "mg" in set(UCUM.select(Selection(mass)))
    assert "mL" not in set(UCUM.select(Selection(mass)))
    assert UCUM.matches("ug/mol", mass)
    assert not UCUM.matches("mL", mass)
    assert UCUM.mismatch("mL", mass) == "Code mL has canonical form m3, not g as required"


def test_the_listed_units_are_all_valid_and_each_is_listed_once() -> None:
    listed = list(UCUM.select(Selection()))

    assert len(listed) == len(set(listed)) == 1357
    assert all(UCUM.find(code) for code in listed)
    assert not UCUM.closed
    assert isinstance(special(UCUM.header["url"])[0], Explains)


@pytest.mark.parametrize(
    ("value", "one", "other", "expected"),
    [
        ("5.4", "mg", "g", "0.0054"),
        ("37", "Cel", "K", "310.15"),
        ("98.6", "[degF]", "Cel", "37"),
        ("120", "mm[Hg]", "kPa", "15.99864"),
        ("1", "h", "s", "3600"),
    ],
)
def test_values_are_converted_exactly(value: str, one: str, other: str, expected: str) -> None:
    assert ucum.convert(Decimal(value), one, other) == Decimal(expected)


def test_what_cannot_be_compared_is_not_converted() -> None:
    assert ucum.convert(Decimal(1), "mg", "mL") is None


@given(st.text(alphabet="mgLk/.(){}[]u 10*-2dCel%'", max_size=14))
def test_a_text_is_a_unit_or_has_a_reason(text: str) -> None:
    assert (UCUM.find(text) is None) == (UCUM.problem(text) is not None)


@given(st.sampled_from(["mg", "mL", "kPa", "[lb_av]", "h", "mm[Hg]"]), st.integers(1, 5))
def test_a_product_divided_by_itself_is_a_number(unit: str, times: int) -> None:
    product = ".".join([unit] * times)

    concept = UCUM.find(f"{product}/({product})")

    assert concept is not None
    assert concept.properties[0].value == "1"
