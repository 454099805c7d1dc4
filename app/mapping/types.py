"""What R4 says about the places a mapping writes to: used while a mapping is checked.

Elements, types and cardinalities come from the packaged definitions (app/fhir/definitions.py),
codes of required bindings from their value sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.errors import NotFound
from app.fhir import definitions
from app.fhir.definitions import Member, Shape
from app.mapping.library import Table
from app.mapping.near import meant

# Types written as text: any formula that gives text may stand there.
_TEXT = frozenset(
    ("string", "markdown", "code", "id", "uri", "url", "canonical", "oid", "uuid", "base64Binary",
     "xhtml", "http://hl7.org/fhirpath/System.String")
)  # fmt: skip
ANY = "*"  # among element names: something is spread whose elements are not known
_TIMES = frozenset(("date", "dateTime", "instant", "time"))
_NUMBERS = frozenset(("decimal", "integer", "unsignedInt", "positiveInt"))
_QUANTITIES = frozenset(("Quantity", "SimpleQuantity", "Age", "Duration", "Count", "Distance"))


@dataclass(frozen=True, slots=True)
class Expected:
    """The place that is being filled. member is None for a resource or the root of a data type."""

    path: str
    type: str
    shape: Shape | None
    member: Member | None = None
    primitive_extension: bool = False


class Checker:
    """Answers with problems in words; an empty list is consent."""

    def resource(self, name: str) -> Expected | None:
        if not definitions.is_resource_type(name):
            return None
        return Expected(name, name, definitions.structure(name).shape)

    def datatype(self, name: str) -> Expected | None:
        try:
            found = definitions.structure(name)
        except NotFound:
            return None
        shape = None if definitions.is_primitive(name) else found.shape
        return Expected(name, name, shape)

    def member(self, parent: Expected, name: str) -> Expected | None:
        """Return the element `name` of what is expected; None when there is no such element."""
        if parent.shape is None:
            if definitions.is_primitive(parent.type) and name in ("extension", "id"):
                return self.member(Expected(parent.path, "Element", _element()), name)
            return None
        if name.startswith("_"):
            found = parent.shape.members.get(name[1:])
            if found is None or not found.is_primitive:
                return None
            return Expected(f"{parent.path}.{name}", "Element", _element(), found, True)
        found = parent.shape.members.get(name)
        if found is None:
            return None
        return Expected(f"{parent.path}.{name}", found.type.code, found.shape, found)

    def cardinality(self, place: Expected, listed: bool) -> list[str]:
        if place.member is None:
            return []
        wanted = place.member.element.is_list
        if wanted and not listed:
            return [f"`{place.path}` repeats: write a list"]
        if listed and not wanted:
            return [f"`{place.path}` does not repeat: write one value, not a list"]
        return []

    def missing(self, place: Expected, given: set[str]) -> list[str]:
        """Return the required elements of a resource or object that a rule never sets."""
        assert place.shape is not None
        if ANY in given:
            return []
        return [
            element.name
            for element in place.shape.elements.values()
            if element.is_required
            and not any(
                name.removeprefix("_") in given or f"_{name}" in given
                for name in (m.name for m in place.shape.choice(element.name))
            )
        ]

    def unknown_resource(self, name: str) -> str:
        """Say that there is no such resource, and which one may be meant."""
        return f"R4 has no resource {name}{meant(name, definitions.resource_types())}"

    def unknown(self, parent: Expected, name: str) -> str:
        """Say that there is no such element, and which one may be meant."""
        members = parent.shape.members if parent.shape is not None else {}
        return f"{parent.path} has no element `{name}`{meant(name, members)}"

    def value(self, place: Expected, given: str | None, target: str | None) -> list[str]:
        """Say what is wrong with a formula that gives type `given` (None: not known) here."""
        out = []
        if given is not None and not _fits(given, place.type):
            out.append(f"`{place.path}` is {_short(place.type)}, the formula gives {given}")
        if target and place.member is not None and place.type == "Reference":
            allowed = place.member.type.targets
            if allowed and "Resource" not in allowed and target not in allowed:
                out.append(f"`{place.path}` may not refer to {target}")
        return out

    def rows(self, place: Expected, table: Table) -> list[tuple[str, str]]:
        """Return (problem, file:line) of the rows of a table whose codes may not stand here."""
        codes = self._required_codes(place)
        return [
            (
                f"table `{table.name}` row `{code}` gives `{row[0]}`, "
                f"which is no code of `{place.path}`{meant(row[0], codes)}",
                table.places[code],
            )
            for code, row in table.rows.items()
            if codes and row[0] is not None and row[0] not in codes
        ]

    def constant(self, place: Expected, value: Any) -> list[str]:
        if place.shape is not None:
            return [f"`{place.path}` is {_short(place.type)}, not a plain value"]
        if isinstance(value, bool):
            right = place.type == "boolean"
        elif isinstance(value, (int, Decimal)):
            right = place.type in _NUMBERS and (place.type == "decimal" or isinstance(value, int))
        else:
            right = place.type in _TEXT or place.type in _TIMES
        if not right:
            return [f"`{place.path}` is {_short(place.type)}: this constant does not fit"]
        codes = self._required_codes(place)
        if codes and value not in codes:
            return [f"`{value}` is no code of `{place.path}`{meant(str(value), codes)}"]
        return []

    def _required_codes(self, place: Expected) -> frozenset[str] | None:
        """Return the codes of a required binding of a `code` element; None when not certain."""
        if place.member is None or place.type != "code":
            return None
        binding = place.member.element.binding
        if binding is None or binding.strength != "required" or not binding.value_set:
            return None
        found = definitions.value_set_codes(binding.value_set)
        return frozenset().union(*found.values()) if found else None


def _element() -> Shape:
    return definitions.structure("Element").shape


def _fits(given: str, wanted: str) -> bool:
    if given == wanted or wanted in ("Element", "BackboneElement", "Resource"):
        return True
    if given == "string":
        return wanted in _TEXT
    if given in _QUANTITIES:
        return wanted in _QUANTITIES
    if given in ("unsignedInt", "positiveInt", "integer"):
        return wanted in _NUMBERS
    return given in ("code", "id") and wanted in _TEXT


def _short(name: str) -> str:
    return name.rpartition("/")[2]
