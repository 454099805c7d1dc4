"""Mapping files to generated functions: `compile_library` gives what `run` executes.

Here: rules, their keys, data-type maps and mentions. What stands in a `set` compiles objects.py,
formulas formulas.py; forms.py and code.py say what is written for them, writer.py writes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.errors import Invalid
from app.mapping import forms
from app.mapping.code import MENTIONS, NONE, NOTHING, Code, Value, union
from app.mapping.formulas import Formulas, all_of
from app.mapping.library import Library, Located, place
from app.mapping.mentions import mentioner, packed
from app.mapping.objects import MOST_MEMO_FIELDS, Objects, element_names, when
from app.mapping.places import Place, Problems
from app.mapping.run import Mapping_, Rule
from app.mapping.source import Getter, Source
from app.mapping.types import Checker, Expected
from app.mapping.writer import Form, Program, Writer, form_of
from app.mapping.yamldoc import Block


def compile_library(
    library: Library, source: Source, *, check: bool = False, trace: bool = False
) -> Mapping_:
    """Return the library compiled for its feed.

    check: also hold every element against the R4 definitions. trace: the functions tell `run.trace`
    what they do (`--explain`), which costs time.
    Raises Invalid with every problem found, each with file and line.
    """
    compiler = _Compiler(library, source, Checker() if check else None, trace)
    mapping = compiler.mapping()
    if compiler.problems.found:
        raise Invalid.of(compiler.problems.found)
    return mapping


def compile_condition(text: str, at: str, source: Source) -> Getter:
    """Compile a condition that stands alone (`for:` of an overlay). Raises Invalid."""
    problems, program = Problems(), Program()
    formulas = Formulas(Library(source.name), source, program, problems, trace=False)
    found = formulas.condition(text, Place(at, None, None), at)
    if problems.found:
        raise Invalid.of(problems.found)
    return program.getter(found.form)


class _Compiler:
    """Compiles the parts of one library that have names."""

    def __init__(
        self, library: Library, source: Source, checker: Checker | None, trace: bool
    ) -> None:
        self.library = library
        self.source = source
        self.checker = checker
        self.trace = trace
        self.problems = problems = Problems()
        self.program = program = Program()
        self.formulas = Formulas(
            library, source, program, problems, trace=trace, checker=checker, part_of=self._part
        )
        self.objects = Objects(
            library, source, program, problems, self.formulas, trace=trace, checker=checker
        )
        self.parts: dict[str, Value] = {}  # maps and mentions

    def mapping(self) -> Mapping_:
        rules = [rule for rule in map(self._rule, self.library.rules) if rule is not None]
        for name in (*self.library.maps, *self.library.mentions):
            self._part(name)
        every = None
        if self.library.every is not None:
            found = self.library.every
            expected = self.checker.resource("Basic") if self.checker else None
            here = Place(found.file, None, expected)
            form = self.objects.object(found.body, here, whole=True).form
            every = self.program.getter(form, "every")
        for rule in rules:
            rule.referred = rule.name in self.formulas.referred
        if not self.trace:
            self.objects.bits_of(sorted(self.formulas.fields))
        return Mapping_(
            rules,
            every,
            self.library.files,
            self.library.digest,
            self.objects.fields,
            frozenset(self.formulas.paths),
            self.program,
        )

    # --- rules -----------------------------------------------------------------------------------

    def _rule(self, located: Located) -> Rule | None:
        body, file = located.body, located.file
        type_, each = body.get("resource"), body.get("each")
        if not isinstance(type_, str) or not isinstance(each, str):
            self.problems.add("a rule needs `resource` and `each`", located.at)
            return None
        try:
            anchor = self.source.anchor(each)
        except Invalid as exc:
            self.problems.add(str(exc), place(body, "each", file))
            return None
        self.formulas.paths.update(each.split())
        expected = self._resource(type_, place(body, "resource", file))
        memo = body.get("memo")
        varying = frozenset(str(field) for field in memo) if isinstance(memo, list) else None
        kept = memo is True or varying is not None
        here = Place(
            file, each, expected, memo=kept, volatile=varying, varying=varying, fills=type_
        )
        fill = self.objects.object(body.get("set") or Block(), here, whole=True, type_=type_)
        self._missing(body, expected, located.at)
        given, test = self._tests(body.get("when"), here, place(body, "when", file))
        key = self._key(body.get("key"), here, place(body, "key", file))
        rule = Rule(
            name=located.name,
            type=type_,
            anchor=anchor,
            same=str(body.get("same", "merge")),
            mention=body.get("mention") is True,
            late=body.get("late") is True,
            at=located.at,
            every=body.get("every") is not False,
            bits=0 if self.trace else self.objects.bits_of(f"{name}-0" for name in each.split()),
        )
        self._install(rule, "given", given)
        self._install(rule, "when", test)
        self._install(rule, "key", key.form if key else None)
        self._install(rule, "fill", fill.form)
        return rule

    def _install(self, rule: Rule, name: str, form: Form | None) -> None:
        """Give a rule a function, which is generated when it is first called."""
        if form is not None:
            about = f"{name}_{rule.name}"
            made = self.program.function(form, about, lambda getter: setattr(rule, name, getter))
            setattr(rule, name, self.program.namespace[made])
            rule.functions[name] = made

    def _tests(self, text: Any, here: Place, at: str) -> tuple[Form | None, Form | None]:
        """Return what has to hold of the message as a whole, and of each node."""
        if text is None:
            return None, None
        tests = self.formulas.tests(str(text), here, at)
        whole = [test for test in tests if test.whole]
        each = [test for test in tests if not test.whole]
        return (
            all_of(whole).form if whole else None,
            self._asked(all_of(each), here) if each else None,
        )

    def _asked(self, test: Value, here: Place) -> Form:
        """Return the test of a node, remembered by the text of its fields where that is all."""
        key = self.objects.text_key(test.reads, here) if here.memo and test.reads else None
        if key is None or self.trace or len(test.reads or ()) > MOST_MEMO_FIELDS:
            return test.form
        if test.reads and test.reads & (here.volatile or NONE):
            return test.form
        return forms.remembered(test.form, key, self.program)

    def _resource(self, type_: str, at: str) -> Expected | None:
        if self.checker is None:
            return None
        expected = self.checker.resource(type_)
        if expected is None:
            self.problems.add(self.checker.unknown_resource(type_), at)
        return expected

    def _missing(self, body: Block, expected: Expected | None, at: str) -> None:
        given = element_names(body.get("set") or Block(), self.library)
        if self.checker and expected is not None:
            for name in self.checker.missing(expected, given):
                self.problems.add(f"required element `{name}` is never set", at, "required")

    # --- keys ------------------------------------------------------------------------------------

    def _key(self, key: Any, here: Place, at: str) -> Value | None:
        if key is None:
            return None
        options = key if isinstance(key, list) else [key]
        values = [v for v in (self._one_key(option, here, at) for option in options) if v]
        if not values:
            return None  # what is wrong with them has been reported
        reads = union(value.reads for value in values)
        if self.trace:
            told = forms.told_key(forms.first_given([(value.form, 0) for value in values]))
            return Value(told, strong=True, reads=reads)
        if len(values) == 1:
            return Value(values[0].form, strong=True, reads=reads)
        choices = [(value.form, self.objects.bits(value)) for value in values]
        return Value(forms.first_given(choices), strong=True, reads=reads)

    def _one_key(self, key: Any, here: Place, at: str) -> Value | None:
        if not isinstance(key, Block) or not ({"identifier", "record"} & set(key)):
            self.problems.add("a key is `identifier: formula` or `record: [parts]`", at)
            return None
        if "identifier" in key:
            code = self.formulas.formula(str(key["identifier"]), here, at)
            if code.text or code.type not in (None, "Identifier"):
                text = "the key's formula gives no Identifier: apply a map that does, or `record`"
                self.problems.add(text, at)
            form = self._kept(forms.identifier_key(code.one), code, here)
            value = Value(form, strong=True, needs=code.needs, reads=code.reads)
        else:
            parts = key["record"]
            listed = parts if isinstance(parts, list) else [parts]
            codes = [self.formulas.formula(part, here, at) for part in listed]
            form = forms.record_key_of(self._key_parts(codes, here))
            value = Value(form, strong=True, reads=union(code.reads for code in codes))
        if "$when" in key:
            return when(self.formulas.condition(str(key["$when"]), here, at), value)
        return value

    def _kept(self, form: Form, code: Code, here: Place) -> Form:
        """Return the form, remembered where the text of the node's own fields decides."""
        if not code.reads or not self._settles(code, here):
            return form
        key = self.objects.text_key(code.reads, here)
        return form if key is None else forms.remembered(form, key, self.program)

    def _key_parts(self, codes: list[Code], here: Place) -> list[Form]:
        """Return the parts of a record key; neighbours that may be remembered are one part."""
        out: list[Form] = []
        run: list[Code] = []
        for code in [*codes, None]:
            if code is not None and self._settles(code, here):
                run.append(code)
                continue
            if run:
                form = forms.joined_parts([forms.encoded(one.one) for one in run])
                reads = union(one.reads for one in run)
                key = self.objects.text_key(reads or NONE, here) or forms.nothing
                out.append(forms.remembered(form, key, self.program))
                run = []
            if code is not None:
                out.append(self._found_once(forms.encoded(code.one), code, here))
        return out

    def _found_once(self, form: Form, code: Code, here: Place) -> Form:
        """Return the form, if possible done once for many nodes of a message."""
        if self.trace:
            return form
        if code.around:
            return forms.around(form)
        if code.reads is None or len(code.reads) != 1 or code.reads & MENTIONS:
            return form
        key = self.objects.text_key(code.reads, here)
        return form if key is None else forms.again(form, key, self.program)

    def _settles(self, code: Code, here: Place) -> bool:
        """Say whether a part of a key depends on nothing but fields of the rule's own node."""
        if code.reads is None or self.trace or here.anchor is None:
            return False
        if not code.reads:
            return True
        return (
            here.memo
            and not code.reads & (here.volatile or NONE)
            and self.objects.text_key(code.reads, here) is not None
        )

    # --- maps and mentions -----------------------------------------------------------------------

    def _part(self, name: str) -> Value:
        """Return the compiled map or mention; they may use each other, and themselves."""
        found = self.parts.get(name)
        if found is None:
            in_maps = name in self.library.maps
            found = self._map(name) if in_maps else self._mention(name)
        return found

    def _opened(self, name: str) -> Callable[[Form], str]:
        """Make the part known by a function that is told its form later; return who tells."""
        told: list[Form] = []
        made = self.program.function(lambda w, node: told[0](w, node), name)

        def called(w: Writer, node: str) -> str:
            return w.set(f"{made}({node}, run)")

        self.parts[name] = Value(called, strong=True)

        def tell(form: Form) -> str:
            told.append(form)
            return made

        return tell

    def _map(self, name: str) -> Value:
        located = self.library.maps[name]
        body = located.body
        tell = self._opened(name)
        called = self.parts[name].form
        expected = None
        gives = body.get("gives")
        if self.checker and isinstance(gives, str):
            expected = self.checker.datatype(gives)
            if expected is None:
                self.problems.add(f"R4 has no type {gives}", place(body, "gives", located.file))
        if "set" not in body:
            self.problems.add(f"the map `{name}` needs `set`", located.at)
        here = Place(located.file, None, expected)
        value = self.objects.value(body.get("set"), here, place(body, "set", located.file))
        form = value.form
        if body.get("memo") is True and not self.trace:
            form = forms.remembered(form, forms.raw_text, self.program)
            if value.reads != NONE:
                self.problems.add("`memo` needs a map that looks at nothing outside", located.at)
        elif value.reads is not None and value.reads <= MENTIONS and not self.trace:
            form = forms.shared(form, name)  # nothing but its own text decides
        tell(form)
        self.parts[name] = Value(called, strong=True, reads=value.reads)
        return self.parts[name]

    def _mention(self, name: str) -> Value:
        located = self.library.mentions[name]
        body, file = located.body, located.file
        tell = self._opened(name)
        called = self.parts[name].form
        type_ = str(body.get("resource", ""))
        if not type_:
            self.problems.add(f"the mention `{name}` needs `resource`", located.at)
        expected = self._resource(type_, located.at) if type_ else None
        here = Place(file, None, expected)
        fill = self.objects.object(body.get("set") or Block(), here, whole=True, type_=type_)
        key = self._key(body.get("key"), here, place(body, "key", file)) or NOTHING
        reads = [fill.reads, key.reads]
        display = test = None
        getter = self.program.getter
        if "display" in body:
            at = place(body, "display", file)
            display = getter(self.formulas.formula(str(body["display"]), here, at).one)
        if "$when" in body:
            at = place(body, "$when", file)
            asked = self.formulas.condition(str(body["$when"]), here, at)
            test = getter(asked.form)
            reads.append(asked.reads)
        made = getter(key.form, f"key_{name}"), getter(fill.form, f"fill_{name}")
        get = mentioner(name, type_, *made, display, test)
        known = union(reads)
        fields = None if known is None or self.trace else known - MENTIONS
        around = self.source.key_of("", tuple(sorted(fields))) if fields else None
        pure = fields is not None and (not fields or around is not None)
        if pure:
            outer = None if around is None else getter(form_of(around), f"around_{name}")
            get = packed(get, name, self.program.memory(), outer)
        tell(form_of(get))
        # What is mentioned inside a mention travels in its pack: that keeps it pure.
        self.parts[name] = Value(called, strong=True, reads=fields if pure else None)
        return self.parts[name]
