"""The rules of R4 JSON that both passes of the validator share, so that they agree.

R4 json.html (members, null, primitive extensions), references.html, terminologies.html#strength.
Nothing here walks a resource: each function judges one object's names, one value or one pair.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from app.fhir import definitions
from app.fhir.definitions import Element, Member, Shape

Json = dict[str, Any]
Systems = Mapping[str, frozenset[str]]  # code system url -> codes

# JSON objects and arrays inside one another. orjson writes no more than this, so that `json.parse`
# has the check for nothing, and the validators stay far from Python's recursion limit.
MAX_DEPTH = 254

_MEMBER_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with one object: the issue code, the words, the member's name if any."""

    code: str
    text: str
    name: str | None = None


@cache
def element_shape() -> Shape:
    """Return what may stand beside a primitive, in `_name`: an id and extensions."""
    return definitions.structure("Element").shape


def name_faults(shape: Shape, names: Sequence[str], *, is_resource: bool) -> list[Fault]:
    """Return what is wrong with the set of member names of an object of that shape.

    Unknown members, missing ones, two types of a choice, nothing but an id (ele-1), an extension
    with both or neither of value and extensions (ext-1).
    """
    present = dict.fromkeys(names)
    faults = _unknown(shape, names, is_resource=is_resource)
    for element in shape.elements.values():
        used = [n for n in _names_of(element) if n in present or f"_{n}" in present]
        if element.min and not used:
            faults.append(Fault("required", "This element is required.", element.name))
        if len(used) > 1:
            text = "Only one type of this element may be given."
            faults.append(Fault("structure", text, used[-1]))
    if is_resource and "resourceType" not in present:
        faults.append(Fault("structure", "A resource needs its resourceType.", "resourceType"))
    if not names:
        faults.append(Fault("structure", "An object must not be empty."))
    elif not is_resource and all(name == "id" for name in names):
        text = "ele-1: an element needs a value or children, not only an id."
        faults.append(Fault("invariant", text))
    if shape.path == "Extension":
        faults += _extension_faults(shape, present)
    return faults


def _unknown(shape: Shape, names: Sequence[str], *, is_resource: bool) -> list[Fault]:
    return [
        Fault("structure", "This member is not known here.", safe_name(name))
        for name in names
        if name not in shape.members
        and not (is_resource and name == "resourceType")
        and not has_sibling(shape, name)
    ]


def _extension_faults(shape: Shape, present: Mapping[str, None]) -> list[Fault]:
    has_value = any(n in present or f"_{n}" in present for n in _names_of(shape.elements["value"]))
    if has_value is not ("extension" in present):
        return []
    text = "ext-1: an extension has either a value or extensions."
    return [Fault("invariant", text)]


def has_sibling(shape: Shape, name: str) -> bool:
    """Say whether `_name` may stand in the object: it carries id and extensions of a primitive."""
    member = shape.members.get(name[1:]) if name[:1] == "_" else None
    return member is not None and member.is_primitive and not _is_bare(member)


def _is_bare(member: Member) -> bool:
    """Say whether a member has no extensions: ids, Extension.url (XML attributes) and xhtml."""
    element = member.element
    return element.name == "id" or element.xml_attribute or member.type.code == "xhtml"


@cache
def _names_of(element: Element) -> tuple[str, ...]:
    """Return the JSON names of an element."""
    if not element.choice:
        return (element.name,)
    return tuple(element.name + t.code[0].upper() + t.code[1:] for t in element.types)


def safe_name(name: str) -> str | None:
    """Return a sender's member name if it is fit for a message, else None."""
    return name if _MEMBER_NAME.fullmatch(name) else None


# --- bindings ------------------------------------------------------------------------------------


@cache
def required_codes(member: Member) -> Systems | None:
    """Return system -> codes if a required binding of the member can be checked, else None."""
    binding = member.element.binding
    if binding is None or binding.strength != "required" or binding.value_set is None:
        return None
    return definitions.value_set_codes(binding.value_set)


def all_codes(systems: Systems) -> frozenset[str]:
    """Return the codes of all systems: what a `code` may be, which names no system."""
    return frozenset[str]().union(*systems.values())


def is_bound_coding(coding: object, systems: Systems) -> bool:
    """Say whether system and code of a Coding are in the value set."""
    if type(coding) is not dict:
        return False
    system, code = coding.get("system"), coding.get("code")
    return type(system) is str and type(code) is str and code in systems.get(system, ())


def is_bound_concept(concept: object, systems: Systems) -> bool:
    """Say whether a CodeableConcept meets a required binding: one of its codings has to.

    A concept that says nothing but an extension (why the code is absent) passes.
    """
    if type(concept) is not dict:
        return False
    if "coding" not in concept:
        return "extension" in concept and "text" not in concept
    codings = concept["coding"]
    return type(codings) is list and any(is_bound_coding(c, systems) for c in codings)


def is_bound(code: str, value: object, systems: Systems) -> bool:
    """Say whether a value of a coded datatype meets a required binding; others always do."""
    rule = _BOUND.get(code)
    return rule is None or rule(value, systems)


_BOUND = {"CodeableConcept": is_bound_concept, "Coding": is_bound_coding}


# --- references ----------------------------------------------------------------------------------

_ID = r"[A-Za-z0-9\-.]{1,64}"
_LITERAL = re.compile(
    rf"(?P<base>[a-z][a-z0-9+.-]*:[^\s?#]*/)?(?P<type>[A-Za-z][A-Za-z0-9]*)/{_ID}(?:/_history/{_ID})?(?:#\S*)?"
)
_CONDITIONAL = re.compile(r"(?P<type>[A-Za-z]+)\?\S+")
_TYPE_URL = re.compile(re.escape(definitions.STRUCTURE_BASE) + "([A-Za-z]+)")


def evident_type(reference: str) -> str | None:
    """Return the resource type that a reference names by its form; None if it names none.

    "Patient/1", "Patient/1/_history/2", "http://server/Patient/1" and the conditional
    "Patient?identifier=..." name Patient.
    """
    match = _LITERAL.fullmatch(reference) or _CONDITIONAL.fullmatch(reference)
    if match is None:
        return None
    name = match["type"]
    return name if definitions.is_resource_type(name) else None


def reference_fault(reference: Json, targets: frozenset[str]) -> Fault | None:
    """Return what is wrong with a Reference whose target types are `targets` (empty: any).

    Internal references ("#x") are judged by `contained_fault`, which knows the resource.
    """
    literal, kind = reference.get("reference"), reference.get("type")
    if literal is not None:
        if type(literal) is not str:
            return Fault("structure", "This is a string in R4.", "reference")
        if fault := _literal_fault(literal, targets):
            return fault
    if kind is not None and type(kind) is str:
        return _type_fault(kind, literal, targets)
    return None


def _literal_fault(literal: str, targets: frozenset[str]) -> Fault | None:
    if literal.startswith("#"):
        return None
    match = _LITERAL.fullmatch(literal)
    if match and not match["base"] and not definitions.is_resource_type(match["type"]):
        return Fault("value", "The reference names no resource type of R4.", "reference")
    named = evident_type(literal)
    if named and targets and named not in targets:
        text = "The reference is to a type that this element does not allow."
        return Fault("value", text, "reference")
    return None


def _type_fault(kind: str, literal: str | None, targets: frozenset[str]) -> Fault | None:
    match = _TYPE_URL.fullmatch(kind)
    name = match[1] if match else kind
    if not definitions.is_resource_type(name):
        return None  # a logical model: Reference.type is open to them
    if targets and name not in targets:
        return Fault("value", "The type is one that this element does not allow.", "type")
    named = evident_type(literal) if literal else None
    if named and named != name:
        return Fault("value", "The type is not that of the reference.", "type")
    return None


def target_types(member: Member) -> frozenset[str]:
    """Return the resource types a Reference may be to; empty when any is allowed."""
    targets = frozenset(member.type.targets)
    return frozenset() if "Resource" in targets else targets


def contained_types(resource: Json) -> dict[str, str]:
    """Return id -> type of the contained resources, as far as they have both."""
    contained = resource.get("contained")
    if type(contained) is not list:
        return {}
    return {
        c["id"]: c["resourceType"]
        for c in contained
        if type(c) is dict and type(c.get("id")) is str and type(c.get("resourceType")) is str
    }


def contained_fault(
    literal: str, targets: frozenset[str], contained: Mapping[str, str], container: str
) -> Fault | None:
    """Return what is wrong with an internal reference: "#" is the resource itself, "#x" inside."""
    found = container if literal == "#" else contained.get(literal[1:])
    if found is None:
        text = "ref-1: nothing with this id is contained in the resource."
        return Fault("invariant", text, "reference")
    if targets and found not in targets:
        text = "The reference is to a type that this element does not allow."
        return Fault("value", text, "reference")
    return None


def contained_resource_faults(resource: Json) -> list[Fault]:
    """Return what a contained resource must not hold: dom-2, dom-4, dom-5."""
    faults = []
    if "contained" in resource:
        faults.append(Fault("invariant", "dom-2: no resources inside contained ones.", "contained"))
    meta = resource.get("meta")
    if type(meta) is dict:
        for name, key in (("versionId", "dom-4"), ("lastUpdated", "dom-4"), ("security", "dom-5")):
            if name in meta:
                text = f"{key}: a contained resource has no such metadata."
                faults.append(Fault("invariant", text, f"meta.{name}"))
    return faults
