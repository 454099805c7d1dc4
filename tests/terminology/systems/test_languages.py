"""Language tags: RFC 5646 well-formedness and validity, names in English and Chinese."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.terminology.systems.languages import LanguageTags
from app.terminology.types import Filter, Selection

TAGS = LanguageTags()

VALID = {
    "de": ("de", "German", "德语"),
    "de-ch": ("de-CH", "German (Region=Switzerland)", "德语（地区=瑞士）"),
    "ZH-hans-cn": (
        "zh-Hans-CN",
        "Chinese (Script=Han (Simplified variant), Region=China)",
        "中文（文字=简体，地区=中国）",
    ),
    "es-419": (
        "es-419",
        "Spanish (Region=Latin America and the Caribbean)",
        "西班牙语（地区=拉丁美洲）",
    ),
    "de-x-ward": ("de-x-ward", "German (Private=x-ward)", "德语（私用=x-ward）"),
    "i-klingon": ("i-klingon", "Klingon", None),
    "zh-yue": ("zh-yue", "Chinese (ExtLang=Yue Chinese)", None),
}

INVALID = {
    "zz": "The language subtag 'zz' is not in the registry",
    "de-QQ": None,
    "de-QA-QA": "The tag is not of the form language-script-region-variant",
    "zh-Hans-Hans": "The tag is not of the form language-script-region-variant",
    "de-1996-1996": "A variant stands twice in the tag",
    "en-a-bbb-a-ccc": "A extension stands twice in the tag",
    "a": "The tag is not of the form language-script-region-variant",
    "": "The tag is not of the form language-script-region-variant",
    "de_CH": "The tag is not of the form language-script-region-variant",
}


@pytest.mark.parametrize("tag", VALID)
def test_a_valid_tag_has_its_usual_case_and_names(tag: str) -> None:
    concept = TAGS.find(tag)

    assert concept is not None
    chinese = next((d.value for d in concept.designations if d.language == "zh-CN"), None)
    assert (concept.code, concept.display, chinese) == VALID[tag]


@pytest.mark.parametrize("tag", [tag for tag in INVALID if INVALID[tag]])
def test_an_invalid_tag_says_what_is_wrong(tag: str) -> None:
    assert TAGS.find(tag) is None
    assert TAGS.problem(tag) == INVALID[tag]


def test_a_tag_has_its_shorter_names_too() -> None:
    concept = TAGS.find("zh-Hans-CN")

    assert concept is not None
    names = [d.value for d in concept.designations]
    assert "Chinese (Han (Simplified variant), China)" in names
    assert "中文（简体，中国）" in names


def test_a_region_for_private_use_is_valid() -> None:
    assert TAGS.find("de-QQ") is not None


def test_tags_are_selected_by_their_parts() -> None:
    assert TAGS.matches("de-CH", [Filter("region", "=", "CH")])
    assert not TAGS.matches("de-CH", [Filter("region", "exists", "false")])
    assert TAGS.matches("de", [Filter("region", "exists", "false")])


def test_the_listed_tags_are_those_of_iso_639() -> None:
    listed = list(TAGS.select(Selection()))

    assert len(listed) == len(set(listed))
    assert {"zh", "de", "gsw", "zxx"} <= set(listed)
    assert {"iw", "yue"}.isdisjoint(listed)


@given(st.text(alphabet="zhdeCNHans-x1996a_", max_size=20))
def test_a_text_is_a_tag_or_has_a_reason_and_tags_are_stable(text: str) -> None:
    concept = TAGS.find(text)

    assert (concept is None) == (TAGS.problem(text) is not None)
    if concept is not None:
        again = TAGS.find(concept.code)
        assert again is not None
        assert again.code == concept.code
        assert concept.code.lower() == text.lower()
