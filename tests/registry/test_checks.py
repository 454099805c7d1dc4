"""Check characters against published specimens, and what each algorithm promises to catch.

A scheme with one check character catches every change of one character if the character stays in
its alphabet; modulo 10 with weights 3 and 1 does (both are prime to 10), Luhn does, modulo 43 and
the prime moduli do. Taiwan's number is not here: weights 2, 4, 5, 6 and 8 share a factor with 10.
"""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.registry import checks, names
from app.registry.reading import Context
from app.registry.schemes import (
    cn_organisation,
    cn_person,
    gs1_numbers,
    hibc,
    hk_tw_id,
    isbt128,
    providers,
    reader,
)

CONTEXT = Context(2026, "2026-11-22", names.shipped_names)

# Algorithm, text without its check, check: all printed in the standards or their guides.
PUBLISHED = [
    (checks.gs1, "629104150021", "3"),  # GS1: how to calculate a check digit, GTIN-13
    (checks.gs1, "10614141123456789", "7"),  # SSCC of the General Specifications
    (checks.gs1, "400638133393", "1"),
    (checks.pair_1021, "1987654Ad4X4bL5ttr2310c", "2K"),  # GS1 Global Model Number guide
    (checks.pair_1021, "++A999MODELIDENTIFIER11", "S8"),  # EUDAMED
    (checks.hibc, "+A123BJC5D6E71", "G"),  # HIBC supplier labelling standard
    (checks.mod_37_2, "G123498654321", "H"),  # ISBT 128
    (checks.mod_11_2, "11010519491231002", "X"),  # GB 11643
    (checks.mod_11_2, "44052418800101001", "4"),
    (checks.mod_31_3, "91350100M000100Y4", "3"),  # GB 32100
    (checks.gb_11714, "D2143569", "X"),  # GB 11714
    (checks.luhn, "7992739871", "3"),  # ISO/IEC 7812
    (checks.luhn, "80840123456789", "3"),  # CMS, NPI
]


@pytest.mark.parametrize(("algorithm", "body", "check"), PUBLISHED)
def test_a_published_specimen_has_its_check(algorithm, body, check):
    assert algorithm(body) == check


def test_the_specimen_cards_of_hong_kong_and_taiwan_have_their_checks():
    assert checks.hk_id("A", "123456") == "3"
    assert checks.tw_id("A", "12345678") == "9"


def digits(size):
    return st.text(string.digits, min_size=size, max_size=size)


# Scheme -> (texts that are valid, alphabet a changed character is drawn from).
SINGLE_CHANGES = {
    "gtin": (digits(13).map(gs1_numbers.build), string.digits),
    "gln": (digits(12).map(gs1_numbers.build), string.digits),
    "sscc": (digits(17).map(gs1_numbers.build), string.digits),
    "npi": (digits(8).map(lambda d: providers.build_npi("1" + d)), string.digits),
    "cn-org-code": (
        st.text(string.digits + "ABCDEFGH", min_size=8, max_size=8).map(
            lambda b: cn_organisation.build_org_code(b).replace("-", "")
        ),
        string.digits,
    ),
    "hibc": (
        st.text(string.ascii_uppercase + string.digits, min_size=1, max_size=13).map(
            lambda pcn: hibc.build_primary("Y951", pcn, "0")
        ),
        checks.MOD43,
    ),
}


@pytest.mark.parametrize("scheme", SINGLE_CHANGES)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_every_change_of_one_character_is_caught(scheme, data):
    texts, alphabet = SINGLE_CHANGES[scheme]
    text = data.draw(texts)
    assert reader(scheme)(text, CONTEXT).valid

    for at, old in enumerate(text):
        for new in alphabet:
            if new != old and (old in alphabet):
                changed = text[:at] + new + text[at + 1 :]
                assert not reader(scheme)(changed, CONTEXT).valid


@given(
    st.text(string.digits, min_size=3, max_size=3),
    st.sampled_from(["110105", "310101", "440305"]),
    st.sampled_from(["19900307", "19880229", "20011231"]),
)
@settings(max_examples=60, deadline=None)
def test_every_changed_digit_of_a_resident_id_is_caught(sequence, region, birth):
    text = cn_person.build_resident(region, birth, sequence)
    assert reader("cn-resident-id")(text, CONTEXT).valid

    for at, old in enumerate(text):
        for new in "0123456789":
            if new != old:
                changed = text[:at] + new + text[at + 1 :]
                assert not reader("cn-resident-id")(changed, CONTEXT).valid


@given(st.text(checks.MOD31, min_size=9, max_size=9))
@settings(max_examples=40, deadline=None)
def test_every_changed_character_of_a_credit_code_is_caught(org_code):
    text = cn_organisation.build_uscc("9", "1", "310104", org_code)
    assert reader("cn-uscc")(text, CONTEXT).valid

    for at, old in enumerate(text):
        for new in checks.MOD31:
            if new != old:
                changed = text[:at] + new + text[at + 1 :]
                assert not reader("cn-uscc")(changed, CONTEXT).valid


@given(st.from_regex(r"[A-NP-Z][A-Z0-9]{4}[0-9]{8}", fullmatch=True))
@settings(max_examples=40, deadline=None)
def test_every_changed_character_of_a_printed_donation_number_is_caught(din):
    text = isbt128.build_printed(din).replace(" ", "")
    assert reader("isbt128")(text, CONTEXT).valid

    for at, old in enumerate(text[:13]):
        for new in checks.MOD37[:-1]:
            if new != old:
                changed = text[:at] + new + text[at + 1 :]
                assert not reader("isbt128")(changed, CONTEXT).valid


@given(st.text(checks.CSET82, min_size=1, max_size=17))
@settings(max_examples=60, deadline=None)
def test_every_changed_character_of_a_model_number_is_caught(tail):
    body = "9521234" + tail[:16]
    text = body + checks.pair_1021(body)
    assert reader("gmn")(text, CONTEXT).valid

    for at, old in enumerate(body):
        for new in checks.CSET82:
            if new != old:
                changed = text[:at] + new + text[at + 1 :]
                assert not reader("gmn")(changed, CONTEXT).valid


@given(st.sampled_from(["A", "Z", "AB", "XE"]), digits(6))
@settings(max_examples=60, deadline=None)
def test_every_changed_digit_of_a_hong_kong_number_is_caught(letters, number):
    text = hk_tw_id.build_hk(letters, number)
    assert reader("hk-id")(text, CONTEXT).valid

    for at in range(len(letters), len(letters) + 6):
        for new in "0123456789":
            if new != text[at]:
                changed = text[:at] + new + text[at + 1 :]
                assert not reader("hk-id")(changed, CONTEXT).valid
