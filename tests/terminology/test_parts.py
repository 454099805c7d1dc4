"""The parts of terminology that stand alone: languages, cache ids, pages of resources."""

from __future__ import annotations

import pytest

from app.errors import NotFound
from app.terminology import languages
from app.terminology.catalogue import Definitions, Resources
from app.terminology.issues import Refused
from app.terminology.memory import MemorySystem
from app.terminology.service import Terminology
from tests.terminology.ward import ALL, SETS, WARD, concept, prop, wards


@pytest.mark.parametrize(
    ("wanted", "language", "serves"),
    [
        ("de", "de-CH", True),
        ("de-CH", "de", True),
        ("zh-CN", "zh-Hans", True),
        ("zh-CN", "zh-Hans-CN", True),
        ("zh-CN", "zh", True),
        ("zh-CN", "zh-TW", False),
        ("zh-TW", "zh-Hant", True),
        ("zh", "zh-CN", True),
        ("en", "es", False),
        ("en-US", "en-GB", False),
    ],
)
def test_a_language_is_served_by_a_more_specific_and_by_a_shorter_one(
    wanted: str, language: str, serves: bool
):
    assert languages.satisfies(wanted, language) is serves


def test_a_weighted_list_has_an_order():
    found = languages.parse("en;q=0.5, de-CH, *;q=0")

    assert found.tags == ("de-CH", "en")
    assert found.others is False


@pytest.mark.parametrize("text", ["-", "de;q=2", "de de", "toolonglanguage", ","])
def test_what_is_no_list_of_languages_is_refused(text: str):
    with pytest.raises(Refused):
        languages.parse(text)


def test_a_concept_may_have_several_parents():
    system = MemorySystem(
        wards("9", concept("both", "Both", property=[prop("parent", valueCode="paed")]))
        | {
            "concept": [
                concept(
                    "a", "A", concept("both", "Both", property=[prop("parent", valueCode="b")])
                ),
                concept("b", "B", concept("loop", "Loop")),
            ]
        }
    )

    assert system.is_a("both", "a")
    assert system.is_a("both", "b")
    assert not system.is_a("a", "both")
    assert system.children("b") == ["both", "loop"]


def test_a_circle_of_parents_does_no_harm():
    system = MemorySystem(
        {
            "url": "x",
            "concept": [
                {"code": "a", "property": [prop("parent", valueCode="b")]},
                {"code": "b", "property": [prop("parent", valueCode="a")]},
            ],
        }
    )

    assert system.is_a("a", "b")
    assert not system.is_a("a", "c")


def test_resources_of_a_request_are_seen_by_that_request_only():
    terminology = Terminology([Definitions()])

    mine = terminology.catalogue({"tx-resource": [wards(), ALL]})

    assert mine.system(WARD) is not None
    assert mine.value_set(SETS + "all") is not None
    assert terminology.catalogue({}).system(WARD) is None
    assert terminology.resolve_system(WARD) is None


def test_a_cache_id_stands_for_resources_until_it_is_ended():
    terminology = Terminology([Definitions()])
    cache_id = terminology.remembered.start([wards(), ALL])

    seen = terminology.catalogue({}, cache_id=cache_id).system(WARD)
    terminology.remembered.end(cache_id)

    assert seen is not None
    with pytest.raises(NotFound):
        terminology.catalogue({}, cache_id=cache_id)


def test_a_cache_id_that_the_client_chose_collects_what_is_sent_under_it():
    terminology = Terminology([Definitions()])

    terminology.catalogue({"cache-id": ["mine"], "tx-resource": [wards()]})
    terminology.catalogue({"cache-id": ["mine"], "tx-resource": [ALL]})
    seen = terminology.catalogue({"cache-id": ["mine"]})

    assert seen.system(WARD) is not None
    assert seen.value_set(SETS + "all") is not None
    assert terminology.catalogue({"cache-id": ["other"]}).system(WARD) is None


def test_membership_can_be_asked_without_a_request():
    terminology = Terminology([Definitions()])
    gender = "http://hl7.org/fhir/ValueSet/administrative-gender"
    system = "http://hl7.org/fhir/administrative-gender"

    assert terminology.contains(gender, system, "male") is True
    assert terminology.contains(gender, system, "green") is False
    assert terminology.contains("http://unknown.example", system, "male") is None


def test_a_listed_code_is_in_even_when_nobody_knows_its_code_system():
    terminology = Terminology([Definitions()])
    signs = "http://hl7.org/fhir/ValueSet/observation-vitalsignresult"

    assert terminology.contains(signs, "http://loinc.org", "8867-4") is True
    assert terminology.contains(signs, "http://loinc.org", "718-7") is False


def test_a_resource_without_codes_does_not_hide_the_code_system_that_has_them():
    described = MemorySystem(wards(content="not-present") | {"concept": []})

    terminology = Terminology([Resources([described]), Resources([MemorySystem(wards())])])

    found = terminology.resolve_system(WARD)
    assert found is not None
    assert found.find("card") is not None
