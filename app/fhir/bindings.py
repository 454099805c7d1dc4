"""Whether coded elements meet their bindings, when somebody can say what is in a value set.

R4 terminologies.html#strength. A required binding has to be met; an extensible one should be, if it
has a concept that fits, so that is a warning. The required bindings that R4 lists in full are
checked by `validate` at every write; here are the others: those to grammars (languages, MIME types,
units), to code systems outside R4, and all extensible ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app.errors import Issue
from app.fhir import definitions, rules
from app.fhir.definitions import Member, Shape

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Coding:
    """What an element says: a system, if the datatype has one, and a code."""

    system: str | None
    code: str


class ValueSets(Protocol):
    """Who knows what is in value sets."""

    def has(self, value_set: str, coding: Coding) -> bool | None:
        """Say whether a value set has a code; None when it cannot be told."""
        ...


# R4 says of it "xml | json | ttl | mime type", which its binding to MIME types does not know.
_LOOSER = frozenset(("CapabilityStatement.format",))
_SAID = {
    "required": ("error", "The required value set has none of the codings."),
    "extensible": ("warning", "The extensible value set has none of the codings."),
}


def problems(resource: Json, type_name: str, value_sets: ValueSets) -> Iterator[Issue]:
    """Yield what breaks a binding. The resource is a valid one."""
    todo = [(resource, definitions.structure(type_name).shape, type_name)]
    while todo:
        value, shape, at = todo.pop()
        for member, inner, place in _values(value, shape, at):
            issue = _problem(member, inner, place, value_sets)
            if issue is not None:
                yield issue
            if isinstance(inner, dict):
                below = _shape(member, inner)
                if below is not None:
                    todo.append((inner, below, place))


def _values(value: Json, shape: Shape, at: str) -> Iterator[tuple[Member, Any, str]]:
    for name, held in value.items():
        member = shape.members.get(name)
        if member is None:
            continue
        place = f"{at}.{member.element.name}"
        if isinstance(held, list):
            yield from ((member, one, f"{place}[{i}]") for i, one in enumerate(held))
        else:
            yield member, held, place


def _shape(member: Member, value: Json) -> Shape | None:
    kind = value.get("resourceType")
    if member.shape is None and isinstance(kind, str) and definitions.is_resource_type(kind):
        return definitions.structure(kind).shape
    return member.shape


def _problem(member: Member, value: Any, at: str, value_sets: ValueSets) -> Issue | None:
    binding = member.element.binding
    if binding is None or binding.value_set is None or binding.strength not in _SAID:
        return None
    if member.element.path in _LOOSER or rules.required_codes(member) is not None:
        return None  # those that are listed are checked at every write
    codings = _codings(member.type.code, value)
    if not codings:
        return None
    url = binding.value_set.partition("|")[0]
    told = [value_sets.has(url, coding) for coding in codings]
    if True in told or None in told:
        return None
    severity, text = _SAID[binding.strength]
    return Issue(severity, "code-invalid", text, at)


def _codings(kind: str, value: Any) -> Sequence[Coding]:
    """Return what a coded value says; nothing for text alone."""
    if isinstance(value, str):
        return (Coding(None, value),)
    if not isinstance(value, dict):
        return ()
    if kind == "CodeableConcept":
        return [c for one in value.get("coding", ()) for c in _codings("Coding", one)]
    code, system = value.get("code"), value.get("system")
    return (Coding(system, code),) if isinstance(code, str) else ()
