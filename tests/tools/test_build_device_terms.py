"""Device terminology is what the feeds' mappings say, and nothing else."""

from __future__ import annotations

import json

import pytest

from app.terminology.call import Call
from app.terminology.catalogue import Definitions
from app.terminology.scope import Scope
from app.terminology.shipped import shipped
from app.terminology.systems import Specials, special
from app.terminology.translate import translate
from tests.support import ROOT
from tools import build_device_terms

BUILT = build_device_terms.built()
MDC = build_device_terms.MDC


@pytest.mark.parametrize("path", BUILT, ids=lambda path: path.name)
def test_the_files_are_those_that_the_tool_makes_of_the_mappings(path):
    assert path.read_text("utf-8") == BUILT[path], "run tools/build_device_terms.py"


def test_every_code_has_a_name_in_both_languages_and_a_unit_that_ucum_knows():
    (mdc,), (ucum,) = special(MDC), special(build_device_terms.UCUM)

    for code in mdc.children(None):
        concept = mdc.find(code)
        assert concept is not None
        assert concept.display, code
        units = [p.value for p in concept.properties if p.code == "unit"]
        assert all(ucum.find(unit) for unit in units), code
    heart_rate = mdc.find("147842")
    assert heart_rate is not None
    assert [d.value for d in heart_rate.designations] == ["心电心率", "MDC_ECG_HEART_RATE"]


def test_device_codes_are_translated_to_loinc_and_their_units_to_ucum():
    scope = Scope([shipped(ROOT / "profiles"), Specials(), Definitions()])

    def codes(code, target):
        given = {"code": [code], "system": [MDC], "targetsystem": [target]}
        answer = translate(Call(given, scope)).resource
        text = json.dumps(answer)
        return [
            part["valueCoding"]["code"]
            for match in answer["parameter"][1:]
            for part in match.get("part", ())
            if part["name"] == "concept"
        ], text

    assert codes("147842", build_device_terms.LOINC)[0] == ["8867-4"]
    assert codes("266016", build_device_terms.UCUM)[0] == ["mm[Hg]"]
    assert "mdc-loinc|0.1.0" in codes("147842", build_device_terms.LOINC)[1]
