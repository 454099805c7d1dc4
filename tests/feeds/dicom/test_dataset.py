"""DICOM PS3.5 7 and annex A, PS3.10 7, PS3.18 F: reading data sets, whole and broken."""

import json
import struct
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import Malformed, TooMuch, YilianError
from app.feeds.dicom import dataset, encoding
from app.feeds.dicom.objects import header_of

SYNTAXES = {
    "implicit-little": "1.2.840.10008.1.2",
    "explicit-little": "1.2.840.10008.1.2.1",
    "explicit-big": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
}


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES)
def test_every_transfer_syntax_gives_the_same_values(dicom_object, item, syntax):
    udi = item(UniqueDeviceIdentifier="(01)06901234567892(21)X1")
    data = dicom_object(
        syntax,
        SpecificCharacterSet="GB18030",
        PatientName="Zhang^Wei=张^伟",
        SoftwareVersions=["5.1.2", "K3"],
        SliceThickness="1.250",
        InstanceNumber=7,
        UDISequence=[udi],
    )

    ds = dataset.read(data)

    assert ds.text("StudyInstanceUID") == "2.25.100"
    assert ds.first("PatientName").ideographic.text == "张^伟"
    assert ds.get("SoftwareVersions") == ["5.1.2", "K3"]
    assert ds.first("SliceThickness") == Decimal("1.250")
    assert ds.first("InstanceNumber") == 7
    assert ds.first("Rows") == 8
    assert ds.items("UDISequence")[0].text("UniqueDeviceIdentifier").endswith("X1")
    assert "PixelData" not in ds


def test_a_bare_data_set_needs_no_preamble(dicom_object):
    whole = dicom_object(PatientID="P1")
    meta_length = struct.unpack_from("<I", whole, 140)[0]
    bare = whole[132 + 12 + meta_length :]

    assert dataset.read(bare).text("PatientID") == "P1"


def test_cut_off_pixel_data_does_not_matter(dicom_object):
    data = dicom_object(pixels=bytes(4000))

    assert dataset.read(data[:-3000]).text("Modality") == "CT"


def test_the_header_is_the_object_without_its_pixels(dicom_object):
    data = dicom_object(pixels=b"\x7f" * 4000, PatientID="P1")

    header = encoding.read(data).header

    assert len(header) < 1000
    assert dataset.read(header).text("PatientID") == "P1"


def test_of_an_object_that_was_cut_off_the_whole_elements_are_read(dicom_object):
    data = dicom_object(pixels=b"", PatientID="P1", StudyDescription="x" * 40)
    cut = data.index(b"x" * 40) + 10

    encoded = encoding.read(data[:cut])

    assert encoded.cut.at == "(0008,1030)"
    assert 0x00080018 in encoded.elements
    assert 0x00100020 not in encoded.elements


def test_an_object_that_was_cut_off_is_refused_over_the_network(tmp_path, dicom_object):
    path = tmp_path / "cut.dcm"
    data = dicom_object(pixels=b"", PatientID="P1", StudyDescription="x" * 40)
    path.write_bytes(data[: data.index(b"x" * 40) + 10])

    with pytest.raises(Malformed) as caught:
        header_of(path)

    assert caught.value.at == "(0008,1030)"


def test_an_item_may_have_its_own_character_set(dicom_object, item):
    inner = item(SpecificCharacterSet="GB18030", PatientID="甲1")
    data = dicom_object(
        SpecificCharacterSet="ISO_IR 192", PatientID="乙2", OtherPatientIDsSequence=[inner]
    )

    ds = dataset.read(data)

    assert ds.text("PatientID") == "乙2"
    assert ds.items("OtherPatientIDsSequence")[0].text("PatientID") == "甲1"


def test_a_pinned_character_set_beats_declaration_and_guess(dicom_object):
    data = dicom_object(SpecificCharacterSet="ISO_IR 100", PatientName="Þ^ß")
    raw = data.replace("Þ^ß".encode("latin-1"), b"\xb1\xb2^")

    ds = dataset.read(raw, charset="ISO_IR 144")

    assert ds.first("PatientName").alphabetic.family == "БВ"
    assert not ds.guessed


def test_private_elements_are_found_by_their_creator(dicom_object):
    data = dicom_object(pixels=b"")
    block = b"\x29\x00\x11\x00LO\x0e\x00DEMO PRIVATE 1" + b"\x29\x00\x10\x11LO\x02\x00ab"

    ds = dataset.read(data + block)

    assert ds.private(0x0029, "DEMO PRIVATE 1", 0x10) == ["ab"]
    assert ds.private(0x0029, "OTHER", 0x10) == []


def test_dicom_json_takes_a_bare_value_for_an_array():
    text = {
        "0020000d": {"vr": "UI", "Value": "2.25.1"},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Li^Na", "Ideographic": "李^娜"}]},
        "0018100A": {"vr": "SQ", "Value": [{"00181009": {"vr": "UT", "Value": ["U1"]}}]},
        "00200013": {"vr": "IS", "Value": [3]},
    }

    (ds,) = dataset.read_json(json.dumps(text).encode())

    assert ds.text("StudyInstanceUID") == "2.25.1"
    assert ds.first("PatientName").ideographic.family == "李"
    assert ds.items("UDISequence")[0].text("UniqueDeviceIdentifier") == "U1"
    assert ds.first("InstanceNumber") == 3


@pytest.mark.parametrize(
    "data", [b"{", b"[1]", b"{" * 100_000, b'{"a":' * 5000 + b"1" + b"}" * 5000]
)
def test_broken_dicom_json_is_refused(data):
    with pytest.raises((Malformed, TooMuch)):
        dataset.read_json(data)


def test_text_that_is_not_dicom_is_refused():
    with pytest.raises(Malformed, match="not a DICOM data set"):
        dataset.read(b"MSH|^~\\&|A|B|C|D|20260301||ADT^A01|1|P|2.5\r")


def test_endless_nesting_is_refused():
    item = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"

    with pytest.raises(TooMuch):
        dataset.read(item * 5000)


def test_a_deflated_bomb_is_refused(dicom_object):
    data = dicom_object(SYNTAXES["deflated"], pixels=b"", ImageComments="x" * 4000)

    with pytest.raises(TooMuch):
        dataset.read(data, limits=encoding.Limits(inflated_bytes=1000))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_object_is_read_or_refused_never_more(data):
    whole = _SEED
    at = data.draw(st.integers(0, len(whole) - 1))
    damage = data.draw(st.binary(min_size=1, max_size=8))
    cut = data.draw(st.integers(at, len(whole)))
    broken = (whole[:at] + damage + whole[at + len(damage) :])[:cut]

    try:
        ds = dataset.read(broken)
        for keyword in ("PatientName", "UDISequence", "StudyInstanceUID", "Rows", "SliceThickness"):
            ds.get(keyword)
        for inner in ds.items("UDISequence"):
            inner.get("UniqueDeviceIdentifier")
    except YilianError:
        pass


def _seed() -> bytes:
    def element(tag: bytes, vr: bytes, value: bytes) -> bytes:
        return tag + vr + struct.pack("<H", len(value)) + value

    udi = b"\x18\x00\x09\x10UT\x00\x00\x04\x00\x00\x00(01)"
    item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(udi)) + udi
    return (
        element(b"\x08\x00\x05\x00", b"CS", b"GB18030 ")
        + element(b"\x10\x00\x10\x00", b"PN", "张^伟 ".encode("gb18030"))
        + b"\x18\x00\x0a\x10SQ\x00\x00"
        + struct.pack("<I", len(item))
        + item
        + element(b"\x20\x00\x0d\x00", b"UI", b"2.25.100")
        + element(b"\x28\x00\x10\x00", b"US", b"\x08\x00")
    )


_SEED = _seed()
