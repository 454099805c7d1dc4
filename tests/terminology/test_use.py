"""What the rest of the house asks of terminology: search modifiers and bindings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.api import create, update
from app.errors import Invalid
from app.fhir import bindings
from app.store.store import Store, open_store
from app.store.types import SearchRequest
from app.terminology.bound import BoundValueSets
from app.terminology.catalogue import Definitions, Resources
from app.terminology.memory import MemorySystem
from app.terminology.posted import Posted
from app.terminology.searched import LIMIT, SearchedCodes
from app.terminology.service import Terminology
from app.terminology.systems import Specials

ANIMALS = {
    "resourceType": "CodeSystem",
    "url": "urn:test:animals",
    "status": "active",
    "content": "complete",
    "concept": [
        {"code": "mammal", "concept": [{"code": "dog"}, {"code": "cat"}]},
        {"code": "bird"},
    ],
}
PETS = {
    "resourceType": "ValueSet",
    "id": "pets",
    "url": "urn:test:pets",
    "status": "active",
    "compose": {
        "include": [
            {"system": "urn:test:animals", "concept": [{"code": "dog"}, {"code": "bird"}]},
        ]
    },
}


BIG = {  # more codes than a search lists
    "resourceType": "CodeSystem",
    "url": "urn:test:big",
    "content": "complete",
    "concept": [
        {"code": "T", "concept": [{"code": f"T{n}"} for n in range(LIMIT + 1)]},
        {"code": "other"},
    ],
}


ALL_BIG = {
    "resourceType": "ValueSet",
    "url": "urn:test:all-big",
    "compose": {"include": [{"system": "urn:test:big"}]},
}


def observation(code: str, system: str = "urn:test:animals") -> dict[str, Any]:
    coding = {"system": system, "code": code}
    return {"resourceType": "Observation", "status": "final", "code": {"coding": [coding]}}


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def store(request: Any, tmp_path_factory: Any) -> Iterator[Store]:
    if request.param == "sqlite":
        folder: Path = tmp_path_factory.mktemp("use")
        yield from filled(f"sqlite:///{folder / 'yilian.db'}")
        return
    with request.getfixturevalue("postgres").database() as url:
        yield from filled(url)


def filled(url: str) -> Iterator[Store]:
    opened = open_store(url)
    big = Resources([MemorySystem(BIG)], [ALL_BIG])
    opened.codes = SearchedCodes(Terminology([Posted(opened), big, Specials(), Definitions()]))
    opened.commit([create(ANIMALS), update(PETS)])
    opened.commit([create(observation(code)) for code in ("mammal", "dog", "cat", "bird")])
    opened.commit([create(observation(code, "urn:test:big")) for code in ("T7", "other")])
    yield opened
    opened.close()


def found(store: Store, name: str, value: str) -> Sequence[str]:
    page = store.search(SearchRequest("Observation", [(name, value)]))
    return sorted(orjson.loads(m.body)["code"]["coding"][0]["code"] for m in page.matches)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("code:in", "urn:test:pets", ["bird", "dog"]),
        ("code:not-in", "urn:test:pets", ["T7", "cat", "mammal", "other"]),
        ("code:in", "urn:test:all-big", ["T7", "other"]),
        ("code:below", "urn:test:big|T", ["T7"]),
        ("code:above", "urn:test:big|T7", ["T7"]),
        ("code:in", "http://hl7.org/fhir/ValueSet/ucum-units", []),
        ("code:below", "urn:test:animals|mammal", ["cat", "dog", "mammal"]),
        ("code:above", "urn:test:animals|dog", ["dog", "mammal"]),
        ("code:below", "urn:test:animals|bird", ["bird"]),
        ("code:below", "urn:test:animals|bird,urn:test:animals|dog", ["bird", "dog"]),
        ("code:in", "ValueSet/pets", ["bird", "dog"]),
        ("code:in", "http://hl7.org/fhir/ValueSet/ucum-units,urn:test:pets", ["bird", "dog"]),
        ("_filter", "code ss urn:test:animals|mammal", ["cat", "dog", "mammal"]),
        ("_filter", "code sb urn:test:animals|dog and code ne dog", ["mammal"]),
        ("_filter", "code in urn:test:pets", ["bird", "dog"]),
        ("_filter", "code ni urn:test:pets", ["T7", "cat", "mammal", "other"]),
    ],
)
def test_codes_are_searched_by_what_terminology_says(
    store: Store, name: str, value: str, expected: list[str]
) -> None:
    assert found(store, name, value) == expected


def test_a_changed_value_set_changes_what_is_found(store: Store) -> None:
    first = found(store, "code:in", "urn:test:pets")
    changed = PETS | {"compose": {"include": [{"system": "urn:test:animals"}]}}
    store.commit([update(changed)])
    then = found(store, "code:in", "urn:test:pets")
    store.commit([update(PETS)])

    assert (first, then) == (["bird", "dog"], ["bird", "cat", "dog", "mammal"])


def test_what_terminology_does_not_know_is_an_error_not_an_empty_page(store: Store) -> None:
    for name, value in (
        ("code:in", "urn:test:nothing"),
        ("code:below", "urn:test:nothing|x"),
        ("code:above", "urn:test:animals|dragon"),
    ):
        with pytest.raises(Invalid):
            found(store, name, value)


def test_what_the_hub_writes_is_named_in_chinese_if_there_is_a_name() -> None:
    terminology = Terminology([Specials(), Definitions()])

    assert terminology.display("urn:iso:std:iso:11073:10101", "147842") == "心电心率"
    assert terminology.display("urn:iso:std:iso:11073:10101", "147842", "en") == (
        "Heart rate from the ECG"
    )
    assert terminology.display("http://hl7.org/fhir/administrative-gender", "male") == "Male"
    assert terminology.display("urn:none", "x") is None


def issues(resource: dict[str, Any]) -> list[tuple[str, str]]:
    value_sets = BoundValueSets(Terminology([Specials(), Definitions()]).scope)
    broken = bindings.problems(resource, resource["resourceType"], value_sets)
    return [(issue.severity, issue.at or "") for issue in broken]


def test_a_required_binding_to_a_grammar_is_checked() -> None:
    binary = {"resourceType": "Binary", "contentType": "no type"}

    assert issues(binary) == [("error", "Binary.contentType")]
    assert issues(binary | {"contentType": "application/fhir+json"}) == []


def test_an_extensible_binding_that_is_not_met_is_a_warning() -> None:
    married = {"system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "code": "M"}
    unlisted = {"system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "code": "?"}

    def patient(*codings: Any) -> dict[str, Any]:
        return {"resourceType": "Patient", "maritalStatus": {"coding": list(codings)}}

    relation = {
        "resourceType": "Patient",
        "contact": [{"relationship": [{"coding": [{"system": "urn:x", "code": "boss"}]}]}],
    }
    assert issues(patient(married)) == []
    assert issues(patient(unlisted)) == [("warning", "Patient.maritalStatus")]
    assert issues(patient(unlisted, married)) == []
    assert issues({"resourceType": "Patient", "maritalStatus": {"text": "wed"}}) == []
    assert issues(relation) == [("warning", "Patient.contact[0].relationship[0]")]


def test_what_is_not_known_here_breaks_no_binding() -> None:
    problem = {"system": "http://snomed.info/sct", "code": "1"}
    condition = {
        "resourceType": "Condition",
        "subject": {"display": "x"},
        "code": {"coding": [problem]},
        "bodySite": [{"coding": [problem]}],
    }

    assert issues(condition) == []
