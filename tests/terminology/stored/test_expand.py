"""$expand of a stored code system shows what it shows of the same one in memory, page by page."""

from __future__ import annotations

from itertools import product

import orjson

from app.terminology.call import Call
from app.terminology.catalogue import Resources
from app.terminology.expand import expand
from app.terminology.load.code_system import draft_of
from app.terminology.memory import MemorySystem
from app.terminology.service import Terminology
from app.terminology.stored import loading
from app.terminology.stored.catalogue import Stored

URL = "urn:test:tools"
HAND = {"code": "hand", "display": "Hand tool"}
TOOLS = {
    "resourceType": "CodeSystem",
    "url": URL,
    "version": "1",
    "content": "complete",
    "property": [
        {"code": "off", "uri": "http://hl7.org/fhir/concept-properties#inactive"},
        {"code": "status", "type": "code"},
    ],
    "concept": [
        {
            **HAND,
            "concept": [
                {"code": f"h{n}", "display": f"Saw {n}", "property": [held]}
                for n, held in enumerate(
                    (
                        {"code": "off", "valueBoolean": True},
                        {"code": "off", "valueBoolean": False},
                        {"code": "status", "valueCode": "retired"},
                        {"code": "status", "valueCode": "deprecated"},
                    )
                    * 3
                )
            ],
        },
        {"code": "power", "display": "Power tool", "concept": [{"code": "p", "display": "Drill"}]},
    ],
}
ALL = {"include": [{"system": URL}]}
BELOW = {
    "include": [{"system": URL, "filter": [{"property": "concept", "op": "is-a", "value": "hand"}]}]
}


GIVEN = ({}, {"activeOnly": [True]}, {"filter": ["saw"]})


def test_pages_are_those_of_the_same_system_in_memory(store):
    header, draft = draft_of(orjson.dumps(TOOLS), "tools.json")
    loading.load(store, header, draft, b"tools")
    stored = Terminology([Stored(store)]).scope
    memory = Terminology([Resources([MemorySystem(TOOLS)])]).scope

    for compose, given, offset in product(
        (ALL, BELOW, {**ALL, "inactive": False}), GIVEN, range(0, 18, 3)
    ):
        value_set = {"resourceType": "ValueSet", "url": "urn:vs", "compose": compose}
        asked = {**given, "valueSet": [value_set], "offset": [offset], "count": [3]}
        ours, plain = (expand(Call(asked, scope))["expansion"] for scope in (stored, memory))

        assert ours["total"] == plain["total"], (compose, given)
        assert ours.get("contains") == plain.get("contains"), (compose, given, offset)


def test_inactive_concepts_of_a_stored_system_are_left_out_and_not_counted(store):
    header, draft = draft_of(orjson.dumps(TOOLS), "tools.json")
    loading.load(store, header, draft, b"tools")
    value_set = {"resourceType": "ValueSet", "url": "urn:vs", "compose": BELOW}
    asked = {"valueSet": [value_set], "activeOnly": [True], "offset": [4], "count": [2]}

    page = expand(Call(asked, Terminology([Stored(store)]).scope))["expansion"]

    assert page["total"] == 7
    assert [one["code"] for one in page["contains"]] == ["h7", "h9"]
