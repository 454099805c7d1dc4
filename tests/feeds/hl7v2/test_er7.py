"""HL7 v2.5.1 chapter 2: sections 2.5 to 2.8 and 2.15.9.18, by tables in fixtures/hl7v2/er7."""

import contextlib
import random
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Invalid, Malformed, NotSupported, TooMuch, YilianError
from app.feeds.hl7v2 import er7
from app.feeds.hl7v2.escapes import Delimiters, escape, unescape

CASES = Path(__file__).parents[3] / "fixtures" / "hl7v2" / "er7"
MSH = "MSH|^~\\&|LAB|F1|YILIAN|HUB|20250310080000||ORU^R01^ORU_R01|C1|P|2.5.1|||||CHN|UNICODE UTF-8"


def cases(name):
    return [pytest.param(c, id=c["id"]) for c in yaml.safe_load((CASES / name).read_text("utf-8"))]


def message(*segments, header=MSH, end="\r"):
    return end.join((header, *segments, "")).encode()


def read(*segments, **kw):
    return er7.read(message(*segments, **kw))


@pytest.mark.parametrize("case", cases("2.7-escapes.yaml"))
def test_escape_sequence(case):
    warned = []

    text = unescape(
        case["raw"],
        Delimiters(truncation=case.get("truncation")),
        case.get("codec", "utf-8"),
        lambda _, details: warned.append(details),
    )

    if "length" in case:
        assert len(text) == case["length"]
    else:
        assert text == case["text"]
    assert sorted(set(warned)) == case.get("warns", [])


@pytest.mark.parametrize("case", cases("2.15.9.18-character-sets.yaml"))
def test_character_set(case):
    header = MSH.replace("UNICODE UTF-8", case["label"]).encode()
    raw = header + b"\rPID|1||7||" + bytes.fromhex(case["bytes"]) + b"||19491231\r"

    if case.get("refused"):
        with pytest.raises(Invalid) as refusal:
            er7.read(raw)
        assert refusal.value.issues[0].details == "charset"
        return
    found = er7.read(raw)

    assert found.get("PID", 5) == case["family"]
    assert found.get("PID", 5, 1, 2) == case["given"]
    assert found.get("PID", 7) == "19491231"
    assert [issue.details for issue in found.issues] == case.get("warns", [])


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_wide_unicode_is_told_by_its_mark_or_its_nul_bytes(codec):
    raw = message("PID|1||7||张^䶮").decode().replace("UTF-8", "UTF-16").encode(codec)

    found = er7.read(raw)

    assert (found.get("PID", 5), found.get("PID", 5, 1, 2)) == ("张", "䶮")
    assert found.control_id == "C1"


def test_a_byte_order_mark_before_msh_is_skipped():
    found = er7.read(b"\xef\xbb\xbf" + message("PID|1||7"))

    assert found.get("PID", 3) == "7"


@pytest.mark.parametrize("label", ["GB18030", "8859/1", "BIG-5", "XYZ"])
def test_a_byte_order_mark_of_utf_8_tells_more_than_msh_18(label):
    raw = message("PID|1||7||张^䶮").decode().replace("UNICODE UTF-8", label).encode()

    found = er7.read(b"\xef\xbb\xbf" + raw)

    assert (found.get("PID", 5), found.get("PID", 5, 1, 2)) == ("张", "䶮")


@pytest.mark.parametrize("label", ["UNICODE UTF-8", "GB18030"])
@pytest.mark.parametrize("never", ["\ufffd", "\ufffe", "\uffff"])
def test_what_no_fhir_string_holds_is_dropped_in_every_set_with_a_warning(label, never):
    text = message(f"PID|1||7||张{never}").decode().replace("UNICODE UTF-8", label)

    found = er7.read(text.encode("utf-8" if label.endswith("8") else "gb18030"))

    assert found.get("PID", 5) == "张"
    assert [issue.details for issue in found.issues] == ["controls"]


def test_charset_is_found_behind_a_separator_hidden_in_a_gbk_character():
    header = MSH.replace("F1", "妡").replace("UNICODE UTF-8", "GBK")

    found = er7.read((header + "\rPID|1||7||张").encode("gbk"))

    assert (found.get("MSH", 4), found.get("PID", 5)) == ("妡", "张")


def test_the_senders_default_set_reads_an_empty_msh_18():
    raw = (MSH.replace("UNICODE UTF-8", "") + "\rPID|1||7||é").encode("latin-1")

    assert er7.read(raw, default_charset="8859/1").get("PID", 5) == "é"


def test_no_fallback_refuses_an_unnamed_set_that_is_not_utf_8():
    raw = (MSH.replace("UNICODE UTF-8", "") + "\rPID|1||7||张").encode("gbk")

    with pytest.raises(Invalid):
        er7.read(raw, fallback=None)


def test_a_mislabelled_sender_is_read_in_the_set_its_profile_names_with_a_warning():
    raw = (MSH + "\rPID|1||7||张").encode("gbk")

    found = er7.read(raw, mislabelled="GBK")

    assert found.get("PID", 5) == "张"
    assert [issue.details for issue in found.issues] == ["charset"]


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\n\r\n", "\n\r"])
def test_segments_end_by_any_line_end(end):
    found = read("PID|1||7", "PV1|1|I", end=end)

    assert [segment.id for segment in found.segments] == ["MSH", "PID", "PV1"]
    assert found.get("PID", 3) == "7"


def test_the_last_segment_needs_no_end():
    assert er7.read(message("PID|1||7").rstrip()).get("PID", 3) == "7"


def test_a_line_feed_inside_a_value_keeps_the_text():
    found = read("OBX|1|TX|T^x^L||first line\nsecond line here|||")

    assert found.get("OBX", 5) == "first line\nsecond line here"
    assert [issue.details for issue in found.issues] == ["line-feed"]


def test_msh_numbers_count_the_field_separator_as_the_first():
    found = read()

    assert (found.header.field(1), found.header.field(2)) == ("|", "^~\\&")
    assert (found.get("MSH", 3), found.get("MSH", 9, 1, 2)) == ("LAB", "R01")
    assert found.get("MSH", 12) == "2.5.1"


def test_delimiters_are_those_of_the_message():
    header = "MSH#$*!@#LAB#F1#YILIAN#HUB#20250310##ADT$A04#C1#P#2.5.1"

    found = read("PID#1##7$$$F1@1.2@ISO*8$$$F2##O!T!K$A|^", header=header)

    assert (found.get("PID", 3, 1, 4, 2), found.get("PID", 3, 2)) == ("1.2", "8")
    assert (found.get("PID", 5), found.get("PID", 5, 1, 2)) == ("O@K", "A|^")


def test_a_hash_is_data_even_where_the_truncation_character_is_named():
    header = MSH.replace("^~\\&", "^~\\&#").replace("2.5.1", "2.7")

    assert read("PID|1||7||||||||No 12#2", header=header).get("PID", 11) == "No 12#2"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"   \r\n",
        b"MSH",
        b"MSH|",
        b"MSH|^~",
        b"MSH|^~\\&",
        b"MSH|^~\\&|LAB|F1",
        b"MSH|^^^^|LAB|F1|Y|H|1||ADT^A01|1|P|2.5",
        b"MSH||~\\&|LAB",
        b"MSHabcdeLABaF1",
        b"MSH ^~\\& LAB",
        b"PID|1||7",
        b"this is not HL7",
        b"<html><body>502</body></html>",
        b"\x00\x01\x02\x03",
    ],
)
def test_what_has_no_readable_header_is_malformed(raw):
    with pytest.raises(Malformed):
        er7.read(raw)


@pytest.mark.parametrize(
    ("sent", "taken", "warned"),
    [
        ("2.5.1", "2.5.1", []),
        ("2.5.1^CHN^x", "2.5.1", []),
        ("2.9", "2.9", []),
        ("2.5.2", "2.5.1", ["unknown-version"]),
        ("2.99", "2.9.1", ["unknown-version"]),
        ("2.0", "2.1", ["unknown-version"]),
        ("", "2.3", ["no-version"]),
    ],
)
def test_version_whose_rules_apply(sent, taken, warned):
    found = read(header=MSH.replace("2.5.1", sent))

    assert found.version == taken
    assert [issue.details for issue in found.issues] == warned


@pytest.mark.parametrize("sent", ["XYZ", "3", "2.x", "2.5.1.1", "２.5"])
def test_what_is_no_version_is_not_supported(sent):
    with pytest.raises(NotSupported) as refusal:
        read(header=MSH.replace("2.5.1", sent))

    assert (refusal.value.at, refusal.value.issues[0].details) == ("MSH-12", "version")


def test_a_message_without_type_is_not_supported():
    with pytest.raises(NotSupported) as refusal:
        read(header=MSH.replace("ORU^R01^ORU_R01", ""))

    assert refusal.value.at == "MSH-9"


@pytest.mark.parametrize(
    ("sent", "structure"),
    [
        ("ADT^A04", "ADT_A01"),
        ("ADT^A31", "ADT_A05"),
        ("ADT^A40", "ADT_A39"),
        ("ORU^R01", "ORU_R01"),
        ("SIU^S17", "SIU_S12"),
        ("ADT^A08^ADT_A01", "ADT_A01"),
        ("ACK", "ACK"),
    ],
)
def test_message_structure_is_derived_when_it_is_missing(sent, structure):
    found = read(header=MSH.replace("ORU^R01^ORU_R01", sent))

    assert found.type.structure == structure


def test_the_event_comes_from_evn_when_msh_9_lacks_it():
    found = read("EVN|A08|20250310", header=MSH.replace("ORU^R01^ORU_R01", "ADT"))

    assert found.type == er7.MessageType("ADT", "A08", "ADT_A01")


def test_null_is_not_empty_and_neither_is_a_value():
    found = read('PID|1||7||""^""^x&""&y||""||')
    pid = found.first("PID")

    assert (found.get("PID", 5), found.get("PID", 5, 1, 3, 2), found.get("PID", 7)) == ("", "", "")
    assert pid.is_null(7)
    assert not pid.is_null(8)
    name = pid.first(5)
    assert (name.is_null(), name.is_null(1), name.is_null(3), name.is_null(3, 2)) == (
        False,
        True,
        False,
        True,
    )
    assert not name.is_null(9)
    assert pid.first(7).is_null(3, 1)


def test_trailing_blanks_and_blank_values_vanish_and_leading_blanks_stay():
    found = read("PID|1||7  ||   ^ x |", "OBX|1|TX|T||  indented  ")

    assert (found.get("PID", 3), found.get("PID", 5), found.get("PID", 5, 1, 2)) == ("7", "", " x")
    assert found.get("OBX", 5) == "  indented"


def test_repetitions_keep_their_number():
    found = read("PID|1||7~~9^^^B")

    assert [(one.raw, one.occurrence) for one in found.first("PID").repetitions(3)] == [
        ("7", 1),
        ("9^^^B", 3),
    ]
    assert (found.get("PID", 3, 3, 4), found.get("PID", 3, 2)) == ("B", "")


def test_a_leaf_above_its_parts_is_the_first_of_them():
    found = read("PID|1||7||Zhang&van&der^Yan")

    assert found.get("PID", 5) == "Zhang"
    assert found.get("PID", 5, 1, 1, 3) == "der"
    assert found.get("PID", 3, 1, 1, 2) == ""
    assert found.get("PID", 3, 1, 2) == ""
    assert found.get("PID", 99) == ""


def test_text_keeps_delimiters_that_a_sender_left_unescaped():
    found = read("OBX|1|ST|T||A & B ^ C\\F\\ |").first("OBX").first(5)

    assert (found.text(), found.text(1)) == ("A & B ^ C|", "A & B")


def test_places_name_occurrence_and_repetition():
    found = read("OBX|1|ST|T||x", "OBX|2|ST|T||a~b")
    second = found.all("OBX")[1].repetitions(5)[1]

    assert second.place == "OBX[2]-5[2]"
    assert found.first("OBX").first(3).place == "OBX[1]-3"
    assert found.header.first(9).place == "MSH-9"


def test_a_doubtful_leaf_is_reported_once_with_its_place_and_without_its_value():
    found = read("OBX|1|ST|T||secret \\Q\\")
    leaf = found.first("OBX").first(5)

    leaf.value(), leaf.value()

    assert [(i.severity, i.at, i.details) for i in found.issues] == [
        ("warning", "OBX-5", "stray-escape")
    ]
    assert "secret" not in found.issues[0].text


def test_segment_ids_in_lower_case_are_read():
    found = read("pid|1||7", "zz1|x")

    assert [segment.id for segment in found.segments] == ["MSH", "PID", "ZZ1"]
    assert found.issues[0].details == "lower-case-segment"


def test_ten_thousand_repetitions_are_read_and_one_more_is_too_much():
    assert len(read("PID|1||7||||||||||" + "~".join("5" * 10_000)).first("PID").repetitions(13)) > 9

    with pytest.raises(TooMuch) as refusal:
        read("PID|1||7||||||||||" + "~".join("5" * 10_001))

    assert (refusal.value.at, refusal.value.issues[0].details) == ("PID-13", "too-many-repetitions")


def test_too_many_segments_are_too_much():
    with pytest.raises(TooMuch):
        er7.read(message() + b"ZZ1|x\r" * 100_001)


def test_many_components_and_subcomponents_are_read():
    found = read("PID|1||7||Deep" + "^&" * 50_000 + "||" + "&" * 50_000 + "^" * 50_000)

    assert found.get("PID", 5) == "Deep"
    assert found.get("PID", 7, 1, 50_001) == ""


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_escape_then_unescape_gives_the_same_text(text):
    marks = Delimiters()

    assert unescape(escape(text, marks), marks, "utf-8", lambda *_: None) == text


@given(st.text("\\XFHZ.br09C2M4|", max_size=40))
def test_no_escape_text_breaks_the_reader(text):
    unescape(text, Delimiters(), "utf-8", lambda *_: None)


def mutated(raw, rng):
    """Return the bytes cut, doubled, shuffled or spoilt at a few places."""
    data = bytearray(raw)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            del data[at : at + rng.randint(1, 40)]
        elif kind == 1:
            data[at:at] = data[at : at + rng.randint(1, 60)]
        elif kind == 2:
            data[at:at] = bytes(
                rng.choice(b"|^~\\&\r\n\x0b\x1c\x1b\x00\xff\x81#M") for _ in range(3)
            )
        elif kind == 3 and data:
            data[at % len(data)] = rng.randrange(256)
        else:
            del data[at:]
            data = data or bytearray(b"M")
    return bytes(data)


def read_everything(raw):
    found = er7.read(raw)
    for segment in found.segments:
        for number in range(1, min(len(segment.fields), 60)):
            for one in segment.repetitions(number)[:20]:
                for component in range(1, min(len(one.components), 20) + 1):
                    value = one.value(component)
                    assert value != er7.NULL
                    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffd]", value)
                assert one.place
    assert all(issue.text for issue in found.issues)


def test_broken_messages_are_read_or_refused_but_never_crash():
    rng = random.Random(20250310)  # noqa: S311 - repeatable, not secret
    whole = message(
        "EVN|A04|20250310",
        'PID|1||7^^^F1^MR~8||张^䶮\\T\\||19491231|F|||1 Road\\.br\\x^^Town||""',
        "OBR|1|P1|F1|24331-1^Lipids^LN",
        "OBX|1|TX|T^x^L||caf\\XC3A9\\ \\M2442\\;3ED\\C2842\\||||||F",
    )
    for _ in range(500):
        with contextlib.suppress(YilianError):  # any other error fails the test
            read_everything(mutated(whole, rng))
