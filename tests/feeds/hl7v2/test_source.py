"""Paths into HL7 v2 as mappings write them (app/feeds/hl7v2/source.py)."""

import pytest

from app.errors import Invalid
from app.feeds.hl7v2.source import Hl7Source


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("XYZ-3", "HL7 v2 has no segment `XYZ`"),
        ("PID-99", "segment PID has no field 99"),
        ("PID-5.99", r"PID-5 \(XPN\) has no component 99"),
        ("PID-5[2].99.1", r"PID-5 \(XPN\) has no component 99"),
        ("PID5", "no HL7 v2 path"),
    ],
)
def test_a_path_to_what_no_version_has_is_refused(path, problem):
    with pytest.raises(Invalid, match=problem):
        Hl7Source().path(path, None, False)


@pytest.mark.parametrize("path", ["PID-5.15", "ZPI-2.40", "OBX-5.30", "PID-40.1", "MSH-9.3"])
def test_what_a_version_or_a_site_may_have_is_a_path(path):
    assert Hl7Source().path(path, None, False)
