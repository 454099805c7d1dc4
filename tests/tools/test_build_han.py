"""The table of simplified characters: what is taken from a list, and that the shipped one works."""

from app.terminology.han import simplified
from tools.build_han import pairs


def test_the_commonest_form_is_taken_and_what_stays_is_left_out():
    text = "# a note\n乾\t干 乾\n國\t国\n人\t人\n𠀾\t𠀽\n"

    assert pairs(text) == {"乾": "干", "國": "国"}


def test_traditional_text_becomes_simplified():
    assert simplified("高血壓，糖尿病 I10") == "高血压，糖尿病 I10"
