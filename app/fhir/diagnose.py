"""Says what is wrong with a resource, in full: the diagnostic pass behind `validate.problems`.

It walks the resource with a work list instead of recursion and judges with the same `rules`,
`primitives` and `narrative` as the fast pass, so that both come to the same verdict. Places are
FHIRPath: `Patient.name[0].family`, `Observation.value.unit`. Texts contain nothing of the input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.errors import Issue, Malformed
from app.fhir import definitions, rules
from app.fhir.definitions import Member, Shape
from app.fhir.narrative import is_narrative
from app.fhir.primitives import RULES, has_json_kind

Json = dict[str, Any]

TOO_DEEP = "The resource is nested too deeply."

_MAX_ISSUES = 1000  # nobody reads more, and a hostile body could ask for millions

_WORDS = {
    "boolean": "true or false",
    "integer": "an integer of 32 bits",
    "unsignedInt": "an integer from 0 to 2147483647",
    "positiveInt": "an integer from 1 to 2147483647",
    "decimal": "a number",
    "date": "a date (YYYY, YYYY-MM or YYYY-MM-DD) of the calendar",
    "dateTime": "a date, or a date and time with seconds and zone, of the calendar",
    "instant": "a date and time with seconds and zone, of the calendar",
    "time": "a time hh:mm:ss",
    "code": "a code without spaces at its ends and with single spaces inside",
    "id": "an id of 1 to 64 characters A-Z, a-z, 0-9, - and .",
    "oid": "an OID as urn:oid:...",
    "uuid": "a UUID as urn:uuid:... in small letters",
    "base64Binary": "base64 text",
    "xhtml": "a div of XHTML with text, basic formatting and no scripts",
}
_URI_WORDS = "a URI without spaces"
_STRING_WORDS = "a string that is not empty, has no control characters and at most 1 MiB"


def problems(resource: Json, type_name: str) -> list[Issue]:
    """Return everything that is wrong with the resource as R4 `type_name`; [] if it is valid.

    Raises NotFound for a type that R4 does not have and Malformed when it is nested too deeply.
    """
    definitions.type_number(type_name)
    walk = _Walk()
    walk.enter_resource(resource, type_name, type_name, depth=1)
    return walk.run()


@dataclass(frozen=True, slots=True)
class _Scope:
    """The resource that internal references are resolved in."""

    contained: Mapping[str, str]
    type: str


@dataclass(frozen=True, slots=True)
class _Task:
    """One object still to be looked at."""

    value: Json
    shape: Shape
    at: str
    scope: _Scope
    depth: int
    resource_type: str | None = None


class _Walk:
    """One run over one resource."""

    def __init__(self) -> None:
        self._issues: list[Issue] = []
        self._todo: list[_Task] = []
        self._found: list[_Task] = []

    def run(self) -> list[Issue]:
        self._todo = self._found
        while self._todo and len(self._issues) < _MAX_ISSUES:
            task = self._todo.pop()
            if task.depth > rules.MAX_DEPTH:
                raise Malformed(TOO_DEEP)
            self._found = []
            self._object(task)
            self._todo += reversed(self._found)
        return self._issues

    def enter_resource(
        self, value: Any, type_name: str, at: str, *, depth: int, scope: _Scope | None = None
    ) -> None:
        """Note a resource for later; without a scope it is one of its own."""
        if type(value) is not dict:
            self._add("structure", "A resource is a JSON object.", at)
            return
        scope = scope or _Scope(rules.contained_types(value), type_name)
        shape = definitions.structure(type_name).shape
        self._found.append(_Task(value, shape, at, scope, depth, type_name))

    def _add(self, code: str, text: str, at: str) -> None:
        self._issues.append(Issue("error", code, text, at))

    def _add_fault(self, fault: rules.Fault, at: str) -> None:
        self._add(fault.code, fault.text, f"{at}.{fault.name}" if fault.name else at)

    def _object(self, task: _Task) -> None:
        is_resource = task.resource_type is not None
        for fault in rules.name_faults(task.shape, tuple(task.value), is_resource=is_resource):
            self._add_fault(fault, task.at)
        for name, value in task.value.items():
            if is_resource and name == "resourceType":
                if value != task.resource_type:
                    text = "The resourceType is not the type expected here."
                    self._add("structure", text, f"{task.at}.resourceType")
            elif name in task.shape.members:
                self._member(task, task.shape.members[name], value)
            elif rules.has_sibling(task.shape, name):
                self._sibling(task, task.shape.members[name[1:]], value)

    def _member(self, task: _Task, member: Member, value: Any) -> None:
        at = f"{task.at}.{member.element.name}"
        if not member.element.is_list:
            self._value(task, member, value, at)
            return
        if not self._is_filled_list(value, at):
            return
        siblings = task.value.get("_" + member.name) if member.is_primitive else None
        for index, item in enumerate(value):
            if item is None and siblings is not None:
                self._only_extended(siblings, index, f"{at}[{index}]")
            else:
                self._value(task, member, item, f"{at}[{index}]")

    def _only_extended(self, siblings: Any, index: int, at: str) -> None:
        """A null in a list of primitives stands for an element that has extensions only."""
        sibling = siblings[index] if type(siblings) is list and index < len(siblings) else None
        if type(sibling) is not dict or "extension" not in sibling:
            self._add("structure", "A null here needs extensions at its place beside it.", at)

    def _is_filled_list(self, value: Any, at: str) -> bool:
        if type(value) is not list:
            self._add("structure", "This element repeats: an array in JSON.", at)
        elif not value:
            self._add("structure", "An array must not be empty.", at)
        return type(value) is list

    def _sibling(self, task: _Task, member: Member, value: Any) -> None:
        """Look at `_name`, which carries the ids and extensions of the primitive `name`."""
        at = f"{task.at}.{member.element.name}"
        beside = task.value.get(member.name)
        alone = member.name not in task.value
        if not member.element.is_list:
            self._extensions(task, value, at, alone=alone)
            return
        if not self._is_filled_list(value, at):
            return
        if type(beside) is list and len(beside) != len(value):
            self._add("structure", "Values and their extensions differ in number.", at)
        for index, item in enumerate(value):
            if item is not None or alone:
                self._extensions(task, item, f"{at}[{index}]", alone=alone)

    def _extensions(self, task: _Task, value: Any, at: str, *, alone: bool) -> None:
        if type(value) is not dict:
            self._add("structure", "Extensions of a primitive are a JSON object.", at)
        elif alone and "extension" not in value:
            self._add("invariant", "ele-1: an element needs a value or extensions.", at)
        elif len(value) == 1 and "id" in value:  # fine beside a value
            self._primitive("string", value["id"], f"{at}.id")
        else:
            self._found.append(_Task(value, rules.element_shape(), at, task.scope, task.depth + 1))

    def _value(self, task: _Task, member: Member, value: Any, at: str) -> None:
        code = member.type.code
        shape = member.shape
        if code in {"Resource", "DomainResource"}:
            self._nested_resource(task, member, value, at)
        elif shape is None:
            self._bound_primitive(member, value, at)
        elif type(value) is not dict:
            self._add("structure", "This element is an object in JSON.", at)
        else:
            self._found.append(_Task(value, shape, at, task.scope, task.depth + 1))
            self._binding(member, value, at)
            if code == "Reference":
                self._reference(task, member, value, at)

    def _bound_primitive(self, member: Member, value: Any, at: str) -> None:
        systems = rules.required_codes(member)
        if not self._primitive(member.type.code, value, at) or systems is None:
            return
        if value not in rules.all_codes(systems):
            self._add("code-invalid", "The code is not in the required value set.", at)

    def _primitive(self, code: str, value: Any, at: str) -> bool:
        """Judge a primitive value; return whether it is right."""
        if value is None:
            self._add("structure", "null is not allowed here.", at)
        elif not has_json_kind(value, code):
            self._add("structure", f"The wrong kind of JSON value: expected {_words(code)}.", at)
        elif not (is_narrative(value) if code == "xhtml" else RULES[code](value)):
            self._add("value", f"Expected {_words(code)}.", at)
        else:
            return True
        return False

    def _binding(self, member: Member, value: Json, at: str) -> None:
        systems = rules.required_codes(member)
        if systems is not None and not rules.is_bound(member.type.code, value, systems):
            text = "The required value set has none of the codings."
            self._add("code-invalid", text, at)

    def _reference(self, task: _Task, member: Member, value: Json, at: str) -> None:
        targets = rules.target_types(member)
        literal = value.get("reference")
        fault = rules.reference_fault(value, targets)
        if type(literal) is str and literal.startswith("#"):
            fault = fault or rules.contained_fault(
                literal, targets, task.scope.contained, task.scope.type
            )
        if fault is not None:
            self._add_fault(fault, at)

    def _nested_resource(self, task: _Task, member: Member, value: Any, at: str) -> None:
        kind = value.get("resourceType") if type(value) is dict else None
        if type(kind) is not str or not definitions.is_resource_type(kind):
            self._add("structure", "A resource of a type of R4 is expected here.", at)
            return
        inside = member.element.name == "contained"
        if inside:
            for fault in rules.contained_resource_faults(value):
                self._add_fault(fault, at)
        scope = task.scope if inside else None
        self.enter_resource(value, kind, at, depth=task.depth + 1, scope=scope)


def _words(code: str) -> str:
    if code in _WORDS:
        return _WORDS[code]
    return _STRING_WORDS if code in {"string", "markdown"} else _URI_WORDS
