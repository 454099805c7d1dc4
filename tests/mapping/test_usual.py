"""What functions made over take for granted, and structs taken apart (usual.py, structs.py)."""

from __future__ import annotations

import ast
from types import SimpleNamespace

import msgspec
import pytest

from app.mapping.structs import make_late, open_structs, same_fields
from app.mapping.usual import Usual


class Part(msgspec.Struct):
    id = None

    raw: str
    up: object
    near: object
    comp: int = 0


def function(body):
    lines = [line.removeprefix("        ") for line in body.strip("\n").splitlines()]
    return ast.parse("def f(node, run):\n" + "\n".join(f"    {line}" for line in lines))


def message(*fields, near=()):
    """Return the node of a segment, and the run of its message."""
    marks = SimpleNamespace(again="~")
    doc = SimpleNamespace(message=SimpleNamespace(fields=[list(near), []], marks=marks))
    return SimpleNamespace(fields=list(fields), near={"OBR": 0}), SimpleNamespace(doc=doc)


ASKED = """
        every = run.doc.message.fields
        own_OBX = node.fields
        v1 = own_OBX[2] if len(own_OBX) > 2 else None
        v2 = own_OBX[1] if len(own_OBX) > 1 else None
        seldom_3 = v2 and run.doc.message.marks.again in v2
        v4 = []
        if v1:
            fields_OBR = every[node.near.get('OBR', -1)]
            v4 = [fields_OBR[1] if len(fields_OBR) > 1 else None, seldom_3]
        return v4
"""
GRANTED = {
    "as long as the segments of the first one, and nothing repeats": (
        message("OBX", "a", "b", near=("OBR", "c")),
        """
        every = run.doc.message.fields
        own_OBX = node.fields
        if len(own_OBX) <= 2 or (own_OBX[1] and run.doc.message.marks.again in own_OBX[1]):
            return other(node, run)
        v1 = own_OBX[2]
        v2 = own_OBX[1]
        seldom_3 = False
        v4 = []
        if v1:
            fields_OBR = every[node.near.get('OBR', -1)]
            v4 = [fields_OBR[1] if len(fields_OBR) > 1 else None, seldom_3]
        return v4
        """,
    ),
    "what repeats in the first one is asked each time": (
        message("OBX", "a~b", "c"),
        """
        every = run.doc.message.fields
        own_OBX = node.fields
        if len(own_OBX) <= 2:
            return other(node, run)
        v1 = own_OBX[2]
        v2 = own_OBX[1]
        seldom_3 = v2 and run.doc.message.marks.again in v2
        v4 = []
        if v1:
            fields_OBR = every[node.near.get('OBR', -1)]
            v4 = [fields_OBR[1] if len(fields_OBR) > 1 else None, seldom_3]
        return v4
        """,
    ),
    "nothing is known of fields that the first one has not": (message("OBX"), ASKED),
}


@pytest.mark.parametrize("case", GRANTED)
def test_the_usual_is_tested_once(case):
    (node, run), wanted = GRANTED[case]
    module = function(ASKED)

    usual = Usual(module.body[0], node, run)
    usual.take_for_granted()
    usual.reach("other")

    assert ast.unparse(ast.fix_missing_locations(module)) == ast.unparse(function(wanted))


@pytest.mark.parametrize("fields", [("OBX", "a", "b"), ("OBX", "a~b", "c"), ("OBX", "a")])
def test_what_is_not_usual_is_given_to_the_other_function(fields):
    module = function(ASKED)
    usual = Usual(module.body[0], *message("OBX", "x", "y", near=("OBR", "z")))
    usual.take_for_granted()
    usual.reach("other")
    space = {"other": lambda node, run: "asked"}
    exec(compile(ast.fix_missing_locations(module), "usual", "exec"), space)  # noqa: S102 - our own text

    found = space["f"](*message(*fields, near=("OBR", "z")))

    assert found == (["z", False] if fields == ("OBX", "a", "b") else "asked")


STRUCTS = {
    "attributes are what the struct is made of": (
        """
        v1 = node.text
        v2 = None
        if v1:
            v2 = g1(v1, node, node.near)
        v3 = None
        if v2 is not None:
            if v2.raw == 'x' and v2.id is None and not v2.comp:
                v3 = g2(v2, run)
        return v3
        """,
        """
        v1 = node.text
        v2 = None
        v3 = None
        if v1:
            pass
            if v1 == 'x' and None is None and not 0:
                v3 = g2(g1(v1, node, node.near), run)
        return v3
        """,
    ),
    "a struct that is always needed is made at once": (
        """
        v1 = node.text
        v2 = g1(v1, node, node.near)
        v3 = g2(v2, run)
        return v3
        """,
        """
        v1 = node.text
        v2 = g1(v1, node, node.near)
        v3 = g2(v2, run)
        return v3
        """,
    ),
    "a variable that may be something else stays": (
        """
        v1 = node.text
        v2 = g3(node, run)
        if v1:
            v2 = g1(v1, node, node.near)
        return v2.raw
        """,
        """
        v1 = node.text
        v2 = g3(node, run)
        if v1:
            v2 = g1(v1, node, node.near)
        return v2.raw
        """,
    ),
    "the nearest segment of its own id is the segment itself": (
        """
        own_OBX = node.fields
        fields_OBX_3 = every[node.near.get('OBX', -1)]
        v1 = fields_OBX_3[5]
        v2 = every[node.near.get('OBX', -1)]
        return v1 or v2
        """,
        """
        own_OBX = node.fields
        pass
        v1 = own_OBX[5]
        v2 = own_OBX
        return v1 or v2
        """,
    ),
}


@pytest.mark.parametrize("case", STRUCTS)
def test_a_struct_is_made_for_others_only(case):
    given, wanted = STRUCTS[case]
    module, bound = function(given), {"g1": Part}

    open_structs(module.body[0], bound)
    same_fields(module.body[0])
    # What simplify.py would take out, in between.
    body = module.body[0].body
    if "v2 = None" in map(ast.unparse, body) and "is None" in wanted:
        body[1:2] = []
    make_late(module.body[0], bound)

    shown = ast.unparse(ast.fix_missing_locations(module))
    assert shown == ast.unparse(function(wanted)).replace("    v2 = None\n", "")
