"""A DICOM study as the mapping language sees it: keywords, sequences, anchors and functions.

    PatientID                          an element by its keyword (PS3.6)
    UDISequence.UniqueDeviceIdentifier an element inside the items of a sequence
    ../SeriesNumber                    the same asked at the place around
    @0029:DEMO PRIVATE 1.0:10          a private element: group, creator, element (in backquotes)
    @series, @instances                the series of a study, the instances of a series
    @name                              what is counted or known from outside: see _FACTS

Anchors: `study`, `series`, `instance`, `report` (structured reports), `measurement` (their content
items with a value; `@site`, `@tracking`, `@content-path` say where in the tree). A keyword asked at
a study or series is answered by the first of its instances, in the order of their UIDs, that has a
value: the order of arrival is no matter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Final

from pydicom.datadict import dictionary_VR, tag_for_keyword

from app.errors import Invalid
from app.feeds.dicom import report
from app.feeds.dicom.dataset import DataSet
from app.feeds.dicom.functions import DICOMWEB, FUNCTIONS
from app.fhir.ids import encode_part
from app.mapping.source import Access, Function, Getter

_ANCHORS: Final = ("study", "series", "instance", "report", "measurement")


class Place:
    """A place in a study: the study, a series, an instance, an item or a value."""

    __slots__ = ("below", "ds", "kind", "made", "sets", "up", "value")

    def __init__(
        self,
        kind: str,
        up: Place | None,
        sets: Sequence[DataSet] = (),
        value: Any = None,
    ) -> None:
        self.kind = kind
        self.up = up
        self.sets = sets  # where keywords are looked for, in this order
        self.ds = sets[0] if sets else None
        self.value = value
        self.made: dict[str, Any] | None = None
        self.below: list[Place] = []

    @property
    def group(self) -> Place:
        return self

    @property
    def raw(self) -> object:
        # Values are hashable; data sets live as long as the study, places do not.
        return (self.kind, id(self.ds)) if self.value is None else self.value

    def get(self, keyword: str) -> list[Any]:
        """Return the values of the first data set that has some."""
        for ds in self.sets:
            found = ds.get(keyword)
            if found:
                return found
        return []


@dataclass(slots=True)
class Study:
    """All that one call brought of one study: the document of the language."""

    root: Place
    uid: str
    zone: tzinfo
    sender: str
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        return f"urn:x-yilian:msg:dicom:{encode_part(self.sender)}#{encode_part(self.uid)}"

    def present(self, bits: Mapping[str, int]) -> int:
        """Return -1: rules look for themselves what is there."""
        return -1

    @property
    def memo_scope(self) -> object:
        return None

    @property
    def key_parts(self) -> tuple[str, ...]:
        return ("dicom", self.uid)

    def places(self) -> Iterable[str]:
        """Yield the keywords that the first object has, for saying which nobody used."""
        ds = self.root.ds
        return ds.keywords() if ds is not None else ()


def study(
    instances: Mapping[tuple[str, str, str], DataSet],
    *,
    zone: tzinfo,
    sender: str | None = None,
    most_instances: int = 2000,
) -> Study:
    """Return the study of data sets keyed by Study, Series and SOP Instance UID.

    sender: the calling AE, else the institution speaks for the numbers in the objects. Above
    `most_instances` the instances are counted but not listed.
    """
    ordered = [instances[key] for key in sorted(instances)]
    root = Place("study", None, ordered)
    for series_uid in sorted({key[1] for key in instances}):
        own = [instances[key] for key in sorted(instances) if key[1] == series_uid]
        series = Place("series", root, own)
        series.below = [Place("instance", series, [ds]) for ds in own]
        root.below.append(series)
    uid = min(instances)[0]
    listed = len(ordered) <= most_instances
    facts = {
        "series-count": len(root.below),
        "instance-count": len(ordered),
        "calling-ae": sender,
        "listed": True if listed else None,
        "guessed": None,
    }
    named = sender or str(next(iter(root.get("InstitutionName")), "")) or "local"
    return Study(root, uid, zone, named, facts)


# --------------------------------------------------------------------------------- paths

_FACTS: Final = frozenset(("series-count", "instance-count", "calling-ae", "listed"))
_HUB: Final = {
    "hub-version": "hub_version",
    "mapping-digest": "mapping_digest",
    "mapping-files": "mapping_files",
}
_PRIVATE = re.compile(r"@([0-9A-Fa-f]{4}):([^:]+):(?:xx)?([0-9A-Fa-f]{2})")
_KEYWORD = re.compile(r"([A-Za-z][A-Za-z0-9]*)(?:\[(\d+)\])?")


class DicomSource:
    """The feed as the mapping language sees it."""

    name = "dicom"

    def __init__(self) -> None:
        self.functions: Mapping[str, Function] = FUNCTIONS

    def path(self, text: str, at: str | None, trace: bool) -> Access:
        """Compile a path. Raises Invalid for a keyword that PS3.6 does not have."""
        access = _fact(text) if text.startswith("@") else _element(text)
        return _told(access, text) if trace else access

    def may_hold(self, anchor: str, other: str) -> bool:
        return True  # anything nests in anything

    def key_of(self, anchor: str, reads: tuple[str, ...]) -> Getter | None:
        """Return None: no result is remembered from message to message."""
        return None

    def anchor(self, text: str) -> Callable[[Any], Iterable[Any]]:
        """Compile an anchor: study, series or instance."""
        if text == "study":
            return lambda doc: (doc.root,)
        if text == "series":
            return lambda doc: doc.root.below
        if text == "instance":
            return _instances
        if text == "report":
            return _reports
        if text == "measurement":
            return lambda doc: (one for report in _reports(doc) for one in _measured(report))
        raise Invalid(f"an anchor is one of {', '.join(_ANCHORS)}")


def _instances(doc: Study) -> Iterable[Place]:
    return (one for series in doc.root.below for one in series.below)


def _reports(doc: Study) -> Iterable[Place]:
    return (one for one in _instances(doc) if one.ds is not None and report.is_report(one.ds))


def _measured(place: Place) -> list[Place]:
    """Return the measurements of a report, the same places every time."""
    if not place.below and place.ds is not None:
        for found in report.measurements(place.ds):
            place.below.append(Place("measurement", place, (found.item,), found))
    return place.below


_CONTENT: Final[dict[str, Callable[[report.Measurement], Any]]] = {
    "content-path": lambda found: found.path,
    "tracking": lambda found: found.tracking or None,
    "site": lambda found: found.site,
}


def _content(name: str) -> Access:
    get = _CONTENT[name]

    def values(place: Place) -> list[Any]:
        found = get(place.value) if isinstance(place.value, report.Measurement) else None
        return [] if found is None else [found]

    return _of_values(values)


def _fact(text: str) -> Access:
    private = _PRIVATE.fullmatch(text)
    if private:
        group, element = int(private.group(1), 16), int(private.group(3), 16)
        creator = private.group(2)
        return _of_values(
            lambda place: next(
                (found for ds in place.sets if (found := ds.private(group, creator, element))), []
            )
        )
    name = text[1:]
    if name in _CONTENT:
        return _content(name)
    if name in ("series", "instances"):
        return _of_places(lambda place: place.below)
    if name == "modalities":
        return _of_values(_modalities)
    if name == "count":
        return _single(lambda place, run: len(place.sets))
    if name == "uri":
        return _single(lambda place, run: run.doc.uri)
    if name == "guessed":
        return _single(lambda place, run: True if any(ds.guessed for ds in place.sets) else None)
    if name == "dicomweb":
        return _single(lambda place, run: run.context.values.get("dicomweb") or DICOMWEB)
    if name in _HUB:
        return _single(lambda place, run: run.context.values.get(_HUB[name]))
    if name not in _FACTS:
        raise Invalid(f"nothing is known as `{text}`")
    return _single(lambda place, run: run.doc.facts.get(name))


def _modalities(place: Place) -> list[str]:
    """Return the distinct modalities of all series, in their order."""
    found = (str(ds.first("Modality")) for ds in place.sets if ds.first("Modality"))
    return list(dict.fromkeys(found))


def _element(text: str) -> Access:
    ups = 0
    while text.startswith("../"):
        ups, text = ups + 1, text[3:]
    if text in (".", ""):
        return _here(ups)
    steps: list[tuple[str, int | None]] = []
    for part in text.split("."):
        match = _KEYWORD.fullmatch(part)
        if match is None or tag_for_keyword(match.group(1)) is None:
            raise Invalid(f"`{part}` is no keyword of the DICOM dictionary")
        if steps and dictionary_VR(steps[-1][0]) != "SQ":
            raise Invalid(f"`{steps[-1][0]}` is no sequence: nothing stands in it")
        steps.append((match.group(1), int(match.group(2)) if match.group(2) else None))

    def values(place: Place) -> list[Any]:
        for _ in range(ups):
            place = place.up or place
        found = _step(place.get, steps[0])
        for step in steps[1:]:
            found = [
                v for item in found if isinstance(item, DataSet) for v in _step(item.get, step)
            ]
        return found

    return _of_values(values)


def _step(get: Callable[[str], list[Any]], step: tuple[str, int | None]) -> list[Any]:
    keyword, index = step
    found = get(keyword)
    return found if index is None else found[index : index + 1]


def _here(ups: int) -> Access:
    def node(place: Place, run: Any) -> Place:
        for _ in range(ups):
            place = place.up or place
        return place

    def one(place: Place, run: Any) -> Any:
        return node(place, run).value

    def many(place: Place, run: Any) -> list[Any]:
        found = one(place, run)
        return [] if found is None else [found]

    return Access(one, many, node, lambda place, run: [node(place, run)])


def _of_values(values: Callable[[Place], list[Any]]) -> Access:
    def one(place: Place, run: Any) -> Any:
        found = values(place)
        return found[0] if found else None

    def many(place: Place, run: Any) -> list[Any]:
        return values(place)

    def nodes(place: Place, run: Any) -> list[Place]:
        return [_below(place, value) for value in values(place)]

    def node(place: Place, run: Any) -> Place | None:
        found = values(place)
        return _below(place, found[0]) if found else None

    return Access(one, many, node, nodes)


def _below(place: Place, value: Any) -> Place:
    if isinstance(value, DataSet):
        return Place("item", place, (value,))
    return Place("value", place, (), value)


def _of_places(places: Callable[[Place], list[Place]]) -> Access:
    def one(place: Place, run: Any) -> Place | None:
        found = places(place)
        return found[0] if found else None

    def many(place: Place, run: Any) -> list[Place]:
        return places(place)

    return Access(one, many, one, many)


def _single(get: Getter) -> Access:
    def many(place: Place, run: Any) -> list[Any]:
        found = get(place, run)
        return [] if found is None else [found]

    def node(place: Place, run: Any) -> Place | None:
        found = get(place, run)
        return None if found is None else Place("value", place, (), found)

    def nodes(place: Place, run: Any) -> list[Place]:
        found = node(place, run)
        return [] if found is None else [found]

    return Access(get, many, node, nodes)


def _told(access: Access, text: str) -> Access:
    def tell(getter: Getter) -> Getter:
        def telling(place: Any, run: Any) -> Any:
            run.trace.read(text)
            return getter(place, run)

        return telling

    return Access(tell(access.one), tell(access.many), tell(access.node), tell(access.nodes))
