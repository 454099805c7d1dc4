"""The fast pass of validation: validators compiled from the definitions to Python source.

Each shape keeps one compiled function for each sequence of member names it has met. What depends
on names only (unknown, missing, choices) is judged once, when the function is made; the function
checks the values in order, with the rules of strings and codes inlined. An object then costs one
look-up by its names and one call. Measured against closures over the same plan: less than half.

Senders write the same few sequences for ever; against one who does not, a shape keeps `_MAX_PLANS`
and then raises `TooVaried`, upon which the caller turns to the diagnostic pass.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from app.fhir import definitions, primitives, rules
from app.fhir.definitions import Member, Shape
from app.fhir.narrative import is_narrative

Json = dict[str, Any]
Check = Callable[[Any], bool]

_MAX_PLANS = 512


class TooVaried(Exception):
    """A shape has met more sequences of names than are kept compiled."""


class _Internal(threading.local):
    """The internal references ("#x") met so far, with their target types."""

    def __init__(self) -> None:
        self.met: list[tuple[str, frozenset[str]]] = []


_internal = _Internal()


def check(resource: Json, type_name: str) -> bool:
    """Say whether the resource is valid R4 of that type. Raises NotFound, TooVaried."""
    if _internal.met:  # left by a run that did not end
        _internal.met.clear()
    return _resource_check(type_name)(resource)


# --- resources -----------------------------------------------------------------------------------


@cache
def _resource_check(type_name: str) -> Check:
    """Return the check of a resource that stands alone, in a Bundle entry or in a parameter."""
    plans = _resource_plans(type_name)
    internal = _internal

    def check_resource(value: Any) -> bool:
        if type(value) is not dict:
            return False
        met = internal.met
        before = len(met)
        valid = plans[tuple(value)](value)
        if len(met) > before:
            valid = valid and _all_resolve(value, met[before:])
            del met[before:]
        return valid

    return check_resource


@cache
def _resource_plans(type_name: str) -> _Plans:
    definitions.type_number(type_name)  # raises NotFound
    return _Plans(definitions.structure(type_name).shape, type_name)


# --- members of resources ------------------------------------------------------------------------


def names_are_right(type_name: str, names: tuple[str, ...]) -> bool:
    """Say whether a resource may have just these members; raises NotFound."""
    definitions.type_number(type_name)
    shape = definitions.structure(type_name).shape
    return not rules.name_faults(shape, names, is_resource=True)


@cache
def member_check(type_name: str, name: str) -> Check | None:
    """Return the check of one member of a resource; None where others have a say.

    Those are a primitive's `_name`, and contained resources. What it checks it says of the member
    alone, unless the member holds an internal reference (`met_internal`).
    """
    member = definitions.structure(type_name).shape.members.get(name)
    if member is None or member.type.code in {"Resource", "DomainResource"}:
        return None
    source = _Source()
    return source.function(source.member(member, "value", None))


def met_internal() -> bool:
    """Say whether a check met an internal reference ("#x") since the last question."""
    met = bool(_internal.met)
    _internal.met.clear()
    return met


def _all_resolve(resource: Json, met: list[tuple[str, frozenset[str]]]) -> bool:
    contained = rules.contained_types(resource)
    container = resource["resourceType"]
    return all(rules.contained_fault(r, t, contained, container) is None for r, t in met)


def _any_resource(value: Any) -> bool:
    """Check a resource that names its own type: Bundle.entry.resource and its like."""
    kind = value.get("resourceType") if type(value) is dict else None
    return type(kind) is str and definitions.is_resource_type(kind) and _resource_check(kind)(value)


def _contained_resource(value: Any) -> bool:
    """Check a contained resource: its internal references are those of its container."""
    kind = value.get("resourceType") if type(value) is dict else None
    return (
        type(kind) is str
        and definitions.is_resource_type(kind)
        and not rules.contained_resource_faults(value)
        and _resource_plans(kind)[tuple(value)](value)
    )


# --- plans ---------------------------------------------------------------------------------------


class _Plans(dict[tuple[str, ...], Check]):
    """Sequence of member names -> the check of an object of one shape that has these names."""

    def __init__(self, shape: Shape, resource_type: str | None = None) -> None:
        super().__init__()
        self._shape = shape
        self._resource_type = resource_type

    def __missing__(self, names: tuple[str, ...]) -> Check:
        if len(self) >= _MAX_PLANS:
            raise TooVaried
        plan = self[names] = _compile(self._shape, names, self._resource_type)
        return plan


@cache
def _shape_plans(shape: Shape) -> _Plans:
    return _Plans(shape)


def _never(_: Any) -> bool:
    return False


def _compile(shape: Shape, names: tuple[str, ...], resource_type: str | None) -> Check:
    if rules.name_faults(shape, names, is_resource=resource_type is not None):
        return _never
    source = _Source()
    variables = {name: f"v{index}" for index, name in enumerate(names)}
    lines = [f"{', '.join(variables.values())}, = value.values()"]
    for name, variable in variables.items():
        if resource_type is not None and name == "resourceType":
            lines += _fail_unless(f"{variable} == {resource_type!r}")
        elif name in shape.members:
            member = shape.members[name]
            lines += source.member(member, variable, variables.get("_" + name))
        else:
            lines += source.sibling(shape.members[name[1:]], variable, variables.get(name[1:]))
    return source.function(lines)


def _fail_unless(condition: str) -> list[str]:
    return [f"if not ({condition}): return False"]


class _Source:
    """The source of one check and the constants it uses."""

    def __init__(self) -> None:
        self._names: dict[str, Any] = dict(primitives.INLINE_NAMES)

    def function(self, lines: list[str]) -> Check:
        body = "".join(f"    {line}\n" for line in [*lines, "return True"])
        # The source holds names and codes of the definitions only, nothing of any input.
        exec(f"def check(value):\n{body}", self._names)  # noqa: S102 - compiled from our own data
        check: Check = self._names["check"]
        return check

    def member(self, member: Member, variable: str, sibling: str | None) -> list[str]:
        if not member.element.is_list:
            return _fail_unless(self._value(member, variable))
        return list(self._list(self._value(member, "item"), variable, padded=sibling is not None))

    def sibling(self, member: Member, variable: str, value: str | None) -> list[str]:
        """Check `_name`; with no value beside it, it needs extensions."""
        one = self._constant(_is_element if value else _is_extended)
        if not member.element.is_list:
            return _fail_unless(f"{one}({variable})")
        lines = list(self._list(f"{one}(item)", variable, padded=value is not None))
        if value is not None:
            lines += _fail_unless(f"{self._constant(_pair_matches)}({value}, {variable})")
        return lines

    def _list(self, condition: str, variable: str, *, padded: bool) -> Iterator[str]:
        yield from _fail_unless(f"type({variable}) is list and {variable}")
        yield f"for item in {variable}:"
        if padded:
            condition = f"item is None or {condition}"
        yield from (f"    {line}" for line in _fail_unless(condition))

    def _value(self, member: Member, x: str) -> str:
        """Return the expression that says whether `x` is a value of the member."""
        code, shape = member.type.code, member.shape
        if code in {"Resource", "DomainResource"}:
            inside = member.element.name == "contained"
            return f"{self._constant(_contained_resource if inside else _any_resource)}({x})"
        systems = rules.required_codes(member)
        if shape is None:
            return self._primitive(code, systems, x)
        condition = f"type({x}) is dict and {self._constant(_shape_plans(shape))}[tuple({x})]({x})"
        if code == "Reference":
            condition += f" and {self._constant(_reference_check(rules.target_types(member)))}({x})"
        if systems is not None:
            condition += f" and {self._constant(rules.is_bound)}({code!r}, {x}, "
            condition += f"{self._constant(systems)})"
        return condition

    def _primitive(self, code: str, systems: rules.Systems | None, x: str) -> str:
        if systems is not None:
            return f"type({x}) is str and {x} in {self._constant(rules.all_codes(systems))}"
        if code in primitives.INLINE:
            return primitives.INLINE[code].format(x=x)
        rule = is_narrative if code == "xhtml" else primitives.RULES[code]
        return f"{self._constant(rule)}({x})"

    def _constant(self, value: Any) -> str:
        name = f"c{len(self._names)}"
        self._names[name] = value
        return name


# --- parts that are not inlined ------------------------------------------------------------------


def _is_element(value: Any) -> bool:
    """Check an object beside a primitive: unlike other elements it may have an id only."""
    if type(value) is not dict:
        return False
    if len(value) == 1 and "id" in value:
        return primitives.is_string(value["id"])
    return _shape_plans(rules.element_shape())[tuple(value)](value)


def _is_extended(value: Any) -> bool:
    """Check an object in place of a primitive value."""
    return _is_element(value) and "extension" in value


def _pair_matches(values: Any, siblings: list[Any]) -> bool:
    """Check that values and the objects beside them go together: a null needs extensions."""
    return (
        type(values) is list
        and len(values) == len(siblings)
        and all(
            value is not None or (sibling is not None and "extension" in sibling)
            for value, sibling in zip(values, siblings, strict=True)
        )
    )


@cache
def _reference_check(targets: frozenset[str]) -> Check:
    """Return the check of a Reference (whose members are right) against the target types."""
    internal = _internal
    is_id = primitives.is_id
    local = targets or frozenset(definitions.resource_types())

    def check_reference(value: Any) -> bool:
        literal = value.get("reference")
        if literal is not None:
            kind, _, id_ = literal.partition("/")
            if kind in local and "type" not in value and is_id(id_):
                return True  # the ordinary case: Patient/1
            if literal[0] == "#":
                internal.met.append((literal, targets))
        return rules.reference_fault(value, targets) is None

    return check_reference
