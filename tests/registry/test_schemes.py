"""Every scheme on authored cases: `fixtures/identifiers`, one file for each family.

Each case fixes only what it is about: scheme, canonical key, some fields, errors, warnings.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.registry import parse

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "identifiers"
AT = datetime(2026, 11, 22, tzinfo=UTC)


def cases():
    for path in sorted(FIXTURES.glob("*.json")):
        for case in json.loads(path.read_text(encoding="utf-8")):
            yield pytest.param(case, id=f"{path.stem}/{case['id']}")


@pytest.mark.parametrize("case", list(cases()))
def test_a_code_is_read_as_its_case_says(case):
    parsed = parse(case["code"], as_=case.get("as"), at=AT)
    found = parsed.as_dict()

    expected_errors = case.get("errors", [])
    assert [e["code"] for e in found["errors"]] == expected_errors
    assert parsed.valid is (not expected_errors)
    assert found.get("canonical") == case.get("canonical")
    if "scheme" in case:
        assert parsed.scheme == case["scheme"]
    for name in ("keys", "level", "uri", "carrier", "confidence"):
        if name in case:
            assert found[name] == case[name]
    for name, value in case.get("fields", {}).items():
        assert parsed.fields[name] == value
    assert set(case.get("warnings", ())) <= set(parsed.warnings)
    assert set(case.get("candidates", ())) <= {c.canonical for c in parsed.candidates}


def test_an_invalid_code_has_no_key_and_a_valid_one_ends_its_keys_with_the_canonical_one():
    for case in (param.values[0] for param in cases()):
        parsed = parse(case["code"], as_=case.get("as"), at=AT)
        if parsed.valid:
            assert parsed.canonical is None or parsed.keys[-1] == parsed.canonical
        else:
            assert parsed.canonical is None
            assert not parsed.keys
            assert parsed.uri is None


def test_messages_never_repeat_the_code():
    for case in (param.values[0] for param in cases()):
        parsed = parse(case["code"], as_=case.get("as"), at=AT)
        for error in parsed.errors:
            assert len(case["code"]) < 5 or case["code"] not in error.message
