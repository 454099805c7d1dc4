"""Which links a resource states: rules of `mappings/links.yaml`, compiled once per process.

A link goes from one thing to another (`pack part-of load`), each named by a reference or by an
identifier; the write path stores it beside the index (`app/store/tables.py`, `link`). What is
linked is data; nothing here knows a resource type. identifiers.md sections 6 and 8.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import cache
from pathlib import Path
from typing import Any

from app.errors import Invalid
from app.fhir import dates
from app.paths import shipped
from app.registry.keys import canonical_keys
from app.store.entries import SELF, Link

Resource = Mapping[str, Any]
_Reader = Callable[[Resource, tzinfo], Iterator[Link]]
_Values = Callable[[Resource, Resource], Iterable[Any]]  # (item, resource) -> values

FORWARD, BACK, BOTH = "forward", "back", "both"
_FLOWS = (FORWARD, BACK, BOTH)
_SITE_NUMBERS = 1000  # a site's own kinds begin here
_STEP = re.compile(r"(\w+)(?:\(([^)]*)\))?(?:\.|$)")
_TYPE = re.compile(r":([A-Z]\w+)$")
_CHOICES = ("", "DateTime", "Period", "Instant", "Date")
_TOP = "%resource"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of link means for following it (`mappings/links.yaml`)."""

    name: str
    number: int
    flow: str
    stop: bool = False

    def leads(self, *, along: bool) -> str:
        """Return where the link leads when it is followed along its direction, or against it."""
        if self.flow == BOTH or along:
            return self.flow
        return BACK if self.flow == FORWARD else FORWARD


@dataclass(frozen=True, slots=True)
class Rules:
    """The kinds by name, and what reads each type's links."""

    kinds: Mapping[str, Kind]
    types: Mapping[str, Sequence[tuple[frozenset[str], _Reader]]]

    def states(self, type_name: str, names: Collection[str] | None = None) -> bool:
        """Say whether resources of a type state any link at all; names: such with these members."""
        rules = self.types.get(type_name, ())
        return bool(rules) and (names is None or any(needed.issubset(names) for needed, _ in rules))

    def links_of(self, type_name: str, resource: Resource, zone: tzinfo) -> Iterable[Link]:
        """Return the links a resource states, each once."""
        rules = self.types.get(type_name)
        if rules is None:
            return ()
        present = resource.keys()
        return dict.fromkeys(
            link for needed, rule in rules if needed <= present for link in rule(resource, zone)
        )


def load(paths: Iterable[Path]) -> Rules:
    """Return the rules of these files together. Raises Invalid, naming the rule that is wrong."""
    import yaml  # as in names.py: most commands need no table

    kinds: dict[str, Kind] = {}
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for n, path in enumerate(paths):
        if not path.is_file():
            continue
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        for name, row in (content.get("kinds") or {}).items():
            kinds[name] = _kind(name, row, own=n > 0)
        for type_name, rules in (content.get("rules") or {}).items():
            rows.setdefault(type_name, []).extend(rules)
    if len({kind.number for kind in kinds.values()}) < len(kinds):
        raise Invalid("links.yaml: two kinds have the same number", at="kinds")
    types = {
        type_name: [
            (_needed(rule), _compiled(rule, kinds, f"links.yaml: rules.{type_name}[{n}]"))
            for n, rule in enumerate(rules)
        ]
        for type_name, rules in rows.items()
    }
    return Rules(kinds, types)


@cache
def shipped_rules() -> Rules:
    """Return the rules that come with the product."""
    return load([shipped("mappings") / "links.yaml"])


@cache
def rules_of(overlay: Path | None) -> Rules:
    """Return the rules of a site: the shipped ones and those of its overlay folder."""
    if overlay is None:
        return shipped_rules()
    return load([shipped("mappings") / "links.yaml", overlay / "links.yaml"])


def _kind(name: str, row: Mapping[str, Any], *, own: bool) -> Kind:
    kind = Kind(name, int(row["number"]), row["flow"], bool(row.get("stop", False)))
    if kind.flow not in _FLOWS:
        raise Invalid("links.yaml: flow is forward, back or both", at=f"kinds.{name}")
    if own and kind.number < _SITE_NUMBERS:
        raise Invalid(f"links.yaml: a site's numbers begin at {_SITE_NUMBERS}", at=f"kinds.{name}")
    return kind


# --- rules ---------------------------------------------------------------------------------------


def _needed(rule: Mapping[str, Any]) -> frozenset[str]:
    """Return the elements without which a rule finds nothing: most resources lack one."""
    paths = [rule["each"]] if "each" in rule else [rule.get("from", ""), rule.get("to", "")]
    first = (_STEP.match(path) for path in map(_untyped, paths) if path != "self")
    return frozenset(step[1] for step in first if step is not None)


def _untyped(path: str) -> str:
    return _TYPE.sub("", path)


def _compiled(rule: Mapping[str, Any], kinds: Mapping[str, Kind], at: str) -> _Reader:
    unknown = rule.keys() - {"kind", "each", "from", "to", "at", "if"}
    if unknown or not {"kind", "from", "to"} <= rule.keys():
        raise Invalid("a rule has kind, from and to, and may have each, at and if", at=at)
    items = _path(rule["each"]) if "each" in rule else _self
    sources, targets = _ends(rule["from"]), _ends(rule["to"])
    moment = _moment(rule["at"]) if "at" in rule else _always
    number = _kind_of(rule["kind"], kinds, at)
    holds = [(_path(path), wanted) for path, wanted in (rule.get("if") or {}).items()]

    def read(resource: Resource, zone: tzinfo) -> Iterator[Link]:
        for item in items(resource, resource):
            if not isinstance(item, Mapping) or not _all_hold(holds, item, resource):
                continue
            kind = number(item, resource)
            if kind is None:
                continue
            froms, tos = sources(item, resource), targets(item, resource)
            if not froms or not tos:
                continue
            low, high = moment(item, resource, zone)
            for source in froms:
                for target in tos:
                    if source != target:
                        yield Link(kind, source, target, low, high)

    return read


def _self(item: Resource, resource: Resource) -> Iterable[Any]:
    return (resource,)


def _all_hold(
    conditions: Sequence[tuple[_Values, str]], item: Resource, resource: Resource
) -> bool:
    return all(
        any(_is(value, wanted) for value in values(item, resource)) for values, wanted in conditions
    )


def _is(value: Any, wanted: str) -> bool:
    if isinstance(value, Mapping):
        return f"/{wanted}/" in f"/{value.get('reference')}" or value.get("type") == wanted
    return bool(value == wanted)


def _kind_of(
    kind: str, kinds: Mapping[str, Kind], at: str
) -> Callable[[Resource, Resource], int | None]:
    """Return what gives a link's number: always the same, or by a code of the resource."""
    if kind.startswith("="):
        codes = _path(kind[1:], from_top=True)
        return lambda item, resource: next(
            (kinds[code].number for code in codes(item, resource) if code in kinds), None
        )
    if kind not in kinds:
        raise Invalid("there is no such kind of link", at=at)
    number = kinds[kind].number
    return lambda item, resource: number


# --- paths ---------------------------------------------------------------------------------------


def _path(text: str, *, from_top: bool = False) -> _Values:
    """Compile an element path: lists are gone through, what is not there gives nothing."""
    if text.startswith(_TOP):
        text, from_top = text[len(_TOP) :].lstrip("."), True
    steps = [(name, url) for name, url in _STEP.findall(text)]
    if len(steps) == 1 and not steps[0][1]:  # most are: half the cost
        only = steps[0][0]
        return lambda item, resource: _listed((resource if from_top else item).get(only))

    def values(item: Resource, resource: Resource) -> Iterable[Any]:
        found: list[Any] = [resource if from_top else item]
        for name, url in steps:
            found = [
                each
                for value in found
                if isinstance(value, Mapping)
                for each in _listed(value.get(name))
                if not url or (isinstance(each, Mapping) and each.get("url") == url)
            ]
        return found

    return values


def _listed(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def _ends(text: str) -> Callable[[Resource, Resource], list[str]]:
    """Compile one end of a link: `self`, or a path to References and Identifiers."""
    if text == "self":
        return lambda item, resource: [SELF]
    narrowed = _TYPE.search(text)
    values = _path(_untyped(text))
    wanted = narrowed[1] if narrowed else None

    def ends(item: Resource, resource: Resource) -> list[str]:
        return [
            end
            for value in values(item, resource)
            if isinstance(value, Mapping) and (wanted is None or _is(value, wanted))
            for end in _named(value)
        ]

    return ends


def _named(value: Resource) -> Iterator[str]:
    """Return what a Reference or Identifier names: an address, else the finest canonical key."""
    reference = value.get("reference")
    if isinstance(reference, str):
        if not reference.startswith("#"):  # contained: nobody else can mean it
            yield reference
        return
    identifier = value.get("identifier", value)
    if isinstance(identifier, Mapping) and isinstance(identifier.get("value"), str):
        yield from canonical_keys(identifier.get("system"), identifier["value"])[-1:]


def _moment(text: str) -> Callable[[Resource, Resource, tzinfo], tuple[int, int]]:
    """Compile when a link holds: the bounds of a date, dateTime, instant or Period."""
    paths = [_path(text + choice) for choice in _CHOICES]

    def moment(item: Resource, resource: Resource, zone: tzinfo) -> tuple[int, int]:
        for path in paths:
            for value in path(item, resource):
                if isinstance(value, str):
                    return dates.bounds(value, zone)
                if isinstance(value, Mapping):
                    return _period(value, zone)
        return dates.OPEN_LOW, dates.OPEN_HIGH

    return moment


def _period(period: Resource, zone: tzinfo) -> tuple[int, int]:
    low, high = dates.OPEN_LOW, dates.OPEN_HIGH
    if isinstance(period.get("start"), str):
        low = dates.bounds(period["start"], zone)[0]
    if isinstance(period.get("end"), str):
        high = dates.bounds(period["end"], zone)[1]
    return low, max(low, high)


def _always(item: Resource, resource: Resource, zone: tzinfo) -> tuple[int, int]:
    return dates.OPEN_LOW, dates.OPEN_HIGH
