"""R4 search.html: #modifiers, #chaining, #has, #escaping."""

import pytest

from app.errors import Invalid
from app.store.search.context import Learned
from app.store.search.parse import Name, alternatives, parse_name, split, token_parts, unescape


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("family", Name("family")),
        ("family:exact", Name("family", "exact")),
        ("subject:Patient.name", Name("subject", "Patient", "name")),
        ("patient.organization.name:exact", Name("patient", None, "organization.name:exact")),
        (
            "_has:Observation:patient:code",
            Name("_has", rest="code", has=("Observation", "patient")),
        ),
        (
            "_has:Patient:organization:_has:Observation:patient:code",
            Name("_has", rest="_has:Observation:patient:code", has=("Patient", "organization")),
        ),
    ],
)
def test_a_name_falls_into_code_modifier_and_chain(text, name):
    assert parse_name(text) == name


def test_a_has_without_its_three_parts_is_refused():
    with pytest.raises(Invalid):
        parse_name("_has:Observation:patient")


@pytest.mark.parametrize(
    ("text", "mark", "parts"),
    [
        ("a,b", ",", ["a", "b"]),
        (r"a\,b,c", ",", [r"a\,b", "c"]),
        (r"a\\,b", ",", [r"a\\", "b"]),
        ("", ",", [""]),
        (",,", ",", ["", "", ""]),
        ("a\\", "|", ["a\\"]),
        ("a|\\", "|", ["a", "\\"]),
        ("s|c|v", "|", ["s", "c", "v"]),
    ],
)
def test_values_are_split_where_the_mark_is_not_escaped(text, mark, parts):
    assert split(text, mark) == parts


def test_escapes_are_undone_once():
    assert unescape(r"a\,b\|c\$d\\e\x") == r"a,b|c$d\e\x"


def test_empty_alternatives_are_left_out():
    assert alternatives(",a,,b,") == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("c", (None, "c")),
        ("s|c", ("s", "c")),
        ("|c", ("", "c")),
        ("s|", ("s", None)),
        (r"s|a\|b", ("s", "a|b")),
    ],
)
def test_a_token_has_a_system_and_a_code(text, parts):
    assert token_parts(text) == parts


def test_what_a_client_makes_long_is_not_kept():
    learned = Learned()
    for text in ("name", "name" * 1000):
        learned.keep_sort(("Patient", text, 1), ())
    assert list(learned.sorts) == [("Patient", "name", 1)]
