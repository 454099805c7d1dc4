"""Validation by the standard's tables: every problem with its place, and no value in a text."""

import io
import json

import pytest

from app.feeds.hl7v2.check import check, report

MSH = "MSH|^~\\&|LAB|F1|Y|H|20250310080000||{type}|C1|P|{version}|||AL|NE|CHN|UNICODE UTF-8"
EVN = "EVN|A04|20250310080000"
PID = "PID|1||7^^^F1^MR||Zhang^San||19491231|M"
PV1 = "PV1|1|O"
ORU = (
    PID,
    "OBR|1|P1|F1|24331-1^Lipids^LN|||20250310080000",
    "OBX|1|NM|2345-7^Glucose^LN||5.5|mmol/L|||||F",
)


def problems(*segments, kind="ADT^A04^ADT_A01", version="2.5.1", least="warning"):
    wanted = ("information", "warning", "error")
    raw = "\r".join((MSH.format(type=kind, version=version), *segments, "")).encode()
    return [
        (issue.at, issue.severity, issue.details)
        for issue in check(raw)
        if wanted.index(issue.severity) >= wanted.index(least)
    ]


def oru(*segments, **kw):
    return problems(*segments, kind="ORU^R01^ORU_R01", **kw)


@pytest.mark.parametrize("version", ["2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.2"])
def test_a_good_message_has_no_problem(version):
    assert problems(EVN, PID, PV1, version=version, least="error") == []


def test_a_good_result_has_no_problem():
    assert oru(*ORU) == []


def test_version_2_9_is_checked_as_2_8_2():
    assert problems(EVN, PID, PV1, version="2.9", least="information")[0] == (
        "MSH-12",
        "information",
        "checked-as",
    )


def test_every_problem_is_found_with_its_place():
    found = problems(
        "EVN|A04|20251399",
        "PID|x||7^^^F1^ZZ||Zhang^San||notadate|Q||||||||||||||||||||||99999",
        "PV1|1|",
        "NK1|one",
    )

    assert ("EVN-2.1", "error", "data-type") in found
    assert ("PID-1", "error", "data-type") in found
    assert ("PID-3.5", "error", "table") in found
    assert ("PID-7.1", "error", "data-type") in found
    assert ("PID-8", "warning", "table") in found
    assert ("PV1-2", "error", "required") in found
    assert ("NK1-1", "error", "data-type") in found
    assert ("NK1", "error", "segment-order") in found


def test_occurrence_and_repetition_are_part_of_the_place():
    found = oru(*ORU, "OBX|two|NM|2345-7^G^LN||5.5~abc|mmol/L|||||F")

    assert ("OBX[2]-1", "error", "data-type") in found
    assert ("OBX[2]-5[2]", "error", "data-type") in found


@pytest.mark.parametrize(
    ("value_type", "value", "details"),
    [
        ("NM", "12.5", None),
        ("NM", "<5", "data-type"),
        ("DT", "20250231", "data-type"),
        ("DT", "202502", None),
        ("TM", "2561", "data-type"),
        ("TM", "0815+0800", None),
        ("ST", "free ^ text", None),
        ("CE", "260385009^Negative^SCT", None),
        ("XX", "x", "table"),
    ],
)
def test_obx_5_is_checked_as_obx_2_says(value_type, value, details):
    found = oru(*ORU[:2], f"OBX|1|{value_type}|2345-7^G^LN||{value}||||||F", least="error")

    assert [one[2] for one in found] == ([details] if details else [])


def test_a_missing_segment_is_required():
    assert ("PID", "error", "segment") in problems(EVN, PV1)


def test_a_group_may_repeat_and_its_parts_keep_their_order():
    assert oru(*ORU, *ORU[1:], *ORU[1:]) == []


def test_a_segment_out_of_place_and_one_of_another_message_are_told_apart():
    raw = "\r".join((MSH.format(type="ADT^A04^ADT_A01", version="2.5.1"), PID, EVN, PV1, "OBR|1"))
    texts = {
        issue.at: issue.text for issue in check(raw.encode()) if issue.details == "segment-order"
    }

    assert texts == {
        "EVN": "the segment is out of place",
        "OBR": "the segment is not part of this message",
    }


def test_segments_of_the_sites_own_are_information():
    found = problems(EVN, PID, PV1, "ZZ1|x", "ZZ1|y", least="information")

    assert found == [("ZZ1", "information", "local-segment")]


def test_too_many_repetitions_and_withdrawn_fields():
    assert ("PID-7", "error", "repetitions") in problems(
        EVN, PID.replace("19491231", "19491231~19500101"), PV1
    )
    assert ("PID-2", "warning", "withdrawn") in problems(
        EVN, PID.replace("PID|1|", "PID|1|9"), PV1, version="2.8"
    )


def test_null_is_valid_and_no_value():
    assert problems(EVN, PID.replace("19491231", '""'), PV1) == []


def test_an_unknown_message_is_still_checked_by_segment():
    found = problems(PID.replace("19491231", "x"), kind="ZZZ^Z99")

    assert ("MSH-9", "error", "message-type") in found
    assert ("PID-7.1", "error", "data-type") in found


def test_what_cannot_be_read_is_one_error():
    assert [issue.code for issue in check(b"no HL7")] == ["structure"]


def test_no_text_repeats_a_value():
    raw = "\r".join(
        (
            MSH.format(type="ADT^A04^ADT_A01", version="2.5.1").replace("LAB", "SECRET"),
            "EVN|SECRET|SECRET",
            "PID|SECRET||SECRET^^^SECRET^SECRET||SECRET\\Q\\||SECRET|SECRET|||SECRET^^SECRET^^^^SECRET",
            "PV1|SECRET|SECRET||SECRET",
        )
    )

    assert not any("SECRET" in issue.text for issue in check(raw.encode()))


def test_a_file_is_reported_message_by_message():
    good = "\r".join((MSH.format(type="ADT^A04^ADT_A01", version="2.5.1"), EVN, PID, PV1, ""))
    out = io.StringIO()

    code = report((good + good.replace("19491231", "x")).encode(), out)
    first, second = (json.loads(line) for line in out.getvalue().splitlines())

    assert code == 1
    assert first["issue"][0]["severity"] == "information"
    assert second["issue"][0]["expression"] == ["PID-7.1"]
