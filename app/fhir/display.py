"""A short text by which a person recognises a resource: what Reference.display would say.

R4 references.html#Reference.display. By the shape of the values, not by resource type: the first
of the usual elements that holds a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import msgspec

_ELEMENTS = (
    "name",
    "deviceName",
    "title",
    "code",
    "description",
    "modelNumber",
    "type",
    "vaccineCode",
)
_TEXTS = ("text", "name", "display")


def display(resource: Mapping[str, Any]) -> str | None:
    """Return the text, or None for a resource that says nothing of the kind."""
    for name in _ELEMENTS:
        if name not in resource:
            continue
        text = _text(resource[name])
        if text:
            if name == "modelNumber" and resource.get("manufacturer"):
                return f"{resource['manufacturer']} {text}"
            return text
    return None


# The elements that `display` looks at; all others are skipped unread.
_Shown = TypedDict("_Shown", dict.fromkeys((*_ELEMENTS, "manufacturer"), Any), total=False)  # type: ignore[misc]
_decode = msgspec.json.Decoder(_Shown).decode


def display_of(body: bytes) -> str | None:
    """Return what `display` says of a stored resource, in a third of the time of reading it all."""
    return display(_decode(body))


def value(observation: Mapping[str, Any]) -> str | None:
    """Return the value of an Observation or of one of its components as one short text."""
    for name, held in observation.items():
        if name.startswith("value") and name[5:6].isupper():
            return _value(held)
    parts = [
        f"{_text(part.get('code')) or '?'} {said}"
        for part in observation.get("component") or ()
        if (said := value(part))
    ]
    return "; ".join(parts) or None


def _value(held: Any) -> str | None:
    if isinstance(held, bool):
        return str(held).lower()
    if isinstance(held, str | int | float):
        return str(held)
    if "value" in held:
        unit = held.get("unit") or held.get("code") or ""
        return f"{held.get('comparator', '')}{held['value']} {unit}".strip()
    return _text(held)


def _text(held: Any) -> str | None:
    """Return the text in a string, HumanName, CodeableConcept, Coding, or the first of a list."""
    if isinstance(held, dict):
        for name in _TEXTS:
            text = held.get(name)
            if isinstance(text, str):
                return text
        if "coding" in held:
            return _text(held["coding"])
        if "family" in held or "given" in held:
            return _person(held)
        code: str | None = held.get("code")
        return code
    if isinstance(held, list):
        for each in held:
            text = _text(each)
            if text:
                return text
        return None
    return held if isinstance(held, str) else None


def _person(name: Mapping[str, Any]) -> str:
    """Return family and given names: together in Han script, else apart."""
    family, given = str(name.get("family", "")), name.get("given") or []
    if any("\u3400" <= letter <= "\u9fff" for letter in family):
        return family + "".join(given)
    return " ".join([*given, family]).strip()
