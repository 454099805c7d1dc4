""".ci/ratchet.py: what passed before has to pass again, and the list only grows."""

import json
import subprocess
import sys

import pytest

from tests.support import ROOT


@pytest.fixture
def passing(tmp_path):
    file = tmp_path / "fhir-sqlite.txt"
    file.write_text("CRE-01\nREA-01\n")
    return file


def ratchet(passing, results, *flags):
    report = passing.with_name("report.json")
    cases = [{"id": id_, "result": result} for id_, result in results.items()]
    report.write_text(json.dumps({"results": cases}))
    command = [sys.executable, ROOT / ".ci" / "ratchet.py", "fhir", report, passing, *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_a_case_that_passed_before_may_not_fail_or_vanish(passing):
    code, said = ratchet(passing, {"CRE-01": "fail", "NEW-01": "pass"}, "--update")

    assert code == 1
    assert "passed before and does not now: CRE-01" in said
    assert "passed before and does not now: REA-01" in said
    assert passing.read_text() == "CRE-01\nNEW-01\nREA-01\n"


def test_new_cases_are_taken_up_only_when_asked(passing):
    results = {"CRE-01": "pass", "REA-01": "pass", "NEW-01": "pass"}

    assert ratchet(passing, results)[0] == 0
    assert passing.read_text() == "CRE-01\nREA-01\n"
    assert ratchet(passing, results, "--update")[0] == 0
    assert passing.read_text() == "CRE-01\nNEW-01\nREA-01\n"
