"""Formulas of the mapping language (app/mapping/expression.py)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Invalid, YilianError
from app.mapping.expression import (
    All,
    Any_,
    Call,
    Compare,
    Const,
    Either,
    In,
    Not,
    Path,
    Valued,
    condition,
    value,
)


def test_a_path_is_what_the_feed_says_it_is():
    assert value("PID-5[2].1.2") == Path("PID-5[2].1.2")
    assert value("$.measurements[*].value") == Path("$.measurements[*].value")
    assert value("`odd name`") == Path("odd name")
    assert value(".*") == Path(".*")


def test_steps_apply_from_left_to_right():
    assert value('PID-8 | upper | table(sex, "U")') == Call(
        "table", (Path("sex"), Const("U")), Call("upper", (), Path("PID-8"))
    )


def test_the_first_that_has_a_value_binds_weaker_than_steps():
    assert value("A-1 | trim ?? B-2") == Either((Call("trim", (), Path("A-1")), Path("B-2")))


def test_and_binds_tighter_than_or():
    assert condition('A-1 and not B-1 or C-1 in ("x", "y")') == Any_(
        (
            All((Valued(Path("A-1")), Not(Valued(Path("B-1"))))),
            In(Path("C-1"), (Const("x"), Const("y"))),
        )
    )


def test_brackets_group_conditions_and_values():
    assert condition('(A-1 or B-1) and (C-1 | upper) = "E"') == All(
        (
            Any_((Valued(Path("A-1")), Valued(Path("B-1")))),
            Compare("=", Call("upper", (), Path("C-1")), Const("E")),
        )
    )


@pytest.mark.parametrize("text", ["", "A-1 |", "f(", "A-1 ?? ", "A-1 B-1", '"open', "A-1 | 5", "#"])
def test_what_makes_no_sense_is_refused_with_its_column(text):
    with pytest.raises(Invalid, match="column"):
        value(text)


@given(st.text(alphabet='PID-15.| ()"?,=<>andornti\\x', max_size=40))
def test_no_text_makes_the_parser_fall_over(text):
    for parse in (value, condition):
        try:
            parse(text)
        except YilianError:
            continue
