"""Content negotiation: R4 http.html#mime-type, #version-parameter, #ops."""

from __future__ import annotations

import pytest

from app.errors import NotAcceptable, UnsupportedMediaType
from app.rest.negotiate import (
    Format,
    content_encoding,
    prefer,
    request_format,
    response_format,
)

JSON, XML = Format.JSON, Format.XML


@pytest.mark.parametrize(
    ("accept", "parameter", "expected"),
    [
        (None, None, JSON),
        ("", None, JSON),
        ("*/*", None, JSON),
        ("application/json", None, JSON),
        ("text/json", None, JSON),
        ("application/fhir+xml", None, XML),
        ("text/xml; charset=utf-8", None, XML),
        ("application/fhir+json; fhirVersion=4.0", None, JSON),
        ("image/png, application/fhir+json;q=0.8, */*;q=0.1", None, JSON),
        ("application/fhir+json;q=0.5, application/fhir+xml;q=0.9", None, XML),
        ("*/*, application/fhir+xml", None, XML),
        ("application/fhir+json;fhirVersion=5.0, application/fhir+xml", None, XML),
        ("application/fhir+json;q=0, application/xml;q=0.1", None, XML),
        ("application/fhir+json;q=0, */*", None, XML),
        ("application/fhir+json", "xml", XML),
        ("image/png", "json", JSON),
        (None, "application/fhir xml", XML),
        (None, "application/fhir xml; fhirVersion=4.0", XML),
        (None, "application/fhir+json", JSON),
    ],
)
def test_the_best_format_both_sides_know_is_chosen(accept, parameter, expected):
    assert response_format(accept, parameter) is expected


@pytest.mark.parametrize(
    ("accept", "parameter"),
    [
        ("image/png", None),
        ("application/fhir+json; fhirVersion=1.0", None),
        ("application/fhir+json;q=0", None),
        ("text/html", None),
        (None, "pdf"),
        (None, "application/fhir json; fhirVersion=3.0"),
    ],
)
def test_nothing_in_common_is_not_acceptable(accept, parameter):
    with pytest.raises(NotAcceptable):
        response_format(accept, parameter)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (None, None),
        ("application/fhir+json", JSON),
        ("application/fhir+json; charset=UTF-8", JSON),
        ('application/json; charset="utf8"', JSON),
        ("application/fhir+xml; fhirVersion=4.0", XML),
    ],
)
def test_the_format_of_a_body_is_that_of_its_content_type(content_type, expected):
    assert request_format(content_type) is expected


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/fhir+json; fhirVersion=3.0", "application/json; charset=gbk"],
)
def test_another_content_type_version_or_charset_is_refused(content_type):
    with pytest.raises(UnsupportedMediaType):
        request_format(content_type)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("gzip", "gzip"),
        ("gzip, deflate, br", "gzip"),
        ("gzip, zstd", "zstd"),
        ("zstd;q=0.1, gzip;q=0.9", "gzip"),
        ("identity", None),
        ("gzip;q=0", None),
        ("*", "zstd"),
    ],
)
def test_an_answer_is_compressed_as_the_client_prefers(header, expected):
    assert content_encoding(header) == expected


def test_preferences_are_read_in_both_spellings_and_unknown_ones_ignored():
    found = prefer("return=minimal; wait=10, handling=lenient, respond-async")

    assert (found.returns, found.handling, found.respond_async) == ("minimal", "lenient", True)
    assert prefer("return=operationoutcome").returns == "OperationOutcome"
    assert prefer("return=everything").returns is None
