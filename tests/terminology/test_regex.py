"""Regular expressions of value sets: R4 valueset.html#filter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.terminology.regex import bounds, whole


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("I10\\.x.*", "I10.x00x002", "I11"),
        ("(A00|A01)\\..*", "A01.1", "A02"),
        ("^B2$", "B2", "B20"),
        ("心.*", "心脏外科", "骨科"),
        ("[C-D].", "C1", "E1"),
        ("(?i)ab.*", "Abc", "b"),
    ],
)
def test_a_pattern_with_a_fixed_beginning_has_a_narrow_range(pattern, inside, outside):
    low, high = bounds(pattern)

    assert low <= inside <= high
    assert not low <= outside <= high


def test_a_pattern_with_any_beginning_has_none():
    assert bounds(".*x") == ("", "\U0010ffff")


_PART = st.sampled_from(["a", "B", "é", "心", "\U0001f600", ".", ".*", "[a-c]", "\\d", "(x|心y)"])
_TIMES = st.sampled_from(["", "", "?", "*", "+", "{2}"])
_PATTERN = st.lists(st.tuples(_PART, _TIMES), min_size=1, max_size=12).map(
    lambda parts: "".join(a if a == ".*" else a + n for a, n in parts)
)


@given(pattern=st.one_of(_PATTERN, _PATTERN.map("(?i){}".format)), data=st.data())
def test_what_fits_is_in_the_range(pattern, data):
    text = data.draw(st.from_regex(pattern, fullmatch=True))
    low, high = bounds(pattern)

    assert "\0" not in low + high
    assert not whole(pattern)(text) or low <= text <= high


@pytest.mark.parametrize(
    ("pattern", "text"),
    [("心" * 20 + ".*", "心" * 21), ("(?i)k", "\u212a"), ("a|(bc)*", ""), ("[^a]b", "\x01b")],
)
def test_long_and_odd_beginnings_are_in_the_range(pattern, text):
    low, high = bounds(pattern)

    assert whole(pattern)(text)
    assert low <= text <= high
