"""IEEE 11073-20601 F.8 and Bluetooth GATT layouts: octets to values."""

from datetime import UTC
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Malformed, NotSupported, YilianError
from app.feeds.iot import ble_gatt, times
from app.feeds.iot.ieee11073 import eui48, eui64, float32, sfloat


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (0x007E, Decimal(126)),
        (0xF0C5, Decimal("19.7")),
        (0x1009, Decimal(90)),
        (0x0FFF, Decimal(-1)),
        (0xBFFF, Decimal("-0.00001")),
        (0x07FF, "not-a-number"),
        (0x0800, "unknown"),
        (0x07FE, "positive-infinity"),
        (0x0802, "negative-infinity"),
    ],
)
def test_sfloat(raw, value):
    assert sfloat(raw) == value


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (0xFF00016C, Decimal("36.4")),
        (0xFF0003E0, Decimal("99.2")),
        (0x00FFFFFF, Decimal(-1)),
        (0x007FFFFF, "not-a-number"),
    ],
)
def test_float(raw, value):
    assert float32(raw) == value


def test_addresses_are_written_as_fhir_writes_them():
    assert eui48("c4:7c:8d:01:02:03") == "C4-7C-8D-01-02-03"
    assert eui64("00A0370000AB12CD") == "00-A0-37-00-00-AB-12-CD"
    assert eui48("C4:7C") is None


def readings(characteristic: str, octets: str) -> list[tuple]:
    """Return (code, value or reason, unit) of all measurements."""
    found = []
    for record in ble_gatt.decode(characteristic, ble_gatt.octets_of(octets)):
        for one in record["measurements"]:
            found.append((one["code"], one.get("value", one.get("absent")), one["unit"]))
    return found


CASES = {
    "2A1C-celsius-oral": ("2A1C", "066c0100ff ea070b050a0000 06", [("188424", "36.4", "Cel")]),
    "2A1C-fahrenheit": ("2A1C", "01e00300ff", [("150364", "99.2", "[degF]")]),
    "2A1C-nan": ("2A1C", "00ffff7f00", [("150364", "not-a-number", "Cel")]),
    "2A37-8-bit": ("2A37", "004c", [("147842", "76", "/min")]),
    "2A37-16-bit": ("2A37", "012c01", [("147842", "300", "/min")]),
    "2A37-no-contact": ("2A37", "044c", [("147842", "error", "/min")]),
    "2A35-kpa": (
        "2A35",
        "01a8f06bf0ff07",
        [("150021", "16.8", "kPa"), ("150022", "10.7", "kPa")],
    ),
    "2A35-mmhg-with-pulse": (
        "2A35",
        "04 7800 5000 5d00 4800",
        [
            ("150021", "120", "mm[Hg]"),
            ("150022", "80", "mm[Hg]"),
            ("150023", "93", "mm[Hg]"),
            ("149546", "72", "/min"),
        ],
    ),
    "2A18-mass": ("2A18", "02 0700 ea070b050a0000 6cb0 11", [("160184", "108", "mg/dL")]),
    "2A18-molar": ("2A18", "06 0700 ea070b050a0000 3dc0 11", [("160184", "6.1", "mmol/L")]),
    "2A18-control": ("2A18", "02 0700 ea070b050a0000 6cb0 4a", [("160208", "108", "mg/dL")]),
    "2A5E": ("2A5E", "00 6100 4c00", [("150456", "97", "%"), ("149530", "76", "/min")]),
    "2A5F": ("2A5F", "00 c5f3 4c00", [("150456", "96.5", "%"), ("149530", "76", "/min")]),
    "2A9D-si": ("2A9D", "00 0037", [("188736", "70.4", "kg")]),
    "2A9D-imperial": ("2A9D", "01 a23c", [("188736", "155.22", "[lb_av]")]),
    "2A9C": ("2A9C", "0004 df00 0037", [("188748", "22.3", "%"), ("188736", "70.4", "kg")]),
    "2AA7-two": (
        "2AA7",
        "06006c008200 0600720087 00",
        [("160212", "108", "mg/dL"), ("160212", "114", "mg/dL")],
    ),
}


@pytest.mark.parametrize(("kind", "octets", "expected"), CASES.values(), ids=CASES)
def test_characteristic(kind, octets, expected):
    found = readings(kind, octets.replace(" ", ""))

    assert [(code, str(value), unit) for code, value, unit in found] == expected


def test_a_128_bit_uuid_is_the_same_characteristic():
    assert readings("00002a37-0000-1000-8000-00805f9b34fb", "004c") == [("147842", 76, "/min")]


def test_time_and_offset_in_minutes_make_the_time_of_a_glucose():
    octets = ble_gatt.octets_of("030700ea070b050a00000f006cb011")

    (record,) = ble_gatt.decode("2A18", octets)

    assert ble_gatt.with_offset(record, None, UTC)["time"] == "2026-11-05T10:15:00"


def test_a_cgm_counts_from_the_start_of_its_session():
    (record,) = ble_gatt.decode("2AA7", ble_gatt.octets_of("06006c008200"))
    start = times.parse("2026-11-05T06:00:00+08:00", UTC)

    assert ble_gatt.with_offset(record, start, UTC)["time"] == "2026-11-05T08:10:00+0800"


def test_an_unknown_year_is_no_time():
    (record,) = ble_gatt.decode(
        "2A1C", ble_gatt.octets_of("026c0100ff0000000000 0000".replace(" ", ""))
    )

    assert "time" not in record


@pytest.mark.parametrize(
    ("kind", "octets"),
    [
        ("2A35", "1e7e0050"),  # cut off
        ("2A37", "004c00"),  # one octet too many
        ("2A37", "104c12"),  # half an RR interval
        ("2A1C", "026c0100ffea070d050a0000"),  # month 13
        ("2AA7", "0600"),
        ("2A37", ""),
    ],
)
def test_what_does_not_fit_its_flags_is_refused_whole(kind, octets):
    with pytest.raises(Malformed):
        ble_gatt.decode(kind, ble_gatt.octets_of(octets))


def test_an_unknown_characteristic_is_not_supported():
    with pytest.raises(NotSupported):
        ble_gatt.decode("2A00", b"\x00")


@given(st.sampled_from(sorted(ble_gatt.LAYOUTS)), st.binary(max_size=40))
def test_nothing_crashes_a_layout(kind, octets):
    try:
        records = ble_gatt.decode(kind, octets)
    except YilianError:
        return
    assert isinstance(records, list)
