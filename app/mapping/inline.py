"""Generated functions put into those that call them (writer.py, specialise.py).

A data-type map, a part that lay too deep, a case of a `$switch`: each is a function (node, run)
with one `return` at its end. In a function that is made over they stand in place of their calls, so
that what is known there goes on inside them. Memories keep their calls: what they compute is rare.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

from app.mapping.simplify import walk

_CALLS_DEEP = 6
_LONGEST = 12_000  # characters of all that is put into a function
_LONG = 5_000  # characters of a function that stays alone
_MOST_CASES = 4  # of a choice; with more only the first, the usual one, is put in
_FIELDS = re.compile(r"(?:own|fields)_\w{3}")


class Inliner:
    """Puts functions into one function.

    text_of: the source of a generated function; None for names that are something else.
    """

    def __init__(self, text_of: Callable[[str], str | None]) -> None:
        self._text_of = text_of
        self._room = _LONGEST
        self._count = 0

    def put_into(self, module: ast.Module) -> None:
        """Put others into the function of a module."""
        function = module.body[0]
        assert isinstance(function, ast.FunctionDef)
        self._head: dict[str, ast.stmt] = {
            name: statement for statement in function.body if (name := head_of(statement))
        }
        before = set(self._head)
        function.body = self._block(function.body, (function.name,))
        function.body[:0] = [one for name, one in self._head.items() if name not in before]

    def _block(self, block: list[ast.stmt], inside: tuple[str, ...]) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        for statement in block:
            if isinstance(statement, (ast.If, ast.For)):
                statement.body = self._block(statement.body, inside)
                if _cases(statement) < _MOST_CASES:
                    statement.orelse = self._block(statement.orelse, inside)
            called = _called(statement)
            text = None
            if called is not None and called not in inside and len(inside) < _CALLS_DEEP:
                text = self._text_of(called)
            if called is None or text is None or len(text) > min(self._room, _LONG):
                out.append(statement)
                continue
            assert isinstance(statement, ast.Assign)
            assert isinstance(statement.value, ast.Call)
            node = statement.value.args[0]
            assert isinstance(node, ast.Name)
            self._room -= len(text)
            body = self._renamed(text, node.id)
            last = body.pop()
            assert isinstance(last, ast.Return)
            assert last.value is not None
            out += self._block(body, (*inside, called))
            out.append(ast.Assign(statement.targets, last.value))
        return out

    def _renamed(self, text: str, node: str) -> list[ast.stmt]:
        """Return the statements of a function asked at `node`, with variables of its own."""
        self._count += 1
        suffix = f"_{self._count}"
        function = ast.parse(text).body[0]
        assert isinstance(function, ast.FunctionDef)
        own = {
            inner.id
            for inner in walk(function)
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
        }
        own -= {name for s in function.body if (name := head_of(s)) and not _FIELDS.fullmatch(name)}
        if node == "node":  # at the same segment fields are the same
            own = {name for name in own if not _FIELDS.fullmatch(name)}
        body = []
        for statement in function.body:
            name = head_of(statement)
            if name is not None and name not in own:
                self._head.setdefault(name, statement)
            else:
                body.append(statement)
        for statement in body:
            for inner in walk(statement):
                if isinstance(inner, ast.Name):
                    if inner.id == "node":
                        inner.id = node
                    elif inner.id in own:
                        inner.id += suffix
        return body


def _called(statement: ast.stmt) -> str | None:
    """Return the function that `v = function(node, run)` calls."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return None
    call = statement.value
    if not isinstance(statement.targets[0], ast.Name) or not isinstance(call, ast.Call):
        return None
    if not isinstance(call.func, ast.Name) or len(call.args) != 2:
        return None
    node, run = call.args
    if isinstance(node, ast.Name) and isinstance(run, ast.Name) and run.id == "run":
        return call.func.id
    return None


def _cases(statement: ast.stmt) -> int:
    """Return how many alternatives a choice has."""
    count = 0
    while isinstance(statement, ast.If):
        count += 1
        if len(statement.orelse) != 1:
            break
        statement = statement.orelse[0]
    return count


def head_of(statement: ast.stmt) -> str | None:
    """Return the name that a line at the head of a function sets for all of it."""
    if not isinstance(statement, ast.Assign):
        return None
    target = statement.targets[0]
    if not isinstance(target, ast.Name):
        return None
    of_message = _is_of_run(statement.value)
    return target.id if of_message or _is_fields_head(target.id, statement.value) else None


def _is_of_run(value: ast.expr) -> bool:
    """Say whether a value is one of the message's own: `run.memo`, `run.doc.names`."""
    if not isinstance(value, ast.Attribute):
        return False
    while isinstance(value, ast.Attribute):
        value = value.value
    return isinstance(value, ast.Name) and value.id == "run"


def _is_fields_head(name: str, value: ast.expr) -> bool:
    if not _FIELDS.fullmatch(name):
        return False
    if isinstance(value, ast.Constant):
        return value.value is None
    return isinstance(value, ast.Attribute) and value.attr == "fields"
