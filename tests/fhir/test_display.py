"""A short text for a person, from the usual elements. R4 references.html#Reference.display."""

from __future__ import annotations

import pytest

from app.fhir.display import display, value


@pytest.mark.parametrize(
    ("resource", "text"),
    [
        ({"name": [{"family": "张", "given": ["伟"]}]}, "张伟"),
        ({"name": [{"family": "Chalmers", "given": ["Peter", "James"]}]}, "Peter James Chalmers"),
        ({"name": [{"use": "old"}, {"text": "Li Na"}]}, "Li Na"),
        ({"name": "西湖医院"}, "西湖医院"),
        ({"deviceName": [{"name": "CM-10", "type": "model-name"}]}, "CM-10"),
        ({"manufacturer": "Acme", "modelNumber": "7"}, "Acme 7"),
        ({"code": {"coding": [{"code": "8867-4", "display": "Heart rate"}]}}, "Heart rate"),
        ({"code": {"coding": [{"code": "8867-4"}]}}, "8867-4"),
        ({"code": {"text": "pulse", "coding": [{"code": "8867-4"}]}}, "pulse"),
        ({"title": "Report"}, "Report"),
        ({"status": "final"}, None),
        ({"name": [], "code": {}}, None),
    ],
)
def test_the_first_usual_element_with_a_text_is_shown(resource, text):
    assert display(resource) == text


@pytest.mark.parametrize(
    ("observation", "text"),
    [
        ({"valueQuantity": {"value": 72.5, "unit": "/min"}}, "72.5 /min"),
        ({"valueQuantity": {"comparator": "<", "value": 1, "code": "mg"}}, "<1 mg"),
        ({"valueString": "positive"}, "positive"),
        ({"valueBoolean": True}, "true"),
        ({"valueInteger": 3}, "3"),
        ({"valueCodeableConcept": {"text": "A"}}, "A"),
        ({"valueSampledData": {"data": "1 2"}}, None),
        ({"status": "final"}, None),
        (
            {
                "component": [
                    {"code": {"text": "systolic"}, "valueQuantity": {"value": 120}},
                    {"code": {"text": "quality"}},
                    {"code": {"text": "diastolic"}, "valueQuantity": {"value": 80}},
                ]
            },
            "systolic 120; diastolic 80",
        ),
    ],
)
def test_a_value_is_shown_in_one_line(observation, text):
    assert value(observation) == text
