"""HL7 v2 messages to Bundles (app/feeds/hl7v2/convert.py and mappings/hl7v2)."""

import io
import json

import pytest

from app.feeds.hl7v2.convert import Options, convert, main, reload
from app.fhir.validate import problems
from app.mapping import examples, library
from app.paths import shipped

FIXTURES = shipped("fixtures") / "hl7v2"
ZPI = FIXTURES / "convert-zpi.yaml"
EXAMPLES = library.merge("hl7v2", library.read_folder(shipped("mappings") / "hl7v2")).examples
MSH = "MSH|^~\\&|HIS|H0001|HUB|YL|20240502091500||{}|M1|P|{}"
PID = "PID|1||ZY17^^^H0001^MR||张^伟^^^^^L||19800101|M"


def message(type_, *segments, version="2.5.1"):
    return "\r".join([MSH.format(type_, version), *segments]).encode() + b"\r"


def resources(raw, type_=None, **options):
    (result,) = convert(raw, Options(**options))
    assert result.bundle is not None, result.issues
    found = [entry["resource"] for entry in result.bundle["entry"]]
    return [r for r in found if r["resourceType"] == type_] if type_ else found


def only(raw, type_, **options):
    (found,) = resources(raw, type_, **options)
    return found


def run(*argv, stdin=b""):
    out, err = io.BytesIO(), io.StringIO()
    status = main(list(argv), io.BytesIO(stdin), out, err)
    return status, [json.loads(line) for line in out.getvalue().splitlines()], err.getvalue()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.file}:{e.line}")
def test_the_examples_of_the_mapping_files_come_out_as_written(example):
    (result,) = convert(library.examples_text(example).encode())

    assert examples.failures(result.bundle, example.expect) == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.file}:{e.line}")
def test_every_printed_resource_is_valid_r4(example):
    for resource in resources(library.examples_text(example).encode()):
        found = problems(resource, resource["resourceType"])
        assert [issue for issue in found if issue.severity in ("error", "fatal")] == []


@pytest.mark.parametrize(
    "path", sorted((shipped("fixtures") / "demo").glob("*.hl7")), ids=lambda path: path.name
)
def test_every_fixture_converts_to_valid_resources_or_is_refused_cleanly(path):
    for result in convert(path.read_bytes()):
        assert result.bundle is not None or result.issues
        for entry in result.bundle["entry"] if result.bundle else ():
            resource = entry["resource"]
            found = problems(resource, resource["resourceType"])
            assert [issue for issue in found if issue.severity in ("error", "fatal")] == []


def test_the_same_message_gives_the_same_bundle():
    raw = message("ADT^A01", PID, "PV1|1|I|W^1^2|||||||||||||||||V1^^^H0001^VN")

    assert convert(raw)[0].bundle == convert(raw)[0].bundle


def test_references_point_to_entries_of_the_bundle_and_identities_meet_over_messages():
    first = convert(message("ADT^A04", PID))[0].bundle["entry"]
    later = convert(message("ORU^R01", PID, "OBR|1||F1^L|x^X^L", "OBX|1|ST|c^C^L||v||||||F"))[0]

    urls = {e["fullUrl"] for e in later.bundle["entry"]}
    observation = next(
        e["resource"]
        for e in later.bundle["entry"]
        if e["resource"]["resourceType"] == "Observation"
    )
    patient = next(e for e in first if e["resource"]["resourceType"] == "Patient")
    assert observation["subject"]["reference"] == patient["fullUrl"]
    assert patient["fullUrl"] in urls
    assert patient["request"] == {
        "method": "PUT",
        "url": "Patient?identifier=urn:x-yilian:ns:H0001|ZY17",
    }


def test_who_takes_part_stands_where_the_field_of_older_versions_stood():
    raw = message(
        "ORU^R01^ORU_R01", PID,
        "ORC|RE|P1|F1", "PRT|1|AD||OP|91^Orderer",
        "OBR|1|P1|F1|x^X^L", "PRT|1|AD||SC|92^Collector", "PRT|2|AD||TN|93^Tech|||Central Lab",
        "PRT|3|AD||PRI|94^Interpreter", "PRT|4|AD||OP|95^Second",
        "OBX|1|ST|c^C^L||v||||||F", "SPM|1|^S1||BLD",
        version="2.8.2",
    )  # fmt: skip
    (result,) = convert(raw)
    made = {e["fullUrl"]: e["resource"] for e in result.bundle["entry"]}
    by_type = {resource["resourceType"]: resource for resource in made.values()}

    def family(reference):
        who = made[reference["reference"]]
        return family(who["practitioner"]) if "practitioner" in who else who["name"][0]["family"]

    report = by_type["DiagnosticReport"]
    assert family(by_type["ServiceRequest"]["requester"]) == "Orderer"
    assert family(by_type["Specimen"]["collection"]["collector"]) == "Collector"
    assert [family(one) for one in report["performer"]] == ["Tech"]
    assert [family(one) for one in report["resultsInterpreter"]] == ["Interpreter"]
    assert by_type["Organization"]["name"] == "Central Lab"


def test_two_hospitals_with_the_same_number_never_meet():
    other = message("ADT^A04", PID.replace("^^^H0001", "")).replace(b"|H0001|", b"|H0002|")
    mine = message("ADT^A04", PID.replace("^^^H0001", ""))

    ids = {convert(raw)[0].bundle["entry"][0]["fullUrl"] for raw in (mine, other)}
    assert len(ids) == 2


def test_a_resident_id_is_never_the_key_of_a_patient():
    pid = "PID|1||11010519491231002X^^^&2.16.156.10011.1.3&ISO^NI||张^伟"
    (result,) = convert(message("ADT^A04", pid))

    entry = next(e for e in result.bundle["entry"] if e["resource"]["resourceType"] == "Patient")
    assert entry["request"]["url"].startswith(
        "Patient?identifier=https://yilian.example/fhir/sid/record|H0001:patient:"
    )


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        ("2024", "2024"),
        ("202405", "2024-05"),
        ("20240502", "2024-05-02"),
        ("2024050208", "2024-05-02T08:00:00+08:00"),
        ("202405020830", "2024-05-02T08:30:00+08:00"),
        ("20240502083000.1234+0530", "2024-05-02T08:30:00.1234+05:30"),
        ("20240502083000+08", "2024-05-02T08:30:00+08:00"),
        ("2024-05-02 08:30", "2024-05-02T08:30:00+08:00"),
        ("20240230", None),
        ("soon", None),
    ],
)
def test_times_keep_precision_and_offset_and_impossible_ones_are_dropped(sent, value):
    raw = message("ORU^R01", PID, "OBR|1||F1|x^X^L", f"OBX|1|ST|c^C^L||v||||||F|||{sent}")
    (result,) = convert(raw)

    observation = next(
        e["resource"]
        for e in result.bundle["entry"]
        if e["resource"]["resourceType"] == "Observation"
    )
    assert observation.get("effectiveDateTime") == value
    dropped = [i.at for i in result.issues if i.details == "impossible-date"]
    assert dropped == ([] if value else ["OBX-14"])


def test_the_offset_of_msh_7_holds_for_the_whole_message():
    raw = message("ORU^R01", PID, "OBR|1||F1|x^X^L|||202405020830", "OBX|1|ST|c||v||||||F")
    raw = raw.replace(b"20240502091500", b"20240502091500-0500")

    assert only(raw, "Observation")["effectiveDateTime"] == "2024-05-02T08:30:00-05:00"


def test_the_zone_can_be_set():
    raw = message("ORU^R01", PID, "OBR|1||F1|x^X^L|||202407020830", "OBX|1|ST|c||v||||||F")

    found = only(raw, "Observation", time_zone="Europe/Berlin")
    assert found["effectiveDateTime"] == "2024-07-02T08:30:00+02:00"


def test_lines_of_text_are_one_text_and_other_repetitions_components():
    text = message("ORU^R01", PID, "OBR|1||F1|x^X^L", "OBX|1|TX|c^C^L||one~two||||||F")
    codes = message("ORU^R01", PID, "OBR|1||F1|x^X^L", "OBX|1|CE|c^C^L||a^A^L~b^B^L||||||F")

    assert only(text, "Observation")["valueString"] == "one\ntwo"
    components = only(codes, "Observation")["component"]
    assert [c["valueCodeableConcept"]["text"] for c in components] == ["A", "B"]


def test_extensions_of_a_result_and_of_its_value_stand_side_by_side():
    raw = message(
        "ORU^R01", PID, "OBR|1||F1|x^X^L",
        "OBX|1|ED|c^C^L||^AP^PDF^Base64^JVBERg==|||||A|F",
    )  # fmt: skip

    urls = [e["url"].rpartition("/")[2] for e in only(raw, "Observation")["extension"]]
    assert urls == ["observation-nature-of-abnormal-test", "extension-Observation.value"]
    report = only(raw, "DiagnosticReport")
    assert report["presentedForm"] == [{"data": "JVBERg==", "contentType": "application/pdf"}]


def test_a_device_named_behind_a_result_is_a_resource():
    raw = message(
        "ORU^R01", PID, "OBR|1||F1|x^X^L", "OBX|1|NM|c^C^L||1||||||F",
        "PRT|1|AD||EQUIP||||||D7^LAB||||||(01)06901234567892||20300101|L1|S1",
    )  # fmt: skip

    device = only(raw, "Device")
    assert device["udiCarrier"][0]["carrierHRF"] == "(01)06901234567892"
    assert device["serialNumber"] == "S1"
    assert "reference" in only(raw, "Observation")["device"]


def test_the_same_test_twice_in_one_order_is_two_observations():
    raw = message(
        "ORU^R01", PID, "OBR|1||F1|x^X^L",
        "OBX|1|NM|c^C^L||1||||||F", "OBX|2|NM|c^C^L||2||||||F",
    )  # fmt: skip

    values = [str(o["valueQuantity"]["value"]) for o in resources(raw, "Observation")]
    assert values == ["1", "2"]


def test_null_is_never_a_value():
    raw = message("ADT^A08", 'PID|1||7^^^H0001^MR||""||""|""|||""||""')

    patient = only(raw, "Patient")
    assert not {"name", "birthDate", "gender", "address", "telecom"} & set(patient)


def test_a_place_of_the_master_file_is_the_place_a_visit_names():
    master = message("MFN^M05", "MFI|LOC", "MFE|MAD|1|2024|W1", "LOC|W1^2^3^H0001|Bed 3||B")
    visit = message("ADT^A01", PID, "PV1|1|I|W1^2^3^H0001")

    def places(raw):
        entries = convert(raw)[0].bundle["entry"]
        return [e["fullUrl"] for e in entries if e["resource"]["resourceType"] == "Location"]

    assert places(master)[0] in places(visit)


def test_a_record_merged_into_itself_stays_active():
    raw = message("ADT^A40", PID, "MRG|ZY17^^^H0001^MR")

    assert "active" not in only(raw, "Patient")


def test_a_message_without_control_id_is_named_by_its_content():
    raw = message("ADT^A04", PID).replace(b"|M1|", b"||")
    other = raw.replace("张".encode(), "王".encode())

    uris = {only(r, "Patient")["meta"]["source"] for r in (raw, other)}
    assert len(uris) == 2


def test_a_person_who_is_named_twice_is_one_resource():
    raw = message("ADT^A01", PID, "PV1|1|I|||||D1^王^芳|D1^王^芳|||||||||D1^王^芳||V1^^^H0001^VN")

    assert len(resources(raw, "Practitioner")) == 1


@pytest.mark.parametrize("version", ["2.1", "2.2", "2.3", "2.3.1", "2.4", "2.6", "2.8.2", "2.9"])
def test_every_version_gives_patient_and_encounter(version):
    raw = message("ADT^A01", "EVN|A01|20240502", PID, "PV1|1|I", version=version)

    assert only(raw, "Patient")["birthDate"] == "1980-01-01"
    assert only(raw, "Encounter")["class"]["code"] == "IMP"


def test_any_message_with_a_pid_gives_a_patient():
    assert only(message("XYZ^Z99", PID), "Patient")["gender"] == "male"


def test_an_acknowledgement_holds_nothing_to_convert():
    status, printed, _ = run("-", stdin=message("ACK", "MSA|AA|M0"))

    assert status == 0
    assert printed[0]["issue"][0]["severity"] == "information"


def test_a_broken_message_takes_its_place_and_the_others_still_convert():
    good = message("ADT^A04", PID)

    status, printed, err = run("-", stdin=good + b"MSH|^^^^|\r" + good)

    assert status == 1
    assert [p["resourceType"] for p in printed] == ["Bundle", "OperationOutcome", "Bundle"]
    assert "-:2: error: " in err


@pytest.mark.parametrize("start", ["MSH", "BHS|^~\\&|X\rMSH"])
def test_what_follows_a_message_in_the_same_text_is_found(start):
    first = f"{MSH.format('ADT^A04', '2.5')}\r{PID}\r"
    second = first.replace("ZY17", "ZY18").replace("MSH", start, 1)

    (alone,) = convert(first.encode())
    both = convert((first + second).encode())

    assert len(both) == 2
    assert both[0].bundle == alone.bundle


def test_the_entries_are_those_of_the_bundle():
    (result,) = convert(f"{MSH.format('ADT^A04', '2.5')}\r{PID}\r".encode())

    printed = result.bundle["entry"]
    assert [entry.full_url for entry in result.entries] == [one["fullUrl"] for one in printed]
    assert result.entries[0].key == ("urn:x-yilian:ns:H0001", "ZY17")


def test_wrong_usage_is_2(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text(
        "overlay: hl7v2\nrules:\n  - extend: patient\n    set: {nme: PID-5}\n", "utf-8"
    )

    assert run()[0] == 2
    assert run("no-such-file.hl7")[0] == 2
    assert run("--time-zone", "Mars/Base", "-")[0] == 2
    status, _, err = run("--mapping", str(broken), "-")
    assert status == 2
    assert f"{broken}:4: error: Patient has no element `nme`" in err


def test_provenance_names_what_was_written_and_the_raw_message():
    raw = message("ADT^A04", "EVN|A04|20240502090000", PID)
    found = only(raw, "Provenance")

    assert found["recorded"] == "2024-05-02T09:15:00+08:00"
    assert found["occurredDateTime"] == "2024-05-02T09:00:00+08:00"
    assert found["entity"][0]["what"]["identifier"]["value"] == (
        "urn:x-yilian:msg:hl7v2:H0001:HIS#M1"
    )
    assert only(raw, "Patient")["meta"]["source"] == "urn:x-yilian:msg:hl7v2:H0001:HIS#M1"
    types = {r["resourceType"] for r in resources(raw, provenance=False)}
    assert types == {"Patient"}


def test_a_bundle_of_type_message_begins_with_its_header():
    (result,) = convert(message("ADT^A04", PID), Options(bundle_type="message"))

    entries = result.bundle["entry"]
    assert result.bundle["type"] == "message"
    assert entries[0]["resource"]["resourceType"] == "MessageHeader"
    assert all("request" not in entry for entry in entries)


def test_explain_names_rule_and_field_of_every_element_and_what_was_not_used():
    raw = message("ADT^A04", PID + "||||||||||||||||||||||||Q")
    (result,) = convert(raw, Options(explain=True))

    lines = list(result.explained)
    assert any(
        "Patient.name[0].family  <- PID-5.1.1" in line and "hl7v2/base.yaml:" in line
        for line in lines
    )
    assert any("Patient.birthDate  <- PID-7" in line for line in lines)
    assert "unused: PID-32" in lines


def test_explaining_changes_nothing():
    raw = message("ADT^A01", PID, "PV1|1|I|W^1^2||||D1^王^芳")

    plain, explained = convert(raw)[0].bundle, convert(raw, Options(explain=True))[0].bundle
    assert json.dumps(plain, sort_keys=True, default=str) == json.dumps(
        explained, sort_keys=True, default=str
    )


def test_an_overlay_maps_a_site_segment_and_runs_its_example():
    status, _, err = run("--mapping", str(ZPI), "--examples")

    assert status == 0, err
    assert "examples come out as written" in err


def test_an_overlay_for_one_sender_leaves_the_others_alone():
    raw = message("ADT^A04", PID, "ZPI|1|小明|AB")

    assert len(only(raw, "Patient", mappings=(ZPI,))["name"]) == 2
    elsewhere = raw.replace(b"|H0001|", b"|H0002|")
    assert len(only(elsewhere, "Patient", mappings=(ZPI,))["name"]) == 1


def test_a_changed_overlay_counts_after_a_reload(tmp_path):
    site = tmp_path / "site.yaml"
    text = "overlay: hl7v2\nrules:\n  - extend: patient\n    set: {{language: ={}}}\n"
    raw = message("ADT^A04", PID)

    site.write_text(text.format("zh"), "utf-8")
    before = only(raw, "Patient", mappings=(site,))["language"]
    site.write_text(text.format("en"), "utf-8")
    reload()

    assert (before, only(raw, "Patient", mappings=(site,))["language"]) == ("zh", "en")


def test_strict_refuses_what_is_not_valid(tmp_path):
    overlay = tmp_path / "bad.yaml"
    overlay.write_text(
        "overlay: hl7v2\nrules:\n  - extend: patient\n    set: {photo: [{url: PID-3.1}]}\n", "utf-8"
    )
    raw = message("ADT^A04", PID.replace("ZY17", "Z Y"))

    (lenient,) = convert(raw, Options(mappings=(overlay,)))
    (strict,) = convert(raw, Options(mappings=(overlay,), strict=True))
    assert lenient.bundle is not None
    assert strict.refused


def test_no_message_text_reaches_the_issues():
    raw = message("ADT^A04", "PID|1||MARKER7^^^MARKERX^MR||MARKER^MARKER||MARKER|M")

    (result,) = convert(raw)
    assert result.issues
    assert "MARKER" not in " ".join(issue.text + str(issue.at) for issue in result.issues)


def test_the_shipped_mappings_pass_the_check_that_overlays_ask_for():
    status, _, err = run("--mapping", str(ZPI), "-", stdin=message("ADT^A04", PID))

    assert status == 0, err


def test_what_stands_before_the_patient_is_about_the_first_patient():
    raw = message(
        "ORU^R01",
        "PV1|1|I|W^1^1||||||||||||||||V1",
        "OBR|1||F1^LIS|58410-2^CBC^LN||||||||||||||||||||||F",
        "OBX|1|NM|718-7^Hb^LN||140|g/L|||||F",
        PID,
    )

    (result,) = convert(raw)

    entries = [(one["fullUrl"], one["resource"]) for one in result.bundle["entry"]]
    (patient,) = [url for url, one in entries if one["resourceType"] == "Patient"]
    about = {
        one["resourceType"]: one["subject"]["reference"] for _, one in entries if "subject" in one
    }
    types = ("Encounter", "ServiceRequest", "DiagnosticReport", "Observation")
    assert about == dict.fromkeys(types, patient)


def test_a_note_that_no_string_can_hold_is_left_out_with_a_warning():
    raw = message("ADT^A08", PID, f"NTE|1||{'y' * (1 << 20)}y", "NTE|2||short")

    (result,) = convert(raw)

    (patient,) = resources(raw, "Patient")
    assert [one["valueAnnotation"]["text"] for one in patient["extension"]] == ["short"]
    assert "note-too-long" in [issue.details for issue in result.issues]


def test_shift_jis_under_the_name_of_a_seven_bit_set_is_read():
    header = "MSH|^~\\&|HIS|H1|||20240502091500||ADT^A04|1|P|2.5.1||||||ISO IR87\r"
    raw = f"{header}PID|1||7^^^H1^MR||山田^太郎\r".encode("cp932")

    (name,) = only(raw, "Patient")["name"]

    assert (name["family"], name["given"]) == ("山田", ["太郎"])


_USES = """overlay: hl7v2
rules:
  - rule: use
    resource: DeviceUseStatement
    each: OBX
    key: {record: [=use, ref(observation)]}
    set:
      status: =active
      subject: ref(patient)
      device: ref(device-used)
"""


def test_what_stands_inside_a_segment_is_its_own(tmp_path):
    overlay = tmp_path / "uses.yaml"
    overlay.write_text(_USES, "utf-8")
    header = (
        "MSH|^~\\&|LIS|H|Y|H|20240501||ORU^R01^ORU_R01|U1|P|2.9\rPID|1||1^^^H^MR\rOBR|1||F1|1^A^L"
    )
    results = [
        f"OBX|{n}|NM|{n}^B^L||1||||||F\rPRT|1|AD||EQUIP^^HL70912||||||EQ{n}^^^H" for n in (1, 2, 3)
    ]

    (found,) = convert("\r".join([header, *results]).encode(), Options(mappings=(overlay,)))

    made = [entry["resource"] for entry in found.bundle["entry"]]
    uses = [
        each["device"]["reference"] for each in made if each["resourceType"] == "DeviceUseStatement"
    ]
    assert len(uses) == len(set(uses)) == 3


def _leaves(value, path):
    if isinstance(value, dict):
        return [leaf for name, one in value.items() for leaf in _leaves(one, f"{path}.{name}")]
    if isinstance(value, list):
        return [leaf for n, one in enumerate(value) for leaf in _leaves(one, f"{path}[{n}]")]
    return [path]


_EXPLAINED = message(
    "ADT^A01",
    PID.replace("|M|", "|1|"),
    "PV1|1|I|3W^07^1^H0001||||D81^Wang^Jianguo|||MED||||||||||V1^^^H0001^VN",
    "NK1|1|Li^Ma|MTH^Mother^HL70063",
    "AL1|1|DA|P^Penicillin^L|SV|rash",
)


def test_explain_tells_all_that_is_there_and_nothing_else():
    (found,) = convert(_EXPLAINED, Options(explain=True))

    told, url = {}, ""
    for line in found.explained:
        if line.startswith("  "):
            told[url].append(line.split("  <- ")[0].strip())
        elif not line.startswith("unused"):
            url = line.split()[1]
            told[url] = []
    for entry in found.bundle["entry"]:
        body = {k: v for k, v in entry["resource"].items() if k != "resourceType"}
        leaves = _leaves(body, entry["resource"]["resourceType"])
        names = told[entry["fullUrl"]]
        inside = tuple(f"{name}{sign}" for name in names for sign in ".[")
        assert [leaf for leaf in leaves if leaf not in names and not leaf.startswith(inside)] == []
        for name in names:
            assert any(leaf == name or leaf.startswith((f"{name}.", f"{name}[")) for leaf in leaves)


def test_explain_tells_where_references_keys_items_and_the_kind_of_message_come_from():
    (found,) = convert(_EXPLAINED, Options(explain=True))
    said = "\n".join(line.partition("  [")[0] for line in found.explained)

    assert "  Encounter.subject  <- ref(patient)" in said
    assert "  RelatedPerson.identifier  <- record key MSH-4.1 PID-3.1" in said
    assert "  Provenance.agent[1].who.identifier.value  <- (hub-version)" in said
    assert "  Encounter.location[0].location  <- PV1-3.1" in said
    assert "  Encounter.participant[0].individual  <- PV1-7 PV1-7.1" in said
    assert "  MessageHeader.eventCoding.code  <- MSH-9.2" in said
    assert not {"unused: MSH-9", "unused: MSH-10", "unused: MSH-12"} & set(found.explained)
