"""Structured reports: the content tree walked once, its measurements and its text.

DICOM PS3.3 C.17.3 (SR document content), PS3.16 (templates). Templates are not told apart: every
numeric or coded content item is a measurement, with the finding site and tracking that its
container (or the item itself) names. Left out: spatial coordinates, relationships by reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from app.feeds.dicom.dataset import DataSet
from app.feeds.dicom.values import PersonName

_SITES: Final = frozenset(("363698007", "G-C0E3"))  # Finding Site: SNOMED CT and its older code
_TRACKING_UID: Final = "112040"
_MODIFIERS: Final = frozenset(("HAS CONCEPT MOD", "HAS OBS CONTEXT", "HAS ACQ CONTEXT"))
_VALUES: Final = ("TextValue", "Date", "Time", "DateTime", "UID", "PersonName")
_MOST_DEPTH: Final = 40
_KEY_OBJECTS: Final = "KO"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One content item with a value, and what its place in the tree says about it.

    path: numbers of the content items from the root, which name it within the report.
    """

    item: DataSet
    path: str
    site: DataSet | None = None
    tracking: str = ""


def is_report(ds: DataSet) -> bool:
    """Whether an object is a structured report (key object selections are not)."""
    return (
        ds.text("ValueType") == "CONTAINER"
        and "ContentSequence" in ds
        and ds.text("Modality") != _KEY_OBJECTS
    )


def measurements(ds: DataSet) -> list[Measurement]:
    """Return the numeric and coded content items of a report, in their order."""
    return list(_walk(ds, Measurement(ds, "1"), 0))


def _walk(parent: DataSet, context: Measurement, depth: int) -> Iterator[Measurement]:
    if depth > _MOST_DEPTH:
        return
    context = _with_modifiers(parent, context)
    for number, item in enumerate(parent.items("ContentSequence"), 1):
        here = replace(context, item=item, path=f"{context.path}.{number}")
        kind, relation = item.text("ValueType"), item.text("RelationshipType")
        if kind == "NUM" or (kind == "CODE" and relation == "CONTAINS"):
            yield _with_modifiers(item, here)
        if relation not in _MODIFIERS:
            yield from _walk(item, here, depth + 1)


def _with_modifiers(parent: DataSet, context: Measurement) -> Measurement:
    """Return the context with what the modifiers among an item's children say."""
    for item in parent.items("ContentSequence"):
        if item.text("RelationshipType") not in _MODIFIERS:
            continue
        code = _code(item, "ConceptNameCodeSequence")
        if code in _SITES and item.items("ConceptCodeSequence"):
            context = replace(context, site=item.items("ConceptCodeSequence")[0])
        elif code == _TRACKING_UID:
            context = replace(context, tracking=item.text("UID"))
    return context


def _code(item: DataSet, keyword: str) -> str:
    found = item.items(keyword)
    return found[0].text("CodeValue") if found else ""


def text(ds: DataSet) -> str:
    """Return a report as plain text: a line for each content item, indented by its depth."""
    return "\n".join(_lines(ds, 0)) + "\n"


def _lines(item: DataSet, depth: int) -> Iterator[str]:
    if depth > _MOST_DEPTH:
        return
    name, value = _meaning(item, "ConceptNameCodeSequence"), _value(item)
    if name or value:
        yield "  " * depth + (f"{name}: {value}" if name and value else name or value)
    for child in item.items("ContentSequence"):
        yield from _lines(child, depth + 1)


def _meaning(item: DataSet, keyword: str) -> str:
    found = item.items(keyword)
    return found[0].text("CodeMeaning") or found[0].text("CodeValue") if found else ""


def _value(item: DataSet) -> str:
    measured = item.items("MeasuredValueSequence")
    if measured:
        unit = _meaning(measured[0], "MeasurementUnitsCodeSequence")
        return f"{measured[0].text('NumericValue')} {unit}".strip()
    coded = _meaning(item, "ConceptCodeSequence")
    if coded:
        return coded
    for keyword in _VALUES:
        value = item.first(keyword)
        if isinstance(value, PersonName):
            group = value.ideographic or value.alphabetic
            return group.text.replace("^", " ") if group else ""
        if value is not None:
            return str(value)
    return ""
