"""XML in, out and as a patch: R4 xml.html, http.html#mime-type; RFC 5261."""

from __future__ import annotations

import pytest

from app.errors import Malformed, Unprocessable
from app.rest import xml_patch
from tests.rest.conftest import Api, observation, patient

FHIR_XML = "application/fhir+xml"
PATIENT = (
    '<Patient xmlns="http://hl7.org/fhir"><extension url="urn:x"><valueDecimal value="1.50"/>'
    '</extension><name><family value="张 &amp; Co"/><given value="A"/><given value="B"/></name>'
    '<gender value="female"/><multipleBirthInteger value="2"/></Patient>'
)


def test_xml_becomes_json_and_comes_back(api: Api):
    created = api.post("Patient", PATIENT, Content_Type=FHIR_XML, Accept="application/fhir+json")
    again = api.get(f"Patient/{created.json['id']}", Accept=FHIR_XML)

    assert created.status == 201
    assert b'"valueDecimal":1.50' in created.body
    assert created.json["name"][0] == {"family": "张 & Co", "given": ["A", "B"]}
    assert again.headers["Content-Type"] == "application/fhir+xml; charset=utf-8"
    assert '<family value="张 &amp; Co"/>'.encode() in again.body
    assert b'<valueDecimal value="1.50"/>' in again.body


@pytest.mark.parametrize(
    ("accept", "query"),
    [
        ("application/xml", ""),
        ("text/xml", ""),
        ("application/fhir+json", "?_format=xml"),
        ("application/fhir+json", "?_format=application/fhir%2Bxml"),
        ("application/fhir+json", "?_format=application/fhir+xml"),
    ],
)
def test_every_answer_comes_in_xml_when_asked_for(api: Api, accept: str, query: str):
    id = api.create(patient())["id"]

    read = api.get(f"Patient/{id}{query}", Accept=accept)
    missing = api.get(f"Patient/never-there{query}", Accept=accept)

    assert read.body.startswith(b"<?xml")
    assert (missing.status, b"<OperationOutcome" in missing.body) == (404, True)
    assert missing.headers["Content-Type"].startswith(FHIR_XML)


def test_search_history_and_metadata_come_in_xml(api: Api):
    id = api.create(patient())["id"]

    for path in (f"Patient?_id={id}", f"Patient/{id}/_history", "metadata"):
        answer = api.get(path, Accept=FHIR_XML)
        assert answer.status == 200
        assert b'xmlns="http://hl7.org/fhir"' in answer.body


def test_a_transaction_comes_in_xml(api: Api):
    url = "urn:uuid:4e3f0f58-5c9b-4b0e-9f0a-4f6f4f1c0001"
    bundle = (
        '<Bundle xmlns="http://hl7.org/fhir"><type value="transaction"/><entry>'
        f'<fullUrl value="{url}"/><resource>{PATIENT}</resource>'
        '<request><method value="POST"/><url value="Patient"/></request></entry></Bundle>'
    )

    answer = api.post("", bundle, Content_Type=FHIR_XML, Accept="application/fhir+json")

    assert answer.entries[0]["response"]["status"] == "201 Created"


@pytest.mark.parametrize(
    "body",
    [
        '<!DOCTYPE p [<!ENTITY e SYSTEM "file:///etc/hostname">]>' + PATIENT.replace("A", "&e;"),
        "<Patient",
        '<Patient xmlns="urn:other"/>',
        '<Patient xmlns="http://hl7.org/fhir"><nosuch value="x"/></Patient>',
        '{"resourceType":"Patient"}',
    ],
)
def test_bad_xml_is_refused(api: Api, body: str):
    answer = api.post("Patient", body, Content_Type=FHIR_XML)

    assert answer.status == 400
    assert answer.issue["severity"] == "error"


def test_a_body_without_a_type_is_looked_at(api: Api):
    assert api.post("Patient", PATIENT, Content_Type="").status == 201
    assert api.post("Patient", patient(), Content_Type="").status == 201


# --- XML Patch -----------------------------------------------------------------------------------


def diff(operations: str) -> str:
    return f'<diff xmlns:f="http://hl7.org/fhir" xmlns="http://hl7.org/fhir">{operations}</diff>'


def patched(operations: str) -> str:
    return xml_patch.apply(PATIENT.encode(), diff(operations).encode()).decode()


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ('<replace sel="f:Patient/f:gender/@value">male</replace>', '<gender value="male"/>'),
        ('<replace sel="/Patient/gender"><active value="true"/></replace>',
         '</name><active value="true"/>'),
        ('<replace sel="Patient/name/given[2]/@value">C</replace>', '<given value="C"/></name>'),
        ('<replace sel="Patient/name/given[@value=\'A\']/@value">C</replace>',
         '<given value="C"/>'),
        ('<add sel="Patient/name"><given value="C"/></add>', '<given value="C"/></name>'),
        ('<add sel="Patient/name" pos="prepend"><use value="usual"/></add>',
         '<name><use value="usual"/>'),
        ('<add sel="Patient/gender" pos="before"><active value="true"/></add>',
         '<active value="true"/><gender'),
        ('<add sel="Patient/gender" pos="after"><birthDate value="1980"/></add>',
         '<gender value="female"/><birthDate value="1980"/>'),
        ('<add sel="Patient/gender" type="@id">g</add>', '<gender value="female" id="g"/>'),
        ('<remove sel="Patient/gender"/>', '</name><multipleBirthInteger'),
    ],
)  # fmt: skip
def test_an_operation_does_what_the_rfc_says(operation: str, expected: str):
    assert expected in patched(operation).replace(' xmlns:f="http://hl7.org/fhir"', "")


@pytest.mark.parametrize(
    "operation",
    [
        '<remove sel="Patient/birthDate"/>',
        '<remove sel="Patient/name/given"/>',
        '<remove sel="Patient"/>',
        '<replace sel="Patient/gender"/>',
        '<add sel="Patient/gender/@value">x</add>',
        '<remove sel="Patient/gender/text()"/>',
    ],
)
def test_what_cannot_be_done_is_unprocessable(operation: str):
    with pytest.raises(Unprocessable):
        patched(operation)


@pytest.mark.parametrize(
    "operation",
    [
        "<spam/>",
        "<remove/>",
        '<remove sel="((("/>',
        '<remove sel="count(Patient)"/>',
        '<remove sel="Patient//given"/>',
        '<remove sel="Patient/name[given[1]]"/>',
        '<remove sel="Patient/descendant::given"/>',
        '<add sel="Patient" pos="above"/>',
        "<",
    ],
)
def test_what_is_no_patch_is_malformed(operation: str):
    with pytest.raises(Malformed):
        patched(operation)


def test_a_patch_arrives_over_http(api: Api):
    id = api.create(observation(valueQuantity={"value": 7.5}))["id"]
    kind = "application/xml-patch+xml"

    done = api.patch(
        f"Observation/{id}",
        diff('<replace sel="Observation/status/@value">amended</replace>'),
        Content_Type=kind,
    )
    invalid = api.patch(
        f"Observation/{id}", diff('<remove sel="Observation/status"/>'), Content_Type=kind
    )
    foreign = api.patch(
        f"Observation/{id}",
        '<diff><add sel="Observation"><x/></add></diff>',
        Content_Type=kind,
    )

    assert (done.status, done.json["status"]) == (200, "amended")
    assert (invalid.status, foreign.status) == (422, 422)
