"""R4 search.html#string: case, accents and white space do not count; Chinese stays as it is."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.fhir import strings

FOLDS = {
    "case": ("O'Brien", "o'brien"),
    "accents": ("Müller Ångström é", "muller angstrom e"),
    "sharp-s": ("Straße", "strasse"),
    "dotted-capital-i": ("İstanbul", "istanbul"),
    "white-space": ("  a \t b\u3000c\n", "a b c"),
    "full-width": ("ＡＢＣ１２", "abc12"),
    "ligature": ("ﬁn", "fin"),
    "chinese": ("王伟", "王伟"),
    "beyond-the-bmp": ("𠮷野家", "𠮷野家"),
    "wildcards-are-text": ("a%b_c*", "a%b_c*"),
    "nul-and-separator": ("a\x00b\x01c", "abc"),
    "empty": ("", ""),
}


@pytest.mark.parametrize("case", FOLDS)
def test_fold(case: str) -> None:
    text, expected = FOLDS[case]

    assert strings.fold(text) == expected


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    once = strings.fold(text)

    assert strings.fold(once) == once
    assert "\x00" not in once


def test_no_combining_mark_is_left_whatever_the_script() -> None:
    marks = [chr(c) for c in range(sys.maxunicode + 1) if unicodedata.combining(chr(c))]

    assert strings.fold("".join(marks)) == ""


def test_pinyin_gives_syllables_and_initials() -> None:
    found = strings.pinyin("王伟")

    assert found[0] == "wangwei"  # the commonest reading first
    assert "ww" in found


def test_pinyin_knows_the_readings_of_a_surname() -> None:
    assert {"danli", "shanli"} <= set(strings.pinyin("单丽"))


def test_pinyin_of_latin_text_is_empty() -> None:
    assert strings.pinyin("Smith") == ()


def test_pinyin_of_a_mixed_name_keeps_the_latin_part() -> None:
    assert strings.pinyin("王Amy")[0] == "wangamy"
