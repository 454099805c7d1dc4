"""FHIRPath expressions as closures over parsed JSON.

    expression = compiled("name.where(use = 'official').family")
    expression.evaluate(patient)      the items found
    expression.holds(patient)         as a boolean, as invariants mean it

An expression is compiled once (the last few thousand are kept) to one closure a node. It sees the
resource as R4 defines it: `value` is whichever of value[x] is there, types come from the
definitions. Not offered: memberOf, conformsTo and what else needs terminology or profiles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, tzinfo
from functools import lru_cache
from typing import Any

from app.clock import WallClock
from app.errors import Invalid, NotSupported
from app.fhir import definitions
from app.fhir.fhirpath import parser, syntax
from app.fhir.fhirpath.functions import FUNCTIONS, NOT_OFFERED, Compiled, Resolver, Scope
from app.fhir.fhirpath.moments import parse_moment
from app.fhir.fhirpath.operators import LOGIC, OPERATORS, single, truth
from app.fhir.fhirpath.values import (
    SYSTEM_TYPES,
    Amount,
    Collection,
    Element,
    Item,
    children,
    element_of,
    is_of,
)

_REGULAR_EXPRESSIONS = frozenset({"matches", "replaceMatches"})
_TYPE_FUNCTIONS = frozenset({"is", "as", "ofType"})
_EXTERNAL: Mapping[str, str] = {
    "%ucum": "http://unitsofmeasure.org",
    "%sct": "http://snomed.info/sct",
    "%loinc": "http://loinc.org",
}
_VALUE_SET = "http://hl7.org/fhir/ValueSet/"
_STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"


class Expression:
    """One compiled expression; it may be evaluated any number of times, from any thread."""

    def __init__(self, text: str, run: Compiled) -> None:
        self.text = text
        self._run = run

    def evaluate(
        self,
        focus: Mapping[str, Any] | Element,
        *,
        resource: Element | None = None,
        root: Element | None = None,
        resolve: Resolver | None = None,
        now_us: int | None = None,
        zone: tzinfo = UTC,
    ) -> Collection:
        """Return the items found, starting at a whole resource or at one element of it.

        resource, root: %resource and %rootResource of an element. resolve: finds a reference's
        target outside the resource. Raises Invalid where FHIRPath has an error (several items
        where one is expected, texts added to numbers).
        """
        element = focus if isinstance(focus, Element) else element_of(focus)
        holder = resource or element
        scope = Scope(
            resource=holder,
            root=root or holder,
            context=[element],
            now_us=WallClock().now_us() if now_us is None else now_us,
            zone=zone,
            resolve=resolve,
        )
        try:
            return self._run(scope, scope.context)
        except RecursionError as exc:
            raise Invalid("FHIRPath: nested too deeply", code="too-costly") from exc

    def holds(self, focus: Mapping[str, Any] | Element, **known: Any) -> bool:
        """Return whether the expression is true; empty is not. Arguments as `evaluate`."""
        return truth(self.evaluate(focus, **known)) is True


@lru_cache(maxsize=4096)
def compiled(text: str, *, trusted: bool = True) -> Expression:
    """Return the expression, ready to evaluate.

    trusted: False for what a client sent; regular expressions are refused there, because no
    limit on their cost can be set.

    Raises Invalid when it is no FHIRPath, NotSupported for functions that are not offered.
    """
    return Expression(text, _Compiler(trusted).compile(parser.parse(text)))


class _Compiler:
    def __init__(self, trusted: bool) -> None:
        self._trusted = trusted

    def compile(self, node: syntax.Node) -> Compiled:
        match node:
            case syntax.Literal(kind, value):
                return _constant([_literal(kind, value)])
            case syntax.QuantityLiteral(value, unit):
                return _constant([Amount(value, unit)])
            case syntax.Empty():
                return _constant([])
            case syntax.Variable(name):
                return _variable(name)
            case syntax.Member(base, name):
                return self._member(base, name)
            case syntax.Call(base, name, arguments):
                return self._call(base, name, arguments)
            case syntax.Index(base, index):
                return _indexed(self.compile(base), self.compile(index))
            case syntax.Unary(operator, operand):
                return self._unary(operator, operand)
            case syntax.TypeTest(operator, left, type_name):
                return _typed(operator, self.compile(left), type_name)
            case syntax.Binary(operator, left, right):
                return self._binary(operator, left, right)

    def _member(self, base: syntax.Node | None, name: str) -> Compiled:
        if base is None:
            return _start(name)
        before = self.compile(base)

        def follow(scope: Scope, focus: Collection) -> Collection:
            return [
                child
                for item in before(scope, focus)
                if isinstance(item, Element)
                for child in children(item, name)
            ]

        return follow

    def _call(
        self, base: syntax.Node | None, name: str, arguments: tuple[syntax.Node, ...]
    ) -> Compiled:
        before = _focus if base is None else self.compile(base)
        if name in _TYPE_FUNCTIONS and len(arguments) == 1:
            return _typed(name, before, _type_specifier(arguments[0]))
        if name in NOT_OFFERED or (name in _REGULAR_EXPRESSIONS and not self._trusted):
            raise NotSupported(f"FHIRPath: {name}() is not offered")
        if name not in FUNCTIONS:
            raise Invalid("FHIRPath: unknown function")
        function, least, most = FUNCTIONS[name]
        if not least <= len(arguments) <= most:
            raise Invalid(f"FHIRPath: {name}() with the wrong number of arguments")
        given = tuple(self.compile(argument) for argument in arguments)
        return lambda scope, focus: function(scope, before(scope, focus), *given)

    def _unary(self, operator: str, operand: syntax.Node) -> Compiled:
        inner = self.compile(operand)
        if operator == "+":
            return inner
        minus = OPERATORS["*"]
        return lambda scope, focus: minus(inner(scope, focus), [-1])

    def _binary(self, operator: str, left: syntax.Node, right: syntax.Node) -> Compiled:
        one, other = self.compile(left), self.compile(right)
        if operator in LOGIC:
            decide, alone = LOGIC[operator]

            def logic(scope: Scope, focus: Collection) -> Collection:
                first = truth(one(scope, focus))
                if first is not None and first is alone:
                    return [operator != "and"]
                verdict = decide(first, truth(other(scope, focus)))
                return [] if verdict is None else [verdict]

            return logic
        operate = OPERATORS[operator]
        return lambda scope, focus: operate(one(scope, focus), other(scope, focus))


def _focus(scope: Scope, focus: Collection) -> Collection:
    return focus


def _constant(items: Collection) -> Compiled:
    return lambda scope, focus: items


def _literal(kind: str, value: Any) -> Item:
    if kind not in {"date", "dateTime", "time"}:
        found: Item = value
        return found
    moment = parse_moment(value, kind)
    if moment is None:
        raise Invalid("FHIRPath: not a date or time")
    return moment


_VARIABLES: Mapping[str, Callable[[Scope], Collection]] = {
    "$this": lambda scope: scope.this or scope.context,
    "$index": lambda scope: [scope.index],
    "$total": lambda scope: scope.total,
    "%context": lambda scope: scope.context,
    "%resource": lambda scope: [scope.resource],
    "%rootResource": lambda scope: [scope.root],
}


def _variable(name: str) -> Compiled:
    if name in _VARIABLES:
        read = _VARIABLES[name]
        return lambda scope, focus: read(scope)
    if name in _EXTERNAL:
        return _constant([_EXTERNAL[name]])
    if name.startswith("%vs-"):
        return _constant([_VALUE_SET + name.removeprefix("%vs-")])
    if name.startswith("%ext-"):
        return _constant([_STRUCTURE + name.removeprefix("%ext-")])
    raise Invalid("FHIRPath: unknown variable")


def _start(name: str) -> Compiled:
    """Compile a name at the start: the type of the input, or a child of it."""
    type_name = name if name[0].isupper() and _is_known_type(name) else None

    def start(scope: Scope, focus: Collection) -> Collection:
        found: Collection = []
        for item in focus:
            if not isinstance(item, Element):
                continue
            if type_name is not None and is_of(item, type_name):
                found.append(item)
            else:
                found += children(item, name)
        return found

    return start


def _indexed(base: Compiled, index: Compiled) -> Compiled:
    def at(scope: Scope, focus: Collection) -> Collection:
        position = single(index(scope, focus))
        if not isinstance(position, int) or position < 0:
            return []
        return base(scope, focus)[position : position + 1]

    return at


def _is_known_type(name: str) -> bool:
    known = name.removeprefix("System.")
    return known in SYSTEM_TYPES or (known == name and name in definitions.structure_names())


def _type_specifier(node: syntax.Node) -> str:
    match node:
        case syntax.Member(None, name):
            return name
        case syntax.Member(syntax.Member(None, "FHIR"), name):
            return name
        case syntax.Member(syntax.Member(None, "System"), name):
            return f"System.{name}"
        case _:
            raise Invalid("FHIRPath: a type name expected")


def _typed(operator: str, before: Compiled, type_name: str) -> Compiled:
    """Compile `is`, `as` and `ofType`.

    Deviation: `as` of several items keeps those of the type, as dom-3 of R4 needs.
    """
    if not _is_known_type(type_name):
        raise Invalid("FHIRPath: unknown type")
    if operator != "is":
        return lambda scope, focus: [i for i in before(scope, focus) if is_of(i, type_name)]

    def test(scope: Scope, focus: Collection) -> Collection:
        items = before(scope, focus)
        if len(items) > 1:
            raise Invalid("FHIRPath: one value expected where there are several", code="invariant")
        return [is_of(items[0], type_name)] if items else []

    return test
