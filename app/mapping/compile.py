"""Mapping files to closures: `compile_library` gives what `run` executes.

Every value of a `set` becomes one function of (node, run). What a formula can know beforehand is
decided here: names of maps and functions, constants, whether a path stands for one value or all
repetitions (an array in YAML takes all). An object in which no value of the message arrived is left
out: constants alone make nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.errors import Invalid, Issue
from app.fhir.ids import RECORD, record_key
from app.mapping import expression as ex
from app.mapping.functions import FUNCTIONS, number
from app.mapping.library import Library, Located, Table, place
from app.mapping.run import Entry, Mapping_, Rule, Run, add_missing, name_it
from app.mapping.source import Access, Function, Getter, Source
from app.mapping.types import Checker, Expected
from app.mapping.yamldoc import Block

_MEMO_ENTRIES = 4096
_SPECIAL = ("$each", "$when", "$value", "$first", "$switch", "$use", "$spread", "$needs")
_TABLE_STEPS = ("table", "coding", "translate", "display")


@dataclass(frozen=True, slots=True)
class Code:
    """A compiled formula in the forms of `Access`.

    strong: it brings something of the message (constants alone make no object).
    type: the FHIR type of what it gives, None when that depends.
    targets: resource types a reference may point to.
    """

    one: Getter
    many: Getter
    node: Getter
    nodes: Getter
    strong: bool = True
    type: str | None = None
    const: Any = None
    at: str | None = None
    target: str | None = None
    table: Table | None = None


@dataclass(frozen=True, slots=True)
class Value:
    """A compiled value of an element: a constant, or a function."""

    get: Getter | None
    const: Any = None
    strong: bool = False


_NOTHING = Value(None)


def compile_library(
    library: Library, source: Source, *, check: bool = False, trace: bool = False
) -> Mapping_:
    """Return the library compiled for its feed.

    check: also hold every element against the R4 definitions. trace: the closures tell `run.trace`
    what they do (`--explain`), which costs time.
    Raises Invalid with every problem found, each with file and line.
    """
    compiler = _Compiler(library, source, Checker() if check else None, trace)
    mapping = compiler.mapping()
    if compiler.problems:
        raise Invalid.of(compiler.problems)
    return mapping


def compile_condition(text: str, at: str, source: Source) -> Getter:
    """Compile a condition that stands alone (`for:` of an overlay). Raises Invalid."""
    compiler = _Compiler(Library(source.name), source, None, False)
    found = compiler._condition(text, _Place(at, None, None), at)
    if compiler.problems:
        raise Invalid.of(compiler.problems)
    return found


class _Compiler:
    def __init__(
        self, library: Library, source: Source, checker: Checker | None, trace: bool
    ) -> None:
        self.library = library
        self.source = source
        self.checker = checker
        self.trace = trace
        self.problems: list[Issue] = []
        self.maps: dict[str, Getter] = {}
        self.mentions: dict[str, Getter] = {}
        self.open: set[str] = set()
        self.rule_types = {
            rule.name: str(rule.body.get("resource", "")) for rule in library.rules
        }

    # --- rules -----------------------------------------------------------------------------------

    def mapping(self) -> Mapping_:
        rules = [rule for rule in map(self._rule, self.library.rules) if rule is not None]
        for name in self.library.maps:
            self._map(name)
        for name in self.library.mentions:
            self._mention(name)
        every = None
        if self.library.every is not None:
            found = self.library.every
            expected = self.checker.resource("Basic", found.at) if self.checker else None
            every = self._object(found.body, _Place(found.file, None, expected), whole=True).get
        return Mapping_(rules, every, self.library.files, self.library.digest)

    def _rule(self, located: Located) -> Rule | None:
        body, file = located.body, located.file
        type_, each = body.get("resource"), body.get("each")
        if not isinstance(type_, str) or not isinstance(each, str):
            self._problem("a rule needs `resource` and `each`", located.at)
            return None
        try:
            anchor = self.source.anchor(each)
        except Invalid as exc:
            self._problem(str(exc), place(body, "each", file))
            return None
        expected = self.checker.resource(type_, place(body, "resource", file)) if self.checker else None
        if self.checker and expected is None:
            self._problem(f"R4 has no resource {type_}", place(body, "resource", file))
        here = _Place(file, each, expected)
        fill = self._object(body.get("set") or Block(), here, whole=True)
        self._missing(body, expected, located.at)
        when = body.get("when")
        return Rule(
            name=located.name,
            type=type_,
            anchor=anchor,
            when=None if when is None else self._condition(str(when), here, place(body, "when", file)),
            key=self._key(body.get("key"), here, place(body, "key", file)),
            fill=fill.get or _nothing,
            same=str(body.get("same", "merge")),
            mention=body.get("mention") is True,
            late=body.get("late") is True,
            at=located.at,
            every=body.get("every") is not False,
        )

    def _missing(self, body: Block, expected: Expected | None, at: str) -> None:
        if self.checker and expected is not None:
            given = _names(body.get("set") or Block(), self.library)
            for name in self.checker.missing(expected, given):
                self._problem(f"required element `{name}` is never set", at, "required")

    def _key(self, key: Any, here: _Place, at: str) -> Getter | None:
        if key is None:
            return None
        options = key if isinstance(key, list) else [key]
        getters = [g for g in (self._one_key(option, here, at) for option in options) if g]
        if len(getters) == 1:
            return getters[0]

        def first(node: Any, run: Run) -> Any:
            for get in getters:
                found = get(node, run)
                if found is not None:
                    return found
            return None

        return first

    def _one_key(self, key: Any, here: _Place, at: str) -> Getter | None:
        if not isinstance(key, Block) or not ({"identifier", "record"} & set(key)):
            self._problem("a key is `identifier: formula` or `record: [parts]`", at)
            return None
        when = self._condition(str(key["$when"]), here, at) if "$when" in key else None
        if "identifier" in key:
            get: Getter = _identifier_key(self._formula(str(key["identifier"]), here, at).one)
        else:
            parts = key["record"]
            codes = [
                self._formula(part, here, place(parts, i, here.file))
                for i, part in enumerate(parts if isinstance(parts, list) else [parts])
            ]
            get = _record_key([code.one for code in codes])
        return _guarded(when, get) if when else get

    # --- objects ---------------------------------------------------------------------------------

    def _object(self, block: Block, here: _Place, *, whole: bool = False) -> Value:
        """Compile an object. whole: it exists even when no value arrived (a resource's body)."""
        special = {key: value for key, value in block.items() if key.startswith("$")}
        plain = {key: value for key, value in block.items() if not key.startswith("$")}
        at = here.at(block)
        inner, each = here, None
        if "$each" in special:
            each = self._formula(str(special["$each"]), here, place(block, "$each", here.file))
            inner = here.inside(each.at)
        when = None
        if "$when" in special:
            when = self._condition(str(special["$when"]), inner, place(block, "$when", here.file))
        value = self._content(block, plain, special, inner, at, whole)
        if when is not None:
            value = _when(when, value)
        if each is not None:
            return Value(_each(each, value, self.trace), strong=True)
        return value

    def _content(
        self, block: Block, plain: dict[str, Any], special: dict[str, Any], here: _Place, at: str,
        whole: bool,
    ) -> Value:
        for key in special:
            if key not in _SPECIAL:
                self._problem(f"unknown key `{key}`", place(block, key, here.file))
        if "$value" in special:
            return self._value(special["$value"], here, place(block, "$value", here.file))
        if "$first" in special and not plain:
            return self._first(special["$first"], here, place(block, "$first", here.file))
        parts = self._parts(block, here)
        consts = {name: v.const for name, v in parts if v.get is None and v.const is not None}
        strong = tuple((name, v.get) for name, v in parts if v.get is not None and v.strong)
        weak = tuple((name, v.get) for name, v in parts if v.get is not None and not v.strong)
        if not strong and not weak and not whole:
            return Value(None, consts or None)
        needs = special.get("$needs")
        if needs is not None:
            strong = tuple(sorted(strong, key=lambda part: part[0] != needs))
        get = _builder(strong, weak, {k: v for k, v in consts.items() if k}, whole, needs)
        return Value(get, strong=bool(strong))

    def _parts(self, block: Block, here: _Place) -> list[tuple[str | None, Value]]:
        """Return (element, value) pairs; a name of None spreads an object into this one."""
        out: list[tuple[str | None, Value]] = []
        for key, raw in block.items():
            at = place(block, key, here.file)
            if key == "$use":
                for name in raw if isinstance(raw, list) else [raw]:
                    out.extend(self._use(str(name), here, at))
            elif key == "$first":
                out.append((None, self._first(raw, here, at)))
            elif key == "$spread":
                out.append((None, self._value(raw, here.of(None), at)))
            elif key == "$switch":
                out.append((None, self._switch(raw, here, at)))
            elif not key.startswith("$"):
                out.append(self._element(key, raw, here, at))
        return out

    def _use(self, name: str, here: _Place, at: str) -> list[tuple[str | None, Value]]:
        found = self.library.fragments.get(name)
        if found is None:
            self._problem(f"there is no fragment `{name}`", at)
            return []
        if name in self.open:
            self._problem(f"fragment `{name}` uses itself", at)
            return []
        self.open.add(name)
        try:
            if any(k in found.body for k in ("$when", "$each")):
                return [(None, self._object(found.body, here.in_file(found.file)))]
            return self._parts(found.body, here.in_file(found.file))
        finally:
            self.open.discard(name)

    def _switch(self, raw: Any, here: _Place, at: str) -> Value:
        if not isinstance(raw, Block) or "on" not in raw or not isinstance(raw.get("cases"), Block):
            self._problem("`$switch` needs `on` and `cases`", at)
            return _NOTHING
        on = self._formula(str(raw["on"]), here, place(raw, "on", here.file))
        cases: dict[str, Getter] = {}
        blocks = raw["cases"]
        for names, block in blocks.items():
            value = self._value(block, here, place(blocks, names, here.file))
            for name in names.split():
                cases[name] = value.get or _constant(value.const)
        other = None
        if raw.get("else") is not None:
            value = self._value(raw["else"], here, place(raw, "else", here.file))
            other = value.get or _constant(value.const)
        one = on.one

        def switch(node: Any, run: Run) -> Any:
            get = cases.get(one(node, run), other)
            return None if get is None else get(node, run)

        return Value(switch, strong=True)

    def _first(self, raw: Any, here: _Place, at: str) -> Value:
        if not isinstance(raw, list):
            self._problem("`$first` needs a list", at)
            return _NOTHING
        values = [self._value(item, here, place(raw, i, here.file)) for i, item in enumerate(raw)]
        getters = [value.get or _constant(value.const) for value in values]

        def first(node: Any, run: Run) -> Any:
            for get in getters:
                found = get(node, run)
                if found is not None:
                    return found
            return None

        return Value(first, strong=any(value.strong for value in values))

    def _element(self, key: str, raw: Any, here: _Place, at: str) -> tuple[str | None, Value]:
        name, _, rest = key.partition(".")
        expected = None
        if self.checker and here.expected is not None:
            expected = self.checker.member(here.expected, name)
            if expected is None:
                self._problem(f"{here.expected.path} has no element `{name}`", at)
        inner = here.of(expected)
        if rest:
            block = Block({rest: raw})
            block.line, block.file = 0, here.file
            file, _, line = at.rpartition(":")
            block.file, block.line, block.lines = file, int(line), {rest: int(line)}
            value = self._object(block, inner)
            listed = False
        else:
            listed = isinstance(raw, list)
            value = self._value(raw, inner, at)
        if self.checker and expected is not None and raw is not None:
            for problem in self.checker.cardinality(expected, listed):
                self._problem(problem, at)
        if self.trace and value.get is not None:
            value = Value(_traced(name, at, value.get), strong=value.strong)
        elif self.trace and value.const is not None:
            value = Value(_traced(name, at, _constant(value.const)), strong=False)
        return name, value

    def _value(self, raw: Any, here: _Place, at: str) -> Value:
        if isinstance(raw, Block):
            return self._object(raw, here.in_file(raw.file or here.file))
        if isinstance(raw, list):
            return self._array(raw, here)
        if raw is None:
            return _NOTHING
        if not isinstance(raw, str):
            self._check_const(raw, here, at)
            return Value(None, raw)
        if raw.startswith("="):
            self._check_const(raw[1:], here, at)
            return Value(None, raw[1:])
        code = self._formula(raw, here, at)
        if code.const is not None:
            self._check_const(code.const, here, at)
            return Value(None, code.const)
        if self.checker and here.expected is not None:
            for problem in self.checker.value(here.expected, code.type, code.target, code.table):
                self._problem(problem, at)
        return Value(code.one, strong=code.strong)

    def _array(self, raw: Any, here: _Place) -> Value:
        getters: list[tuple[Getter, bool]] = []
        consts: list[Any] = []
        strong = False
        for index, item in enumerate(raw):
            at = place(raw, index, here.file)
            value, spreads = self._item(item, here, at)
            if value.get is None:
                if value.const is not None:
                    consts.append(value.const)
            else:
                getters.append((value.get, spreads))
                strong = strong or value.strong
        if not getters:
            return Value(None, consts or None)
        if len(getters) == 1 and not consts and getters[0][1]:
            only = getters[0][0]

            def spread(node: Any, run: Run) -> Any:
                return only(node, run) or None

            return Value(spread, strong=strong)

        def array(node: Any, run: Run) -> Any:
            out: list[Any] = []
            for get, spreads in getters:
                found = get(node, run)
                if found is not None:
                    if spreads:
                        out.extend(found)
                    else:
                        out.append(found)
            if not out and not consts:
                return None
            return [*out, *consts]

        return Value(array, strong=strong)

    def _item(self, item: Any, here: _Place, at: str) -> tuple[Value, bool]:
        """Return the value of one array item and whether it is a list to spread."""
        inner = here.item()
        if isinstance(item, Block):
            value = self._object(item, inner.in_file(item.file or here.file))
            return value, "$each" in item and value.get is not None
        if isinstance(item, str) and not item.startswith("="):
            code = self._formula(item, inner, at)
            if code.const is not None:
                self._check_const(code.const, inner, at)
                return Value(None, code.const), False
            if self.checker and inner.expected is not None:
                for problem in self.checker.value(inner.expected, code.type, code.target, code.table):
                    self._problem(problem, at)
            return Value(code.many, strong=code.strong), True
        return self._value(item, inner, at), False

    # --- maps and mentions -----------------------------------------------------------------------

    def _map(self, name: str) -> Getter:
        """Return the compiled data-type map; maps may use each other, and themselves."""
        found = self.maps.get(name)
        if found is not None:
            return found
        located = self.library.maps[name]
        body = located.body
        holder: list[Getter] = [_nothing]
        self.maps[name] = lambda node, run: holder[0](node, run)
        expected = None
        gives = body.get("gives")
        if self.checker and isinstance(gives, str):
            expected = self.checker.datatype(gives)
            if expected is None:
                self._problem(f"R4 has no type {gives}", place(body, "gives", located.file))
        here = _Place(located.file, None, expected)
        at = place(body, "set", located.file)
        value = self._value(body.get("set"), here, at)
        get = value.get or _constant(value.const)
        if "$when" in body:
            get = _guarded(self._condition(str(body["$when"]), here, at), get)
        if body.get("memo") is True and not self.trace:
            get = _memoised(get)
        holder[0] = get
        self.maps[name] = get
        return get

    def _mention(self, name: str) -> Getter:
        found = self.mentions.get(name)
        if found is not None:
            return found
        located = self.library.mentions[name]
        body, file = located.body, located.file
        holder: list[Getter] = [_nothing]
        self.mentions[name] = lambda node, run: holder[0](node, run)
        type_ = str(body.get("resource", ""))
        expected = self.checker.resource(type_, located.at) if self.checker else None
        if self.checker and expected is None:
            self._problem(f"R4 has no resource {type_}", located.at)
        here = _Place(file, None, expected)
        fill = self._object(body.get("set") or Block(), here, whole=True).get or _nothing
        key = self._key(body.get("key"), here, place(body, "key", file)) or _nothing
        display = None
        if "display" in body:
            display = self._formula(str(body["display"]), here, place(body, "display", file)).one
        when = None
        if "$when" in body:
            when = self._condition(str(body["$when"]), here, place(body, "$when", file))
        holder[0] = _mentioner(name, type_, key, fill, display, when)
        self.mentions[name] = holder[0]
        return holder[0]

    # --- formulas --------------------------------------------------------------------------------

    def _formula(self, text: Any, here: _Place, at: str) -> Code:
        """Compile a value formula; a text that begins with `=` is a constant."""
        if not isinstance(text, str):
            return _const(text)
        if text.startswith("="):
            return _const(text[1:])
        try:
            return self._code(ex.value(text), here)
        except Invalid as exc:
            self._problem(str(exc), at)
            return _const("")

    def _condition(self, text: str, here: _Place, at: str) -> Getter:
        try:
            return self._test(ex.condition(text), here)
        except Invalid as exc:
            self._problem(str(exc), at)
            return _nothing

    def _code(self, tree: ex.Value, here: _Place) -> Code:
        if isinstance(tree, ex.Const):
            return _const(tree.value)
        if isinstance(tree, ex.Path):
            if tree.text in self.library.constants:
                return _const(self.library.constants[tree.text])
            if tree.text in self.library.formulas:
                return self._named_formula(tree.text, here)
            found = self.source.path(tree.text, here.anchor, self.trace)
            return _of_access(found)
        if isinstance(tree, ex.Either):
            return _either([self._code(option, here) for option in tree.options])
        return self._call(tree, here)

    def _named_formula(self, name: str, here: _Place) -> Code:
        if name in self.open:
            raise Invalid(f"formula `{name}` uses itself")
        self.open.add(name)
        try:
            return self._code(ex.value(str(self.library.formulas[name])), here)
        finally:
            self.open.discard(name)

    def _call(self, tree: ex.Call, here: _Place) -> Code:
        given = self._code(tree.given, here) if tree.given is not None else None
        name = tree.name
        if name in _TABLE_STEPS:
            return self._table_step(tree, given, here)
        if name in ("ref", "refs"):
            return self._reference(tree)
        if name == "default" and given is not None:
            return _either([given, self._code(tree.args[0], here)])
        given_or_here = given or _of_access(Access(_same, _alone, _same, _alone))
        if name in self.library.maps:
            return self._apply(name, self._map(name), self.library.maps[name], given_or_here)
        if name in self.library.mentions:
            return self._apply(name, self._mention(name), self.library.mentions[name], given_or_here)
        function = self.source.functions.get(name) or FUNCTIONS.get(name)
        if function is None:
            raise Invalid(f"there is no function, map or mention `{name}`")
        if not function.args[0] <= len(tree.args) <= function.args[1]:
            raise Invalid(f"`{name}` takes {_span(function.args)} arguments")
        if given is None and function.takes not in ("none", "node"):
            raise Invalid(f"`{name}` needs something left of it: `value | {name}`")
        args = [self._code(arg, here) for arg in tree.args]
        return _call_code(function, given_or_here, args, self.trace)

    def _apply(self, name: str, get: Getter, part: Located, given: Code) -> Code:
        mention = name in self.library.mentions

        def one(node: Any, run: Run) -> Any:
            found = given.node(node, run)
            return None if found is None else get(found, run)

        if self.trace:

            def many(node: Any, run: Run) -> Any:
                out = []
                for found in given.nodes(node, run):
                    run.trace.push(f"[{len(out)}]", None)
                    value = get(found, run)
                    run.trace.pop(value)
                    if value is not None:
                        out.append(value)
                return out

        else:

            def many(node: Any, run: Run) -> Any:
                return [v for n in given.nodes(node, run) if (v := get(n, run)) is not None]

        gives = "Reference" if mention else part.body.get("gives")
        target = str(part.body.get("resource")) if mention else None
        return Code(one, many, one, many, type=gives, target=target)

    def _table_step(self, tree: ex.Call, given: Code | None, here: _Place) -> Code:
        name = tree.name
        if given is None or not tree.args or not isinstance(tree.args[0], (ex.Path, ex.Const)):
            raise Invalid(f"`{name}` needs a value left of it and the name of a table")
        first = tree.args[0]
        table_name = first.text if isinstance(first, ex.Path) else str(first.value)
        table = self.library.tables.get(table_name)
        if table is None:
            raise Invalid(f"there is no table `{table_name}`")
        other = self._code(tree.args[1], here) if len(tree.args) > 1 else None
        step = _TABLE_FUNCTIONS[name](table, other.one if other else None)
        code = _map_code(given, step)
        types = {"coding": "Coding", "translate": "CodeableConcept", "display": "string"}
        kept = table if name == "table" else None
        return Code(
            code.one, code.many, code.one, code.many, strong=given.strong,
            type=types.get(name), table=kept,
        )

    def _reference(self, tree: ex.Call) -> Code:
        names = [a.text if isinstance(a, ex.Path) else str(a.value) for a in tree.args
                 if isinstance(a, (ex.Path, ex.Const))]
        if not names:
            raise Invalid(f"`{tree.name}` needs the name of a rule")
        for name in names:
            if name != "*" and name not in self.rule_types:
                raise Invalid(f"there is no rule `{name}`")
        target = self.rule_types.get(names[0]) if len(names) == 1 else None
        if tree.name == "ref":
            one = _reference_up(tuple(names))
            return Code(one, _as_list(one), one, _as_list(one), type="Reference", target=target)
        many = _references_down(tuple(names))
        one = _first_of(many)
        return Code(one, many, one, many, type="Reference", target=target)

    def _test(self, tree: ex.Condition, here: _Place) -> Getter:
        if isinstance(tree, ex.Valued):
            code = self._code(tree.value, here)
            if code.const is not None:
                return _constant(bool(code.const))
            one = code.one
            return lambda node, run: one(node, run) is not None
        if isinstance(tree, ex.Not):
            inner = self._test(tree.condition, here)
            return lambda node, run: not inner(node, run)
        if isinstance(tree, ex.All):
            tests = [self._test(part, here) for part in tree.conditions]
            return lambda node, run: all(test(node, run) for test in tests)
        if isinstance(tree, ex.Any_):
            tests = [self._test(part, here) for part in tree.conditions]
            return lambda node, run: any(test(node, run) for test in tests)
        if isinstance(tree, ex.In):
            return self._in(tree, here)
        return _compare(tree.operator, self._code(tree.left, here), self._code(tree.right, here))

    def _in(self, tree: ex.In, here: _Place) -> Getter:
        codes = [self._code(option, here) for option in tree.options]
        one = self._code(tree.value, here).one
        if all(code.const is not None for code in codes):
            wanted = frozenset(str(code.const) for code in codes)

            def among(node: Any, run: Run) -> bool:
                found = one(node, run)
                return found is not None and str(found) in wanted

            return among
        getters = [code.one for code in codes]

        def among_values(node: Any, run: Run) -> bool:
            found = one(node, run)
            return found is not None and any(str(get(node, run)) == str(found) for get in getters)

        return among_values

    def _check_const(self, value: Any, here: _Place, at: str) -> None:
        if self.checker and here.expected is not None:
            for problem in self.checker.constant(here.expected, value):
                self._problem(problem, at)

    def _problem(self, text: str, at: str, code: str = "value") -> None:
        issue = Issue("error", code, text, at)
        if issue not in self.problems:
            self.problems.append(issue)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a formula stands: its file, the anchor its paths start at, the element it fills."""

    file: str
    anchor: str | None
    expected: Expected | None

    def inside(self, anchor: str | None) -> _Place:
        return _Place(self.file, anchor, self.expected)

    def in_file(self, file: str) -> _Place:
        return self if file == self.file else _Place(file, self.anchor, self.expected)

    def of(self, expected: Expected | None) -> _Place:
        return _Place(self.file, self.anchor, expected)

    def item(self) -> _Place:
        return self

    def at(self, block: Block) -> str:
        return f"{block.file or self.file}:{block.line}"


def _names(block: Block, library: Library) -> set[str]:
    """Return the element names that a `set` may give, through `$use`, `$first` and `$switch`."""
    out: set[str] = set()
    for key, value in block.items():
        if key == "$use":
            for name in value if isinstance(value, list) else [value]:
                if name in library.fragments:
                    out |= _names(library.fragments[name].body, library)
        elif key == "$switch" and isinstance(value, Block):
            for case in [*(value.get("cases") or {}).values(), value.get("else")]:
                out |= _names(case, library) if isinstance(case, Block) else set()
        elif key == "$first" and isinstance(value, list):
            for option in value:
                out |= _names(option, library) if isinstance(option, Block) else set()
        elif not key.startswith("$"):
            out.add(key.partition(".")[0])
    return out


# --- closures ------------------------------------------------------------------------------------


def _nothing(_: Any, __: Any) -> Any:
    return None


def _same(node: Any, _: Any) -> Any:
    return node


def _alone(node: Any, _: Any) -> Any:
    return [node]


def _constant(value: Any) -> Getter:
    return lambda node, run: value


def _const(value: Any) -> Code:
    one = _constant(value)
    many = _constant([value])
    return Code(one, many, one, many, strong=False, const=value)


def _of_access(access: Access) -> Code:
    return Code(access.one, access.many, access.node, access.nodes, at=access.at)


def _as_list(one: Getter) -> Getter:
    def many(node: Any, run: Run) -> Any:
        found = one(node, run)
        return [] if found is None else [found]

    return many


def _first_of(many: Getter) -> Getter:
    def one(node: Any, run: Run) -> Any:
        found = many(node, run)
        return found[0] if found else None

    return one


def _guarded(when: Getter, get: Getter) -> Getter:
    return lambda node, run: get(node, run) if when(node, run) else None


def _when(when: Getter, value: Value) -> Value:
    return Value(_guarded(when, value.get or _constant(value.const)), strong=value.strong)


def _either(codes: list[Code]) -> Code:
    def chain(getters: list[Getter]) -> Getter:
        def first(node: Any, run: Run) -> Any:
            for get in getters:
                found = get(node, run)
                if found is not None and found != []:
                    return found
            return None

        return first

    def lists(getters: list[Getter]) -> Getter:
        first = chain(getters)
        return lambda node, run: first(node, run) or []

    kinds = {code.type for code in codes if code.const is None}
    return Code(
        chain([code.one for code in codes]),
        lists([code.many for code in codes]),
        chain([code.node for code in codes]),
        lists([code.nodes for code in codes]),
        strong=any(code.strong for code in codes),
        type=kinds.pop() if len(kinds) == 1 else None,
    )


def _map_code(given: Code, step: Getter) -> Code:
    """Return `given` with `step(value, run)` applied to each value."""

    def one(node: Any, run: Run) -> Any:
        found = given.one(node, run)
        return None if found is None else step(found, run)

    def many(node: Any, run: Run) -> Any:
        return [v for f in given.many(node, run) if (v := step(f, run)) is not None]

    return Code(one, many, one, many, strong=given.strong)


def _call_code(function: Function, given: Code, args: list[Code], trace: bool) -> Code:
    call = function.call
    taken = {
        "value": (given.one, given.many),
        "node": (given.node, given.nodes),
        "values": (given.many, None),
        "nodes": (given.nodes, None),
        "none": (_same, None),
    }[function.takes]
    get_one, get_many = taken
    invoke = _invoker(call, args)

    def one(node: Any, run: Run) -> Any:
        found = get_one(node, run)
        return None if found is None else invoke(found, node, run)

    if function.fails is not None:
        one = _warning(one, given.node, function.fails)
    strong = given.strong or any(arg.strong for arg in args)
    if function.takes == "none":
        strong = any(arg.strong for arg in args) or not args
    if function.gives_list and get_many is None:
        listed = lambda node, run: one(node, run) or []  # noqa: E731 - the shape of its siblings
        single = _first_of(listed)
        return Code(single, listed, single, listed, strong=strong, type=function.type)
    if function.gives_list:
        assert get_many is not None
        every = get_many

        def flat(node: Any, run: Run) -> Any:
            return [v for f in every(node, run) for v in invoke(f, node, run) or ()]

        single = _first_of(flat)
        return Code(single, flat, single, flat, strong=strong, type=function.type)
    if get_many is None:
        many = _as_list(one)
    else:
        each = get_many

        def many(node: Any, run: Run) -> Any:
            return [v for f in each(node, run) if (v := invoke(f, node, run)) is not None]

    return Code(one, many, one, many, strong=strong, type=function.type)


def _warning(one: Getter, place_of: Getter, fails: tuple[str, str]) -> Getter:
    """Report the place of a value that a function could make nothing of."""
    details, text = fails

    def checked(node: Any, run: Run) -> Any:
        value = one(node, run)
        if value is None:
            found = place_of(node, run)
            if found is not None:
                run.warn(text, getattr(found, "place", None), details)
        return value

    return checked


def _invoker(call: Callable[..., Any], args: list[Code]) -> Callable[[Any, Any, Any], Any]:
    if not args:
        return lambda value, node, run: call(value, run)
    if all(arg.const is not None for arg in args):
        known = tuple(arg.const for arg in args)
        if len(known) == 1:
            only = known[0]
            return lambda value, node, run: call(value, run, only)
        return lambda value, node, run: call(value, run, *known)
    getters = tuple(arg.one for arg in args)
    return lambda value, node, run: call(value, run, *(get(node, run) for get in getters))


def _builder(
    strong: tuple[tuple[str | None, Getter], ...],
    weak: tuple[tuple[str | None, Getter], ...],
    consts: dict[str, Any],
    whole: bool,
    needs: str | None,
) -> Getter:
    if needs is not None:
        return _needing(strong, weak, consts, needs)
    if len(strong) == 1 and not weak and strong[0][0] is not None and not whole:
        name, get = strong[0]

        def single(node: Any, run: Run) -> Any:
            value = get(node, run)
            return None if value is None else {name: value, **consts}

        return single

    def build(node: Any, run: Run) -> Any:
        out: dict[str, Any] = {}
        for name, get in strong:
            value = get(node, run)
            if value is not None:
                if name is None:
                    out.update(value)
                else:
                    out[name] = value
        if not out and not whole and strong:
            return None
        for name, get in weak:
            value = get(node, run)
            if value is not None:
                if name is None:
                    out.update(value)
                elif name not in out:
                    out[name] = value
        if consts:
            for name, value in consts.items():
                if name not in out:
                    out[name] = value
        return out or None

    return build


def _needing(
    strong: tuple[tuple[str | None, Getter], ...],
    weak: tuple[tuple[str | None, Getter], ...],
    consts: dict[str, Any],
    needs: str,
) -> Getter:
    """The builder of an object that is nothing without the element `needs`, which comes first."""
    first = strong[0][1] if strong and strong[0][0] == needs else _nothing
    rest = (*strong[1:], *weak)

    def build(node: Any, run: Run) -> Any:
        value = first(node, run)
        if value is None:
            return None
        out: dict[str, Any] = {needs: value}
        for name, get in rest:
            value = get(node, run)
            if value is not None:
                if name is None:
                    out.update(value)
                elif name not in out:
                    out[name] = value
        for name, value in consts.items():
            if name not in out:
                out[name] = value
        return out

    return build


def _each(each: Code, value: Value, trace: bool) -> Getter:
    get = value.get or _constant(value.const)
    nodes = each.nodes

    def many(node: Any, run: Run) -> Any:
        out = [v for n in nodes(node, run) if (v := get(n, run)) is not None]
        return out or None

    def traced(node: Any, run: Run) -> Any:
        out = []
        for n in nodes(node, run):
            run.trace.push(f"[{len(out)}]", None)
            found = get(n, run)
            run.trace.pop(found)
            if found is not None:
                out.append(found)
        return out or None

    return traced if trace else many


def _traced(name: str, at: str, get: Getter) -> Getter:
    def traced(node: Any, run: Run) -> Any:
        run.trace.push(name, at)
        value = get(node, run)
        run.trace.pop(value)
        return value

    return traced


def _memoised(get: Getter) -> Getter:
    """Remember results by the text of the place: codes and names repeat from message to message.

    Shared results are never changed afterwards: whoever adds to an object copies it first.
    """
    known: dict[Any, Any] = {}

    def remembered(node: Any, run: Run) -> Any:
        key = (node.raw, run.doc.memo_scope)
        found = known.get(key, known)
        if found is known:
            before = len(run.issues)
            found = get(node, run)
            if len(run.issues) == before:  # a result with a warning is not pure: warn again
                if len(known) >= _MEMO_ENTRIES:
                    known.clear()
                known[key] = found
        return found

    return remembered


def _identifier_key(one: Getter) -> Getter:
    def key(node: Any, run: Run) -> Any:
        found = one(node, run)
        if not isinstance(found, dict):
            return None
        system, value = found.get("system"), found.get("value")
        return (system, value) if system and value else None

    return key


def _record_key(parts: list[Getter]) -> Getter:
    def key(node: Any, run: Run) -> Any:
        values = []
        for get in parts:
            found = get(node, run)
            if found is None:
                return None
            values.append(str(found))
        return RECORD, record_key(values)

    return key


def _mentioner(
    name: str, type_: str, key: Getter, fill: Getter, display: Getter | None, when: Getter | None
) -> Getter:
    def mention(node: Any, run: Run) -> Any:
        known = (name, node.raw)
        found = run.memo.get(known)
        if found is not None:
            return found
        if when is not None and not when(node, run):
            return None
        named = key(node, run)
        if named is None:
            shown = display(node, run) if display else None
            return {"display": shown} if shown else None
        entry = run.entry(type_, named, name, True)
        if entry.rule is None:
            _fill_mention(entry, node, run, fill)
        found = run.memo[known] = {"reference": entry.full_url}
        return found

    return mention


def _fill_mention(entry: Entry, node: Any, run: Run, fill: Getter) -> None:
    outer, run.here = run.here, entry
    if run.trace is not None:
        run.trace.enter(entry)
    body = {"resourceType": entry.type, **(fill(node, run) or {})}
    if entry.body is None:
        entry.body = body
    else:
        add_missing(entry.body, body)
    name_it(entry)
    run.here = outer
    if run.trace is not None:
        run.trace.leave()


def _reference_up(names: tuple[str, ...]) -> Getter:
    def reference(node: Any, run: Run) -> Any:
        for name in names:
            place = node
            while place is not None:
                made = place.made
                if made is not None:
                    entry = made.get(name)
                    if entry is not None and entry is not run.here:
                        return {"reference": entry.full_url}
                place = place.up
        return None

    return reference


def _references_down(names: tuple[str, ...]) -> Getter:
    def references(node: Any, run: Run) -> Any:
        out = []
        if names == ("*",):
            return [
                {"reference": entry.full_url}
                for entry in run.entries.values()
                if entry is not run.here and entry.body is not None
            ]
        group = node.group
        for name in names:
            for entry in run.made.get(name, ()):
                place = entry.node
                while place is not None and place is not group:
                    place = place.up
                reference = {"reference": entry.full_url}
                if place is group and entry is not run.here and reference not in out:
                    out.append(reference)
        return out

    return references


def _compare(operator: str, left: Code, right: Code) -> Getter:
    one, other = left.one, right.one
    if operator == "matches":
        pattern = re.compile(str(right.const))
        return lambda node, run: (
            (found := one(node, run)) is not None and pattern.search(str(found)) is not None
        )
    if operator in ("=", "!="):
        same = operator == "="
        if right.const is not None:
            wanted = str(right.const)
            return lambda node, run: (str(one(node, run)) == wanted) is same
        return lambda node, run: (str(one(node, run)) == str(other(node, run))) is same
    test = _ORDER[operator]

    def ordered(node: Any, run: Run) -> bool:
        a, b = one(node, run), other(node, run)
        if a is None or b is None:
            return False
        x, y = number(a), number(b)
        return test(x, y) if x is not None and y is not None else test(str(a), str(b))

    return ordered


_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _span(args: tuple[int, int]) -> str:
    return str(args[0]) if args[0] == args[1] else f"{args[0]} to {args[1]}"


# --- tables --------------------------------------------------------------------------------------


def _table_code(table: Table, other: Getter | None) -> Getter:
    rows = {code: row[0] for code, row in table.rows.items()}

    def look(value: Any, run: Run) -> Any:
        found = rows.get(str(value))
        return other(value, run) if found is None and other else found

    return look


def _table_coding(table: Table, other: Getter | None) -> Getter:
    ready = {code: _coding(row, table) for code, row in table.rows.items()}

    def look(value: Any, run: Run) -> Any:
        found = ready.get(str(value))
        return ready.get(str(other(value, run))) if found is None and other else found

    return look


def _table_display(table: Table, _: Getter | None) -> Getter:
    return lambda value, run: table.rows.get(str(value), (None, None, None))[1]


def _table_translate(table: Table, _: Getter | None) -> Getter:
    """The concept with the target code of its first coding in front.

    Codings without a system get the one the table's source codes are in.
    """
    ready = {code: _coding(row, table) for code, row in table.rows.items()}

    def translate(concept: Any, run: Run) -> Any:
        codings = concept.get("coding")
        if not codings:
            return concept
        first = codings[0]
        if "system" not in first and table.origin:
            codings = [{"system": table.origin, **first}, *codings[1:]]
        target = ready.get(str(first.get("code")))
        if target is None or first.get("system", table.origin) != table.origin:
            return {**concept, "coding": codings} if codings is not concept["coding"] else concept
        if target.get("system") == codings[0].get("system") and target["code"] == first.get("code"):
            return {**concept, "coding": [{**target, **codings[0]}, *codings[1:]]}
        return {**concept, "coding": [target, *codings]}

    return translate


def _coding(row: tuple[str | None, str | None, str | None], table: Table) -> Any:
    code, display, system = row
    if code is None:
        return None
    out = {"system": system or table.system, "code": code, "display": display}
    return {name: value for name, value in out.items() if value}


_TABLE_FUNCTIONS: dict[str, Callable[[Table, Getter | None], Getter]] = {
    "table": _table_code,
    "coding": _table_coding,
    "display": _table_display,
    "translate": _table_translate,
}
