"""Lexical rules of the primitive types: http://hl7.org/fhir/R4/datatypes.html#primitive."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.fhir.primitives import INLINE, INLINE_NAMES, MAX_STRING, RULES, has_json_kind
from tests.generate import RELAXED

CASES = {
    "boolean": ([True, False], ["true", 1, 0, None, ""]),
    "integer": (
        [0, -5, 2147483647, -2147483648],
        [True, 1.0, "1", 2147483648, -2147483649, None],
    ),
    "unsignedInt": ([0, 2147483647], [-1, 2147483648, False, 0.5]),
    "positiveInt": ([1, 2147483647], [0, -1, 2147483648, True]),
    "decimal": (
        [0, 1.5, -3, 1e10, Decimal("1.00"), 123456789012345678901234567890.0],
        [True, "1.5", float("nan"), float("inf"), float("-inf"), Decimal("NaN"), None],
    ),
    "string": (
        ["a", "a\tb\r\nc", " a ", "张三", "\u3000", "😀", "\x7f", "𠮷"],
        [
            "",
            "a\x00",
            "a\x0b",
            "a\uffff",
            "a\ud800",
            "\x1f",
            5,
            None,
            ["a"],
            "x" * (MAX_STRING + 1),
        ],
    ),
    "markdown": (["# a\n\n* b", "x" * MAX_STRING], ["", "\x00", True]),
    "uri": (
        ["http://loinc.org", "urn:oid:1.2.3", "a", "http://例え/路径", "#x"],
        ["", "a b", "a\n", " a", "a\u3000b", "a\u00a0b", "a\x00b", "a\ufffe", 7],
    ),
    "url": (["https://a/b?c=d"], ["", "a b"]),
    "canonical": (["http://a/ValueSet/x|1.0"], ["", "a b|1"]),
    "oid": (
        ["urn:oid:1.2.3", "urn:oid:2.16.840.1.113883.6.1", "urn:oid:1.0.5"],
        ["1.2.3", "urn:oid:3.2", "urn:oid:1", "urn:oid:1.02", "urn:oid:1..2", "urn:oid:1.2."],
    ),
    "uuid": (
        ["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"],
        [
            "c757873d-ec9a-4326-a141-556f43239520",
            "urn:uuid:C757873D-EC9A-4326-A141-556F43239520",
            "urn:uuid:c757873dec9a4326a141556f43239520",
        ],
    ),
    "id": (["a", "A-1.b", "x" * 64], ["", "x" * 65, "a_b", "a b", "é", "a/b", "٣", "a\n"]),
    "code": (
        ["final", "entered-in-error", "a b", "<=", "张"],
        ["", " a", "a ", "a  b", "a\tb", "a\nb", "\n", "a\u00a0b", 3],
    ),
    "base64Binary": (
        ["YQ==", "YWJj", "YW\nJj", " YWJj ", "+/+/"],
        ["", "YQ", "YQ=", "YQ===", "Y?==", " ", "张三", 4],
    ),
    "date": (
        ["2024", "2024-02", "2024-02-29", "2000-02-29", "2023-12-31", "0001", "9999-12-31"],
        [
            *("0000", "2024-13", "2024-00", "2024-02-30", "2023-02-29", "1900-02-29"),
            *("2024-04-31", "24", "2024-1-1", "2024-01-01T00:00:00Z", "", "2024-", "٢٠٢٤"),
            *("2024-01-00", "2024-01-32", "0000-01-01", "2024-01-01\n", 2024),
        ],
    ),
    "dateTime": (
        [
            *("2024", "2024-02", "2024-02-29", "2024-02-29T23:59:59Z", "2024-01-01T00:00:00+14:00"),
            *("2024-01-01T00:00:00.123456789-13:59", "2016-12-31T23:59:60Z"),
        ],
        [
            *("2024-01-01T00:00:00", "2024-01-01T00:00Z", "2024-01-01T24:00:00Z", "2024-01T00:00Z"),
            *("2024-02-30T00:00:00Z", "2024-01-01 00:00:00Z", "2024-01-01T00:00:00+14:01"),
            *("2024-01-01T00:00:00z", "2024-01-01T00:60:00Z", "2024-01-01T00:00:00.Z"),
            *("2024-01-01T00:00:00+0800", "2023-02-29T00:00:00Z", "2024-06-31T00:00:00Z"),
        ],
    ),
    "instant": (
        ["2024-02-29T23:59:59Z", "2024-01-01T00:00:00.1+08:00"],
        ["2024", "2024-01-01", "2024-01-01T00:00:00", "2024-02-30T00:00:00Z"],
    ),
    "time": (
        ["00:00:00", "23:59:59.999", "12:00:60"],
        ["24:00:00", "12:00", "12:00:00Z", "1:00:00", "12:60:00", "12:00:61", ""],
    ),
}


def _cases(which):
    return [
        pytest.param(name, value, id=f"{name}[{str(value)[:24]!r}]")
        for name, both in CASES.items()
        for value in both[which]
    ]


@pytest.mark.parametrize(("name", "value"), _cases(0))
def test_a_right_value_is_accepted(name, value):
    assert RULES[name](value)
    assert has_json_kind(value, name)


@pytest.mark.parametrize(("name", "value"), _cases(1))
def test_a_wrong_value_is_refused(name, value):
    assert not RULES[name](value)


@pytest.mark.parametrize("name", sorted(RULES))
@pytest.mark.parametrize("value", [None, [], {}, ["a"], {"a": 1}, b"a"])
def test_no_primitive_is_null_or_a_structure(name, value):
    assert not RULES[name](value)
    assert not has_json_kind(value, name)


@settings(RELAXED, max_examples=40)
@given(st.integers(1, 9999), st.integers(0, 13), st.integers(0, 32))
def test_a_full_date_is_one_of_the_calendar(year, month, day):
    text = f"{year:04}-{month:02}-{day:02}"
    try:
        date(year, month, day)
    except ValueError:
        exists = False
    else:
        exists = True

    assert RULES["date"](text) is exists
    assert RULES["dateTime"](text) is exists
    assert RULES["instant"](text + "T08:30:00+08:00") is exists


@pytest.mark.parametrize("name", sorted(INLINE))
@settings(RELAXED, max_examples=40)
@given(
    value=st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.text("a \t\x00\u3000\uffff", max_size=4),
        st.just("x" * (MAX_STRING + 1)),
    )
)
def test_an_inlined_rule_says_what_the_rule_says(name, value):
    inlined = eval(INLINE[name].format(x="value"), {**INLINE_NAMES, "value": value})  # noqa: S307

    assert bool(inlined) == RULES[name](value)


@pytest.mark.parametrize("name", sorted(RULES))
@settings(RELAXED, max_examples=40)
@given(value=st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()))
def test_a_value_that_is_accepted_has_the_right_json_kind(name, value):
    if RULES[name](value):
        assert has_json_kind(value, name)
