"""References inside the bytes of a resource: R4 http.html#trules, bundle.html#references."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.fhir import references

MANY = {f"urn:uuid:{n}": f"Basic/{n}" for n in range(100)}
TARGETS = {
    "urn:uuid:a": "Patient/1",
    "http://e.org/fhir/Patient/b": "Patient/2",
    "Patient/b": "Patient/2",
    "Patient?identifier=s|v": "Patient/3",
}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a reference": ({"reference": "urn:uuid:a"}, {"reference": "Patient/1"}),
    "an address": ({"reference": "http://e.org/fhir/Patient/b"}, {"reference": "Patient/2"}),
    "a relative one": ({"reference": "Patient/b"}, {"reference": "Patient/2"}),
    "criteria": ({"reference": "Patient?identifier=s|v"}, {"reference": "Patient/3"}),
    "a uri": ({"valueUri": "urn:uuid:a"}, {"valueUri": "Patient/1"}),
    "text": ({"valueString": "urn:uuid:a"}, {"valueString": "urn:uuid:a"}),
    "behind escapes": (
        {"note": 'a "quoted" \\ text\n', "other": "\\", "reference": "urn:uuid:a"},
        {"note": 'a "quoted" \\ text\n', "other": "\\", "reference": "Patient/1"},
    ),
    "a link": (
        {"div": "<div><a href=\"urn:uuid:a\">x</a><img src='urn:uuid:a'/> urn:uuid:a</div>"},
        {"div": "<div><a href=\"Patient/1\">x</a><img src='Patient/1'/> urn:uuid:a</div>"},
    ),
    "part of another": ({"reference": "urn:uuid:ab"}, {"reference": "urn:uuid:ab"}),
}


def compact(resource: dict[str, Any]) -> bytes:
    return json.dumps(resource, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("targets", [TARGETS, TARGETS | MANY], ids=["few", "many"])
@pytest.mark.parametrize("case", CASES)
def test_references_follow_their_targets(case: str, targets: dict[str, str]) -> None:
    sent, expected = CASES[case]

    assert references.rewrite(compact(sent), targets) == compact(expected)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"reference": "urn:uuid:a"}, "urn:uuid:a"),
        ({"reference": "Patient/1", "valueUri": "urn:uuid:a"}, None),
        ({"fullUrl": "urn:uuid:a", "reference": "urn:uuid:a"}, None),
    ],
)
def test_only_what_nothing_else_has_is_unresolved(
    sent: dict[str, Any], expected: str | None
) -> None:
    assert references.unresolved(compact(sent)) == expected
