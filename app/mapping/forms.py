"""The forms that objects, arrays, alternatives and conditions are made of (writer.py).

Three things keep what they write fast: an element whose fields are empty in the whole message is
not looked at (`Writer.present`), results that depend on text alone are remembered by that text
(`remembered`), and what is known beforehand (names that cannot meet) is not asked again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from app.fhir.ids import RECORD, encode_part
from app.mapping.functions import number
from app.mapping.memory import NEW, First, Odd, Recalled, repeated, warned
from app.mapping.source import Getter
from app.mapping.writer import Form, Program, Writer

# Element name (several: those an object may have; None: whatever it has), its form, its bits.
Part = tuple[str | tuple[str, ...] | None, Form, int]


def nothing(_: Writer, __: str) -> str:
    return "None"


def same(_: Writer, node: str) -> str:
    return node


def alone(_: Writer, node: str) -> str:
    return f"[{node}]"


def constant(value: Any) -> Form:
    return lambda w, node: w.const(value)


def as_list(one: Form) -> Form:
    def write(w: Writer, node: str) -> str:
        found = one(w, node)
        return w.set(f"[] if {found} is None else [{found}]")

    return write


def first_of(many: Form) -> Form:
    def write(w: Writer, node: str) -> str:
        found = many(w, node)
        return w.set(f"{found}[0] if {found} else None")

    return write


def or_empty(one: Form) -> Form:
    return lambda w, node: w.set(f"{one(w, node)} or []")


def guarded(when: Form, form: Form) -> Form:
    def write(w: Writer, node: str) -> str:
        test = when(w, node)
        out = w.set("None")
        with w.block(f"if {test}:"):
            w.put(f"{out} = {form(w, node)}")
        return out

    return write


def first_given(forms: Sequence[tuple[Form, int]], *, lists: bool = False) -> Form:
    """Return the first that gives something, each with the bits it needs (0: not known).

    lists: an empty list is nothing either.
    """
    if len(forms) == 1 and not forms[0][1]:
        return forms[0][0]

    def write(w: Writer, node: str) -> str:
        if w.deep:
            return w.outlined(write, node)
        out = w.new()
        if forms[0][1]:
            w.put(f"{out} = None")
        for index, (form, bits) in enumerate(forms):
            tests = []
            if index:
                tests.append(f"({out} is None or {out} == [])" if lists else f"{out} is None")
            if bits:
                tests.append(w.present(bits))
            if not tests:
                w.put(f"{out} = {form(w, node)}")
                continue
            with w.block(f"if {' and '.join(tests)}:"):
                w.put(f"{out} = {form(w, node)}")
        return out

    return write


def switch(on: Form, cases: dict[str, Form], other: Form | None) -> Form:
    """Return the form of a case by a value; the cases are functions of their own."""
    names: dict[int, list[str]] = {}
    forms: dict[int, Form] = {}
    for name, form in cases.items():
        names.setdefault(id(form), []).append(name)
        forms[id(form)] = form

    def write(w: Writer, node: str) -> str:
        if w.deep:
            return w.outlined(write, node)
        value = on(w, node)
        out = w.set("None")
        word = "if"
        for which, form in forms.items():
            among = names[which]
            test = f"== {among[0]!r}" if len(among) == 1 else f"in {tuple(among)!r}"
            with w.block(f"{word} {value} {test}:"):
                w.put(f"{out} = {w.outlined(form, node)}")
            word = "elif"
        if other is not None:
            with w.block("else:"):
                w.put(f"{out} = {w.outlined(other, node)}")
        return out

    return write


# --- objects and arrays ---------------------------------------------------------------------------


def builder(
    strong: tuple[Part, ...],
    weak: tuple[Part, ...],
    consts: dict[str, Any],
    whole: bool,
    type_: str | None = None,
) -> Form:
    """Return the form of an object: nothing without a strong value, unless it is `whole`.

    type_: the resource that it is the body of, which stands in front.
    """
    if len(strong) == 1 and strong[0][0] is None and not (weak or consts or whole):
        return _spread_alone(strong[0][1], strong[0][2])
    if len(strong) == 1 and isinstance(strong[0][0], str) and not (weak or whole or type_):
        return _of_one(strong[0][0], strong[0][1], strong[0][2], consts)

    def write(w: Writer, node: str) -> str:
        if w.deep:
            return w.outlined(write, node)
        out = w.set("{}" if type_ is None else f"{{'resourceType': {type_!r}}}")
        names = _Names()
        for part in strong:
            _put_part(w, node, out, part, names, replaces=True)
        if not whole and strong:
            with w.block(f"if {out}:"):
                _put_rest(w, node, out, weak, consts, names)
        else:
            _put_rest(w, node, out, weak, consts, names)
        return w.set(f"{out} or None")

    return write


def _of_one(name: str, form: Form, bits: int, consts: dict[str, Any]) -> Form:
    """Return an object of one value, which is there with its constants or not at all."""

    def write(w: Writer, node: str) -> str:
        if w.deep:
            return w.outlined(write, node)
        if not bits:
            return w.set(made(w, form(w, node)))
        out = w.set("None")
        with w.block(f"if {w.present(bits)}:"):
            w.put(f"{out} = {made(w, form(w, node))}")
        return out

    def made(w: Writer, value: str) -> str:
        others = [
            f"{other!r}: {w.const(const)}" for other, const in consts.items() if other != name
        ]
        return f"None if {value} is None else {{{', '.join([f'{name!r}: {value}', *others])}}}"

    return write


def _spread_alone(form: Form, bits: int) -> Form:
    """Return an object in which nothing stands but what spreads into it."""

    def write(w: Writer, node: str) -> str:
        if not bits:
            return w.set(f"{form(w, node)} or None")
        out = w.set("None")
        with w.block(f"if {w.present(bits)}:"):
            w.put(f"{out} = {form(w, node)} or None")
        return out

    return write


def needing(first: Form, rest: tuple[Part, ...], consts: dict[str, Any], needs: str) -> Form:
    """Return the form of an object that is nothing without the element `needs`."""

    def write(w: Writer, node: str) -> str:
        if w.deep:
            return w.outlined(write, node)
        value = first(w, node)
        out = w.set("None")
        with w.block(f"if {value} is not None:"):
            w.put(f"{out} = {{{needs!r}: {value}}}")
            names = _Names()
            names.add(needs)
            _put_rest(w, node, out, rest, consts, names)
        return out

    return write


class _Names:
    """The names an object may have so far: what cannot be there need not be looked for."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._open = False  # something spread into it

    def add(self, name: str | tuple[str, ...] | None) -> None:
        if name is None:
            self._open = True
        elif isinstance(name, str):
            self._known.add(name)
        else:
            self._known.update(name)

    def may_have(self, name: str) -> bool:
        return self._open or name in self._known


def _put_rest(
    w: Writer,
    node: str,
    out: str,
    parts: tuple[Part, ...],
    consts: dict[str, Any],
    names: _Names,
) -> None:
    for part in parts:
        _put_part(w, node, out, part, names, replaces=False)
    for name, value in consts.items():
        line = f"{out}[{name!r}] = {w.const(value)}"
        w.put(f"if {name!r} not in {out}: {line}" if names.may_have(name) else line)


def _put_part(w: Writer, node: str, out: str, part: Part, names: _Names, *, replaces: bool) -> None:
    """Put an element into the object; what spreads joins what is there, extensions add up."""
    name, form, bits = part
    if bits:
        with w.block(f"if {w.present(bits)}:"):
            _put_value(w, out, name, form(w, node), names, replaces)
    else:
        _put_value(w, out, name, form(w, node), names, replaces)
    names.add(name)


def _put_value(
    w: Writer,
    out: str,
    name: str | tuple[str, ...] | None,
    value: str,
    names: _Names,
    replaces: bool,
) -> None:
    if isinstance(name, tuple):
        w.put(f"if {value} is not None: {out}.update({value})")
        return
    if name is None:
        with w.block(f"if {value} is not None:"):
            if names.may_have("extension"):
                adding = f"{out}.update({w.bind(_adding)}({out}, {value}))"
                w.put(f"if 'extension' in {out} and 'extension' in {value}: {adding}")
                w.put(f"else: {out}.update({value})")
            else:
                w.put(f"{out}.update({value})")
        return
    also = "" if replaces or not names.may_have(name) else f" and {name!r} not in {out}"
    w.put(f"if {value} is not None{also}: {out}[{name!r}] = {value}")


def _adding(body: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Return `more`, its extensions behind those of the body."""
    return {**more, "extension": body["extension"] + more["extension"]}


def told_array(items: tuple[tuple[bool, Form, int], ...], consts: list[Any]) -> Form:
    """Return the array as `array_of` does; the trace is told where each item stands."""

    def write(w: Writer, node: str) -> str:
        if w.deep:
            return w.outlined(write, node)
        out = w.set("[]")
        for spreads, form, _ in items:
            w.put(f"run.trace.behind(len({out}))")
            if not spreads:
                w.put("run.trace.push('[0]', None)")
            found = form(w, node)
            if not spreads:
                w.put(f"run.trace.pop({found})")
            w.put("run.trace.done_behind()")
            _put_item(w, out, found, spreads)
        if consts:
            w.put(f"{out} += {w.bind(consts)}")
        return w.set(f"{out} or None")

    return write


def array_of(items: tuple[tuple[bool, Form, int], ...], consts: list[Any]) -> Form:
    """Return an array from (does it give a list, form, bits), with the constants behind."""

    def only(w: Writer, node: str) -> str:
        spreads, form, _ = items[0]
        found = form(w, node)
        return w.set(f"{found} or None" if spreads else f"None if {found} is None else [{found}]")

    def write(w: Writer, node: str) -> str:
        if w.deep:
            return w.outlined(write, node)
        out = w.set("[]")
        for spreads, form, bits in items:
            if bits:
                with w.block(f"if {w.present(bits)}:"):
                    _put_item(w, out, form(w, node), spreads)
            else:
                _put_item(w, out, form(w, node), spreads)
        if consts:
            w.put(f"{out} += {w.bind(consts)}")
        return w.set(f"{out} or None")

    return only if len(items) == 1 and not consts else write


def _put_item(w: Writer, out: str, found: str, spreads: bool) -> None:
    if spreads:
        w.put(f"if {found}: {out} += {found}")
    else:
        w.put(f"if {found} is not None: {out}.append({found})")


def each_of(nodes: Form, form: Form, trace: bool) -> Form:
    """Return the values of `form` at every node, as a list; None when there are none."""

    def write(w: Writer, node: str) -> str:
        if w.deep:
            return w.outlined(write, node)
        places, out, place = nodes(w, node), w.set("[]"), w.new()
        with w.block(f"for {place} in {places}:"):
            if trace:
                w.put(f"run.trace.push(f'[{{len({out})}}]', None)")
            found = form(w, place)
            if trace:
                w.put(f"run.trace.pop({found})")
            w.put(f"if {found} is not None: {out}.append({found})")
        return w.set(f"{out} or None")

    return write


def traced(name: str, at: str, form: Form) -> Form:
    def write(w: Writer, node: str) -> str:
        w.put(f"run.trace.push({name!r}, {at!r})")
        value = form(w, node)
        w.put(f"run.trace.pop({value})")
        return value

    return write


# --- what is remembered ---------------------------------------------------------------------------


def remembered(form: Form, key: Form, program: Program) -> Form:
    """Remember results by the text they come from: codes and units repeat between messages."""
    number_ = program.memory()
    compute = _recalled(number_, form, program)

    def write(w: Writer, node: str) -> str:
        w.head("known = run.known")
        text, out = key(w, node), w.new()
        _look(w, number_, compute, text, node, out)
        return out

    return write


def _recalled(number_: int, form: Form, program: Program) -> Recalled:
    function = program.function(form)
    return Recalled(number_, program.caller(function), function)


def _look(w: Writer, number_: int, compute: Any, text: str, node: str, out: str) -> None:
    w.put(f"{out} = known[{number_}].get({text}, {w.bind(NEW)})")
    odd = f"{out} = {w.bind(compute)}({text}, {node}, run)"
    w.put(f"if {out}.__class__ is {w.bind(Odd)}: {odd}")


def kept(form: Form, raw: Form, empty: str, _: object, *, program: Program) -> Form:
    """Remember results by the text of their places; without text there is nothing (`empty`)."""
    number_ = program.memory()
    compute = _recalled(number_, form, program)

    def write(w: Writer, node: str) -> str:
        w.head("known = run.known")
        text = raw(w, node)
        out = w.set(empty)
        with w.block(f"if {text}:"):
            _look(w, number_, compute, text, node, out)
        return out

    return write


def once(form: Form, raw: Form, empty: str, same: object, *, marks: dict[object, object]) -> Form:
    """Do it once for each text in a message; without text there is nothing (`empty`).

    same: forms of which this is the same (None: none) give the same for the same text, by a mark.
    Warnings come again with it: it may be part of a result that is remembered with them.
    """
    mark = object() if same is None else marks.setdefault(same, object())

    def write(w: Writer, node: str) -> str:
        if w.deep:
            return w.outlined(write, node)
        w.head("memo = run.memo")
        text = raw(w, node)
        out, key = w.set(empty), w.new()
        with w.block(f"if {text}:"):
            w.put(f"{key} = ({w.bind(mark)}, {text})")
            _look_here(w, "memo", key, out, lambda: form(w, node))
        return out

    return write


def _look_here(w: Writer, memo: str, key: str, out: str, make: Callable[[], str]) -> None:
    """Put what the message remembers into `out`, made if it is new; warnings come again."""
    w.put(f"{out} = {memo}.get({key}, {w.bind(NEW)})")
    with w.block(f"if {out} is {w.bind(NEW)}:"):
        before = w.set("len(run.issues)")
        w.put(f"{out} = {make()}")
        kept = f"{w.bind(warned)}({out}, run.issues, {before})"
        w.put(f"{memo}[{key}] = {out} if len(run.issues) == {before} else {kept}")
    w.put(f"elif {out}.__class__ is {w.bind(Odd)}: {out} = {w.bind(repeated)}({out}, run)")


def around(form: Form) -> Form:
    """Do it once for the nodes of an anchor that have the same node around them."""

    def write(w: Writer, node: str) -> str:
        return w.around(node, mark, lambda: f"{w.program.function(form)}({node}, run)")

    mark = object()
    return write


def again(form: Form, text: Form, program: Program) -> Form:
    """Do it once for each text in a message: the ten results of an order have one time.

    What gave a warning is done again, so that each place has its own.
    """
    mark, function = object(), program.function(form)
    first = First(program.caller(function), function)

    def write(w: Writer, node: str) -> str:
        w.head("memo = run.memo")
        key = w.set(f"({w.bind(mark)}, {text(w, node)})")
        out = w.set(f"memo.get({key}, {w.bind(NEW)})")
        w.put(f"if {out} is {w.bind(NEW)}: {out} = {w.bind(first)}({key}, {node}, run)")
        return out

    return write


def shared(get: Form, name: str) -> Form:
    """Remember results within one message: keys and elements ask for the same identifiers.

    Warnings come again with it: it may be part of a result that is remembered with them.
    """

    def write(w: Writer, node: str) -> str:
        key, out = w.set(f"({name!r}, {node}.raw)"), w.new()
        make = f"{w.program.function(get)}({node}, run)"
        _look_here(w, "run.memo", key, out, lambda: make)
        return out

    return write


def guarded_key(key: Form | None, guarded: Sequence[tuple[Form, Form]]) -> Form:
    """Return the text that results are remembered by, some of it only where a test holds."""

    def write(w: Writer, node: str) -> str:
        parts = [] if key is None else [key(w, node)]
        for test, text in guarded:
            held, part = test(w, node), w.set("()")
            with w.block(f"if {held}:"):
                w.put(f"{part} = {text(w, node)}")
            parts.append(part)
        return w.set(f"({', '.join(parts)},)")

    return write


def raw_text(w: Writer, node: str) -> str:
    return w.set(f"{node}.raw")


# --- keys -----------------------------------------------------------------------------------------


def told(form: Form, said: str) -> Form:
    """Return the form, which tells the trace what its value comes from."""

    def write(w: Writer, node: str) -> str:
        found = form(w, node)
        w.put(f"if {found}: run.trace.read({said!r})")
        return found

    return write


def told_key(form: Form) -> Form:
    """Return the form of a key, which tells the trace of what it is made."""

    def write(w: Writer, node: str) -> str:
        w.put("run.trace.key_begins()")
        found = form(w, node)
        w.put(f"run.trace.key_is({found})")
        return found

    return write


def identifier_key(one: Form) -> Form:
    """Return (system, value) of an Identifier that has both."""

    def key(found: Any) -> Any:
        if not isinstance(found, dict):
            return None
        system, value = found.get("system"), found.get("value")
        return (system, value) if system and value else None

    return lambda w, node: w.set(f"{w.bind(key)}({one(w, node)})")


def encoded(form: Form) -> Form:
    """Return the value as a part of a record key."""

    def write(w: Writer, node: str) -> str:
        found = form(w, node)
        encode = f"{w.bind(encode_part)}(str({found}))"
        return w.set(f"None if {found} is None else {encode}")

    return write


def joined_parts(parts: list[Form]) -> Form:
    """Return encoded parts joined by `:`; None when one is missing."""
    if len(parts) == 1:
        return parts[0]

    def write(w: Writer, node: str) -> str:
        out = w.set("None")
        values: list[str] = []

        def rest(index: int) -> None:
            if index == len(parts):
                w.put(f"{out} = f'{':'.join('{' + value + '}' for value in values)}'")
                return
            value = w.set(parts[index](w, node))
            values.append(value)
            with w.block(f"if {value} is not None:"):
                rest(index + 1)

        rest(0)
        return out

    return write


def record_key_of(parts: list[Form]) -> Form:
    """Return the record key (system, value) of parts that are encoded already."""
    text = joined_parts(parts)

    def write(w: Writer, node: str) -> str:
        found = text(w, node)
        # RECORD itself, by which `run` knows that the value is encoded already.
        return w.set(f"None if {found} is None else ({w.bind(RECORD)}, {found})")

    return write


# --- conditions -----------------------------------------------------------------------------------


def valued(one: Form) -> Form:
    return lambda w, node: w.set(f"{one(w, node)} is not None")


def negated(test: Form) -> Form:
    return lambda w, node: w.set(f"not {test(w, node)}")


def joined(tests: Sequence[Form], all_: bool) -> Form:
    """Return whether all (or any) of the tests hold; later ones are asked only if need be."""

    def write(w: Writer, node: str) -> str:
        out = w.set(tests[0](w, node))
        for test in tests[1:]:
            with w.block(f"if {out}:" if all_ else f"if not {out}:"):
                w.put(f"{out} = {test(w, node)}")
        return out

    return write


def among(one: Form, wanted: frozenset[str], text: bool) -> Form:
    """Return whether `one` is among the texts. text: it is text itself, if anything."""

    def write(w: Writer, node: str) -> str:
        found = one(w, node)
        shown = found if text else f"str({found})"
        return w.set(f"{found} is not None and {shown} in {w.bind(wanted)}")

    return write


def compare(operator: str, one: Form, other: Form, const: Any, text: bool) -> Form:
    """Return a test of `one` against the constant, or (None) against the value of `other`.

    text: `one` is text, if anything.
    """
    if operator == "matches":
        search = re.compile(str(const)).search

        def matches(w: Writer, node: str) -> str:
            found = one(w, node)
            held = f"{w.bind(search)}(str({found})) is not None"
            return w.set(f"{found} is not None and {held}")

        return matches
    if operator in ("=", "!="):
        sign = "==" if operator == "=" else "!="

        def equal(w: Writer, node: str) -> str:
            found = one(w, node)
            if const is None:
                return w.set(f"str({found}) {sign} str({other(w, node)})")
            shown = found if text and str(const) != "None" else f"str({found})"
            return w.set(f"{shown} {sign} {str(const)!r}")

        return equal
    holds = _ordered(_ORDER[operator])
    return lambda w, node: w.set(f"{w.bind(holds)}({one(w, node)}, {other(w, node)})")


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def holds(a: Any, b: Any) -> bool:
        if a is None or b is None:
            return False
        x, y = number(a), number(b)
        return test(x, y) if x is not None and y is not None else test(str(a), str(b))

    return holds


_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def reference(names: tuple[str, ...], find: Getter, empty: str) -> Form:
    """Return what `find` gives for rules, `empty` when none of them made anything."""
    test = " or ".join(f"{name!r} in made" for name in names)

    def write(w: Writer, node: str) -> str:
        w.head("made = run.made")
        return w.set(f"{w.bind(find)}({node}, run) if {test} else {empty}")

    return write
