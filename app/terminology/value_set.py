"""The definition of a value set, read once: what it includes, excludes and asks for.

R4 valueset.html#compositions. R5 operators of filters arrive in an extension of `op`. A value set
that has only an expansion is what that lists.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.errors import Unprocessable
from app.terminology.issues import Refused, issue
from app.terminology.known import canonical
from app.terminology.types import Filter, Json

EXPANSION_PARAMETER = "http://hl7.org/fhir/StructureDefinition/valueset-expansion-parameter"
_EXPANSION_PARAMETERS = (
    EXPANSION_PARAMETER,
    "http://hl7.org/fhir/tools/StructureDefinition/valueset-expansion-parameter",
)
_SUPPLEMENT = "http://hl7.org/fhir/StructureDefinition/valueset-supplement"
_R5_OP = "extension-ValueSet.compose.include.filter.op"


@dataclass(frozen=True, slots=True)
class Include:
    """One include or exclude. `at` is its place; `concepts` the listed codes, None without."""

    at: str
    system: str | None
    version: str | None
    concepts: Mapping[str, Json] | None
    filters: Sequence[Filter]
    imports: Sequence[str]
    supplements: Sequence[str]


@dataclass(frozen=True, slots=True)
class Compose:
    """A value set as it is evaluated.

    active_only: it wants no inactive concepts. parameters: what it asks of its expansion.
    """

    resource: Json
    canonical: str
    includes: Sequence[Include]
    excludes: Sequence[Include]
    active_only: bool
    parameters: Mapping[str, Any]
    supplements: Sequence[str]
    contained: Mapping[str, Json] = field(default_factory=dict)

    @property
    def parts(self) -> Iterator[Include]:
        """Yield includes, then excludes."""
        yield from self.includes
        yield from self.excludes

    @property
    def versions_match(self) -> bool | None:
        """Whether codes of different versions count as the same; None when it does not say."""
        value = self.parameters.get("versionsMatch")
        return None if value is None else str(value).lower() == "true"


class Reader:
    """The value sets that were read, the last ones; safe to use from many threads."""

    _KEPT = 256

    def __init__(self) -> None:
        self._read: OrderedDict[int, Compose] = OrderedDict()

    def of(self, resource: Json) -> Compose:
        """Return a value set as it is evaluated. Raises Refused, Unprocessable."""
        held = self._read.get(id(resource))
        if held is not None and held.resource is resource:
            return held
        made = read(resource)
        self._read[id(resource)] = made
        while len(self._read) > self._KEPT:
            self._read.popitem(last=False)
        return made


def read(resource: Json) -> Compose:
    """Return a value set as it is evaluated. Raises Refused, Unprocessable."""
    compose = resource.get("compose") or {}
    includes = [_include(p, "include", i) for i, p in enumerate(compose.get("include", ()))]
    if not includes and "expansion" in resource:
        includes = list(_listed(resource["expansion"]))
    return Compose(
        resource=resource,
        canonical=canonical(resource),
        includes=includes,
        excludes=[_include(p, "exclude", i) for i, p in enumerate(compose.get("exclude", ()))],
        active_only=compose.get("inactive") is False,
        parameters=dict(_parameters([*_extensions(compose), *_extensions(resource)])),
        supplements=_supplements(resource) + _supplements(compose),
        contained={
            f"#{held['id']}": held
            for held in resource.get("contained", ())
            if isinstance(held, dict) and "id" in held
        },
    )


def _extensions(of: Json) -> Sequence[Json]:
    held = of.get("extension", ())
    return [e for e in held if isinstance(e, dict)] if isinstance(held, list) else ()


def _include(written: Json, kind: str, index: int) -> Include:
    at = f"ValueSet.compose.{kind}[{index}]"
    system = written.get("system")
    concepts = written.get("concept")
    filters = [
        _filter(one, system, f"{at}.filter[{place}]")
        for place, one in enumerate(written.get("filter", ()))
    ]
    if filters and not system:
        raise Unprocessable("A filter needs a system", at=at, code="invalid")
    return Include(
        at=at,
        system=system,
        version=written.get("version"),
        concepts={c["code"]: c for c in concepts if "code" in c} if concepts else None,
        filters=filters,
        imports=written.get("valueSet", ()),
        supplements=_supplements(written),
    )


def _filter(written: Json, system: str | None, at: str) -> Filter:
    op = written.get("op")
    for extension in _extensions(written.get("_op") or {}):
        if str(extension.get("url", "")).endswith(_R5_OP):
            op = extension.get("valueCode", op)
    name, value = written.get("property"), written.get("value")
    if not value:
        raise Refused(
            issue(
                "UNABLE_TO_HANDLE_SYSTEM_FILTER_WITH_NO_VALUE",
                at,
                system=system,
                property=name,
                op=op,
            )
        )
    if not isinstance(name, str) or not isinstance(op, str):
        raise Unprocessable("A filter needs a property and an operator", at=at, code="invalid")
    return Filter(name, op, str(value))


def _supplements(of: Json) -> list[str]:
    found = (e.get("valueCanonical") for e in _extensions(of) if e.get("url") == _SUPPLEMENT)
    return [url for url in found if isinstance(url, str)]


def _parameters(extensions: Sequence[Json]) -> Iterator[tuple[str, Any]]:
    for extension in reversed(extensions):
        if extension.get("url") not in _EXPANSION_PARAMETERS:
            continue
        parts = {
            part.get("url"): next((v for k, v in part.items() if k[:5] == "value"), None)
            for part in _extensions(extension)
        }
        name = parts.get("name")
        if isinstance(name, str):
            yield name, parts.get("value")


def _listed(expansion: Json) -> Iterator[Include]:
    """Yield an include for each system and version that a stored expansion lists."""
    found: dict[tuple[str | None, str | None], dict[str, Json]] = {}
    stack = list(reversed(expansion.get("contains", ())))
    while stack:
        one = stack.pop()
        if "code" in one:
            key = (one.get("system"), one.get("version"))
            found.setdefault(key, {})[one["code"]] = one
        stack += reversed(one.get("contains", ()))
    for place, ((system, version), concepts) in enumerate(found.items()):
        at = f"ValueSet.expansion.contains[{place}]"
        yield Include(at, system, version, concepts, (), (), ())
