"""DICOM PS3.5 6.2: person names, dates and times, with the damage devices send."""

import pytest

from app.feeds.dicom.names import human_names
from app.feeds.dicom.values import (
    fhir_date,
    fhir_datetime,
    fhir_time,
    offset_text,
    person_name,
)


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("20260307", "2026-03-07"),
        ("2026.03.07", "2026-03-07"),
        ("2026-03-07", "2026-03-07"),
        ("1955", "1955"),
        ("195504", "1955-04"),
        ("20260230", None),
        ("19000000", None),
        ("unknown", None),
        ("", None),
    ],
)
def test_date(value, date):
    assert fhir_date(value) == date


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("083015.250", "08:30:15.250"),
        ("083015.000000", "08:30:15"),
        ("10:20:30", "10:20:30"),
        ("0815", "08:15:00"),
        ("08", "08:00:00"),
        ("235960", "23:59:59"),
        ("2460", None),
        ("8", None),
    ],
)
def test_time(value, time):
    assert fhir_time(value) == time


def test_started_claims_only_what_is_known():
    assert fhir_datetime("20260307", "", "+08:00") == "2026-03-07"
    assert fhir_datetime("1955", "0815", "+08:00") == "1955"
    assert fhir_datetime("20260307", "0815", "+08:00") == "2026-03-07T08:15:00+08:00"


@pytest.mark.parametrize(
    ("value", "offset"), [("+0800", "+08:00"), ("-0330", "-03:30"), ("+2500", None), ("8", None)]
)
def test_offset(value, offset):
    assert offset_text(value) == offset


def test_person_name_has_up_to_three_groups():
    name = person_name("Zhang^Xiao Dong^^Dr^MD=张^小东=")

    assert name.alphabetic.family == "Zhang"
    assert name.alphabetic.given == ("Xiao", "Dong")
    assert name.alphabetic.prefix == ("Dr",)
    assert name.alphabetic.suffix == ("MD",)
    assert name.ideographic.given == ("小东",)
    assert name.phonetic is None


def test_a_given_name_alone_is_no_family_name():
    name = person_name("^Jane")

    assert (name.alphabetic.family, name.alphabetic.given) == ("", ("Jane",))
    assert human_names(name) == [{"text": "Jane", "given": ["Jane"]}]


def test_an_empty_person_name_is_no_name():
    assert not person_name("^^=")
