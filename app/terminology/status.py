"""What the properties of a concept mean: inactive, abstract, deprecated, parents.

R4 codesystem-concept-properties.html. A code system declares its properties; the uri of the
declaration says what a property means, whatever it is called. Without a declaration the usual
name counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.terminology.types import Concept, Json

CONCEPT_PROPERTIES = "http://hl7.org/fhir/concept-properties#"
_INACTIVE_STATUS = frozenset(("retired", "inactive"))
_TRUE = (True, "true")
# R5 codesystem.html: the meaning and the names under which it is commonly met.
_NAMES = {
    "inactive": ("inactive",),
    "status": ("status",),
    "notSelectable": ("notSelectable", "abstract"),
    "parent": ("parent", "subsumedBy"),
    "child": ("child",),
}


@dataclass(frozen=True, slots=True)
class Declared:
    """Meaning -> the codes of the properties that have it in one code system."""

    codes: Mapping[str, Sequence[str]]
    uris: Mapping[str, str]  # code of a property -> its uri

    def is_inactive(self, concept: Concept) -> bool:
        """Whether the concept should not be used any more; deprecated alone is not inactive."""
        inactive, status = self.codes["inactive"], self.codes["status"]
        for held in concept.properties:
            if held.code in inactive and held.value in _TRUE:
                return True
            if held.code in status and held.value in _INACTIVE_STATUS:
                return True
        return False

    def is_abstract(self, concept: Concept) -> bool:
        """Whether the concept is for grouping and not for use as a code."""
        names = self.codes["notSelectable"]
        return any(p.code in names and p.value in _TRUE for p in concept.properties)

    def status(self, concept: Concept) -> str | None:
        """Return the status a concept states, None when it states none."""
        names = self.codes["status"]
        stated = (p.value for p in concept.properties if p.code in names)
        return next((value for value in stated if isinstance(value, str)), None)


def declared(header: Json) -> Declared:
    """Return what the properties of a code system mean, by its declarations."""
    uris: dict[str, str] = {}
    for prop in header.get("property", ()):
        if isinstance(prop, dict) and isinstance(prop.get("code"), str):
            uris[prop["code"]] = str(prop.get("uri", ""))
    codes = {meaning: _codes(meaning, names, uris) for meaning, names in _NAMES.items()}
    return Declared(codes, uris)


def _codes(meaning: str, names: Sequence[str], uris: Mapping[str, Any]) -> tuple[str, ...]:
    by_uri = [code for code, uri in uris.items() if uri == CONCEPT_PROPERTIES + meaning]
    # The first name is the standard's; further ones count only when nothing else is declared.
    plain = [names[0]] if not by_uri or meaning == "notSelectable" else []
    others = [name for name in names[1:] if name in uris and not by_uri]
    return tuple(dict.fromkeys([*by_uri, *plain, *others]))
