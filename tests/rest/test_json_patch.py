"""JSON Patch: RFC 6902 (appendix A gives the cases), with numbers that keep their text."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Malformed, Unprocessable
from app.rest import json_patch


def patched(document: str, *operations: dict[str, object]) -> str:
    tree = json_patch.tree(document.encode())
    patch = json_patch.tree(json.dumps(operations).encode())
    return json_patch.text(json_patch.apply(tree, patch)).decode()


@pytest.mark.parametrize(
    ("document", "operation", "expected"),
    [
        ('{"a":1}', {"op": "add", "path": "/b", "value": 2}, '{"a":1,"b":2}'),
        ('{"a":[1,3]}', {"op": "add", "path": "/a/1", "value": 2}, '{"a":[1,2,3]}'),
        ('{"a":[1]}', {"op": "add", "path": "/a/-", "value": [2]}, '{"a":[1,[2]]}'),
        ('{"a":1}', {"op": "add", "path": "", "value": {}}, "{}"),
        ('{"a":1,"b":2}', {"op": "remove", "path": "/a"}, '{"b":2}'),
        ('{"a":[1,2]}', {"op": "remove", "path": "/a/0"}, '{"a":[2]}'),
        ('{"a":1}', {"op": "replace", "path": "/a", "value": "x"}, '{"a":"x"}'),
        ('{"a":{"x":1},"b":{}}', {"op": "move", "from": "/a/x", "path": "/b/y"},
         '{"a":{},"b":{"y":1}}'),
        ('{"a":[1,2,3]}', {"op": "move", "from": "/a/0", "path": "/a/2"}, '{"a":[2,3,1]}'),
        ('{"a":1}', {"op": "copy", "from": "/a", "path": "/b"}, '{"a":1,"b":1}'),
        ('{"a/b":1,"~":2}', {"op": "remove", "path": "/a~1b"}, '{"~":2}'),
        ('{"~":2}', {"op": "test", "path": "/~0", "value": 2}, '{"~":2}'),
        ('{"a":1.50}', {"op": "test", "path": "/a", "value": 1.5}, '{"a":1.50}'),
    ],
)  # fmt: skip
def test_an_operation_does_what_the_rfc_says(document, operation, expected):
    assert patched(document, operation) == expected


def test_numbers_keep_their_text():
    document = '{"a":1.00,"b":[100000000000000000000000.10,1e2],"c":true}'

    assert patched(document, {"op": "remove", "path": "/c"}) == document.replace(',"c":true', "")


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "test", "path": "/a", "value": "1"},
        {"op": "remove", "path": "/b"},
        {"op": "replace", "path": "/b", "value": 1},
        {"op": "add", "path": "/b/c", "value": 1},
        {"op": "add", "path": "/l/3", "value": 1},
        {"op": "remove", "path": "/l/01"},
        {"op": "move", "from": "/o", "path": "/o/p"},
    ],
)
def test_what_cannot_be_done_is_unprocessable(operation):
    with pytest.raises(Unprocessable):
        patched('{"a":1,"l":[1],"o":{"p":1}}', operation)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "spam", "path": "/a"},
        {"path": "/a"},
        {"op": "add", "path": "/a"},
        {"op": "add", "path": "a", "value": 1},
        {"op": "move", "path": "/a"},
    ],
)
def test_what_is_no_patch_is_malformed(operation):
    with pytest.raises(Malformed):
        patched('{"a":1}', operation)


def test_a_failing_operation_names_its_place_and_leaves_the_document_alone():
    tree = json_patch.tree(b'{"a":1}')
    patch = json_patch.tree(b'[{"op":"remove","path":"/a"},{"op":"remove","path":"/a"}]')

    with pytest.raises(Unprocessable) as caught:
        json_patch.apply(tree, patch)

    assert caught.value.at == "$[1]"
    assert json_patch.text(tree) == b'{"a":1}'


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(JSON_VALUES, JSON_VALUES)
def test_replacing_the_whole_document_gives_the_value(document, value):
    assert (
        json.loads(patched(json.dumps(document), {"op": "replace", "path": "", "value": value}))
        == value
    )


@given(JSON_VALUES, st.lists(JSON_VALUES, max_size=4))
def test_nothing_makes_it_crash(document, patch):
    tree = json_patch.tree(json.dumps(document).encode())
    with contextlib.suppress(Malformed, Unprocessable):
        json_patch.apply(tree, json_patch.tree(json.dumps(patch).encode()))
