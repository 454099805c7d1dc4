"""Where in a resource's JSON the values of a search parameter stand.

A search parameter's FHIRPath expression is resolved against the definitions into *locations*:
plain walks through the JSON, one for each branch of `|` and each type of a choice element, so
that they can be compared (is this parameter another's alias?) and compiled (`extract.py`). The
grammar is what search parameters use: paths, `|`, `as`, `ofType`, `extension(url)`, `[n]`,
`first()`, `where` with `name = literal`, `resolve() is Type` and `hasExtension(url)`, and
`x.exists() and x != false`.
R4 searchparameter.html, fhirpath.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from app.errors import Invalid, NotSupported
from app.fhir import definitions
from app.fhir.definitions import Member as DefinedMember
from app.fhir.definitions import Shape
from app.fhir.fhirpath import parser, syntax


@dataclass(frozen=True, slots=True)
class Get:
    """Go to a member; `many`: it is an array, take each."""

    name: str
    many: bool


@dataclass(frozen=True, slots=True)
class At:
    """Of the array the next Get leads to, take one only."""

    index: int


@dataclass(frozen=True, slots=True)
class Equals:
    """Keep what has this value in a member."""

    name: str
    value: str | bool | int


@dataclass(frozen=True, slots=True)
class Refers:
    """Keep references to this resource type (`resolve() is Type`)."""

    type: str


@dataclass(frozen=True, slots=True)
class HasExtension:
    """Keep what carries the extension."""

    url: str


@dataclass(frozen=True, slots=True)
class FromResource:
    """Start again at the resource (`%resource` in the part of a composite)."""


@dataclass(frozen=True, slots=True)
class Holds:
    """Go to a boolean: is one of these members there, and not false?"""

    names: tuple[str, ...]


Step = Get | At | Equals | Refers | HasExtension | FromResource | Holds


@dataclass(frozen=True, slots=True)
class Location:
    """A walk from where the expression starts to values of one FHIR type.

    value_set: of the required binding at the end, without version; None if there is none.
    """

    steps: tuple[Step, ...]
    type: str
    targets: tuple[str, ...] = ()
    value_set: str | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    steps: tuple[Step, ...]
    type: str
    shape: Shape | None
    member: DefinedMember | None = None


def locate(expression: str, type_name: str) -> tuple[Location, ...]:
    """Return the locations of an expression's values in resources of one type.

    Branches that start at another resource type are left out. Raises Invalid when the expression
    is no FHIRPath or names what is not there, NotSupported when it is more than a walk.
    """
    origin = _Place((), type_name, definitions.structure(type_name).shape)
    found = _Resolver(origin, origin).resolve(parser.parse(expression))
    return tuple(dict.fromkeys(map(_location, found)))


def locate_part(expression: str, type_name: str, root: Location) -> tuple[Location, ...]:
    """Return the locations of a composite's part, seen from one repeat of the composite's root."""
    resource = _Place((), type_name, definitions.structure(type_name).shape)
    origin = _Place((), root.type, _shape_of(root, resource.shape))
    found = _Resolver(origin, replace(resource, steps=(FromResource(),))).resolve(
        parser.parse(expression)
    )
    return tuple(dict.fromkeys(map(_location, found)))


def values_of_extension(location: Location, types: Iterable[str]) -> tuple[Location, ...]:
    """Return the locations of an extension's value, of those types that can be searched by."""
    wanted = set(types)
    return tuple(
        Location((*location.steps, Get(m.name, False)), m.type.code, m.type.targets)
        for m in definitions.structure("Extension").shape.choice("value")
        if m.type.code in wanted
    )


def _shape_of(root: Location, shape: Shape | None) -> Shape | None:
    for step in root.steps:
        if isinstance(step, Get) and shape is not None:
            shape = shape.members[step.name].shape
    return shape


def _location(place: _Place) -> Location:
    member = place.member
    if member is None:
        return Location(place.steps, place.type)
    binding = member.element.binding
    required = binding is not None and binding.strength == "required"
    return Location(
        place.steps,
        place.type,
        member.type.targets,
        binding.value_set if binding is not None and required else None,
    )


class _Resolver:
    """Walks one expression; `origin` is the focus, `resource` what `%resource` means."""

    def __init__(self, origin: _Place, resource: _Place) -> None:
        self._origin = origin
        self._resource = resource

    def resolve(self, node: syntax.Node) -> list[_Place]:
        match node:
            case syntax.Member(None, name):
                return self._start(name)
            case syntax.Member(base, name) if base is not None:
                return self._children(self.resolve(base), name)
            case syntax.Binary("|", left, right):
                return [*self.resolve(left), *self.resolve(right)]
            case syntax.Binary(
                "and",
                syntax.Call(base, "exists", ()),
                syntax.Binary("!=", other, syntax.Literal("boolean", False)),
            ) if base is not None and base == other:
                return _holds(self.resolve(base))
            case syntax.TypeTest("as", left, type_name):
                return _of_type(self.resolve(left), type_name)
            case syntax.Index(base, syntax.Literal("integer", int(index))):
                return [_at(place, index) for place in self.resolve(base)]
            case syntax.Variable("%resource" | "%context" | "$this" as name):
                return [self._resource if name == "%resource" else self._origin]
            case syntax.Call(base, name, arguments):
                places = [self._origin] if base is None else self.resolve(base)
                return self._call(places, name, arguments)
            case _:
                raise _unsupported()

    def _start(self, name: str) -> list[_Place]:
        if name in definitions.base_types(self._origin.type):
            return [self._origin]
        if name[0].isupper() and name in definitions.structure_names():
            return []  # a branch for another resource type
        return self._children([self._origin], name)

    def _children(self, places: list[_Place], name: str) -> list[_Place]:
        found = [child for place in places for child in _children_of(place, name)]
        if places and not found:
            raise Invalid("the expression names an element that R4 does not have")
        return found

    def _call(
        self, places: list[_Place], name: str, arguments: tuple[syntax.Node, ...]
    ) -> list[_Place]:
        match name, arguments:
            case "as" | "ofType", (syntax.Member(None, type_name),):
                return _of_type(places, type_name)
            case "first", ():
                return [_at(place, 0) for place in places]
            case "extension", (syntax.Literal("string", str(url)),):
                return [
                    replace(place, steps=(*place.steps, Equals("url", url)))
                    for place in self._children(places, "extension")
                ]
            case "where", (condition,):
                kept = tuple(_conditions(condition))
                return [replace(place, steps=place.steps + kept) for place in places]
            case _:
                raise _unsupported()


def _children_of(place: _Place, name: str) -> Iterator[_Place]:
    if place.shape is None:
        return
    member = place.shape.members.get(name)
    for m in [member] if member is not None else place.shape.choice(name):
        step = Get(m.name, m.element.is_list)
        yield _Place((*place.steps, step), m.type.code, m.shape, m)


def _of_type(places: list[_Place], type_name: str) -> list[_Place]:
    """Keep the places of a type; R4's own expressions spell one of them wrong (`DateTime`)."""
    wanted = type_name.casefold()
    exact = [p for p in places if p.type.casefold() == wanted]
    return exact or [p for p in places if type_name in definitions.base_types(p.type)]


def _at(place: _Place, index: int) -> _Place:
    """Put At before the Get whose array it indexes."""
    if not place.steps or not isinstance(place.steps[-1], Get) or index < 0:
        raise _unsupported()
    return replace(place, steps=(*place.steps[:-1], At(index), place.steps[-1]))


def _holds(places: list[_Place]) -> list[_Place]:
    """Return the boolean that is true where one of the members stands and is not false."""
    parents = {place.steps[:-1] for place in places}
    lasts = [place.steps[-1] for place in places]
    names = tuple(step.name for step in lasts if isinstance(step, Get) and not step.many)
    if len(parents) != 1 or len(names) != len(places):
        raise _unsupported()
    return [_Place((*parents.pop(), Holds(names)), "boolean", None)]


def _conditions(node: syntax.Node) -> Iterator[Step]:
    match node:
        case syntax.Binary("and", left, right):
            yield from _conditions(left)
            yield from _conditions(right)
        case syntax.Binary(
            "=", syntax.Member(None, name), syntax.Literal(_, str() | int() as value)
        ):
            yield Equals(name, value)
        case syntax.TypeTest("is", syntax.Call(None, "resolve", ()), type_name):
            yield Refers(type_name)
        case syntax.Call(None, "hasExtension", (syntax.Literal("string", str(url)),)):
            yield HasExtension(url)
        case _:
            raise _unsupported()


def _unsupported() -> NotSupported:
    return NotSupported("the expression is more than a walk through the resource")
