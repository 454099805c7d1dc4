"""Python source for a compiled mapping, written as its parts are first called.

What compile.py decides is a tree of *forms*. A form writes the statements that get one value into
the function in the making and returns the name (or literal) that stands for the value there. The
functions of one mapping share a namespace; each is generated at its first call, so that a message
pays for what its kind of message needs and nothing else.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from threading import RLock
from types import MethodType
from typing import Any

from app.mapping.inline import Inliner
from app.mapping.memory import NEW, First, Recalled
from app.mapping.source import Getter, Inline
from app.mapping.specialise import Facts, constant_of, specialised
from app.mapping.structs import make_late, open_structs, same_fields
from app.mapping.usual import Usual

# (the function in the making, the name of the node there) -> what stands for the value
Form = Callable[["Writer", str], str]

# (the name of a function, who is told the one that takes its place) -> what to call until then
MakeOver = Callable[[str, Callable[[Getter], None]], Getter]

_NOT_IN_NAMES = re.compile(r"\W", re.ASCII)
_MOST_SHAPES = 1024  # patterns of filled fields that one function remembers
_SOME = 30  # calls of a function before it is made over, if it is called now and then only
_DEEPEST = 12  # blocks in one function; what lies deeper becomes a function of its own
_MADE = object()  # in Run.memo: a function was made over in this message


class Program:
    """The generated functions of one mapping."""

    def __init__(self) -> None:
        self.namespace: dict[str, Any] = {}
        self._names: dict[object, str] = {}  # of bound values, by identity
        self._steady: set[str] = set()  # of functions that give the same for the same
        self._lock = RLock()  # two threads may meet at a function that is not there yet
        self._functions = 0
        self._memories = 0
        self._forms: dict[str, Form] = {}  # of functions by name
        self._texts: dict[str, str] = {}  # of those that are generated already
        self._kinds = 0

    def bind(self, value: Any, *, steady: bool = False) -> str:
        """Return the global name of a value in the generated code.

        steady: it is a function whose result depends on nothing but the arguments.
        """
        what: object = id(value)
        if isinstance(value, MethodType):  # another object each time it is asked for
            what = id(value.__self__), id(value.__func__)
        with self._lock:
            name = self._names.get(what)
            if name is None:
                name = self._names[what] = f"g{len(self._names)}"
                self.namespace[name] = value  # which also keeps its identity its own
            if steady:
                self._steady.add(name)
            return name

    def function(
        self,
        form: Form,
        about: str = "part",
        installed: Callable[[Getter], None] | None = None,
    ) -> str:
        """Return the name of a function (node, run) that gives what the form gets.

        about: what it is about, for tracebacks and profiles. installed: told the generated
        function at its first call; until then a stand-in is called.
        """

        def stand_in(node: Any, run: Any) -> Any:
            with self._lock:
                made = self.namespace[name]
                if made is stand_in:
                    exec(compile(self.text(name), f"<mapping {name}>", "exec"), self.namespace)  # noqa: S102 - our own text
                    made = self.namespace[name]
                    if installed is not None:
                        installed(made)
            return made(node, run)

        with self._lock:
            self._functions += 1
            name = f"{_NOT_IN_NAMES.sub('_', about)}_{self._functions}"
            self.namespace[name] = stand_in
            self._forms[name] = form
        return name

    def getter(self, form: Form, about: str = "part") -> Getter:
        """Return the form as a function of (node, run) for those who are not generated."""
        return self.caller(self.function(form, about))

    def caller(self, name: str) -> Getter:
        """Return what calls a function, whatever is generated for it."""
        functions = self.namespace
        return lambda node, run: functions[name](node, run)

    def memory(self) -> int:
        """Return the number of a memory in `Run.known`."""
        self._memories += 1
        return self._memories

    def text(self, name: str) -> str:
        """Return the source of a function."""
        with self._lock:
            found = self._texts.get(name)
            if found is None:
                found = self._texts[name] = Writer(self).function(name, self._forms[name])
            return found

    def _in_time(self, name: str, renamed: Callable[[str], str]) -> Getter:
        """Return what calls a function, made over as soon as it was called some times."""
        functions, calls = self.namespace, count()
        taken = name

        def call(node: Any, run: Any) -> Any:
            nonlocal taken
            if taken is name and next(calls) >= _SOME:
                taken = renamed(name)
            return functions[taken](node, run)

        return call

    def _specialised(
        self,
        name: str,
        facts: Facts,
        renamed: Callable[[str], str],
        usual: Callable[[ast.FunctionDef], Usual] | None = None,
        otherwise: str = "",
    ) -> ast.Module:
        """Return a function made over: before others are put into it, and with them.

        usual: gives what may be taken for granted; otherwise: the name of the function that takes
        nothing for granted.
        """
        bound, steady = self.namespace, self._steady
        module = specialised(self.text(name), facts, bound, _same, steady, roughly=True)
        Inliner(self._text_of).put_into(module)
        function = module.body[0]
        assert isinstance(function, ast.FunctionDef)
        if usual is None:
            return specialised(module, facts, bound, renamed, steady)
        granted = usual(function)
        if granted.take_for_granted():
            specialised(module, facts, bound, _same, steady, roughly=True)
        open_structs(function, bound)
        same_fields(function)
        specialised(module, facts, bound, renamed, steady)
        make_late(function, bound)
        granted.reach(otherwise)
        return ast.fix_missing_locations(module)

    def _text_of(self, name: str) -> str | None:
        return self.text(name) if name in self._forms else None

    def decided(self, name: str, facts: Facts) -> Any:
        """Return what a function gives wherever the facts hold; None when that depends."""
        return constant_of(self._specialised(name, facts, lambda name: name))

    def made_over(self, facts: Facts) -> MakeOver:
        """Return what makes functions over for where the facts hold: when they are first called."""
        with self._lock:
            self._kinds += 1
            suffix = f"_of_{self._kinds}"

        def renamed(name: str) -> str:
            new = name + suffix
            if name in self._forms:
                self.namespace.setdefault(new, stand_in(name, None))
                return new
            bound = self.namespace.get(name)
            if not isinstance(bound, (Recalled, First)):
                return name
            if new not in self.namespace:
                self.namespace[new] = bound.by(self._in_time(bound.function, renamed))
            return new

        def stand_in(
            name: str, installed: Callable[[Getter], None] | None, *, usual: bool = True
        ) -> Getter:
            made: list[Getter] = []

            def first(node: Any, run: Any) -> Any:
                with self._lock:
                    # One for each message, so that none has to wait for all.
                    if not made and _MADE not in run.memo:
                        run.memo[_MADE] = True
                        made.append(
                            make(name, partial(Usual, node=node, run=run) if usual else None)
                        )
                        if installed is not None:
                            installed(made[0])
                    function = made[0] if made else self.namespace[name]
                return function(node, run)

            return first

        def make(name: str, usual: Callable[[ast.FunctionDef], Usual] | None) -> Getter:
            new = name + suffix
            otherwise = new + "_else"
            tree = self._specialised(name, facts, renamed, usual, otherwise)
            function = tree.body[0]
            assert isinstance(function, ast.FunctionDef)
            if usual is None:
                function.name = new = otherwise
            else:
                self.namespace[otherwise] = stand_in(name, None, usual=False)
            exec(compile(tree, f"<mapping {new}>", "exec"), self.namespace)  # noqa: S102 - our own text
            getter: Getter = self.namespace[new]
            return getter

        return stand_in


class Writer:
    """One function in the making."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._lines: list[str] = []
        self._head: dict[str, None] = {}
        self._depth = 1
        self._count = 0
        self._masks: dict[int, int] = {}
        self._values: list[dict[Any, str]] = [{}]  # what has been got already, by block

    def function(self, name: str, form: Form) -> str:
        """Return the source of the function that gives what the form gets."""
        result = form(self, "node")
        head = [f"def {name}(node, run):"]
        if self._masks:
            shapes = self.bind(_Shapes(self._masks))
            head += [f" p = {shapes}.get(run.present)", " if p is None:"]
            head.append(f"  p = {shapes}.seen(run.present)")
        head += [f" {line}" for line in self._head]
        return "\n".join([*head, *self._lines, f" return {result}", ""])

    def put(self, line: str) -> None:
        self._lines.append(" " * self._depth + line)

    def set(self, expression: str) -> str:
        """Return a new variable that holds the value of an expression."""
        name = self.new()
        self.put(f"{name} = {expression}")
        return name

    def seldom(self, test: str) -> str:
        """Return a new variable that holds a test which hardly ever holds (usual.py)."""
        self._count += 1
        name = f"seldom_{self._count}"
        self.put(f"{name} = {test}")
        return name

    def new(self) -> str:
        self._count += 1
        return f"v{self._count}"

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.put(head)
        self._depth += 1
        self._values.append({})
        before = len(self._lines)
        yield
        if len(self._lines) == before:
            self.put("pass")
        self._values.pop()
        self._depth -= 1

    def once(self, what: Any, get: Callable[[], str]) -> str:
        """Return what stands for a value, got before in this block or in one around it."""
        for known in self._values:
            if what in known:
                return known[what]
        here = self._values[-1]
        found = here[what] = get()
        return found

    def around(self, node: str, mark: object, make: Callable[[], str]) -> str:
        """Return what is made once for all nodes that have the same node around them."""
        self.head("memo = run.memo")
        # What opens a group of its own may have something around it that others have not.
        shared = f"memo.get({node}.up) or memo.setdefault({node}.up, {{}})"
        memo = f"{{}} if {node}.group is {node} else {shared}"
        if node == "node":
            self.head(f"around = {memo}")
            known = "around"
        else:
            known = self.once(("around", node), lambda: self.set(memo))
        name = self.bind(mark)
        out = self.set(f"{known}.get({name}, {self.bind(NEW)})")
        self.put(f"if {out} is {self.bind(NEW)}: {out} = {known}[{name}] = {make()}")
        return out

    def head(self, line: str) -> None:
        """Put a line at the head of the function, once."""
        self._head[line] = None

    def bind(self, value: Any, *, steady: bool = False) -> str:
        return self.program.bind(value, steady=steady)

    def const(self, value: Any) -> str:
        """Return what stands for a constant."""
        return "None" if value is None else self.bind(value)

    def present(self, bits: int) -> str:
        """Return the test whether one of the fields holds something in this message."""
        mask = self._masks.get(bits)
        if mask is None:
            mask = self._masks[bits] = 1 << len(self._masks)
        return f"p & {mask}"

    def outlined(self, form: Form, node: str) -> str:
        """Return the value of a form that is a function of its own."""
        return self.set(f"{self.program.function(form)}({node}, run)")

    @property
    def deep(self) -> bool:
        """Say whether what follows had better be a function of its own."""
        return self._depth > _DEEPEST


class _Shapes(dict[int, int]):
    """Fields that hold something in a message -> which of a function's tests hold.

    The tests of a function are few, so their bits are small numbers, and quick to look at.
    """

    def __init__(self, masks: dict[int, int]) -> None:
        super().__init__()
        self._masks = masks

    def seen(self, present: int) -> int:
        found = 0
        for bits, mask in self._masks.items():
            if bits & present:
                found |= mask
        if len(self) >= _MOST_SHAPES:
            self.clear()
        self[present] = found
        return found


def _same(name: str) -> str:
    return name


def form_of(getter: Getter) -> Form:
    """Return the form of a getter: what it writes itself, else a call."""
    if isinstance(getter, Inline):
        return getter.write
    return lambda w, node: w.set(f"{w.bind(getter)}({node}, run)")
