"""The keys are an on-disk format: these values may never change."""

import pytest

from app.store import keys

CASES = {
    "token": lambda: keys.token(0, 7, "http://loinc.org", "8867-4"),
    "token-without-system": lambda: keys.token(0, 7, None, "final"),
    "identifier": lambda: keys.identifier(0, 7, "urn:oid:1.2.3", "A-1"),
    "uri": lambda: keys.uri(0, 7, "http://example.org/x"),
    "type": lambda: keys.of_type(0, 100),
    "pair": lambda: keys.pair(0, 7, 42, -5),
}
# What each call gave when the format was fixed.
GOLDEN = {
    "token": -8761831752945595410,
    "token-without-system": -6466297269111249047,
    "identifier": -3548447763796196978,
    "uri": -2728705342336601210,
    "type": -1250226138839858526,
    "pair": -2027897396862794092,
}


def test_reference_keys_hold_parameter_and_target_below_the_hashes():
    key = keys.reference(7, 42)

    assert key == 7 * 2**40 + 42
    assert key > 0


@pytest.mark.parametrize("name", CASES)
def test_hashed_keys_keep_their_value_for_ever(name):
    assert CASES[name]() == GOLDEN[name]


def test_hashed_keys_are_negative_so_that_they_never_meet_references():
    assert all(make() < 0 for make in CASES.values())


def test_case_of_codes_is_folded_and_case_of_identifiers_is_kept():
    assert keys.token(0, 7, "s", "ABC") == keys.token(0, 7, "s", "abc")
    assert keys.identifier(0, 7, "s", "ABC") != keys.identifier(0, 7, "s", "abc")


def test_tenants_never_share_a_key():
    assert keys.token(0, 7, "s", "c") != keys.token(1, 7, "s", "c")
