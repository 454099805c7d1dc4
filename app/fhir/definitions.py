"""FHIR R4 (4.0.1) as data: the definitions that ship with the package, read lazily.

The artefact in `app/fhir/r4/` is built by `tools/build_definitions.py`. Each part is one gzip
JSON file; a part is unpacked when it is first asked for, and one entry of it is parsed when that
entry is first asked for, so that a command which needs one type pays for one type.

Terms: a *shape* is what a JSON object may hold (a resource, a datatype or a backbone element);
an *element* is one ElementDefinition; a *member* is one name in the JSON. An element `value[x]`
with eleven types is one element and eleven members.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, TypeVar

import msgspec
import orjson

from app.errors import NotFound
from app.fhir import listing

Json = dict[str, Any]

STRUCTURE_BASE = "http://hl7.org/fhir/StructureDefinition/"
FHIR_VERSION = "4.0.1"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Type:
    """One type that an element may have.

    targets: for Reference and canonical the resource types that may be meant; empty or
        ("Resource",) is any. profiles: profiles the value has to meet (SimpleQuantity).
    """

    code: str
    targets: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    regex: str | None = None


@dataclass(frozen=True, slots=True)
class Binding:
    """The value set an element is bound to, and how strongly: required, extensible, ..."""

    strength: str
    value_set: str | None  # without |version
    version: str | None


@dataclass(frozen=True, slots=True)
class Invariant:
    """One constraint in FHIRPath. severity: error or warning."""

    key: str
    severity: str
    expression: str | None
    best_practice: bool


@dataclass(frozen=True, slots=True, eq=False)
class Element:
    """One ElementDefinition of a base structure.

    name: the last part of the path without `[x]`. max: None is unbounded.
    shape: what objects here hold if this is a backbone element or refers to one
        (`content_reference`); None if the type is a datatype or primitive.
    facts: the definition as packed, for what profiles add (fixed and pattern values, slices).
    """

    path: str
    name: str
    min: int
    max: int | None
    types: tuple[Type, ...]
    choice: bool
    binding: Binding | None
    content_reference: str | None
    is_modifier: bool
    is_summary: bool
    constraints: tuple[str, ...]
    xml_attribute: bool
    facts: Json
    shape: Shape | None

    @property
    def is_list(self) -> bool:
        return self.max != 1

    @property
    def is_required(self) -> bool:
        return self.min > 0


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One name that may stand in the JSON: `valueQuantity` of the element `value[x]`."""

    name: str
    element: Element
    type: Type

    @property
    def is_primitive(self) -> bool:
        return self.element.shape is None and is_primitive(self.type.code)

    @property
    def shape(self) -> Shape | None:
        """What an object here may hold; None for primitives and for whole resources."""
        if self.element.shape is not None:
            return self.element.shape
        if is_primitive(self.type.code) or self.type.code in _ANY_RESOURCE:
            return None
        return structure(self.type.code).shape


class Shape:
    """What a JSON object may hold, in the order of the specification (that of the XML)."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.elements: dict[str, Element] = {}

    @cached_property
    def members(self) -> Mapping[str, Member]:
        """JSON name -> member, in the order of the specification."""
        return {
            _member_name(element, kind): Member(_member_name(element, kind), element, kind)
            for element in self.elements.values()
            for kind in element.types
        }

    def choice(self, name: str) -> Sequence[Member]:
        """Return the members of one element by its name (`value`): one, or one for each type."""
        return [m for m in self.members.values() if m.element.name == name]

    def __repr__(self) -> str:
        return f"Shape({self.path!r})"


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """A resource type, datatype, primitive type or profile.

    kind: resource, complex-type or primitive-type. base: the parent's name, or url of a profile.
    invariants: those stated here; `invariants(name)` gives the inherited ones too.
    """

    name: str
    kind: str
    abstract: bool
    base: str | None
    root: Element
    shape: Shape
    invariants: Mapping[str, Invariant]
    facts: Json

    @property
    def elements(self) -> Mapping[str, Element]:
        """Element name -> element, first level, in the order of the specification."""
        return self.shape.elements

    @property
    def members(self) -> Mapping[str, Member]:
        """JSON name -> member, first level, in the order of the specification."""
        return self.shape.members

    def walk(self) -> Iterator[Element]:
        """Yield every element of this structure, backbone elements included, in order."""
        yield from _walk(self.shape, self.name)


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """One search parameter of the base specification.

    code: the name in the url. expression: FHIRPath, None for the special ones. components: for
    composites the urls of the parts and their expressions.
    """

    url: str
    id: str
    code: str
    bases: tuple[str, ...]
    type: str
    expression: str | None
    xpath_usage: str | None
    targets: tuple[str, ...]
    components: tuple[tuple[str, str], ...]
    comparators: tuple[str, ...]
    multiple_or: bool | None


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation definition; `parameters` are OperationDefinition.parameter as in R4 JSON."""

    url: str
    id: str
    code: str
    kind: str
    affects_state: bool
    resources: tuple[str, ...]
    system: bool
    type: bool
    instance: bool
    parameters: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class Concept:
    """One concept of a code system; `parent` is the code above it in the hierarchy."""

    code: str
    display: str | None
    parent: str | None
    facts: Json


@dataclass(frozen=True, slots=True, eq=False)
class CodeSystem:
    """A code system of the base specification; `concepts` are in order, nested ones flattened."""

    url: str
    version: str | None
    name: str
    content: str
    case_sensitive: bool
    concepts: Mapping[str, Concept]
    facts: Json


# --- parts ---------------------------------------------------------------------------------------

# Types whose content is a whole resource, named by its own resourceType.
_ANY_RESOURCE = frozenset({"Resource", "DomainResource"})


class _Part:
    """One file of the artefact: key -> JSON, parsed entry by entry."""

    def __init__(self, name: str) -> None:
        packed = files("app.fhir").joinpath("r4", f"{name}.json.gz").read_bytes()
        self._raw = msgspec.json.decode(gzip.decompress(packed), type=dict[str, msgspec.Raw])

    def keys(self) -> list[str]:
        return list(self._raw)

    def get(self, key: str) -> Json | None:
        raw = self._raw.get(key)
        return None if raw is None else orjson.loads(memoryview(raw))

    def __contains__(self, key: object) -> bool:
        return key in self._raw


@cache
def _part(name: str) -> _Part:
    return _Part(name)


@cache
def manifest() -> Json:
    """Return where the definitions come from: package, version, license, SHA-256 sums."""
    found: Json = orjson.loads(files("app.fhir").joinpath("r4", "manifest.json").read_bytes())
    return found


def _found(value: T | None, what: str) -> T:
    if value is None:
        raise NotFound(f"R4 has no such {what}.")
    return value


# --- structures ----------------------------------------------------------------------------------


@cache
def resource_types() -> tuple[str, ...]:
    """Return the 146 concrete resource types in alphabetical order."""
    return tuple(manifest()["resource_types"])


@cache
def _numbers() -> Mapping[str, int]:
    return {name: number for number, name in enumerate(resource_types(), 1)}


def is_resource_type(name: str) -> bool:
    """Say whether `name` is a concrete resource type."""
    return name in _numbers()


def type_number(name: str) -> int:
    """Return the number of a resource type, 1 to 146 in alphabetical order: an on-disk number."""
    return _found(_numbers().get(name), "resource type")


def type_name(number: int) -> str:
    """Return the resource type of a number; see `type_number`."""
    types = resource_types()
    return _found(types[number - 1] if 0 < number <= len(types) else None, "resource type number")


@cache
def structure_names() -> tuple[str, ...]:
    """Return the names of all 209 base structures: resources, datatypes and primitives."""
    return tuple(_part("structures").keys())


@cache
def is_primitive(name: str) -> bool:
    """Say whether a type name is a primitive type's; in R4 those begin with a small letter."""
    return name[0].islower() and name in _part("structures")


@cache
def structure(name: str) -> Structure:
    """Return a base structure by its type name. Raises NotFound."""
    facts = _found(_part("structures").get(name), "type")
    return _structure(name, facts)


@cache
def profile(url: str) -> Structure:
    """Return a profile or extension definition of the base package by its url. Raises NotFound."""
    facts = _found(_part("profiles").get(url), "profile")
    return _structure(facts["elements"][0]["path"], facts)


@cache
def invariants(name: str) -> Mapping[str, Invariant]:
    """Return key -> invariant of a base structure with those it inherits."""
    found: dict[str, Invariant] = {}
    parent: str | None = name
    while parent:
        current = structure(parent)
        found = {**current.invariants, **found}
        parent = current.base
    return found


def base_types(name: str) -> Iterator[str]:
    """Yield a type and those it specialises: Patient, DomainResource, Resource."""
    current: str | None = name
    while current:
        yield current
        current = _base(current)


@cache
def _base(name: str) -> str | None:
    """Return the parent of a type without building its structure: all types are asked."""
    base: str | None = _found(_part("structures").get(name), "type").get("base")
    return base


def _structure(name: str, facts: Json) -> Structure:
    shapes = {name: Shape(name)}
    root, *elements = facts["elements"]
    parents = {e["path"].rpartition(".")[0] for e in elements}
    for packed in elements:
        path = packed["path"]
        if path in parents and path not in shapes:
            shapes[path] = Shape(path)
    for packed in elements:
        if "id" in packed and ":" in packed["id"]:
            continue  # a slice: seen through `facts` only
        above = shapes[packed["path"].rpartition(".")[0]]
        element = _element(packed, shapes.get(packed.get("ref", packed["path"])))
        above.elements.setdefault(element.name, element)
    return Structure(
        name=name,
        kind=facts["kind"],
        abstract=facts.get("abstract", False),
        base=facts.get("base"),
        root=_element(root, None),
        shape=shapes[name],
        invariants={
            key: Invariant(
                key, i["severity"], i.get("expression"), bool(i.get("best_practice", False))
            )
            for key, i in facts.get("invariants", {}).items()
        },
        facts=facts,
    )


def _element(packed: Json, shape: Shape | None) -> Element:
    path: str = packed["path"]
    types = packed.get("types", ())
    if "ref" in packed:
        types = ({"code": "BackboneElement"},)
    maximum = packed.get("max", "1")
    return Element(
        path=path,
        name=path.rpartition(".")[2].removesuffix("[x]"),
        min=packed.get("min", 0),
        max=None if maximum == "*" else int(maximum),
        types=tuple(
            Type(
                t["code"], tuple(t.get("targets", ())), tuple(t.get("profiles", ())), t.get("regex")
            )
            for t in types
        ),
        choice=path.endswith("[x]"),
        binding=_binding(packed.get("binding")),
        content_reference=packed.get("ref"),
        is_modifier=packed.get("modifier", False),
        is_summary=packed.get("summary", False),
        constraints=tuple(packed.get("constraints", ())),
        xml_attribute=packed.get("xml") == "xmlAttr",
        facts=packed,
        shape=shape,
    )


def _binding(packed: Json | None) -> Binding | None:
    if packed is None:
        return None
    url, _, version = packed.get("valueSet", "").partition("|")
    return Binding(packed["strength"], url or None, version or None)


def _member_name(element: Element, kind: Type) -> str:
    if not element.choice:
        return element.name
    return element.name + kind.code[0].upper() + kind.code[1:]


def _walk(shape: Shape, path: str) -> Iterator[Element]:
    for element in shape.elements.values():
        yield element
        if element.shape is not None and element.content_reference is None:
            yield from _walk(element.shape, element.path)


_INDEX = re.compile(r"\[\d+\]")


def members(path: str) -> tuple[Member, ...]:
    """Return what a path of element or JSON names may be; () if it is no path of R4.

    "Observation.value", "Observation.value[x]" give eleven members, one for each type;
    "Observation.component.valueQuantity" one; "Observation.component.referenceRange.low" follows
    the content reference; datatypes are entered ("Patient.name.family"), of a choice each type
    that has the next name. Indexes such as `[0]` are ignored. An abstract start
    ("Resource.meta") is allowed.
    """
    start, *names = _INDEX.sub("", path).replace("[x]", "").split(".")
    if start not in _part("structures"):
        return ()
    shapes: list[Shape] = [structure(start).shape]
    found: list[Member] = []
    for name in names:
        found = [m for shape in shapes for m in _named(shape, name)]
        shapes = [shape for m in found if (shape := m.shape) is not None]
    return tuple(found)


def _named(shape: Shape, name: str) -> Sequence[Member]:
    member = shape.members.get(name)
    return [member] if member is not None else shape.choice(name)


@cache
def mandatory(type_name: str) -> frozenset[str]:
    """Return the names of the first-level elements with a minimum of one."""
    return frozenset(e.name for e in structure(type_name).elements.values() if e.is_required)


@cache
def summary(type_name: str) -> frozenset[str]:
    """Return the JSON names of the first-level members that are in the summary (`isSummary`)."""
    return frozenset(
        name for name, m in structure(type_name).members.items() if m.element.is_summary
    )


# --- search parameters, compartments, operations -------------------------------------------------


@cache
def search_parameters() -> tuple[SearchParameter, ...]:
    """Return all search parameters of R4, sorted by url."""
    return tuple(_search_parameter(r) for r in resources("SearchParameter"))


def _search_parameter(r: Json) -> SearchParameter:
    return SearchParameter(
        url=r["url"],
        id=r["id"],
        code=r["code"],
        bases=tuple(r["base"]),
        type=r["type"],
        expression=r.get("expression"),
        xpath_usage=r.get("xpathUsage"),
        targets=tuple(r.get("target", ())),
        components=tuple((c["definition"], c["expression"]) for c in r.get("component", ())),
        comparators=tuple(r.get("comparator", ())),
        multiple_or=r.get("multipleOr"),
    )


@cache
def compartments() -> tuple[str, ...]:
    """Return the compartments: Device, Encounter, Patient, Practitioner, RelatedPerson."""
    return tuple(sorted(r["code"] for r in resources("CompartmentDefinition")))


@cache
def compartment(code: str) -> Mapping[str, tuple[str, ...]]:
    """Return resource type -> the search parameters that put it into the compartment.

    Types that are never in it are absent. `{def}` (the resource itself) is left out of the
    parameters, so the compartment's own type may map to (). Raises NotFound.
    """
    found = next((r for r in resources("CompartmentDefinition") if r["code"] == code), None)
    return {
        entry["code"]: tuple(p for p in entry["param"] if p != "{def}")
        for entry in _found(found, "compartment")["resource"]
        if entry.get("param")
    }


@cache
def operations() -> tuple[Operation, ...]:
    """Return all operations of R4, sorted by url."""
    return tuple(
        Operation(
            url=r["url"],
            id=r["id"],
            code=r["code"],
            kind=r["kind"],
            affects_state=r.get("affectsState", False),
            resources=tuple(r.get("resource", ())),
            system=r["system"],
            type=r["type"],
            instance=r["instance"],
            parameters=tuple(r.get("parameter", ())),
        )
        for r in resources("OperationDefinition")
    )


# --- terminology ---------------------------------------------------------------------------------

_PART_OF = {
    "SearchParameter": "search_parameters",
    "CompartmentDefinition": "compartments",
    "OperationDefinition": "operations",
    "CodeSystem": "code_systems",
    "ValueSet": "value_sets",
    "ConceptMap": "concept_maps",
}


def urls(resource_type: str) -> list[str]:
    """Return the urls of the packaged definitions of one type (CodeSystem, ValueSet, ...)."""
    return _part(_PART_OF[resource_type]).keys()


def resource(resource_type: str, url: str) -> Json:
    """Return one packaged definition as R4 JSON without its prose. Raises NotFound.

    `url` without a version. The caller owns the dict.
    """
    return _found(_part(_PART_OF[resource_type]).get(url), resource_type)


def resources(resource_type: str) -> Iterator[Json]:
    """Yield all packaged definitions of one type, sorted by url; see `resource`."""
    for url in urls(resource_type):
        yield resource(resource_type, url)


def has(resource_type: str, url: str) -> bool:
    """Say whether `resource` would find it."""
    return url in _part(_PART_OF[resource_type])


@cache
def code_system(url: str) -> CodeSystem:
    """Return a code system by its url, without version. Raises NotFound."""
    facts = resource("CodeSystem", url)
    return CodeSystem(
        url=url,
        version=facts.get("version"),
        name=facts["name"],
        content=facts["content"],
        case_sensitive=facts.get("caseSensitive", False),
        concepts={c.code: c for c in _concepts(facts.get("concept", ()), None)},
        facts=facts,
    )


def _concepts(listed: Sequence[Json], parent: str | None) -> Iterator[Concept]:
    for concept in listed:
        yield Concept(concept["code"], concept.get("display"), parent, concept)
        yield from _concepts(concept.get("concept", ()), concept["code"])


@cache
def value_set(url: str) -> Json:
    """Return a value set by its url, without version: R4 JSON, to be read only."""
    return resource("ValueSet", url)


def value_set_codes(url: str) -> Mapping[str, frozenset[str]] | None:
    """Return system -> codes of a value set, or None if its codes cannot be listed from R4 alone.

    Those of required bindings are packed as lists; for the others see `listing`.
    """
    known = url in _part("required_codes") or has("ValueSet", url)
    return _value_set_codes(url) if known else None


@cache
def _value_set_codes(url: str) -> Mapping[str, frozenset[str]] | None:
    """Remember the lists of R4's own value sets: urls of requests must not pile up in a cache."""
    packed = _part("required_codes").get(url)
    if packed is not None:
        return {system: frozenset(codes) for system, codes in packed.items()}
    return listing.codes(url, _part("value_sets").get, _part("code_systems").get)
