"""HL7 v2.5.1 section 2.9 and 2.15.5, 2.15.8: which answers, and how they are written."""

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from app.errors import (
    Conflict,
    Invalid,
    Issue,
    Malformed,
    NotSupported,
    TooMuch,
    Unavailable,
    YilianError,
)
from app.feeds.hl7v2 import ack, er7
from app.feeds.hl7v2.ack import Verdict
from app.feeds.hl7v2.named import named

TABLE = Path(__file__).parents[3] / "fixtures" / "hl7v2" / "er7" / "2.9-acknowledgement.yaml"
ROWS = yaml.safe_load(TABLE.read_text("utf-8"))
NOW = datetime(2025, 3, 10, 8, 0, 1, tzinfo=UTC)
RAW = (
    "MSH|^~\\&|LAB|F1|YILIAN|HUB|20250310080000||ADT^A04^ADT_A01|C7|T|{version}|||{accept}|"
    "{application}|CHN|{charset}\rPID|1||7||Zhang\r"
)


def raw(version="2.5.1", accept="", application="", charset="UNICODE UTF-8"):
    text = RAW.format(version=version, accept=accept, application=application, charset=charset)
    return text.encode()


def answer(received, code="AA", **kw):
    built = ack.build(ack.header_of_raw(received), code, control_id="Y1", sent_at=NOW, **kw)
    return built.decode("latin-1").split("\r")


@pytest.mark.parametrize(
    "row", ROWS, ids=lambda r: f"{r['accept']}-{r['application']}-{r['stored']}{r['applied']}"
)
def test_answers_due(row):
    mode = ack.mode_of(ack.header_of_raw(raw(accept=row["accept"], application=row["application"])))
    stored, applied = Verdict(row["stored"]), Verdict(row["applied"])

    due = [ack.accept_code(mode, stored), ack.application_code(mode, applied, accepted=stored)]

    assert [code for code in due if code] == row["answers"]


def test_a_sender_that_understands_only_original_mode():
    mode = ack.mode_of(ack.header_of_raw(raw(accept="AL")), force_original=True)

    assert ack.accept_code(mode, Verdict.ACCEPT) is None
    assert ack.application_code(mode, Verdict.ACCEPT) == "AA"


@pytest.mark.parametrize(
    "received",
    [
        raw(),
        raw(version="2.2", charset="GB18030"),
        raw().replace(b"|C7|", b"||"),
        raw().replace(b"LAB", b"L" * 600),
        "MSH#$*!@#检验#医院#Y#H#1##ADT$A04#C7#P#2.5.1######GB18030\rPID#1\r".encode("gbk"),
        b"no message",
        b"MSH|",
    ],
)
def test_an_answer_that_was_prepared_is_the_one_that_is_built(received):
    header = ack.header_of_raw(received)

    prepared = ack.positive(header).built("AA", "Y1", NOW)

    assert prepared == ack.build(header, "AA", control_id="Y1", sent_at=NOW)


@given(
    st.text('MSH|^~\\&\r2.5#"é号', max_size=60), st.sampled_from(["utf-8", "latin-1", "gb18030"])
)
def test_whatever_comes_can_be_named_and_answered(text, codec):
    received = b"MSH|^~\\&|" + text.encode(codec, "replace")
    header = ack.header_of_raw(received)

    prepared = ack.positive(header).built("AA", "Y1", NOW)

    assert prepared == ack.build(header, "AA", control_id="Y1", sent_at=NOW)
    assert named(header, received).digest == sha256(received).digest()


def test_an_answer_turns_the_header_round_and_ends_every_segment():
    msh, msa, end = answer(raw())

    assert msh == (
        "MSH|^~\\&|YILIAN|HUB|LAB|F1|20250310080001+0000||ACK^A04^ACK|Y1|T|2.5.1||||||UNICODE UTF-8"
    )
    assert (msa, end) == ("MSA|AA|C7", "")


@pytest.mark.parametrize(
    ("version", "kind"),
    [("2.1", "ACK"), ("2.3.1", "ACK"), ("2.4", "ACK^A04^ACK"), ("2.8", "ACK^A04^ACK")],
)
def test_the_message_type_names_event_and_structure_from_2_4_on(version, kind):
    fields = answer(raw(version=version))[0].split("|")

    assert (fields[8], fields[11]) == (kind, version)


def test_version_is_copied_with_its_components():
    assert answer(raw(version="2.5.1^CHN"))[0].split("|")[11] == "2.5.1^CHN"


@pytest.mark.parametrize("control_id", [" 7/a-b.c", "\\T\\x", "#1", "-" + "9" * 40, "号码7"])
def test_ack_repeats_the_control_id_of_the_message_it_answers(control_id):
    received = raw().replace(b"C7", control_id.encode())

    assert answer(received)[1].encode("latin-1").decode() == f"MSA|AA|{control_id}"
    assert ack.header_of(er7.read(received)) == ack.header_of_raw(received)


def test_an_answer_is_in_the_character_set_and_the_delimiters_received():
    received = "MSH#$*!@#检验#医院#Y#H#1##ADT$A04#C7#P#2.5.1######GB18030\rPID#1\r".encode("gbk")

    built = ack.build(
        ack.header_of_raw(received),
        "AE",
        control_id="Y1",
        sent_at=NOW,
        errors=[("101", Issue("error", "required", "is # missing", "PID-3"))],
    ).decode("gb18030")

    assert built.split("\r")[0].split("#")[4:6] == ["检验", "医院"]
    assert "ERR##PID$1$3#101$Required field missing$HL70357#E###required#is !F! missing" in built


def test_err_of_2_5_names_place_condition_and_severity():
    issue = Issue("error", "value", "9 characters, not a date", "PID[2]-5[3].1.2")

    err = answer(raw(), "AE", errors=[("102", issue)])[2].split("|")

    assert err[2:5] == ["PID^2^5^3^1^2", "102^Data type error^HL70357", "E"]
    assert err[7:9] == ["value", "9 characters, not a date"]


def test_err_before_2_5_has_only_its_first_field():
    issues = [
        ("101", Issue("error", "required", "missing", "PID-3")),
        ("102", Issue("error", "value", "x")),
    ]

    err = answer(raw(version="2.3"), "AE", errors=issues)[2]

    assert err == ("ERR|PID^1^3^101&Required field missing&HL70357~^^^102&Data type error&HL70357")


@pytest.mark.parametrize(
    ("version", "text"), [("2.3", "|missing"), ("2.6", "|missing"), ("2.7", "")]
)
def test_msa_carries_text_up_to_2_6(version, text):
    issue = Issue("error", "required", "missing", "PID-3")

    assert answer(raw(version=version), "AE", errors=[("101", issue)])[1] == "MSA|AE|C7" + text


def test_msa_says_which_sequence_number_is_expected():
    assert answer(raw(), "AR", expected_sequence=8)[1] == "MSA|AR|C7||8"


@pytest.mark.parametrize(
    ("received", "msh"),
    [
        (b"this is not HL7", "MSH|^~\\&|||||"),
        (b"", "MSH|^~\\&|||||"),
        (b"MSH", "MSH|^~\\&|||||"),
        (b"MSH|", "MSH|^~\\&|||||"),
        (b"MSH|^~\\&", "MSH|^~\\&|||||"),
        (b"MSH|^~\\&|LAB|F1|Y|H|2025", "MSH|^~\\&|Y|H|LAB|F1|"),
        (b"MSHabcdeLABaF1", "MSH|^~\\&|||||"),
        (b"MSH|^^^^|LAB|F1|Y|H|2025", "MSH|^~\\&|Y|H|LAB|F1|"),
        (b"MSH|^~\\&|\xff\xfe|F1|Y|H|2025", "MSH|^~\\&|Y|H|\xff\xfe|F1|"),
    ],
)
def test_a_cut_header_is_answered_with_what_could_be_read(received, msh):
    found = answer(received, "AR")

    assert found[0].startswith(msh)
    assert found[0].split("|")[8:12] == ["ACK", "Y1", "P", "2.5.1"]
    assert found[1] == "MSA|AR"


@pytest.mark.parametrize(
    ("error", "verdict", "code"),
    [
        (Malformed("no MSH"), "R", "100"),
        (NotSupported("no type", details="message-type"), "R", "200"),
        (NotSupported("no version", details="version"), "R", "203"),
        (Invalid("not a date"), "E", "102"),
        (Invalid("missing", code="required"), "E", "101"),
        (Invalid("not in the table", code="code-invalid"), "E", "103"),
        (Invalid("bytes", details="charset"), "E", "102"),
        (Conflict("circular merge"), "E", "205"),
        (TooMuch("repetitions", details="too-many-repetitions"), "E", "104"),
        (TooMuch("frame", details="frame-too-long"), "R", "207"),
        (Unavailable("disk full"), "R", "207"),
        (YilianError("fault"), "E", "207"),
    ],
)
def test_errors_of_the_house_as_verdict_and_condition(error, verdict, code):
    assert (ack.verdict_of(error), ack.errors_of(error)[0][0]) == (verdict, code)


def test_every_condition_has_its_text():
    assert {code for code, _ in ack.errors_of(YilianError("x"))} <= set(ack.CONDITIONS)
