"""Paths of HL7 v2 as the mapping language compiles them: what `Hl7Source.path` gives.

Each path comes as functions of (node, run). The usual ones also write themselves into generated
functions (`Inline`): a field of the rule's own segment is one look into the list of its fields,
and only text that holds more than letters and digits is taken apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec

from app.feeds.hl7v2.er7 import NULL, Repetition
from app.feeds.hl7v2.tree import NOWHERE, Node, nearest, nearest_all
from app.mapping.source import Access, Getter, Inline
from app.mapping.writer import Writer

# Segments that a message has once.
ONCE = frozenset(("MSH", "EVN", "MSA"))
# Segments whose first two fields are the delimiters.
_HEADERS = frozenset(("MSH", "FHS", "BHS"))
# Segments that never stand inside those that stand inside them.
_AROUND = frozenset(("PID", "PV1", "ORC", "OBR"))
_INNER = frozenset(("OBX", "DG1", "AL1", "NK1"))


class Part(msgspec.Struct, eq=False):
    """A repetition of a field, or one component of it (comp > 0).

    whole: the repetition as it stands. raw: its text, or that of the component. near: as of the
    segment around it.
    """

    id = None
    kids = None
    made = None

    whole: str
    raw: str
    up: Node
    near: dict[str, int]
    number: int
    occurrence: int
    comp: int = 0
    _rep: Repetition | None = None
    _parts: list[str] | None = None

    @property
    def parts(self) -> list[str]:
        """The components as they stand."""
        found = self._parts
        if found is None:
            separator = self.up.message.component_separator
            found = self._parts = self.whole.split(separator)
        return found

    @property
    def rep(self) -> Repetition:
        found = self._rep
        if found is None:
            segment = self.up.message.segment(self.up.at)
            found = self._rep = Repetition(self.whole, segment, self.number, self.occurrence)
        return found

    @property
    def group(self) -> Any:
        return self.up.group

    @property
    def place(self) -> str:
        return f"{self.rep.place}.{self.comp}" if self.comp else self.rep.place

    def inner(self, comp: int) -> Part:
        """Return one component of it."""
        return _component(self.whole, self.up, self.number, self.occurrence, comp)

    def text(self, one: int, two: int) -> str:
        """Return component `one` (subcomponent `two`, 0: whole); 0 is the whole part."""
        rep, comp = self.rep, self.comp
        if comp:
            return rep.value(comp, one) if one else rep.text(comp)
        if two:
            return rep.value(one, two)
        return rep.text(one)


def _component(whole: str, up: Node, number: int, occurrence: int, comp: int) -> Part:
    """Return one component of a repetition."""
    message = up.message
    parts = whole.split(message.component_separator)
    raw = parts[comp - 1] if comp <= len(parts) else ""
    # As the text of results that are remembered, `A&B` inside a component is not `A&B` as a whole
    # field.
    if message.subcomponent_separator in raw:
        raw = f"\x00{raw}"
    return Part(whole, raw, up, up.near, number, occurrence, comp, None, parts)


def named(name: str, reads: str | None, trace: bool, places: Sequence[str] = ()) -> Access:
    """Something about the message as a whole: one of `Document.names`.

    places: the fields that tell it.
    """

    def one(_: Any, run: Any) -> Any:
        return run.doc.names[name]

    def many(node: Any, run: Any) -> Any:
        found = one(node, run)
        return [] if found is None else [found]

    def write(w: Writer, node: str) -> str:
        w.head("names = run.doc.names")
        return w.set(f"names[{name!r}]")

    inline = Inline(one, write)
    access = Access(inline, many, inline, many, reads=reads, whole=True)
    told = list(places) or [f"({name})"]
    return _reading(access, lambda at: told) if trace else access


def segment(id_: str) -> Access:
    """The nearest segments of an id."""

    def node(at: Any, _: Any) -> Any:
        return nearest(at, id_)

    def nodes(at: Any, _: Any) -> Any:
        return nearest_all(at, id_)

    return Access(node, nodes, node, nodes, at=id_, needs=f"{id_}-0")  # field 0: its name


def inside(outer: str, id_: str) -> Access:
    """Segments inside the place itself (`.`), beside it (`..`) or inside the nearest of an id."""

    def nodes(at: Any, run: Any) -> Any:
        if outer == "/":
            return run.doc.tree.all(id_)
        if outer == "..":
            kids = at.up.kids if at.up is not None else None
            return [kid for kid in kids.get(id_, []) if kid is not at] if kids else []
        place = at if outer == "." else nearest(at, outer)
        kids = place.kids if place is not None else None
        return kids.get(id_, []) if kids else []

    def node(at: Any, run: Any) -> Any:
        found = nodes(at, run)
        return found[0] if found else None

    return Access(node, nodes, node, nodes, at=id_, needs=f"{id_}-0")


# --- fields ---------------------------------------------------------------------------------------


class Field:
    """A field of the nearest segment: `PID-3`, `PID-3[2]`, `PID-3.4.1`, `OBX-5.*`.

    part: component (0: the whole repetition) and subcomponent (0: the whole component). component:
    the path names one. at: the anchor it is asked at.
    """

    def __init__(
        self,
        id_: str,
        number: int,
        repetition: int,
        part: tuple[int, int],
        *,
        component: bool,
        at: str | None,
    ) -> None:
        self.id = id_
        self.number = number
        self.repetition = repetition
        self.component, self.sub = part
        self.named_component = self.component if component else 0
        # What is asked of the message as a whole is asked at its root, whatever the anchor.
        self.own = at == id_ and id_ not in ONCE
        self.around = at in _INNER and id_ in _AROUND
        self._delimiters = id_ in _HEADERS and number < 3  # its text is no value

    def access(self, trace: bool) -> Access:
        reads = f"{self.id}-{self.number}"
        if trace:
            read = Access(self.one, self.many, self.node, self.nodes, reads=reads, text=True)
            return _reading(read, self._places)
        whole = self.id in ONCE
        if self.repetition:
            one = Inline(self.one, self._write_repetition) if self.repetition > 1 else self.one
            return Access(
                one, self.many, self.node, self.nodes, reads=reads, whole=whole, text=True
            )
        return Access(
            Inline(self.one, self._write_one),
            Inline(self.many, self._write_many),
            Inline(self.node, self._write_node),
            Inline(self.nodes, self._write_nodes),
            reads=reads,
            whole=whole,
            raw=Inline(self.raw, self._write_raw),
            around=self.around,
            cut=None if self._delimiters else self.named_component,
            text=True,
        )

    def one(self, at: Any, run: Any) -> Any:
        """Return the first repetition that holds something, as text."""
        for rep in self._repetitions(at)[1]:
            value = self._text(rep)
            if value or self.repetition:
                return value or None
        return None

    def many(self, at: Any, run: Any) -> Any:
        return [value for rep in self._repetitions(at)[1] if (value := self._text(rep))]

    def node(self, at: Any, run: Any) -> Any:
        found = self.nodes(at, run)
        return found[0] if found else None

    def nodes(self, at: Any, run: Any) -> Any:
        place = nearest(at, self.id)
        if place is None or self.number >= len(place.fields):
            return []
        raw = place.fields[self.number]
        several = run.doc.message.delimiters.repetition in raw
        if several or self.repetition or self._delimiters:
            return [
                part
                for rep in self._repetitions(place)[1]
                if (part := self._part(rep.raw, place, rep.occurrence)) is not None
            ]
        part = self._part(raw, place, 1) if raw else None
        return [] if part is None else [part]

    def raw(self, at: Any, run: Any) -> Any:
        place = nearest(at, self.id)
        if place is None or self.number >= len(place.fields):
            return None
        return place.fields[self.number]

    def _repetitions(self, at: Any) -> tuple[Any, list[Repetition]]:
        place = nearest(at, self.id)
        seg = None if place is None else place.seg
        if seg is None:
            return None, []
        found = seg.repetitions(self.number)
        if self.repetition:
            found = [rep for rep in found if rep.occurrence == self.repetition]
        return place, found

    def _text(self, rep: Repetition) -> str:
        return rep.value(self.component, self.sub) if self.sub else rep.text(self.component)

    def _part(self, raw: str, place: Any, occurrence: int) -> Part | None:
        if self.named_component:
            made = _component(raw, place, self.number, occurrence, self.named_component)
            raw = made.raw
            return made if raw and raw != NULL else None
        if not raw or raw == NULL:
            return None
        return Part(raw, raw, place, place.near, self.number, occurrence)

    def _places(self, at: Any) -> list[str]:
        tail = "".join(f".{n}" for n in (self.component, self.sub) if n)
        return [rep.place + tail for rep in self._repetitions(at)[1]]

    def taken(self, raw: str, at: Any, run: Any) -> str | None:
        """Return what `one` does, from the text of the field (which holds something)."""
        message = run.doc.message
        marks = message.delimiters
        if marks.escape in raw or marks.repetition in raw:
            found: str | None = self.one(at, run)
            return found
        if self.component:
            parts = raw.split(marks.component, self.component)
            if self.component > len(parts):
                return None
            raw = parts[self.component - 1]
        if self.sub:
            leaves = raw.split(marks.subcomponent, self.sub)
            if self.sub > len(leaves):
                return None
            raw = leaves[self.sub - 1]
        return None if raw == NULL else raw.rstrip() or None

    # --- in generated functions ---

    def _fields(self, w: Writer, node: str) -> str:
        """Return the variable of the fields of the segment."""
        find = _own_fields if self.own else _other_fields
        return find(w, node, self.id)

    def _write_raw(self, w: Writer, node: str) -> str:
        return w.once((self.id, self.number, node), lambda: self._raw_anew(w, node))

    def _raw_anew(self, w: Writer, node: str) -> str:
        fields = self._fields(w, node)
        return w.set(f"{fields}[{self.number}] if len({fields}) > {self.number} else None")

    def _write_one(self, w: Writer, node: str) -> str:
        what = self.id, self.number, self.component, self.sub, node
        return w.once(what, lambda: self._one_anew(w, node))

    def _one_anew(self, w: Writer, node: str) -> str:
        out = self._raw_anew(w, node)
        taken = f"{out} = {w.bind(self.taken)}({out}, {node}, run)"
        with w.block(f"if {out}:"):
            w.put(f"if not {out}.isalnum(): {taken}" if self._alone else taken)
        w.put(f"else: {out} = None")
        return out

    def _write_repetition(self, w: Writer, node: str) -> str:
        several = self._write_several(w, node)
        get = f"{w.bind(self.one)}({node}, run) if {several} else None"
        return w.once((self.id, self.number, self.repetition, "of", node), lambda: w.set(get))

    def _write_several(self, w: Writer, node: str) -> str:
        """Return the variable that says whether the field repeats."""
        raw = self._write_raw(w, node)
        test = f"{raw} and run.doc.message.delimiters.repetition in {raw}"
        return w.once((self.id, self.number, "several", node), lambda: w.seldom(test))

    def _write_many(self, w: Writer, node: str) -> str:
        raw, out = self._write_raw(w, node), w.set("[]")
        every = f"{w.bind(self.many)}({node}, run)"
        if self._alone:
            every = f"[{raw}] if {raw}.isalnum() else {every}"
        w.put(f"if {raw}: {out} = {every}")
        return out

    def _write_node(self, w: Writer, node: str) -> str:
        raw = self._write_raw(w, node)
        if self._delimiters:
            return w.set(f"{w.bind(self.node)}({node}, run) if {raw} else None")
        if not self.own or self.named_component:
            return w.set(f"{w.bind(self._near_node)}({raw}, {node}, run) if {raw} else None")
        several, out = self._write_several(w, node), w.set("None")
        with w.block(f"if {several}:"):
            w.put(f"{out} = {w.bind(self.node)}({node}, run)")
        part = f"{w.bind(Part)}({raw}, {raw}, {node}, {node}.near, {self.number}, 1)"
        w.put(f"elif {raw} and {raw} != {NULL!r}: {out} = {part}")
        return out

    def _near_node(self, raw: str, at: Any, run: Any) -> Any:
        """Return what `node` does, from the text of the field."""
        if run.doc.message.delimiters.repetition in raw:
            return self.node(at, run)
        return self._part(raw, nearest(at, self.id), 1)

    def _write_nodes(self, w: Writer, node: str) -> str:
        raw = self._write_raw(w, node)
        if self._delimiters:
            return w.set(f"{w.bind(self.nodes)}({node}, run) if {raw} else []")
        return w.set(f"{w.bind(self._near_nodes)}({raw}, {node}, run) if {raw} else []")

    def _near_nodes(self, raw: str, at: Any, run: Any) -> Any:
        """Return what `nodes` does, from the text of the field."""
        if run.doc.message.delimiters.repetition in raw:
            return self.nodes(at, run)
        part = self._part(raw, nearest(at, self.id), 1)
        return [] if part is None else [part]

    @property
    def _alone(self) -> bool:
        """Say whether a field of one leaf is the value: no later part is asked for."""
        return self.component < 2 and self.sub < 2


def _fields_near(node: Any, id_: str, run: Any) -> list[str]:
    """Return the fields of the segment that `nearest` finds."""
    fields: list[str] = run.doc.message.fields[node.near.get(id_, NOWHERE)]
    return fields


def text_of(id_: str, numbers: Sequence[int], around: Mapping[str, Sequence[int]]) -> Getter:
    """Return the text of fields of the rule's own segment, for what is remembered by it.

    around: fields of other segments that count, too: of the nearest of each id.
    """

    picked = _Picked(numbers)
    others = {name: _Picked(numbers_) for name, numbers_ in around.items()}

    def get(node: Any, run: Any) -> Any:
        texts = [_text(picked, node.fields)] if numbers else []
        texts += (_text(pick, _fields_near(node, name, run)) for name, pick in others.items())
        return tuple(texts) if len(texts) > 1 else texts[0]

    def write(w: Writer, node: str) -> str:
        texts = [_write_picked(w, _own_fields(w, node, id_), picked)] if numbers else []
        texts += (_write_near(w, node, name, others[name], id_ in _INNER) for name in others)
        return w.set(f"({', '.join(texts)})") if len(texts) > 1 else texts[0]

    return Inline(get, write)


# One text is found in a large memory with less looking around than many are. No field holds CR.
_AS_ONE = "\r".join


def _write_near(w: Writer, node: str, id_: str, picked: _Picked, inner: bool) -> str:
    """Write the text of fields of the nearest segment of an id, once for all that is inside it."""
    if not (inner and id_ in _AROUND and len(picked.numbers) > 1):
        return _write_picked(w, _other_fields(w, node, id_), picked)
    w.head("every = run.doc.message.fields")
    fields = f"every[{node}.near.get({id_!r}, {NOWHERE})]"
    return w.around(node, picked.mark, lambda: _picked(w, fields, picked))


def _picked(w: Writer, fields: str, picked: _Picked) -> str:
    name, count = w.bind(picked), f"len({fields})"
    return f"{w.bind(_AS_ONE)}(({name}.get({count}) or {name}.made({count}))({fields}))"


def _text(picked: _Picked, fields: list[str]) -> str:
    return _AS_ONE((picked.get(len(fields)) or picked.made(len(fields)))(fields))


def _write_picked(w: Writer, fields: str, picked: _Picked) -> str:
    if len(picked.numbers) > 1:
        return w.set(_picked(w, fields, picked))
    number = picked.numbers[0]
    return w.set(f"{fields}[{number}] if len({fields}) > {number} else ''")


class _Picked(dict[int, Callable[[list[str]], Sequence[str]]]):
    """How many fields a segment has -> what takes those that count, as far as it has them.

    The lengths cannot be mixed up: a shorter segment gives fewer texts.
    """

    def __init__(self, numbers: Sequence[int]) -> None:
        super().__init__()
        self.numbers = numbers
        self.mark = object()

    def made(self, length: int) -> Callable[[list[str]], Sequence[str]]:
        there = [number for number in self.numbers if number < length]
        made: Callable[[list[str]], Sequence[str]]
        if len(there) > 1:
            made = itemgetter(*there)
        else:
            made = itemgetter(slice(there[0], there[0] + 1)) if there else _nothing
        if length < _LONG:
            self[length] = made
        return made


_LONG = 200  # fields of a segment


def _nothing(_: list[str]) -> tuple[()]:
    return ()


# What these two write, and `Field._write_raw`, specialise.py knows: the names say which segment's
# fields they are.


def _own_fields(w: Writer, node: str, id_: str) -> str:
    """Return the variable of the fields of the node itself, a segment of that id."""
    if node != "node":
        return w.set(f"{node}.fields")
    w.head(f"own_{id_} = node.fields")
    return f"own_{id_}"


def _other_fields(w: Writer, node: str, id_: str) -> str:
    """Return the variable of the fields of the nearest segment of an id."""
    w.head("every = run.doc.message.fields")
    find = f"every[{node}.near.get({id_!r}, {NOWHERE})]"
    if node != "node":
        return w.once((id_, "near", node), lambda: w.set(find))

    def put() -> str:
        w.put(f"fields_{id_} = {find}")
        return f"fields_{id_}"

    return w.once((id_, "near"), put)


# --- inside a field -------------------------------------------------------------------------------


class Piece:
    """A component of a part: `.1`, `.4.1`; 0 is the part itself (`.`, `.*`)."""

    def __init__(self, component: int, sub: int) -> None:
        self.component = component
        self.sub = sub

    def access(self, trace: bool) -> Access:
        if trace:
            read = Access(self.one, self.many, self.node, self.nodes, reads="", text=True)
            return _reading(read, self._places)
        write = self._write_one if self.component else self._write_whole
        node = self.node if self.component else Inline(self.node, _itself)
        return Access(Inline(self.one, write), self.many, node, self.nodes, reads="", text=True)

    def one(self, part: Any, run: Any) -> Any:
        if part.id is not None:  # a segment: its whole text is no value
            return None
        return part.text(self.component, self.sub) or None

    def many(self, part: Any, run: Any) -> Any:
        value = self.one(part, run)
        return [] if value is None else [value]

    def node(self, part: Any, run: Any) -> Any:
        if not self.component:
            return part
        if part.id is not None or part.comp:
            return None
        inner = part.inner(self.component)
        return inner if inner.raw and inner.raw != NULL else None

    def nodes(self, part: Any, run: Any) -> Any:
        inner = self.node(part, run)
        return [] if inner is None else [inner]

    def _places(self, part: Any) -> list[str]:
        tail = "".join(f".{n}" for n in (self.component, self.sub) if n)
        return [part.place + tail] if part.id is None else []

    def taken(self, leaf: str, part: Part, run: Any) -> str | None:
        """Return what `one` does, from the text of the component (which holds something)."""
        message = run.doc.message
        if message.escape_character in leaf:
            return part.text(self.component, self.sub) or None
        if self.sub:
            leaves = leaf.split(message.subcomponent_separator, self.sub)
            if self.sub > len(leaves):
                return None
            leaf = leaves[self.sub - 1]
        return None if leaf == NULL else leaf.rstrip() or None

    def _write_whole(self, w: Writer, node: str) -> str:
        return w.once((".", node), lambda: self._whole_anew(w, node))

    def _whole_anew(self, w: Writer, node: str) -> str:
        out = w.set(f"{node}.raw if {node}.id is None and not {node}.comp else None")
        with w.block(f"if {out} is None:"):
            w.put(f"{out} = {w.bind(self.one)}({node}, run)")
        taken = f"{w.bind(self.taken)}({out}, {node}, run)"
        # What ends so is neither empty nor null, and no blank follows.
        odd = f"not {out}[-1:].isalnum() or run.doc.message.escape_character in {out}"
        w.put(f"elif {odd}: {out} = {taken}")
        return out

    def _write_one(self, w: Writer, node: str) -> str:
        return w.once((".", self.component, self.sub, node), lambda: self._one_anew(w, node))

    def _one_anew(self, w: Writer, node: str) -> str:
        if node != "node":
            return w.set(f"{w.bind(self.one)}({node}, run)")
        w.head(f"parts, count = {w.bind(_parts)}(node)")
        out, number = w.set("None"), self.component
        with w.block(f"if count >= {number}:"):
            w.put(f"{out} = parts[{number - 1}]")
            taken = f"{out} = {w.bind(self.taken)}({out}, node, run)"
            with w.block(f"if {out}:"):
                w.put(f"if not {out}.isalnum(): {taken}" if self.sub < 2 else taken)
            w.put(f"else: {out} = None")
        w.put(f"elif count < 0: {out} = {w.bind(self.one)}(node, run)")
        return out


def _itself(_: Writer, node: str) -> str:
    return node


def _parts(part: Any) -> tuple[list[str], int]:
    """Return the components of a whole repetition and their number; -1: it is something else."""
    if part.id is not None or part.comp:
        return _NO_PARTS, -1
    parts = part._parts
    if parts is None:
        parts = part._parts = part.whole.split(part.up.message.component_separator)
    return parts, len(parts)


_NO_PARTS: list[str] = []


def _reading(access: Access, places: Callable[[Any], list[str]]) -> Access:
    """Return the access with every successful reading told to the trace."""

    def told(get: Getter) -> Getter:
        def read(at: Any, run: Any) -> Any:
            value = get(at, run)
            if value is not None and value != []:
                for place in places(at):
                    run.trace.read(place)
            return value

        return read

    return Access(
        told(access.one),
        told(access.many),
        told(access.node),
        told(access.nodes),
        access.at,
        text=access.text,
    )
