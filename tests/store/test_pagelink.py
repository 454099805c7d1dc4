"""Page links come back from anywhere: what was not made here is refused, and told as such."""

import base64
import json
from contextlib import suppress

import pytest

from app.errors import Invalid, TooCostly
from app.store import pagelink


def link(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_a_place_comes_back_as_it_was():
    place = [3, -5, "Öz", None, 2.5]

    assert pagelink.parse(pagelink.text(place), integers=2) == place


@pytest.mark.parametrize(
    "text",
    [
        "%",
        "é",
        link({}),
        link([1]),
        link([1, 1 << 63]),
        link([1, "a"]),
        link([1, 1.5]),
        link([1, 2, []]),
        link([1, 2, {}]),
        link([1, -(1 << 63) - 1]),
        link([1, 1e300]),
        link([1, True]),
        link([1, 2, True]),
    ],
)
def test_what_is_no_place_is_refused(text):
    with pytest.raises(Invalid):
        pagelink.parse(text, integers=2)


@pytest.mark.parametrize("last", [["a", 1], [None, 1], [1], [1, 2, 3], [1.5, 1]])
def test_a_link_of_another_search_is_refused(kit, last):
    with pytest.raises(Invalid):
        kit.page("Patient", f"_page={link([5, *last])}")


def test_a_link_of_another_history_is_refused(kit):
    with pytest.raises(Invalid):
        kit.store.history("Patient", None, count=1, cursor=link([1 << 63, 1]))


def test_a_number_beyond_all_numbers_is_compared(kit):
    kit.create(
        {
            "resourceType": "RiskAssessment",
            "status": "final",
            "subject": {"reference": "Patient/1"},
            "prediction": [{"probabilityDecimal": 0.5}],
        }
    )

    assert len(kit.found("RiskAssessment", "probability=lt1e400")) == 1
    assert len(kit.found("RiskAssessment", "probability=gt-1e400")) == 1
    assert kit.found("RiskAssessment", "probability=1e400") == []


@pytest.mark.parametrize(
    "query",
    [
        "name=" + ",".join(f"a{n}" for n in range(3000)),
        "birthdate=" + ",".join(["2020-01-01"] * 3000),
        "_lastUpdated=" + ",".join(["2020-01-01"] * 3000),
        "_filter=" + " or ".join(["name eq a"] * 1500),
        "&".join(["name=a"] * 1500),
    ],
)
def test_more_values_than_a_statement_bears_are_refused(kit, query):
    with pytest.raises(TooCostly):
        kit.page("Patient", query)


def test_a_value_with_nul_is_no_fault(kit):
    with suppress(Invalid):  # PostgreSQL takes no NUL
        assert kit.found("Patient", "name=a\0b") == []
