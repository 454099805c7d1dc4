"""FHIR JSON as bytes: http://hl7.org/fhir/R4/json.html, search.html#summary, RFC 8259."""

import json
from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.errors import Malformed
from app.fhir import json as fhir_json
from app.fhir.rules import MAX_DEPTH
from tests import generate
from tests.generate import RELAXED

AT = "2026-03-01T08:00:00.123Z"
TAG = fhir_json.SUBSETTED


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "The body is empty."),
        (b"  \n", "The body is empty."),
        (b'{"a":1', "The body is not JSON."),
        (b'{"a":1}}', "The body is not JSON."),
        (b'{"a":01}', "The body is not JSON."),
        (b'{"a":NaN}', "The body is not JSON."),
        (b'{"a":Infinity}', "The body is not JSON."),
        (b'{"a":-Infinity}', "The body is not JSON."),
        (b'{"a":1e999}', "The body is not JSON."),
        (b"{'a':1}", "The body is not JSON."),
        (b'{"a":1,}', "The body is not JSON."),
        (b'{"a":"\n"}', "The body is not JSON."),
        (b'{"a":"\\ud800"}', "The body is not JSON."),
        (b'{"a":1} // x', "The body is not JSON."),
        (b'{"a":"\xff"}', "The body is not UTF-8."),
        (b'{"a":"\xed\xa0\x80"}', "The body is not UTF-8."),
        (
            b"\xef\xbb\xbf{}",
            "The body begins with a byte order mark; FHIR JSON is UTF-8 without one.",
        ),
        (b"[]", "The body is not a JSON object."),
        (b'"a"', "The body is not a JSON object."),
        (b"null", "The body is not a JSON object."),
        (b"5", "The body is not a JSON object."),
        (b'{"a":1,"a":2}', "An object has the same member twice."),
        (b'{"a":1,"a":1}', "An object has the same member twice."),
        (b'{"a":[{"b":1,"c":{},"b":1}]}', "An object has the same member twice."),
        (b'{"a":1,"\\u0061":2}', "An object has the same member twice."),
        # As many colons as without the second name: a text hides some behind an escape.
        (b'{"a":1,"a":1,"b":"\\u003a"}', "An object has the same member twice."),
        (b'{"a":1e5,"a":1}', "An object has the same member twice."),
    ],
)
def test_what_is_no_json_object_is_malformed(body, why):
    with pytest.raises(Malformed) as caught:
        fhir_json.parse(body)

    assert str(caught.value) == why


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"\\"b\\":","c":1}',
        b'{"a":"\\u0022:\\u003A","c":1}',
        b'{ "a" : [ 1.00 , 1e2, -0 ] }',
        '{"a":"\u2028 张三 😀","b":{}}'.encode(),
        b'{"a":{"a":{"a":[{"a":1}]}}}',
    ],
)
def test_odd_but_right_json_is_parsed(body):
    assert fhir_json.parse(body) == json.loads(body)


def test_nesting_is_limited():
    def nested(levels):
        return b'{"a":' * levels + b"1" + b"}" * levels

    assert fhir_json.parse(nested(MAX_DEPTH))
    for levels in (MAX_DEPTH + 1, 300, 1023, 1025, 100_000):
        with pytest.raises(Malformed):
            fhir_json.parse(nested(levels))
    with pytest.raises(Malformed):
        fhir_json.parse(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}")


@pytest.mark.parametrize("call", [fhir_json.compact, fhir_json.pretty, fhir_json.members])
def test_broken_or_deep_bytes_are_malformed_to_the_formatters_too(call):
    for body in (b"", b"{", b'{"a":' * 5000):
        with pytest.raises(Malformed):
            call(body)


@settings(RELAXED)
@given(st.binary(max_size=60))
def test_nothing_crashes_the_parser(body):
    try:
        parsed = fhir_json.parse(body)
    except Malformed:
        return
    assert type(parsed) is dict


@st.composite
def objects_as_text(draw, depth=2):
    """Draw the text of a JSON object that may hold a name twice, and say whether it does."""
    names = draw(st.lists(st.sampled_from(["a", "b", ":", '"', "\\u0061"]), max_size=4))
    parts, twice = [], len(set(_decoded(names))) < len(names)
    for name in names:
        key = name if name.startswith("\\u") else json.dumps(name)[1:-1]
        if depth and draw(st.booleans()):
            value, inner = draw(objects_as_text(depth - 1))
            twice = twice or inner
        else:
            value = draw(st.sampled_from(["1", "1.50", "1e2", '":"', '"\\u003a"', '"\\":"', "[]"]))
        parts.append(f'"{key}": {value}')
    return "{" + ",".join(parts) + "}", twice


def _decoded(names):
    return [json.loads(f'"{n}"') if n.startswith("\\u") else n for n in names]


@settings(RELAXED, max_examples=150)
@given(objects_as_text())
def test_a_name_that_stands_twice_is_always_found(drawn):
    text, twice = drawn
    if twice:
        with pytest.raises(Malformed, match="the same member twice"):
            fhir_json.parse(text.encode())
    else:
        assert fhir_json.parse(text.encode()) == json.loads(text)


def test_compact_and_pretty_keep_numbers_and_escapes():
    body = b'{ "a" : [ 1.00 , 1E+2 ],\n "b":"\\u00e9\\/ \\" x", "c": { } }'

    assert fhir_json.compact(body) == b'{"a":[1.00,1E+2],"b":"\\u00e9\\/ \\" x","c":{}}'
    assert fhir_json.compact(fhir_json.pretty(body)) == fhir_json.compact(body)
    assert fhir_json.pretty(b'{"a":1.0}') == b'{\n  "a": 1.0\n}'
    assert fhir_json.parse_compact(body)[1] == fhir_json.compact(body)


@pytest.mark.parametrize(
    ("body", "spliced"),
    [
        (
            b'{"resourceType":"Basic"}',
            b'{"resourceType":"Basic","id":"x","meta":{"versionId":"3","lastUpdated":"%b"}}',
        ),
        (
            b'{"resourceType":"Basic","id":"old"}',
            b'{"resourceType":"Basic","id":"x","meta":{"versionId":"3","lastUpdated":"%b"}}',
        ),
        (
            b'{"resourceType":"Basic","id":"old","meta":{"versionId":"9"},"a":1.00}',
            b'{"resourceType":"Basic","id":"x","meta":{"versionId":"3","lastUpdated":"%b"},'
            b'"a":1.00}',
        ),
        (
            b'{"a":1.00,"id":"old","b":[2.0],"meta":{"tag":[{"code":"t"}],"lastUpdated":"y",'
            b'"_versionId":{"id":"q"}},"resourceType":"Basic"}',
            b'{"resourceType":"Basic","id":"x","meta":{"versionId":"3","lastUpdated":"%b",'
            b'"tag":[{"code":"t"}]},"a":1.00,"b":[2.0]}',
        ),
        (
            b'{"resourceType":"Basic","a":"\\u0041","meta":{"source":"\\/s"}}',
            b'{"resourceType":"Basic","id":"x","meta":{"versionId":"3","lastUpdated":"%b",'
            b'"source":"\\/s"},"a":"\\u0041"}',
        ),
        (
            b'{"resourceType":"Basic","\\u0069d":"old","a":1}',
            b'{"resourceType":"Basic","id":"x","meta":{"versionId":"3","lastUpdated":"%b"},"a":1}',
        ),
    ],
)
def test_splice_sets_id_version_and_time_and_touches_nothing_else(body, spliced):
    assert fhir_json.splice(body, "x", 3, AT) == spliced % AT.encode()


def test_splice_adds_lists_of_the_version_before_where_the_body_names_none():
    previous = b'{"resourceType":"Basic","meta":{"versionId":"2","tag":[1],"profile":[2.0]}}'
    body = b'{"resourceType":"Basic","meta":{"profile":[3]}}'

    spliced = fhir_json.splice(body, "x", 3, AT, fhir_json.inheritable(previous))

    assert json.loads(spliced)["meta"] == {
        "versionId": "3",
        "lastUpdated": AT,
        "profile": [3],
        "tag": [1],
    }
    assert fhir_json.inheritable(b'{"resourceType":"Basic"}') == {}


@settings(RELAXED, max_examples=200)
@given(resource=generate.any_resources(), shuffle=st.randoms(use_true_random=False))
def test_a_spliced_resource_is_the_same_with_id_and_meta_set(resource, shuffle):
    items = list(resource.items())
    shuffle.shuffle(items)
    body = generate.body(dict(items))
    exact = {"parse_float": Decimal, "parse_int": Decimal}

    spliced = fhir_json.splice(body, "new.id", "7", AT)

    expected = json.loads(body, **exact)
    expected["id"] = "new.id"
    expected["meta"] = {**expected.get("meta", {}), "versionId": "7", "lastUpdated": AT}
    found = json.loads(spliced, **exact)
    assert found == expected
    assert list(found)[:3] == ["resourceType", "id", "meta"]
    others = [name for name, _ in items if name not in ("resourceType", "id", "meta")]
    assert list(found)[3:] == others
    # Digits are kept, which equality of decimals does not show.
    for name in others:
        assert bytes(fhir_json.members(spliced)[name]) == bytes(fhir_json.members(body)[name])
    assert fhir_json.splice(spliced, "new.id", "7", AT) == spliced
    if front := fhir_json.front(body, resource):
        type_name = resource["resourceType"]
        assert fhir_json.splice_at(front, body, type_name, "new.id", 7, AT) == spliced


@pytest.mark.parametrize(
    ("body", "known"),
    [
        (b'{"resourceType":"Basic"}', True),
        (b'{"resourceType":"Basic","id":"a","b":1.00}', True),
        (b'{"resourceType":"Basic","id":"a","meta":{"tag":[]},"b":1}', True),
        (b'{"resourceType":"Basic","meta":{"tag":[]},"b":{"id":"c"}}', True),
        (b'{"resourceType":"Basic","b":1,"id":"a"}', False),
        (b'{"resourceType":"Basic","id":"a","b":1,"meta":{"tag":[]}}', False),
        (b'{"resourceType":"Basic","meta":{"versionId":"1"}}', False),
        (b'{"resourceType":"Basic","meta":{}}', False),
        (b'{"resourceType":"Basic","\\u0069d":"a"}', False),
        (b'{"id":"a","resourceType":"Basic"}', False),
    ],
)
def test_a_body_whose_head_stands_in_front_is_spliced_without_being_read(body, known):
    front = fhir_json.front(body, json.loads(body))

    assert (front != 0) is known
    if known:
        spliced = fhir_json.splice_at(front, body, "Basic", "x", 3, AT)
        assert spliced == fhir_json.splice(body, "x", 3, AT)


OBSERVATION = (
    b'{"resourceType":"Observation","id":"a","meta":{"tag":[{"code":"t"}]},'
    b'"text":{"status":"empty","div":"x"},"status":"final","code":{"text":"c"},'
    b'"valueQuantity":{"value":1.00},"note":[{"text":"n"}],'
    b'"component":[{"code":{"text":"d"},"valueString":"v","interpretation":[{"text":"i"}]}]}'
)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (
            {"summary": "true"},
            ["resourceType", "id", "meta", "status", "code", "valueQuantity", "component"],
        ),
        ({"summary": "text"}, ["resourceType", "id", "meta", "text", "status", "code"]),
        (
            {"summary": "data"},
            [
                *("resourceType", "id", "meta", "status", "code", "valueQuantity", "note"),
                "component",
            ],
        ),
        ({"elements": ["note"]}, ["resourceType", "id", "meta", "status", "code", "note"]),
        (
            {"elements": ["value", "nosuch"]},
            ["resourceType", "id", "meta", "status", "code", "valueQuantity"],
        ),
    ],
)
def test_a_reduced_resource_has_what_was_asked_for_and_what_is_mandatory(options, names):
    reduced = fhir_json.reduce(OBSERVATION, **options)

    assert list(json.loads(reduced)) == names
    assert b'"tag":[{"code":"t"},' + TAG + b"]" in reduced


def test_a_summary_reaches_into_backbone_elements_and_keeps_numbers():
    reduced = fhir_json.reduce(OBSERVATION, summary="true")

    assert b'"valueQuantity":{"value":1.00}' in reduced
    assert b'"component":[{"code":{"text":"d"},"valueString":"v"}]' in reduced


def test_subsetted_is_put_where_there_was_no_meta_and_only_once():
    bare = b'{"resourceType":"Basic","id":"a","code":{"text":"c"},"author":{"display":"x"}}'

    once = fhir_json.reduce(bare, elements=["code"])

    assert once == (
        b'{"resourceType":"Basic","id":"a","meta":{"tag":[' + TAG + b']},"code":{"text":"c"}}'
    )
    assert fhir_json.reduce(once, elements=["code"]) == once


@settings(RELAXED, max_examples=100)
@given(resource=generate.any_resources(), summary=st.sampled_from(["true", "text", "data"]))
def test_a_reduced_resource_is_a_part_of_the_whole(resource, summary):
    assume("meta" not in resource)
    body = generate.body(resource)

    reduced = json.loads(fhir_json.reduce(body, summary=summary))

    assert set(reduced) <= {*resource, "meta"}
    assert reduced["id"] == resource["id"]
