"""The names of a concept: displays and designations, and which of them a client should see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.terminology.languages import Wanted
from app.terminology.types import Concept, Designation, Json

STANDARDS_STATUS = "http://hl7.org/fhir/StructureDefinition/structuredefinition-standards-status"
PREFERRED: Json = {
    "system": "http://terminology.hl7.org/CodeSystem/hl7TermMaintInfra",
    "code": "preferredForLanguage",
    "display": "Preferred For Language",
}
_RETIRED = frozenset(("deprecated", "withdrawn"))
# Uses under which a designation is a display: R4 designation-use, SNOMED CT's synonym and name.
_AS_DISPLAY = frozenset(
    ("display", "preferredForLanguage", "900000000000013009", "900000000000003001")
)


@dataclass(frozen=True, slots=True)
class Name:
    """One name of a concept. `status` is set when it should not be used any more.

    own: it is the display of the code system; listed: it is offered as a valid display.
    """

    value: str
    language: str | None
    status: str | None = None
    own: bool = False
    listed: bool = True
    designation: Designation | None = None


def names(concept: Concept, language: str | None, entry: Json | None = None) -> Sequence[Name]:
    """Return all names of a concept, the value set's own first, then that of its code system.

    language: of the code system. entry: the concept as the value set lists it.
    """
    return [*_of_entry(entry, language), *_of_concept(concept, language)]


def _of_entry(entry: Json | None, language: str | None) -> Iterator[Name]:
    if not entry:
        return
    if entry.get("display"):
        yield Name(entry["display"], language)
    for written in entry.get("designation", ()):
        held = Designation(
            written.get("value", ""),
            written.get("language"),
            written.get("use"),
            written.get("extension", ()),
        )
        yield _named(held)


def _of_concept(concept: Concept, language: str | None) -> Iterator[Name]:
    if concept.display:
        yield Name(concept.display, language, own=True)
    for held in concept.designations:
        yield _named(held)


def _named(held: Designation) -> Name:
    status = next(
        (e.get("valueCode") for e in held.extension if e.get("url") == STANDARDS_STATUS), None
    )
    listed = not held.use or held.use.get("code") in _AS_DISPLAY
    return Name(
        held.value,
        held.language,
        status if status in _RETIRED else None,
        listed=listed,
        designation=held,
    )


def best(found: Sequence[Name], wanted: Wanted) -> Name | None:
    """Return the name in the most wanted language; None when none is in any of them."""
    ranked = [
        (rank, not _is_preferred(name), place, name)
        for place, name in enumerate(found)
        if name.listed and not name.status and (rank := wanted.rank(name.language)) is not None
    ]
    return min(ranked)[3] if ranked else None


def default(found: Sequence[Name]) -> Name | None:
    """Return the name without regard to language: the first, the code system's own display."""
    return next((name for name in found if name.designation is None), found[0] if found else None)


def _is_preferred(name: Name) -> bool:
    held = name.designation
    return held is None or bool(held.use and held.use.get("code") in _AS_DISPLAY)
