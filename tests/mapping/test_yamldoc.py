"""YAML with line numbers (app/mapping/yamldoc.py)."""

from decimal import Decimal

import pytest

from app.errors import Invalid, Malformed
from app.mapping.yamldoc import parse


def test_keys_and_items_remember_their_lines():
    found = parse("a: 1\nb:\n  - x\n  - y\n", "f")

    assert found.lines == {"a": 1, "b": 2}
    assert found["b"].lines == [3, 4]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"),
        ("on", "on"),
        ("Y", "Y"),
        (".1", ".1"),
        ("2024-05-02", "2024-05-02"),
        ("012", "012"),
        ("7", 7),
        ("0.50", Decimal("0.50")),
        ("true", True),
        ("'true'", "true"),
        ("~", None),
    ],
)
def test_plain_scalars_are_text_unless_they_look_like_nothing_else(text, value):
    assert parse(f"k: {text}\n", "f")["k"] == value


def test_a_key_given_twice_is_an_error_with_its_line():
    with pytest.raises(Invalid) as caught:
        parse("a: 1\na: 2\n", "site.yaml")

    assert caught.value.at == "site.yaml:2"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('a: {b: c | d(e, "f")}\n', "stands in quotes"),
        ("a:\n\t- b\n", "never tabs"),
        ("a:\n  - b: c\n   d:\n      e: f\n", "indented"),
        ("a: b: c\n", "indented"),
    ],
)
def test_a_slip_in_the_yaml_is_told_with_what_to_do(text, hint):
    with pytest.raises(Malformed, match=hint):
        parse(text, "t.yaml")


def test_what_is_no_yaml_is_an_error_with_its_line():
    with pytest.raises(Malformed) as caught:
        parse("a: [1\nb: 2\n", "site.yaml")

    assert caught.value.at is not None
    assert caught.value.at.startswith("site.yaml:")
