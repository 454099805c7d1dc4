"""Device messages to FHIR: the shipped mappings on the fixtures, and what holds for all of them."""

import io
import json
from decimal import Decimal

import pytest

from app.feeds.iot.convert import main
from app.feeds.iot.source import IotSource
from app.fhir.validate import problems
from app.mapping.compile import compile_library
from app.mapping.library import merge, read_folder
from app.paths import shipped
from tests.support import ROOT

FIXTURES = ROOT / "fixtures" / "iot"
UCUM = "http://unitsofmeasure.org"


def convert(*args) -> tuple[int, list[dict]]:
    out = io.StringIO()
    stdin = io.BytesIO()
    words = []
    for arg in args:
        if isinstance(arg, bytes):
            stdin = io.BytesIO(arg)
            words.append("-")
        else:
            words.append(str(arg))
    code = main(words, stdin, out)
    lines = out.getvalue().splitlines()
    return code, [json.loads(line, parse_float=Decimal) for line in lines]


def resources(bundle: dict, type_: str) -> list[dict]:
    found = [entry["resource"] for entry in bundle.get("entry", ())]
    return [one for one in found if one["resourceType"] == type_]


def by_code(bundle: dict, code: str) -> dict:
    (found,) = [
        one
        for one in resources(bundle, "Observation")
        if any(coding["code"] == code for coding in one["code"]["coding"])
    ]
    return found


def resolve(bundle: dict, reference: dict) -> dict:
    (found,) = [e["resource"] for e in bundle["entry"] if e["fullUrl"] == reference["reference"]]
    return found


GENERIC = FIXTURES / "generic.json"


def test_a_reading_carries_loinc_and_mdc_and_the_digits_it_was_sent_with():
    _, (bundle,) = convert(GENERIC)

    temperature = by_code(bundle, "8328-7")

    assert [c["system"] for c in temperature["code"]["coding"]] == [
        "http://loinc.org",
        "urn:iso:std:iso:11073:10101",
    ]
    assert str(temperature["valueQuantity"]["value"]) == "36.50"
    assert temperature["valueQuantity"]["code"] == "Cel"
    assert temperature["effectiveDateTime"] == "2026-11-05T10:00:00+08:00"
    assert temperature["category"][0]["coding"][0]["code"] == "vital-signs"


def test_device_and_patient_are_mentions_with_their_numbers():
    _, (bundle,) = convert(GENERIC)

    heart_rate = by_code(bundle, "8867-4")

    assert resolve(bundle, heart_rate["device"])["identifier"][0]["value"] == "GW7-01"
    assert resolve(bundle, heart_rate["subject"])["identifier"][0]["value"] == "ZY20261101"
    mentions = [e["request"] for e in bundle["entry"] if "ifNoneExist" in e["request"]]
    assert [request["method"] for request in mentions] == ["POST", "POST"]


def test_systolic_and_diastolic_are_one_panel():
    _, (bundle,) = convert(GENERIC)

    panel = by_code(bundle, "85354-9")

    values = [part["valueQuantity"] for part in panel["component"]]
    assert [(value["value"], value["code"]) for value in values] == [
        (118, "mm[Hg]"),
        (76, "mm[Hg]"),
    ]


def test_local_units_become_the_unit_of_the_profile():
    _, (bundle,) = convert(GENERIC)

    assert by_code(bundle, "29463-7")["valueQuantity"] == {
        "value": Decimal("64.50"),
        "unit": "kg",
        "system": UCUM,
        "code": "kg",
    }
    assert by_code(bundle, "8867-4")["valueQuantity"]["code"] == "/min"


def test_an_unknown_code_and_unit_are_kept_as_the_sender_wrote_them():
    _, (bundle,) = convert(GENERIC)

    unknown = by_code(bundle, "acme.index")

    assert unknown["code"]["coding"][0]["system"] == "urn:x-yilian:code:iot:generic"
    assert unknown["code"]["text"] == "Acme index"
    assert unknown["valueQuantity"] == {"value": Decimal("3.5"), "unit": "acmeunit"}


def test_a_missing_value_says_why():
    _, (bundle,) = convert(GENERIC)

    missing = by_code(bundle, "9279-1")

    assert missing["dataAbsentReason"]["coding"][0]["code"] == "error"
    assert "valueQuantity" not in missing


def test_monitor_invalid_values_are_never_values_and_kilopascals_are_converted():
    _, (bundle,) = convert(FIXTURES / "monitor.json")

    venous = by_code(bundle, "60985-9")
    pressure = by_code(bundle, "85354-9")

    assert venous["dataAbsentReason"]["coding"][0]["code"] == "error"
    assert [round(part["valueQuantity"]["value"]) for part in pressure["component"]] == [
        118,
        74,
        89,
    ]
    assert pressure["effectiveDateTime"] == "2026-11-05T09:59:00+08:00"
    (device,) = resources(bundle, "Device")
    assert (device["serialNumber"], device["manufacturer"]) == ("CM10-2201", "演示医疗")
    assert resolve(bundle, device["location"])["identifier"][0]["value"] == "ICU-02"


def test_repeated_and_late_messages_are_the_same_resources():
    _, bundles = convert(FIXTURES / "monitor-stream.ndjson")

    urls = [
        entry["request"]["url"]
        for bundle in bundles
        for entry in bundle["entry"]
        if entry["resource"]["resourceType"] == "Observation"
    ]

    assert len(bundles) == 4
    assert urls[1] == urls[2]
    assert len(set(urls)) == 3


def test_two_devices_of_one_serial_number_are_told_apart_by_their_makers():
    text = (FIXTURES / "monitor.json").read_text("utf-8")

    _, (one,) = convert(text.encode())
    _, (other,) = convert(text.replace("演示医疗", "Other").encode())

    def key(bundle: dict) -> str:
        return by_code(bundle, "8867-4")["identifier"][0]["value"]

    assert key(one) != key(other)


def test_a_correction_is_not_undone_by_what_it_corrects():
    first = (
        b'{"messageId":"a","deviceId":"D","time":"2026-11-05T10:00:00+08:00",'
        b'"measurements":[{"code":"8867-4","value":72,"unit":"/min"}]}'
    )
    second = first.replace(b'"a"', b'"b","corrects":"a"').replace(b"72", b"79")

    _, bundles = convert("--mapping", "generic", second + b"\n" + first)

    for bundle in bundles:
        reading = by_code(bundle, "8867-4")
        assert (reading["status"], reading["valueQuantity"]["value"]) == ("corrected", 79)


def test_bluetooth_thermometer():
    _, (bundle,) = convert(FIXTURES / "thermometer.json")

    reading = by_code(bundle, "8328-7")

    assert reading["valueQuantity"]["value"] == Decimal("36.4")
    assert reading["effectiveDateTime"] == "2026-11-05T10:00:00+08:00"
    (device,) = resources(bundle, "Device")
    assert device["identifier"][0] == {
        "system": "http://hl7.org/fhir/sid/eui-48/bluetooth",
        "value": "C4-7C-8D-01-02-03",
    }


def test_glucose_by_mass_and_by_amount_and_never_of_control_solution():
    _, (bundle,) = convert(FIXTURES / "glucometer.json")

    assert by_code(bundle, "14743-9")["valueQuantity"]["value"] == Decimal("5.6")
    assert by_code(bundle, "41653-7")["valueQuantity"]["code"] == "mg/dL"
    control = by_code(bundle, "160208")
    assert resolve(bundle, control["subject"])["resourceType"] == "Device"


def test_cold_chain_subject_is_what_is_cooled_and_limits_are_strict():
    _, (bundle,) = convert(FIXTURES / "coldchain.json")

    reading = by_code(bundle, "env-temperature")

    assert resolve(bundle, reading["subject"])["identifier"][0]["value"] == "FRIDGE-D-01"
    assert resolve(bundle, reading["device"])["identifier"][0]["value"] == "TH-9001"
    assert reading["interpretation"][0]["coding"][0]["code"] == "H"
    assert reading["referenceRange"][0]["high"]["value"] == 8
    assert "interpretation" not in by_code(bundle, "env-humidity")


def test_a_regular_series_is_sampled_data():
    _, (bundle,) = convert(FIXTURES / "coldchain-upload.json")

    reading = by_code(bundle, "env-temperature")

    assert reading["valueSampledData"]["period"] == 600000
    assert reading["valueSampledData"]["data"] == "420 425 E 500"
    assert reading["valueSampledData"]["factor"] == Decimal("0.01")
    assert reading["effectivePeriod"] == {
        "start": "2026-11-05T10:00:00+08:00",
        "end": "2026-11-05T10:30:00+08:00",
    }


def test_an_alarm_is_one_observation_whatever_comes_first():
    _, bundles = convert("--mapping", "alarm", FIXTURES / "alarm.ndjson")

    last = by_code(bundles[-1], "196670")

    assert len({by_code(bundle, "196670")["identifier"][0]["value"] for bundle in bundles}) == 1
    assert last["status"] == "final"
    assert last["effectivePeriod"] == {
        "start": "2026-11-05T10:01:00+08:00",
        "end": "2026-11-05T10:03:00+08:00",
    }
    codes = [
        part["valueCodeableConcept"]["coding"][0]["code"]
        for part in last["component"]
        if "valueCodeableConcept" in part
    ]
    assert codes == ["PH", "SP"]


def test_a_vendor_payload_is_one_mapping_file():
    _, (bundle,) = convert(
        "--mapping", FIXTURES / "acme-oximeter.yaml", FIXTURES / "acme-oximeter.json"
    )

    assert len(resources(bundle, "Observation")) == 4
    assert resources(bundle, "Device")[0]["manufacturer"] == "Acme"


def test_a_broken_line_is_an_outcome_in_its_place_and_the_others_convert():
    good = GENERIC.read_bytes().replace(b"\n", b"")

    code, lines = convert("--mapping", "generic", good + b'\n{"deviceId":\n' + good)

    assert code == 1
    assert [line["resourceType"] for line in lines] == ["Bundle", "OperationOutcome", "Bundle"]


def test_a_message_that_holds_nothing_of_its_mapping_is_refused():
    code, (line,) = convert("--mapping", "monitor", GENERIC)

    assert code == 1
    assert line["issue"][0]["details"]["coding"][0]["code"] == "mapping-none"


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b'"1e999"', b"9" * 400])
def test_a_number_that_no_reader_holds_is_kept_as_text(number):
    body = b'{"deviceId":"B1","measurements":[{"code":"8867-4","unit":"/min","value":%b}]}' % number

    _, (bundle,) = convert("--mapping", "generic", body)

    (found,) = resources(bundle, "Observation")
    assert "valueQuantity" not in found
    assert found["valueString"].strip("-").startswith(("1", "9"))


def test_a_payload_that_was_passed_on_as_text_is_read():
    payload = {"deviceId": "B1", "measurements": [{"code": "8867-4", "value": 72}]}
    envelope = {"envelope": "yilian-iot/1", "mapping": "generic", "payload": json.dumps(payload)}

    _, (bundle,) = convert(json.dumps(envelope).encode())

    assert resources(bundle, "Observation")[0]["valueQuantity"]["value"] == 72


@pytest.mark.parametrize(
    ("code", "value", "unit", "quantity"),
    [
        ("8867-4", 2047, "/min", None),
        ("8867-4", "2047", "/min", None),
        ("29463-7", 2047, "g", ("2.047", "kg")),
        ("29463-7", "154", "lb", ("69.8532", "kg")),
        ("8302-2", 67, "in", ("170.18", "cm")),
        ("55423-8", 2047, "{steps}", ("2047", "{steps}")),
    ],
)
def test_vital_signs_have_the_units_of_their_profile_and_no_sentinels(code, value, unit, quantity):
    reading = {"code": code, "value": value, "unit": unit}
    body = {"deviceId": "B1", "time": "2026-03-01T08:15:00+08:00", "measurements": [reading]}

    _, (bundle,) = convert("--mapping", "generic", json.dumps(body).encode())

    (found,) = resources(bundle, "Observation")
    if quantity is None:
        assert found["dataAbsentReason"]["coding"][0]["code"] == "not-a-number"
    else:
        assert (str(found["valueQuantity"]["value"]), found["valueQuantity"]["code"]) == quantity


@pytest.mark.parametrize(
    ("body", "details"),
    [
        (b'{"unheard": 1}', "mapping-none"),
        (b"[]", None),
        (b"7", None),
    ],
)
def test_what_no_mapping_takes_is_said(body, details):
    code, lines = convert(body)

    if details is None:
        assert all(line["resourceType"] == "OperationOutcome" for line in lines)
    else:
        assert code == 1
        assert lines[0]["issue"][0]["details"]["coding"][0]["code"] == details


ALL = sorted(path for path in FIXTURES.glob("*json") if not path.name.startswith("acme"))


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_every_printed_resource_is_valid_r4(path):
    _, lines = convert(path)

    for bundle in lines:
        assert problems(bundle, "Bundle") == []
        for entry in bundle["entry"]:
            assert problems(entry["resource"], entry["resource"]["resourceType"]) == []


def _mappings():
    files = read_folder(shipped("mappings") / "iot")
    shared = [file for file in files if file.body["mapping"] == "shared"]
    return [(file, shared) for file in files if file.body["mapping"] != "shared"]


@pytest.mark.parametrize(
    ("file", "shared"), _mappings(), ids=lambda part: getattr(part, "name", "")
)
def test_a_shipped_mapping_agrees_with_the_r4_definitions(file, shared):
    compile_library(merge(file.name, [*shared, file]), IotSource(), check=True)


def test_every_unit_of_the_vocabulary_is_ucum():
    from app.fhir import ucum

    files = read_folder(shipped("mappings") / "iot")
    library = merge("x", [file for file in files if file.body["mapping"] == "shared"])
    for table in ("unit", "usual-unit", "own-unit"):
        codes = {row[0] for row in library.tables[table].rows.values()}
        assert [code for code in codes if ucum.canonical(code) is None] == []


def test_a_file_of_another_kind_is_handed_to_who_converts_it(tmp_path):
    path = tmp_path / "pcd.hl7"
    path.write_bytes(b"MSH|...")
    out = io.StringIO()

    code = main(
        [str(GENERIC), str(path)],
        io.BytesIO(),
        out,
        io.StringIO(),
        others={".hl7": lambda body: [(b'{"was":"' + body[:3] + b'"}', (), True)]},
    )

    assert code == 0
    assert json.loads(out.getvalue().splitlines()[1]) == {"was": "MSH"}


def test_numbers_that_stand_for_names_become_text_and_objects_nothing(tmp_path):
    message = json.loads((FIXTURES / "monitor.json").read_text("utf-8"))
    message["dev"].update(sn=12345, model=7, sw=[1])
    message["bed"] = 12
    path = tmp_path / "monitor.json"
    path.write_text(json.dumps(message), "utf-8")

    out = io.StringIO()
    assert main(["--mapping", "monitor", str(path)], io.BytesIO(), out) == 0
    found = [entry["resource"] for entry in json.loads(out.getvalue())["entry"]]

    (device,) = [one for one in found if one["resourceType"] == "Device"]
    assert (device["serialNumber"], device["modelNumber"]) == ("12345", "7")
    assert "version" not in device
    assert [one["name"] for one in found if one["resourceType"] == "Location"] == ["12"]
