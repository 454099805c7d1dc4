"""The terminology page: codes and value sets found and shown, in both languages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from app import console
from app.api import create
from app.clock import WallClock
from app.rest import create_app
from app.rest.services import Options
from app.store.store import Store, open_store
from app.terminology import unmapped
from app.terminology.catalogue import Definitions
from app.terminology.service import Terminology
from app.terminology.shipped import shipped
from app.terminology.systems import Specials
from tests.support import ROOT

MDC = "urn:iso:std:iso:11073:10101"


@dataclass
class OneProcess:
    store: Store
    http: Options = field(default_factory=Options)
    clock: WallClock = field(default_factory=WallClock)
    terminology: Terminology = field(
        default_factory=lambda: Terminology([Specials(), shipped(ROOT / "profiles"), Definitions()])
    )

    def listeners(self) -> dict[str, str]:
        return {}

    def not_ready(self) -> list[str]:
        return []


@pytest.fixture(scope="module")
def words(tmp_path_factory: Any) -> Iterator[Callable[..., str]]:
    folder: Path = tmp_path_factory.mktemp("terminology")
    store = open_store(f"sqlite:///{folder / 'yilian.db'}")
    pets = {
        "resourceType": "ValueSet",
        "url": "urn:test:pets",
        "title": "House pets 家养宠物",
        "status": "active",
        "compose": {"include": [{"system": MDC, "concept": [{"code": "147842"}]}]},
    }
    store.commit([create(pets)])
    unmapped.met(store, [("urn:test:item", "HC-1", "urn:test:tender")])
    hub = OneProcess(store)
    client = Client(create_app(hub, [console.blueprint(hub)]))

    def seen(path: str, status: int = 200, **query: str) -> str:
        answer = client.get(
            path, query_string=query, headers={"Host": "localhost", "Accept": "text/html"}
        )
        assert answer.status_code == status
        body = re.sub(r"(?s)<(script|style|head)\b.*?</\1>", "", answer.text)
        return " ".join(re.sub(r"<[^>]+>", " ", body).split())

    yield seen
    store.close()


def test_the_page_lists_code_systems_and_what_waits_for_a_map(words: Any) -> None:
    text = words("/terminology", lang="en")

    assert "Unified Code for Units of Measure (UCUM) http://unitsofmeasure.org 2.2" in text
    assert "1 codes without a map" in text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("心率", f"147842 心电心率 Heart rate from the ECG {MDC}"),
        ("147842", f"147842 心电心率 Heart rate from the ECG {MDC}"),
        ("mg/dL", "mg/dL 毫克每分升 mg/dL http://unitsofmeasure.org"),
        ("zh-hans-cn", "zh-Hans-CN 中文（文字=简体，地区=中国）"),
        ("上海", "CN-SH 上海市 Shanghai"),
        ("宠物", "House pets 家养宠物 urn:test:pets"),
        ("urn:test:pets", "House pets 家养宠物 urn:test:pets"),
        ("transgender", "transgender-female"),
        ("AdministrativeGender", "http://hl7.org/fhir/ValueSet/administrative-gender"),
    ],
)
def test_a_code_or_value_set_is_found_by_code_and_by_name(
    words: Any, query: str, expected: str
) -> None:
    assert expected in words("/terminology", q=query, lang="zh")


def test_a_code_is_shown_with_names_properties_and_translations(words: Any) -> None:
    text = words("/terminology", system=MDC, code="147842", lang="zh")

    for expected in (
        "心电心率 147842 · Heart rate from the ECG",
        "zh-CN 心电心率",
        "unit /min",
        "8867-4 Heart rate equivalent http://loinc.org",
    ):
        assert expected in text


def test_a_code_is_shown_where_it_stands_in_the_hierarchy(words: Any) -> None:
    system = "http://terminology.hl7.org/CodeSystem/v3-ActCode"

    text = words("/terminology", system=system, code="IMP", lang="en")

    assert "inpatient encounter" in text
    assert "› inpatient encounter" in text
    assert "Below" in text
    assert "ACUTE inpatient acute" in text


def test_a_value_set_is_shown_with_its_codes(words: Any) -> None:
    text = words(
        "/terminology", valueset="http://hl7.org/fhir/ValueSet/administrative-gender", lang="en"
    )

    assert "male Male" in text
    assert "http://hl7.org/fhir/ValueSet/administrative-gender|4.0.1" in text


def test_codes_without_a_map_are_listed(words: Any) -> None:
    text = words("/terminology/unmapped", lang="zh")

    assert "HC-1 urn:test:item urn:test:tender" in text


def test_what_is_not_known_is_not_found(words: Any) -> None:
    words("/terminology", 404, system="urn:none", code="x")
    words("/terminology", 404, system=MDC, code="none")
    words("/terminology", 404, valueset="urn:none")


def test_what_is_typed_is_shown_as_text(words: Any) -> None:
    assert "<b>" not in words("/terminology", q="<b>x</b>")
    assert "未找到代码" in words("/terminology", q='"><script>', lang="zh")
