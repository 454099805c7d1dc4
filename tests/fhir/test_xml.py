"""FHIR XML and JSON are two forms of one resource: http://hl7.org/fhir/R4/xml.html."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import Malformed
from app.fhir import definitions
from app.fhir.xml import to_json, to_xml
from tests import generate
from tests.generate import RELAXED

NS = 'xmlns="http://hl7.org/fhir"'
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
HEAD = '<?xml version="1.0" encoding="UTF-8"?>'

BOTH = {
    "nothing": ("Basic", "", {}),
    "id and values": (
        "Patient",
        '<id value="p"/><active value="true"/><birthDate value="2000-01"/>',
        {"id": "p", "active": True, "birthDate": "2000-01"},
    ),
    "lists": (
        "Patient",
        '<name><given value="三"/><given value="b"/></name><name><text value="x"/></name>',
        {"name": [{"given": ["三", "b"]}, {"text": "x"}]},
    ),
    "white space and signs": (
        "Patient",
        '<name><text value=" a&amp;b&lt;c&gt; &quot;d&quot; &#9;e&#10;f&#13; "/></name>',
        {"name": [{"text": ' a&b<c> "d" \te\nf\r '}]},
    ),
    "extension of a primitive": (
        "Patient",
        '<birthDate id="b" value="2000"><extension url="http://a"><valueBoolean value="false"/>'
        "</extension></birthDate>",
        {
            "birthDate": "2000",
            "_birthDate": {
                "id": "b",
                "extension": [{"url": "http://a", "valueBoolean": False}],
            },
        },
    ),
    "extension in place of a primitive": (
        "Patient",
        '<birthDate><extension url="http://a"><valueCode value="x"/></extension></birthDate>',
        {"_birthDate": {"extension": [{"url": "http://a", "valueCode": "x"}]}},
    ),
    "extensions in a list of primitives": (
        "Patient",
        '<name><given value="a"/><given><extension url="u"><valueCode value="x"/></extension>'
        '</given><given id="i" value="c"/></name>',
        {
            "name": [
                {
                    "given": ["a", None, "c"],
                    "_given": [
                        None,
                        {"extension": [{"url": "u", "valueCode": "x"}]},
                        {"id": "i"},
                    ],
                }
            ]
        },
    ),
    "ids of elements": (
        "Patient",
        '<name id="n"><family value="x"/></name>',
        {"name": [{"id": "n", "family": "x"}]},
    ),
    "nested extensions": (
        "Patient",
        '<extension id="e" url="http://a"><extension url="b"><valueInteger value="-5"/></extension>'
        "</extension>",
        {
            "extension": [
                {"id": "e", "url": "http://a", "extension": [{"url": "b", "valueInteger": -5}]}
            ]
        },
    ),
    "contained": (
        "Patient",
        '<contained><Organization><id value="o"/><name value="x"/></Organization></contained>'
        "<contained><Basic></Basic></contained>",
        {
            "contained": [
                {"resourceType": "Organization", "id": "o", "name": "x"},
                {"resourceType": "Basic"},
            ]
        },
    ),
    "narrative": (
        "Patient",
        '<text><status value="generated"/>'
        + DIV.format("<p>病人 <b>x</b> &amp; y<br/></p>")
        + "</text>",
        {
            "text": {
                "status": "generated",
                "div": DIV.format("<p>病人 <b>x</b> &amp; y<br/></p>"),
            }
        },
    ),
    "url that is an element": (
        "ValueSet",
        '<url value="http://a"/><status value="draft"/>',
        {"url": "http://a", "status": "draft"},
    ),
    "resourceType that is an element": (
        "ExampleScenario",
        '<status value="draft"/><instance><resourceId value="1"/>'
        '<resourceType value="Patient"/></instance>',
        {"status": "draft", "instance": [{"resourceId": "1", "resourceType": "Patient"}]},
    ),
    "content reference": (
        "Questionnaire",
        '<status value="draft"/><item><linkId value="1"/><type value="group"/>'
        '<item><linkId value="2"/><type value="string"/></item></item>',
        {
            "status": "draft",
            "item": [{"linkId": "1", "type": "group", "item": [{"linkId": "2", "type": "string"}]}],
        },
    ),
}


@pytest.mark.parametrize("name", BOTH)
def test_both_forms_say_the_same(name):
    type_name, inner, members = BOTH[name]
    xml = f"{HEAD}<{type_name} {NS}>{inner}</{type_name}>\n"
    resource = {"resourceType": type_name, **members}

    assert json.loads(to_json(xml.encode())) == resource
    assert to_xml(json.dumps(resource).encode()).decode() == xml


@pytest.mark.parametrize("text", ["72.10", "0", "-0.00", "1E+2", "1e-7", "3.14159265358979323846"])
def test_numbers_keep_their_text(text):
    body = b'{"resourceType":"Observation","valueQuantity":{"value":%b}}' % text.encode()

    xml = to_xml(body)

    assert b'<value value="%b"/>' % text.encode() in xml
    assert to_json(xml) == body


def test_xml_has_the_order_of_the_specification():
    body = b'{"birthDate":"2000","name":[{"given":["A"],"family":"F"}],"resourceType":"Patient"}'

    xml = to_xml(body).decode()

    places = [xml.index(f"<{name}") for name in ("name", "family", "given", "birthDate")]
    assert places == sorted(places)


def test_pretty_xml_leaves_the_narrative_alone():
    body = json.dumps(
        {"resourceType": "Basic", "text": {"status": "empty", "div": DIV.format("a <b>c</b>")}}
    ).encode()

    xml = to_xml(body, pretty=True).decode()

    assert xml == (
        f'{HEAD}\n<Basic {NS}>\n  <text>\n    <status value="empty"/>\n    '
        f"{DIV.format('a <b>c</b>')}\n  </text>\n</Basic>\n"
    )


def test_comments_prefixes_schema_locations_and_white_space_are_accepted():
    xml = (
        '<f:Patient xmlns:f="http://hl7.org/fhir" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xsi:schemaLocation="http://hl7.org/fhir fhir.xsd">\n'
        '  <!-- who --> <?pi x?> <f:active value="true"/>\n'
        '  <f:text><f:status value="empty"/><h:div xmlns:h="http://www.w3.org/1999/xhtml">'
        "<h:p>x</h:p></h:div></f:text></f:Patient>"
    )

    resource = json.loads(to_json(xml.encode()))

    assert resource["active"] is True
    assert resource["text"]["div"] == (
        '<h:div xmlns:h="http://www.w3.org/1999/xhtml"><h:p>x</h:p></h:div>'
    )


def test_the_encoding_that_is_declared_is_read():
    xml = f'<?xml version="1.0" encoding="GBK"?><Basic {NS}><id value="张"/></Basic>'

    assert json.loads(to_json(xml.encode("gbk")))["id"] == "张"


@pytest.mark.parametrize(
    ("xml", "at"),
    [
        ("", None),
        ("<Patient", None),
        ("{}", None),
        ("<Patient/>", None),
        (f"<Foo {NS}/>", "Foo"),
        (f"<HumanName {NS}/>", "HumanName"),
        (f'<Patient {NS} id="x"/>', "Patient"),
        (f"<Patient {NS}>text</Patient>", "Patient"),
        (f'<Patient {NS}><active value="true"/>text</Patient>', "Patient"),
        (f'<Patient {NS}><foo value="x"/></Patient>', "Patient.foo"),
        (f'<Patient {NS}><a:active xmlns:a="http://a" value="true"/></Patient>', "Patient"),
        (f'<Patient {NS}><active value="1"/></Patient>', "Patient.active"),
        (f"<Patient {NS}><active/></Patient>", "Patient.active"),
        (f'<Patient {NS}><active value="true"/><active value="true"/></Patient>', "Patient.active"),
        (f'<Patient {NS}><active text="true"/></Patient>', "Patient.active"),
        (f'<Patient {NS}><name value="x"/></Patient>', "Patient.name[0]"),
        (
            f'<Patient {NS}><name/><name><given value="a"/><given/></name></Patient>',
            "Patient.name[1].given[1]",
        ),
        (
            f'<Patient {NS}><multipleBirthInteger value="1.0"/></Patient>',
            "Patient.multipleBirth",
        ),
        (f"<Patient {NS}><contained/></Patient>", "Patient.contained[0]"),
        (
            f"<Patient {NS}><contained><Basic/><Basic/></contained></Patient>",
            "Patient.contained[0]",
        ),
        (f"<Patient {NS}><contained><Foo/></contained></Patient>", "Patient.contained[0]"),
        (f"<Patient {NS}><text><div>x</div></text></Patient>", "Patient.text.div"),
        (
            f'<Patient {NS}><extension><url value="a"/></extension></Patient>',
            "Patient.extension[0].url",
        ),
        (
            f'<Observation {NS}><valueQuantity><value value="0x1"/></valueQuantity></Observation>',
            "Observation.value.value",
        ),
        (f"<!DOCTYPE Patient><Patient {NS}/>", None),
        (
            '<!DOCTYPE p [<!ENTITY e SYSTEM "file:///etc/hostname">]>'
            f'<Patient {NS}><name><text value="&e;"/></name></Patient>',
            None,
        ),
        (f'<Patient {NS}><name><text value="&e;"/></name></Patient>', None),
        ("<a>" * 10_000, None),
        (
            f"<Patient {NS}>" + '<extension url="a">' * 250 + "</extension>" * 250 + "</Patient>",
            None,
        ),
        ("<Patient " + NS + ">" + "<extension url='a'>" * 400, None),
    ],
)
def test_what_is_no_fhir_xml_is_malformed_with_its_place(xml, at):
    with pytest.raises(Malformed) as caught:
        to_json(xml.encode())

    assert caught.value.at == at


def test_a_doctype_in_another_encoding_is_found_too():
    xml = f'<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE p [<!ENTITY e "x">]><Patient {NS}/>'

    with pytest.raises(Malformed, match="DOCTYPE"):
        to_json(xml.encode("utf-16"))


def test_a_nested_bomb_of_entities_is_refused():
    bomb = '<!DOCTYPE p [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9)
    )

    with pytest.raises(Malformed):
        to_json((bomb + f"]><Patient {NS}><name><text value='&j;'/></name></Patient>").encode())


def test_unknown_members_are_not_written():
    with pytest.raises(Malformed) as caught:
        to_xml(b'{"resourceType":"Patient","name":[{"first":"x"}]}')

    assert caught.value.at == "HumanName"


@pytest.mark.parametrize("type_name", definitions.resource_types())
def test_every_type_goes_to_xml_and_back(type_name):
    for resource in (generate.minimal(type_name), generate.maximal(type_name)):
        body = generate.body(resource)

        assert exact(to_json(to_xml(body))) == exact(body)


@settings(RELAXED, max_examples=150)
@given(generate.any_resources())
def test_a_resource_comes_back_from_xml_unchanged(resource):
    body = generate.body(resource)

    back = to_json(to_xml(body))

    assert exact(back) == exact(body)
    assert to_json(to_xml(body, pretty=True)) == back


@settings(RELAXED)
@given(st.binary(max_size=80))
def test_nothing_crashes_the_reader(body):
    try:
        to_json(body)
    except Malformed:
        return


def exact(body):
    return json.loads(body, parse_float=Decimal, parse_int=Decimal)
