"""`yilian validate`: an OperationOutcome for each resource, exit code 1 on errors."""

import io
import json

import pytest

from app import validate
from app.errors import NotSupported

GOOD = b'{"resourceType":"Patient","birthDate":"1985-02-07"}'
BAD = b'{"resourceType":"Patient","birthDate":"yesterday"}'


def run(content, *argv):
    stdout = io.StringIO()
    code = validate.main([*argv, "-"], io.BytesIO(content), stdout)
    return code, [json.loads(line) for line in stdout.getvalue().splitlines()]


def test_a_valid_resource_is_all_ok():
    code, (outcome,) = run(GOOD)

    assert code == 0
    assert outcome["issue"][0]["severity"] == "information"


def test_a_wrong_value_is_named_by_its_place_and_never_repeated():
    code, (outcome,) = run(BAD)

    assert code == 1
    assert outcome["issue"][0]["expression"] == ["Patient.birthDate"]
    assert "yesterday" not in json.dumps(outcome)


def test_ndjson_is_answered_line_by_line():
    code, outcomes = run(GOOD + b"\n" + BAD + b"\n" + GOOD + b"\n")

    assert code == 1
    assert [o["issue"][0]["severity"] for o in outcomes] == ["information", "error", "information"]


@pytest.mark.parametrize(
    "content", [b"", b"nothing", b"[]", b'{"resourceType":"Prescription"}', b'{"a":1', b"\xff\xfe"]
)
def test_what_is_no_resource_is_an_error_and_no_traceback(content):
    code, (outcome,) = run(content)

    assert code == 1
    assert outcome["issue"][0]["severity"] in ("error", "fatal")


def test_profiles_are_refused_clearly():
    with pytest.raises(NotSupported, match="--profile"):
        run(GOOD, "--profile", "https://example.org/StructureDefinition/x")
