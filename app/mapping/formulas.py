"""Formulas and conditions of mapping files, compiled (expression.py has parsed them)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from app.errors import Invalid
from app.mapping import expression as ex
from app.mapping import forms
from app.mapping.code import (
    HERE,
    MENTIONS,
    NONE,
    NOTHING,
    Code,
    Keep,
    Value,
    applied,
    called,
    const_code,
    either,
    mapped,
    of_access,
    union,
)
from app.mapping.functions import FUNCTIONS, no_pattern, unfit
from app.mapping.library import Library, Located
from app.mapping.mentions import reference_up, references_down
from app.mapping.near import meant
from app.mapping.places import Place, Problems
from app.mapping.source import Source
from app.mapping.tables import STEPS, WITH_DEFAULT, Step
from app.mapping.types import Checker
from app.mapping.writer import Program, form_of

_STEP_TYPES = {"coding": "Coding", "translate": "CodeableConcept", "display": "string"}

# The compiled map or mention of a name, for formulas that use it.
PartOf = Callable[[str], Value]


class Formulas:
    """Compiles formulas with the names that a library and its feed know."""

    def __init__(
        self,
        library: Library,
        source: Source,
        program: Program,
        problems: Problems,
        *,
        trace: bool,
        checker: Checker | None = None,
        part_of: PartOf | None = None,
    ) -> None:
        self.paths: set[str] = set()  # all that were asked for
        self.fields: set[str] = set()  # that these look at
        self.referred: set[str] = set()  # rules that `ref` asks for
        self._library = library
        self._source = source
        self._program = program
        self._problems = problems
        self._trace = trace
        self._checker = checker
        self._part_of = part_of
        self._open: set[str] = set()
        self._steps: dict[tuple[str, str], Step] = {}
        self._marks: dict[str, dict[object, object]] = {}  # by map or mention
        self._rule_types = {r.name: str(r.body.get("resource", "")) for r in library.rules}
        self._anchors = {r.name: str(r.body.get("each", "")).split() for r in library.rules}

    def formula(self, text: Any, here: Place, at: str) -> Code:
        """Compile a value formula; a text that begins with `=` is a constant."""
        if not isinstance(text, str):
            return const_code(text)
        if text.startswith("="):
            return const_code(text[1:])
        try:
            return self._code(ex.value(text), here)
        except Invalid as exc:
            self._problems.add(str(exc), at)
            return HERE  # of which nothing more is said

    def condition(self, text: str, here: Place, at: str) -> Value:
        """Compile a condition: a value that holds or not."""
        try:
            return self._test(ex.condition(text), here)
        except Invalid as exc:
            self._problems.add(str(exc), at)
            return NOTHING

    def tests(self, text: str, here: Place, at: str) -> list[Value]:
        """Compile a condition as the parts that all have to hold."""
        try:
            tree = ex.condition(text)
            parts = tree.conditions if isinstance(tree, ex.All) else (tree,)
            return [self._test(part, here) for part in parts]
        except Invalid as exc:
            self._problems.add(str(exc), at)
            return []

    def check(self, code: Code, here: Place, at: str) -> None:
        """Hold what a formula gives against the element it fills."""
        if self._checker and here.expected is not None:
            type_ = code.type or ("string" if code.text else None)
            for problem in self._checker.value(here.expected, type_, code.target):
                self._problems.add(problem, at)
            if code.table is not None:
                for problem, row in self._checker.rows(here.expected, code.table):
                    self._problems.add(problem, row)
            for const in code.consts:
                self.check_const(const, here, at)

    def check_const(self, value: Any, here: Place, at: str) -> None:
        if self._checker and here.expected is not None and not isinstance(value, (dict, list)):
            for problem in self._checker.constant(here.expected, value):
                self._problems.add(problem, at)

    def _code(self, tree: ex.Value, here: Place) -> Code:
        if isinstance(tree, ex.Const):
            return const_code(tree.value)
        if isinstance(tree, ex.Path):
            if tree.text in self._library.constants:
                return const_code(self._library.constants[tree.text])
            if tree.text in self._library.formulas:
                return self._named_formula(tree.text, here)
            self.paths.add(tree.text)
            access = self._source.path(tree.text, here.anchor, self._trace)
            if access.reads:
                self.fields.add(access.reads)
            return of_access(access)
        if isinstance(tree, ex.Either):
            return either([self._code(option, here) for option in tree.options])
        return self._call(tree, here)

    def _named_formula(self, name: str, here: Place) -> Code:
        if name in self._open:
            raise Invalid(f"formula `{name}` uses itself")
        self._open.add(name)
        try:
            return self._code(ex.value(str(self._library.formulas[name])), here)
        except Invalid as exc:
            inside = f" (in the formula `{name}`)"
            raise Invalid(f"{exc}{'' if ' (in the formula ' in str(exc) else inside}") from exc
        finally:
            self._open.discard(name)

    def _call(self, tree: ex.Call, here: Place) -> Code:
        given = self._code(tree.given, here) if tree.given is not None else None
        name = tree.name
        if name in STEPS:
            return self._table_step(tree, given, here)
        if name in ("ref", "refs"):
            return self._reference(tree, here)
        if name == "default" and given is not None:
            return either([given, self._code(tree.args[0], here)])
        part = self._library.maps.get(name) or self._library.mentions.get(name)
        if part is not None and self._part_of is not None:
            return self._applied(self._part_of(name), part, given or HERE, here)
        function = self._source.functions.get(name) or FUNCTIONS.get(name)
        if function is None:
            raise Invalid(f"there is no function, map or mention `{name}`{self._meant(name)}")
        if not function.args[0] <= len(tree.args) <= function.args[1]:
            raise Invalid(f"`{name}` takes {_span(function.args)} arguments")
        if given is None and function.takes not in ("none", "node"):
            raise Invalid(f"`{name}` needs something left of it: `value | {name}`")
        _needs_type(name, given, function.of)
        args = [self._code(arg, here) for arg in tree.args]
        for problem in unfit(function, [arg.const for arg in args]):
            raise Invalid(f"`{name}` {problem}")
        return called(function, given or HERE, args, name, self._program)

    def _meant(self, name: str) -> str:
        known = (FUNCTIONS, self._source.functions, STEPS, self._library.maps)
        return meant(name, [one for names in (*known, self._library.mentions) for one in names])

    def _applied(self, value: Value, part: Located, given: Code, here: Place) -> Code:
        mention = "resource" in part.body
        reads = union((value.reads, MENTIONS)) if mention else value.reads
        keep: Keep | None = None
        if reads is not None and reads <= MENTIONS and not self._trace:
            new = given.reads is not None and given.reads & (here.varying or NONE)
            keep = partial(forms.kept, program=self._program)
            if reads or new:
                keep = partial(forms.once, marks=self._marks.setdefault(part.name, {}))
        return replace(
            applied(given, value.form, self._trace, keep),
            type="Reference" if mention else part.body.get("gives"),
            target=str(part.body["resource"]) if mention else None,
            reads=union((given.reads, reads)),
        )

    def _table_step(self, tree: ex.Call, given: Code | None, here: Place) -> Code:
        name = tree.name
        if given is None or not tree.args or not isinstance(tree.args[0], (ex.Path, ex.Const)):
            raise Invalid(f"`{name}` needs a value left of it and the name of a table")
        _needs_type(name, given, "CodeableConcept" if name == "translate" else None)
        first = tree.args[0]
        table_name = first.text if isinstance(first, ex.Path) else str(first.value)
        table = self._library.tables.get(table_name)
        if table is None:
            raise Invalid(
                f"there is no table `{table_name}`{meant(table_name, self._library.tables)}"
            )
        other = self._code(tree.args[1], here) if len(tree.args) > 1 else None
        step = self._steps.get((name, table_name))
        if step is None:
            step = self._steps[name, table_name] = STEPS[name](table)
        code = mapped(
            given,
            step,
            other=other if name in WITH_DEFAULT else None,
            by=step if name == "coding" else None,
        )
        kept = table if name == "table" else None
        return replace(code, type=_STEP_TYPES.get(name), target=None, table=kept)

    def _reference(self, tree: ex.Call, here: Place) -> Code:
        names = tuple(
            arg.text if isinstance(arg, ex.Path) else str(arg.value)
            for arg in tree.args
            if isinstance(arg, (ex.Path, ex.Const))
        )
        if not names:
            raise Invalid(f"`{tree.name}` needs the name of a rule")
        for name in names:
            if name != "*" and name not in self._rule_types:
                raise Invalid(f"there is no rule `{name}`{meant(name, self._rule_types)}")
        target = self._rule_types.get(names[0]) if len(names) == 1 else None
        if tree.name == "ref":
            self.referred.update(names)
            one = forms.reference(names, reference_up(names), "None")
            many = forms.as_list(one)
        else:
            find = references_down(names)
            many = form_of(find) if "*" in names else forms.reference(names, find, "[]")
            one = forms.first_of(many)
        if self._trace:
            said = f"{tree.name}({', '.join(names)})"
            one, many = forms.told(one, said), forms.told(many, said)
        around = tree.name == "ref" and here.fills is not None and not self._trace
        around = around and all(self._lies_around(name, here) for name in names)
        return Code(one, many, one, many, type="Reference", target=target, around=around)

    def _lies_around(self, rule: str, here: Place) -> bool:
        """Say whether nothing of a rule stands at a node or inside, or is what is being filled."""
        anchors, others = set((here.anchor or "").split()), self._anchors[rule]
        return (
            self._rule_types[rule] != here.fills
            and anchors.isdisjoint(others)
            and not any(self._source.may_hold(one, other) for one in anchors for other in others)
        )

    def _test(self, tree: ex.Condition, here: Place) -> Value:
        if isinstance(tree, ex.Valued):
            code = self._code(tree.value, here)
            if code.const is not None:
                return Value(forms.constant(bool(code.const)), reads=NONE, whole=True)
            return Value(forms.valued(code.one), reads=code.reads, whole=code.whole)
        if isinstance(tree, ex.Not):
            inner = self._test(tree.condition, here)
            return Value(forms.negated(inner.form), reads=inner.reads, whole=inner.whole)
        if isinstance(tree, (ex.All, ex.Any_)):
            tests = [self._test(part, here) for part in tree.conditions]
            return all_of(tests) if isinstance(tree, ex.All) else _any_of(tests)
        if isinstance(tree, ex.In):
            return self._in(tree, here)
        left, right = self._code(tree.left, here), self._code(tree.right, here)
        if tree.operator == "matches" and (problem := no_pattern(right.const)):
            raise Invalid(f"`matches`: {problem}")
        form = forms.compare(tree.operator, left.one, right.one, right.const, left.text)
        reads = union((left.reads, right.reads))
        return Value(form, reads=reads, whole=left.whole and right.whole)

    def _in(self, tree: ex.In, here: Place) -> Value:
        codes = [self._code(option, here) for option in tree.options]
        code = self._code(tree.value, here)
        if any(option.const is None for option in codes):
            raise Invalid("`in` needs constants")
        wanted = frozenset(str(option.const) for option in codes)
        return Value(forms.among(code.one, wanted, code.text), reads=code.reads, whole=code.whole)


def _needs_type(name: str, given: Code | None, wanted: str | None) -> None:
    """Raise Invalid for a value that is certainly not of the type that a function works on."""
    if given is None or wanted is None:
        return
    found = given.type or ("string" if given.text or given.const is not None else None)
    if found not in (None, wanted):
        made = {"CodeableConcept": "CWE", "Identifier": "CX"}.get(wanted, wanted)
        raise Invalid(f"`{name}` works on {wanted}, not {found}: as of `VALUE | {made}`")


def all_of(tests: list[Value]) -> Value:
    return _joined(tests, True)


def _any_of(tests: list[Value]) -> Value:
    return _joined(tests, False)


def _joined(tests: list[Value], all_: bool) -> Value:
    if len(tests) == 1:
        return tests[0]
    return Value(
        forms.joined([test.form for test in tests], all_),
        reads=union(test.reads for test in tests),
        whole=all(test.whole for test in tests),
    )


def _span(args: tuple[int, int]) -> str:
    return str(args[0]) if args[0] == args[1] else f"{args[0]} to {args[1]}"
