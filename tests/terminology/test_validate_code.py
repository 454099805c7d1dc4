"""$validate-code: R4 valueset- and codesystem-operation-validate-code.html."""

from __future__ import annotations

import pytest

from app.terminology.validate_code import batch, in_code_system, in_value_set
from tests.terminology.ward import (
    ALL,
    SETS,
    SURGICAL,
    WARD,
    answer,
    concept,
    issues,
    listed,
    only,
    parameter,
    prop,
    value_set,
    wards,
)

NOT_IN = "None_of_the_provided_codes_are_in_the_value_set_one"
UNKNOWN = "Unknown_Code_in_Version"
WORLD = (wards(), ALL, SURGICAL)


def coding(code: str, **more: str) -> dict[str, str]:
    return {"system": WARD, "code": code, **more}


def test_a_code_of_the_value_set_is_answered_with_display_and_version():
    found = answer(in_value_set, *WORLD, url=SETS + "all", system=WARD, code="paed")

    assert parameter(found, "result") is True
    assert parameter(found, "display") == "Paediatrics"
    assert parameter(found, "version") == "2.0.0"
    assert parameter(found, "issues") is None


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("paed", [("error", NOT_IN, "Coding.code")]),
        ("none", [("error", NOT_IN, "Coding.code"), ("error", UNKNOWN, "Coding.code")]),
    ],
)
def test_a_code_outside_is_told_from_one_that_does_not_exist(code: str, said: object):
    found = answer(in_value_set, *WORLD, url=SETS + "surgical", coding=coding(code))

    assert parameter(found, "result") is False
    assert issues(found) == said


@pytest.mark.parametrize(
    ("system", "said"),
    [
        (
            "http://other.example",
            [("error", NOT_IN, "system"), ("error", "UNKNOWN_CODESYSTEM", "system")],
        ),
        ("ward", [("error", "Terminology_TX_System_Relative", "system")]),
        (SETS + "all", [("error", "Terminology_TX_System_ValueSet2", "system")]),
    ],
)
def test_a_system_that_is_none_is_said_what_it_is(system: str, said: list[tuple[str, ...]]):
    found = answer(in_value_set, *WORLD, url=SETS + "all", system=system, code="paed")

    assert parameter(found, "result") is False
    assert {m for _, m, _ in issues(found)} >= {m for _, m, _ in said}


def test_a_system_that_the_value_set_needs_and_nobody_knows_leaves_it_open():
    needs = value_set("needs", {"system": "http://other.example"})

    found = answer(in_value_set, needs, url=SETS + "needs", system="http://other.example", code="x")

    assert issues(found) == [("error", "UNKNOWN_CODESYSTEM", "system")]
    assert parameter(found, "x-caused-by-unknown-system") == "http://other.example"


@pytest.mark.parametrize(
    ("given", "right", "said"),
    [
        ({"display": "PAEDIATRICS"}, True, []),
        ({"display": "Children"}, False, ["Display_Name_for__should_be_one_of__instead_of"]),
        (
            {"display": "Paediatrics "},
            False,
            ["Display_Name_WS_for__should_be_one_of__instead_of"],
        ),
        ({"display": "儿科", "displayLanguage": "zh"}, True, []),
        (
            {"display": "Paediatrics", "displayLanguage": "zh-CN"},
            False,
            ["Display_Name_for__should_be_one_of__instead_of"],
        ),
        (
            {"display": "Paediatrics", "displayLanguage": "fr"},
            True,
            ["NO_VALID_DISPLAY_FOUND_NONE_FOR_LANG_OK"],
        ),
        (
            {"display": "Enfants", "displayLanguage": "fr"},
            False,
            ["NO_VALID_DISPLAY_FOUND_NONE_FOR_LANG_ERR"],
        ),
        (
            {"display": "Children", "lenient-display-validation": True},
            True,
            ["Display_Name_for__should_be_one_of__instead_of"],
        ),
    ],
)
def test_a_display_has_to_be_a_name_in_a_language_wanted(
    given: dict[str, object], right: bool, said: list[str]
):
    asked = {"url": SETS + "all", "system": WARD, "code": "paed", **given}
    found = answer(in_value_set, *WORLD, **asked)

    assert parameter(found, "result") is right
    assert [message for _, message, _ in issues(found)] == said


def test_a_wrong_display_is_said_with_the_right_ones():
    found = answer(
        in_value_set, *WORLD, url=SETS + "all", system=WARD, code="paed", display="Children"
    )

    assert parameter(found, "message") == (
        f"Wrong Display Name 'Children' for {WARD}#paed. Valid display is one of 2 choices:"
        " 'Paediatrics' (en) or '儿科' (zh-CN) (for the language(s) '--')"
    )


def test_who_wants_chinese_is_answered_in_chinese():
    found = answer(
        in_value_set, *WORLD, url=SETS + "surgical", system=WARD, code="paed", header="zh-CN, en"
    )

    assert parameter(found, "message") == f"值集 '{SETS}surgical|1' 中没有代码 '{WARD}#paed'"
    assert parameter(found, "display") == "儿科"


def test_an_inactive_code_is_in_but_remarked_and_out_when_only_active_ones_are_wanted():
    whole = answer(in_value_set, *WORLD, url=SETS + "all", coding=coding("tb"))
    active = answer(in_value_set, *WORLD, url=SETS + "all", coding=coding("tb"), activeOnly="true")

    assert parameter(whole, "result") is True
    assert parameter(whole, "inactive") is True
    assert parameter(whole, "status") == "retired"
    assert issues(whole) == [("warning", "INACTIVE_CONCEPT_FOUND", "Coding")]
    assert parameter(active, "result") is False
    assert ("error", "STATUS_CODE_WARNING_CODE", "Coding.code") in issues(active)


def test_a_group_can_be_refused():
    free = answer(in_value_set, *WORLD, url=SETS + "all", coding=coding("surg"))
    refused = answer(in_value_set, *WORLD, url=SETS + "all", coding=coding("surg"), abstract=False)

    assert parameter(free, "result") is True
    assert issues(refused)[0] == ("error", "ABSTRACT_CODE_NOT_ALLOWED", "Coding.code")


def test_another_case_is_the_same_code_only_where_case_does_not_count():
    strict = answer(in_value_set, *WORLD, url=SETS + "all", system=WARD, code="PAED")
    lax = answer(
        in_value_set, wards(caseSensitive=False), ALL, url=SETS + "all", system=WARD, code="PAED"
    )

    assert parameter(strict, "result") is False
    assert parameter(lax, "result") is True
    assert parameter(lax, "normalized-code") == "paed"
    assert issues(lax) == [("information", "CODE_CASE_DIFFERENCE", "code")]


def test_an_unknown_code_of_a_fragment_may_be_right():
    found = answer(
        in_value_set, wards(content="fragment"), ALL, url=SETS + "all", coding=coding("new")
    )

    assert parameter(found, "result") is True
    assert issues(found) == [("warning", "UNKNOWN_CODE_IN_FRAGMENT", "Coding.code")]


def test_one_coding_of_a_concept_is_enough_but_an_unknown_code_is_an_error():
    both = {"coding": [coding("paed"), coding("card")]}
    broken = {"coding": [coding("none"), coding("card")]}

    right = answer(in_value_set, *WORLD, url=SETS + "surgical", codeableConcept=both)
    wrong = answer(in_value_set, *WORLD, url=SETS + "surgical", codeableConcept=broken)
    only_in = answer(
        in_value_set,
        *WORLD,
        url=SETS + "surgical",
        codeableConcept=broken,
        valueset_membership_only=True,
    )

    assert parameter(right, "result") is True
    assert parameter(right, "code") == "card"
    assert issues(right) == [("information", NOT_IN, "CodeableConcept.coding[0].code")]
    assert parameter(wrong, "result") is False
    assert parameter(wrong, "codeableConcept") == broken
    assert parameter(only_in, "result") is True


def test_no_coding_in_the_value_set_is_one_error_of_the_whole():
    found = answer(
        in_value_set, *WORLD, url=SETS + "surgical", codeableConcept={"coding": [coding("paed")]}
    )

    assert ("error", "TX_GENERAL_CC_ERROR_MESSAGE", None) in issues(found)
    assert parameter(found, "code") is None


def test_the_system_is_told_by_the_value_set_when_it_can_be():
    other = wards() | {"url": "http://hospital.example/CodeSystem/unit"}
    mixed = value_set("mixed", {"system": WARD}, {"system": other["url"]})
    world = (*WORLD, other, mixed)

    one = answer(in_value_set, *world, url=SETS + "all", code="paed", inferSystem=True)
    several = answer(in_value_set, *world, url=SETS + "mixed", code="paed", inferSystem=True)
    none = answer(in_value_set, *world, url=SETS + "all", code="x", inferSystem=True)

    assert parameter(one, "system") == WARD
    multiple = "Unable_to_resolve_system__value_set_has_multiple_matches"
    assert issues(several) == [("error", NOT_IN, "code"), ("error", multiple, "code")]
    assert issues(none)[1] == ("error", "UNABLE_TO_INFER_CODESYSTEM", "code")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": SETS + "none", "code": "x"}, "Unable_to_resolve_value_Set_"),
        ({"url": SETS + "circle-1", "coding": coding("x")}, "VALUESET_CIRCULAR_REFERENCE"),
        ({"url": SETS + "needy", "coding": coding("x")}, "VALUESET_SUPPLEMENT_MISSING"),
        ({"url": SETS + "all", "coding": coding("x"), "displayLanguage": "-"}, "INVALID_"),
        ({"url": SETS + "vague", "coding": coding("x")}, "UNABLE_TO_HANDLE_SYSTEM_FILTER"),
        ({"url": SETS + "all"}, "Unable to find code to validate"),
    ],
)
def test_what_cannot_be_judged_is_refused(given: dict[str, object], said: str):
    needs = {
        "url": "http://hl7.org/fhir/StructureDefinition/valueset-supplement",
        "valueCanonical": "http://hospital.example/CodeSystem/nobody",
    }
    found = answer(
        in_value_set,
        *WORLD,
        value_set("circle-1", {"valueSet": [SETS + "circle-2"]}),
        value_set("circle-2", {"valueSet": [SETS + "circle-1"]}),
        value_set("needy", {"system": WARD}, extension=[needs]),
        value_set("vague", only("is-a", "")),
        **given,
    )

    assert found["resourceType"] == "OperationOutcome"
    assert issues(found)[0][1].startswith(said)


def test_an_import_that_is_not_known_makes_it_false():
    found = answer(
        in_value_set,
        *WORLD,
        value_set("importing", {"valueSet": [SETS + "none"]}),
        url=SETS + "importing",
        coding=coding("paed"),
    )

    assert parameter(found, "result") is False
    assert issues(found) == [("error", "Unable_to_resolve_value_Set_", None)]


@pytest.mark.parametrize(
    ("sets", "code", "right"),
    [
        ([value_set("x", {"system": WARD}, exclude=[only("is-a", "surg")])], "card", False),
        ([value_set("x", {"system": WARD}, exclude=[only("is-a", "surg")])], "paed", True),
        ([value_set("x", {"system": WARD, "valueSet": [SETS + "surgical"]})], "paed", False),
        ([value_set("x", {"valueSet": [SETS + "surgical"]})], "card", True),
        ([value_set("x", only("descendent-of", "surg"))], "surg", False),
        ([value_set("x", only("generalizes", "card"))], "surg", True),
        ([value_set("x", only("=", "24", "beds"))], "neuro", True),
        ([value_set("x", only("exists", "false", "beds"))], "neuro", False),
        ([value_set("x", only("not-in", "24", "beds"))], "paed", True),
        ([value_set("x", only("regex", "(p|c)a.*", "code"))], "paed", True),
        ([value_set("x", only("regex", "pa", "code"))], "paed", False),
        (
            [value_set("x", {"valueSet": ["#in"]}, contained=[SURGICAL | {"id": "in"}])],
            "card",
            True,
        ),
    ],
)
def test_membership_follows_filters_imports_and_excludes(
    sets: list[dict[str, object]], code: str, right: bool
):
    found = answer(in_value_set, *WORLD, *sets, url=SETS + "x", coding=coding(code))

    assert parameter(found, "result") is right


def test_a_code_system_alone_is_asked_for_unknown_codes():
    found = answer(in_code_system, wards(), url=WARD, code="none")
    inline = answer(in_code_system, codeSystem=wards(), coding=coding("paed"))

    assert issues(found) == [("error", UNKNOWN, "code")]
    assert parameter(inline, "result") is True


def test_a_supplement_adds_names_when_it_is_asked_for():
    dutch = {
        "resourceType": "CodeSystem",
        "url": "http://hospital.example/CodeSystem/ward-nl",
        "version": "1",
        "content": "supplement",
        "supplements": WARD,
        "concept": [{"code": "paed", "designation": [{"language": "nl", "value": "Kinderen"}]}],
    }
    given = {"url": SETS + "all", "coding": coding("paed", display="Kinderen")}

    without = answer(in_value_set, *WORLD, dutch, **given)
    supplemented = answer(in_value_set, *WORLD, dutch, **given, useSupplement=dutch["url"])
    itself = answer(
        in_value_set, *WORLD, dutch, url=SETS + "all", coding={"system": dutch["url"], "code": "x"}
    )

    assert parameter(without, "result") is False
    assert parameter(supplemented, "result") is True
    assert issues(itself)[0][1] == "CODESYSTEM_CS_NO_SUPPLEMENT"


def test_remarks_on_a_deprecated_concept_and_a_draft_system():
    old = concept("old", "Old ward", property=[prop("status", valueCode="deprecated")])
    found = answer(
        in_value_set,
        wards("3.0.0", old, status="draft"),
        value_set(
            "x",
            listed("old")
            | {
                "concept": [
                    {
                        "code": "old",
                        "extension": [
                            {
                                "url": "http://hl7.org/fhir/StructureDefinition/valueset-deprecated",
                                "valueBoolean": True,
                            }
                        ],
                    }
                ]
            },
        ),
        url=SETS + "x",
        coding=coding("old"),
    )

    assert parameter(found, "result") is True
    assert [m for _, m, _ in issues(found)] == [
        "DEPRECATED_CONCEPT_FOUND",
        "CONCEPT_DEPRECATED_IN_VALUESET",
        "MSG_DRAFT",
    ]


def test_a_batch_answers_each_item_in_order_also_when_one_cannot_be_judged():
    items = [
        {"resourceType": "Parameters", "parameter": [{"name": "coding", "valueCoding": one}]}
        for one in (coding("card"), coding("paed"))
    ]
    nothing = {"resourceType": "Parameters", "parameter": []}

    found = answer(batch, *WORLD, url=SETS + "surgical", validation=[*items, nothing])

    first, second, third = (one["resource"] for one in found["parameter"])
    assert (parameter(first, "result"), parameter(second, "result")) == (True, False)
    assert third["resourceType"] == "OperationOutcome"
