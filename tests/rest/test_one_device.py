"""A device that is met under its numbers one by one is one device, in whatever order.

identifiers.md sections 3 and 6; iot.md section 3, hl7v2.md (PRT, OBX-18), dicom.md (UDI).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from app.feeds.apply import Applied, Applier, Stated
from app.feeds.conversion import Conversions
from app.feeds.doors import Setting as DoorsSetting
from app.feeds.group import Group
from app.feeds.statement import statements
from app.registry.indexed import identifier_keys
from app.registry.links import shipped_rules
from app.registry.unite import MERGED_INTO, Devices
from app.rest import registry, trace
from app.store.store import Setting, Store, open_store
from tests.rest.conftest import BASE, Api, OneProcess
from tests.support import ROOT

SID_KEY = "https://yilian.example/fhir/sid/key"


@cache
def conversions() -> Conversions:
    nowhere = Path("nowhere")
    preparer = Setting().preparer()
    return Conversions(DoorsSetting(preparer, b"test", "Asia/Shanghai", nowhere, nowhere))


@dataclass(frozen=True)
class Plain:
    """Events that mean nothing more than what the message says."""

    def specials(self, type_name: str) -> dict[str, Any]:
        return {}

    def finish(self, type_name: str, known: Any, after: Any) -> None:
        return None


@dataclass
class Ward:
    """A hub in one process, and what its feeds say."""

    store: Store
    api: Api
    times: Iterator[int] = field(default_factory=lambda: iter(range(10**15, 10**16, 10**6)))

    def say(self, feed: str, raw: bytes) -> Applied:
        """Apply a message as its feed would."""
        (made,) = conversions().convert(feed, raw, "generic" if feed == "iot" else None)
        assert made.bundle is not None, made.issues
        preparer = self.store.preparer
        stated = Stated(statements(made.bundle, preparer), next(self.times), Plain())

        def work(session):
            group = Group(session, 0, alone=True)
            applied = Applier(preparer).apply(group, stated)
            group.flush()
            return applied

        return self.store.writer.run(work)

    def found(self, query: str) -> list[Any]:
        return [entry["resource"] for entry in self.api.get(query).entries]

    def told(self, code: str) -> list[Any]:
        """Return what `/id` says is behind a code."""
        return self.api.get(f"/id?code={quote(code)}").json["resolved"]


@pytest.fixture(scope="module")
def ward(backend_url: str) -> Iterator[Ward]:
    rules = shipped_rules()
    setting = Setting(
        bases=(f"{BASE}/",), identifier_keys=identifier_keys, link_rules=rules, unite=Devices()
    )
    store = open_store(backend_url, setting)
    hub = OneProcess(store)
    doors = [registry.blueprint(hub, rules.kinds), trace.blueprint(hub, rules.kinds)]
    yield Ward(store, Api(hub, doors))
    store.close()


# --- a pump, and how each carrier names it -------------------------------------------------------


@dataclass(frozen=True)
class Pump:
    """A pump by all its numbers."""

    number: str

    @property
    def serial(self) -> str:
        return f"PUMP-{self.number}"

    @property
    def udi(self) -> str:
        return f"(01)09521234000037(21){self.serial}"

    @property
    def key(self) -> str:
        return f"09521234000037:21:{self.serial}"

    @property
    def eui64(self) -> str:
        return f"A037FFFE{self.number:0>8}"

    @property
    def pairs(self) -> str:
        return "-".join(self.eui64[n : n + 2] for n in range(0, 16, 2))

    @property
    def codes(self) -> list[str]:
        """Every way to ask for it."""
        return [
            self.udi,
            f"]d20109521234000037\x1d21{self.serial}",
            self.pairs,
            f"eui64:{self.eui64.lower()}",
        ]


def hl7v2(ward: Ward, pump: Pump, *, both: bool = True) -> None:
    """A result of the pump: OBX-18 says EUI-64, PRT-16 the UDI."""
    udi = pump.udi if both else ""
    ward.say(
        "hl7v2",
        (
            f"MSH|^~\\&|PUMPS|H0001|YILIAN|HUB|20260301080000||ORU^R01^ORU_R01|{pump.number}|P|2.8\r"
            "PID|1||ZY77^^^H0001^MR||Zhang^San\r"
            f"OBR|1|P{pump.number}^PUMPS|F{pump.number}^PUMPS|69985^MDC_DEV_PUMP_INFUS^MDC|||20260301080000\r"
            "OBX|1|NM|157784^MDC_FLOW_FLUID_PUMP^MDC|1.1.1.1|12|265266^MDC_DIM_MILLI_L_PER_HR^MDC"
            f"|||||F|||20260301080000||||{pump.eui64}^^{pump.eui64}^EUI-64\r"
            f"PRT|1|UC||EQUIP^Equipment^HL70912||||||{pump.eui64}^^{pump.eui64}^EUI-64||||||{udi}\r"
        ).encode(),
    )


@cache
def image() -> Dataset:
    return pydicom.dcmread(sorted((ROOT / "fixtures" / "dicom" / "ct-chest").glob("*.dcm"))[0])


def dicom(ward: Ward, pump: Pump) -> None:
    """An object of equipment that is named by its UDI and by its serial number."""
    made = image()
    named = Dataset()
    named.UniqueDeviceIdentifier = pump.udi
    made.UDISequence = [named]
    made.Manufacturer, made.DeviceSerialNumber = "YanshiMed", pump.serial
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        made[keyword].value = generate_uid(entropy_srcs=[keyword, pump.number])
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    out = io.BytesIO()
    made.save_as(out)
    ward.say("dicom", out.getvalue())


def device(ward: Ward, pump: Pump) -> None:
    """What a gateway sends for it: only the EUI-64 is known."""
    measured = {"code": "8867-4", "value": 72, "unit": "/min"}
    body = {"deviceId": pump.pairs, "time": "2026-03-01T08:05:00Z", "measurements": [measured]}
    ward.say("iot", json.dumps({"messageId": pump.number, **body}).encode())


def scan(ward: Ward, pump: Pump, *, both: bool = False) -> None:
    """Somebody scans the label and registers what it says."""
    more = [{"code": f"eui64:{pump.eui64.lower()}"}] if both else []
    row = {"kind": "device", "identifiers": [{"code": pump.udi}, *more]}
    answer = ward.api.post("/registry", row, Content_Type="application/json")
    assert answer.status in (200, 201), answer.body


def scan_both(ward: Ward, pump: Pump) -> None:
    scan(ward, pump, both=True)


def eui_alone(ward: Ward, pump: Pump) -> None:
    hl7v2(ward, pump, both=False)


def check(ward: Ward, pump: Pump, what: Any, readings: int = 2) -> str:
    """Check that there is one device, under all its numbers, and return its address."""
    (kept,) = ward.found(f"Device?identifier={pump.pairs}")
    me = f"Device/{kept['id']}"
    for code in pump.codes:
        (told,) = ward.told(code)
        assert (told["resource"], told["observations"]["total"]) == (me, readings), (what, code)
    for code in pump.codes[0], pump.codes[-1]:
        registered = ward.api.get(f"/registry?code={quote(code)}").json
        assert [one["resource"] for one in registered["entities"]] == [me], (what, code)
        nodes = ward.api.get(f"/trace?code={quote(code)}").json["nodes"]
        assert me in [node["id"] for node in nodes], (what, code)
    assert len(ward.found(f"Observation?device={me}")) == readings, what
    return me


@pytest.mark.parametrize(
    ("carriers", "first"),
    [((hl7v2, dicom, device, scan), 1000), ((eui_alone, dicom, device, scan_both), 2000)],
    ids=["a message names both", "a registration names both"],
)
def test_all_orders_of_four_carriers_end_in_one_device(ward, carriers, first):
    for n, order in enumerate(permutations(carriers)):
        pump = Pump(str(first + n))
        for carrier in order:
            carrier(ward, pump)
        check(ward, pump, [one.__name__ for one in order])


def two_devices(ward: Ward, number: str) -> tuple[Pump, str, str]:
    """Let an image and a device message tell of a pump; return it and its two Devices."""
    pump = Pump(number)
    dicom(ward, pump)
    device(ward, pump)
    (by_udi,), (by_eui) = ward.told(pump.udi), ward.told(pump.pairs)
    return pump, by_udi["resource"], by_eui[0]["resource"]


def test_what_comes_again_changes_nothing(ward):
    pump, *_ = two_devices(ward, "3000")
    hl7v2(ward, pump)
    me = check(ward, pump, "first")
    versions = ward.api.get(f"{me}/_history").json["total"]

    for carrier in (device, dicom, scan, device):
        carrier(ward, pump)

    assert check(ward, pump, "again") == me
    assert ward.api.get(f"{me}/_history").json["total"] == versions + 1  # another image, later


@pytest.mark.parametrize(
    ("how", "number"), [("create", "4001"), ("update", "4002"), ("transaction", "4003")]
)
def test_a_fhir_write_that_names_both_numbers_unites(ward, how, number):
    pump, by_udi, by_eui = two_devices(ward, number)
    numbers = {
        "identifier": [
            {"system": "urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680", "value": pump.pairs}
        ],
        "udiCarrier": [{"carrierHRF": pump.udi}],
    }
    if how == "update":
        body = ward.api.get(by_eui).json
        answer = ward.api.put(by_eui, body | {"udiCarrier": numbers["udiCarrier"]})
    elif how == "create":
        answer = ward.api.post("Device", {"resourceType": "Device", **numbers})
    else:
        request = {"method": "POST", "url": "Device"}
        entries = [{"request": request, "resource": {"resourceType": "Device", **numbers}}] * 2
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        answer = ward.api.post("", bundle)
    assert answer.status in (200, 201), answer.body

    me = check(ward, pump, how, 1)

    gone = {f"Device/{one['id']}": one for one in merged(ward, me)}
    assert {by_udi, by_eui} - {me} <= gone.keys()
    for address, left in gone.items():
        assert left["status"] == "entered-in-error"
        assert "identifier" not in left
        assert len(ward.found(f"Observation?device={address}")) == 1
    assert len(ward.found(f"Observation?device.identifier={pump.pairs}")) == 1
    found = ward.found(f"Device?_id={me[7:]}&_revinclude=Observation:device")
    assert [one["resourceType"] for one in found] == ["Device", "Observation"]


def merged(ward: Ward, me: str) -> list[Any]:
    """Return the Devices that say that they went into one."""
    pointer = {"url": MERGED_INTO, "valueReference": {"reference": me}}
    gone = ward.found("Device?status=entered-in-error&_count=200")
    return [one for one in gone if pointer in one.get("extension", ())]


def test_a_merged_device_follows_when_its_successor_is_merged_too(ward):
    pump, by_udi, by_eui = two_devices(ward, "5000")
    scan_both(ward, pump)
    tag = f"urn:uuid:00000000-0000-4000-8000-{pump.number:0>12}"
    numbers = [{"system": "urn:ietf:rfc:3986", "value": tag}]
    tagged = ward.api.create({"resourceType": "Device", "identifier": numbers})

    more = [{"code": pump.udi}, {"code": tag}]
    row = {"kind": "device", "identifiers": more}
    assert ward.api.post("/registry", row, Content_Type="application/json").status == 200

    me = check(ward, pump, "chain", 1)
    assert {by_udi, by_eui, f"Device/{tagged['id']}"} - {me} == {
        f"Device/{one['id']}" for one in merged(ward, me)
    }


MODEL = {"deviceIdentifier": "09521234000990", "carrierHRF": "(01)09521234000990"}
LOT = {**MODEL, "carrierHRF": "(01)09521234000990(10)L7"}
EUI64 = "urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680"
GATEWAY = {"system": EUI64, "value": "A0-37-FF-FE-99-99-99-01"}
SERIALS = [{"system": "urn:x-yilian:serial:YanshiMed", "value": f"M{n}"} for n in range(2)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"udiCarrier": [MODEL]}, {"udiCarrier": [MODEL]}),
        ({"udiCarrier": [LOT]}, {"udiCarrier": [LOT]}),
        ({"identifier": [GATEWAY, SERIALS[0]]}, {"identifier": [GATEWAY, SERIALS[1]]}),
        ({"identifier": [{"system": "https://h.example/a", "value": "7"}]},) * 2,
    ],
    ids=["model", "lot", "gateway", "asset number"],
)
def test_what_only_shares_a_number_stays_apart(ward, one, other):
    made = [ward.api.create({"resourceType": "Device", **each}) for each in (one, other)]

    for each in made:
        assert "extension" not in ward.api.get(f"Device/{each['id']}").json


def test_monitors_behind_one_gateway_stay_apart_and_the_inbox_says_so(ward):
    def reading(serial: str, minute: int) -> list[str]:
        raw = (
            f"MSH|^~\\&|MON|H0001|YILIAN|HUB|20260301080000||ORU^R01^ORU_R01|G{serial}{minute}|P|2.8\r"
            f"PID|1||ZY78^^^H0001^MR\rOBR|1|G{minute}^MON|G{minute}^MON|x^X^L|||202603010800\r"
            f"OBX|1|NM|8867-4^HR^LN||{minute}|/min|||||F|||2026030108{minute:02}\r"
            "PRT|1|UC||EQUIP^Equipment^HL70912||||||A037FFFE99999902^^A037FFFE99999902^EUI-64"
            f"||||||(01)09521234000037(21)MON-{serial}\r"
        )
        return [issue.details for issue in ward.say("hl7v2", raw.encode()).issues]

    said = [reading("A", 1), reading("B", 2), reading("B", 3), reading("A", 4)]

    assert said == [[], ["shared-device-number"], ["shared-device-number"], []]
    first, second = (ward.told(f"(01)09521234000037(21)MON-{serial}") for serial in "AB")
    assert first[0]["resource"] != second[0]["resource"]
    assert [one["resource"] for one in ward.told("A0-37-FF-FE-99-99-99-02")] == [
        first[0]["resource"]
    ]
    assert [one[0]["observations"]["total"] for one in (first, second)] == [2, 2]


def test_devices_written_at_the_same_time_are_one_too(ward):
    pump = Pump("6000")
    body = {"resourceType": "Device", "udiCarrier": [{"carrierHRF": pump.udi}]}

    with ThreadPoolExecutor(8) as several:
        answers = list(several.map(lambda _: ward.api.post("Device", body).status, range(8)))

    assert answers == [201] * 8
    assert len(ward.told(pump.udi)) == 1


def test_who_writes_a_merged_device_again_has_the_one_device(ward):
    pump, by_udi, by_eui = two_devices(ward, "7000")
    before = ward.api.get(by_eui).json
    row = {"kind": "device", "identifiers": [{"code": pump.udi}, {"code": pump.pairs}]}
    assert ward.api.post("/registry", row, Content_Type="application/json").status == 200
    assert check(ward, pump, "merged", 1) == by_udi

    both = before["identifier"] + [{"system": SID_KEY, "value": f"gs1:01:{pump.key}"}]
    assert ward.api.put(by_eui, before | {"identifier": both}).status == 200

    assert check(ward, pump, "written again", 1) == by_eui
    assert [f"Device/{one['id']}" for one in merged(ward, by_eui)] == [by_udi]
    device(ward, pump)
    dicom(ward, pump)
    assert check(ward, pump, "told again", 1) == by_eui
