"""R4 references.html#canonical, and the implicit value sets of snomedct.html#implicit."""

from __future__ import annotations

import pytest

from app.terminology.call import Call
from app.terminology.canonicals import split
from app.terminology.expand import expand
from app.terminology.scope import Scope
from app.terminology.service import Terminology
from app.terminology.validate_code import in_value_set
from tests.terminology.robots import below, codes
from tests.terminology.ward import parameter

SNOMED = "http://snomed.info/sct"


@pytest.mark.parametrize(
    ("canonical", "url", "version"),
    [
        ("http://a.example/vs", "http://a.example/vs", None),
        ("http://a.example/vs|1.0", "http://a.example/vs", "1.0"),
        ("http://a.example/vs|", "http://a.example/vs", None),
        ("http://a.example/a|b|2", "http://a.example/a|b", "2"),
        (f"{SNOMED}?fhir_vs|2020", f"{SNOMED}?fhir_vs", "2020"),
        (f"{SNOMED}?fhir_vs=ecl/< 1 |A|", f"{SNOMED}?fhir_vs=ecl/< 1 |A|", None),
        (f"{SNOMED}?fhir_vs=ecl/< 1 |A| OR 2", f"{SNOMED}?fhir_vs=ecl/< 1 |A| OR 2", None),
    ],
)
def test_the_last_bar_divides_url_and_version_but_for_expressions(canonical, url, version):
    assert split(canonical) == (url, version)


def test_terms_in_an_expression_are_part_of_the_url_of_its_value_set(robot_catalogue):
    part = codes()["Sensing part"]
    implied = f"{SNOMED}?fhir_vs=ecl/<< {part} |Sensing part|"
    importing = {
        "resourceType": "ValueSet",
        "url": "urn:importing",
        "compose": {"include": [{"valueSet": [implied]}]},
    }
    scope = Terminology([robot_catalogue]).scope

    for given in ({"url": [implied]}, {"valueSet": [importing]}):
        listed = expand(Call(given, scope))["expansion"]["contains"]
        assert _codes(listed) == below(part)
        assert _is_in(scope, given, part)
        assert not _is_in(scope, given, codes()["Animal"])


def _codes(contains):
    found = set()
    for one in contains:
        found |= {one["code"]} | _codes(one.get("contains", []))
    return found


def _is_in(scope: Scope, given, code):
    asked = {**given, "system": [SNOMED], "code": [code]}
    return parameter(in_value_set(Call(asked, scope)), "result")
