"""Mapping files to closures: `compile_library` gives what `run` executes.

Every value of a `set` becomes one function of (node, run). What a formula can know beforehand is
decided here: names of maps and functions, constants, whether a path stands for one value or all
repetitions (an array in YAML takes all). An object in which no value of the message arrived is left
out: constants alone make nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from app.errors import Invalid, Issue
from app.mapping import expression as ex
from app.mapping.closures import (
    TABLE_STEPS,
    Part,
    alone,
    array_of,
    as_list,
    builder,
    compare,
    constant,
    each_of,
    encoded,
    first_of,
    guarded,
    identifier_key,
    joined_parts,
    mentioner,
    needing,
    no_text,
    nothing,
    packed,
    raw_text,
    record_key_of,
    reference_up,
    references_down,
    remembered,
    same,
    shared,
    traced,
)
from app.mapping.code import (
    NONE,
    NOTHING,
    Code,
    Fields,
    Value,
    applied,
    called,
    const_code,
    either,
    mapped,
    of_access,
    union,
)
from app.mapping.functions import FUNCTIONS
from app.mapping.library import Library, Located, place
from app.mapping.run import Mapping_, Rule, Run
from app.mapping.source import Access, Getter, Source
from app.mapping.types import Checker, Expected
from app.mapping.yamldoc import Block

_SPECIAL = ("$each", "$when", "$value", "$first", "$switch", "$use", "$spread", "$needs")
_MOST_MEMO_FIELDS = 5


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
    return found.getter


class _Compiler:
    def __init__(
        self, library: Library, source: Source, checker: Checker | None, trace: bool
    ) -> None:
        self.library = library
        self.source = source
        self.checker = checker
        self.trace = trace
        self.problems: list[Issue] = []
        self.bits: dict[str, int] = {}
        self.paths: set[str] = set()
        self.maps: dict[str, Value] = {}
        self.mentions: dict[str, Value] = {}
        self.open: set[str] = set()
        self.rule_types = {rule.name: str(rule.body.get("resource", "")) for rule in library.rules}

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
            expected = self.checker.resource("Basic") if self.checker else None
            every = self._object(found.body, _Place(found.file, None, expected), whole=True).getter
        return Mapping_(
            rules,
            every,
            self.library.files,
            self.library.digest,
            self.bits,
            frozenset(self.paths),
        )

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
        self.paths.update(each.split())
        expected = self._resource(type_, place(body, "resource", file))
        memo = body.get("memo")
        varying = frozenset(str(field) for field in memo) if isinstance(memo, list) else None
        here = _Place(file, each, expected, memo=bool(memo), volatile=varying)
        fill = self._object(body.get("set") or Block(), here, whole=True)
        self._missing(body, expected, located.at)
        given, when = self._tests(body.get("when"), here, place(body, "when", file))
        key = self._key(body.get("key"), here, place(body, "key", file))
        return Rule(
            name=located.name,
            type=type_,
            anchor=anchor,
            given=given,
            when=when,
            key=key.get if key else None,
            fill=fill.getter,
            same=str(body.get("same", "merge")),
            mention=body.get("mention") is True,
            late=body.get("late") is True,
            at=located.at,
            every=body.get("every") is not False,
        )

    def _tests(self, text: Any, here: _Place, at: str) -> tuple[Getter | None, Getter | None]:
        """Return what has to hold of the message as a whole, and of each node."""
        if text is None:
            return None, None
        try:
            tree = ex.condition(str(text))
            parts = tree.conditions if isinstance(tree, ex.All) else (tree,)
            tests = [self._test(part, here) for part in parts]
        except Invalid as exc:
            self._problem(str(exc), at)
            return None, None
        whole = [test for test in tests if test.whole]
        each = [test for test in tests if not test.whole]
        when = _joined(each, True) if each else NOTHING
        return (
            _joined(whole, True).get if whole else None,
            self._asked(when, here) if each else None,
        )

    def _asked(self, test: Value, here: _Place) -> Getter:
        """Return the test of a node, remembered by the text of its fields where that is all."""
        key = self._text_key(test.reads, here) if here.memo and test.reads else None
        if key is None or self.trace or len(test.reads or ()) > _MOST_MEMO_FIELDS:
            return test.getter
        if test.reads and test.reads & (here.volatile or NONE):
            return test.getter
        return remembered(test.getter, key)

    def _resource(self, type_: str, at: str) -> Expected | None:
        if self.checker is None:
            return None
        expected = self.checker.resource(type_)
        if expected is None:
            self._problem(f"R4 has no resource {type_}", at)
        return expected

    def _missing(self, body: Block, expected: Expected | None, at: str) -> None:
        if self.checker and expected is not None and "$spread" not in (body.get("set") or ()):
            given = _names(body.get("set") or Block(), self.library)
            for name in self.checker.missing(expected, given):
                self._problem(f"required element `{name}` is never set", at, "required")

    def _key(self, key: Any, here: _Place, at: str) -> Value | None:
        if key is None:
            return None
        options = key if isinstance(key, list) else [key]
        values = [v for v in (self._one_key(option, here, at) for option in options) if v]
        if not values:
            return None  # what is wrong with them has been reported
        choices = tuple((value.getter, self._bits(value)) for value in values)

        def first(node: Any, run: Run) -> Any:
            for get, bits in choices:
                if not bits or run.present & bits:
                    found = get(node, run)
                    if found is not None:
                        return found
            return None

        get = values[0].getter if len(values) == 1 else first
        return Value(get, strong=True, reads=union(value.reads for value in values))

    def _one_key(self, key: Any, here: _Place, at: str) -> Value | None:
        if not isinstance(key, Block) or not ({"identifier", "record"} & set(key)):
            self._problem("a key is `identifier: formula` or `record: [parts]`", at)
            return None
        if "identifier" in key:
            code = self._formula(str(key["identifier"]), here, at)
            get = identifier_key(code.one)
            value = Value(get, strong=True, needs=code.needs, reads=code.reads)
        else:
            parts = key["record"]
            listed = parts if isinstance(parts, list) else [parts]
            codes = [self._formula(part, here, at) for part in listed]
            get = record_key_of(self._key_parts(codes, here))
            value = Value(get, strong=True, reads=union(code.reads for code in codes))
        if "$when" in key:
            return self._when(self._condition(str(key["$when"]), here, at), value)
        return value

    def _key_parts(self, codes: list[Code], here: _Place) -> list[Getter]:
        """Return the parts of a record key; neighbours that may be remembered are one part."""
        out: list[Getter] = []
        run: list[Code] = []
        for code in [*codes, None]:
            if code is not None and self._settles(code, here):
                run.append(code)
                continue
            if run:
                get = joined_parts([encoded(one.one) for one in run])
                reads = union(one.reads for one in run)
                out.append(remembered(get, self._text_key(reads or NONE, here) or no_text))
                run = []
            if code is not None:
                out.append(encoded(code.one))
        return out

    def _settles(self, code: Code, here: _Place) -> bool:
        """Say whether a part of a key depends on nothing but fields of the rule's own node."""
        if code.reads is None or self.trace or here.anchor is None:
            return False
        if not code.reads:
            return True
        return (
            here.memo
            and not code.reads & (here.volatile or NONE)
            and self._text_key(code.reads, here) is not None
        )

    # --- objects ---------------------------------------------------------------------------------

    def _object(self, block: Block, here: _Place, *, whole: bool = False) -> Value:
        """Compile an object. whole: it exists even when no value arrived (a resource's body)."""
        inner, each = here, None
        if "$each" in block:
            each = self._formula(str(block["$each"]), here, place(block, "$each", here.file))
            inner = here.inside(each.at)
        value = self._content(block, inner, whole)
        if "$when" in block:
            at = place(block, "$when", here.file)
            value = self._when(self._condition(str(block["$when"]), inner, at), value)
        if each is not None:
            get = each_of(each.nodes, value.getter, self.trace)
            reads = union((each.reads, value.reads))
            return Value(get, strong=True, needs=each.needs, reads=reads)
        return value

    def _when(self, test: Value, value: Value) -> Value:
        get = guarded(test.getter, value.getter)
        reads = union((test.reads, value.reads))
        return Value(get, strong=value.strong, needs=value.needs, reads=reads)

    def _content(self, block: Block, here: _Place, whole: bool) -> Value:
        plain = any(not key.startswith("$") for key in block)
        for key in block:
            if key.startswith("$") and key not in _SPECIAL:
                self._problem(f"unknown key `{key}`", place(block, key, here.file))
        if "$value" in block:
            return self._value(block["$value"], here, place(block, "$value", here.file))
        if "$first" in block and not plain and not whole:
            return self._first(block["$first"], here, place(block, "$first", here.file))
        parts = self._parts(block, here if whole else here.nested())
        return self._built(parts, block.get("$needs"), here, whole)

    def _built(
        self, parts: list[tuple[str | None, Value]], needs: str | None, here: _Place, whole: bool
    ) -> Value:
        """Return the object of these parts: constants, weak and strong ones."""
        consts = {n: v.const for n, v in parts if n and v.get is None and v.const is not None}
        moving = [(name, value) for name, value in parts if value.get is not None]
        if not moving and not whole:
            return Value(None, consts or None, reads=NONE)
        if whole and here.volatile is not None and not self.trace:
            moving = self._settled(moving, here)
        moving.sort(key=lambda part: part[0] is None)  # what spreads joins what is there
        strong = [(name, value) for name, value in moving if value.strong]
        weak = tuple(self._part(name, value) for name, value in moving if not value.strong)
        reads = union(value.reads for _, value in moving)
        if needs is not None:
            first = next((value for name, value in strong if name == needs), None)
            if first is None:
                self._problem(f"`$needs: {needs}` names no element of the object", here.file)
                return NOTHING
            rest = tuple(self._part(n, v) for n, v in strong if n != needs)
            get = needing(first.getter, (*rest, *weak), consts, needs)
            return Value(get, strong=True, needs=first.needs, reads=reads)
        get = builder(tuple(self._part(n, v) for n, v in strong), weak, consts, whole)
        wanted = None if whole or not strong else union(value.needs for _, value in strong)
        return Value(get, strong=bool(strong), needs=wanted, reads=reads)

    def _settled(
        self, parts: list[tuple[str | None, Value]], here: _Place
    ) -> list[tuple[str | None, Value]]:
        """Return the parts with those together that depend on fields which seldom vary.

        They are remembered as one: code, unit, range and flags of a test come again and again.
        """
        still = [
            (name, value)
            for name, value in parts
            if value.reads
            and not value.reads & (here.volatile or NONE)
            and self._text_key(value.reads, here) is not None
        ]
        reads = union(value.reads for _, value in still)
        key = self._text_key(reads, here) if reads and len(still) > 1 else None
        if key is None or reads is None:
            return parts
        get = builder(tuple((name, value.getter, 0) for name, value in still), (), {}, True)
        together = Value(remembered(get, key), strong=True, reads=reads)
        return [part for part in parts if part not in still] + [(None, together)]

    def _part(self, name: str | None, value: Value) -> Part:
        return name, value.getter, self._bits(value)

    def _bits(self, value: Value) -> int:
        """Return the bits of the fields without which there is no value; 0: not known."""
        bits = 0
        if value.needs is not None and not self.trace:
            for field in value.needs:
                bits |= self.bits.setdefault(field, 1 << len(self.bits))
        return bits

    def _parts(self, block: Block, here: _Place) -> list[tuple[str | None, Value]]:
        """Return (element, value) pairs; a name of None spreads an object into this one."""
        out: list[tuple[str | None, Value]] = []
        for key, raw in block.items():
            at = place(block, key, here.file)
            if key == "$use":
                for name in raw if isinstance(raw, list) else [raw]:
                    out.extend(self._use(str(name), here, at))
            elif key == "$first":
                out.append((None, self._remembered(self._first(raw, here, at), raw, here)))
            elif key == "$switch":
                out.append((None, self._switch(raw, here, at)))
            elif key == "$spread":
                value = self._value(raw, here.of(None), at)
                out.append((None, self._remembered(value, raw, here)))
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
            inner = here.in_file(found.file)
            if any(key in found.body for key in ("$when", "$each", "$needs")):
                value = self._object(found.body, inner)
                return [(None, self._remembered(value, found.body, here))]
            return self._parts(found.body, inner)
        finally:
            self.open.discard(name)

    def _switch(self, raw: Any, here: _Place, at: str) -> Value:
        if not isinstance(raw, Block) or "on" not in raw or not isinstance(raw.get("cases"), Block):
            self._problem("`$switch` needs `on` and `cases`", at)
            return NOTHING
        on = self._formula(str(raw["on"]), here, place(raw, "on", here.file))
        cases: dict[str, Getter] = {}
        blocks = raw["cases"]
        reads = [on.reads]
        for names, block in blocks.items():
            value = self._value(block, here, place(blocks, names, here.file))
            reads.append(value.reads)
            for name in names.split():
                cases[name] = value.getter
        other = None
        if raw.get("else") is not None:
            value = self._value(raw["else"], here, place(raw, "else", here.file))
            reads.append(value.reads)
            other = value.getter
        one = on.one

        def switch(node: Any, run: Run) -> Any:
            get = cases.get(one(node, run), other)
            return None if get is None else get(node, run)

        needs = on.needs if other is None else None
        return Value(switch, strong=True, needs=needs, reads=union(reads))

    def _first(self, raw: Any, here: _Place, at: str) -> Value:
        if not isinstance(raw, list):
            self._problem("`$first` needs a list", at)
            return NOTHING
        values = [self._value(item, here, place(raw, i, here.file)) for i, item in enumerate(raw)]
        getters = [value.getter for value in values]

        def first(node: Any, run: Run) -> Any:
            for get in getters:
                found = get(node, run)
                if found is not None:
                    return found
            return None

        return Value(
            first,
            strong=any(value.strong for value in values),
            needs=union(value.needs for value in values),
            reads=union(value.reads for value in values),
        )

    def _element(self, key: str, raw: Any, here: _Place, at: str) -> tuple[str | None, Value]:
        name, _, rest = key.partition(".")
        expected = None
        if self.checker and here.expected is not None:
            expected = self.checker.member(here.expected, name)
            if expected is None:
                self._problem(f"{here.expected.path} has no element `{name}`", at)
        inner = here.of(expected)
        if rest:
            listed = False
            value = self._object(_dotted(rest, raw, at), inner.nested())
        else:
            listed = _is_list(raw)
            value = self._value(raw, inner.nested(), at)
        if self.checker and expected is not None and raw is not None:
            for problem in self.checker.cardinality(expected, listed):
                self._problem(problem, at)
        if self.trace and (value.get is not None or value.const is not None):
            return name, Value(traced(name, at, value.getter), strong=value.strong)
        return name, self._remembered(value, raw, here)

    def _remembered(self, value: Value, raw: Any, here: _Place) -> Value:
        """Return the value remembered by the text of its fields, where that saves work."""
        simple = isinstance(raw, str) and "|" not in raw
        if not here.memo or self.trace or simple or not value.reads or value.get is None:
            return value
        if len(value.reads) > _MOST_MEMO_FIELDS or value.reads & (here.volatile or NONE):
            return value  # what differs each time would only fill the memory
        key = self._text_key(value.reads, here)
        if key is None:
            return value
        get = remembered(value.get, key)
        return Value(get, strong=value.strong, needs=value.needs, reads=value.reads)

    def _text_key(self, reads: Fields, here: _Place) -> Getter | None:
        if here.anchor is None or not reads:
            return None
        return self.source.key_of(here.anchor, tuple(sorted(reads)))

    def _value(self, raw: Any, here: _Place, at: str) -> Value:
        if isinstance(raw, Block):
            return self._object(raw, here.in_file(raw.file or here.file))
        if isinstance(raw, list):
            return self._array(raw, here)
        if raw is None:
            return NOTHING
        if not isinstance(raw, str):
            self._check_const(raw, here, at)
            return Value(None, raw, reads=NONE)
        code = self._formula(raw, here, at)
        if code.const is not None:
            self._check_const(code.const, here, at)
            return Value(None, code.const, reads=NONE)
        self._check_code(code, here, at)
        return Value(code.one, strong=code.strong, needs=code.needs, reads=code.reads)

    def _array(self, raw: Any, here: _Place) -> Value:
        getters: list[tuple[bool, Getter, int]] = []
        consts: list[Any] = []
        values: list[Value] = []
        for index, item in enumerate(raw):
            at = place(raw, index, here.file)
            value, spreads = self._item(item, here, at)
            if value.get is not None:
                getters.append((spreads, value.get, self._bits(value)))
                values.append(value)
            elif value.const is not None:
                consts.append(value.const)
        if not getters:
            return Value(None, consts or None, reads=NONE)
        strong = any(value.strong for value in values)
        reads = union(value.reads for value in values)
        needs = None if consts else union(value.needs for value in values)
        return Value(array_of(tuple(getters), consts), strong=strong, needs=needs, reads=reads)

    def _item(self, item: Any, here: _Place, at: str) -> tuple[Value, bool]:
        """Return the value of one array item and whether it is a list to spread."""
        if isinstance(item, Block):
            value = self._object(item, here.in_file(item.file or here.file))
            return value, "$each" in item and value.get is not None
        if not isinstance(item, str):
            return self._value(item, here, at), False
        code = self._formula(item, here, at)
        if code.const is not None:
            self._check_const(code.const, here, at)
            return Value(None, code.const, reads=NONE), False
        self._check_code(code, here, at)
        value = Value(code.many, strong=code.strong, needs=code.needs, reads=code.reads)
        return value, True

    # --- maps and mentions -----------------------------------------------------------------------

    def _map(self, name: str) -> Value:
        """Return the compiled data-type map; maps may use each other, and themselves."""
        found = self.maps.get(name)
        if found is not None:
            return found
        located = self.library.maps[name]
        body = located.body
        holder: list[Getter] = [nothing]
        self.maps[name] = Value(lambda node, run: holder[0](node, run), strong=True)
        expected = None
        gives = body.get("gives")
        if self.checker and isinstance(gives, str):
            expected = self.checker.datatype(gives)
            if expected is None:
                self._problem(f"R4 has no type {gives}", place(body, "gives", located.file))
        here = _Place(located.file, None, expected)
        value = self._value(body.get("set"), here, place(body, "set", located.file))
        get = value.getter
        if value.reads == NONE and not self.trace:
            # Nothing but its own text decides: seldom texts are kept for the message only.
            get = remembered(get, raw_text) if body.get("memo") is True else shared(get, name)
        elif body.get("memo") is True and not self.trace:
            self._problem("`memo` needs a map that looks at nothing outside", located.at)
        holder[0] = get
        self.maps[name] = Value(get, strong=True, reads=value.reads)
        return self.maps[name]

    def _mention(self, name: str) -> Value:
        found = self.mentions.get(name)
        if found is not None:
            return found
        located = self.library.mentions[name]
        body, file = located.body, located.file
        holder: list[Getter] = [nothing]
        self.mentions[name] = Value(lambda node, run: holder[0](node, run), strong=True)
        type_ = str(body.get("resource", ""))
        here = _Place(file, None, self._resource(type_, located.at))
        fill = self._object(body.get("set") or Block(), here, whole=True)
        key = self._key(body.get("key"), here, place(body, "key", file)) or NOTHING
        reads = [fill.reads, key.reads]
        display = when = None
        if "display" in body:
            code = self._formula(str(body["display"]), here, place(body, "display", file))
            display = code.one
        if "$when" in body:
            test = self._condition(str(body["$when"]), here, place(body, "$when", file))
            when = test.get
            reads.append(test.reads)
        get = mentioner(name, type_, key.getter, fill.getter, display, when)
        pure = union(reads) == NONE and not self.trace
        holder[0] = packed(get, name) if pure else get
        # What is mentioned inside a mention travels in its pack: that keeps it pure.
        self.mentions[name] = Value(holder[0], strong=True, reads=NONE if pure else None)
        return self.mentions[name]

    # --- formulas --------------------------------------------------------------------------------

    def _formula(self, text: Any, here: _Place, at: str) -> Code:
        """Compile a value formula; a text that begins with `=` is a constant."""
        if not isinstance(text, str):
            return const_code(text)
        if text.startswith("="):
            return const_code(text[1:])
        try:
            return self._code(ex.value(text), here)
        except Invalid as exc:
            self._problem(str(exc), at)
            return const_code("")

    def _condition(self, text: str, here: _Place, at: str) -> Value:
        try:
            return self._test(ex.condition(text), here)
        except Invalid as exc:
            self._problem(str(exc), at)
            return NOTHING

    def _code(self, tree: ex.Value, here: _Place) -> Code:
        if isinstance(tree, ex.Const):
            return const_code(tree.value)
        if isinstance(tree, ex.Path):
            if tree.text in self.library.constants:
                return const_code(self.library.constants[tree.text])
            if tree.text in self.library.formulas:
                return self._named_formula(tree.text, here)
            self.paths.add(tree.text)
            return of_access(self.source.path(tree.text, here.anchor, self.trace))
        if isinstance(tree, ex.Either):
            return either([self._code(option, here) for option in tree.options])
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
        if name in TABLE_STEPS:
            return self._table_step(tree, given, here)
        if name in ("ref", "refs"):
            return self._reference(tree)
        if name == "default" and given is not None:
            return either([given, self._code(tree.args[0], here)])
        given_or_here = given or of_access(Access(same, alone, same, alone, reads=""))
        if name in self.library.maps:
            return self._applied(self._map(name), self.library.maps[name], given_or_here)
        if name in self.library.mentions:
            return self._applied(self._mention(name), self.library.mentions[name], given_or_here)
        function = self.source.functions.get(name) or FUNCTIONS.get(name)
        if function is None:
            raise Invalid(f"there is no function, map or mention `{name}`")
        if not function.args[0] <= len(tree.args) <= function.args[1]:
            raise Invalid(f"`{name}` takes {_span(function.args)} arguments")
        if given is None and function.takes not in ("none", "node"):
            raise Invalid(f"`{name}` needs something left of it: `value | {name}`")
        return called(function, given_or_here, [self._code(arg, here) for arg in tree.args], name)

    def _applied(self, value: Value, part: Located, given: Code) -> Code:
        mention = "resource" in part.body
        pure = value.reads == NONE and not self.trace
        return replace(
            applied(given, value.getter, self.trace, pure),
            type="Reference" if mention else part.body.get("gives"),
            target=str(part.body["resource"]) if mention else None,
            reads=union((given.reads, value.reads)) if not mention or given.reads == NONE else None,
        )

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
        step = TABLE_STEPS[name](table, other.one if other else None)
        types = {"coding": "Coding", "translate": "CodeableConcept", "display": "string"}
        kept = table if name == "table" else None
        return mapped(given, step, type_=types.get(name), table=kept)

    def _reference(self, tree: ex.Call) -> Code:
        names = [
            arg.text if isinstance(arg, ex.Path) else str(arg.value)
            for arg in tree.args
            if isinstance(arg, (ex.Path, ex.Const))
        ]
        if not names:
            raise Invalid(f"`{tree.name}` needs the name of a rule")
        for name in names:
            if name != "*" and name not in self.rule_types:
                raise Invalid(f"there is no rule `{name}`")
        target = self.rule_types.get(names[0]) if len(names) == 1 else None
        if tree.name == "ref":
            one = reference_up(tuple(names))
            many = as_list(one)
        else:
            many = references_down(tuple(names))
            one = first_of(many)
        return Code(one, many, one, many, type="Reference", target=target)

    def _test(self, tree: ex.Condition, here: _Place) -> Value:
        if isinstance(tree, ex.Valued):
            code = self._code(tree.value, here)
            if code.const is not None:
                return Value(constant(bool(code.const)), reads=NONE, whole=True)
            one = code.one
            return Value(
                lambda node, run: one(node, run) is not None, reads=code.reads, whole=code.whole
            )
        if isinstance(tree, ex.Not):
            inner = self._test(tree.condition, here)
            get = inner.getter
            return Value(lambda node, run: not get(node, run), reads=inner.reads, whole=inner.whole)
        if isinstance(tree, (ex.All, ex.Any_)):
            tests = [self._test(part, here) for part in tree.conditions]
            return _joined(tests, isinstance(tree, ex.All))
        if isinstance(tree, ex.In):
            return self._in(tree, here)
        left, right = self._code(tree.left, here), self._code(tree.right, here)
        get = compare(tree.operator, left.one, right.one, right.const)
        reads = union((left.reads, right.reads))
        return Value(get, reads=reads, whole=left.whole and right.whole)

    def _in(self, tree: ex.In, here: _Place) -> Value:
        codes = [self._code(option, here) for option in tree.options]
        code = self._code(tree.value, here)
        if any(option.const is None for option in codes):
            raise Invalid("`in` needs constants")
        wanted = frozenset(str(option.const) for option in codes)
        one = code.one

        def among(node: Any, run: Run) -> bool:
            found = one(node, run)
            return found is not None and str(found) in wanted

        return Value(among, reads=code.reads, whole=code.whole)

    def _check_code(self, code: Code, here: _Place, at: str) -> None:
        if self.checker and here.expected is not None:
            for problem in self.checker.value(here.expected, code.type, code.target, code.table):
                self._problem(problem, at)

    def _check_const(self, value: Any, here: _Place, at: str) -> None:
        if self.checker and here.expected is not None and not isinstance(value, (dict, list)):
            for problem in self.checker.constant(here.expected, value):
                self._problem(problem, at)

    def _problem(self, text: str, at: str, code: str = "value") -> None:
        issue = Issue("error", code, text, at)
        if issue not in self.problems:
            self.problems.append(issue)


def _joined(tests: list[Value], all_: bool) -> Value:
    if len(tests) == 1:
        return tests[0]
    getters = [test.getter for test in tests]
    reads = union(test.reads for test in tests)
    whole = all(test.whole for test in tests)

    def every(node: Any, run: Run) -> bool:
        for get in getters:  # noqa: SIM110 - a generator costs more than the tests
            if not get(node, run):
                return False
        return True

    def some(node: Any, run: Run) -> bool:
        for get in getters:  # noqa: SIM110 - a generator costs more than the tests
            if get(node, run):
                return True
        return False

    return Value(every if all_ else some, reads=reads, whole=whole)


def _is_list(raw: Any) -> bool:
    """Say whether a value is written as an array, or as `$first` of arrays."""
    if isinstance(raw, Block) and isinstance(raw.get("$first"), list):
        return all(isinstance(option, list) for option in raw["$first"])
    return isinstance(raw, list)


def _dotted(rest: str, raw: Any, at: str) -> Block:
    """Return `a.b: value` as the object that it abbreviates."""
    block = Block({rest: raw})
    file, _, line = at.rpartition(":")
    block.file, block.line, block.lines = file, int(line), {rest: int(line)}
    return block


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a formula stands: its file, the anchor its paths start at, the element it fills.

    memo: results may be remembered here (the first level of a rule that says so).
    volatile: the fields that differ from message to message, when the rule names them.
    """

    file: str
    anchor: str | None
    expected: Expected | None
    memo: bool = False
    volatile: Fields | None = None

    def inside(self, anchor: str | None) -> _Place:
        return _Place(self.file, anchor, self.expected)

    def in_file(self, file: str) -> _Place:
        return self if file == self.file else replace(self, file=file)

    def of(self, expected: Expected | None) -> _Place:
        return replace(self, expected=expected)

    def nested(self) -> _Place:
        return replace(self, memo=False, volatile=None) if self.memo else self


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


def _span(args: tuple[int, int]) -> str:
    return str(args[0]) if args[0] == args[1] else f"{args[0]} to {args[1]}"
