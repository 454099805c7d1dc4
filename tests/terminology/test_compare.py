"""ValueSet/$compare: by definition where that says it, else by the codes."""

from __future__ import annotations

from typing import Any

import pytest

from app.terminology.call import Call
from app.terminology.catalogue import Definitions, Resources
from app.terminology.compare import compare
from app.terminology.memory import MemorySystem
from app.terminology.service import Scope
from app.terminology.systems import Specials

TREE = {
    "resourceType": "CodeSystem",
    "url": "urn:test:tree",
    "content": "complete",
    "concept": [
        {"code": "a", "concept": [{"code": "a1"}, {"code": "a2"}]},
        {"code": "b", "concept": [{"code": "b1"}]},
    ],
}
OTHER = {
    "resourceType": "CodeSystem",
    "url": "urn:test:other",
    "content": "complete",
    "concept": [{"code": "a1"}, {"code": "z"}],
}


def value_set(*includes: Any, exclude: Any = ()) -> dict[str, Any]:
    compose = {"include": list(includes)} | ({"exclude": list(exclude)} if exclude else {})
    return {"resourceType": "ValueSet", "url": "urn:test:vs", "compose": compose}


def codes(*listed: str, system: str = "urn:test:tree") -> dict[str, Any]:
    return {"system": system, "concept": [{"code": code} for code in listed]}


def below(code: str) -> dict[str, Any]:
    return {
        "system": "urn:test:tree",
        "filter": [{"property": "concept", "op": "is-a", "value": code}],
    }


ALL = {"system": "urn:test:tree"}
REST = {"system": "urn:test:other"}

CASES = [
    ("reordered", value_set(codes("a1", "b")), value_set(codes("b", "a1")), "same", False),
    ("fewer", value_set(codes("a1")), value_set(codes("b", "a1")), "subset", False),
    ("more", value_set(codes("a1", "b")), value_set(codes("a1")), "superset", False),
    ("some", value_set(codes("a1", "b")), value_set(codes("a1", "a")), "overlapping", False),
    ("none", value_set(codes("a1")), value_set(codes("a")), "disjoint", False),
    (
        "same code of another system",
        value_set(codes("a1")),
        value_set(codes("a1", system="urn:test:other")),
        "disjoint",
        False,
    ),
    ("systems", value_set(ALL, REST), value_set(REST, ALL), "same", False),
    ("a system less", value_set(ALL), value_set(REST, ALL), "subset", False),
    ("branches", value_set(below("a")), value_set(below("b")), "disjoint", False),
    ("a branch of a branch", value_set(below("a")), value_set(below("a1")), "superset", False),
    ("filter and list", value_set(below("a")), value_set(codes("a", "a1", "a2")), "same", True),
    (
        "excluded",
        value_set(ALL, exclude=[codes("b", "b1")]),
        value_set(below("a")),
        "same",
        True,
    ),
    ("nothing", value_set(), value_set(), "empty", False),
    (
        "unknown",
        value_set({"system": "urn:none"}),
        value_set(codes("x", system="urn:none")),
        "cannot-determine",
        False,
    ),
    (
        "a grammar",
        value_set({"system": "http://unitsofmeasure.org"}),
        value_set(codes("mg", system="http://unitsofmeasure.org")),
        "cannot-determine",
        True,
    ),
]


@pytest.mark.parametrize(
    ("this", "other", "result", "expanded"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_two_value_sets_stand(this: Any, other: Any, result: str, expanded: bool) -> None:
    scope = Scope([Resources([MemorySystem(TREE), MemorySystem(OTHER)]), Specials(), Definitions()])

    answer = compare(Call({"thisValueSet": [this], "otherValueSet": [other]}, scope))

    found = {p["name"]: p for p in answer["parameter"]}
    assert found["result"]["valueCode"] == result
    assert found["performed-expansion"]["valueBoolean"] is expanded


def test_the_codes_that_differ_are_told_on_request() -> None:
    scope = Scope([Resources([MemorySystem(TREE)])])
    given = {
        "thisValueSet": [value_set(below("a"))],
        "otherValueSet": [value_set(codes("a2", "b"))],
        "diagnostics": [True],
    }

    answer = compare(Call(given, scope))

    found = {p["name"]: p.get("valueString") for p in answer["parameter"]}
    assert (found["common-codes"], found["missing-codes"], found["extra-codes"]) == (
        "a2",
        "a,a1",
        "b",
    )
