"""$expand: R4 valueset-operation-expand.html, with what R5 adds in the extensions for R4."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from uuid import uuid4

from app.errors import TooMuch
from app.terminology import names, references
from app.terminology.call import Call
from app.terminology.expansion import Expansion, Item, nested
from app.terminology.issues import Refused, issue
from app.terminology.known import canonical
from app.terminology.languages import Wanted
from app.terminology.status import CONCEPT_PROPERTIES
from app.terminology.types import Json
from app.terminology.validate_code import value_set, wanted_languages
from app.terminology.value_set import Compose
from app.terminology.view import View

LIMIT = 10_000  # the most codes of an expansion that is not asked for by pages
_COUNTED = 20_000  # a total is counted so far when no code system can say it at once
_R5 = "http://hl7.org/fhir/5.0/StructureDefinition/extension-ValueSet.expansion."
_X = "http://hl7.org/fhir/StructureDefinition/"
_KEPT = (
    "language",
    "url",
    "version",
    "name",
    "title",
    "status",
    "experimental",
    "date",
    "publisher",
)
_ECHOED = {_X + n: n for n in ("rendering-style", "rendering-xhtml")} | {
    _X + n: n for n in ("valueset-deprecated", "valueset-concept-definition")
}
_ON_DESIGNATIONS = frozenset((_X + "coding-sctdescid", names.STANDARDS_STATUS))
# Property -> its uri, its type, and the extensions that carry it: the value set's come first.
_CARRIED: Mapping[str, tuple[str, str, Sequence[str]]] = {
    "label": ("label", "String", (_X + "valueset-label", _X + "codesystem-label")),
    "order": (
        "order",
        "Decimal",
        (_X + "valueset-conceptOrder", _X + "codesystem-conceptOrder"),
    ),
    "weight": ("itemWeight", "Decimal", (_X + "itemWeight",)),
}


def expand(call: Call) -> Json:
    """Carry out ValueSet/$expand. Raises Refused, Unprocessable, TooCostly."""
    view = View(call)
    compose = value_set(call, view)
    if compose is None:
        raise Refused(issue("NO_VALUE_SET_GIVEN"))
    view.require_supplements([*compose.supplements, *call.texts("useSupplement")])
    for part in compose.parts:
        view.require_supplements(part.supplements)
    _check_circles(view, compose)
    wanted = wanted_languages(call, compose)
    found = Expansion(view, compose, call.text("filter"), bool(call.flag("activeOnly")))
    page = _Page(call, compose, found)
    shown = _Shown(call, wanted, with_versions=found.with_versions)
    contains = shown.tree(page.items) if page.nests else [shown.one(i) for i in page.items]
    whole = bool(call.flag("includeDefinition"))
    source = compose.resource
    kept = {k: v for k, v in source.items() if k not in ("text", "expansion", "id", "meta")}
    answer: Json = {"resourceType": "ValueSet"}
    answer |= kept if whole else {name: source[name] for name in _KEPT if name in source}
    expansion: Json = {
        "identifier": f"urn:uuid:{uuid4()}",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    extensions = [*shown.properties(), *_unclosed(found)]
    if extensions:
        expansion = {"extension": extensions, **expansion}
    if page.total is not None:
        expansion["total"] = page.total
    if page.offset is not None:
        expansion["offset"] = page.offset
    expansion["parameter"] = list(_parameters(call, view, found, wanted, compose))
    if contains:
        expansion["contains"] = contains
    return answer | {"expansion": expansion}


def _check_circles(view: View, compose: Compose) -> None:
    """Refuse a value set that imports itself; a missing import is told when it is needed."""
    view.check_imports(compose, tolerant=True)


class _Page:
    """The codes to be shown, and how many there are in all."""

    def __init__(self, call: Call, compose: Compose, found: Expansion) -> None:
        self.offset, count = call.number("offset"), call.number("count")
        self.nests = False
        start = self.offset or 0
        if count is None and not start:
            limit = min(LIMIT, call.limit or LIMIT)
            self.items = list(islice(found, limit + 1))
            if len(self.items) > limit:
                name = compose.canonical
                raise TooManyCodes(issue("VALUESET_TOO_COSTLY", valueSet=name, limit=limit))
            self.total: int | None = len(self.items)
            self.nests = found.nests and not call.flag("excludeNested")
        else:
            most = LIMIT if count is None else min(count, LIMIT)
            self.total = found.cheap_total()
            if self.total is not None:
                self.items = list(found.window(start, most))
            else:
                self.total = self._counted(found, start, most)
        if found.unclosed and not _filtered(compose):
            self.total = None

    def _counted(self, found: Expansion, start: int, most: int) -> int | None:
        """Take the page, and return the total as far as it is worth counting."""
        codes = iter(found)
        skipped = sum(1 for _ in islice(codes, start))
        self.items = list(islice(codes, most))
        more = sum(1 for _ in islice(codes, _COUNTED))
        return skipped + len(self.items) + more if more < _COUNTED else None


class TooManyCodes(Refused, TooMuch):
    """An expansion over the limit; pages of it can be asked for."""


def _filtered(compose: Compose) -> bool:
    return all(part.filters for part in compose.includes)


class _Shown:
    """How codes are shown: display, designations, properties; and which properties were."""

    def __init__(self, call: Call, wanted: Wanted, *, with_versions: bool) -> None:
        self._wanted = wanted
        self._with_versions = with_versions
        self._asked = call.texts("property")
        self._uses = [tuple(t.rpartition("|")[::2]) for t in call.texts("designation")]
        self._designations = bool(call.flag("includeDesignations") or self._uses)
        self._declared: dict[str, str] = {}

    def tree(self, items: Sequence[Item]) -> list[Json]:
        """Return the codes nested as their code system nests them."""
        shown = [self.one(item) for item in items]
        tops: list[Json] = []
        for place, above in nested(items):
            if above is None:
                tops.append(shown[place])
            else:
                shown[above].setdefault("contains", []).append(shown[place])
        return tops

    def one(self, item: Item) -> Json:
        """Return ValueSet.expansion.contains of a code."""
        known, concept = item.known, item.concept
        out: Json = {}
        extensions = [*self._carried(item), *self._properties(item)]
        if extensions:
            out["extension"] = extensions
        out["system"] = known.url
        if known.is_abstract(concept):
            out["abstract"] = True
        if known.is_inactive(concept):
            out["inactive"] = True
        if self._with_versions and known.version:
            out["version"] = known.version
        out["code"] = item.entry["code"] if item.entry else concept.code
        found = names.names(concept, known.language, item.entry)
        display = self._display(found)
        if display is not None:
            out["display"] = display.value
        if self._designations:
            listed = list(self._listed(found, display))
            if listed:
                out["designation"] = listed
        return out

    def _display(self, found: Sequence[names.Name]) -> names.Name | None:
        """Return the name in the best wanted language, else the system's own unless refused."""
        best = names.best(found, self._wanted) if self._wanted.tags else None
        usual = names.default(found)
        if best is not None or usual is None:
            return best
        # A list that says "nothing else will do" (*;q=0) leaves the display out.
        strict = self._wanted.others is False and usual.language is not None
        return None if strict else usual

    def _listed(self, found: Sequence[names.Name], display: names.Name | None) -> Iterator[Json]:
        for name in found:
            if name is display or (display and name.value == display.value and name.own):
                continue
            held = name.designation
            use = names.PREFERRED if held is None else held.use
            if self._uses and not self._is_asked(name.language, use):
                continue
            extensions = [
                e for e in (held.extension if held else ()) if e.get("url") in _ON_DESIGNATIONS
            ]
            out: Json = {"extension": extensions} if extensions else {}
            if name.language:
                out["language"] = name.language
            if use:
                out["use"] = use
            yield out | {"value": name.value}

    def _is_asked(self, language: str | None, use: Json | None) -> bool:
        return ("urn:ietf:bcp:47", language) in self._uses or (
            use is not None and (use.get("system", ""), use.get("code", "")) in self._uses
        )

    def _carried(self, item: Item) -> Iterator[Json]:
        """Yield the extensions that are shown as they are, the value set's before others."""
        seen: set[str] = set()
        for extension in _extensions(item):
            url = extension.get("url", "")
            if url in _ECHOED and url not in seen:
                seen.add(url)
                yield extension

    # --- properties ------------------------------------------------------------------------------

    def properties(self) -> Iterator[Json]:
        """Yield the declarations of the properties that were shown."""
        for code, uri in self._declared.items():
            parts: list[Json] = [{"url": "code", "valueCode": code}]
            if uri:
                parts.append({"url": "uri", "valueUri": uri})
            yield {"url": _R5 + "property", "extension": parts}

    def _properties(self, item: Item) -> Iterator[Json]:
        known, concept = item.known, item.concept
        for code, (name, kind, urls) in _CARRIED.items():
            value = _first(item, urls)
            if value is not None:
                yield self._property(code, CONCEPT_PROPERTIES + name, kind, value)
        status = known.status(concept)
        if status is None and known.is_inactive(concept):
            status = "inactive"
        if status and status != "active":
            yield self._property("status", CONCEPT_PROPERTIES + "status", "Code", status)
        if not self._asked:
            return
        everything = "*" in self._asked
        definition = _first(item, (_X + "valueset-concept-definition",)) or concept.definition
        if definition and (everything or "definition" in self._asked):
            uri = CONCEPT_PROPERTIES + "definition"
            yield self._property("definition", uri, "String", definition)
        for held in concept.properties:
            if (everything or held.code in self._asked) and held.code != "status":
                kind = held.kind[:1].upper() + held.kind[1:]
                uri = known.declared.uris.get(held.code, "")
                yield self._property(held.code, uri, kind, held.value)
        for code, near in (("parent", concept.parents), ("child", ())):
            if code in self._asked:
                below = known.system.children(concept.code) if code == "child" else near
                for other in below:
                    yield self._property(code, CONCEPT_PROPERTIES + code, "Code", other)

    def _property(self, code: str, uri: str, kind: str, value: Any) -> Json:
        self._declared.setdefault(code, uri)
        return {
            "url": _R5 + "contains.property",
            "extension": [
                {"url": "code", "valueCode": code},
                {"url": "value", f"value{kind}": value},
            ],
        }


def _extensions(item: Item) -> Iterator[Json]:
    yield from (item.entry or {}).get("extension", ())
    yield from item.concept.extension


def _first(item: Item, urls: Sequence[str]) -> Any:
    for url in urls:
        for extension in _extensions(item):
            if extension.get("url") == url:
                return next((v for k, v in extension.items() if k[:5] == "value"), None)
    return None


# --- expansion.parameter -------------------------------------------------------------------------

_GIVEN: Mapping[str, tuple[str, Callable[[Call, str], Any]]] = {
    "activeOnly": ("Boolean", Call.flag),
    "count": ("Integer", Call.number),
    "excludeNested": ("Boolean", Call.flag),
    "filter": ("String", Call.text),
    "includeDefinition": ("Boolean", Call.flag),
    "includeDesignations": ("Boolean", Call.flag),
    "offset": ("Integer", Call.number),
}


def _parameters(
    call: Call, view: View, found: Expansion, wanted: Wanted, compose: Compose
) -> Iterator[Json]:
    """Yield what took part: parameters as given, then resources used and remarks on them."""
    for name, (kind, read) in _GIVEN.items():
        value = read(call, name)
        if value is not None:
            yield {"name": name, f"value{kind}": value}
    for text in call.texts("designation"):
        yield {"name": "designation", "valueString": text}
    if wanted.text != "--":
        yield {"name": "displayLanguage", "valueCode": wanted.text}
    for name, text in view.pins.used:
        yield {"name": name, "valueUri": text}
    if found.versions_match:
        yield {"name": "versionsMatch", "valueBoolean": True}
    for url in found.systems:
        yield {"name": "used-codesystem", "valueUri": url}
    for url in found.value_sets:
        yield {"name": "used-valueset", "valueUri": url}
    for url in view.used_supplements:
        yield {"name": "used-supplement", "valueUri": url}
    for url, known in found.systems.items():
        if known.fragment:
            yield {"name": "used-fragment", "valueUri": url}
    for resource in _used(compose, found):
        said = references.remark(resource, compose.resource)
        if said:
            yield {"name": f"warning-{said}", "valueUri": canonical(resource)}


def _used(compose: Compose, found: Expansion) -> Iterator[Json]:
    yield from (known.header for known in found.systems.values())
    yield compose.resource
    yield from (other.resource for other in (*found.value_sets.values(), *found.common))


def _unclosed(found: Expansion) -> Iterator[Json]:
    """Yield what says that there may be more codes than are listed."""
    reasons = [
        f"This extension is based on a fragment of the code system {known.url}"
        for known in found.systems.values()
        if known.fragment
    ]
    reasons += found.unclosed.values()
    if reasons:
        yield {"url": _X + "valueset-unclosed", "valueBoolean": True}
    for reason in reasons:
        yield {"url": _X + "valueset-unclosed-reason", "valueString": reason}
