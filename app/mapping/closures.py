"""The closures that a compiled mapping is made of: what happens for each message.

Everything here returns a function of (node, run); compile.py decides which. Three things keep them
fast: an element whose fields are empty in the whole message is not looked at (`_active`), results
that depend on text alone are remembered by that text (`remembered`), and so is what a mention made
(`packed`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from app.fhir.ids import RECORD, encode_part
from app.mapping.functions import number
from app.mapping.library import Table
from app.mapping.run import Entry, Run, add_missing, name_it
from app.mapping.source import Getter

_MEMO_ENTRIES = 1024  # of one element: codes and units are few, the rest is not worth keeping
_VARIANTS = 256  # patterns of filled fields that one object is prepared for


def nothing(_: Any, __: Any) -> Any:
    return None


def same(node: Any, _: Any) -> Any:
    return node


def alone(node: Any, _: Any) -> Any:
    return [node]


def constant(value: Any) -> Getter:
    return lambda node, run: value


def as_list(one: Getter) -> Getter:
    def many(node: Any, run: Run) -> Any:
        found = one(node, run)
        return [] if found is None else [found]

    return many


def first_of(many: Getter) -> Getter:
    def one(node: Any, run: Run) -> Any:
        found = many(node, run)
        return found[0] if found else None

    return one


def guarded(when: Getter, get: Getter) -> Getter:
    return lambda node, run: get(node, run) if when(node, run) else None


Part = tuple[str | None, Getter, int]  # element name (None: spread), its getter, its bits


def builder(
    strong: tuple[Part, ...], weak: tuple[Part, ...], consts: dict[str, Any], whole: bool
) -> Getter:
    """Return the builder of an object: nothing without a strong value, unless it is `whole`."""
    relevant = 0
    for _, _, bits in (*strong, *weak):
        relevant |= bits
    variants: dict[int, tuple[tuple[Any, ...], tuple[Any, ...]]] = {}

    def build(node: Any, run: Run) -> Any:
        seen = run.present & relevant
        active = variants.get(seen)
        if active is None:
            if len(variants) >= _VARIANTS:
                variants.clear()
            active = variants[seen] = _active(strong, seen), _active(weak, seen)
        out: dict[str, Any] = {}
        for name, get in active[0]:
            value = get(node, run)
            if value is not None:
                if name is None:
                    if "extension" in out and "extension" in value:
                        value = {**value, "extension": out["extension"] + value["extension"]}
                    out.update(value)
                else:
                    out[name] = value
        if not out and not whole and strong:
            return None
        for name, get in active[1]:
            value = get(node, run)
            if value is not None:
                if name is None:
                    if "extension" in out and "extension" in value:
                        value = {**value, "extension": out["extension"] + value["extension"]}
                    out.update(value)
                elif name not in out:
                    out[name] = value
        for name in consts:
            if name not in out:
                out[name] = consts[name]
        return out or None

    return build


def _active(parts: tuple[Part, ...], seen: int) -> tuple[tuple[str | None, Getter], ...]:
    """Return the parts that may have a value when only the fields in `seen` hold something."""
    return tuple((name, get) for name, get, bits in parts if not bits or bits & seen)


def needing(first: Getter, rest: tuple[Part, ...], consts: dict[str, Any], needs: str) -> Getter:
    """Return the builder of an object that is nothing without the element `needs`."""
    relevant = 0
    for _, _, bits in rest:
        relevant |= bits
    variants: dict[int, tuple[Any, ...]] = {}

    def build(node: Any, run: Run) -> Any:
        value = first(node, run)
        if value is None:
            return None
        out: dict[str, Any] = {needs: value}
        seen = run.present & relevant
        active = variants.get(seen)
        if active is None:
            if len(variants) >= _VARIANTS:
                variants.clear()
            active = variants[seen] = _active(rest, seen)
        for name, get in active:
            value = get(node, run)
            if value is not None:
                if name is None:
                    if "extension" in out and "extension" in value:
                        value = {**value, "extension": out["extension"] + value["extension"]}
                    out.update(value)
                elif name not in out:
                    out[name] = value
        for name in consts:
            if name not in out:
                out[name] = consts[name]
        return out

    return build


def array_of(items: tuple[tuple[bool, Getter, int], ...], consts: list[Any]) -> Getter:
    """Return an array from (does it give a list, getter, bits), with the constants behind."""
    if len(items) == 1 and not consts:
        spreads, only, _ = items[0]
        if spreads:
            return lambda node, run: only(node, run) or None
        return lambda node, run: None if (found := only(node, run)) is None else [found]
    relevant = 0
    for _, _, bits in items:
        relevant |= bits
    variants: dict[int, tuple[tuple[bool, Getter], ...]] = {}

    def array(node: Any, run: Run) -> Any:
        seen = run.present & relevant
        active = variants.get(seen)
        if active is None:
            if len(variants) >= _VARIANTS:
                variants.clear()
            active = variants[seen] = tuple(
                (spreads, get) for spreads, get, bits in items if not bits or bits & seen
            )
        out: list[Any] = []
        for spreads, get in active:
            found = get(node, run)
            if found is not None:
                if spreads:
                    out.extend(found)
                else:
                    out.append(found)
        return [*out, *consts] or None

    return array


def encoded(get: Getter) -> Getter:
    """Return the value as a part of a record key."""

    def part(node: Any, run: Run) -> Any:
        found = get(node, run)
        return None if found is None else encode_part(str(found))

    return part


def no_text(_: Any, __: Any) -> Any:
    return None


def each_of(nodes: Getter, get: Getter, trace: bool) -> Getter:
    """Return the values of `get` at every node, as a list; None when there are none."""

    def many(node: Any, run: Run) -> Any:
        out = [v for n in nodes(node, run) if (v := get(n, run)) is not None]
        return out or None

    def traced_many(node: Any, run: Run) -> Any:
        out: list[Any] = []
        for n in nodes(node, run):
            run.trace.push(f"[{len(out)}]", None)
            found = get(n, run)
            run.trace.pop(found)
            if found is not None:
                out.append(found)
        return out or None

    return traced_many if trace else many


def traced(name: str, at: str, get: Getter) -> Getter:
    def traced(node: Any, run: Run) -> Any:
        run.trace.push(name, at)
        value = get(node, run)
        run.trace.pop(value)
        return value

    return traced


def remembered(get: Getter, key_of: Getter) -> Getter:
    """Remember results by the text they come from: codes and units repeat between messages.

    Warnings are part of a result and are repeated with it. Shared results are never changed
    afterwards: whoever adds to an object copies it first.
    """
    known: dict[Any, tuple[Any, Any]] = {}

    def remember(node: Any, run: Run) -> Any:
        key = (key_of(node, run), run.scope)
        found = known.get(key)
        if found is None:
            before = len(run.issues)
            value = get(node, run)
            if len(known) >= _MEMO_ENTRIES:
                known.clear()
            found = known[key] = (value, tuple(run.issues[before:]))
        elif found[1]:
            run.issues.extend(found[1])
        return found[0]

    return remember


def shared(get: Getter, name: str) -> Getter:
    """Remember results within one message: keys and elements ask for the same identifiers."""

    def share(node: Any, run: Run) -> Any:
        key = (name, node.raw)
        memo = run.memo
        if key in memo:
            return memo[key]
        found = memo[key] = get(node, run)
        return found

    return share


def once(get: Getter, raw: Getter) -> Getter:
    """Do it once for each text in a message; without text there is nothing to do."""
    mark = object()

    def done(node: Any, run: Run) -> Any:
        text = raw(node, run)
        if not text:
            return get(node, run)
        key = (mark, text)
        memo = run.memo
        if key in memo:
            return memo[key]
        found = memo[key] = get(node, run)
        return found

    return done


def raw_text(node: Any, _: Any) -> Any:
    return node.raw


def identifier_key(one: Getter) -> Getter:
    def key(node: Any, run: Run) -> Any:
        found = one(node, run)
        if not isinstance(found, dict):
            return None
        system, value = found.get("system"), found.get("value")
        return (system, value) if system and value else None

    return key


def record_key_of(parts: list[Getter]) -> Getter:
    """Return the record key (system, value) of parts that are encoded already."""
    text = joined_parts(parts)

    def key(node: Any, run: Run) -> Any:
        found = text(node, run)
        return None if found is None else (RECORD, found)

    return key


def joined_parts(parts: list[Getter]) -> Getter:
    """Return encoded parts joined by `:`; None when one is missing."""
    if len(parts) == 1:
        return parts[0]

    def joined(node: Any, run: Run) -> Any:
        values = []
        for get in parts:
            found = get(node, run)
            if found is None:
                return None
            values.append(found)
        return ":".join(values)

    return joined


def mentioner(
    name: str, type_: str, key: Getter, fill: Getter, display: Getter | None, when: Getter | None
) -> Getter:
    """Return what makes a mentioned resource, once for each message, and refers to it."""

    def mention(node: Any, run: Run) -> Any:
        if when is not None and not when(node, run):
            return None
        named = key(node, run)
        if named is None:
            shown = display(node, run) if display else None
            return {"display": shown} if shown else None
        entry = run.entry(type_, named, name, True)
        if entry.rule is None:
            _fill_mention(entry, node, run, fill)
        return entry.reference

    return mention


def packed(mention: Getter, name: str) -> Getter:
    """Remember what a mention makes, with what it mentions in turn, by its text.

    Staff and places come again in every message; only their first appearance is computed.
    """
    known: dict[Any, tuple[Any, tuple[Entry, ...], Any]] = {}

    def unpacked(node: Any, run: Run) -> Any:
        key = (name, node.raw)
        if key in run.memo:
            return run.memo[key]
        scoped = (node.raw, run.scope)
        found = known.get(scoped)
        if found is None:
            aside = run.fork()
            reference = mention(node, aside)
            if len(known) >= _MEMO_ENTRIES:
                known.clear()
            found = known[scoped] = (
                reference, tuple(aside.entries.values()), tuple(aside.issues),
            )  # fmt: skip
        for entry in found[1]:
            run.admit(entry)
        run.issues.extend(found[2])
        run.memo[key] = found[0]
        return found[0]

    return unpacked


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


def reference_up(names: tuple[str, ...]) -> Getter:
    def reference(node: Any, run: Run) -> Any:
        for name in names:
            if name not in run.made:
                continue
            place = node
            while place is not None:
                made = place.made
                if made is not None:
                    entry = made.get(name)
                    if entry is not None and entry is not run.here:
                        return entry.reference
                place = place.up
        return None

    return reference


def references_down(names: tuple[str, ...]) -> Getter:
    def references(node: Any, run: Run) -> Any:
        out = []
        if names == ("*",):
            return [
                entry.reference
                for entry in run.entries.values()
                if entry is not run.here and entry.body is not None
            ]
        group = node.group
        seen: set[str] = set()
        for name in names:
            for entry in run.made.get(name, ()):
                place = entry.node
                while place is not None and place is not group:
                    place = place.up
                if place is group and entry is not run.here and entry.id not in seen:
                    seen.add(entry.id)
                    out.append(entry.reference)
        return out

    return references


def compare(operator: str, one: Getter, other: Getter, const: Any) -> Getter:
    """Return a test of `one` against the constant, or (None) against the value of `other`."""
    if operator == "matches":
        pattern = re.compile(str(const))
        return lambda node, run: (
            (found := one(node, run)) is not None and pattern.search(str(found)) is not None
        )
    if operator in ("=", "!="):
        same_wanted = operator == "="
        if const is not None:
            wanted = str(const)
            return lambda node, run: (str(one(node, run)) == wanted) is same_wanted
        return lambda node, run: (str(one(node, run)) == str(other(node, run))) is same_wanted
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


TABLE_STEPS: dict[str, Callable[[Table, Getter | None], Getter]] = {
    "table": _table_code,
    "coding": _table_coding,
    "display": _table_display,
    "translate": _table_translate,
}
