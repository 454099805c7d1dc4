"""Generated functions that stand in place of their calls (inline.py)."""

from __future__ import annotations

import ast

import pytest

from app.mapping.inline import Inliner

PART = """
def part(node, run):
    memo = run.memo
    parts = node.parts
    v1 = parts[0]
    return v1
"""
FIELDS = """
def fields(node, run):
    own_OBX = node.fields
    v1 = own_OBX[3]
    return v1 or None
"""
AGAIN = "def again(node, run):\n v1 = again(node, run)\n return v1"
TEXTS = {"part": PART, "fields": FIELDS, "again": AGAIN, "long": PART + " #" * 9000}

CASES = {
    "variables become its own, what all share goes to the head": (
        """
        v1 = g1(node, run)
        v2 = part(v1, run)
        return v2
        """,
        """
        memo = run.memo
        v1 = g1(node, run)
        parts_1 = v1.parts
        v1_1 = parts_1[0]
        v2 = v1_1
        return v2
        """,
    ),
    "at the same node the fields are the same": (
        """
        own_OBX = node.fields
        v1 = fields(node, run)
        return v1
        """,
        """
        own_OBX = node.fields
        v1_1 = own_OBX[3]
        v1 = v1_1 or None
        return v1
        """,
    ),
    "a function that calls itself is put in once": (
        """
        v1 = again(node, run)
        return v1
        """,
        """
        v1_1 = again(node, run)
        v1 = v1_1
        return v1
        """,
    ),
    "what is long stays alone": (
        """
        v1 = long(node, run)
        return v1
        """,
        """
        v1 = long(node, run)
        return v1
        """,
    ),
    "of many cases only the first": (
        """
        if g1 == 1:
            v1 = fields(node, run)
        elif g1 == 2:
            v1 = fields(node, run)
        elif g1 == 3:
            v1 = fields(node, run)
        elif g1 == 4:
            v1 = fields(node, run)
        return v1
        """,
        """
        own_OBX = node.fields
        if g1 == 1:
            v1_1 = own_OBX[3]
            v1 = v1_1 or None
        elif g1 == 2:
            v1 = fields(node, run)
        elif g1 == 3:
            v1 = fields(node, run)
        elif g1 == 4:
            v1 = fields(node, run)
        return v1
        """,
    ),
}


def function(body):
    lines = [line.removeprefix("        ") for line in body.strip("\n").splitlines()]
    return "def f(node, run):\n" + "\n".join(f"    {line}" for line in lines)


@pytest.mark.parametrize("case", CASES)
def test_a_function_stands_in_place_of_its_call(case):
    given, wanted = CASES[case]
    module = ast.parse(function(given))

    Inliner(TEXTS.get).put_into(module)

    ast.fix_missing_locations(module)
    assert ast.unparse(module) == ast.unparse(ast.parse(function(wanted)))
