"""Implicit value sets: what `?fhir_vs` behind the url of a code system stands for.

R4 snomedct.html#implicit: all concepts, `isa/X` what is below X, `refset` the concepts that are
reference sets, `refset/X` the members of one, `ecl/...` what an expression selects. The url may be
that of an edition and version (http://snomed.info/sct/[module]/version/[date]).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol
from urllib.parse import unquote

from app.terminology.types import Json

_MARK = "?fhir_vs"
_EDITION = re.compile(r"(http://snomed\.info/x?sct)/\d+(?:/version/\d+)?")


class Referenced(Protocol):
    """What is asked of a system: the codes of its reference sets."""

    def reference_sets(self) -> Sequence[str]: ...


def value_set(url: str, known: Mapping[str, Sequence[Referenced]]) -> Json | None:
    """Return the value set that a url implies; None when it is no such url of a known system."""
    base, mark, rest = url.partition(_MARK)
    edition = _EDITION.fullmatch(base)
    system = edition[1] if edition else base
    if not mark or system not in known:
        return None
    include: Json = {"system": system}
    if edition:
        include["version"] = base
    wanted = unquote(rest)
    kind, _, value = wanted.removeprefix("=").partition("/")
    if wanted:
        made = _KINDS.get(kind) if wanted.startswith("=") else None
        if made is None or (kind in ("isa", "ecl") and not value):
            return None
        include |= made(value, known[system])
    return {
        "resourceType": "ValueSet",
        "url": url,
        "name": "ImplicitValueSet",
        "title": f"{system} {wanted.removeprefix('=') or 'all concepts'}",
        "status": "active",
        "compose": {"include": [include]},
    }


def _filter(name: str, op: str, value: str) -> Json:
    return {"filter": [{"property": name, "op": op, "value": value}]}


def _reference_sets(value: str, versions: Sequence[Referenced]) -> Json:
    if value:
        return _filter("concept", "in", value)
    codes = dict.fromkeys(code for one in versions for code in one.reference_sets())
    return {"concept": [{"code": code} for code in codes]}


_KINDS: Mapping[str, Callable[[str, Sequence[Referenced]], Json]] = {
    "isa": lambda value, versions: _filter("concept", "is-a", value),
    "refset": _reference_sets,
    "ecl": lambda value, versions: _filter("constraint", "=", value),
}
