"""$translate and $subsumes: R4 and R5 names, reverse, unmapped, joins, versions."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import Invalid, NotFound, Unprocessable
from app.terminology.call import Call
from app.terminology.catalogue import Resources
from app.terminology.memory import MemorySystem
from app.terminology.service import Scope
from app.terminology.subsumes import subsumes
from app.terminology.translate import both, translate

HC, TENDER, CHARGE = "urn:test:item", "urn:test:tender", "urn:test:charge"


def concept_map(name: str, source: str, target: str, *elements: Any, **more: Any) -> dict[str, Any]:
    group = {"source": source, "target": target, "element": list(elements), **more.pop("group", {})}
    return {
        "resourceType": "ConceptMap",
        "url": f"urn:test:map:{name}",
        "version": "1",
        "status": "active",
        "group": [group],
        **more,
    }


def element(code: str, *targets: tuple[str, str]) -> dict[str, Any]:
    listed = [{"code": t, "equivalence": equivalence} for t, equivalence in targets]
    return {"code": code, "target": listed}


ITEMS = concept_map("tender", HC, TENDER, element("HC-3018", ("T-55", "equivalent")))
CHARGES = concept_map("charge", HC, CHARGE, element("HC-3018", ("330100018", "wider")))


def call(*maps: Any, **given: Any) -> Call:
    return Call({name: [value] for name, value in given.items()}, Scope([Resources((), maps)]))


def found(answer: Any) -> list[tuple[str, str]]:
    """Return (code, equivalence) of each match."""
    matches = []
    for parameter in answer.resource["parameter"]:
        if parameter["name"] == "match":
            parts = {p["name"]: p for p in parameter["part"]}
            matches.append(
                (parts["concept"]["valueCoding"]["code"], parts["equivalence"]["valueCode"])
            )
    return matches


def result(answer: Any) -> bool:
    return answer.resource["parameter"][0]["valueBoolean"]


@pytest.mark.parametrize(
    "given",
    [
        {"code": "HC-3018", "system": HC, "targetsystem": TENDER},
        {"sourceCode": "HC-3018", "sourceSystem": HC, "targetSystem": TENDER},
        {"coding": {"system": HC, "code": "HC-3018"}},
        {"sourceCoding": {"system": HC, "code": "HC-3018"}},
        {"codeableConcept": {"coding": [{"system": HC, "code": "HC-3018"}]}},
        {"code": "HC-3018", "system": HC, "url": "urn:test:map:tender|1"},
        {"code": "HC-3018", "system": HC, "conceptMap": ITEMS},
    ],
)
def test_a_code_is_translated_whatever_the_parameters_are_called(given: Any) -> None:
    answer = translate(call(ITEMS, **given))

    assert result(answer)
    assert found(answer) == [("T-55", "equivalent")]
    assert answer.unmapped == []


def test_the_reverse_of_r5_names_the_source_beside_the_target() -> None:
    answer = translate(call(CHARGES, targetCode="330100018", targetSystem=CHARGE, sourceSystem=HC))

    parts = {p["name"]: p for p in answer.resource["parameter"][1]["part"]}
    assert parts["concept"]["valueCoding"] == {"system": CHARGE, "code": "330100018"}
    assert parts["source"]["valueCoding"] == {"system": HC, "code": "HC-3018"}
    assert parts["equivalence"]["valueCode"] == "wider"
    assert parts["originMap"]["valueCanonical"] == "urn:test:map:charge|1"


def test_the_reverse_of_r4_turns_the_equivalence() -> None:
    answer = translate(call(CHARGES, code="330100018", system=CHARGE, reverse=True))

    assert found(answer) == [("HC-3018", "narrower")]


def test_two_maps_are_joined_through_the_system_between() -> None:
    tender_to_item = concept_map("back", TENDER, HC, element("T-55", ("HC-3018", "equivalent")))

    answer = translate(
        call(tender_to_item, CHARGES, code="T-55", system=TENDER, targetsystem=CHARGE)
    )

    assert found(answer) == [("330100018", "wider")]
    origins = [p["valueCanonical"] for p in answer.resource["parameter"][1]["part"][2:]]
    assert origins == ["urn:test:map:back|1", "urn:test:map:charge|1"]


def test_a_code_without_a_map_is_told_and_kept() -> None:
    answer = translate(call(ITEMS, code="HC-1", system=HC, targetsystem=TENDER))

    assert not result(answer)
    assert answer.resource["parameter"][1]["name"] == "message"
    assert answer.unmapped == [(HC, "HC-1", TENDER)]


@pytest.mark.parametrize(
    ("unmapped", "expected"),
    [
        ({"mode": "fixed", "code": "other"}, [("other", "relatedto")]),
        ({"mode": "provided"}, [("x", "equivalent")]),
        ({"mode": "use-source-code", "relationship": "related-to"}, [("x", "relatedto")]),
        ({"mode": "other-map", "url": "urn:test:map:other"}, [("o", "equal")]),
        ({"mode": "other-map", "url": "urn:test:map:main"}, []),
        ({"mode": "other-map", "url": "urn:test:map:nowhere"}, []),
    ],
)
def test_what_a_group_does_not_list_follows_its_unmapped_rule(unmapped: Any, expected: Any) -> None:
    main = concept_map("main", HC, TENDER, group={"unmapped": unmapped})
    other = concept_map("other", HC, TENDER, element("x", ("o", "equal")))

    answer = translate(call(main, other, code="x", system=HC, url="urn:test:map:main"))

    assert found(answer) == expected


def test_a_disjoint_target_is_shown_and_is_no_translation() -> None:
    disjoint = concept_map("d", HC, TENDER, element("HC-3018", ("T-1", "disjoint")))

    answer = translate(call(disjoint, code="HC-3018", system=HC))

    assert not result(answer)
    assert found(answer) == [("T-1", "disjoint")]


def test_relationships_of_r5_are_answered_as_equivalences() -> None:
    r5 = concept_map(
        "r5",
        HC,
        TENDER,
        {"code": "a", "target": [{"code": "b", "relationship": "source-is-narrower-than-target"}]},
    )

    assert found(translate(call(r5, code="a", system=HC))) == [("b", "wider")]


def test_the_latest_version_of_a_map_counts_unless_another_is_named() -> None:
    newer = ITEMS | {
        "version": "2",
        "group": [
            {"source": HC, "target": TENDER, "element": [element("HC-3018", ("T-56", "equal"))]}
        ],
    }
    maps = (ITEMS, newer)

    latest = translate(call(*maps, code="HC-3018", system=HC))
    first = translate(call(*maps, code="HC-3018", system=HC, url="urn:test:map:tender|1"))

    assert found(latest) == [("T-56", "equal")]
    assert found(first) == [("T-55", "equivalent")]


def test_groups_of_another_version_of_the_system_do_not_count() -> None:
    versioned = concept_map("v", f"{HC}|2026", TENDER, element("a", ("b", "equal")))
    asked = {"system": HC, "code": "a"}

    assert found(translate(call(versioned, coding=asked | {"version": "2026"})))
    assert not found(translate(call(versioned, coding=asked | {"version": "2025"})))
    assert found(translate(call(versioned, coding=asked)))


def test_a_map_that_is_not_known_is_an_error() -> None:
    with pytest.raises(NotFound):
        translate(call(ITEMS, code="a", system=HC, url="urn:test:map:none"))
    with pytest.raises(Invalid):
        translate(call(ITEMS, system=HC))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("equal", "equivalent", "equivalent"),
        ("equivalent", "narrower", "narrower"),
        ("subsumes", "equal", "subsumes"),
        ("wider", "subsumes", "wider"),
        ("specializes", "narrower", "narrower"),
        ("wider", "narrower", "relatedto"),
        ("inexact", "wider", "relatedto"),
    ],
)
def test_two_equivalences_one_after_the_other(one: str, other: str, expected: str) -> None:
    assert both(one, other) == expected


TREE = {
    "resourceType": "CodeSystem",
    "url": "urn:test:tree",
    "content": "complete",
    "concept": [
        {
            "code": "animal",
            "concept": [{"code": "mammal", "concept": [{"code": "bat"}]}, {"code": "flier"}],
        },
        {"code": "stone"},
    ],
}
TREE["concept"][0]["concept"][0]["concept"][0]["property"] = [  # type: ignore[index]
    {"code": "parent", "valueCode": "flier"}
]


def of_tree(tree: Any = TREE, **given: Any) -> Call:
    values = {"system": "urn:test:tree", **given}
    scope = Scope([Resources([MemorySystem(tree)])])
    return Call({name: [value] for name, value in values.items()}, scope)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("mammal", "bat", "subsumes"),
        ("bat", "animal", "subsumed-by"),
        ("flier", "bat", "subsumes"),
        ("bat", "bat", "equivalent"),
        ("mammal", "flier", "not-subsumed"),
        ("stone", "bat", "not-subsumed"),
    ],
)
def test_one_code_subsumes_another_by_every_parent(one: str, other: str, expected: str) -> None:
    answer = subsumes(of_tree(codeA=one, codeB=other))

    assert answer["parameter"] == [{"name": "outcome", "valueCode": expected}]


def test_what_is_not_known_is_an_error_not_not_subsumed() -> None:
    with pytest.raises(NotFound):
        subsumes(of_tree(codeA="bat", codeB="dragon"))
    with pytest.raises(NotFound):
        subsumes(of_tree(codeA="bat", codeB="bat", system="urn:test:none"))
    with pytest.raises(Invalid):
        subsumes(of_tree(codeA="bat"))


def test_a_hierarchy_of_parts_says_nothing_about_kinds() -> None:
    parts = TREE | {"hierarchyMeaning": "part-of"}

    with pytest.raises(Unprocessable):
        subsumes(of_tree(parts, codeA="bat", codeB="mammal"))
