"""FHIRPath Patch: R4 fhirpatch.html, on JSON whose numbers keep their text (`json_patch.tree`).

A patch needs places, not values, so paths are walked here and not by the FHIRPath engine. What
leads to places can be used: members, `[n]`, `first()`, `last()`, `single()`, `ofType`, `as`,
`extension(url)` and `where` with `=`, `!=`, `and`, `or`, `not()`, `exists()` and `empty()`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from app.errors import Invalid, Malformed, Unprocessable
from app.fhir import definitions
from app.fhir.fhirpath import parser
from app.fhir.fhirpath.syntax import (
    Binary,
    Call,
    Index,
    Literal,
    Member,
    Node,
    TypeTest,
    Variable,
)
from app.rest.json_patch import Number

Json = Any


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: in a member of an object, or in an array that is one.

    path: of element names, as the definitions know it (Patient.name.family).
    """

    holder: dict[str, Json]
    member: str
    index: int | None
    path: str

    @property
    def value(self) -> Json:
        found = self.holder.get(self.member)  # none: a primitive that has extensions only
        return found if found is None or self.index is None else found[self.index]


@dataclass(frozen=True, slots=True)
class _Value:
    """A new value; type: the name of its datatype, "" for an element without one."""

    content: Json
    type: str


def apply(resource: dict[str, Json], patch: Json) -> dict[str, Json]:
    """Return the resource with all operations done in order; the given one is left as it is.

    patch: a valid Parameters resource. Raises Malformed for what is no patch, Unprocessable for an
    operation that cannot be done.
    """
    holder = {"root": deepcopy(resource)}
    root = Place(holder, "root", None, resource["resourceType"])
    for index, parameter in enumerate(patch.get("parameter", ())):
        at = f"Parameters.parameter[{index}]"
        if parameter.get("name") != "operation":
            raise Malformed("Every parameter has to be an operation", at=f"{at}.name")
        _Operation(root, parameter.get("part", ()), at).run()
    return holder["root"]


class _Operation:
    """One operation of the patch on the resource at `root`."""

    def __init__(self, root: Place, parts: Sequence[Mapping[str, Json]], at: str) -> None:
        self._root = root
        self._parts = {part.get("name"): part for part in parts}
        self._at = at

    def run(self) -> None:
        work = _OPERATIONS.get(self._text("type"))
        if work is None:
            raise Malformed("There is no such type of operation", at=self._at)
        work(self)

    def add(self) -> None:
        name, part, path = self._text("name"), self._value_part(), self._path()
        parent = self._one(path)
        if not isinstance(parent.value, dict):
            raise self._refusal("The path does not lead to an element that has members")
        value = _value(part, f"{parent.path}.{name}")
        member = _member(parent.path, name, value)
        if _repeats(parent.path, name):
            parent.value.setdefault(member, []).append(value.content)
            for extensions in _siblings(parent.value, member):
                extensions.append(None)
        elif _children(parent, name):
            raise self._refusal("The element is there already, and does not repeat")
        else:
            parent.value[member] = value.content

    def insert(self) -> None:
        index, part, (parent, name) = self._number("index"), self._value_part(), self._list()
        items: list[Json] = parent.value.setdefault(name, [])
        if index > len(items):
            raise self._refusal("The index is beyond the end of the list")
        items.insert(index, _value(part, f"{parent.path}.{name}").content)
        for extensions in _siblings(parent.value, name):
            extensions.insert(index, None)

    def delete(self) -> None:
        found = self._places(self._path())
        if len(found) > 1:
            raise self._refusal("The path leads to several elements")
        if found:
            _cut(self._inside(found[0]))

    def replace(self) -> None:
        part, place = self._value_part(), self._inside(self._one(self._path()))
        value = _value(part, place.path)
        if place.index is not None:
            beside = place.holder.get(f"_{place.member}", ())
            items = place.holder.setdefault(place.member, [None] * len(beside))
            items[place.index] = value.content
            return
        element = place.path.rpartition(".")[2]
        member = place.member
        if member != element:  # a choice: the new value may be of another type
            member = element + _suffix(value.type)
        if member != place.member:
            _cut(place)
        place.holder[member] = value.content

    def move(self) -> None:
        source, destination = self._number("source"), self._number("destination")
        parent, name = self._list()
        items = parent.value.get(name, ())
        if source >= len(items) or destination >= len(items):
            raise self._refusal("The index is beyond the end of the list")
        for each in (items, *_siblings(parent.value, name)):
            each.insert(destination, each.pop(source))

    def _path(self) -> Node:
        try:
            return parser.parse(self._text("path"))
        except Invalid as exc:
            raise Malformed("The path is not FHIRPath", at=self._at) from exc

    def _places(self, node: Node) -> list[Place]:
        try:
            return select(node, [self._root], self._root)
        except Unprocessable as exc:
            raise self._refusal(str(exc)) from exc

    def _one(self, node: Node) -> Place:
        found = self._places(node)
        if len(found) != 1:
            raise self._refusal("The path has to lead to exactly one element")
        return found[0]

    def _inside(self, place: Place) -> Place:
        if place.holder is self._root.holder:
            raise self._refusal("The path leads to the resource itself, not into it")
        return place

    def _list(self) -> tuple[Place, str]:
        """Return where the list stands that the path names, and its name there."""
        node = self._path()
        if not isinstance(node, Member):
            raise self._refusal("The path has to name a list")
        parent = self._root if node.base is None else self._one(node.base)
        if not isinstance(parent.value, dict) or not _repeats(parent.path, node.name):
            raise self._refusal("The path has to name a list")
        return parent, node.name

    def _value_part(self) -> Mapping[str, Json]:
        part = self._parts.get("value")
        if part is None:
            raise Malformed("The operation has no value", at=self._at)
        return part

    def _text(self, name: str) -> str:
        value = next((v for k, v in self._part(name).items() if k.startswith("value")), None)
        if not isinstance(value, str) or isinstance(value, Number):
            raise Malformed(f"The operation needs a {name}", at=self._at)
        return value

    def _number(self, name: str) -> int:
        value = self._part(name).get("valueInteger")
        if not isinstance(value, Number) or not value.isdigit():
            raise Malformed(f"The operation needs a {name}", at=self._at)
        return int(value[:9])

    def _part(self, name: str) -> Mapping[str, Json]:
        return self._parts.get(name, {})

    def _refusal(self, text: str) -> Unprocessable:
        return Unprocessable(text, at=self._at)


_OPERATIONS: Mapping[str, Callable[[_Operation], None]] = {
    "add": _Operation.add,
    "insert": _Operation.insert,
    "delete": _Operation.delete,
    "replace": _Operation.replace,
    "move": _Operation.move,
}


def _value(part: Mapping[str, Json], path: str) -> _Value:
    """Return a value[x], or the element at `path` that nested parts describe."""
    for name, content in part.items():
        if name.startswith("value"):
            return _Value(content, name.removeprefix("value"))
    element: dict[str, Json] = {}
    for inner in part.get("part", ()):
        name = inner.get("name", "")
        value = _value(inner, f"{path}.{name}")
        member = _member(path, name, value)
        if _repeats(path, name):
            element.setdefault(member, []).append(value.content)
        else:
            element[member] = value.content
    return _Value(element, "")


def _member(path: str, name: str, value: _Value) -> str:
    """Return the JSON name of an element: `deceased` with a boolean is deceasedBoolean."""
    found = definitions.members(f"{path}.{name}")
    if found and found[0].element.choice:
        return name + _suffix(value.type)
    return name


def _suffix(type_name: str) -> str:
    return type_name[:1].upper() + type_name[1:]


def _repeats(path: str, name: str) -> bool:
    found = definitions.members(f"{path}.{name}")
    return bool(found) and found[0].element.is_list


def _siblings(holder: Mapping[str, Json], member: str) -> list[list[Json]]:
    """Return the array beside one of primitives that has their extensions, if there is one."""
    found = holder.get(f"_{member}")
    return [found] if isinstance(found, list) else []


def _cut(place: Place) -> None:
    """Take a value away with its `_` sibling, and an array that is empty then."""
    sibling = f"_{place.member}"
    if place.index is None:
        place.holder.pop(place.member, None)
        place.holder.pop(sibling, None)
        return
    for name in (place.member, sibling):
        items = place.holder.get(name)
        if isinstance(items, list) and place.index < len(items):
            del items[place.index]
            if not any(item is not None for item in items):
                del place.holder[name]


# --- paths ---------------------------------------------------------------------------------------


def select(node: Node, focus: Sequence[Place], root: Place) -> list[Place]:
    """Return the places an expression leads to from `focus`. Raises Unprocessable."""
    match node:
        case Member(None, name) if name[0].isupper() and name in definitions.base_types(root.path):
            return [root]
        case Variable("$this"):
            return list(focus)
        case Member(base, name):
            return [p for place in _base(base, focus, root) for p in _children(place, name)]
        case Index(base, Literal("integer", int(number))):
            return select(base, focus, root)[number : number + 1]
        case Call(base, ("where" | "extension" | "ofType" | "as") as name, (argument,)):
            return [p for p in _filtered(name, argument, _base(base, focus, root)) if p is not None]
        case Call(base, "first" | "single", ()):
            return _base(base, focus, root)[:1]
        case Call(base, "last", ()):
            return _base(base, focus, root)[-1:]
        case TypeTest("as", left, type_name):
            return [p for p in select(left, focus, root) if _is_of(p, type_name)]
    raise Unprocessable("The path uses what a patch cannot follow", at="path")


def _base(base: Node | None, focus: Sequence[Place], root: Place) -> list[Place]:
    return list(focus) if base is None else select(base, focus, root)


def _filtered(name: str, argument: Node, places: Sequence[Place]) -> list[Place]:
    if name == "where":
        return [place for place in places if _holds(argument, place)]
    if name == "extension":
        found = [p for place in places for p in _children(place, "extension")]
        url = argument.value if isinstance(argument, Literal) else None
        return [p for p in found if p.value.get("url") == url]
    wanted = argument.name if isinstance(argument, Member) else ""
    return [place for place in places if _is_of(place, wanted)]


def _children(place: Place, name: str) -> list[Place]:
    """Return the places of an element's values; `value` is any valueX."""
    value = place.value
    if not isinstance(value, dict):
        return []
    above = value.get("resourceType", place.path)
    found: list[Place] = []
    for member in [m.name for m in definitions.members(f"{above}.{name}")] or [name]:
        path = f"{above}.{name}"
        content = value.get(member, value.get(f"_{member}"))
        if isinstance(content, list):
            found += [Place(value, member, i, path) for i in range(len(content))]
        elif content is not None:
            found.append(Place(value, member, None, path))
    return found


def _is_of(place: Place, type_name: str) -> bool:
    found = definitions.members(place.path)
    return any(m.name == place.member and m.type.code == type_name for m in found)


def _holds(node: Node, place: Place) -> bool:
    """Say whether a condition of `where` holds."""
    match node:
        case Binary("and", left, right):
            return _holds(left, place) and _holds(right, place)
        case Binary("or", left, right):
            return _holds(left, place) or _holds(right, place)
        case Binary("=" | "!=" as operator, left, Literal(_, expected)):
            found = [p.value for p in select(left, [place], place)]
            same = len(found) == 1 and _text_of(found[0]) == _text_of(expected)
            return bool(found) and same == (operator == "=")
        case Call(base, "exists", ()):
            return bool(_base(base, [place], place))
        case Call(base, "empty", ()):
            return not _base(base, [place], place)
        case Call(base, "not", ()) if base is not None:
            return not _holds(base, place)
    raise Unprocessable("The path uses a condition that a patch cannot follow", at="path")


def _text_of(value: Json) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
