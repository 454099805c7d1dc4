"""One pump, met by every feed under another of its numbers, is one Device and one entity.

iot.md section 3, hl7v2.md (PRT, OBX-18), dicom.md (UDI), identifiers.md sections 5 and 6.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from app.feeds.dicom import send as send_dicom
from app.feeds.hl7v2 import send as send_hl7v2
from tests.support import ROOT, RunningHub, wait_for


@dataclass(frozen=True)
class Pump:
    """A pump by all its numbers."""

    number: str

    @property
    def udi(self) -> str:
        return f"(01)09521234000037(21)PUMP-{self.number}"

    @property
    def eui64(self) -> str:
        return f"A037FFFE0000{self.number}".rjust(16, "0")

    @property
    def pairs(self) -> str:
        return "-".join(self.eui64[n : n + 2] for n in range(0, 16, 2))


def hl7v2(hub: RunningHub, pump: Pump, folder: Path) -> None:
    """A result of the pump, named by EUI-64 (OBX-18, PRT-10) and UDI (PRT-16)."""
    message = folder / "pump.hl7"
    message.write_text(
        f"MSH|^~\\&|PUMPS|H0001|YILIAN|HUB|20260301080000||ORU^R01^ORU_R01|P{pump.number}|P|2.8\r"
        "PID|1||ZY77^^^H0001^MR||Zhang^San\r"
        "OBR|1|P77^PUMPS|F77^PUMPS|69985^MDC_DEV_PUMP_INFUS^MDC|||20260301080000\r"
        "OBX|1|NM|157784^MDC_FLOW_FLUID_PUMP^MDC|1.1.1.1|12|265266^MDC_DIM_MILLI_L_PER_HR^MDC"
        f"|||||F|||20260301080000||||{pump.eui64}^^{pump.eui64}^EUI-64\r"
        f"PRT|1|UC||EQUIP^Equipment^HL70912||||||{pump.eui64}^^{pump.eui64}^EUI-64"
        f"||||||{pump.udi}||||PUMP-{pump.number}\r",
        newline="",
    )
    out = io.StringIO()
    code = send_hl7v2.main([hub.addresses["mllp"], str(message)], io.BytesIO(), out)
    assert code == 0, out.getvalue()


def dicom(hub: RunningHub, pump: Pump, folder: Path) -> None:
    """An object of equipment that is named by its UDI."""
    made = pydicom.dcmread(sorted((ROOT / "fixtures" / "dicom" / "ct-chest").glob("*.dcm"))[0])
    named = Dataset()
    named.UniqueDeviceIdentifier = pump.udi
    made.UDISequence = [named]
    made.Manufacturer, made.DeviceSerialNumber = "YanshiMed", f"PUMP-{pump.number}"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        made[keyword].value = generate_uid()
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    path = folder / "pump.dcm"
    made.save_as(path)
    out = io.StringIO()
    assert send_dicom.main([hub.addresses["dicom"], str(path)], io.BytesIO(), out) == 0
    study = f"ImagingStudy?identifier=urn:dicom:uid|urn:oid:{made.StudyInstanceUID}"
    wait_for(lambda: found(hub, study))


def device_message(hub: RunningHub, pump: Pump, folder: Path) -> None:
    """What a gateway sends for it: only the EUI-64 is known."""
    measured = {"code": "8867-4", "value": 72, "unit": "/min"}
    body = {"deviceId": pump.pairs, "time": "2026-03-01T08:05:00Z", "measurements": [measured]}
    status, _, answer = hub.request("POST", "/iot/generic", {"messageId": pump.number, **body})
    assert status == 202, answer
    wait_for(lambda: found(hub, f"Device?identifier={pump.pairs}"))


def scan(hub: RunningHub, pump: Pump, folder: Path) -> None:
    """Somebody scans the label and registers what it says: the UDI."""
    row = {"kind": "device", "name": "Pump", "code": f"]d20109521234000037\x1d21PUMP-{pump.number}"}
    status, _, answer = hub.request(
        "POST", "/registry", json.dumps(row), {"Content-Type": "application/json"}
    )
    assert status in (200, 201), answer


def found(hub: RunningHub, path: str) -> list[Any]:
    entries = json.loads(hub.request("GET", f"/fhir/{path}")[2]).get("entry", [])
    return [entry["resource"] for entry in entries]


@pytest.mark.parametrize(
    ("number", "feeds"),
    [
        ("7701", [hl7v2, dicom, device_message]),
        ("7702", [device_message, scan, dicom, hl7v2]),
        ("7703", [scan, dicom, device_message, hl7v2]),
    ],
    ids=["both numbers first", "both numbers last", "scan first"],
)
def test_a_pump_is_one_device_whoever_speaks_of_it(hub: RunningHub, tmp_path, number, feeds):
    pump = Pump(number)

    for feed in feeds:
        feed(hub, pump, tmp_path)

    scanned = "]d20109521234000037" + f"21PUMP-{number}"
    for code in (pump.udi, scanned, pump.pairs, f"eui64:{pump.eui64.lower()}"):
        told = json.loads(hub.request("GET", f"/id?code={quote(code)}")[2])["resolved"]
        assert len(told) == 1, (code, told)
        device = told[0]["resource"]
    (kept,) = [
        one
        for one in found(hub, "Device?_count=100")
        if pump.number in json.dumps(one).replace("-", "")
        and one.get("status") != "entered-in-error"
    ]
    assert f"Device/{kept['id']}" == device
    assert {one["value"] for one in kept["identifier"]} >= {pump.pairs}
    assert len(found(hub, f"Observation?device={device}")) == 2
