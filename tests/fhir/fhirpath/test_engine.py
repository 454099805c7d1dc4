"""FHIRPath N1 sections 4 to 6 and R4 fhirpath.html, on one patient and one observation."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Invalid, NotSupported, YilianError
from app.fhir import definitions
from app.fhir.fhirpath.engine import compiled
from app.fhir.fhirpath.moments import Moment
from app.fhir.fhirpath.values import Element, element_of, scalar

NOON_US = 1_710_043_200_123_000  # 2024-03-10T04:00:00.123Z

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p1",
    "contained": [{"resourceType": "Organization", "id": "o", "name": "Ward"}],
    "extension": [{"url": "urn:x", "valueCode": "brown"}],
    "active": True,
    "name": [
        {"use": "official", "family": "Wang", "given": ["Wei", "Xiao"]},
        {"use": "nickname", "given": [None, "Wawa"], "_given": [{"id": "a"}, None]},
    ],
    "birthDate": "1980-05",
    "_gender": {"extension": [{"url": "urn:why", "valueString": "unknown"}]},
    "deceasedBoolean": False,
    "multipleBirthInteger": 2,
    "managingOrganization": {"reference": "#o"},
    "generalPractitioner": [{"reference": "Practitioner/d"}],
    "text": {
        "status": "generated",
        "div": '<div xmlns="http://www.w3.org/1999/xhtml">Wang</div>',
    },
}
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
    "effectiveDateTime": "2024-03-10T12:00:00+08:00",
    "valueQuantity": {
        "value": Decimal("72.10"),
        "unit": "beats/min",
        "system": "http://unitsofmeasure.org",
        "code": "/min",
    },
    "component": [{"valueInteger": 1}, {"valueString": "x"}],
}

ON_PATIENT: dict[str, list[Any]] = {
    # paths and types
    "Patient.name.family": ["Wang"],
    "name.given": ["Wei", "Xiao", None, "Wawa"],
    "name[1].given.last()": ["Wawa"],
    "name[7]": [],
    "Person.name": [],
    "deceased": [False],
    "deceased is boolean": [True],
    "deceased is Boolean": [True],
    "deceased is dateTime": [False],
    "birthDate is date": [True],
    "Patient is DomainResource": [True],
    "Patient is FHIR.Observation": [False],
    "'x' is System.String": [True],
    "name.ofType(HumanName).count()": [2],
    "extension('urn:x').value": ["brown"],
    "gender.exists()": [True],
    "gender.hasValue()": [False],
    "gender.extension.value": ["unknown"],
    "name.given.id": ["a"],
    "contained.name": ["Ward"],
    "children().count() > 5": [True],
    "descendants().where($this is HumanName).count()": [2],
    "text.div.htmlChecks()": [True],
    # existence
    "name.where(use = 'official').family": ["Wang"],
    "name.exists(use = 'old')": [False],
    "name.all(given.exists())": [True],
    "photo.all(url.exists())": [True],
    "photo.empty()": [True],
    "active.not()": [False],
    "name.use.isDistinct()": [True],
    "(1 | 2 | 1).count()": [2],
    "(1 | 2).subsetOf(1 | 2 | 3)": [True],
    "(1 | 2).supersetOf(1 | 2 | 3)": [False],
    "(true | false).allTrue()": [False],
    "(true | false).anyTrue()": [True],
    # subsetting and combining
    "(1 | 2 | 3).tail()": [2, 3],
    "(1 | 2 | 3).skip(2)": [3],
    "(1 | 2 | 3).take(2)": [1, 2],
    "(1 | 2 | 3).intersect(2 | 3 | 4)": [2, 3],
    "(1 | 2 | 3).exclude(2)": [1, 3],
    "(1).combine(1)": [1, 1],
    "(1).union(1)": [1],
    "name.select(given.first())": ["Wei", None],
    "(1 | 2 | 3).aggregate($this + $total, 0)": [6],
    "(3 | 5).select($index)": [0, 1],
    "name.given.where($this = 'Wei')": ["Wei"],
    "name.repeat(given).count()": [4],
    # conversion
    "'12'.toInteger()": [12],
    "'x'.toInteger()": [],
    "'1.50'.toDecimal()": [Decimal("1.50")],
    "true.toString()": ["true"],
    "'yes'.toBoolean()": [True],
    "'2024-03-10'.toDate() = @2024-03-10": [True],
    "'5 \\'mg\\''.toQuantity() = 5 'mg'": [True],
    "'x'.convertsToInteger()": [False],
    "iif(active, 'a', 'b')": ["a"],
    "iif(photo.exists(), 'a')": [],
    # text
    "'abc'.substring(1)": ["bc"],
    "'abc'.substring(1, 1)": ["b"],
    "'abc'.substring(9)": [],
    "'abc'.indexOf('c')": [2],
    "'abc'.startsWith('ab') and 'abc'.endsWith('bc')": [True],
    "'abc'.contains('b')": [True],
    "'aBc'.upper() & 'D'.lower()": ["ABCd"],
    "'abc'.replace('b', '')": ["ac"],
    "'abc'.matches('[a-c]+')": [True],
    "'abcd'.matches('[a-c]+')": [False],
    "'abc'.length()": [3],
    "'a,b'.split(',')": ["a", "b"],
    "('a' | 'b').join('-')": ["a-b"],
    "'ab'.toChars()": ["a", "b"],
    "photo.url.startsWith('x')": [],
    # numbers
    "1 + 2 * 3": [7],
    "7 div 2": [3],
    "7 mod 2": [1],
    "1 / 0": [],
    "7 / 2": [Decimal("3.5")],
    "-multipleBirth": [-2],
    "multipleBirth > 1": [True],
    "(-5).abs()": [5],
    "1.5.ceiling()": [2],
    "2.5.round()": [3],
    "2.power(3)": [8],
    "(-1).sqrt()": [],
    "9.sqrt()": [Decimal(3)],
    # equality and order
    "1 = 1.0": [True],
    "1.10 = 1.1": [True],
    "1.11 ~ 1.1": [True],
    "'Abc' ~ 'abc'": [True],
    "'Abc' = 'abc'": [False],
    "{} = 1": [],
    "{} ~ {}": [True],
    "(1 | 2) = (2 | 1)": [False],
    "(1 | 2) ~ (2 | 1)": [True],
    "name[0] = name[0]": [True],
    "name[0] = name[1]": [False],
    "true = 1": [False],
    "'a' < 'b'": [True],
    "2 in (1 | 2)": [True],
    "(1 | 2) contains 3": [False],
    # logic with empty
    "{} and false": [False],
    "{} and true": [],
    "{} or true": [True],
    "true xor true": [False],
    "false implies {}": [True],
    "true implies {}": [],
    "{} implies true": [True],
    # dates
    "birthDate = @1980-05": [True],
    "birthDate < @1980-06": [True],
    "birthDate = @1980-05-01": [],
    "birthDate < @1981-05-01": [True],
    "@2024-03-10T12:00:00+08:00 = @2024-03-10T04:00:00Z": [True],
    "@2024-03-10T12:00 = @2024-03-10T12:00:00": [],
    "@2024-01-31 + 1 month = @2024-02-29": [True],
    "@2024-03-10 - 1 year = @2023-03-10": [True],
    "@2024-12-31T23:59:59Z + 2 seconds = @2025-01-01T00:00:01Z": [True],
    "@T23:30 + 45 minutes = @T00:15": [True],
    "birthDate < today()": [True],
    "now() = @2024-03-10T04:00:00.123Z": [True],
    "today() = @2024-03-10": [True],
    # quantities
    "5 'mg' = 0.005 'g'": [True],
    "5 'mg' < 1 'g'": [True],
    "5 'mg' = 5 'mmol'": [],
    "1 week = 7 days": [True],
    # variables and references
    "%resource.id = 'p1'": [True],
    "%context.id": ["p1"],
    "%ucum": ["http://unitsofmeasure.org"],
    "%`vs-x`": ["http://hl7.org/fhir/ValueSet/x"],
    "managingOrganization.resolve().name": ["Ward"],
    "generalPractitioner.where(resolve() is Practitioner).reference": ["Practitioner/d"],
    "generalPractitioner.where(resolve() is Patient).reference": [],
    "trace('x').id": ["p1"],
}


def values(items: list[Any]) -> list[Any]:
    return [scalar(item) for item in items]


@pytest.mark.parametrize("text", ON_PATIENT)
def test_on_a_patient(text: str) -> None:
    assert values(compiled(text).evaluate(PATIENT, now_us=NOON_US)) == ON_PATIENT[text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("value.value", [Decimal("72.10")]),
        ("value > 1 '/s'", [True]),
        ("value as Quantity", [{"amount": True}]),
        ("(value as Quantity).unit", ["beats/min"]),
        ("value.as(string)", []),
        ("component.value.ofType(integer)", [1]),
        ("effective < @2024-03-10T04:00:01Z", [True]),
        ("effective.toString()", ["2024-03-10T12:00:00+08:00"]),
        ("code.coding.where(system = %loinc).code", ["8867-4"]),
    ],
)
def test_on_an_observation(text: str, expected: list[Any]) -> None:
    found = compiled(text).evaluate(OBSERVATION, now_us=NOON_US)

    if expected == [{"amount": True}]:
        assert [item.type for item in found if isinstance(item, Element)] == ["Quantity"]
    else:
        assert values(found) == expected


@pytest.mark.parametrize(
    "text",
    [
        "name.given + 'x'",
        "1 + 'x'",
        "name.given.substring(0)",
        "1 < 'x'",
        "name.single()",
        "1.substring(0)",
        "'x'.abs()",
        "'x'.substring('y')",
        "@2024-01-01 + 1 'mg'",
        "@9999-12-31 + 1 year",
        "'x'.matches('(')",
        "name.given is string",
    ],
)
def test_an_error_of_fhirpath_is_invalid(text: str) -> None:
    with pytest.raises(Invalid):
        compiled(text).evaluate(PATIENT, now_us=NOON_US)


@pytest.mark.parametrize(
    "text",
    ["nosuch()", "exists(1, 2)", "where()", "%nosuch", "x is Nosuch", "x.ofType(1)", "@2024-13"],
)
def test_what_can_never_work_is_refused_when_compiled(text: str) -> None:
    with pytest.raises(Invalid):
        compiled(text)


def test_what_needs_terminology_is_not_supported() -> None:
    with pytest.raises(NotSupported, match="memberOf"):
        compiled("code.memberOf('http://x')")


def test_regular_expressions_of_clients_are_refused() -> None:
    with pytest.raises(NotSupported):
        compiled("'aaaaaaaaaaaaaaaaaaaaaaaa!'.matches('(a+)+')", trusted=False)


def test_references_are_resolved_by_whom_the_caller_names() -> None:
    known = {"Practitioner/d": {"resourceType": "Practitioner", "id": "d", "active": True}}
    expression = compiled("generalPractitioner.resolve().active")

    assert values(expression.evaluate(PATIENT, resolve=known.get)) == [True]
    assert expression.evaluate(PATIENT) == []


def test_elements_know_where_they_stand_in_the_json() -> None:
    (found,) = compiled("name.given[1]").evaluate(PATIENT)

    assert isinstance(found, Element)
    assert found.member is not None
    assert (found.member.name, found.index) == ("given", 1)
    assert found.holder is PATIENT["name"][0]


def test_an_expression_starts_at_any_element() -> None:
    root = element_of(PATIENT)
    (name, *_) = compiled("name").evaluate(PATIENT)
    assert isinstance(name, Element)

    found = compiled("family & %resource.id").evaluate(name, resource=root)

    assert found == ["Wangp1"]


def test_moments_print_as_they_are_written() -> None:
    moment = Moment("dateTime", (2024, 3, 10, 4, 5, Decimal("6.50")), -330)

    assert str(moment) == "2024-03-10T04:05:06.50-05:30"


def test_every_invariant_of_r4_compiles() -> None:
    expressions = {
        invariant.expression
        for name in definitions.structure_names()
        for invariant in definitions.structure(name).invariants.values()
        if invariant.expression
    }

    for expression in expressions:
        compiled(expression)

    assert len(expressions) > 190


_WORDS = st.sampled_from(
    [
        *("name", "given", "birthDate", "$this", "%resource", "'x'", "1", "2.5", "@2024", "{}"),
        *(".", ".", "(", ")", "[0]", " = ", " + ", " | ", " and ", " is ", "string", " < "),
        *(".where(", ".exists()", ".first()", ".descendants()", ".toString()", ".count()"),
    ]
)


@given(st.lists(_WORDS, max_size=12).map("".join))
def test_nothing_but_our_own_errors_comes_out(text: str) -> None:
    with suppress(YilianError):
        compiled(text).evaluate(PATIENT, now_us=NOON_US)
