"""DICOM objects to FHIR: one Bundle per study, counts counted, numbers with authorities."""

import io
import itertools
import json

import pytest

from app.errors import Invalid
from app.feeds.dicom.convert import load, main
from app.feeds.dicom.source import DicomSource
from app.fhir.validate import problems
from app.mapping.compile import compile_library
from app.mapping.library import merge, read_folder
from app.paths import shipped
from tests.support import ROOT

FIXTURES = ROOT / "fixtures" / "dicom"
CT = sorted((FIXTURES / "ct-chest").glob("*.dcm"))
STUDY = "urn:oid:2.25.20261100"


def convert(*args) -> tuple[int, list[dict]]:
    out = io.StringIO()
    code = main([str(arg) for arg in args], io.BytesIO(), out)
    return code, [json.loads(line) for line in out.getvalue().splitlines()]


def resources(bundle: dict, type_: str) -> list[dict]:
    found = [entry["resource"] for entry in bundle["entry"]]
    return [one for one in found if one["resourceType"] == type_]


def only(bundle: dict, type_: str) -> dict:
    (found,) = resources(bundle, type_)
    return found


def resolve(bundle: dict, reference: dict) -> dict:
    (found,) = [e["resource"] for e in bundle["entry"] if e["fullUrl"] == reference["reference"]]
    return found


@pytest.fixture(scope="module")
def ct() -> dict:
    _, (bundle,) = convert(*CT)
    return bundle


def test_study_series_and_instances_are_counted(ct):
    study = only(ct, "ImagingStudy")

    assert study["identifier"][0] == {"system": "urn:dicom:uid", "value": STUDY}
    assert (study["numberOfSeries"], study["numberOfInstances"]) == (2, 4)
    assert [series["numberOfInstances"] for series in study["series"]] == [3, 1]
    assert [coding["code"] for coding in study["modality"]] == ["CT"]
    assert study["description"] == "胸部CT平扫"
    assert study["series"][0]["bodySite"]["code"] == "43799004"
    assert study["series"][0]["instance"][0]["sopClass"] == {
        "system": "urn:ietf:rfc:3986",
        "code": "urn:oid:1.2.840.10008.5.1.4.1.1.2",
    }


def test_started_is_the_earliest_of_what_the_instances_say(ct):
    assert only(ct, "ImagingStudy")["started"] == "2026-11-05T08:30:15.250+08:00"


@pytest.mark.parametrize("order", list(itertools.permutations(CT))[::7], ids=range(4))
def test_any_order_and_repetition_gives_the_same_bundle(ct, order):
    _, (bundle,) = convert(*order, order[1], order[0])

    assert bundle == ct


def test_the_patient_is_a_mention_with_both_names(ct):
    patient = only(ct, "Patient")

    assert [name["text"] for name in patient["name"]] == ["Wei Zhang", "张伟"]
    assert patient["name"][1]["extension"][0]["valueCode"] == "IDE"
    assert (patient["gender"], patient["birthDate"]) == ("male", "1956-03-12")
    (request,) = [e["request"] for e in ct["entry"] if e["resource"]["resourceType"] == "Patient"]
    assert request["method"] == "POST"
    assert request["ifNoneExist"].endswith("|ZY20261101")


def test_the_device_carries_serial_software_and_udi(ct):
    device = only(ct, "Device")

    assert (device["manufacturer"], device["modelNumber"]) == ("演示医疗", "NV-128")
    assert [version["value"] for version in device["version"]] == ["5.1.2", "K3"]
    assert device["udiCarrier"] == [
        {
            "carrierHRF": "(01)09521234000013(21)CT-0456",
            "deviceIdentifier": "09521234000013",
            "issuer": "http://hl7.org/fhir/NamingSystem/gs1-di",
        }
    ]


def test_the_order_behind_the_accession_number_is_a_mention(ct):
    study = only(ct, "ImagingStudy")

    order = resolve(ct, study["basedOn"][0])

    assert (order["resourceType"], order["status"]) == ("ServiceRequest", "unknown")
    assert order["identifier"][0]["value"] == "CT20261105001"
    assert order["identifier"][0]["type"]["coding"][0]["code"] == "ACSN"


def test_people_without_a_number_are_marked_as_such(ct):
    referrer = resolve(ct, only(ct, "ImagingStudy")["referrer"])

    assert referrer["name"][1]["text"] == "李娜"
    assert referrer["meta"]["tag"][0]["code"] == "name-only"


def test_one_endpoint_for_the_archive(ct):
    endpoint = resolve(ct, only(ct, "ImagingStudy")["endpoint"][0])

    assert endpoint["connectionType"]["code"] == "dicom-wado-rs"


def test_undeclared_gbk_is_repaired_and_a_patient_without_number_is_a_placeholder():
    _, (bundle,) = convert(FIXTURES / "dx-undeclared.dcm")

    patient = only(bundle, "Patient")

    assert patient["name"][0]["family"] == "陈"
    assert {tag["code"] for tag in patient["meta"]["tag"]} == {"unidentified", "charset-guessed"}
    assert (patient["birthDate"], patient["gender"]) == ("1955", "unknown")
    study = only(bundle, "ImagingStudy")
    assert study["started"] == "2026-11-05T10:20:00+08:00"
    assert study["series"][0]["bodySite"] == {"display": "LKNEE WEIRD"}
    assert resources(bundle, "ServiceRequest") == []


def test_an_issuer_is_the_authority_of_the_number():
    _, (bundle,) = convert(FIXTURES / "mr-iso2022-58.dcm")

    patient = only(bundle, "Patient")

    assert patient["identifier"][0]["system"] == "urn:x-yilian:ns:HOSPB"
    assert patient["identifier"][0]["assigner"] == {"display": "HOSPB"}
    assert patient["name"][1]["given"] == ["小东"]


def test_without_a_time_only_the_date_is_claimed():
    _, (bundle,) = convert(FIXTURES / "mr-iso2022-58.dcm")

    assert only(bundle, "ImagingStudy")["started"] == "2026-11-05"


def test_studies_come_in_order_of_first_appearance_and_a_bad_file_in_its_place(tmp_path):
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(b"not an object")

    code, lines = convert(CT[0], bad, FIXTURES / "mr-iso2022-58.dcm", CT[1])

    assert code == 1
    assert [line["resourceType"] for line in lines] == ["Bundle", "OperationOutcome", "Bundle"]
    assert only(lines[0], "ImagingStudy")["numberOfInstances"] == 2


def test_a_missing_study_uid_says_where(tmp_path, dicom_object):
    path = tmp_path / "a.dcm"
    path.write_bytes(dicom_object(StudyInstanceUID=""))

    code, (outcome,) = convert(path)

    assert code == 1
    assert outcome["issue"][0]["expression"] == ["(0020,000D)"]
    assert outcome["issue"][0]["code"] == "required"


def test_an_index_is_skipped_politely(tmp_path, dicom_object):
    path = tmp_path / "DICOMDIR"
    path.write_bytes(dicom_object(SOPClassUID="1.2.840.10008.1.3.10", pixels=b""))

    code, (outcome,) = convert(path)

    assert code == 0
    assert outcome["issue"][0]["severity"] == "information"


def test_an_encapsulated_document_is_a_document_reference(tmp_path, dicom_object):
    path = tmp_path / "report.dcm"
    path.write_bytes(
        dicom_object(
            SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1",
            pixels=b"",
            PatientID="P1",
            DocumentTitle="Report",
            MIMETypeOfEncapsulatedDocument="application/pdf",
            EncapsulatedDocument=b"%PDF-1.4\n",
        )
    )

    _, (bundle,) = convert(path)

    attachment = only(bundle, "DocumentReference")["content"][0]["attachment"]
    assert (attachment["contentType"], attachment["title"]) == ("application/pdf", "Report")
    assert attachment["url"].endswith("/studies/2.25.100/series/2.25.200/instances/2.25.300")


def test_a_site_maps_its_private_elements_in_an_overlay(tmp_path, dicom_object):
    path = tmp_path / "a.dcm"
    block = b"\x29\x00\x11\x00LO\x0e\x00DEMO PRIVATE 1" + b"\x29\x00\x10\x11LO\x02\x00ab"
    path.write_bytes(dicom_object(pixels=b"", PatientID="P1") + block)
    overlay = tmp_path / "site" / "dicom" / "private.yaml"
    overlay.parent.mkdir(parents=True)
    overlay.write_text(
        "overlay: dicom\n"
        "rules:\n"
        "  - extend: study\n"
        "    set:\n"
        "      note: [{text: '`@0029:DEMO PRIVATE 1:10`'}]\n"
    )

    _, (bundle,) = convert("--overlay", tmp_path / "site", path)

    assert only(bundle, "ImagingStudy")["note"] == [{"text": "ab"}]


def test_a_large_study_is_counted_but_not_listed():
    from app.feeds.dicom.convert import Converter, grouped
    from app.fhir.ids import CONVERT_SECRET, Ids
    from app.mapping import assigners
    from app.mapping.run import Context

    context = Context(Ids(CONVERT_SECRET), {"assigners": assigners.load([])})
    converter = Converter(load([shipped("mappings") / "dicom"]), context, None, most_instances=3)
    (group,) = grouped(path.read_bytes() for path in CT)

    bundle = converter.convert(group.instances).bundle()

    study = only(bundle, "ImagingStudy")
    assert study["numberOfInstances"] == 4
    assert "instance" not in study["series"][0]


@pytest.mark.parametrize("path", [FIXTURES / "dx-undeclared.dcm", FIXTURES / "mr-iso2022-58.dcm"])
def test_every_printed_resource_is_valid_r4(path, ct):
    _, lines = convert(path)

    for bundle in (*lines, ct):
        assert problems(bundle, "Bundle") == []
        for entry in bundle["entry"]:
            assert problems(entry["resource"], entry["resource"]["resourceType"]) == []


def test_the_shipped_mapping_agrees_with_the_r4_definitions():
    library = merge("dicom", read_folder(shipped("mappings") / "dicom"))

    compile_library(library, DicomSource(), check=True)


def test_what_stands_in_no_sequence_is_told(tmp_path):
    overlay = tmp_path / "site.yaml"
    overlay.write_text(
        "overlay: dicom\nrules:\n  - extend: patient\n    set:\n"
        "      language: PatientID.PatientName\n",
        "utf-8",
    )

    with pytest.raises(Invalid, match="`PatientID` is no sequence") as caught:
        load([shipped("mappings") / "dicom"], [overlay])
    assert caught.value.at == "site.yaml:5"
