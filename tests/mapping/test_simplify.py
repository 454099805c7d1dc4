"""What a generated function says in a roundabout way is said once (simplify.py)."""

from __future__ import annotations

import ast

import pytest

from app.mapping.simplify import simplify

CASES = {
    "a value has one name": (
        """
        v1 = g1(node, run)
        v2 = v1
        v3 = v2
        if v3:
            v3.append(v1)
        return v3
        """,
        """
        v1 = g1(node, run)
        if v1:
            v1.append(v1)
        return v1
        """,
    ),
    "but not when one of them becomes something else": (
        """
        v1 = g1(node, run)
        v2 = v1
        if v2 is None:
            v1 = g2(node, run)
        return [v1, v2]
        """,
        """
        v1 = g1(node, run)
        v2 = v1
        if v2 is None:
            v1 = g2(node, run)
        return [v1, v2]
        """,
    ),
    "a field is taken once": (
        """
        own_OBX = node.fields
        v1 = own_OBX[5] if len(own_OBX) > 5 else None
        if v1:
            v1 = g1(v1, node, run)
        else:
            v1 = None
        v2 = own_OBX[5] if len(own_OBX) > 5 else None
        if v2:
            v2 = g1(v2, node, run)
        else:
            v2 = None
        return [v1, v2]
        """,
        """
        own_OBX = node.fields
        v1 = own_OBX[5] if len(own_OBX) > 5 else None
        if v1:
            v1 = g1(v1, node, run)
        else:
            v1 = None
        return [v1, v1]
        """,
    ),
    "a field taken where that is not certain is taken again": (
        """
        own_OBX = node.fields
        if run.flag:
            v1 = own_OBX[5] if len(own_OBX) > 5 else None
            g1(v1, v1)
        v2 = own_OBX[5] if len(own_OBX) > 5 else None
        return g2(v2, v2)
        """,
        """
        own_OBX = node.fields
        if run.flag:
            v1 = own_OBX[5] if len(own_OBX) > 5 else None
            g1(v1, v1)
        v2 = own_OBX[5] if len(own_OBX) > 5 else None
        return g2(v2, v2)
        """,
    ),
    "nobody reads it": (
        """
        v1 = None
        v1 = g1(node, run)
        v2 = []
        v3 = g2(node, run)
        return v1
        """,
        """
        v1 = g1(node, run)
        v3 = g2(node, run)
        return v1
        """,
    ),
    "a loop reads what it set the last time": (
        """
        v1 = None
        for v2 in node.kids:
            g1(v1, v2)
            v1 = v2
        return None
        """,
        """
        v1 = None
        for v2 in node.kids:
            g1(v1, v2)
            v1 = v2
        return None
        """,
    ),
    "calls stay in their order": (
        """
        v1 = g1(node, run)
        return [g2(node, run), v1]
        """,
        """
        v1 = g1(node, run)
        return [g2(node, run), v1]
        """,
    ),
    "only one of two ways sets something": (
        """
        v1 = g1(node, run)
        if v1:
            v2 = []
        else:
            v3 = g2(node, run)
        return v1
        """,
        """
        v1 = g1(node, run)
        if not v1:
            v3 = g2(node, run)
        return v1
        """,
    ),
}


def function(body):
    lines = [line.removeprefix("        ") for line in body.strip("\n").splitlines()]
    return "def f(node, run):\n" + "\n".join(f"    {line}" for line in lines)


@pytest.mark.parametrize("case", CASES)
def test_fewer_statements_say_the_same(case):
    given, wanted = CASES[case]
    module = ast.parse(function(given))

    simplify(module.body[0])

    assert ast.unparse(module) == ast.unparse(ast.parse(function(wanted)))
