"""Less of a resource: `_summary` and `_elements`. R4 search.html#summary, #elements.

Members are left out as bytes, so what stays is exactly what is stored; `meta` gets the tag
SUBSETTED. id, meta, implicitRules and mandatory elements always stay. `_elements` names elements of
the first level (`name`, `Patient.name`, `value` for every valueX); a deeper path keeps its first.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from functools import lru_cache

import msgspec

from app.errors import Invalid
from app.fhir import definitions
from app.fhir.definitions import Shape
from app.rest.exchange import Params

Members = dict[str, msgspec.Raw]

SUMMARIES = frozenset(("true", "text", "data", "count", "false"))

_ALWAYS = frozenset(("resourceType", "id", "meta", "implicitRules"))
_SUBSETTED = (
    b'{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}'
)
_members = msgspec.json.Decoder(Members)
_items = msgspec.json.Decoder(list[msgspec.Raw])


def asked(params: Params) -> tuple[str | None, tuple[str, ...]]:
    """Return the summary and the elements a read asks for.

    Raises Invalid for a summary that a single resource does not have.
    """
    summary: str | None = None
    elements: list[str] = []
    for name, value in params:
        if name == "_summary":
            if value not in SUMMARIES or value == "count":
                raise Invalid("_summary has to be true, text, data or false", at="http._summary")
            summary = None if value == "false" else value
        elif name == "_elements":
            elements += [part.strip() for part in value.split(",") if part.strip()]
    return summary, tuple(elements)


def reduced(body: bytes, summary: str | None, elements: Sequence[str]) -> bytes:
    """Return what is asked for of a stored resource; all of it if nothing is asked."""
    if not (summary or elements):
        return body
    members = _members.decode(body)
    type_name: str = msgspec.json.decode(members["resourceType"])
    if elements:
        kept = _only(members, _named(type_name, tuple(elements)))
    elif summary == "text":
        kept = _only(members, _text(type_name))
    elif summary == "data":
        kept = {name: raw for name, raw in members.items() if name != "text"}
    else:
        kept = _summarised(members, definitions.structure(type_name).shape, _ALWAYS)
    kept["meta"] = _tagged(kept.get("meta"))
    return _joined(kept)


def _only(members: Members, names: Container[str]) -> Members:
    """Keep members of those names; `_birthDate` goes with birthDate."""
    return {name: raw for name, raw in members.items() if name.lstrip("_") in names}


@lru_cache(maxsize=256)
def _text(type_name: str) -> frozenset[str]:
    return _ALWAYS | {"text"} | frozenset(_mandatory(definitions.structure(type_name).shape))


@lru_cache(maxsize=256)
def _named(type_name: str, elements: tuple[str, ...]) -> frozenset[str]:
    """Return the member names that `_elements` asks for. Raises Invalid for an unknown element."""
    shape = definitions.structure(type_name).shape
    found = set(_ALWAYS) | set(_mandatory(shape))
    for element in elements:
        first = element.removeprefix(f"{type_name}.").partition(".")[0].removesuffix("[x]")
        named = [m.name for m in shape.choice(first)] or [first]
        if named == [first] and first not in shape.members and first not in _ALWAYS:
            raise Invalid("The type has no such element", at="http._elements")
        found.update(named)
    return frozenset(found)


def _mandatory(shape: Shape) -> Iterator[str]:
    return (name for name, member in shape.members.items() if member.element.is_required)


def _summarised(members: Members, shape: Shape, always: Container[str]) -> Members:
    """Keep what the definition marks as summary or demands, in backbone elements too."""
    kept: Members = {}
    for name, raw in members.items():
        member = shape.members.get(name.lstrip("_"))
        if name in always:
            kept[name] = raw
        elif member is not None and (member.element.is_summary or member.element.is_required):
            inner = member.element.shape
            kept[name] = raw if inner is None else _each(raw, inner)
    return kept


def _each(raw: msgspec.Raw, shape: Shape) -> msgspec.Raw:
    if memoryview(raw)[0] == ord("["):
        return msgspec.Raw(b"[%b]" % b",".join(_object(item, shape) for item in _items.decode(raw)))
    return msgspec.Raw(_object(raw, shape))


def _object(raw: msgspec.Raw, shape: Shape) -> bytes:
    return _joined(_summarised(_members.decode(raw), shape, ("id",)))


def _tagged(meta: msgspec.Raw | None) -> msgspec.Raw:
    """Return the meta with the tag that says that this is not the whole resource."""
    members = _members.decode(meta) if meta is not None else {}
    tags = [bytes(tag) for tag in _items.decode(members["tag"])] if "tag" in members else []
    members["tag"] = msgspec.Raw(b"[%b]" % b",".join([*tags, _SUBSETTED]))
    return msgspec.Raw(_joined(members))


def _joined(members: Mapping[str, msgspec.Raw]) -> bytes:
    return b"{%b}" % b",".join(b'"%b":%b' % (n.encode(), raw) for n, raw in members.items())
