"""Codes of value sets listed from definitions: http://hl7.org/fhir/R4/valueset.html#compositions."""

import pytest

from app.fhir import listing

ANIMALS = {
    "content": "complete",
    "concept": [
        {
            "code": "bird",
            "concept": [
                {"code": "duck"},
                {"code": "owl", "concept": [{"code": "barn-owl"}]},
            ],
        },
        {"code": "bat", "property": [{"code": "subsumedBy", "valueCode": "bird"}]},
        {"code": "cat"},
    ],
}
SYSTEMS = {"urn:a": ANIMALS, "urn:part": {"content": "fragment", "concept": [{"code": "x"}]}}
SETS = {"urn:owls": {"compose": {"include": [{"system": "urn:a", "concept": [{"code": "owl"}]}]}}}


def below(top, op="is-a", name="concept"):
    return {"system": "urn:a", "filter": [{"property": name, "op": op, "value": top}]}


@pytest.mark.parametrize(
    ("compose", "codes"),
    [
        (
            {"include": [{"system": "urn:a"}]},
            {"bird", "duck", "owl", "barn-owl", "bat", "cat"},
        ),
        ({"include": [{"system": "urn:a", "concept": [{"code": "cat"}]}]}, {"cat"}),
        ({"include": [below("bird")]}, {"bird", "duck", "owl", "barn-owl", "bat"}),
        ({"include": [below("bird", "descendent-of")]}, {"duck", "owl", "barn-owl", "bat"}),
        ({"include": [below("owl")], "exclude": [below("barn-owl")]}, {"owl"}),
        ({"include": [{"valueSet": ["urn:owls|1.0"]}]}, {"owl"}),
        ({"include": [{"system": "urn:a", "valueSet": ["urn:owls"]}]}, {"owl"}),
        ({"include": [below("cat"), {"valueSet": ["urn:owls"]}]}, {"cat", "owl"}),
    ],
)
def test_a_composition_is_listed(compose, codes):
    sets = {**SETS, "urn:v": {"compose": compose}}

    assert listing.codes("urn:v", sets.get, SYSTEMS.get) == {"urn:a": codes}


@pytest.mark.parametrize(
    "compose",
    [
        {"include": [{"system": "http://unitsofmeasure.org"}]},
        {"include": [{"system": "urn:part"}]},
        {"include": [{"valueSet": ["urn:nosuch"]}]},
        {"include": [below("b.*", "regex")]},
        {"include": [below("bird", name="kind")]},
        {"include": [{"system": "urn:a"}], "exclude": [{"system": "urn:part"}]},
    ],
)
def test_what_is_not_at_hand_has_no_list(compose):
    sets = {**SETS, "urn:v": {"compose": compose}}

    assert listing.codes("urn:v", sets.get, SYSTEMS.get) is None
    assert listing.codes("urn:nosuch", sets.get, SYSTEMS.get) is None
