"""Which version of a code system counts: include, parameters and coding."""

from __future__ import annotations

import pytest

from app.terminology import versions
from app.terminology.expand import expand
from app.terminology.validate_code import in_value_set
from tests.terminology.ward import (
    SETS,
    WARD,
    answer,
    codes,
    concept,
    echoed,
    issues,
    listed,
    parameter,
    value_set,
    wards,
)

OLD, NEW = wards("1.0.0"), wards("1.2.0", concept("icu", "Intensive care"))
WORLD = (
    OLD,
    NEW,
    value_set("any", {"system": WARD}),
    value_set("old", {"system": WARD, "version": "1.0.0"}),
    value_set("wild", {"system": WARD, "version": "1.x.x"}),
    value_set("short", {"system": WARD, "version": "1"}),
)
MISMATCH, UNKNOWN = "VALUESET_VALUE_MISMATCH", "UNKNOWN_CODESYSTEM_VERSION"


@pytest.mark.parametrize(
    ("earlier", "later", "by"),
    [
        ("1.9.0", "1.10.0", None),
        ("1.0.0-rc.1", "1.0.0", None),
        ("2019-12", "2020-01-31", None),
        ("R9", "R10", None),
        ("9", "10", "integer"),
        ("10", "9", "alpha"),
    ],
)
def test_versions_have_an_order(earlier: str, later: str, by: str | None):
    assert versions.compare(earlier, later, by) == -1
    assert versions.compare(later, earlier, by) == 1
    assert versions.latest(["a", "b"], [later, earlier], by) == "a"


@pytest.mark.parametrize(
    ("wanted", "version", "fits"),
    [
        ("1.0.x", "1.0.7", True),
        ("1.x.x", "1.4.2", True),
        ("1.*", "1.4.2", True),
        ("1.0.x", "1.1.0", False),
        ("1", "1.0.0", False),
        ("1.0", "1.0", True),
    ],
)
def test_only_a_wild_part_stands_for_others(wanted: str, version: str, fits: bool):
    assert versions.fits(wanted, version) is fits


@pytest.mark.parametrize(
    ("name", "given", "used", "said"),
    [
        ("any", None, "1.2.0", []),
        ("any", "1.0.0", "1.0.0", []),
        ("old", None, "1.0.0", []),
        ("wild", "1.0.0", "1.0.0", []),
        ("old", "1.2.0", "1.0.0", [MISMATCH]),
        ("old", "9", "1.0.0", [MISMATCH, UNKNOWN]),
        ("any", "9", "1.2.0", [f"{MISMATCH}_DEFAULT", UNKNOWN]),
        ("short", None, "1.2.0", [UNKNOWN]),
        ("short", "1.0.0", "1.0.0", [MISMATCH, UNKNOWN]),
    ],
)
def test_the_version_of_the_coding_has_to_be_that_of_the_include(
    name: str, given: str | None, used: str, said: list[str]
):
    coding = {"system": WARD, "code": "card"} | ({"version": given} if given else {})

    found = answer(in_value_set, *WORLD, url=SETS + name, coding=coding)

    assert [message for _, message, _ in issues(found)] == said
    assert parameter(found, "result") is (said == [])
    assert parameter(found, "version") == used


@pytest.mark.parametrize(
    ("name", "parameters", "used", "said"),
    [
        ("old", {"force_system_version": f"{WARD}|1.2.x"}, "1.2.0", []),
        ("any", {"system_version": f"{WARD}|1.0.0"}, "1.0.0", []),
        ("old", {"system_version": f"{WARD}|1.2.0"}, "1.0.0", []),
        ("any", {"check_system_version": f"{WARD}|1.0.x"}, "1.0.0", []),
        ("wild", {"check_system_version": f"{WARD}|1.0.x"}, "1.2.0", ["VALUESET_VERSION_CHECK"]),
    ],
)
def test_parameters_force_supply_and_check_a_version(
    name: str, parameters: dict[str, str], used: str, said: list[str]
):
    given = {"url": SETS + name, "coding": {"system": WARD, "code": "card"}}

    found = answer(in_value_set, *WORLD, **given, **parameters)

    assert [message for _, message, _ in issues(found)] == said
    assert parameter(found, "version") == used


def test_an_unknown_version_given_against_a_supplied_one_is_said_so():
    coding = {"system": WARD, "code": "card", "version": "9"}

    found = answer(
        in_value_set, *WORLD, url=SETS + "any", coding=coding, system_version=f"{WARD}|1.0.0"
    )

    assert issues(found)[0] == ("error", f"{MISMATCH}_CHANGED", "Coding.version")
    assert parameter(found, "x-caused-by-unknown-system") == f"{WARD}|9"


def test_an_expansion_says_which_version_it_used_and_which_parameter_decided():
    forced = answer(expand, *WORLD, url=SETS + "old", force_system_version=f"{WARD}|1.2.x")
    unused = answer(expand, *WORLD, url=SETS + "old", system_version=f"{WARD}|1.2.0")

    assert echoed(forced) == {
        "force-system-version": f"{WARD}|1.2.x",
        "used-codesystem": f"{WARD}|1.2.0",
    }
    assert echoed(unused) == {"used-codesystem": f"{WARD}|1.0.0"}


def test_an_expansion_in_an_unknown_version_is_refused_with_the_known_ones():
    found = answer(expand, *WORLD, url=SETS + "short")

    assert found["issue"][0]["details"]["text"].endswith("Valid versions: 1.0.0 or 1.2.0")


def test_codes_of_two_versions_are_two_codes_unless_versions_match():
    includes = [{"system": WARD, "version": v} for v in ("1.0.0", "1.2.0")]
    match = {
        "url": "http://hl7.org/fhir/StructureDefinition/valueset-expansion-parameter",
        "extension": [
            {"url": "name", "valueCode": "versionsMatch"},
            {"url": "value", "valueString": "true"},
        ],
    }
    apart = value_set("apart", *includes)
    merged = value_set("merged", *includes, compose={"extension": [match]})
    news = value_set("news", includes[1], exclude=[includes[0]])

    found = answer(expand, OLD, NEW, apart, url=SETS + "apart")
    one = answer(expand, OLD, NEW, merged, url=SETS + "merged")
    left = answer(expand, OLD, NEW, news, url=SETS + "news")

    assert found["expansion"]["total"] == 11
    assert {c["version"] for c in found["expansion"]["contains"]} == {"1.0.0", "1.2.0"}
    assert one["expansion"]["total"] == 6
    assert {c["version"] for c in one["expansion"]["contains"]} == {"1.2.0"}
    assert codes(left) == ["icu"]
    assert echoed(left)["versionsMatch"] is True


def test_without_a_version_the_newest_whose_display_is_meant_counts():
    both = value_set("both", *[{"system": WARD, "version": v} for v in ("1.0.0", "1.2.0")])
    coding = {"system": WARD, "code": "card", "display": "Cardiac surgery 1.0.0"}

    older = answer(in_value_set, OLD, NEW, both, url=SETS + "both", coding=coding)
    newer = answer(
        in_value_set, OLD, NEW, both, url=SETS + "both", coding={"system": WARD, "code": "card"}
    )

    assert parameter(older, "version") == "1.0.0"
    assert parameter(newer, "version") == "1.2.0"


def test_an_import_without_a_version_is_the_latest_or_the_one_asked_for():
    first = value_set("part", listed("card"))
    second = value_set("part", listed("paed")) | {"version": "2"}
    whole = value_set("whole", {"valueSet": [SETS + "part"]})
    world = (wards(), first, second, whole)

    latest = answer(expand, *world, url=SETS + "whole")
    asked = answer(expand, *world, url=SETS + "whole", default_valueset_version=f"{SETS}part|1")
    wrong = answer(expand, *world, url=SETS + "whole", default_valueset_version=f"{SETS}part|9")

    assert codes(latest) == ["paed"]
    assert echoed(latest)["used-valueset"] == SETS + "part|2"
    assert codes(asked) == ["card"]
    assert issues(wrong) == [("error", "VS_EXP_IMPORT_UNK_PINNED", None)]
