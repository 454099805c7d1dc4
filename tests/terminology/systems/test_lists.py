"""MIME types and the published lists: countries, currencies, languages, time zones, DICOM."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.terminology.systems import special, urls
from app.terminology.systems.mime import MimeTypes
from app.terminology.types import Filter, Selection

MIME = MimeTypes()

CONCEPTS = [
    ("urn:iso:std:iso:3166", "CN", "China", "中国"),
    ("urn:iso:std:iso:3166", "CHN", "China", "中国"),
    ("urn:iso:std:iso:3166", "156", "China", "中国"),
    ("urn:iso:std:iso:3166:-2", "CN-SH", "Shanghai", "上海市"),
    ("urn:iso:std:iso:4217", "CNY", "Yuan Renminbi", "人民币"),
    ("http://terminology.hl7.org/CodeSystem/iso639-1", "zh", "Chinese", "中文"),
    ("http://terminology.hl7.org/CodeSystem/iso639-2", "zho", "Chinese", "中文"),
    ("http://terminology.hl7.org/CodeSystem/iso639-2", "chi", "Chinese", "中文"),
    ("https://www.iana.org/time-zones", "Asia/Shanghai", "Asia/Shanghai", "上海"),
    ("http://dicom.nema.org/resources/ontology/DCM", "121070", "Findings", None),
]


@pytest.mark.parametrize(("url", "code", "display", "chinese"), CONCEPTS)
def test_a_listed_code_has_its_names(url: str, code: str, display: str, chinese: str) -> None:
    concept = special(url)[0].find(code)

    assert concept is not None
    found = next((d.value for d in concept.designations if d.language == "zh-CN"), None)
    assert (concept.display, found) == (display, chinese)


def test_numeric_country_codes_are_selected_as_the_value_set_of_r4_does() -> None:
    (countries,) = special("urn:iso:std:iso:3166")

    numeric = list(countries.select(Selection([Filter("code", "regex", "[0-9]{3}")])))

    assert len(numeric) == 249
    assert "156" in numeric


def test_a_subdivision_stands_below_another_where_it_does() -> None:
    (subdivisions,) = special("urn:iso:std:iso:3166:-2")

    assert subdivisions.is_a("AZ-BAB", "AZ-NX")


@pytest.mark.parametrize("url", urls())
def test_each_says_its_url_and_is_made_once(url: str) -> None:
    (system,) = special(url)

    assert system.header["url"] == url
    assert special(url)[0] is system


def test_no_other_url_is_built_in() -> None:
    assert special("http://loinc.org") == ()


@pytest.mark.parametrize(
    ("given_", "code"),
    [
        ("text/html", "text/html"),
        ("Text/HTML", "text/html"),
        ("text/plain;charset=utf-8", "text/plain;charset=utf-8"),
        ('application/fhir+json; fhirVersion="4.0"', 'application/fhir+json; fhirVersion="4.0"'),
        ("application/vnd.acme.ward-7", "application/vnd.acme.ward-7"),
    ],
)
def test_a_mime_type_is_a_code(given_: str, code: str) -> None:
    concept = MIME.find(given_)

    assert concept is not None
    assert concept.code == code


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("html", "A MIME type is a type, '/' and a subtype"),
        ("ward/html", "The type before '/' is none that is registered"),
        ("image/*", "The subtype after '/' has characters that RFC 6838 does not allow"),
        ("text/", "The subtype after '/' has characters that RFC 6838 does not allow"),
        ("text/plain; a", "The parameters after ';' are not of the form name=value"),
    ],
)
def test_what_is_no_mime_type_says_why(text: str, why: str) -> None:
    assert MIME.find(text) is None
    assert MIME.problem(text) == why


@given(st.text(alphabet='text/pln;=" \\+.-*1', max_size=30))
def test_a_text_is_a_mime_type_or_has_a_reason(text: str) -> None:
    assert (MIME.find(text) is None) == (MIME.problem(text) is not None)
