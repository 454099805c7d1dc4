"""R4 search.html#number and #prefix: the precision of a search value."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Invalid
from app.fhir import numbers

RANGES = {
    "100": ("99.5", "100.5"),
    "100.00": ("99.995", "100.005"),
    "1e2": ("95", "105"),
    "1.0e2": ("95", "105"),
    "1.00e2": ("99.5", "100.5"),
    "5.4e0": ("5.35", "5.45"),
    "5.4e-3": ("0.00535", "0.00545"),
    "1E-2": ("0.0095", "0.0105"),
    "-5": ("-5.5", "-4.5"),
    "+5": ("4.5", "5.5"),
    "0": ("-0.5", "0.5"),
    "0.0054": ("0.00535", "0.00545"),
    ".5": ("0.45", "0.55"),
    "123456789012345678.123": ("123456789012345678.1225", "123456789012345678.1235"),
}


@pytest.mark.parametrize("text", RANGES)
def test_the_digits_of_a_search_value_give_its_range(text: str) -> None:
    low, high = RANGES[text]

    found = numbers.parse_number_search(text)
    assert (found.low, found.high) == (Decimal(low), Decimal(high))


@pytest.mark.parametrize(
    "text", ["", "abc", "1,5", "1e", "1e9999", "NaN", "Infinity", "0x1", "１", "1_0", "--1", "5."]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        numbers.parse_number(text)


def test_prefixes_keep_the_exact_value_and_its_range() -> None:
    found = numbers.parse_number_search("le99.6")

    assert found == numbers.NumberSearch("le", Decimal("99.6"), Decimal("99.55"), Decimal("99.65"))


def test_approximately_is_ten_percent_but_never_narrower_than_equal() -> None:
    assert numbers.parse_number_search("ap5.4").low == Decimal("4.86")
    assert numbers.parse_number_search("ap-100").high == Decimal("-90")
    assert numbers.parse_number_search("ap1").low == Decimal("0.5")


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9
    )
)
def test_every_number_lies_in_its_own_range(value: Decimal) -> None:
    found = numbers.parse_number_search(str(value))

    assert found.low < found.value == value < found.high


@given(st.text(max_size=20))
def test_nothing_crashes_the_parser(text: str) -> None:
    with suppress(Invalid):
        numbers.parse_number_search(text)
