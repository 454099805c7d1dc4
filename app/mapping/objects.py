"""Objects and arrays of a `set`, compiled.

What a formula can know beforehand is decided here: constants, whether a path stands for one value
or all repetitions (an array in YAML takes all). An object in which no value of the message arrived
is left out: constants alone make nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from typing import Any

from app.mapping import forms
from app.mapping.code import GUARD, MENTIONS, NONE, NOTHING, Code, Fields, Value, bare, union
from app.mapping.forms import Part
from app.mapping.formulas import Formulas
from app.mapping.library import Library, place
from app.mapping.near import meant
from app.mapping.places import Place, Problems
from app.mapping.source import Source
from app.mapping.types import ANY, Checker, Expected
from app.mapping.writer import Form, Program, form_of
from app.mapping.yamldoc import Block

_SPECIAL = ("$each", "$when", "$value", "$first", "$switch", "$use", "$spread", "$needs")
MOST_MEMO_FIELDS = 5

Name = str | tuple[str, ...] | None  # an element; several of an object; None: what spreads
Named = tuple[Name, Value]


class Objects:
    """Compiles what stands in a `set`."""

    def __init__(
        self,
        library: Library,
        source: Source,
        program: Program,
        problems: Problems,
        formulas: Formulas,
        *,
        trace: bool,
        checker: Checker | None,
    ) -> None:
        self.fields: dict[str, int] = {}  # field -> its bit in Run.present
        self._library = library
        self._source = source
        self._program = program
        self._problems = problems
        self._formulas = formulas
        self._trace = trace
        self._checker = checker
        self._open: set[str] = set()
        self._guards: list[Form] = []  # tests that say whether a field is looked at

    def object(
        self, block: Block, here: Place, *, whole: bool = False, type_: str | None = None
    ) -> Value:
        """Compile an object. whole: it exists even when no value arrived (a resource's body).

        type_: the resource that it is the body of.
        """
        inner, each = here, None
        if "$each" in block:
            at = place(block, "$each", here.file)
            each = self._formulas.formula(str(block["$each"]), here, at)
            if each.const is not None or each.type is not None:
                self._problems.add("`$each` needs a path: what a function gives has no parts", at)
            inner = here.inside(each.at)
        value = self._content(block, inner, whole, type_)
        if "$when" in block:
            at = place(block, "$when", here.file)
            test = self._formulas.condition(str(block["$when"]), inner, at)
            value = when(test, self._guarded(value, test, here))
        if each is not None:
            form = forms.each_of(each.nodes, value.form, self._trace)
            reads = union((each.reads, value.reads))
            return Value(form, strong=True, needs=each.needs, reads=reads)
        return value

    def value(self, raw: Any, here: Place, at: str) -> Value:
        """Compile any value of a mapping file."""
        if isinstance(raw, Block):
            return self.object(raw, here.in_file(raw.file or here.file))
        if isinstance(raw, list):
            return self._array(raw, here)
        if raw is None:
            return NOTHING
        if not isinstance(raw, str):
            self._formulas.check_const(raw, here, at)
            return Value(None, raw, reads=NONE)
        code = self._formulas.formula(raw, here, at)
        return self._checked(code, code.one, here, at)

    def bits(self, value: Value) -> int:
        """Return the bits of the fields without which there is no value; 0: not known."""
        return 0 if value.needs is None or self._trace else self.bits_of(value.needs)

    def bits_of(self, fields: Iterable[str]) -> int:
        bits = 0
        for field in fields:
            bits |= self.fields.setdefault(field, 1 << len(self.fields))
        return bits

    def text_key(self, reads: Fields, here: Place) -> Form | None:
        """Return what results that read these fields are remembered by; None: not at all."""
        if here.anchor is None or not reads or reads & MENTIONS:
            return None
        groups: dict[str, set[str]] = {"": set()}
        for read in sorted(reads):
            field, _, guard = read.partition(GUARD)
            groups.setdefault(guard, set()).add(field)
        always = groups.pop("")
        getter = self._source.key_of(here.anchor, tuple(sorted(bare(reads))))
        if getter is None or not any(fields - always for fields in groups.values()):
            return None if getter is None else form_of(getter)
        keys = {guard: self._key_form(here, fields - always) for guard, fields in groups.items()}
        return forms.guarded_key(
            self._key_form(here, always),
            [(self._guards[int(guard)], key) for guard, key in keys.items() if key is not None],
        )

    def _key_form(self, here: Place, fields: Iterable[str]) -> Form | None:
        names = tuple(sorted(fields))
        getter = self._source.key_of(here.anchor or "", names) if names else None
        return None if getter is None else form_of(getter)

    def _guarded(self, value: Value, test: Value, here: Place) -> Value:
        """Return the value with what it reads marked, if the kind of message decides the test."""
        scoped = test.whole and test.reads == NONE and value.reads is not None
        if not scoped or here.anchor is None or self._trace:
            return value
        marked = {
            read if GUARD in read or read in MENTIONS else f"{read}{GUARD}{len(self._guards)}"
            for read in value.reads or ()
        }
        self._guards.append(test.form)
        return replace(value, reads=frozenset(marked))

    def _checked(self, code: Code, form: Form, here: Place, at: str) -> Value:
        if code.const is not None:
            self._formulas.check_const(code.const, here, at)
            return Value(None, code.const, reads=NONE)
        self._formulas.check(code, here, at)
        return Value(
            form, strong=code.strong, needs=code.needs, reads=code.reads, around=code.around
        )

    def _content(self, block: Block, here: Place, whole: bool, type_: str | None) -> Value:
        plain = any(not key.startswith("$") for key in block)
        for key in block:
            if key.startswith("$") and key not in _SPECIAL:
                text = f"unknown key `{key}`{meant(key, _SPECIAL)}"
                self._problems.add(text, place(block, key, here.file))
        if "$value" in block:
            return self.value(block["$value"], here, place(block, "$value", here.file))
        if "$first" in block and not plain and not whole:
            return self._first(block["$first"], here, place(block, "$first", here.file))
        parts = self._parts(block, here if whole else here.nested())
        at = place(block, "$needs", here.file)
        return self._built(parts, block.get("$needs"), here, whole, type_, at)

    def _built(
        self,
        parts: list[Named],
        needs: str | None,
        here: Place,
        whole: bool,
        type_: str | None,
        at: str,
    ) -> Value:
        """Return the object of these parts: constants, weak and strong ones."""
        consts = {
            n: v.const
            for n, v in parts
            if isinstance(n, str) and v.given is None and v.const is not None
        }
        moving = [(name, value) for name, value in parts if value.given is not None]
        if not moving and not whole:
            return Value(None, consts or None, reads=NONE)
        if whole and not self._trace:
            moving = self._hoisted(moving)
            if here.volatile is not None:
                moving = self._settled(moving, here)
        moving.sort(key=lambda part: part[0] is None)  # what spreads joins what is there
        strong = [(name, value) for name, value in moving if value.strong]
        weak = tuple(self._part(name, value) for name, value in moving if not value.strong)
        reads = union(value.reads for _, value in moving)
        if needs is not None:
            first = next((value for name, value in strong if name == needs), None)
            if first is None:
                text = f"`$needs: {needs}` names no element of the object that the message fills"
                self._problems.add(text, at)
                return NOTHING
            rest = tuple(self._part(n, v) for n, v in strong if n != needs)
            form = forms.needing(first.form, (*rest, *weak), consts, needs)
            return Value(form, strong=True, needs=first.needs, reads=reads)
        form = forms.builder(tuple(self._part(n, v) for n, v in strong), weak, consts, whole, type_)
        wanted = None if whole or not strong else union(value.needs for _, value in strong)
        return Value(form, strong=bool(strong), needs=wanted, reads=reads)

    def _hoisted(self, parts: list[Named]) -> list[Named]:
        """Return the parts with neighbours together that depend on what is around the node only.

        They are made once for the results of an order: its patient, visit and request.
        """
        out: list[Named] = []
        for around, run in groupby(parts, lambda part: part[1].around and part[1].strong):
            same = list(run)
            if around and len(same) > 1:
                names = tuple(str(name) for name, _ in same)
                form = forms.builder(tuple(self._part(n, v) for n, v in same), (), {}, True)
                same = [(names, Value(forms.around(form), strong=True))]
            out += same
        return out

    def _settled(self, parts: list[Named], here: Place) -> list[Named]:
        """Return the parts with those together that depend on fields which seldom vary.

        They are remembered as one: code, unit, range and flags of a test come again and again.
        """
        still = [
            (name, value)
            for name, value in parts
            if value.reads is not None
            and not bare(value.reads) & (here.volatile or NONE)
            and (not value.reads or self.text_key(value.reads, here) is not None)
        ]
        reads = union(value.reads for _, value in still)
        key = self.text_key(reads, here) if reads and len(still) > 1 else None
        if key is None or reads is None:
            return parts
        parts_ = tuple((name, value.bare or value.form, 0) for name, value in still)
        form = forms.builder(parts_, (), {}, True)
        together = Value(forms.remembered(form, key, self._program), strong=True, reads=reads)
        return [part for part in parts if part not in still] + [(None, together)]

    def _part(self, name: Name, value: Value) -> Part:
        return name, value.form, self.bits(value)

    def _parts(self, block: Block, here: Place) -> list[Named]:
        """Return (element, value) pairs; a name of None spreads an object into this one."""
        out: list[Named] = []
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
                value = self.value(raw, here.of(None), at)
                out.append((None, self._remembered(value, raw, here)))
            elif not key.startswith("$"):
                out.append(self._element(key, raw, here, at))
        return out

    def _use(self, name: str, here: Place, at: str) -> list[Named]:
        found = self._library.fragments.get(name)
        if found is None:
            text = f"there is no fragment `{name}`{meant(name, self._library.fragments)}"
            self._problems.add(text, at)
            return []
        if name in self._open:
            self._problems.add(f"fragment `{name}` uses itself", at)
            return []
        self._open.add(name)
        try:
            inner = here.in_file(found.file)
            if any(key in found.body for key in ("$when", "$each", "$needs")):
                value = self.object(found.body, inner)
                return [(None, self._remembered(value, found.body, here))]
            return self._parts(found.body, inner)
        finally:
            self._open.discard(name)

    def _switch(self, raw: Any, here: Place, at: str) -> Value:
        if not isinstance(raw, Block) or "on" not in raw or not isinstance(raw.get("cases"), Block):
            self._problems.add("`$switch` needs `on` and `cases`", at)
            return NOTHING
        on = self._formulas.formula(str(raw["on"]), here, place(raw, "on", here.file))
        cases: dict[str, Form] = {}
        blocks = raw["cases"]
        reads = [on.reads]
        for names, block in blocks.items():
            value = self.value(block, here, place(blocks, names, here.file))
            reads.append(value.reads)
            form = value.form
            for name in names.split():
                cases[name] = form
        other = None
        if raw.get("else") is not None:
            value = self.value(raw["else"], here, place(raw, "else", here.file))
            reads.append(value.reads)
            other = value.form
        needs = on.needs if other is None else None
        form = forms.switch(on.one, cases, other)
        return Value(form, strong=True, needs=needs, reads=union(reads))

    def _first(self, raw: Any, here: Place, at: str) -> Value:
        if not isinstance(raw, list):
            self._problems.add("`$first` needs a list", at)
            return NOTHING
        values = [self.value(item, here, place(raw, i, here.file)) for i, item in enumerate(raw)]
        return Value(
            forms.first_given([(value.form, 0) for value in values]),
            strong=any(value.strong for value in values),
            needs=union(value.needs for value in values),
            reads=union(value.reads for value in values),
        )

    def _element(self, key: str, raw: Any, here: Place, at: str) -> Named:
        name, _, rest = key.partition(".")
        expected = None
        if self._checker and here.expected is not None:
            expected = self._checker.member(here.expected, name)
            if expected is None:
                self._problems.add(self._checker.unknown(here.expected, name), at)
        inner = here.of(expected)
        if rest:
            listed = False
            value = self.object(_dotted(rest, raw, at), inner.nested())
        else:
            listed = _is_list(raw)
            value = self.value(raw, inner.nested(), at)
        if self._checker and expected is not None and raw is not None:
            for problem in self._checker.cardinality(expected, listed):
                self._problems.add(problem, at)
            self._missing(raw, expected, inner, at)
        if self._trace and (value.given is not None or value.const is not None):
            return name, Value(forms.traced(name, at, value.form), strong=value.strong)
        return name, self._remembered(value, raw, here)

    def _missing(self, raw: Any, expected: Expected, here: Place, at: str) -> None:
        """Tell what the objects of an element need and are never given."""
        if self._checker is None or expected.shape is None:
            return
        items = enumerate(raw) if isinstance(raw, list) else [(None, raw)]
        for index, item in items:
            if not isinstance(item, Block) or "$value" in item:
                continue
            given = element_names(item, self._library)
            for name in self._checker.missing(expected, given):
                where = at if index is None else place(raw, index, here.file)
                text = f"`{expected.path}` needs `{name}`, which is never set"
                self._problems.add(text, where, "required")

    def _remembered(self, value: Value, raw: Any, here: Place) -> Value:
        """Return the value remembered by the text of its fields, where that saves work."""
        simple = isinstance(raw, str) and "|" not in raw
        if not here.memo or self._trace or simple or not value.reads or value.given is None:
            return value
        fields = bare(value.reads)
        if len(fields) > MOST_MEMO_FIELDS or fields & (here.volatile or NONE):
            return value  # what differs each time would only fill the memory
        key = self.text_key(value.reads, here)
        if key is None:
            return value
        form = forms.remembered(value.given, key, self._program)
        return replace(value, given=form, bare=value.given)

    def _array(self, raw: Any, here: Place) -> Value:
        items: list[tuple[bool, Form, int]] = []
        consts: list[Any] = []
        values: list[Value] = []
        for index, item in enumerate(raw):
            at = place(raw, index, here.file)
            value, spreads = self._item(item, here, at)
            if value.given is not None:
                items.append((spreads, value.given, self.bits(value)))
                values.append(value)
            elif value.const is not None:
                consts.append(value.const)
        if not items:
            return Value(None, consts or None, reads=NONE)
        strong = any(value.strong for value in values)
        reads = union(value.reads for value in values)
        needs = None if consts else union(value.needs for value in values)
        made = forms.told_array if self._trace else forms.array_of
        form = made(tuple(items), consts)
        around = not consts and all(value.around for value in values)
        return Value(form, strong=strong, needs=needs, reads=reads, around=around)

    def _item(self, item: Any, here: Place, at: str) -> tuple[Value, bool]:
        """Return the value of one array item and whether it is a list to spread."""
        if isinstance(item, Block):
            value = self.object(item, here.in_file(item.file or here.file))
            return value, "$each" in item and value.given is not None
        if not isinstance(item, str):
            return self.value(item, here, at), False
        code = self._formulas.formula(item, here, at)
        value = self._checked(code, code.many, here, at)
        return value, value.given is not None


def when(test: Value, value: Value) -> Value:
    """Return the value that is there only if the test holds."""
    form = forms.guarded(test.form, value.form)
    reads = union((test.reads, value.reads))
    return Value(form, strong=value.strong, needs=value.needs, reads=reads)


def element_names(raw: Any, library: Library, above: tuple[str, ...] = ()) -> set[str]:
    """Return the element names that a `set` may give, through `$use`, `$first` and `$switch`.

    above: the fragments that this is part of.
    """
    if not isinstance(raw, Block):
        return set() if raw is None else {ANY}
    out: set[str] = set()
    for key, value in raw.items():
        if key == "$use":
            for name in value if isinstance(value, list) else [value]:
                if name in library.fragments and name not in above:
                    body = library.fragments[name].body
                    out |= element_names(body, library, (*above, name))
        elif key == "$spread":
            out.add(ANY)
        elif key in ("$switch", "$first"):
            for option in _options(value):
                out |= element_names(option, library, above)
        elif not key.startswith("$"):
            out.add(key.partition(".")[0])
    return out


def _options(value: Any) -> list[Any]:
    """Return what a `$first` or `$switch` may choose from."""
    if isinstance(value, Block):
        cases = value.get("cases")
        return [*(cases.values() if isinstance(cases, Block) else ()), value.get("else")]
    return value if isinstance(value, list) else []


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
