"""Whatever is sent, the answer is an answer: never a fault of ours."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rest.conftest import FHIR_JSON, Api

NAMES = st.sampled_from(
    [
        "resourceType",
        "id",
        "meta",
        "tag",
        "parameter",
        "name",
        "part",
        "valueString",
        "valueCode",
        "valueMeta",
        "resource",
        "type",
        "entry",
        "request",
        "method",
        "url",
        "fullUrl",
        "ifMatch",
        "path",
        "value",
        "op",
        "from",
        "text",
        "div",
        "extension",
        "contained",
        "contentType",
        "data",
        "subject",
        "reference",
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(
        [
            "Patient",
            "Bundle",
            "Parameters",
            "batch",
            "transaction",
            "POST",
            "PATCH",
            "GET",
            "operation",
        ]
    )
    | st.sampled_from(("Patient/x", "Patient?a=b", "urn:uuid:1", "add", "/name/0", "Patient.name")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
BUNDLES = st.fixed_dictionaries(
    {
        "resourceType": st.just("Bundle"),
        "type": st.sampled_from(("batch", "transaction")),
        "entry": st.lists(
            st.fixed_dictionaries(
                {
                    "resource": st.dictionaries(NAMES, VALUES, max_size=4),
                    "request": st.fixed_dictionaries(
                        {
                            "method": st.sampled_from(
                                ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]
                            ),
                            "url": st.sampled_from(
                                [
                                    "Patient",
                                    "Patient/x",
                                    "Patient?a=b",
                                    "Patient/x/$meta",
                                    "$convert",
                                    "x",
                                ]
                            ),
                        },
                        optional={"ifMatch": st.text(max_size=4)},
                    ),
                },
                optional={"fullUrl": st.text(max_size=4)},
            ),
            max_size=3,
        ),
    }
)
PARAMETERS = st.fixed_dictionaries(
    {"resourceType": st.just("Parameters"), "parameter": st.lists(VALUES, max_size=3)}
)
TARGETS = st.sampled_from(
    [
        ("POST", "Patient", FHIR_JSON),
        ("PUT", "Patient/x", FHIR_JSON),
        ("PUT", "Patient?identifier=x", FHIR_JSON),
        ("PATCH", "Patient/hostile", FHIR_JSON),
        ("PATCH", "Patient/hostile", "application/json-patch+json"),
        ("POST", "", FHIR_JSON),
        ("POST", "Patient/$validate", FHIR_JSON),
        ("POST", "Patient/hostile/$meta-add", FHIR_JSON),
        ("POST", "Patient/hostile/$everything", FHIR_JSON),
        ("POST", "$convert", FHIR_JSON),
    ]
)
QUERIES = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "_count",
                "_sort",
                "_include",
                "_page",
                "_elements",
                "_summary",
                "_total",
                "_format",
                "_pretty",
                "_since",
                "_at",
                "family",
                "birthdate",
                "identifier",
                "organization",
                "_has:Observation:patient:code",
                "_filter",
                "near",
            ]
        ),
        st.text(max_size=6) | st.sampled_from(("1", "|", "ge2020", "a,b", "Patient:*", "json")),
    ),
    max_size=3,
)

_FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def sure(api: Api) -> None:
    """See to it that Patient/hostile is there."""
    api.put(
        "Patient/hostile", {"resourceType": "Patient", "id": "hostile", "name": [{"text": "x"}]}
    )


@_FEW
@given(target=TARGETS, body=BUNDLES | PARAMETERS | VALUES)
def test_any_json_is_answered(api: Api, target: tuple[str, str, str], body: Any):
    sure(api)
    method, path, content_type = target

    assert api.request(method, path, body, Content_Type=content_type).status < 500


@_FEW
@given(
    path=st.sampled_from(
        ("Patient", "", "Patient/hostile", "Patient/_history", "Patient/hostile/$everything")
    ),
    query=QUERIES,
)
def test_any_query_is_answered(api: Api, path: str, query: list[tuple[str, str]]):
    sure(api)
    text = "&".join(f"{name}={quote(value)}" for name, value in query)

    assert api.get(f"{path}?{text}").status < 500
