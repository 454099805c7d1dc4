"""FHIRPath N1, section 2 (expressions), 6.8 (precedence) and the grammar."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Invalid
from app.fhir import definitions
from app.fhir.fhirpath.parser import parse
from app.fhir.fhirpath.syntax import (
    Binary,
    Call,
    Empty,
    Index,
    Literal,
    Member,
    Node,
    QuantityLiteral,
    TypeTest,
    Unary,
    Variable,
)

A, B, C = (Member(None, name) for name in "abc")
ONE, TWO = Literal("integer", 1), Literal("integer", 2)

CASES: dict[str, Node] = {
    "a.b": Member(A, "b"),
    "a.`div`": Member(A, "div"),
    "a[1].b": Member(Index(A, ONE), "b"),
    "a.where(b = 'x').c": Member(Call(A, "where", (Binary("=", B, Literal("string", "x")),)), "c"),
    "a.exists()": Call(A, "exists", ()),
    "iif(a, 1, 2)": Call(None, "iif", (A, ONE, TWO)),
    "a or b and c": Binary("or", A, Binary("and", B, C)),
    "a implies b or c": Binary("implies", A, Binary("or", B, C)),
    "a = b | c": Binary("=", A, Binary("|", B, C)),
    "a - b - c": Binary("-", Binary("-", A, B), C),
    "a + b * c": Binary("+", A, Binary("*", B, C)),
    "(a + b) * c": Binary("*", Binary("+", A, B), C),
    "a as Quantity | b": Binary("|", TypeTest("as", A, "Quantity"), B),
    "a is FHIR.Patient": TypeTest("is", A, "Patient"),
    "a is System.String": TypeTest("is", A, "System.String"),
    "a in b": Binary("in", A, B),
    "-1": Unary("-", ONE),
    "{}": Empty(),
    "true": Literal("boolean", True),
    "1.50": Literal("decimal", Decimal("1.50")),
    r"'it\'s \u4e2d'": Literal("string", "it's 中"),
    "@2019-03": Literal("date", "2019-03"),
    "@2019-03-01T10:00:00Z": Literal("dateTime", "2019-03-01T10:00:00Z"),
    "@2019T": Literal("dateTime", "2019T"),
    "@T10:00": Literal("time", "10:00"),
    "4 days": QuantityLiteral(Decimal(4), "day"),
    "5 'mg'": QuantityLiteral(Decimal(5), "mg"),
    "%resource.a": Member(Variable("%resource"), "a"),
    "%`vs-x`": Variable("%vs-x"),
    "$this": Variable("$this"),
    "a // comment\n.b": Member(A, "b"),
    "a /* comment */ .b": Member(A, "b"),
}


@pytest.mark.parametrize("text", CASES)
def test_parse(text: str) -> None:
    assert parse(text) == CASES[text]


@pytest.mark.parametrize(
    "text", ["", "a.", "a b", "(a", "a)", "a[", "'x", "a..b", "1 +", "@x", "{a}", "#", "a is 1"]
)
def test_what_is_no_fhirpath_is_refused_with_its_column(text: str) -> None:
    with pytest.raises(Invalid, match="column"):
        parse(text)


def test_depth_and_length_are_limited() -> None:
    for text in ("(" * 5000 + "a" + ")" * 5000, "a" * 30_000, "not(" * 500):
        with pytest.raises(Invalid):
            parse(text)


def test_every_expression_of_r4_parses() -> None:
    expressions = {p.expression for p in definitions.search_parameters() if p.expression}
    for name in definitions.structure_names():
        invariants = definitions.structure(name).invariants.values()
        expressions |= {i.expression for i in invariants if i.expression}

    for expression in expressions:
        parse(expression)

    assert len(expressions) > 1000


@given(st.text(alphabet="ab.()[]|'=1 @T:-%$this{}\\", max_size=60))
def test_nothing_crashes_the_parser(text: str) -> None:
    with suppress(Invalid):
        parse(text)
