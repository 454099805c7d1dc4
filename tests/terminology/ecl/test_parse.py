"""ECL: what is written is read, and what is wrong is named. SNOMED CT ECL 2, section 6."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Unprocessable
from app.terminology.ecl.parse import (
    Attribute,
    Cardinality,
    Compound,
    Concept,
    Constraint,
    Dotted,
    Group,
    Refined,
    parse,
)

A, B, C = "11110001", "22220002", "33330003"


@pytest.mark.parametrize("operator", ["<", "<<", "<!", "<<!", ">", ">>", ">!", ">>!", "^"])
def test_an_operator_stands_before_a_concept(operator):
    found = parse(f"{operator} {A} |any term, with AND (brackets)|")

    assert isinstance(found, Constraint)
    assert found.operator == operator
    assert isinstance(found.of, Concept)
    assert found.of.code == A


def test_an_operator_stands_before_a_reference_set():
    found = parse(f"< ^{A}")

    assert isinstance(found, Constraint)
    assert isinstance(found.of, Constraint)
    assert (found.operator, found.of.operator) == ("<", "^")


def test_a_refinement_with_cardinalities_groups_and_numbers():
    found = parse(f"<{A}: [1..2] {{ [0..0] R {B} != *, {C} >= #-1.5 }}")

    assert isinstance(found, Refined)
    group = found.condition
    assert isinstance(group, Group)
    assert group.cardinality == Cardinality(1, 2)
    reverse, number = group.condition.parts
    assert isinstance(reverse, Attribute)
    assert (reverse.cardinality, reverse.is_reversed) == (Cardinality(0, 0), True)
    assert (number.comparison, str(number.value)) == (">=", "-1.5")


def test_brackets_decide_between_a_refinement_and_the_name_of_an_attribute():
    named = parse(f"{A}: ({B} OR {C}) = *")
    nested = parse(f"{A}: ({B} = * OR {C} = *), {C} = *")

    assert isinstance(named.condition, Attribute)
    assert isinstance(named.condition.name, Compound)
    assert nested.condition.operator == "AND"


def test_dots_follow_each_other_and_comments_are_left_out():
    found = parse(f"/* all */ <{A} . {B} . << {C}")

    assert isinstance(found, Dotted)
    assert isinstance(found.focus, Dotted)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "character 1: the end stands where a concept id"),
        (f"<< {A} AND", "character 16: the end stands where a concept id"),
        (f"{A} AND {B} OR {C}", "character 23: AND and OR may not be mixed without brackets"),
        (f"{A} MINUS {B} MINUS {C}", "more than one MINUS needs brackets"),
        (f"{A}: {B} = {C}, {B} = {C} OR {B} = {C}", "AND and OR may not be mixed"),
        (f"{A}: {B}", "the end stands where =, != or another comparison"),
        (f"{A}: [2..1] {B} = *", "the cardinality ends before it begins"),
        (f"{A}: {B} > {C}", "a concept id stands where a number like #5"),
        (f"({A}", "the end stands where \\)"),
        (f"{A} {B}", "a concept id stands where AND, OR, MINUS"),
        ("12", "a number that is no concept id"),
        (f"{A} & {B}", "this sign has no meaning in ECL"),
        (f'< {A} {{{{ term = "x" }}}}', "filters in \\{\\{ \\}\\} are not supported"),
        (f"^ [targetComponentId] {A}", "the fields of reference sets are not supported"),
        ("(" * 50 + A, "nested too deeply"),
    ],
)
def test_an_error_names_the_place_and_the_part_at_fault(text, message):
    with pytest.raises(Unprocessable, match=message):
        parse(text)


_IDS = st.sampled_from([A, B, C])


def _compound(inner):
    return st.tuples(inner, st.sampled_from(["AND", "OR", "MINUS"]), inner).map(
        lambda t: f"({t[0]} {t[1]} {t[2]})"
    )


def _refined(inner):
    return st.tuples(inner, _IDS, inner).map(lambda t: f"({t[0]}: {{ {t[1]} = {t[2]} }})")


EXPRESSIONS = st.recursive(
    st.one_of(_IDS, _IDS.map(lambda code: f"<< {code}"), st.just("*")),
    lambda inner: st.one_of(_compound(inner), _refined(inner)),
    max_leaves=8,
)


@given(EXPRESSIONS)
def test_every_well_formed_expression_is_read(text):
    parse(text)


@given(st.text(st.sampled_from('<>!^*()[]{}.,:=#|"R 0123456789AND/'), max_size=40))
def test_whatever_is_written_is_read_or_refused(text):
    with contextlib.suppress(Unprocessable):
        parse(text)
