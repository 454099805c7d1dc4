"""Terminology operations with input of the wrong shape, and input made to cost: never a 5xx."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.rest.conftest import Api
from tests.terminology.ward import ALL, SETS, WARD, listed, only, parameter, value_set, wards

OPERATIONS = (
    "ValueSet/$expand",
    "ValueSet/$validate-code",
    "CodeSystem/$validate-code",
    "CodeSystem/$lookup",
)
WRONG = (None, 5, "", "x", "-", "|", [], {}, [None], [[]], [{}], {"a": 1}, True, "9" * 5000)
SET = value_set("x", only("is-a", "surg"), listed("paed", valueSet=[ALL["url"]]))
SENT = {
    "resourceType": "Parameters",
    "parameter": [
        {"name": "url", "valueUri": SETS + "x"},
        {"name": "coding", "valueCoding": {"system": WARD, "code": "card", "version": "2.0.0"}},
        {"name": "system", "valueUri": WARD},
        {"name": "code", "valueCode": "card"},
        {"name": "property", "valueString": "*"},
        {"name": "displayLanguage", "valueCode": "zh, en;q=0.3"},
        {"name": "tx-resource", "resource": wards()},
        {"name": "tx-resource", "resource": ALL},
        {"name": "tx-resource", "resource": SET},
    ],
}


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to every part of a JSON value."""
    inside = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in inside:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


@pytest.mark.parametrize("seed", range(4))
def test_any_part_of_the_wrong_shape_is_refused_or_passed_over(api: Api, seed: int):
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    everywhere = list(places(SENT))
    for _ in range(40):
        body = copy.deepcopy(SENT)
        *above, last = chance.choice(everywhere)
        node: Any = body
        for key in above:
            node = node[key]
        node[last] = copy.deepcopy(chance.choice(WRONG))
        operation = chance.choice(OPERATIONS)

        answer = api.post(operation, body)

        assert answer.status < 500, (operation, above, last, node[last])


def test_imports_that_multiply_are_no_more_work_than_there_are_value_sets(api: Api):
    doubling = [value_set(f"d{n}", *[{"valueSet": [f"{SETS}d{n + 1}"]}] * 2) for n in range(40)]
    end = value_set("d40", {"system": WARD})
    resources = [wards(), *doubling, end]
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "url", "valueUri": SETS + "d0"},
            {"name": "coding", "valueCoding": {"system": WARD, "code": "card"}},
            *({"name": "tx-resource", "resource": one} for one in resources),
        ],
    }

    judged = api.post("ValueSet/$validate-code", body)
    expanded = api.post("ValueSet/$expand", body)

    assert parameter(judged.json, "result") is True
    assert expanded.json["expansion"]["total"] == 5


def test_imports_too_deep_to_follow_are_refused(api: Api):
    chain = [value_set(f"c{n}", {"valueSet": [f"{SETS}c{n + 1}"]}) for n in range(200)]
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "url", "valueUri": SETS + "c0"},
            *({"name": "tx-resource", "resource": one} for one in chain),
        ],
    }

    answer = api.post("ValueSet/$expand", body)

    assert answer.status == 400
    assert answer.issue["code"] == "too-costly"
