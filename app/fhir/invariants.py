"""The invariants of R4's base definitions, checked on a resource (conformance-rules.html).

Each element is held against the constraints of its place and of its data type; contained and
bundled resources too, with %resource and %rootResource as fhirpath.html#variables says. What the
validator checks without FHIRPath is left out, and so are best practices (dom-6).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from app.errors import Invalid, Issue
from app.fhir import definitions
from app.fhir.fhirpath.engine import Expression, compiled
from app.fhir.fhirpath.functions import Resolver
from app.fhir.fhirpath.operators import truth
from app.fhir.fhirpath.values import Element, all_children, element_of

CHECKED_BY_VALIDATOR = frozenset(
    ("ele-1", "ext-1", "txt-1", "txt-2", "ref-1", "dom-2", "dom-4", "dom-5")
)
_CONTAINED = "contained"


@dataclass(frozen=True, slots=True)
class _Rule:
    key: str
    severity: str
    expression: Expression


def broken(
    resource: Mapping[str, Any],
    *,
    resolve: Resolver | None = None,
    now_us: int | None = None,
) -> list[Issue]:
    """Return an issue for each invariant a valid R4 resource breaks, with its place.

    `details` is the key (`obs-7`), severity that of the definition. Raises NotFound for an
    unknown type.
    """
    root = element_of(resource)
    check = _Check(resolve, now_us)
    return list(check.resource(root, root, root.type))


class _Check:
    def __init__(self, resolve: Resolver | None, now_us: int | None) -> None:
        self._resolve = resolve
        self._now_us = now_us

    def resource(self, resource: Element, root: Element, path: str) -> Iterator[Issue]:
        yield from self._element(resource, resource, root, path)

    def _element(
        self, element: Element, resource: Element, root: Element, path: str
    ) -> Iterator[Issue]:
        for rule in _rules(element):
            if not self._holds(rule, element, resource, root):
                yield Issue(rule.severity, "invariant", f"{rule.key} does not hold", path, rule.key)
        if not element.is_primitive:
            for child in all_children(element):
                yield from self._child(child, resource, root, path)

    def _child(
        self, child: Element, resource: Element, root: Element, path: str
    ) -> Iterator[Issue]:
        assert child.member is not None  # a child stands under a name
        name = child.member.name
        below = f"{path}.{name}" if child.index is None else f"{path}.{name}[{child.index}]"
        if child.shape is None or "resourceType" not in child.value:
            yield from self._element(child, resource, root, below)
        elif name == _CONTAINED:
            yield from self.resource(child, root, below)
        else:  # Bundle.entry.resource, Parameters.parameter.resource
            yield from self.resource(child, child, below)

    def _holds(self, rule: _Rule, element: Element, resource: Element, root: Element) -> bool:
        try:
            found = rule.expression.evaluate(
                element, resource=resource, root=root, resolve=self._resolve, now_us=self._now_us
            )
            # Unknown is not broken: bdl-8 asks what a fullUrl contains where there need not be one.
            return truth(found) is not False
        except Invalid:  # FHIRPath says the expression has no answer here
            return False


def _rules(element: Element) -> tuple[_Rule, ...]:
    """Return the rules of the place an element stands in, and of its type."""
    place = element.member.element.path if element.member is not None else ""
    return _rules_of(place, element.type)


@cache
def _rules_of(path: str, type_name: str) -> tuple[_Rule, ...]:
    found: dict[str, _Rule] = {}
    if path:
        owner = path.partition(".")[0]
        named = [m.element for m in definitions.members(path)][:1]
        keys = named[0].constraints if named else ()
        found.update(_known(definitions.invariants(owner), keys))
    if type_name in definitions.structure_names():
        root = definitions.structure(type_name).root
        found.update(_known(definitions.invariants(type_name), root.constraints))
    return tuple(found.values())


def _known(
    stated: Mapping[str, definitions.Invariant], keys: tuple[str, ...]
) -> Iterator[tuple[str, _Rule]]:
    for key in keys:
        invariant = stated.get(key)
        if invariant is None or invariant.expression is None or invariant.best_practice:
            continue
        if key not in CHECKED_BY_VALIDATOR:
            yield key, _Rule(key, invariant.severity, compiled(invariant.expression))
