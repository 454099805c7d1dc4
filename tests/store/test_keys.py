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
    "identifier": -3893958297708527218,
    "uri": -6244187063964339322,
    "type": -1250226138839858526,
    "pair": -2903566049409644908,
}

# The same before these had a place: `rekey.py` knows them by their lower bits.
UNPLACED = {
    "identifier": -3548447763796196978,
    "uri": -2728705342336601210,
    "pair": -2027897396862794092,
}


def test_reference_keys_hold_parameter_and_target_below_the_hashes():
    key = keys.reference(7, 42)

    assert key == 7 * 2**40 + 42
    assert key > 0


@pytest.mark.parametrize("name", CASES)
def test_hashed_keys_keep_their_value_for_ever(name):
    assert CASES[name]() == GOLDEN[name]


@pytest.mark.parametrize("name", UNPLACED)
def test_keys_that_got_a_place_kept_their_lower_bits(name):
    low = (1 << keys.PLACED_BITS) - 1

    assert GOLDEN[name] & low == UNPLACED[name] & low


def test_what_is_written_together_lies_together():
    of_patient = {keys.pair(0, 7, 42, token) for token in range(-9, 0)}
    of_number = {
        keys.identifier(0, 7, "urn:oid:1.2.3", "A-1"),
        keys.identifier(0, 8, None, "A-1"),
        keys.identifier_type(0, 7, None, "MR", "A-1"),
        keys.reference_identifier(0, 9, "urn:oid:1.2.3", "A-1"),
        keys.uri(0, 10, "A-1"),
    }
    of_order = {keys.identifier(0, 7, None, f"{n}:PF7:2024-05-24T03:50:00Z") for n in range(9)}

    for together in (of_patient, of_number, of_order):
        assert len({key >> keys.PLACED_BITS for key in together}) == 1
        assert len(together) > 3
    assert (
        keys.pair(0, 7, 42, -5) >> keys.PLACED_BITS != keys.pair(0, 7, 43, -5) >> keys.PLACED_BITS
    )


def test_hashed_keys_are_negative_so_that_they_never_meet_references():
    assert all(make() < 0 for make in CASES.values())


def test_case_of_codes_is_folded_and_case_of_identifiers_is_kept():
    assert keys.token(0, 7, "s", "ABC") == keys.token(0, 7, "s", "abc")
    assert keys.identifier(0, 7, "s", "ABC") != keys.identifier(0, 7, "s", "abc")


def test_tenants_never_share_a_key():
    assert keys.token(0, 7, "s", "c") != keys.token(1, 7, "s", "c")
