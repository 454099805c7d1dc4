"""Structs that a generated function makes for itself, taken apart.

`OBX-5 | OBX-value` makes a place (`Part(...)`) for the field, and what the map says of it asks the
place for its text and for the segment around it. Where both stand in one function, these are at
hand: the place is made in the rare cases that give it to somebody else.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from app.mapping.inline import head_of
from app.mapping.simplify import Renaming, assigns, blocks, loads, name_of, stores, walk


def open_structs(function: ast.FunctionDef, bound: Mapping[str, Any]) -> None:
    """Take what a struct is made of in place of its attributes: `Part(raw, ...).raw` is `raw`.

    That holds for variables which hold nothing else (None aside), and for arguments which stay what
    they are.
    """
    stored = Counter(stores(function))
    made: dict[str, ast.Call] = {}
    other: set[str] = set()
    for assign in assigns(function):
        name = name_of(assign)
        if name is None:
            other.update(stores(assign))
            continue
        value = assign.value
        if isinstance(value, ast.Constant) and value.value is None:
            continue
        if name in made or not (isinstance(value, ast.Call) and _is_struct(value, bound, stored)):
            other.add(name)
        else:
            made[name] = value
    known = {name: call for name, call in made.items() if name not in other}
    loops = {name for node in walk(function) if isinstance(node, ast.For) for name in stores(node)}
    for name in loops & known.keys():
        del known[name]
    if known:
        _Opening(known, bound).visit(function)
        for block in list(blocks(function.body)):
            _thread(block, known)


def _is_struct(call: ast.Call, bound: Mapping[str, Any], stored: Counter[str]) -> bool:
    if not isinstance(call.func, ast.Name) or call.keywords:
        return False
    made = bound.get(call.func.id)
    return (
        isinstance(made, type)
        and hasattr(made, "__struct_fields__")
        and all(
            isinstance(given, ast.Constant)
            or (isinstance(given, ast.Name) and stored[given.id] < 2)
            or (
                isinstance(given, ast.Attribute)
                and isinstance(given.value, ast.Name)
                and given.value.id == "node"
            )
            for given in call.args
        )
    )


class _Opening(ast.NodeTransformer):
    def __init__(self, known: Mapping[str, ast.Call], bound: Mapping[str, Any]) -> None:
        self._known = known
        self._bound = bound

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        if not isinstance(node.value, ast.Name) or node.value.id not in self._known:
            return node
        call = self._known[node.value.id]
        assert isinstance(call.func, ast.Name)
        made = self._bound[call.func.id]
        fields, name = made.__struct_fields__, node.attr
        if name.startswith("_"):
            return node
        if name not in fields:
            of_all = vars(made).get(name, node)
            return ast.Constant(None) if of_all is None else node
        at = fields.index(name)
        if at < len(call.args):
            given: ast.expr = deepcopy(call.args[at])
            return given
        default = made.__struct_defaults__[at - len(fields)]
        return ast.Constant(default) if default is None or isinstance(default, int) else node


def _thread(block: list[ast.stmt], known: Mapping[str, ast.Call]) -> None:
    """Go on where a struct is made, in place of asking behind it whether it was.

    `if a: v = Part(...)` and then `if v is not None: ...` are one.
    """
    for at, made in enumerate(block):
        name = _made_in(made, known)
        if name is None:
            continue
        behind = at + 1
        while behind < len(block) and _is_constant(block[behind]):
            behind += 1
        if behind == len(block):
            continue
        asked = block[behind]
        if isinstance(asked, ast.If) and not asked.orelse:
            if ast.unparse(asked.test) != f"{name} is not None":
                continue
            assert isinstance(made, ast.If)
            between = block[at + 1 : behind]
            if set(loads(made)) & {one for s in between for one in stores(s)}:
                continue
            made.body += asked.body
            block[at : behind + 1] = [*between, made]
            return


def _made_in(statement: ast.stmt, known: Mapping[str, ast.Call]) -> str | None:
    if not isinstance(statement, ast.If) or statement.orelse or len(statement.body) != 1:
        return None
    inner = statement.body[0]
    if not isinstance(inner, ast.Assign) or isinstance(inner.value, ast.Constant):
        return None
    name = name_of(inner)
    return name if name in known else None


def _is_constant(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)


def make_late(function: ast.FunctionDef, bound: Mapping[str, Any]) -> None:
    """Make a struct where it is given to somebody, if that happens in some cases only."""
    stored = Counter(stores(function))
    for block in list(blocks(function.body)):
        for at in range(len(block) - 1, -1, -1):
            statement = block[at]
            if not isinstance(statement, ast.Assign):
                continue
            name, value = name_of(statement), statement.value
            if name is None or not isinstance(value, ast.Call):
                continue
            if not _is_struct(value, bound, stored) or stored[name] != 1:
                continue
            if any(name in _at_once(one) for one in block[at + 1 :]):
                continue
            block[at] = ast.Pass()
            Renaming({name: value}).visit(function)


def _at_once(statement: ast.stmt) -> set[str]:
    """Return the names that a statement reads whatever is the case."""
    if isinstance(statement, ast.If):
        return set(loads(statement.test))
    return set(loads(statement))


def same_fields(function: ast.FunctionDef) -> None:
    """Take the fields of the function's own segment for those of the segment near it, itself."""
    heads = [name for statement in function.body if (name := head_of(statement)) is not None]
    own = {name[4:] for name in heads if name.startswith("own_")}
    names: dict[str, ast.expr] = {}
    for block in list(blocks(function.body)):
        for statement in block[:]:
            if not isinstance(statement, ast.Assign):
                continue
            for id_ in own:
                if not isinstance(statement.value, ast.Subscript) or (
                    ast.unparse(statement.value) != f"every[node.near.get({id_!r}, -1)]"
                ):
                    continue
                statement.value = ast.Name(f"own_{id_}", ast.Load())
                name = name_of(statement)
                if name is not None and re.fullmatch(rf"fields_{id_}(?:_\d+)?", name):
                    names[name] = statement.value
                    block[block.index(statement)] = ast.Pass()
    if names:
        Renaming(names).visit(function)
