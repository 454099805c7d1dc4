"""Compiled formulas: their forms, and what is known about them before any message comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from app.mapping import forms
from app.mapping.library import Table
from app.mapping.source import Access, Function
from app.mapping.writer import Form, Program, Writer, form_of

Fields = frozenset[str]
NONE: Fields = frozenset()
# Stands among the fields that are read where a resource is mentioned on the way: such a result may
# be shared inside a message, but has to be made in each.
MENTIONS = frozenset(("*",))


# Behind a field stands the number of the test without which it is not looked at: `MSH-7?3`.
GUARD = "?"


def bare(reads: Fields | None) -> Fields:
    """Return the fields, whatever they are guarded by."""
    return frozenset(read.partition(GUARD)[0] for read in reads or ())


def union(parts: Iterable[Fields | None]) -> Fields | None:
    """Return all the fields together; None as soon as one is not known."""
    out: set[str] = set()
    for part in parts:
        if part is None:
            return None
        out |= part
    return frozenset(out)


@dataclass(frozen=True, slots=True)
class Code:
    """A compiled formula in the four ways of `Access`.

    strong: it brings something of the message (constants alone make no object).
    type: the FHIR type of what it gives, None when that depends.
    target: resource type a reference points to.
    needs: fields of which one has to hold something for a value to come out; None: not known.
    reads: all fields looked at, for results that may be remembered; None: not a pure function.
    whole: the same wherever in the message it is asked.
    around: the same for all nodes of an anchor that have the same node around them.
    raw: the text that the places are made from, if the source tells; cut: how (see Access).
    text: `one` gives text or None.
    consts: constants that may come out in place of what the message says.
    """

    one: Form
    many: Form
    node: Form
    nodes: Form
    strong: bool = True
    type: str | None = None
    const: Any = None
    at: str | None = None
    target: str | None = None
    table: Table | None = None
    needs: Fields | None = None
    reads: Fields | None = None
    whole: bool = False
    around: bool = False
    raw: Form | None = None
    cut: int | None = None
    text: bool = False
    consts: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Value:
    """A compiled value of an element: a constant, or a form; the rest as in `Code`.

    bare: the same form, if `given` remembers what it gives.
    """

    given: Form | None
    const: Any = None
    strong: bool = False
    needs: Fields | None = None
    reads: Fields | None = None
    whole: bool = False
    around: bool = False
    bare: Form | None = None

    @property
    def form(self) -> Form:
        return self.given or forms.constant(self.const)


NOTHING = Value(None, reads=NONE)


def plain(value: Any) -> Any:
    """Return a constant of a mapping file as plain dicts and lists."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value


def const_code(value: Any) -> Code:
    value = plain(value)
    one = forms.constant(value)
    many = forms.constant([value])
    return Code(
        one, many, one, many, strong=False, const=value, reads=NONE, whole=True, consts=(value,)
    )


HERE = Code(forms.same, forms.alone, forms.same, forms.alone, reads=NONE)  # the place itself


def of_access(access: Access) -> Code:
    reads = access.reads
    if reads is None:
        needs, fields = None, None
    elif reads:
        needs = fields = frozenset((reads,))
    else:
        needs, fields = None, NONE
    if access.needs:
        needs = frozenset((access.needs,))
    return Code(
        form_of(access.one),
        form_of(access.many),
        form_of(access.node),
        form_of(access.nodes),
        at=access.at,
        needs=needs,
        reads=fields,
        whole=access.whole,
        around=access.around,
        raw=form_of(access.raw) if access.raw else None,
        cut=access.cut,
        text=access.text,
    )


def either(codes: list[Code]) -> Code:
    """Return the code of `a ?? b`: the first that has a value."""
    kinds = {code.type for code in codes if code.const is None}
    around = all(code.around for code in codes)
    return Code(
        _chain(
            [code.one if around else _found_around(code) for code in codes],
            lists=any(code.type is None for code in codes[:-1]),  # what has a type is one value
        ),
        forms.or_empty(_chain([code.many for code in codes])),
        _chain([code.node for code in codes]),
        forms.or_empty(_chain([code.nodes for code in codes])),
        strong=any(code.strong for code in codes),
        type=kinds.pop() if len(kinds) == 1 else None,
        needs=union(code.needs for code in codes),
        reads=union(code.reads for code in codes),
        whole=all(code.whole for code in codes),
        around=around,
        text=all(code.text for code in codes),
        consts=tuple(const for code in codes for const in code.consts),
    )


def _found_around(code: Code) -> Form:
    """Return the form of a reference, which all that have the same node around them share."""
    return forms.around(code.one) if code.around and code.type == "Reference" else code.one


def _chain(options: list[Form], *, lists: bool = True) -> Form:
    return forms.first_given([(form, 0) for form in options], lists=lists)


def mapped(
    given: Code, step: Callable[[Any], Any], *, other: Code | None, by: Callable[[Any], Any] | None
) -> Code:
    """Return `given` with `step` applied to each value.

    other: what stands for a value of which `step` makes nothing; by: `step` once more on that.
    """

    def stepped(w: Writer, value: str, node: str) -> str:
        out = w.set(f"{w.bind(step, steady=True)}({value})")
        if other is not None:
            with w.block(f"if {out} is None:"):
                instead = other.one(w, node)
                w.put(f"{out} = {w.bind(by)}({instead})" if by else f"{out} = {instead}")
        return out

    def one(w: Writer, node: str) -> str:
        found = given.one(w, node)
        out = w.set("None")
        with w.block(f"if {found} is not None:"):
            w.put(f"{out} = {stepped(w, found, node)}")
        return out

    def many(w: Writer, node: str) -> str:
        return _each(w, given.many(w, node), lambda w, value: stepped(w, value, node))

    return replace(
        given,
        one=one,
        many=many,
        node=one,
        nodes=many,
        at=None,
        raw=None,
        text=False,
        const=None,
        reads=given.reads if other is None else union((given.reads, other.reads)),
        whole=given.whole and (other is None or other.whole),
        around=given.around and (other is None or other.around),
        consts=() if other is None or by is not None else other.consts,
    )


def _each(w: Writer, values: str, do: Form, *, trace: bool = False) -> str:
    """Write a loop over values; return the list of what comes out."""
    out, value = w.set("[]"), w.new()
    with w.block(f"for {value} in {values}:"):
        if trace:
            w.put(f"run.trace.push(f'[{{len({out})}}]', None)")
        made = do(w, value)
        if trace:
            w.put(f"run.trace.pop({made})")
        w.put(f"if {made} is not None: {out}.append({made})")
    return out


# (form, the text it depends on, what it gives without, how it is made of it) -> a form that
# remembers
Keep = Callable[[Form, Form, str, object], Form]


def applied(given: Code, form: Form, trace: bool, keep: Keep | None) -> Code:
    """Return `given` with a map or mention applied to each of its places.

    keep: remembers by the text of the places, where nothing else decides.
    """

    def one(w: Writer, node: str) -> str:
        found = given.node(w, node)
        out = w.set("None")
        with w.block(f"if {found} is not None:"):
            w.put(f"{out} = {form(w, found)}")
        return out

    def many(w: Writer, node: str) -> str:
        return _each(w, given.nodes(w, node), form, trace=trace)

    if keep is not None and given.raw is not None:
        cut = given.cut
        first = keep(one, given.raw, "None", None if cut is None else ("one", cut))
        every = keep(many, given.raw, "[]", None if cut is None else ("many", cut))
        return Code(first, every, first, every, needs=given.needs)
    return Code(one, many, one, many, needs=given.needs)


def called(function: Function, given: Code, args: list[Code], name: str, program: Program) -> Code:
    """Return the call of a function of the language."""
    invoke = _invoker(function.call, args, function.pure)
    if function.fails is not None and function.takes == "value" and given.node is given.one:
        one = _one(function, given, _telling(invoke, function.fails))
    else:
        one = _one(function, given, invoke)
        if function.fails is not None:
            one = _warning(one, given, function.fails, program)
    many = _many(function, one, given, invoke)
    if function.gives_list:
        one = forms.first_of(many)
    reads = union([given.reads if function.takes != "none" else NONE, *(a.reads for a in args)])
    code = Code(
        one, many, one, many, strong=given.strong or any(arg.strong for arg in args),
        type=function.type, needs=given.needs, reads=reads if function.pure else None,
        whole=function.takes != "none" and given.whole and all(arg.whole for arg in args),
    )  # fmt: skip
    if function.takes != "none":
        return replace(code, needs=None) if name == "count" else code
    strong = any(arg.strong for arg in args) or not args
    needs = union(arg.needs for arg in args if arg.const is None) if name == "concat" else None
    return replace(code, strong=strong, needs=needs or None)


Invoke = Callable[[Writer, str, str], str]  # (writer, the value, the node) -> the result


def _invoker(call: Callable[..., Any], args: list[Code], pure: bool) -> Invoke:
    def invoke(w: Writer, value: str, node: str) -> str:
        given = "".join(f", {arg.one(w, node)}" for arg in args)
        get = f"{w.bind(call)}({value}, run{given})"
        return w.once(get, lambda: w.set(get)) if pure else w.set(get)

    return invoke


def _one(function: Function, given: Code, invoke: Invoke) -> Form:
    get = {
        "value": given.one,
        "node": given.node,
        "values": given.many,
        "nodes": given.nodes,
        "none": forms.same,
    }[function.takes]

    def one(w: Writer, node: str) -> str:
        found = get(w, node)
        if function.takes == "none":
            return invoke(w, found, node)
        out = w.set("None")
        with w.block(f"if {found} is not None:"):
            w.put(f"{out} = {invoke(w, found, node)}")
        return out

    return one


def _many(function: Function, one: Form, given: Code, invoke: Invoke) -> Form:
    get = {"value": given.many, "node": given.nodes}.get(function.takes)
    if get is None:
        return forms.or_empty(one) if function.gives_list else forms.as_list(one)
    every = get

    def lists(w: Writer, node: str) -> str:
        values, out, value = every(w, node), w.set("[]"), w.new()
        with w.block(f"for {value} in {values}:"):
            w.put(f"{out} += {invoke(w, value, node)} or ()")
        return out

    def many(w: Writer, node: str) -> str:
        return _each(w, every(w, node), lambda w, value: invoke(w, value, node))

    return lists if function.gives_list else many


def _warning(one: Form, given: Code, fails: tuple[str, str], program: Program) -> Form:
    """Report the place of a value that a function could make nothing of."""
    details, text = fails
    place_of = program.getter(given.node, "place")

    def warn(node: Any, run: Any) -> None:
        found = place_of(node, run)
        if found is not None:
            run.warn(text, getattr(found, "place", None), details)

    def checked(w: Writer, node: str) -> str:
        value = one(w, node)
        with w.block(f"if {value} is None:"):
            told = f"{w.bind(warn)}({node}, run)"
            w.put(told if given.raw is None else f"if {given.raw(w, node)}: {told}")
        return value

    return checked


def _telling(invoke: Invoke, fails: tuple[str, str]) -> Invoke:
    """The same for what another function gave: a value that stands at no place of its own."""
    details, text = fails

    def told(w: Writer, value: str, node: str) -> str:
        out = invoke(w, value, node)
        w.put(f"if {out} is None: run.warn({text!r}, getattr({value}, 'place', None), {details!r})")
        return out

    return told
