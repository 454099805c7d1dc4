"""Canonical keys: an identifier in a resource and a scanned code meet (identifiers.md 3 and 5)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.registry import Names, canonical_keys, parse, systems, udi_keys
from app.registry.schemes import SCHEMES, reader

SID = "https://yilian.example/fhir/sid/"
ITEM = "gs1:01:09521234000037"


@pytest.mark.parametrize(
    ("system", "value", "keys"),
    [
        ("https://www.gs1.org/gtin", "9521234000037", (ITEM,)),
        ("urn:oid:1.3.160", "09521234000037", (ITEM,)),
        ("http://hl7.org/fhir/NamingSystem/gs1-di", "09521234000037", (ITEM,)),
        ("urn:oid:2.16.156.10011.1.3", "11010519900307123 9", ("cn-rid:110105199003071239",)),
        ("2.16.156.10011.1.3", "110105199003071239", ("cn-rid:110105199003071239",)),
        (SID + "key", ITEM + ":21:P100", (ITEM + ":21:P100",)),
        ("urn:dicom:uid", "urn:oid:1.2.156.7", ("oid:1.2.156.7",)),
        ("urn:ietf:rfc:3986", "urn:oid:1.2.156.7", ("oid:1.2.156.7",)),
        ("urn:ietf:rfc:3986", "https://example.org/x", ("id:urn:ietf:rfc:3986|https://example.org/x",)),
        ("urn:ietf:rfc:3986", "urn:epc:id:giai:9521234.BED-42", ("gs1:8004:9521234BED-42",)),
        (SID + "mrn-a", " 10001 ", ("id:" + SID + "mrn-a|10001",)),
        (SID + "drug-trace", "8" * 20, ("cn-dtc-di:8888888", "cn-dtc:" + "8" * 20)),
        ("http://hl7.org/fhir/sid/eui-48/bluetooth", "D4-1C-F0-00-00-01", ("eui48:d41cf0000001",)),
    ],
)  # fmt: skip
def test_a_system_that_means_a_scheme_gives_the_key_of_the_scheme(system, value, keys):
    assert canonical_keys(system, value) == keys


def test_a_wrong_number_is_still_found_under_its_system():
    keys = canonical_keys("urn:oid:2.16.156.10011.1.3", "110105199003071230")

    assert keys == ("id:urn:oid:2.16.156.10011.1.3|110105199003071230",)


def test_a_value_without_system_has_keys_only_if_its_form_proves_them():
    assert canonical_keys(None, "urn:oid:1.2.156.7") == ("oid:1.2.156.7",)
    assert canonical_keys("", "(01)09521234000037") == (ITEM,)
    assert canonical_keys(None, "9521234000037") == ()
    assert canonical_keys(None, "10001") == ()
    assert canonical_keys(None, "") == ()


def test_a_udi_gives_every_level_of_its_keys():
    assert udi_keys("(01)09521234000037(10)L7(21)P100") == (
        ITEM,
        ITEM + ":10:L7",
        ITEM + ":21:P100",
    )
    assert udi_keys("no udi") == ()


@pytest.mark.parametrize(
    "code",
    [
        "(01)09521234000037",
        "110105199003071239",
        "1.2.156.112635.7",
        "3d094d30-f3c8-4671-9c7d-b74e0466c62a",
        "D4:1C:F0:00:00:01",
        "国药准字H20260001",
        "+Y951PUMP1000L",
        "urn:oid:1.2.156.112635.7|10001",
        "(01)09521234000037(21)P100",
        "(8004)9521234BED-42",
    ],
)
def test_the_fhir_identifier_of_a_code_leads_back_to_its_key(code):
    parsed = parse(code)

    system, value = parsed.identifiers[-1]
    assert canonical_keys(system, value)[-1] == parsed.canonical


def test_the_names_of_a_site_are_an_argument():
    known = Names({"HOSPA": SID + "mrn-a"}, {"mrn-a": SID + "mrn-a"})
    expected = f"id:{SID}mrn-a|10001"

    assert parse("mrn-a:10001", known=known).canonical == expected
    by_namespace = parse("10001^^^HOSPA^MR", known=known)
    assert by_namespace.canonical == expected
    assert "unresolved-assigner" not in by_namespace.warnings
    assert parse(f"{SID}mrn-a|10001").canonical == expected


def test_two_digit_years_and_expiry_follow_the_day_that_is_passed_in():
    code = "(01)09521234000037(17)600131"

    then = parse(code, at=datetime(1999, 1, 1, tzinfo=UTC))
    now = parse(code, at=datetime(2026, 11, 22, tzinfo=UTC))

    assert then.fields["expiry"] == "1960-01-31"
    assert "expired" in then.warnings
    assert now.fields["expiry"] == "2060-01-31"
    assert "expired" not in now.warnings


def test_every_system_of_the_table_reads_by_a_scheme_that_exists():
    for scheme in systems.SCHEMES.values():
        assert scheme in SCHEMES
        assert callable(reader(scheme))
