"""No patient in logs, metrics and error bodies (house style, "Logging without patients").

A patient whose every value holds a marker comes in through every door, good and broken in many
ways; then everything the hub wrote to others than the sender's own resource is searched.
"""

from __future__ import annotations

import json
import socket
from io import BytesIO, StringIO
from urllib.parse import quote

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from app.feeds.dicom import send as dicom_send
from tests.support import MARKER, marker_patient, running_hub, wait_for

FHIR = "application/fhir+json"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_hub(tmp_path_factory.mktemp("marker") / "data") as running:
        yield running


def clean(hub, *said):
    """Check that neither what was said nor the hub's log and metrics hold the marker."""
    log = hub.log.read_text("utf-8", "replace")
    metrics = hub.request("GET", "/metrics")[2].decode()
    assert "hub.ready" in log
    assert "yilian_http_request_seconds" in metrics
    for text in (log, metrics, *said):
        text = text if isinstance(text, str) else text.decode("utf-8", "replace")
        assert MARKER.casefold() not in text.casefold()


def patient(**members):
    return json.dumps({**marker_patient(), **members}).encode()


XML = f'<Patient xmlns="http://hl7.org/fhir"><birthDate value="{MARKER}"/></Patient>'
BUNDLE = {"resourceType": "Bundle", "type": "transaction"}


def bundle(**request):
    entry = {"resource": marker_patient(), "request": {"method": "POST", "url": "Patient"}}
    entry["request"].update(request)
    return json.dumps({**BUNDLE, "entry": [entry]}).encode()


BROKEN = {
    "birth date": ("POST", "/fhir/Patient", patient(birthDate=f"{MARKER}-02"), FHIR),
    "code": ("POST", "/fhir/Patient", patient(gender=MARKER), FHIR),
    "unknown element": ("POST", "/fhir/Patient", patient(nickname=MARKER), FHIR),
    "wrong shape": ("POST", "/fhir/Patient", patient(name=MARKER), FHIR),
    "wrong type": ("POST", "/fhir/Patient", patient(resourceType=MARKER), FHIR),
    "cut JSON": ("POST", "/fhir/Patient", patient()[:-9], FHIR),
    "not UTF-8": ("POST", "/fhir/Patient", patient() + b"\xff", FHIR),
    "xml": ("POST", "/fhir/Patient", XML.encode(), "application/fhir+xml"),
    "cut xml": ("POST", "/fhir/Patient", XML[:-5].encode(), "application/fhir+xml"),
    "media type": ("POST", "/fhir/Patient", patient(), f"text/{MARKER}"),
    "other id": ("PUT", "/fhir/Patient/other", patient(id=MARKER), FHIR),
    "no such id": ("GET", f"/fhir/Patient/{MARKER}", None, None),
    "bad id": ("GET", f"/fhir/Patient/{MARKER}_!", None, None),
    "no such type": ("GET", f"/fhir/{MARKER}", None, None),
    "no such page": ("GET", f"/{MARKER}/{MARKER}", None, None),
    "search value": ("GET", f"/fhir/Patient?birthdate={MARKER}", None, None),
    "search prefix": ("GET", f"/fhir/Observation?value-quantity={MARKER}", None, None),
    "search page": ("GET", f"/fhir/Patient?name={MARKER}&_page={MARKER}", None, None),
    "transaction": ("POST", "/fhir", bundle(method=MARKER), FHIR),
    "transaction url": ("POST", "/fhir", bundle(url=f"Observation?{MARKER}={MARKER}"), FHIR),
    "criteria": ("POST", "/fhir", bundle(ifNoneExist=f"birthdate={MARKER}"), FHIR),
    "conditional delete": ("DELETE", f"/fhir/Patient?birthdate={MARKER}", None, None),
    "patch": (
        "PATCH",
        "/fhir/Patient/nobody",
        json.dumps([{"op": "replace", "path": f"/{MARKER}", "value": MARKER}]).encode(),
        "application/json-patch+json",
    ),
    "operation": ("POST", "/fhir/Patient/$validate", patient(birthDate=MARKER), FHIR),
    "code at no time": ("GET", f"/id?code={MARKER}&at={MARKER}", None, None),
    "cut code": ("POST", "/id", b'{"code":"' + MARKER.encode(), "application/json"),
    "inbox": ("GET", f"/inbox?state={MARKER}&before={MARKER}", None, None),
    "no mapping": ("POST", f"/iot/{MARKER}", patient(), "application/json"),
    "cut reading": ("POST", "/iot/generic", patient()[:-9], "application/json"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_request_is_answered_without_its_values(case, hub):
    method, path, body, media = BROKEN[case]
    headers = {"Content-Type": media} if media else {}
    headers["X-Request-Id"] = "r-1"

    status, answered, text = hub.request(method, path, body, headers)

    assert status < 500
    assert status >= 400 or b"OperationOutcome" in text
    clean(hub, text, json.dumps(dict(answered)))


def test_a_good_request_leaves_no_trace_in_the_log(hub):
    created = hub.request("POST", "/fhir/Patient", marker_patient())
    found = hub.request("GET", f"/fhir/Patient?name={MARKER}")
    code = quote(f"urn:x-{MARKER}|{MARKER}-0001")
    resolved = hub.request("GET", f"/id?code={code}")

    assert created[0] == 201
    assert MARKER.encode() in found[2]
    assert len(json.loads(resolved[2])["resolved"]) == 1
    clean(hub)


HEADER = "MSH|^~\\&|HIS|H|YILIAN|Y|20260328080000+0800||{kind}|{number}|P|2.5.1||||||UNICODE UTF-8"
PID = "PID|1||{m}-1^^^H^MR~{m}^^^{m}^NI||{m}^{m}||{birth}|M|||{m} Road^^{m}||{m}|||||{m}"
OBX = "OBX|1|{type}|8867-4^Heart rate^LN||{value}|/min^^UCUM|||||{state}|||20260328080000"
KINDS = {
    "admission": ("ADT^A01^ADT_A01", {}),
    "bad birth date": ("ADT^A04^ADT_A01", {"birth": MARKER}),
    "no patient": ("ADT^A08^ADT_A01", {"pid": "PID|1||||{m}^{m}"}),
    "bad value": ("ORU^R01^ORU_R01", {"value": MARKER}),
    "bad state": ("ORU^R01^ORU_R01", {"state": MARKER, "value": "72"}),
    "bad type": ("ORU^R01^ORU_R01", {"type": MARKER[:2], "value": MARKER}),
    "unknown kind": (f"ZZZ^{MARKER}", {}),
    "bad version": ("ADT^A01", {"header": HEADER.replace("2.5.1", MARKER)}),
    "merge of nobody": ("ADT^A40^ADT_A39", {"extra": "MRG|{m}"}),
}


def message(number, kind, *, birth="19850207", header=HEADER, pid=PID, extra="", **obx):
    lines = [header, "EVN||20260328080000", pid, "PV1|1|I|W^1^1", extra]
    if kind.startswith("ORU"):
        lines += ["OBR|1|P-1|F-1|8867-4^Heart rate^LN|||20260328080000"]
        lines += [OBX]
    values = {"m": MARKER, "kind": kind, "number": number, "birth": birth}
    values |= {"type": "NM", "value": "72", "state": "F", **obx}
    return "\r".join(line.format(**values) for line in lines if line).encode() + b"\r"


def mllp(hub, raw):
    """Send bytes and return all that is answered until the hub has nothing more to say."""
    host, _, port = hub.addresses["mllp"].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as sock:
        sock.sendall(raw)
        sock.shutdown(socket.SHUT_WR)
        said = b""
        while chunk := sock.recv(4096):
            said += chunk
    return said


@pytest.mark.parametrize("case", KINDS)
def test_a_message_is_acknowledged_without_its_values(case, hub):
    kind, more = KINDS[case]
    number = f"M{list(KINDS).index(case)}"

    answer = mllp(hub, b"\x0b" + message(number, kind, **more) + b"\x1c\r")

    assert b"MSA|A" in answer
    said = [part for part in answer.split(b"\r") if not part.lstrip(b"\x0b").startswith(b"MSH")]
    clean(hub, b"\r".join(said))


@pytest.mark.parametrize(
    "raw",
    [
        f"\x0bPID|1||{MARKER}\r\x1c\r".encode(),
        f"\x0bMSH|{MARKER}\x1c\r".encode(),
        f"{MARKER} without a frame".encode(),
        f"\x0bMSH|^~\\&|HIS|H|||2026||ADT^A01|9|P|2.5.1\rPID|1||{MARKER}".encode(),
    ],
    ids=["no header", "cut header", "no frame", "cut frame"],
)
def test_what_is_no_message_leaves_no_trace(raw, hub):
    said = [part for part in mllp(hub, raw).split(b"\r") if b"MSH" not in part[:4]]

    clean(hub, b"\r".join(said))


READING = {
    "deviceId": f"{MARKER}-device",
    "patientId": f"{MARKER}-1",
    "time": "2026-03-28T08:00:00+08:00",
    "measurements": [{"code": "8867-4", "value": 72, "unit": "/min"}],
}
READINGS = {
    "good": READING,
    "bad time": {**READING, "time": MARKER},
    "bad value": {**READING, "measurements": [{"code": MARKER, "value": MARKER, "unit": MARKER}]},
    "no list": {**READING, "measurements": MARKER},
    "other": {MARKER: {MARKER: MARKER}},
}


@pytest.mark.parametrize("case", READINGS)
def test_a_reading_is_taken_without_a_trace(case, hub):
    body = json.dumps(READINGS[case])

    status, _, said = hub.request(
        "POST", "/iot/generic", body, {"Content-Type": "application/json"}
    )

    assert status < 500
    wait_for(lambda: _settled(hub))
    clean(hub, said)


def _settled(hub):
    return not json.loads(hub.request("GET", "/inbox?state=received&count=1")[2])["messages"]


def image(number, **elements):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ct = "1.2.840.10008.5.1.4.1.1.2"
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = ct
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = f"2.25.77{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = "2.25.77", "2.25.78", "CT"
    ds.PatientName, ds.PatientID = f"{MARKER}^{MARKER}", f"{MARKER}-1"
    ds.AccessionNumber, ds.StudyDescription = MARKER, f"{MARKER} head"
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def test_an_image_is_stored_without_a_trace(hub, tmp_path):
    broken = tmp_path / "4.dcm"
    for number, elements in enumerate(
        ({}, {"PatientBirthDate": "18500230"}, {"SeriesInstanceUID": ""}), 1
    ):
        image(number, **elements).save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    whole = (tmp_path / "1.dcm").read_bytes()
    broken.write_bytes(whole[:-3])
    files = [str(path) for path in sorted(tmp_path.glob("*.dcm"))]
    out = StringIO()

    dicom_send.main([hub.addresses["dicom"], *files], BytesIO(), out)

    assert out.getvalue().startswith("0x0000")
    wait_for(lambda: _settled(hub))
    clean(hub, out.getvalue())


def test_what_failed_is_told_in_the_inbox_without_values(hub):
    listed = json.loads(hub.request("GET", "/inbox?count=500")[2])["messages"]

    assert {message["feed"] for message in listed} == {"hl7v2", "iot", "dicom"}
    clean(hub, json.dumps([message["issues"] for message in listed], ensure_ascii=False))
