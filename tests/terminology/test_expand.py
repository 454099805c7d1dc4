"""$expand: R4 valueset-operation-expand.html."""

from __future__ import annotations

from typing import Any

import pytest

from app.terminology.expand import expand
from app.terminology.validate_code import in_value_set
from tests.terminology.ward import (
    ALL,
    SETS,
    SURGICAL,
    WARD,
    answer,
    codes,
    concept,
    echoed,
    issues,
    listed,
    only,
    parameter,
    prop,
    value_set,
    wards,
)

WORLD = (wards(), ALL, SURGICAL)
_PROPERTY = "extension-ValueSet.expansion.contains.property"


def properties(contains: Any) -> dict[str, Any]:
    """Return the properties of a code in an expansion."""
    found = {}
    for extension in contains.get("extension", ()):
        if extension["url"].endswith(_PROPERTY):
            code, value = extension["extension"]
            found[code["valueCode"]] = next(v for k, v in value.items() if k != "url")
    return found


def code(of: Any, wanted: str) -> Any:
    stack = list(of["expansion"]["contains"])
    while stack:
        one = stack.pop()
        if one["code"] == wanted:
            return one
        stack += one.get("contains", [])
    raise AssertionError(wanted)


def test_a_whole_system_is_nested_as_the_system_is():
    found = answer(expand, *WORLD, url=SETS + "all")

    assert codes(found) == ["surg", ["card", "neuro"], "paed", "tb"]
    assert found["expansion"]["total"] == 5
    assert code(found, "surg")["abstract"] is True
    assert code(found, "tb")["inactive"] is True
    assert properties(code(found, "tb")) == {"status": "retired"}
    assert found["expansion"]["identifier"].startswith("urn:uuid:")
    assert "compose" not in found


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"excludeNested": True}, ["surg", "card", "neuro", "paed", "tb"]),
        ({"activeOnly": True}, ["surg", ["card", "neuro"], "paed"]),
        ({"filter": "surg"}, ["surg", "card"]),
        ({"filter": "cardiac SURG"}, ["card"]),
        ({"filter": "心脏"}, ["card"]),
        ({"filter": "eurosurgery"}, []),
        ({"count": 2, "offset": 1}, ["card", "neuro"]),
        ({"count": 0}, []),
    ],
)
def test_parameters_choose_codes(given: dict[str, Any], found: list[Any]):
    assert codes(answer(expand, *WORLD, url=SETS + "all", **given)) == found


def test_a_page_says_the_total_and_where_it_begins():
    page = answer(expand, *WORLD, url=SETS + "all", count="2", offset="1")

    assert (page["expansion"]["total"], page["expansion"]["offset"]) == (5, 1)
    assert echoed(page) == {"count": 2, "offset": 1, "used-codesystem": f"{WARD}|2.0.0"}


def test_pages_show_each_code_once():
    whole = answer(expand, *WORLD, url=SETS + "all", excludeNested=True)
    pages = [
        codes(answer(expand, *WORLD, url=SETS + "all", count=2, offset=start))
        for start in range(0, 6, 2)
    ]

    assert [code for page in pages for code in page] == codes(whole)


@pytest.mark.parametrize(
    ("sets", "found"),
    [
        ([value_set("x", listed("paed", "gone", "card"))], ["paed", "card"]),
        ([value_set("x", only("is-a", "surg"))], ["surg", ["card", "neuro"]]),
        ([value_set("x", only("descendent-of", "surg"))], ["card", "neuro"]),
        ([value_set("x", only("is-not-a", "surg"))], ["paed", "tb"]),
        ([value_set("x", only("in", "paed,card", "code"))], ["card", "paed"]),
        ([value_set("x", only("=", "24", "beds"))], ["neuro"]),
        (
            [value_set("x", {"system": WARD}, exclude=[listed("surg")])],
            ["card", "neuro", "paed", "tb"],
        ),
        (
            [value_set("x", {"system": WARD}, compose={"inactive": False})],
            ["surg", ["card", "neuro"], "paed"],
        ),
        ([value_set("x", listed("card", "paed", valueSet=[SETS + "surgical"]))], ["card"]),
        ([value_set("x", listed("card"), only("is-a", "surg"))], ["card", "surg", "neuro"]),
        (
            [
                value_set("x", {"valueSet": [SETS + "surgical", SETS + "few"]}),
                value_set("few", listed("card", "tb")),
            ],
            ["card"],
        ),
    ],
)
def test_a_definition_is_followed(sets: list[Any], found: list[Any]):
    assert codes(answer(expand, *WORLD, *sets, url=SETS + "x")) == found


def test_r5_operators_come_in_an_extension():
    op = {
        "url": "http://hl7.org/fhir/5.0/StructureDefinition/"
        "extension-ValueSet.compose.include.filter.op",
        "valueCode": "child-of",
    }
    filters = [{"property": "concept", "_op": {"extension": [op]}, "value": "surg"}]

    found = answer(
        expand, *WORLD, value_set("x", {"system": WARD, "filter": filters}), url=SETS + "x"
    )

    assert codes(found) == ["card", "neuro"]


def test_what_is_left_out_does_not_separate_its_descendants_from_what_is_above():
    deep = concept(
        "a",
        "A",
        concept("b", "B", concept("c", "C"), property=[prop("status", valueCode="retired")]),
    )

    found = answer(expand, wards("9", deep), ALL, url=SETS + "all", activeOnly=True)

    assert codes(found)[-2:] == ["a", ["c"]]


def test_names_come_in_the_language_wanted_and_the_others_as_designations():
    chinese = answer(
        expand, *WORLD, url=SETS + "all", displayLanguage="zh", includeDesignations=True
    )
    header = answer(expand, *WORLD, url=SETS + "all", header="zh-CN")
    strict = answer(expand, *WORLD, url=SETS + "all", displayLanguage="zh, *;q=0")

    assert code(chinese, "paed")["display"] == "儿科"
    assert code(chinese, "paed")["designation"][0]["value"] == "Paediatrics"
    assert code(chinese, "tb")["display"] == "Tuberculosis"
    assert "designation" not in code(chinese, "tb")
    assert echoed(header)["displayLanguage"] == "zh-CN"
    assert "display" not in code(strict, "tb")


def test_designations_can_be_chosen():
    found = answer(expand, *WORLD, url=SETS + "all", designation="urn:ietf:bcp:47|zh-CN")
    other = answer(expand, *WORLD, url=SETS + "all", designation="urn:ietf:bcp:47|fr")

    assert code(found, "paed")["designation"] == [{"language": "zh-CN", "value": "儿科"}]
    assert "designation" not in code(other, "paed")


def test_properties_are_shown_when_they_are_asked_for():
    found = answer(expand, *WORLD, url=SETS + "all", property=["beds", "definition"])

    declared = {
        e["extension"][0]["valueCode"]: e["extension"][1]["valueUri"]
        for e in found["expansion"]["extension"]
    }
    assert properties(code(found, "neuro")) == {"beds": 24}
    assert properties(code(found, "surg")) == {"definition": "All that cut"}
    assert declared["beds"] == "http://hospital.example/beds"
    assert "property" not in echoed(found)


def test_labels_order_and_weight_are_properties_the_value_sets_own_first():
    base = "http://hl7.org/fhir/StructureDefinition/"
    shown = {
        "code": "paed",
        "extension": [
            {"url": base + "valueset-label", "valueString": "(a)"},
            {"url": base + "valueset-conceptOrder", "valueInteger": 3},
            {"url": base + "itemWeight", "valueDecimal": 1.5},
        ],
    }
    found = answer(
        expand, *WORLD, value_set("x", {"system": WARD, "concept": [shown]}), url=SETS + "x"
    )

    assert properties(code(found, "paed")) == {"label": "(a)", "order": 3, "weight": 1.5}


def test_a_large_expansion_is_refused_but_its_pages_are_not():
    whole = answer(expand, *WORLD, url=SETS + "all", most=4)
    page = answer(expand, *WORLD, url=SETS + "all", most=4, count=3)

    assert issues(whole) == [("error", "VALUESET_TOO_COSTLY", None)]
    assert page["expansion"]["total"] == 5


def test_a_fragment_is_said_to_be_one():
    found = answer(expand, wards(content="fragment"), ALL, url=SETS + "all")

    assert echoed(found)["used-fragment"] == f"{WARD}|2.0.0"
    assert found["expansion"]["extension"][-2]["valueBoolean"] is True


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ([value_set("x", {"system": "http://other.example"})], "UNKNOWN_CODESYSTEM_EXP"),
        ([value_set("x", {"valueSet": [SETS + "x"]})], "VALUESET_CIRCULAR_REFERENCE"),
        ([value_set("x", {"valueSet": [SETS + "none"]})], "Unable_to_resolve_value_Set_"),
        ([value_set("x", {"valueSet": [SETS + "all|9"]})], "VS_EXP_IMPORT_UNK_PINNED"),
        ([value_set("x", only("likes", "card"))], "The filter's operator is not understood"),
        ([value_set("x", only("regex", "(a", "code"))], "The regular expression"),
        ([], "Unable_to_resolve_value_Set_"),
    ],
)
def test_what_cannot_be_expanded_is_refused(sets: list[Any], said: str):
    found = answer(expand, *WORLD, *sets, url=SETS + "x")

    assert found["resourceType"] == "OperationOutcome"
    assert issues(found)[0][1].startswith(said)


def test_a_regular_expression_takes_no_more_time_than_the_text_is_long():
    evil = concept("a" * 60 + "!", "Evil")

    found = answer(
        expand,
        wards("9", evil, concept("aaa", "Good")),
        value_set("x", only("regex", "((a+)+)+", "code")),
        url=SETS + "x",
    )

    assert codes(found) == ["aaa"]


def test_a_stored_expansion_is_taken_as_the_definition():
    stored = value_set("x") | {
        "expansion": {"contains": [{"system": WARD, "code": "card", "display": "Heart"}]}
    }
    del stored["compose"]

    found = answer(expand, *WORLD, stored, url=SETS + "x")

    assert [(c["code"], c["display"]) for c in found["expansion"]["contains"]] == [
        ("card", "Heart")
    ]


def test_every_code_of_an_expansion_is_valid_and_no_other():
    sets = [
        value_set("a", {"system": WARD}, exclude=[only("is-a", "card")]),
        value_set("b", only("is-a", "surg"), listed("tb")),
        value_set("c", {"valueSet": [SETS + "a", SETS + "b"]}),
    ]
    for one in sets:
        url = one["url"]
        inside = codes(answer(expand, *WORLD, *sets, url=url, excludeNested=True))
        for candidate in ("surg", "card", "neuro", "paed", "tb"):
            judged = answer(in_value_set, *WORLD, *sets, url=url, system=WARD, code=candidate)
            assert parameter(judged, "result") is (candidate in inside), (url, candidate)


def test_the_value_sets_of_r4_are_there():
    found = answer(expand, url="http://hl7.org/fhir/ValueSet/administrative-gender")

    assert codes(found) == ["male", "female", "other", "unknown"]
    assert found["version"] == "4.0.1"
