"""UCUM 2.2: canonical forms of the units that hospitals send."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.fhir import ucum

CANONICAL = {
    "1": ("1", "1"),
    "%": ("1", "1/100"),
    "{beats}": ("1", "1"),
    "mg": ("g", "1/1000"),
    "kg": ("g", "1000"),
    "mg/dL": ("g.m-3", "10"),
    "g/L": ("g.m-3", "1000"),
    "mmol/L": ("m-3.mol", "1"),
    "meq/L": ("m-3.mol", "1"),
    "mosm/kg": ("g-1.mol", "1/1000000"),
    "mm[Hg]": ("g.m-1.s-2", "133322"),
    "cm[H2O]": ("g.m-1.s-2", "98066.5"),
    "kPa": ("g.m-1.s-2", "1000000"),
    "/min": ("s-1", "1/60"),
    "{beats}/min": ("s-1", "1/60"),
    "1/min": ("s-1", "1/60"),
    "Hz": ("s-1", "1"),
    "10*9/L": ("m-3", "1000000000000"),
    "10*3/uL": ("m-3", "1000000000000"),
    "10^9/L": ("m-3", "1000000000000"),
    "10*-3": ("1", "1/1000"),
    "[iU]/L": ("[iU].m-3", "1000"),
    "m[IU]/mL": ("[iU].m-3", "1000"),
    "U/L": ("m-3.mol.s-1", "1/60000"),
    "ug/kg/min": ("s-1", "1/60000000000"),
    "ug/(kg.min)": ("s-1", "1/60000000000"),
    "mL/min/{1.73_m2}": ("m3.s-1", "1/60000000"),
    "kcal_th": ("g.m2.s-2", "4184000"),
    "[lb_av]": ("g", "453.59237"),
    "[in_i]": ("m", "0.0254"),
    "[ft_i]": ("m", "0.3048"),
    "m2": ("m2", "1"),
    "kg/m2": ("g.m-2", "1000"),
    "cm": ("m", "1/100"),
    "Cel": ("K", "1"),
    "K": ("K", "1"),
    "[degF]": ("K", "5/9"),
    "[pH]": ("[pH]", "1"),
    "dB": ("B", "1/10"),
    "a": ("s", "31557600"),
    "wk": ("s", "604800"),
    "B[10.nV]": ("B[10.nV]", "1"),
    "/[HPF]": ("1", "1"),
    "g{creat}": ("g", "1"),
    "g/(8.h){shift}": ("g.s-1", "1/28800"),
}


@pytest.mark.parametrize("code", CANONICAL)
def test_canonical_form(code: str) -> None:
    unit, factor = CANONICAL[code]

    found = ucum.canonical(code)

    assert found is not None
    assert (found.unit, found.factor) == (unit, Fraction(factor))


@pytest.mark.parametrize(
    "code",
    [
        "",
        "mgs",
        "Mg/dl/",
        "m g",
        "mg/",
        "mg//L",
        "(mg",
        "mg)",
        "Cel/min",
        "Cel2",
        "k[in_i]",
        "mm%",
        "10*100",
        "m{",
        "0",
        "毫克",
        "m²",
        "²",
        "x" * 5000,
        "(" * 120,
        "[",
        "{é}",
    ],
)
def test_what_is_no_comparable_unit_has_no_canonical_form(code: str) -> None:
    assert ucum.canonical(code) is None


@pytest.mark.parametrize(
    ("value", "code", "other", "same"),
    [
        ("5.4", "mg", "g", "0.0054"),
        ("37", "Cel", "[degF]", "98.6"),
        ("72", "/min", "Hz", "1.2"),
        ("120", "mm[Hg]", "kPa", "15.99864"),
        ("180", "[lb_av]", "kg", "81.6466266"),
        ("98", "%", "1", "0.98"),
    ],
)
def test_equal_amounts_are_equal_numbers(value: str, code: str, other: str, same: str) -> None:
    one, two = ucum.canonical(code), ucum.canonical(other)

    assert one is not None
    assert two is not None
    assert one.of(Decimal(value)) == two.of(Decimal(same))


def test_comparable() -> None:
    assert ucum.comparable("mg/dL", "g/L")
    assert not ucum.comparable("mg/dL", "mmol/L")
    assert not ucum.comparable("mmol/L", "10*9/L")
    assert not ucum.comparable("[iU]/L", "U/L")
    assert not ucum.comparable("nonsense", "nonsense")


def test_every_atom_has_a_canonical_form() -> None:
    missing = [code for code in ucum._atoms() if ucum.canonical(code) is None]

    assert missing == []


@given(st.text(alphabet="mgLskdu10*^/.(){}[]+-2iUCelHz%'", max_size=40))
def test_nothing_crashes_the_reader(code: str) -> None:
    found = ucum.canonical(code)

    assert found is None or found.factor > 0
