"""Compiled formulas: their closures, and what is known about them before any message comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from app.mapping.closures import as_list, constant, first_of, once, same
from app.mapping.library import Table
from app.mapping.run import Run
from app.mapping.source import Access, Function, Getter

Fields = frozenset[str]
NONE: Fields = frozenset()


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
    """A compiled formula in the forms of `Access`.

    strong: it brings something of the message (constants alone make no object).
    type: the FHIR type of what it gives, None when that depends.
    target: resource type a reference points to.
    needs: fields of which one has to hold something for a value to come out; None: not known.
    reads: all fields looked at, for results that may be remembered; None: not a pure function.
    whole: the same wherever in the message it is asked.
    raw: the text that the places are made from, if the source tells.
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
    needs: Fields | None = None
    reads: Fields | None = None
    whole: bool = False
    raw: Getter | None = None


@dataclass(frozen=True, slots=True)
class Value:
    """A compiled value of an element: a constant, or a function; the rest as in `Code`."""

    get: Getter | None
    const: Any = None
    strong: bool = False
    needs: Fields | None = None
    reads: Fields | None = None
    whole: bool = False

    @property
    def getter(self) -> Getter:
        return self.get or constant(self.const)


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
    one = constant(value)
    many = constant([value])
    return Code(one, many, one, many, strong=False, const=value, reads=NONE, whole=True)


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
        access.one,
        access.many,
        access.node,
        access.nodes,
        at=access.at,
        needs=needs,
        reads=fields,
        whole=access.whole,
        raw=access.raw,
    )


def either(codes: list[Code]) -> Code:
    """Return the code of `a ?? b`: the first that has a value."""
    kinds = {code.type for code in codes if code.const is None}
    return Code(
        _chain([code.one for code in codes]),
        _lists([code.many for code in codes]),
        _chain([code.node for code in codes]),
        _lists([code.nodes for code in codes]),
        strong=any(code.strong for code in codes),
        type=kinds.pop() if len(kinds) == 1 else None,
        needs=union(code.needs for code in codes),
        reads=union(code.reads for code in codes),
        whole=all(code.whole for code in codes),
    )


def _chain(getters: list[Getter]) -> Getter:
    if len(getters) == 2:
        get, other = getters

        def of_two(node: Any, run: Run) -> Any:
            found = get(node, run)
            return other(node, run) if found is None or found == [] else found

        return of_two

    def first(node: Any, run: Run) -> Any:
        for one in getters:
            found = one(node, run)
            if found is not None and found != []:
                return found
        return None

    return first


def _lists(getters: list[Getter]) -> Getter:
    first = _chain(getters)
    return lambda node, run: first(node, run) or []


def mapped(given: Code, step: Getter, *, type_: str | None, table: Table | None) -> Code:
    """Return `given` with `step(value, run)` applied to each value."""

    def one(node: Any, run: Run) -> Any:
        found = given.one(node, run)
        return None if found is None else step(found, run)

    def many(node: Any, run: Run) -> Any:
        return [v for f in given.many(node, run) if (v := step(f, run)) is not None]

    return Code(
        one, many, one, many, strong=given.strong, type=type_, table=table,
        needs=given.needs, reads=given.reads, whole=given.whole,
    )  # fmt: skip


def applied(given: Code, get: Getter, trace: bool, pure: bool) -> Code:
    """Return `given` with a map or mention applied to each of its places.

    pure: nothing but the text of a place decides: done once for a text in a message.
    """

    def one(node: Any, run: Run) -> Any:
        found = given.node(node, run)
        return None if found is None else get(found, run)

    def many(node: Any, run: Run) -> Any:
        return [v for n in given.nodes(node, run) if (v := get(n, run)) is not None]

    def traced(node: Any, run: Run) -> Any:
        out: list[Any] = []
        for found in given.nodes(node, run):
            run.trace.push(f"[{len(out)}]", None)
            value = get(found, run)
            run.trace.pop(value)
            if value is not None:
                out.append(value)
        return out

    if trace:
        return Code(one, traced, one, traced, needs=given.needs)
    if pure and given.raw is not None:
        first, every = once(one, given.raw), once(many, given.raw)
        return Code(first, every, first, every, needs=given.needs)
    return Code(one, many, one, many, needs=given.needs)


def called(function: Function, given: Code, args: list[Code], name: str) -> Code:
    """Return the call of a function of the language."""
    get_one, get_many = {
        "value": (given.one, given.many),
        "node": (given.node, given.nodes),
        "values": (given.many, None),
        "nodes": (given.nodes, None),
        "none": (same, None),
    }[function.takes]
    invoke = _invoker(function.call, args)

    def one(node: Any, run: Run) -> Any:
        found = get_one(node, run)
        return None if found is None else invoke(found, node, run)

    get: Getter = one
    if function.fails is not None:
        get = _warning(one, given.node, function.fails)
    many = _many(function, get, get_many, invoke)
    if function.gives_list:
        get = first_of(many)
    reads = union([given.reads if function.takes != "none" else NONE, *(a.reads for a in args)])
    code = Code(
        get, many, get, many, strong=given.strong or any(arg.strong for arg in args),
        type=function.type, needs=given.needs, reads=reads if function.pure else None,
        whole=function.takes != "none" and given.whole and all(arg.whole for arg in args),
    )  # fmt: skip
    if function.takes != "none":
        return replace(code, needs=None) if name == "count" else code
    strong = any(arg.strong for arg in args) or not args
    needs = union(arg.needs for arg in args if arg.const is None) if name == "concat" else None
    return replace(code, strong=strong, needs=needs or None)


def _many(
    function: Function, one: Getter, get_many: Getter | None, invoke: Callable[[Any, Any, Any], Any]
) -> Getter:
    if get_many is None:
        return (lambda node, run: one(node, run) or []) if function.gives_list else as_list(one)
    every = get_many
    if function.gives_list:
        return lambda node, run: [v for f in every(node, run) for v in invoke(f, node, run) or ()]
    return lambda node, run: [
        v for f in every(node, run) if (v := invoke(f, node, run)) is not None
    ]


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
        return lambda value, node, run: call(value, run, *known)
    getters = tuple(arg.one for arg in args)
    return lambda value, node, run: call(value, run, *(get(node, run) for get in getters))
