"""The generator of test resources makes what it promises, for all types."""

import pytest

from app.fhir import definitions
from app.fhir.validate import problems
from tests.generate import body, maximal, minimal, resource


@pytest.mark.parametrize("type_name", definitions.resource_types())
def test_generated_resources_are_valid(type_name):
    made = [
        minimal(type_name),
        maximal(type_name),
        *(resource(type_name, s) for s in (1, 2)),
    ]

    assert [problems(one, type_name) for one in made] == [[], [], [], []]


def test_the_same_seed_gives_the_same_resource():
    assert body(resource("Observation", 5)) == body(resource("Observation", 5))
