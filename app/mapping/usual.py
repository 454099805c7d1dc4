"""What is usual in messages of one kind, tested once at the head of a function made over.

A form asks for a field as `own_OBX[5] if len(own_OBX) > 5 else None`, however often it was there
before, and again whether it repeats. In messages of one kind, segments are nearly always as long as
the one that a function was made over for, and what did not repeat there hardly ever does. So the
function begins with

    if len(own_OBX) <= 14 or own_OBX[5] and run.doc.message.delimiters.repetition in own_OBX[5]:
        return fill_observation_17_of_3_else(node, run)

and takes all that for granted behind. The function that it calls else takes nothing for granted.
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

# The fields of the segment that a function is about, and of those near it.
_FIELDS = re.compile(r"(?:own|fields)_\w{3}")
# Names that the writer gives to tests which seldom hold (`Writer.seldom`).
_SELDOM = re.compile(r"seldom_\d+(?:_\d+)?")


class Usual:
    """What is usual of the segments that one call of a function sees."""

    def __init__(self, function: ast.FunctionDef, node: Any, run: Any) -> None:
        self._function = function
        self._space = {"node": node, "run": run, "__builtins__": {"len": len}}
        self._seldom: list[tuple[str, int, ast.expr]] = []  # fields, number, the test
        self._heads: dict[str, ast.stmt] = {}
        for statement in function.body:
            name = head_of(statement)
            if name is not None:
                self._heads[name] = deepcopy(statement)
                self._see(statement)
        self._seen: dict[str, list[str]] = {}
        self._texts: dict[str, ast.expr] = {}
        several: set[str] = set()
        for assign in assigns(function):
            name = name_of(assign)
            if name is None or not _FIELDS.fullmatch(name) or name in several:
                continue
            known = self._texts.setdefault(name, deepcopy(assign.value))
            elsewhere = not self._space.keys() >= set(loads(assign.value))
            if elsewhere or ast.dump(known) != ast.dump(assign.value):
                several.add(name)
            elif name not in self._seen:
                self._see(assign)
                self._seen[name] = self._space[name]
        for name in several:
            del self._texts[name]
            self._seen.pop(name, None)

    def _see(self, statement: ast.stmt) -> None:
        module = ast.fix_missing_locations(ast.Module([deepcopy(statement)], []))
        exec(compile(module, "<usual>", "exec"), self._space)  # noqa: S102 - our own text

    # --- before it is made simpler ---

    def take_for_granted(self) -> bool:
        """Set the tests that seldom hold, and do not here, to false: return whether there are."""
        raws, stored = {}, Counter(stores(self._function))
        for assign in assigns(self._function):
            found, name = _field_of(assign.value), name_of(assign)
            if found is not None and name is not None and stored[name] == 1:
                raws[name] = found
        for assign in assigns(self._function):
            name = name_of(assign)
            if name is None or not _SELDOM.fullmatch(name):
                continue
            about = [raws[one] for one in set(loads(assign.value)) & raws.keys()]
            if len(about) != 1:
                continue
            of, number = about[0]
            if number >= len(self._seen.get(of, ())):
                continue
            test = Renaming(dict.fromkeys(raws, _item(of, number))).visit(deepcopy(assign.value))
            if not self._holds(test):
                self._seldom.append((of, number, test))
                assign.value = ast.Constant(False)
        return bool(self._seldom)

    def _holds(self, test: ast.expr) -> bool:
        expression = ast.fix_missing_locations(ast.Expression(deepcopy(test)))
        return bool(eval(compile(expression, "<usual>", "eval"), self._space))  # noqa: S307 - our own text

    # --- when nothing else is to be done ---

    def reach(self, otherwise: str) -> bool:
        """Take fields as what is there, where the head of the function has tested it.

        otherwise: the function to call when something is not as usual. Returns whether it is used.
        """
        asked = Counter(of for of, _, _ in self._seldom)
        most = {of: max(n for o, n, _ in self._seldom if o == of) for of in asked}
        looks = [node for node in walk(self._function) if isinstance(node, ast.IfExp)]
        for look in looks:
            found = _field_of(look)
            if found is not None and found[1] < len(self._seen.get(found[0], ())):
                asked[found[0]] += 1
                most[found[0]] = max(found[1], most.get(found[0], 0))
        tested = {of for of, _, _ in self._seldom}
        often = {of: most[of] for of, count in asked.items() if count > 1 or of in tested}
        if not often:
            return False
        _Reaching(often).visit(self._function)
        self._put_head(often, otherwise)
        return True

    def _put_head(self, most: dict[str, int], otherwise: str) -> None:
        """Put the fields and the tests of them in front of all that needs them."""
        body = self._function.body
        for block in list(blocks(body)):
            left = [one for one in block if name_of(one) not in most]
            if len(left) < len(block):
                block[:] = left or [ast.Pass()]
        at = 0
        while at < len(body) and head_of(body[at]) is not None:
            at += 1
        tests: list[ast.expr] = [
            ast.parse(f"len({of}) <= {number}", mode="eval").body for of, number in most.items()
        ]
        known: set[str] = set()
        for _, _, test in self._seldom:
            if ast.dump(test) not in known:
                known.add(ast.dump(test))
                tests.append(test)
        test = tests[0] if len(tests) == 1 else ast.BoolOp(ast.Or(), tests)
        call = ast.parse(f"{otherwise}(node, run)", mode="eval").body
        body[at:at] = [
            *(ast.Assign([ast.Name(of, ast.Store())], self._texts[of]) for of in most),
            ast.If(test, [ast.Return(call)], []),
        ]
        needed = {name for of in most for name in loads(self._texts[of])} - {"node", "run"}
        for name in needed - {head_of(one) for one in body[:at]}:
            body.insert(0, self._heads[name])


class _Reaching(ast.NodeTransformer):
    def __init__(self, most: Mapping[str, int]) -> None:
        self._most = most

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        found = _field_of(node)
        if found is not None and found[1] <= self._most.get(found[0], -1):
            return node.body
        return node


def _field_of(node: ast.expr) -> tuple[str, int] | None:
    """Return (fields, number) of `own_OBX[5] if len(own_OBX) > 5 else None`."""
    if not isinstance(node, ast.IfExp) or not isinstance(node.body, ast.Subscript):
        return None
    of, at = node.body.value, node.body.slice
    if not isinstance(of, ast.Name) or not isinstance(at, ast.Constant):
        return None
    number = at.value
    if not isinstance(number, int) or not _FIELDS.fullmatch(of.id):
        return None
    return (of.id, number) if ast.unparse(node.test) == f"len({of.id}) > {number}" else None


def _item(of: str, number: int) -> ast.expr:
    return ast.parse(f"{of}[{number}]", mode="eval").body
