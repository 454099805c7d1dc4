"""Fewer statements for the same result: what a generated function says in a roundabout way.

Forms write their statements without looking at those of others, so that a function is full of
values that are named twice, looked up again, or looked up for nobody. `simplify` takes these out.
It knows the few statements that writer.py writes: assignments, `if`, `for` and one `return`; a
variable is set before it is read wherever it is read.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy

_ROUNDS = 2  # what a third finds is not worth its time
# The variables for the fields of a segment: they hold these, or None before they were looked up.
_FIELDS = re.compile(r"(?:own|fields)_\w{3}(?:_\d+)?")
_LOOKS = frozenset(("len", "str"))  # calls that do nothing but look
_LOOKING_METHODS = frozenset(("get", "isalnum"))


def simplify(function: ast.FunctionDef) -> None:
    """Change the body of a generated function to one with fewer statements."""
    for _ in range(_ROUNDS):
        changed = _Common(function).replaced()
        changed |= _Copies(function).replaced()
        changed |= _joined_blocks(function)
        before = sum(map(len, blocks(function.body)))
        function.body = _live(function.body, set())
        if not changed and sum(map(len, blocks(function.body))) == before:
            break


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all inside it, in no order: `ast.walk` in a third of the time."""
    stack = [node]
    while stack:
        node = stack.pop()
        yield node
        kind = node.__class__
        if kind is ast.Name or kind is ast.Constant:
            continue
        for name in node._fields:
            inner = getattr(node, name, None)
            if inner.__class__ is list:
                stack += [one for one in inner if isinstance(one, ast.AST)]
            elif isinstance(inner, ast.AST):
                stack.append(inner)


def blocks(block: list[ast.stmt]) -> Iterator[list[ast.stmt]]:
    """Yield every list of statements, the outer ones first."""
    yield block
    for statement in block:
        if isinstance(statement, (ast.If, ast.For)):
            yield from blocks(statement.body)
            yield from blocks(statement.orelse)


def loads(node: ast.AST) -> Iterator[str]:
    for inner in walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
            yield inner.id


def stores(node: ast.AST) -> Iterator[str]:
    for inner in walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            yield inner.id


def assigns(function: ast.FunctionDef) -> Iterator[ast.Assign]:
    for block in blocks(function.body):
        for statement in block:
            if isinstance(statement, ast.Assign):
                yield statement


def name_of(statement: ast.stmt) -> str | None:
    """Return the variable that a statement sets, if it sets one."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return None
    target = statement.targets[0]
    return target.id if isinstance(target, ast.Name) else None


class Renaming(ast.NodeTransformer):
    """Puts expressions in place of names."""

    def __init__(self, names: Mapping[str, ast.expr]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        found = self._names.get(node.id)
        return node if found is None else deepcopy(found)


def _only_looks(node: ast.AST) -> bool:
    """Say whether an expression does nothing but look at values."""
    for inner in walk(node):
        if isinstance(inner, ast.Call):
            called = inner.func
            if isinstance(called, ast.Name) and called.id in _LOOKS:
                continue
            if isinstance(called, ast.Attribute) and called.attr in _LOOKING_METHODS:
                continue
            return False
    return True


# --- values that have two names -------------------------------------------------------------------


class _Copies:
    """Replaces `b` by `a` after `b = a`, where both stay what they are from there on."""

    def __init__(self, function: ast.FunctionDef) -> None:
        self._function = function
        self._stores: dict[str, list[int]] = {}
        self._copies: list[tuple[int, ast.Assign, list[ast.stmt]]] = []
        self._count = 0
        self._number(function.body)

    def _number(self, block: list[ast.stmt]) -> None:
        for statement in block:
            self._count += 1
            if isinstance(statement, (ast.If, ast.For)):
                if isinstance(statement, ast.For):
                    self._stored(statement.target)
                self._number(statement.body)
                self._number(statement.orelse)
            else:
                self._stored(statement)
                if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Name):
                    target = statement.targets[0]
                    if len(statement.targets) == 1 and isinstance(target, ast.Name):
                        self._copies.append((self._count, statement, block))

    def _stored(self, node: ast.AST) -> None:
        for name in stores(node):
            self._stores.setdefault(name, []).append(self._count)

    def replaced(self) -> bool:
        names: dict[str, str] = {}
        for at, statement, block in self._copies:
            target, value = statement.targets[0], statement.value
            assert isinstance(target, ast.Name)
            assert isinstance(value, ast.Name)
            once = len(self._stores[target.id]) == 1 and target.id != value.id
            settled = all(store < at for store in self._stores.get(value.id, ()))
            if once and settled and not _FIELDS.fullmatch(target.id):
                names[target.id] = value.id
                block.remove(statement)
                if not block:
                    block.append(ast.Pass())
        for node in walk(self._function) if names else ():
            if isinstance(node, ast.Name):
                while node.id in names:
                    node.id = names[node.id]
        return bool(names)


class _Common:
    """Finds fields that are looked up again: `v = own[5] if ... ` and the `if v:` behind it."""

    def __init__(self, function: ast.FunctionDef) -> None:
        self._function = function
        self._stores = Counter(stores(function))
        self._changed = False

    def replaced(self) -> bool:
        self._block(self._function.body, {})
        return self._changed

    def _block(self, block: list[ast.stmt], known: dict[str, str]) -> None:
        index = 0
        while index < len(block):
            statement = block[index]
            found = self._look(block, index)
            if found is not None:
                name, count, text = found
                before = known.get(text)
                if before is not None:
                    copy = ast.Assign([ast.Name(name, ast.Store())], ast.Name(before, ast.Load()))
                    block[index : index + count] = [ast.copy_location(copy, statement)]
                    self._changed = True
                else:
                    known[text] = name
                    index += count - 1
            elif isinstance(statement, (ast.If, ast.For)):
                self._block(statement.body, dict(known))
                self._block(statement.orelse, dict(known))
            index += 1

    def _look(self, block: list[ast.stmt], index: int) -> tuple[str, int, str] | None:
        """Return the variable that is set, the number of statements for it, and their text."""
        first = block[index]
        if not isinstance(first, ast.Assign) or not isinstance(first.value, ast.IfExp):
            return None
        target = first.targets[0]
        if not isinstance(target, ast.Name) or not _is_field(first.value):
            return None
        name, rest = target.id, block[index + 1] if index + 1 < len(block) else None
        behind = [rest] if isinstance(rest, ast.If) and _is_about(rest, name) else []
        again = sum(stored == name for statement in behind for stored in stores(statement))
        if behind and not again:  # what follows only asks
            behind = []
        if again + 1 != self._stores[name]:
            return None
        text = "\n".join(ast.unparse(statement) for statement in (first, *behind))
        return name, 1 + len(behind), re.sub(rf"\b{name}\b", "_", text)


def _is_field(value: ast.IfExp) -> bool:
    looked = value.body
    if not (isinstance(looked, ast.Subscript) and isinstance(looked.value, ast.Name)):
        return False
    return _FIELDS.fullmatch(looked.value.id) is not None and _only_looks(value)


def _is_about(statement: ast.If, name: str) -> bool:
    """Say whether a statement does nothing but set a variable to what is to be made of it."""
    if not isinstance(statement.test, ast.Name) or statement.test.id != name:
        return False
    for node in walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id != name:
            return False
        if isinstance(node, ast.stmt) and not isinstance(node, (ast.If, ast.Assign)):
            return False
        if isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Name):
            return False
    return True


# --- statements that may be one -------------------------------------------------------------------


def _joined_blocks(function: ast.FunctionDef) -> bool:
    read, stored = Counter(loads(function)), Counter(stores(function))
    changed = False
    for block in list(blocks(function.body)):
        index = 0
        while index + 1 < len(block):
            name = _set_for_one(block[index], read, stored)
            if name is not None and _put_in_place(block[index], block[index + 1], name):
                del block[index]
                changed = True
                index = max(index - 1, 0)
                continue
            index += 1
    return changed


def _set_for_one(statement: ast.stmt, reads: Counter[str], stores: Counter[str]) -> str | None:
    """Return the variable that a statement sets for a single reader."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return None
    target = statement.targets[0]
    if not isinstance(target, ast.Name) or _FIELDS.fullmatch(target.id):
        return None
    single = reads[target.id] == 1 and stores[target.id] == 1
    return target.id if single else None


def _put_in_place(one: ast.stmt, two: ast.stmt, name: str) -> bool:
    """Put the value of a variable where the next statement reads it, if nothing comes between."""
    assert isinstance(one, ast.Assign)
    part = "test" if isinstance(two, ast.If) else "iter" if isinstance(two, ast.For) else "value"
    there = getattr(two, part, None)
    if not isinstance(there, ast.expr) or name not in loads(there):
        return False
    if isinstance(two, ast.AugAssign):
        return False
    if isinstance(there, ast.Name):
        setattr(two, part, one.value)
        return True
    if not _only_looks(one.value) or not (_only_looks(there) or _is_plain(one.value)):
        return False
    setattr(two, part, Renaming({name: one.value}).visit(there))
    return True


def _is_plain(value: ast.expr) -> bool:
    """Say whether a value is the same, whatever is called before it is asked for."""
    return all(
        isinstance(node, (ast.Name, ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.expr_context))
        for node in walk(value)
    ) and not any(isinstance(node, (ast.List, ast.Dict)) for node in walk(value))


# --- values that nobody reads ---------------------------------------------------------------------


def _live(block: list[ast.stmt], live: set[str]) -> list[ast.stmt]:
    """Return a block without what sets variables that are not read any more.

    live: the names that are read behind the block; becomes those that are read from its beginning.
    """
    kept: list[ast.stmt] = []
    for statement in reversed(block):
        if isinstance(statement, ast.If):
            other = set(live)
            statement.body = _live(statement.body, live)
            statement.orelse = _live(statement.orelse, other)
            live |= other
            if not (statement.body or statement.orelse) and _only_looks(statement.test):
                continue
            _without_empty(statement)
            live.update(loads(statement.test))
        elif isinstance(statement, ast.For):
            live.update(loads(statement))
            inside = set(live)
            statement.body = _live(statement.body, inside)
            if not statement.body and _only_looks(statement.iter):
                continue
            statement.body = statement.body or [ast.Pass()]
        elif isinstance(statement, ast.Pass) or _is_dead(statement, live):
            continue
        else:
            if isinstance(statement, ast.Assign):
                live.difference_update(t.id for t in statement.targets if isinstance(t, ast.Name))
            live.update(loads(statement))
            if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
                live.add(statement.target.id)
        kept.append(statement)
    return kept[::-1]


def _without_empty(statement: ast.If) -> None:
    if statement.body:
        return
    if statement.orelse:
        statement.test = ast.UnaryOp(ast.Not(), statement.test)
        statement.body, statement.orelse = statement.orelse, []
    else:
        statement.body = [ast.Pass()]


def _is_dead(statement: ast.stmt, live: set[str]) -> bool:
    if not isinstance(statement, ast.Assign):
        return False
    names = [name for target in statement.targets for name in _names(target)]
    if not names or any(name is None or name in live for name in names):
        return False
    looked_up = all(name is not None and _FIELDS.fullmatch(name) for name in names)
    return looked_up or _only_looks(statement.value)


def _names(target: ast.expr) -> Iterator[str | None]:
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Tuple):
        for inner in target.elts:
            yield from _names(inner)
    else:
        yield None
