"""Search values of a resource: compiled Python, one function a type, written from the definitions.

For each type the locations of its search parameters (`searchpaths.py`) are merged into one walk
through the JSON, so that an element which serves several parameters is visited once, and the walk
is written out as the source of one function. What each data type gives to each search type is the
table `_TEMPLATES` (R4 search.html, sections token, string, reference, date, number, quantity).

Aliases (`searchparams.Param.is_alias`) give no values, only their bit in `Values.present`.
Values of contained resources and references to them are left out (search.html#contained).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import cache
from typing import Any

import msgspec

from app.errors import Invalid
from app.fhir import definitions, ucum
from app.fhir.dates import bounds, period_bounds, timing_bounds
from app.fhir.fhirpath.engine import Expression
from app.fhir.fhirpath.moments import Moment
from app.fhir.fhirpath.values import Amount, Element, Item, children, type_of
from app.fhir.searchparams import SEARCHABLE, Param, SearchParameters, always_present, shared
from app.fhir.searchpaths import (
    At,
    Equals,
    FromResource,
    Get,
    HasExtension,
    Holds,
    Location,
    Refers,
    Step,
    locate_part,
    values_of_extension,
)

Resource = Mapping[str, Any]

MONEY_SYSTEM = "urn:iso:std:iso:4217"
INFINITY = float("inf")


class Values(msgspec.Struct, gc=False):
    """What a resource can be found by; `p` is always Param.number.

    tokens: (p, system, code). identifiers: (p, system, value, type system, type code).
    texts: (p, text) for `:text`. strings: (p, text) for each part of a name or address.
    references: (p, reference as written, Reference.type). canonicals: (p, url or url|version).
    reference_identifiers: (p, system, value). uris: (p, uri).
    dates: (p, low, high) half-open in microseconds. numbers: (p, low, high), both ends included.
    quantities: (p, system, code, unit, low, high), ends included, infinite where open.
    composites: (p, values of the first component, of the second ...), one for each repeat of the
        root; the values are as above without p (a token of an Identifier is (system, value)).
    positions: (p, latitude, longitude).
    present: mask of Param.bit. posted: numbers of the posted parameters that are present.
    """

    tokens: Sequence[tuple[int, str | None, str]]
    identifiers: Sequence[tuple[int, str | None, str, str | None, str | None]]
    texts: Sequence[tuple[int, str]]
    strings: Sequence[tuple[int, str]]
    references: Sequence[tuple[int, str, str | None]]
    reference_identifiers: Sequence[tuple[int, str | None, str]]
    canonicals: Sequence[tuple[int, str]]
    uris: Sequence[tuple[int, str]]
    dates: Sequence[tuple[int, int, int]]
    numbers: Sequence[tuple[int, float, float]]
    quantities: Sequence[tuple[int, str | None, str | None, str | None, float, float]]
    composites: Sequence[tuple[Any, ...]]
    positions: Sequence[tuple[int, float, float]]
    present: int
    posted: Sequence[int]


Extractor = Callable[[Resource, tzinfo], Values]
# Hands what it finds to methods named after the lists of `Values`, and returns Values.present.
HandsOver = Callable[[Resource, tzinfo, Any], int]

_LISTS = tuple(name for name in Values.__struct_fields__ if name != "present")

# --- what a data type gives ----------------------------------------------------------------------

# (search type, data type) -> code over the element `{v}`. `NAME(...)` appends to that list of
# Values, `{p}` is the parameter's number and a comma (nothing inside a composite). Lines that
# begin with `~` are left out of composites.

_TEXT = """
~t = {v}.get('text')
~if t is not None:
~    texts(({p}t,))
"""
_AS_IT_IS = "tokens(({p}None, {v}))"
_ONE_DATE = """
b = bounds({v}, zone)
dates(({p}b[0], b[1]))
"""
_ONE_NUMBER = """
x = float({v})
numbers(({p}x, x))
"""
_QUANTITY = """
b = quantity({v})
if b is not None:
    quantities(({p}*b,))
"""
_CANONICAL = """
if {v}[:1] != '#':
    canonicals(({p}{v},))
"""


def _part(name: str) -> str:
    return f"t = {{v}}.get('{name}')\nif t is not None:\n    strings(({{p}}t,))\n"


def _parts(name: str) -> str:
    return f"for t in {{v}}.get('{name}', ()):\n    if t is not None:\n        strings(({{p}}t,))\n"


_TEMPLATES: Mapping[tuple[str, str], str] = {
    ("token", "CodeableConcept"): """
for c in {v}.get('coding', ()):
    k = c.get('code')
    if k is not None:
        tokens(({p}c.get('system'), k))
~    t = c.get('display')
~    if t is not None:
~        texts(({p}t,))
"""
    + _TEXT,
    ("token", "Coding"): """
k = {v}.get('code')
if k is not None:
    tokens(({p}{v}.get('system'), k))
~t = {v}.get('display')
~if t is not None:
~    texts(({p}t,))
""",
    ("token", "Identifier"): """
k = {v}.get('value')
~if k is not None:
~    c = {v}.get('type')
~    if c is None:
~        identifiers(({p}{v}.get('system'), k, None, None))
~    else:
~        for c in c.get('coding', NO_CODING):
~            identifiers(({p}{v}.get('system'), k, c.get('system'), c.get('code')))
~c = {v}.get('type', {{}})
~t = c.get('text')
~if t is not None:
~    texts(({p}t,))
""",
    ("token", "ContactPoint"): """
k = {v}.get('value')
if k is not None:
    tokens(({p}None, k))
""",
    ("token", "code"): "tokens(({p}{system}, {v}))",
    ("token", "boolean"): "tokens(({p}None, 'true' if {v} else 'false'))",
    **{
        ("token", t): _AS_IT_IS
        for t in ("string", "id", "uri", "url", "canonical", "oid", "uuid", "markdown")
    },
    **{
        ("token", t): "tokens(({p}None, str({v})))"
        for t in ("integer", "positiveInt", "unsignedInt")
    },
    **{
        ("string", t): "strings(({p}{v},))"
        for t in ("string", "markdown", "code", "id", "uri", "url")
    },
    ("string", "HumanName"): "".join(
        (_part("text"), _part("family"), _parts("given"), _parts("prefix"), _parts("suffix"))
    ),
    ("string", "Address"): "".join(
        (
            _part("text"),
            _parts("line"),
            _part("city"),
            _part("district"),
            _part("state"),
            _part("postalCode"),
            _part("country"),
        )
    ),
    ("string", "CodeableConcept"): """
for c in {v}.get('coding', ()):
    t = c.get('display')
    if t is not None:
        strings(({p}t,))
"""
    + _part("text"),
    ("string", "Annotation"): _part("text"),
    ("reference", "Reference"): """
t = {v}.get('reference')
if t is not None and t[:1] != '#':
    references(({p}t, {v}.get('type')))
~c = {v}.get('identifier')
~if c is not None:
~    k = c.get('value')
~    if k is not None:
~        reference_identifiers(({p}c.get('system'), k))
""",
    ("reference", "Resource"): """
if 'id' in {v}:
    references(({p}{v}['resourceType'] + '/' + {v}['id'], {v}['resourceType']))
""",
    **{("reference", t): _CANONICAL for t in ("canonical", "uri", "url")},
    **{("uri", t): "uris(({p}{v},))" for t in ("uri", "url", "canonical", "oid", "uuid")},
    **{("date", t): _ONE_DATE for t in ("date", "dateTime", "instant")},
    **{
        ("date", t): f"""
b = {reader}({{v}}, zone)
if b is not None:
    dates(({{p}}b[0], b[1]))
"""
        for t, reader in (("Period", "period_bounds"), ("Timing", "timing_bounds"))
    },
    **{("number", t): _ONE_NUMBER for t in ("integer", "decimal", "positiveInt", "unsignedInt")},
    ("number", "Range"): """
b = limits({v})
if b is not None:
    numbers(({p}b[0], b[1]))
""",
    **{("quantity", t): _QUANTITY for t in ("Quantity", "Age", "Count", "Distance", "Duration")},
    ("quantity", "Money"): """
x = {v}.get('value')
if x is not None:
    k = {v}.get('currency')
    quantities(({p}None if k is None else MONEY_SYSTEM, k, k, float(x), float(x)))
""",
    ("quantity", "Range"): """
b = quantity_range({v})
if b is not None:
    quantities(({p}*b,))
""",
    ("special", "BackboneElement"): """
if 'latitude' in {v} and 'longitude' in {v}:
    positions(({p}float({v}['latitude']), float({v}['longitude'])))
""",
}
_COMPOSITE_IDENTIFIER = """
k = {v}.get('value')
if k is not None:
    tokens(({v}.get('system'), k))
"""

# What an open end of Quantity.comparator leaves of a value: (low, high).
_COMPARATORS: Mapping[str, Callable[[float], tuple[float, float]]] = {
    "<": lambda x: (-INFINITY, x),
    "<=": lambda x: (-INFINITY, x),
    ">": lambda x: (x, INFINITY),
    ">=": lambda x: (x, INFINITY),
}

Measure = tuple[str | None, str | None, str | None, float, float]


def quantity(value: Mapping[str, Any]) -> Measure | None:
    """Return (system, code, unit, low, high) of a Quantity; None without a value.

    A comparator leaves one side open: "< 5" is everything below 5.
    """
    number = value.get("value")
    if number is None:
        return None
    number = float(number)
    comparator = value.get("comparator")
    low, high = (number, number) if comparator is None else _COMPARATORS[comparator](number)
    return value.get("system"), value.get("code"), value.get("unit"), low, high


def limits(value: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the ends of a Range, infinite where absent; None without both."""
    low = value.get("low", {}).get("value")
    high = value.get("high", {}).get("value")
    if low is None and high is None:
        return None
    return -INFINITY if low is None else float(low), INFINITY if high is None else float(high)


def quantity_range(value: Mapping[str, Any]) -> Measure | None:
    """Return a Range like a Quantity, in the unit of its low end (rng-2: both have the same)."""
    ends = limits(value)
    if ends is None:
        return None
    unit = value.get("low") or value.get("high") or {}
    return unit.get("system"), unit.get("code"), unit.get("unit"), *ends


def refers(reference: Mapping[str, Any], resource_type: str) -> bool:
    """Say whether a Reference leads to a resource type, by what it says of itself."""
    named = reference.get("type")
    if named is not None:
        return bool(named == resource_type)
    text = reference.get("reference", "")
    return text.startswith(resource_type + "/") or f"/{resource_type}/" in text


def evaluated(
    expression: Expression, resource: Resource, zone: tzinfo, types: frozenset[str]
) -> list[tuple[str, Any]]:
    """Return (FHIR type, JSON value) of what an expression finds, of those types only.

    Where FHIRPath says it has no answer there is no value: a write is not refused for that.
    """
    try:
        items = expression.evaluate(resource, zone=zone)
    except Invalid:
        return []
    found: list[tuple[str, Any]] = []
    for item in items:
        if isinstance(item, Element) and item.type == "Extension" and "Extension" not in types:
            found += [(v.type, v.value) for v in children(item, "value")]
        else:
            found.append(_typed_json(item))
    return [(kind, value) for kind, value in found if kind in types and value is not None]


def _typed_json(item: Item) -> tuple[str, Any]:
    if isinstance(item, Element):
        return item.type, item.value
    if isinstance(item, Moment):
        return item.kind, str(item)
    if isinstance(item, Amount):
        code = {"value": item.value, "unit": item.unit, "system": ucum.SYSTEM, "code": item.unit}
        return "Quantity", code
    return type_of(item).removeprefix("System.").lower(), item


def has_extension(element: Mapping[str, Any], url: str) -> bool:
    """Say whether an element carries an extension."""
    return any(extension.get("url") == url for extension in element.get("extension", ()))


# --- the walk ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Leaf:
    """One parameter that takes values here, as one search type and data type."""

    param: Param
    location: Location
    sink: int | None = None  # the component of a composite; None: the lists of Values


@dataclass(slots=True)
class Walk:
    """A place in the JSON: what is taken here, and where one goes from it."""

    leaves: list[Leaf] = field(default_factory=list)
    marks: list[Param] = field(default_factory=list)  # aliases: presence only
    roots: list[tuple[Param, Location]] = field(default_factory=list)  # composites
    steps: dict[tuple[Step, ...], Walk] = field(default_factory=dict)

    def to(self, steps: Iterable[Step]) -> Walk:
        """Return the place that `steps` lead to, with At joined to the Get it belongs to."""
        place = self
        pending: tuple[Step, ...] = ()
        for step in steps:
            pending = (*pending, step)
            if not isinstance(step, At):
                place = place.steps.setdefault(pending, Walk())
                pending = ()
        return place


def walk_of(params: Iterable[Param]) -> Walk:
    """Return the walk from the resource to the values of parameters."""
    root = Walk()
    for param in params:
        if param.computed or param.union or param.parts:
            continue
        for location in param.locations:
            place = root.to(location.steps)
            if param.narrows:
                place.marks.append(param)
            elif param.type == "composite":
                place.roots.append((param, location))
            else:
                place.leaves.append(Leaf(param, location))
    return root


def walk_of_composite(param: Param, root: Location) -> Walk:
    """Return the walk from one repeat of a composite's root to the values of its components."""
    walk = Walk()
    for sink, component in enumerate(param.components):
        types = SEARCHABLE[component.param.type]
        for location in locate_part(component.expression, param.resource_type, root):
            found = (
                values_of_extension(location, types) if location.type == "Extension" else [location]
            )
            for where in found:
                if where.type in types:
                    walk.to(where.steps).leaves.append(Leaf(component.param, where, sink))
    return walk


class Writer:
    """Writes the source of one type's extractor."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {
            "Values": Values,
            "bounds": bounds,
            "period_bounds": period_bounds,
            "timing_bounds": timing_bounds,
            "quantity": quantity,
            "quantity_range": quantity_range,
            "limits": limits,
            "refers": refers,
            "has_extension": has_extension,
            "evaluated": evaluated,
            "MONEY_SYSTEM": MONEY_SYSTEM,
            "NO_CODING": ({},),
            "FALSE": (None, False),
        }
        self._counter = 0
        self.from_resource = False  # whether some value is looked for in the whole resource

    def add(self, depth: int, line: str) -> None:
        self.lines.append("    " * depth + line)

    def _name(self, stem: str) -> str:
        self._counter += 1
        return f"{stem}{self._counter}"

    def constant(self, stem: str, value: Any) -> str:
        """Return a name for a value that has no source form."""
        name = self._name(stem)
        self.names[name] = value
        return name

    def function(
        self, params: Mapping[str, Param], always: int, *, handing_over: bool = False
    ) -> None:
        """Write `extract(r, zone)`, which returns Values, or an `extract(r, zone, to)`."""
        self.add(0, f"def extract(r, zone{', to' if handing_over else ''}):")
        head = len(self.lines)
        self.add(1, f"present = {always}")
        self.walk(walk_of(params.values()), "r", 1)
        for param in params.values():
            if param.evaluated is not None:
                self._evaluated(param, param.evaluated)
        self._derived(params.values())
        if handing_over:
            self.end_handing_over(head, "present")
            return
        used = self._used(head)
        self.lines[head:head] = [f"    {name}_ = []; {name} = {name}_.append" for name in used]
        arguments = [f"{name}_" if name in used else "()" for name in _LISTS]
        arguments.insert(Values.__struct_fields__.index("present"), "present")
        self.add(1, f"return Values({', '.join(arguments)})")

    def end_handing_over(self, head: int, result: str) -> None:
        """End a function whose walk begins at line `head`: what is found goes to `to.tokens` ..."""
        self.lines[head:head] = [f"    {name} = to.{name}" for name in self._used(head)]
        self.add(1, f"return {result}")

    def _used(self, head: int) -> list[str]:
        body = "\n".join(self.lines[head:])
        return [name for name in _LISTS if re.search(rf"\b{name}\(", body)]

    def compiled(self, name: str) -> Any:
        """Return the function that was written."""
        code = compile("\n".join(self.lines), name, "exec")
        namespace = dict(self.names)
        exec(code, namespace)  # noqa: S102 - our own source, from definitions; names are repr'd
        return namespace["extract"]

    def _evaluated(self, param: Param, expression: Expression) -> None:
        """Write the values of a parameter that only FHIRPath finds, by their type at run time."""
        types = SEARCHABLE[param.type]
        x = self._name("v")
        known = f"{self.constant('path', expression)}, r, zone, {self.constant('types', types)}"
        self.add(1, "posted_here = False")
        self.add(1, f"for kind, {x} in evaluated({known}):")
        self.add(2, "posted_here = True")
        for kind in sorted(types):
            self.add(2, f"if kind == {kind!r}:")
            for line in self._template(Leaf(param, Location((), kind)), x):
                self.add(3, line)
        self.add(1, f"if posted_here: posted({param.number})")

    def _derived(self, params: Iterable[Param]) -> None:
        """Write the presence of aliases that follows from that of other parameters."""
        for param in sorted(params, key=lambda p: bool(p.union)):
            if param.union:
                self.add(1, f"if present & {_mask(param.union)}:")
                self.add(2, f"present |= {param.mask}")
            elif param.parts:
                needed = _mask(param.parts)
                self.add(1, f"if present & {needed} == {needed}:")
                self.add(2, f"present |= {param.mask}")

    def walk(self, place: Walk, v: str, depth: int) -> None:
        self._present(place, depth)
        for leaf in place.leaves:
            self._leaf(leaf, v, depth)
        for param, root in place.roots:
            self._composite(param, root, v, depth)
        for steps, following in place.steps.items():
            self.step(steps, following, v, depth)

    def _present(self, place: Walk, depth: int) -> None:
        typed = [leaf.param for leaf in place.leaves if leaf.sink is None and not _any(leaf)]
        here = [*typed, *place.marks]
        if mask := _mask(here):
            self.add(depth, f"present |= {mask}")
        for param in here:
            if param.bit is None:
                self.add(depth, f"posted({param.number})")

    def _leaf(self, leaf: Leaf, v: str, depth: int) -> None:
        if _any(leaf):  # Bundle.entry[0].resource: by type, so that it is one parameter's only
            self.add(depth, f"if {v}.get('resourceType') in {leaf.param.targets!r}:")
            depth += 1
            self.add(depth, f"present |= {leaf.param.mask}")
        for line in self._template(leaf, v):
            self.add(depth, line)

    def _template(self, leaf: Leaf, v: str) -> Iterator[str]:
        template = _TEMPLATES[leaf.param.type, leaf.location.type]
        plain = leaf.sink is None
        if not plain and leaf.location.type == "Identifier":
            template = _COMPOSITE_IDENTIFIER
        number = f"{leaf.param.number}, " if plain else ""
        system = self._system(leaf.location.value_set, v) if "{system}" in template else ""
        for line in template.format(v=v, p=number, system=system).splitlines():
            if line.startswith("~") and not plain:
                continue
            text = line.removeprefix("~")
            if not plain:
                text = _into_component(text, leaf.sink)
            if text:
                yield text

    def _system(self, value_set: str | None, v: str) -> str:
        """Return the expression for the system of a `code` element: that of its binding."""
        systems = systems_of_binding(value_set) if value_set else None
        if systems is None or isinstance(systems, str):
            return repr(systems)
        return f"{self.constant('systems', systems)}.get({v})"

    def step(self, steps: tuple[Step, ...], place: Walk, v: str, depth: int) -> None:
        match steps:
            case (At(index), Get(name, _)):
                self.add(
                    depth,
                    f"for {(x := self._name('v'))} in {v}.get({name!r}, ())[{index}:{index + 1}]:",
                )
                self.walk(place, x, depth + 1)
            case (Get(name, False),):
                x = self._name("v")
                self.add(depth, f"{x} = {v}.get({name!r})")
                self.add(depth, f"if {x} is not None:")
                self.walk(place, x, depth + 1)
            case (Get(name, True),):
                x = self._name("v")
                self.add(depth, f"for {x} in {v}.get({name!r}, ()):")
                if any(_is_primitive(leaf) for leaf in place.leaves):
                    self.add(depth + 1, f"if {x} is None: continue")
                self.walk(place, x, depth + 1)
            case (Equals(name, value),):
                self.add(depth, f"if {v}.get({name!r}) == {value!r}:")
                self.walk(place, v, depth + 1)
            case (Refers(resource_type),):
                self.add(depth, f"if refers({v}, {resource_type!r}):")
                self.walk(place, v, depth + 1)
            case (HasExtension(url),):
                self.add(depth, f"if has_extension({v}, {url!r}):")
                self.walk(place, v, depth + 1)
            case (Holds(names),):
                x = self._name("v")
                tests = " or ".join(f"{v}.get({n!r}) not in FALSE" for n in names)
                self.add(depth, f"{x} = {tests}")
                self.walk(place, x, depth)
            case (FromResource(),):
                self.from_resource = True
                self.walk(place, "r", depth)

    def _composite(self, param: Param, root: Location, v: str, depth: int) -> None:
        """Write the values of all components of one repeat, if each has any."""
        for sink in range(len(param.components)):
            self.add(depth, f"l{sink} = []")
        walk = walk_of_composite(param, root)
        self.walk(walk, v, depth)
        lists = [f"l{sink}" for sink in range(len(param.components))]
        self.add(depth, f"if {' and '.join(lists)}:")
        self.add(depth + 1, f"composites(({param.number}, {', '.join(lists)}))")
        self.add(
            depth + 1,
            f"posted({param.number})" if param.bit is None else f"present |= {param.mask}",
        )


def _into_component(line: str, sink: int | None) -> str:
    """Redirect an append to the list of a component."""
    indent = line[: len(line) - len(line.lstrip())]
    name, bracket, rest = line.lstrip().partition("((")
    return f"{indent}l{sink}.append(({rest}" if bracket and name in _LISTS else line


def _any(leaf: Leaf) -> bool:
    return leaf.location.type == "Resource"


def _is_primitive(leaf: Leaf) -> bool:
    return definitions.is_primitive(leaf.location.type)


def _mask(params: Iterable[Param]) -> int:
    mask = 0
    for param in params:
        mask |= param.mask
    return mask


@cache
def systems_of_binding(value_set: str) -> str | Mapping[str, str] | None:
    """Return the code system of a value set's codes; code -> system if it has several.

    One whose codes R4 alone cannot list (mime types) still has its one system.
    """
    listed = definitions.value_set_codes(value_set)
    if listed is None:
        includes = (
            definitions.value_set(value_set)["compose"]["include"] if _known(value_set) else ()
        )
        systems = {include.get("system") for include in includes}
        return systems.pop() if len(systems) == 1 else None
    if len(listed) == 1:
        return next(iter(listed))
    return {code: system for system, codes in listed.items() for code in codes}


def _known(value_set: str) -> bool:
    return definitions.has("ValueSet", value_set)


# --- the compiled functions ----------------------------------------------------------------------


def source(resource_type: str, parameters: SearchParameters = shared) -> str:
    """Return the Python source of a type's extractor (for a look at what it does)."""
    return "\n".join(_written(resource_type, parameters).lines)


def _written(resource_type: str, parameters: SearchParameters) -> Writer:
    writer = Writer()
    writer.function(parameters.indexed(resource_type), always_present(resource_type))
    return writer


def compiled(resource_type: str, parameters: SearchParameters) -> Extractor:
    """Return a new extractor for the parameters as they are now."""
    return _compiled(resource_type, _written(resource_type, parameters))


def compiled_for(resource_type: str, params: Iterable[Param]) -> Extractor:
    """Return a new extractor for some parameters of a type alone."""
    writer = Writer()
    writer.function({param.code: param for param in params}, 0)
    return _compiled(resource_type, writer)


def _compiled(resource_type: str, writer: Writer) -> Extractor:
    found: Extractor = writer.compiled(f"<search values of {resource_type}>")
    return found


_extractors: dict[str, tuple[int, Extractor]] = {}
_handing_over: dict[str, tuple[int, HandsOver]] = {}


def extractor(resource_type: str) -> Extractor:
    """Return the extractor of a type for the shared parameters, compiled when first asked for.

    Ask again after a parameter was posted or deleted. Raises NotFound for an unknown type. The
    extractor raises Invalid for a date that is not in the calendar.
    """
    known = _extractors.get(resource_type)
    if known is not None and known[0] == shared.generation:
        return known[1]
    generation = shared.generation
    made = compiled(resource_type, shared)
    _extractors[resource_type] = (generation, made)
    return made


def handing_over(resource_type: str) -> HandsOver:
    """Return what finds the same values as `extractor` for who takes them one by one."""
    known = _handing_over.get(resource_type)
    if known is not None and known[0] == shared.generation:
        return known[1]
    generation = shared.generation
    writer = Writer()
    always = always_present(resource_type)
    writer.function(shared.indexed(resource_type), always, handing_over=True)
    made: HandsOver = writer.compiled(f"<search values of {resource_type}>")
    _handing_over[resource_type] = (generation, made)
    return made
