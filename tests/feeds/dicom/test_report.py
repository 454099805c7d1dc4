"""DICOM PS3.3 C.17, PS3.16: structured reports to DiagnosticReport and Observations."""

import base64
import io
import json

import pytest

from app.feeds.dicom import dataset, report
from app.feeds.dicom.convert import main
from app.fhir.validate import problems

SR = "1.2.840.10008.5.1.4.1.1.88.22"
SITE = ("363698007", "SCT", "Finding Site")
LONG_AXIS = ("103339001", "SCT", "Long axis")


@pytest.fixture
def content(item):
    """Return a function that makes a content item."""

    def make(relation, kind, name, *children, **values):
        code, scheme, meaning = name
        concept = item(CodeValue=code, CodingSchemeDesignator=scheme, CodeMeaning=meaning)
        made = item(
            RelationshipType=relation,
            ValueType=kind,
            ConceptNameCodeSequence=[concept],
            **values,
        )
        if children:
            made.ContentSequence = list(children)
        return made

    return make


@pytest.fixture
def site(content, item):
    def make(code):
        value = item(CodeValue=code, CodingSchemeDesignator="SCT", CodeMeaning="a place")
        return content("HAS CONCEPT MOD", "CODE", SITE, ConceptCodeSequence=[value])

    return make


@pytest.fixture
def number(content, item):
    def make(value, name=LONG_AXIS, scheme="UCUM"):
        unit = item(CodeValue="mm", CodingSchemeDesignator=scheme, CodeMeaning="millimetre")
        measured = item(NumericValue=value, MeasurementUnitsCodeSequence=[unit])
        return content("CONTAINS", "NUM", name, MeasuredValueSequence=[measured])

    return make


@pytest.fixture
def convert(tmp_path, dicom_object, item):
    """Return a function that makes a report of content items and converts it."""

    def run(*children, **more) -> dict:
        root = item(CodeValue="126000", CodingSchemeDesignator="DCM", CodeMeaning="Measurements")
        path = tmp_path / "report.dcm"
        elements = {
            "CompletionFlag": "COMPLETE",
            "VerificationFlag": "VERIFIED",
            "ContentDate": "20261105",
            "ContentTime": "1105",
            **more,
        }
        path.write_bytes(
            dicom_object(
                pixels=b"",
                SOPClassUID=SR,
                Modality="SR",
                PatientID="P1",
                Manufacturer="Demo",
                DeviceSerialNumber="S1",
                ValueType="CONTAINER",
                ConceptNameCodeSequence=[root],
                ContentSequence=list(children),
                **elements,
            )
        )
        out = io.StringIO()
        assert main([str(path)], io.BytesIO(), out, io.StringIO()) == 0
        return json.loads(out.getvalue())

    return run


def resources(bundle, type_):
    found = [entry["resource"] for entry in bundle["entry"]]
    return [one for one in found if one["resourceType"] == type_]


def test_each_number_is_an_observation_at_its_finding_site(convert, content, site, number):
    group = ("125007", "DCM", "Measurement Group")
    bundle = convert(
        content("CONTAINS", "CONTAINER", group, site("45653009"), number("14.2")),
        content("CONTAINS", "CONTAINER", group, number("9.6"), site("90572001")),
        number("1.5"),
    )

    found = [
        (
            one["valueQuantity"]["value"],
            one["valueQuantity"]["code"],
            one.get("bodySite", {"coding": [{}]})["coding"][0].get("code"),
        )
        for one in resources(bundle, "Observation")
    ]
    assert found == [(14.2, "mm", "45653009"), (9.6, "mm", "90572001"), (1.5, "mm", None)]


def test_the_report_lists_its_observations_and_its_text(convert, number):
    bundle = convert(number("14.2"))

    (found,) = resources(bundle, "DiagnosticReport")

    assert (found["status"], len(found["result"])) == ("final", 1)
    shown = base64.b64decode(found["presentedForm"][0]["data"]).decode()
    assert shown == "Measurements\n  Long axis: 14.2 millimetre\n"


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        ({"VerificationFlag": "UNVERIFIED"}, "preliminary"),
        ({"CompletionFlag": "PARTIAL"}, "partial"),
    ],
)
def test_status_follows_completion_and_verification(convert, number, flags, status):
    bundle = convert(number("1"), **flags)

    assert resources(bundle, "DiagnosticReport")[0]["status"] == status


def test_an_empty_measurement_says_why(convert, content, item):
    why = item(CodeValue="114006", CodingSchemeDesignator="DCM", CodeMeaning="Measurement failure")
    bundle = convert(
        content(
            "CONTAINS",
            "NUM",
            LONG_AXIS,
            MeasuredValueSequence=[],
            NumericValueQualifierCodeSequence=[why],
        )
    )

    (found,) = resources(bundle, "Observation")
    assert found["dataAbsentReason"]["coding"][0]["code"] == "error"


def test_a_private_unit_keeps_its_text_only(convert, number):
    (found,) = resources(convert(number("3", scheme="99DEMO")), "Observation")

    assert found["valueQuantity"] == {"value": 3, "unit": "millimetre"}


def test_what_is_printed_is_valid(convert, content, site, number):
    bundle = convert(content("CONTAINS", "CONTAINER", LONG_AXIS, site("1"), number("1")))

    for entry in bundle["entry"]:
        assert problems(entry["resource"], entry["resource"]["resourceType"]) == []


def test_a_tree_without_end_is_walked_only_so_deep(content, dicom_object):
    inner = content("CONTAINS", "CONTAINER", LONG_AXIS)
    for _ in range(55):
        inner = content("CONTAINS", "CONTAINER", LONG_AXIS, inner)
    data = dicom_object(pixels=b"", ValueType="CONTAINER", ContentSequence=[inner])

    ds = dataset.read(data)

    assert report.measurements(ds) == []
    assert report.text(ds).count("\n") <= 41
