"""Generated functions made over for one kind of message: what never applies there is gone.

Messages of one sender look alike: the same event, the same fields filled. Much of a function that
writer.py generates asks for what such messages never have. Here its text is read again with what
all messages of a kind have in common taken as known (`Facts`): tests that are decided then, values
that cannot be there and loops over nothing fall away. What is left gives the same result, because
every step is one of ordinary constant folding over the few statements that the writer knows.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.mapping.simplify import simplify, walk

# The variables that the writer calls the fields of a segment, and the tests of filled fields; the
# number that inlining gives its variables may follow.
_FIELDS = re.compile(r"(?:own|fields)_(\w{3})(?:_\d+)?")
_TESTS = re.compile(r"p(?:_\d+)?")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is the same in all messages of a kind.

    present: `Run.present`. absent: fields ("OBX-18") that hold nothing. names: what is asked of the
    message as a whole, by name. made: the rules that may make something.
    """

    present: int
    absent: Container[str]
    names: Mapping[str, Any]
    made: Container[str]


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a variable.

    A constant, a list or object that is empty yet, one that is not (it counts as true), a truth
    value, or no more than that it is not None.
    """

    kind: str  # constant | empty | full | flag | something
    value: Any = None  # of a constant; of what is empty: which display made it


_SOMETHING = _Known("something")
_FULL = _Known("full")
_FLAG = _Known("flag")
_NOTHING = _Known("constant", None)
Env = dict[str, _Known]


def specialised(
    text: str | ast.Module,
    facts: Facts,
    bound: Mapping[str, Any],
    renamed: Callable[[str], str],
    steady: Container[str] = (),
    *,
    roughly: bool = False,
) -> ast.Module:
    """Return the function in `text`, as the writer wrote it, for messages of which `facts` hold.

    bound: the globals of the function. renamed: gives the name to call in place of a global one.
    steady: the globals that are functions whose result depends on nothing but the arguments.
    roughly: more is to be done to it.
    """
    module = ast.parse(text) if isinstance(text, str) else text
    function = module.body[0]
    if not isinstance(function, ast.FunctionDef):
        raise TypeError("not a generated function")
    function.name = renamed(function.name)
    function.body = _Folding(facts, bound, renamed, steady).block(function.body, {})
    if roughly:
        return module
    simplify(function)
    return ast.fix_missing_locations(module)


def constant_of(module: ast.Module) -> Any:
    """Return what a function always gives; None when it is no constant."""
    function = module.body[0]
    if isinstance(function, ast.FunctionDef) and isinstance(function.body[0], ast.Return):
        value = function.body[0].value
        if isinstance(value, ast.Constant):
            return value.value
    return None


class _Folding:
    """Goes through statements in the order they are executed, with what is known at each."""

    def __init__(
        self,
        facts: Facts,
        bound: Mapping[str, Any],
        renamed: Callable[[str], str],
        steady: Container[str],
    ) -> None:
        self._facts = facts
        self._bound = bound
        self._renamed = renamed
        self._steady = steady
        self._displays = 0

    # --- statements ---

    def block(self, body: Iterable[ast.stmt], env: Env) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        for statement in body:
            out += self._statement(statement, env)
            if out and isinstance(out[-1], ast.Return):
                break
        return out

    def _statement(self, node: ast.stmt, env: Env) -> list[ast.stmt]:
        if isinstance(node, ast.Assign):
            return self._assign(node, env)
        if isinstance(node, ast.If):
            return self._if(node, env)
        if isinstance(node, ast.For):
            return self._for(node, env)
        if isinstance(node, ast.AugAssign):
            node.value, known = self._value(node.value, env)
            if known is not None and known.kind == "empty":
                return []
            self._changed(node.target, env, _SOMETHING)
        elif isinstance(node, ast.Expr):
            node.value, _ = self._value(node.value, env)
            if isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
                method = node.value.func
                self._changed(method.value, env, _FULL if method.attr == "append" else _SOMETHING)
        elif isinstance(node, ast.Return) and node.value is not None:
            node.value, _ = self._value(node.value, env)
        elif isinstance(node, ast.Pass):
            return []
        return [node]

    def _assign(self, node: ast.Assign, env: Env) -> list[ast.stmt]:
        target = node.targets[0]
        if isinstance(target, ast.Name) and _TESTS.fullmatch(target.id):
            shapes = _shapes_of(node.value, self._bound)
            if shapes is not None:
                env[target.id] = _Known("constant", shapes.seen(self._facts.present))
                return []
        node.value, known = self._value(node.value, env)
        if (
            isinstance(target, ast.Name)
            and len(node.targets) == 1
            and _stays(env, target.id, known)
        ):
            return []
        for target in node.targets:
            if isinstance(target, ast.Name):
                if known is None and _FIELDS.fullmatch(target.id):
                    known = _SOMETHING  # a segment that is not there has an empty list of them
                _learn(env, target.id, known)
            elif isinstance(target, ast.Tuple):
                for name in target.elts:
                    if isinstance(name, ast.Name):
                        _learn(env, name.id, None)
            else:
                if isinstance(target, ast.Subscript):
                    target.slice, _ = self._value(target.slice, env)
                    self._changed(target.value, env, _FULL)
        return [node]

    def _if(self, node: ast.If, env: Env) -> list[ast.stmt]:
        node.test, known = self._test(node.test, env)
        holds = _truth(known)
        if holds is not None:
            return self.block(node.body if holds else node.orelse, env)
        other = dict(env)
        _narrow(node.test, env, True)
        _narrow(node.test, other, False)
        node.body = self.block(node.body, env)
        node.orelse = self.block(node.orelse, other)
        _join(env, other)
        if not node.body:
            if not node.orelse:
                return []  # tests do nothing but look
            node.test = ast.UnaryOp(ast.Not(), node.test)
            node.body, node.orelse = node.orelse, []
        return [node]

    def _for(self, node: ast.For, env: Env) -> list[ast.stmt]:
        node.iter, known = self._value(node.iter, env)
        if _truth(known) is False:
            return []
        for name in list(_touched(node)):
            self._changed(ast.Name(name), env, _SOMETHING)
            env.pop(name, None)
        before = dict(env)
        node.body = self.block(node.body, env) or [ast.Pass()]
        env.clear()
        env.update(before)
        return [node]

    def _changed(self, target: ast.expr, env: Env, now: _Known) -> None:
        """Note that a list or object is no longer what it was, under all its names."""
        if not isinstance(target, ast.Name):
            return
        known = env.get(target.id)
        if known is None or known.kind != "empty":
            return
        for name, other in env.items():
            if other == known:
                env[name] = now

    # --- expressions ---

    def _value(self, node: ast.expr, env: Env) -> tuple[ast.expr, _Known | None]:
        """Return the expression made simpler, and what is known of its value."""
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is not None:
            found: tuple[ast.expr, _Known | None] = method(node, env)
            return found
        for name, inner in ast.iter_fields(node):
            if isinstance(inner, ast.expr):
                setattr(node, name, self._value(inner, env)[0])
            elif isinstance(inner, list):
                items = [self._value(x, env)[0] if isinstance(x, ast.expr) else x for x in inner]
                setattr(node, name, items)
        return node, None

    def _test(self, node: ast.expr, env: Env) -> tuple[ast.expr, _Known | None]:
        """Return a test, whose value is of no interest beyond whether it holds."""
        value, known = self._value(node, env)
        if not isinstance(value, ast.BoolOp) or not isinstance(value.values[-1], ast.Constant):
            return value, known
        if bool(value.values[-1].value) is isinstance(value.op, ast.And):  # it decides nothing
            del value.values[-1]
        elif not any(isinstance(inner, ast.Call) for inner in walk(value)):
            return self._constant(ast.Constant(isinstance(value.op, ast.Or)), env)
        return (value, known) if len(value.values) > 1 else (value.values[0], None)

    def _constant(self, node: ast.Constant, _: Env) -> tuple[ast.expr, _Known | None]:
        return node, _Known("constant", node.value)

    def _name(self, node: ast.Name, env: Env) -> tuple[ast.expr, _Known | None]:
        known = env.get(node.id)
        if known is not None and known.kind == "constant":
            return ast.Constant(known.value), known
        return node, known

    def _list(self, node: ast.List, env: Env) -> tuple[ast.expr, _Known | None]:
        node.elts = [self._value(inner, env)[0] for inner in node.elts]
        return node, _FULL if node.elts else self._empty()

    def _dict(self, node: ast.Dict, env: Env) -> tuple[ast.expr, _Known | None]:
        node.values = [self._value(inner, env)[0] for inner in node.values]
        return node, _FULL if node.keys else self._empty()

    def _empty(self) -> _Known:
        self._displays += 1
        return _Known("empty", self._displays)

    def _joinedstr(self, node: ast.JoinedStr, env: Env) -> tuple[ast.expr, _Known | None]:
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                part.value, _ = self._value(part.value, env)
        return node, _SOMETHING

    def _call(self, node: ast.Call, env: Env) -> tuple[ast.expr, _Known | None]:
        node.args = [self._value(inner, env)[0] for inner in node.args]
        if isinstance(node.func, ast.Name):
            if node.func.id == "str" and isinstance(node.args[0], ast.Constant):
                known = _Known("constant", str(node.args[0].value))
                return ast.Constant(known.value), known
            if node.func.id in self._steady:
                return self._steadily(node, node.func.id)
            node.func.id = self._renamed(node.func.id)
        return node, None

    def _steadily(self, node: ast.Call, name: str) -> tuple[ast.expr, _Known | None]:
        """Call a function that gives the same for the same now, if all it is given is known."""
        values = [given.value for given in node.args if isinstance(given, ast.Constant)]
        if len(values) < len(node.args):
            return node, None
        found = self._bound[name](*values)
        if found is None or isinstance(found, (str, bool, int)):
            known = _Known("constant", found)
            return ast.Constant(found), known
        return node, _FULL if found else None

    def _subscript(self, node: ast.Subscript, env: Env) -> tuple[ast.expr, _Known | None]:
        if isinstance(node.value, ast.Name) and isinstance(node.slice, ast.Constant):
            name = str(node.slice.value)
            if node.value.id == "names" and name in self._facts.names:
                known = _Known("constant", self._facts.names[name])
                return ast.Constant(known.value), known
        node.value, _ = self._value(node.value, env)
        node.slice, _ = self._value(node.slice, env)
        return node, None

    def _binop(self, node: ast.BinOp, env: Env) -> tuple[ast.expr, _Known | None]:
        node.left, left = self._value(node.left, env)
        node.right, right = self._value(node.right, env)
        both = left is not None and right is not None and left.kind == right.kind == "constant"
        if both and left and right and isinstance(node.op, ast.BitAnd):
            return self._constant(ast.Constant(left.value & right.value), env)
        return node, None

    def _unaryop(self, node: ast.UnaryOp, env: Env) -> tuple[ast.expr, _Known | None]:
        node.operand, known = self._value(node.operand, env)
        holds = _truth(known)
        if isinstance(node.op, ast.Not):
            if holds is not None:
                return self._constant(ast.Constant(not holds), env)
            return node, _FLAG
        return node, None

    def _boolop(self, node: ast.BoolOp, env: Env) -> tuple[ast.expr, _Known | None]:
        """Fold `and` and `or`: what decides ends it, what cannot decide falls away."""
        decides = isinstance(node.op, ast.Or)
        kept: list[ast.expr] = []
        known: _Known | None = None
        for inner in node.values:
            value, known = self._value(inner, env)
            holds = _truth(known)
            last = inner is node.values[-1]
            if holds is None or last or holds is decides:
                kept.append(value)
            if holds is decides:
                break
        if len(kept) == 1:
            return kept[0], known
        node.values = kept
        return node, None

    def _ifexp(self, node: ast.IfExp, env: Env) -> tuple[ast.expr, _Known | None]:
        field = _field_of(node)
        if field is not None and field in self._facts.absent:
            return ast.Constant(None), _NOTHING
        node.test, known = self._test(node.test, env)
        holds = _truth(known)
        if holds is not None:
            return self._value(node.body if holds else node.orelse, env)
        node.body, _ = self._value(node.body, env)
        node.orelse, _ = self._value(node.orelse, env)
        return node, None

    def _compare(self, node: ast.Compare, env: Env) -> tuple[ast.expr, _Known | None]:
        operator, right = node.ops[0], node.comparators[0]
        if isinstance(operator, ast.In) and isinstance(right, ast.Name) and right.id == "made":
            if isinstance(node.left, ast.Constant) and node.left.value not in self._facts.made:
                return self._constant(ast.Constant(False), env)
            return node, _FLAG
        node.left, one = self._value(node.left, env)
        node.comparators[0], other = self._value(right, env)
        held = _compared(operator, one, other)
        if held is None and isinstance(operator, ast.In) and isinstance(right, ast.Name):
            among = self._bound.get(right.id)
            if isinstance(node.left, ast.Constant) and isinstance(among, frozenset):
                held = node.left.value in among
        if held is not None:
            return self._constant(ast.Constant(held), env)
        return node, _FLAG


def _touched(node: ast.AST) -> Iterator[str]:
    """Yield the names of what a statement may set or change."""
    for inner in walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            yield inner.id
        elif isinstance(inner, (ast.Subscript, ast.Attribute)) and isinstance(
            inner.value, ast.Name
        ):
            yield inner.value.id


def _compared(operator: ast.cmpop, one: _Known | None, other: _Known | None) -> bool | None:
    if one is None or other is None:
        return None
    if isinstance(operator, (ast.Is, ast.IsNot)) and other == _NOTHING:
        return (one == _NOTHING) is isinstance(operator, ast.Is)
    if isinstance(operator, ast.Eq) and other.kind == "empty" and one.kind != "something":
        return one.kind == "empty"
    if one.kind == other.kind == "constant":
        if isinstance(operator, ast.Eq):
            return bool(one.value == other.value)
        if isinstance(operator, ast.NotEq):
            return bool(one.value != other.value)
    return None


def _truth(known: _Known | None) -> bool | None:
    """Return whether a value counts as true, None when that is not known."""
    if known is None or known.kind in ("something", "flag"):
        return None
    return known.kind == "full" or (known.kind == "constant" and bool(known.value))


def _narrow(test: ast.expr, env: Env, held: bool) -> None:
    """Learn from a test that it held, or did not."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        _narrow(test.operand, env, not held)
    elif isinstance(test, ast.BoolOp):
        if held is isinstance(test.op, ast.And):  # then all of them did, or none
            for part in test.values:
                _narrow(part, env, held)
    elif isinstance(test, ast.Name):
        known = env.get(test.id)
        if held and (known is None or known.kind == "something"):
            env[test.id] = _FULL
        elif known is not None and known.kind == "flag":
            env[test.id] = _Known("constant", held)
    elif isinstance(test, ast.Compare) and isinstance(test.left, ast.Name):
        right, operator = test.comparators[0], test.ops[0]
        if isinstance(right, ast.Constant) and right.value is None:
            name = test.left.id
            if isinstance(operator, ast.Is) is held:
                env[name] = _NOTHING
            elif name not in env:
                env[name] = _SOMETHING


def _stays(env: Env, name: str, known: _Known | None) -> bool:
    """Say whether a variable holds the constant already that it is set to."""
    before = env.get(name)
    return (
        before is not None
        and before == known
        and before.kind == "constant"
        and type(before.value) is type(known.value)
    )


def _learn(env: Env, name: str, known: _Known | None) -> None:
    if known is None:
        env.pop(name, None)
    else:
        env[name] = known


def _join(env: Env, other: Env) -> None:
    """Keep what is known in both ways to get here."""
    for name in list(env):
        one, two = env[name], other.get(name)
        if two is not None and one == two and type(one.value) is type(two.value):
            continue
        if two is None or _NOTHING in (one, two):
            del env[name]
        elif _is_flag(one) and _is_flag(two):
            env[name] = _FLAG
        else:
            env[name] = _SOMETHING


def _is_flag(known: _Known) -> bool:
    return known.kind == "flag" or isinstance(known.value, bool)


def _field_of(node: ast.IfExp) -> str | None:
    """Return the field ("OBX-18") that `own_OBX[18] if len(own_OBX) > 18 else None` looks at."""
    body = node.body
    if not (isinstance(body, ast.Subscript) and isinstance(body.value, ast.Name)):
        return None
    found = _FIELDS.fullmatch(body.value.id)
    if found is None or not isinstance(body.slice, ast.Constant):
        return None
    return f"{found[1]}-{body.slice.value!s}"


def _shapes_of(node: ast.expr, bound: Mapping[str, Any]) -> Any:
    """Return what `g7.get(run.present)` asks for the tests of a function, None for other calls."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        of = node.func.value
        if isinstance(of, ast.Name):
            found = bound.get(of.id)
            return found if hasattr(found, "seen") else None
    return None
