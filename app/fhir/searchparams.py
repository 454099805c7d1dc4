"""Search parameters as data: what every type can be searched by, and how values are compared.

R4 search.html, searchparameter.html and searchparameter-registry.html. The base table comes from
the definitions, with the parameters of Resource and DomainResource under every type; posted
SearchParameter resources are added by `register`. A parameter that says nothing new is an alias
and gets no index entries of its own:

- `union`: the values are those of the named parameters together (combo-code);
- `narrows`: the values are those of one parameter that refer to one type (patient, subject);
- `parts`: a composite over the resource itself is the AND of its parameters (code-value-quantity).

Numbers and bits are on-disk formats. R4 is frozen, so they follow from the sorted names.
Left out: Patient.age and Patient.birthOrderBoolean, which R4 lists without an expression.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from types import MappingProxyType
from typing import Any

from app.errors import Invalid, NotSupported, YilianError
from app.fhir import definitions
from app.fhir.dates import PREFIXES
from app.fhir.fhirpath.engine import Expression, compiled
from app.fhir.searchpaths import Location, Refers, locate, locate_part, values_of_extension

FIRST_CUSTOM_NUMBER = 1 << 20  # numbers below are R4's own

# Search type -> the data types it can be searched by. R4 search.html, sections of the types.
SEARCHABLE: Mapping[str, frozenset[str]] = {
    "token": frozenset(
        [
            "CodeableConcept",
            "Coding",
            "Identifier",
            "ContactPoint",
            "code",
            "boolean",
            "string",
            "id",
            "uri",
            "url",
            "canonical",
            "oid",
            "uuid",
            "markdown",
            "integer",
            "positiveInt",
            "unsignedInt",
        ]
    ),
    "string": frozenset(
        [
            "string",
            "markdown",
            "HumanName",
            "Address",
            "code",
            "id",
            "uri",
            "url",
            "CodeableConcept",
            "Annotation",
        ]
    ),
    "reference": frozenset(["Reference", "canonical", "uri", "url", "Resource"]),
    "uri": frozenset(["uri", "url", "canonical", "oid", "uuid"]),
    "date": frozenset(["date", "dateTime", "instant", "Period", "Timing"]),
    "number": frozenset(["integer", "decimal", "positiveInt", "unsignedInt", "Range"]),
    "quantity": frozenset(["Quantity", "Age", "Count", "Distance", "Duration", "Money", "Range"]),
    "special": frozenset({"BackboneElement"}),
}

# Search type -> the modifiers that may follow its name. R4 search.html#modifiers. `[type]` stands
# for a resource type, `of-type` for token parameters over Identifier only.
_MODIFIERS: Mapping[str, frozenset[str]] = {
    "token": frozenset(["missing", "text", "not", "above", "below", "in", "not-in"]),
    "string": frozenset(["missing", "exact", "contains"]),
    "reference": frozenset(["missing", "identifier", "[type]"]),
    "uri": frozenset(["missing", "above", "below"]),
    "date": frozenset({"missing"}),
    "number": frozenset({"missing"}),
    "quantity": frozenset({"missing"}),
    "composite": frozenset({"missing"}),
    "special": frozenset(),
}
_HAS_PREFIXES = frozenset({"date", "number", "quantity"})

# What the server answers from its own columns and text index.
COMPUTED = frozenset(["_id", "_lastUpdated", "_text", "_content", "_filter", "_query"])
_ALWAYS_THERE = frozenset({"_id", "_lastUpdated"})

# By which date a type is ordered: the first of these it has.
_PRIMARY_DATES = (
    "authoredon",
    "authored-on",
    "authored",
    "date",
    "period",
    "started",
    "birthdate",
    "recorded",
    "recorded-date",
    "issued",
    "created",
    "sent",
    "timestamp",
    "start",
    "start-date",
    "occurrence",
    "effective-time",
    "effective",
    "whenhandedover",
    "collected",
    "identified",
    "datetime",
    "datewritten",
)


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a composite: the parameter its values are read as, and where they stand."""

    param: Param
    expression: str


@dataclass(frozen=True, slots=True, eq=False)
class Param:
    """One search parameter of one resource type.

    number: of (resource type, code), for index keys. bit: its place in the bit mask of what a
        resource has values for (`:missing`); None for posted parameters.
    type: number, date, string, token, reference, composite, quantity, uri, special.
    locations: where values stand, only those that can be searched by; for a composite its roots.
    targets: resource types a reference may lead to; () is any.
    datatypes: FHIR types of the values. modifiers, prefixes: what a search may say.
    computed: answered from columns or text of the server, without index entries.
    evaluated: of a posted parameter whose expression is no plain walk: FHIRPath finds the values.
    """

    number: int
    bit: int | None
    resource_type: str
    code: str
    type: str
    url: str
    expression: str | None
    locations: tuple[Location, ...] = ()
    targets: tuple[str, ...] = ()
    components: tuple[Component, ...] = ()
    computed: bool = False
    evaluated: Expression | None = None
    union: tuple[Param, ...] = ()
    narrows: tuple[Param, str] | None = None
    parts: tuple[Param, ...] = ()

    @property
    def mask(self) -> int:
        """The bit as a mask; 0 for posted parameters."""
        return 0 if self.bit is None else 1 << self.bit

    @property
    def is_alias(self) -> bool:
        """Whether other parameters' index entries answer for this one."""
        return bool(self.union or self.parts or self.narrows)

    @property
    def datatypes(self) -> frozenset[str]:
        if self.evaluated is not None:
            return SEARCHABLE[self.type]
        return frozenset(location.type for location in self.locations)

    @property
    def modifiers(self) -> frozenset[str]:
        """The modifiers a search may use; `[type]` stands for each of `targets`."""
        allowed = _MODIFIERS[self.type]
        if self.type == "token" and "Identifier" in self.datatypes:
            return allowed | {"of-type"}
        return allowed

    @property
    def prefixes(self) -> frozenset[str]:
        return PREFIXES if self.type in _HAS_PREFIXES else frozenset()

    @property
    def allows_bare_id(self) -> bool:
        """Whether a value without a slash is an id: it is where Reference elements are meant."""
        return self.type == "reference" and "Reference" in self.datatypes

    @property
    def is_canonical(self) -> bool:
        """Whether values are canonical urls, matched with or without a version."""
        return self.type == "reference" and bool(self.datatypes & {"canonical", "uri", "url"})

    def __repr__(self) -> str:
        return f"Param({self.resource_type}.{self.code})"


@dataclass(frozen=True, slots=True)
class _Tables:
    """The tables made so far: resource type -> code -> parameter."""

    ready: dict[str, Mapping[str, Param]]
    indexed: dict[str, Mapping[str, Param]]


class SearchParameters:
    """The parameters of every type: R4's own, and those posted since.

    Safe to read from many threads while one registers: what changes is replaced, never altered.
    """

    def __init__(self) -> None:
        self.generation = 0  # moves when a posted parameter comes or goes
        self._posted: dict[str, tuple[Param, ...]] = {}
        self._building: frozenset[str] = frozenset()  # urls: indexed, but not to be searched yet
        self._tables = _Tables({}, {})

    def of(self, resource_type: str) -> Mapping[str, Param]:
        """Return code -> parameter of a resource type. Raises NotFound for an unknown type."""
        tables = self._tables
        table = tables.ready.get(resource_type)
        if table is None:
            table = tables.ready[resource_type] = self._table(resource_type, self._building)
        return table

    def indexed(self, resource_type: str) -> Mapping[str, Param]:
        """Return what `of` does and the parameters that cannot be searched by yet."""
        tables = self._tables
        table = tables.indexed.get(resource_type)
        if table is None:
            table = tables.indexed[resource_type] = self._table(resource_type, frozenset())
        return table

    def _table(self, resource_type: str, without: frozenset[str]) -> Mapping[str, Param]:
        posted = {
            p.code: p
            for url, params in self._posted.items()
            for p in params
            if p.resource_type == resource_type and url not in without
        }
        return MappingProxyType({**_base_table(resource_type), **posted})

    def find(self, resource_type: str, code: str) -> Param | None:
        """Return one parameter, None if the type has none of that name."""
        return self.of(resource_type).get(code)

    def register(
        self, resource: Mapping[str, Any], first_number: int, *, ready: bool = True
    ) -> tuple[Param, ...]:
        """Make a posted SearchParameter usable; replaces an earlier one of the same url.

        Its base types, in alphabetical order, get `first_number` and the following numbers
        (`bases` says how many). One that R4 itself has, by url, changes nothing and gives ().
        One that is not `ready` is indexed (`indexed`), but nobody finds it yet (`of`).

        Raises Invalid as `check` does.
        """
        params = self._build(resource, first_number)
        url = resource["url"]
        if params:
            building = self._building - {url} if ready else self._building | {url}
            self._change({**self._posted, url: params}, building)
        else:
            self.unregister(url)
        return params

    def unregister(self, url: str) -> tuple[Param, ...]:
        """Forget a posted parameter and return what it was."""
        params = self._posted.get(url, ())
        if params:
            posted = {u: p for u, p in self._posted.items() if u != url}
            self._change(posted, self._building - {url})
        return params

    def check(self, resource: Mapping[str, Any], instead_of: str | None = None) -> None:
        """Raise Invalid if a SearchParameter could not be used, naming the element at fault.

        instead_of: url of the one it would replace, where that is another.
        """
        self._build(resource, FIRST_CUSTOM_NUMBER, instead_of)

    def posted(self) -> Sequence[Param]:
        """Return all posted parameters."""
        return tuple(chain.from_iterable(self._posted.values()))

    def _change(self, posted: dict[str, tuple[Param, ...]], building: frozenset[str]) -> None:
        """Put a new state in place: first what tables are made of, the generation last."""
        self._posted, self._building = posted, building
        self._tables = _Tables({}, {})
        self.generation += 1

    def _build(
        self, resource: Mapping[str, Any], first_number: int, instead_of: str | None = None
    ) -> tuple[Param, ...]:
        if resource["url"] in _base_urls():
            return ()
        if resource["type"] not in SEARCHABLE and resource["type"] != "composite":
            raise Invalid("unknown search type", at="SearchParameter.type")
        if "expression" not in resource:
            raise Invalid(
                "a search parameter needs an expression",
                at="SearchParameter.expression",
                code="required",
            )
        return tuple(
            self._build_for(resource, base, first_number + offset, instead_of)
            for offset, base in enumerate(bases(resource))
        )

    def _build_for(
        self, resource: Mapping[str, Any], base: str, number: int, instead_of: str | None
    ) -> Param:
        taken = self.indexed(base).get(resource["code"])
        if taken is not None and taken.url not in (resource["url"], instead_of):
            raise Invalid(
                f"{base} has a search parameter of this code already",
                at="SearchParameter.code",
                code="duplicate",
            )
        param = _param(
            _Facts(
                code=resource["code"],
                type=resource["type"],
                url=resource["url"],
                expression=resource["expression"],
                targets=tuple(resource.get("target", ())),
            ),
            base,
            number,
            None,
        )
        if not (param.locations or param.evaluated):
            raise Invalid(
                f"the expression leads to nothing in {base} that this search type can search by",
                at="SearchParameter.expression",
            )
        if param.type != "composite":
            return param
        by_url = {p.url: p for p in self.indexed(base).values()}
        return _with_components(param, list(_posted_components(resource)), by_url)


def bases(resource: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the concrete resource types of a SearchParameter's base, sorted. Raises Invalid."""
    found: set[str] = set()
    for index, base in enumerate(resource.get("base", ())):
        types = [base] if definitions.is_resource_type(base) else _descendants(base)
        if not types:
            raise Invalid("unknown resource type", at=f"SearchParameter.base[{index}]")
        found.update(types)
    return tuple(sorted(found))


def _posted_components(resource: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for component in resource.get("component", ()):
        yield component["definition"].partition("|")[0], component["expression"]


# --- the base table ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Facts:
    code: str
    type: str
    url: str
    expression: str | None
    targets: tuple[str, ...]


def _descendants(abstract: str) -> list[str]:
    return [t for t in definitions.resource_types() if abstract in definitions.base_types(t)]


@cache
def _base_urls() -> frozenset[str]:
    return frozenset(p.url for p in definitions.search_parameters())


@cache
def _by_base() -> Mapping[str, Mapping[str, definitions.SearchParameter]]:
    """Return resource type (abstract ones too) -> code -> definition."""
    found: dict[str, dict[str, definitions.SearchParameter]] = {}
    for parameter in definitions.search_parameters():
        for base in parameter.bases:
            found.setdefault(base, {})[parameter.code] = parameter
    return found


def _definitions_of(resource_type: str) -> dict[str, definitions.SearchParameter]:
    found: dict[str, definitions.SearchParameter] = {}
    for base in reversed(list(definitions.base_types(resource_type))):
        found.update(_by_base().get(base, {}))
    return dict(sorted(found.items()))


@cache
def _names_in_order() -> tuple[tuple[str, str], ...]:
    """Return all (resource type, code) of R4, sorted: position + 1 is the on-disk number."""
    return tuple((t, code) for t in definitions.resource_types() for code in _definitions_of(t))


@cache
def _first_number(resource_type: str) -> int:
    return next(i for i, (t, _) in enumerate(_names_in_order(), 1) if t == resource_type)


@cache
def _base_table(resource_type: str) -> Mapping[str, Param]:
    definitions.type_number(resource_type)  # NotFound for what is no concrete type
    parameters = _definitions_of(resource_type)
    first = _first_number(resource_type)
    found: dict[str, Param] = {}
    for bit, (code, d) in enumerate(parameters.items()):
        if d.expression is not None or code in COMPUTED:
            facts = _Facts(code, d.type, d.url, d.expression, d.targets)
            found[code] = _param(facts, resource_type, first + bit, bit)
    simple = _with_aliases({code: p for code, p in found.items() if p.type != "composite"})
    by_url = {p.url: p for p in simple.values()}
    composites = {
        code: _with_components(param, parameters[code].components, by_url)
        for code, param in found.items()
        if param.type == "composite"
    }
    aliased = simple | _with_aliases(composites)
    return {code: aliased[code] for code in found}


def _param(facts: _Facts, resource_type: str, number: int, bit: int | None) -> Param:
    located, evaluated = _values(facts, resource_type)
    return Param(
        number=number,
        bit=bit,
        resource_type=resource_type,
        code=facts.code,
        type=facts.type,
        url=facts.url,
        expression=facts.expression,
        locations=located if facts.type == "composite" else tuple(_searchable(located, facts.type)),
        targets=_targets(facts, located),
        computed=facts.code in COMPUTED,
        evaluated=evaluated,
    )


def _values(facts: _Facts, resource_type: str) -> tuple[tuple[Location, ...], Expression | None]:
    """Return where an expression's values stand, or the compiled expression that finds them."""
    if facts.expression is None:
        return (), None
    try:
        try:
            return locate(facts.expression, resource_type), None
        except NotSupported:
            if facts.type == "composite":
                raise
            return (), compiled(facts.expression, trusted=False)
    except YilianError as exc:
        raise Invalid(str(exc), at="SearchParameter.expression") from exc


def _searchable(located: Iterable[Location], search_type: str) -> Iterator[Location]:
    """Keep what can be searched by; an extension without `.value` means its value."""
    types = SEARCHABLE[search_type]
    for location in located:
        if location.type in types:
            yield location
        elif location.type == "Extension":
            yield from values_of_extension(location, types)


def _targets(facts: _Facts, located: Iterable[Location]) -> tuple[str, ...]:
    if facts.type != "reference":
        return ()
    found = facts.targets or tuple(dict.fromkeys(t for where in located for t in where.targets))
    # R4 lists all types where it means any (Parameters, which has no id to refer to, aside).
    left_out = set(definitions.resource_types()) - set(found)
    return () if "Resource" in found or left_out <= {"Parameters"} else found


def _with_components(
    param: Param, components: Sequence[tuple[str, str]], by_url: Mapping[str, Param]
) -> Param:
    readers: list[Param] = []
    types: list[set[str]] = []
    for index, (url, expression) in enumerate(components):
        at = f"SearchParameter.component[{index}]"
        part = by_url.get(url)
        if part is None:
            raise Invalid("unknown search parameter", at=f"{at}.definition")
        try:
            located = [locate_part(expression, param.resource_type, r) for r in param.locations]
        except YilianError as exc:
            raise Invalid(str(exc), at=f"{at}.expression") from exc
        readers.append(part)
        types.append({where.type for wheres in located for where in wheres})
    found = [
        Component(_reader(part, kinds, readers), expression)
        for part, kinds, (_, expression) in zip(readers, types, components, strict=True)
    ]
    if len(found) < 2:
        raise Invalid(
            "a composite has two or more components",
            at="SearchParameter.component",
            code="required",
        )
    whole = all(not root.steps for root in param.locations)
    return replace(
        param,
        components=tuple(found),
        parts=tuple(c.param for c in found) if whole else (),
    )


def _reader(part: Param, types: set[str], parts: Sequence[Param]) -> Param:
    """Return the parameter that reads a component's values.

    Deviation: DocumentReference.relationship names the parameters of its two components in the
    wrong order; the one whose search type fits the values is taken.
    """
    fitting = (p for p in (part, *parts) if types & SEARCHABLE.get(p.type, frozenset()))
    return next(fitting, part)


# --- aliases -------------------------------------------------------------------------------------


def _with_aliases(table: Mapping[str, Param]) -> dict[str, Param]:
    """Mark the parameters whose values are those of others; simple ones are looked at first."""
    done: dict[str, Param] = {}
    for code in sorted(table, key=lambda c: (len(table[c].locations), _narrowed(table[c]), c)):
        param = table[code]
        if not (param.computed or param.parts):
            param = replace(
                param, union=_union(param, done.values()), narrows=_narrows(param, done.values())
            )
        done[code] = param
    return done


def _narrowed(param: Param) -> bool:
    return any(isinstance(step, Refers) for where in param.locations for step in where.steps)


def _union(param: Param, others: Iterable[Param]) -> tuple[Param, ...]:
    """Return the parameters that together have exactly this one's values; () if none do."""
    missing = set(param.locations)
    found: list[Param] = []
    fitting = [o for o in others if _same_kind(o, param) and set(o.locations) <= missing]
    for other in sorted(fitting, key=lambda o: -len(o.locations)):
        if missing & set(other.locations):
            missing -= set(other.locations)
            found.append(other)
    return tuple(found) if found and not missing else ()


def _same_kind(one: Param, other: Param) -> bool:
    """Say whether two parameters read the values at a location alike."""
    return (
        one.type == other.type
        and (one.targets == other.targets or "Resource" not in one.datatypes)
        and not one.union
        and not one.narrows
        and not one.computed
        and bool(one.locations)
        and [c.expression for c in one.components] == [c.expression for c in other.components]
    )


def _narrows(param: Param, others: Iterable[Param]) -> tuple[Param, str] | None:
    lasts = {where.steps[-1] if where.steps else None for where in param.locations}
    if len(lasts) != 1:
        return None
    last = lasts.pop()
    if not isinstance(last, Refers):
        return None
    wide = {replace(where, steps=where.steps[:-1]) for where in param.locations}
    for other in others:
        if _same_kind(other, param) and set(other.locations) == wide:
            return other, last.type
    return None


# --- what everyone shares ------------------------------------------------------------------------

shared = SearchParameters()


def is_own(url: str) -> bool:
    """Say whether R4 itself has a search parameter of this url."""
    return url in _base_urls()


def params(resource_type: str) -> Mapping[str, Param]:
    """Return code -> parameter of a resource type, posted ones included."""
    return shared.of(resource_type)


def find(resource_type: str, code: str) -> Param | None:
    """Return one parameter, None if the type has none of that name."""
    return shared.find(resource_type, code)


@cache
def primary_date(resource_type: str) -> Param | None:
    """Return the date parameter a type is ordered by; None if it has none that dates an event."""
    table = _base_table(resource_type)
    for code in _PRIMARY_DATES:
        param = table.get(code)
        if param is not None and param.type == "date":
            return param
    return None


def always_present(resource_type: str) -> int:
    """Return the mask of the parameters every resource has a value for."""
    table = _base_table(resource_type)
    return sum(table[code].mask for code in _ALWAYS_THERE)
