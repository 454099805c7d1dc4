"""What a message says about a resource, together with what is known of it.

A message states elements; those it leaves out say nothing, those its sender nulled are removed.
Each element remembers when it was told (event time of the sender), so that an older message never
overwrites a newer one, and the same messages in any order end the same. Repeating elements are
replaced as a whole; identifiers as a set per system and type; extensions by url, who takes part in
a visit by kind, and numbers at work apart from the others: each is told by a field of its own, and
a field that is empty erases nothing.

Pure: no store, no clock. What an event means for a status is its feed's `Lifecycle`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

from app.fhir import definitions

Json = dict[str, Any]

NEVER = -(1 << 62)

# Types of which a message says all, unless its lifecycle has rules for them: a newer statement
# replaces an older one as a whole.
WHOLE = frozenset(("Binary", "MessageHeader", "Observation", "Provenance"))

# Elements whose parts are told apart from each other (A13 takes the end of a visit back).
_IN_PARTS: Mapping[str, tuple[str, ...]] = {"Encounter": ("period", "hospitalization")}


def _url(extension: Json) -> str | None:
    return extension.get("url")


def _at_work(contact_point: Json) -> str | None:
    """Return `work` for what PID-14 and NK1-6 tell; PID-13 and NK1-5 tell all the others."""
    return "work" if contact_point.get("use") == "work" else None


def _participation(participant: Json) -> str | None:
    codings = [coding for one in participant.get("type") or () for coding in one.get("coding", ())]
    return codings[0].get("code") if codings else None


# Repeating elements whose items are told apart from each other, by their kind.
_Kind = Callable[[Json], "str | None"]
_OF_ALL: Mapping[str, _Kind] = {"extension": _url}
_KINDS: Mapping[str, Mapping[str, _Kind]] = {
    "Encounter": {**_OF_ALL, "participant": _participation},
    "Patient": {**_OF_ALL, "telecom": _at_work},
    "RelatedPerson": {**_OF_ALL, "telecom": _at_work},
}

_OWN = frozenset(("id", "meta", "resourceType"))


@dataclass(frozen=True, slots=True)
class Told:
    """When the elements of a resource were told, compactly.

    at: the newest message; elements: those told at another time, or removed since.
    """

    at: int = NEVER
    elements: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Said:
    """One message's statement about one resource.

    at: event time, microseconds since 1970. removed: elements its sender nulled; `telecom:home`
    means the items of that use, `participant:ATND` those of that kind, `extension:URL` that
    extension, `link:Patient/1` the links to that record.
    """

    type: str
    body: Json
    at: int
    removed: frozenset[str] = frozenset()


# (known value or None, said value, whether the message is not older than what is known)
#   -> (value from now on, None for none; whether it counts as told by this message)
Special = Callable[[Any, Any, bool], tuple[Any, bool]]


class Lifecycle(Protocol):
    """What the event of a message means for resources that may be known already."""

    def specials(self, type_name: str) -> Mapping[str, Special]:
        """Return how elements of a type are settled that are not settled the usual way."""
        ...

    def finish(self, type_name: str, known: Json | None, after: Json) -> None:
        """Add to `after` what follows from the change itself."""
        ...


def together(
    known: Json | None, told: Told | None, said: Said, lifecycle: Lifecycle
) -> tuple[Json, Told]:
    """Return the resource after `said`, and when its elements were told.

    known: None for a new resource. No argument is changed.
    """
    if said.type in WHOLE and not lifecycle.specials(said.type):
        return _whole(known, told or Told(), said)
    flat = _flat(said.type, known or {})
    there = _elements(said.type, flat)
    times = _times(there, told)
    specials = {**_SPECIAL, **lifecycle.specials(said.type)}
    given = _flat(said.type, said.body)
    for element, names in _elements(said.type, given).items():
        newer = said.at >= times.get(element, NEVER)
        before = there.get(element, {})
        special = specials.get(element)
        after, counts = names, newer
        if special is not None and len(names) == 1:
            ((name, value),) = names.items()
            result, counts = special(before.get(name), value, newer)
            after = {} if result is None else {name: result}
        elif not newer:
            continue
        for name in before:
            del flat[name]
        flat.update(after)
        times[element] = said.at if counts else times.get(element, NEVER)
    _remove(flat, times, said, given)
    newest = max(said.at, told.at if told else NEVER)
    meta = _meta(known, said.body, newer=said.at == newest)
    body = {"resourceType": said.type, **meta, **_unflat(said.type, flat)}
    _order(body, said.body, known or {})
    lifecycle.finish(said.type, known, body)
    return body, _compact(times, newest, _elements(said.type, flat))


def fresh(said: Said, lifecycle: Lifecycle) -> Told:
    """Return when the elements of a new resource were told, as `together` would."""
    elements = {
        name: said.at for place in said.removed for name in _groups(said.type, *_parted(place))
    }
    for element, special in lifecycle.specials(said.type).items():
        if element in said.body and not special(None, said.body[element], True)[1]:
            elements[element] = NEVER
    return Told(said.at, elements)


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Say whether two versions differ in nothing but what the store writes and the source."""
    return all(one.get(name) == other.get(name) for name in {*one, *other} - {"id", "meta"})


def _whole(known: Json | None, told: Told, said: Said) -> tuple[Json, Told]:
    if known is not None and said.at < told.at:
        return known, told
    meta = _meta(known, said.body, newer=True)
    return {"resourceType": said.type, **meta, **_without_own(said.body)}, Told(said.at)


def _remove(flat: Json, times: dict[str, int], said: Said, given: Json) -> None:
    for place in said.removed:
        element, part = _parted(place)
        for group in _groups(said.type, element, part):
            if group in given or said.at < times.get(group, NEVER):
                continue
            for name in _same_element(said.type, group, flat):
                items = flat.pop(name)
                if part and (kept := [one for one in items if not _is_meant(element, one, part)]):
                    flat[name] = kept
            times[group] = said.at


def _parted(place: str) -> tuple[str, str]:
    element, _, part = place.partition(":")
    return element, part


def _is_meant(element: str, item: Any, part: str) -> bool:
    """Say whether an item is one of those to remove: by its use, a link by its other end."""
    if element == "link":
        return bool((item.get("other") or {}).get("reference") == part)
    return element != "telecom" or item.get("use") in (part, None)


# --- times ---------------------------------------------------------------------------------------


def _times(there: Iterable[str], told: Told | None) -> dict[str, int]:
    """Return the time of every element that is known or was removed."""
    told = told or Told()
    times = dict.fromkeys(there, told.at)
    times.update(told.elements)
    return times


def _compact(times: Mapping[str, int], at: int, present: Iterable[str]) -> Told:
    here = set(present)
    return Told(at, {name: time for name, time in times.items() if time != at or name not in here})


# --- elements ------------------------------------------------------------------------------------


def _flat(type_name: str, body: Mapping[str, Any]) -> Json:
    """Return a copy whose elements told in parts stand as `period.end`, `participant.ATND`."""
    flat = _without_own(body)
    for name in _IN_PARTS.get(type_name, ()):
        if isinstance(whole := flat.get(name), dict):
            del flat[name]
            flat.update({f"{name}.{part}": value for part, value in whole.items()})
    for name, kind in _KINDS.get(type_name, _OF_ALL).items():
        if isinstance(items := flat.pop(name, None), list):
            for item in items:
                flat.setdefault(_group(name, kind(item)), []).append(item)
    return flat


def _without_own(body: Mapping[str, Any]) -> Json:
    return {name: value for name, value in body.items() if name not in _OWN}


def _unflat(type_name: str, flat: Json) -> Json:
    in_parts = _IN_PARTS.get(type_name, ())
    body: Json = {}
    for key, value in flat.items():
        name, _, part = key.partition(".")
        if part and name in in_parts:
            body.setdefault(name, {})[part] = value
        else:
            body[name] = [*body[name], *value] if name in body else value
    return body


def _order(body: Json, said: Json, known: Json) -> None:
    """Put items told by kind in the order they were said in, those known before behind them."""
    for name in _KINDS.get(body["resourceType"], _OF_ALL):
        items = body.get(name)
        if items is not None and len(items) > 1:
            order = [*said.get(name, ()), *known.get(name, ())]
            body[name] = sorted(items, key=order.index)


def _groups(type_name: str, element: str, part: str) -> tuple[str, ...]:
    """Return the flat names that a place which a sender nulled stands for."""
    if element == "telecom":
        both = ("telecom", "telecom.work")
        return both if not part else both[1:] if part == "work" else both[:1]
    if part and element in _KINDS.get(type_name, _OF_ALL):
        return (_group(element, part),)
    return (element,)


def _group(element: str, kind: str | None) -> str:
    return element if kind is None else f"{element}.{kind}"


def _elements(type_name: str, flat: Mapping[str, Any]) -> dict[str, Json]:
    """Return element -> its members: `_birthDate` and `birthDate`, any type of `deceased[x]`."""
    out: dict[str, Json] = {}
    for name, value in flat.items():
        element = name if "." in name else _element(type_name, name)
        if element in out:
            out[element][name] = value
        else:
            out[element] = {name: value}
    return out


def _same_element(type_name: str, element: str, flat: Mapping[str, Any]) -> list[str]:
    return [*_elements(type_name, flat).get(element, ())]


@cache
def _element(type_name: str, name: str) -> str:
    bare = name.removeprefix("_")
    member = definitions.structure(type_name).shape.members.get(bare)
    return member.element.name if member else bare


def _meta(known: Json | None, said: Json, *, newer: bool) -> Json:
    """Return the member `meta`, if there is any: the newer source, all tags, profiles, labels."""
    meta = dict((known or {}).get("meta") or {})
    for name in ("versionId", "lastUpdated"):
        meta.pop(name, None)
    for name, value in (said.get("meta") or {}).items():
        have = meta.get(name)
        if isinstance(value, list) and isinstance(have, list):
            meta[name] = have + [one for one in value if one not in have]
        elif have is None or newer:
            meta[name] = value
    return {"meta": meta} if meta else {}


# --- elements with rules of their own ------------------------------------------------------------


def _identifiers(known: Any, said: Any, newer: bool) -> tuple[Any, bool]:
    """Replace per system and type; numbers of merged records (use old) stay."""
    have = list(known or ())
    if newer:
        # A number that ended says nothing about the one that took its place.
        old = {_number(one) for one in have if one.get("use") == "old"}
        given = {_kind(one) for one in said if _number(one) not in old}
        kept = [one for one in have if one.get("use") == "old" or _kind(one) not in given]
        old = {_number(one) for one in kept}
        return [*(one for one in said if _number(one) not in old), *kept], True
    known_kinds = {_kind(one) for one in have}
    return [*have, *(one for one in said if _kind(one) not in known_kinds)], False


def _kind(identifier: Json) -> tuple[Any, ...]:
    codings: list[Json] = (identifier.get("type") or {}).get("coding") or [{}]
    return identifier.get("system"), codings[0].get("code")


def _number(identifier: Json) -> tuple[Any, Any]:
    return identifier.get("system"), identifier.get("value")


def _all_of_both(known: Any, said: Any, newer: bool) -> tuple[Any, bool]:
    have = list(known or ())
    return [*have, *(one for one in said if one not in have)], newer


_SPECIAL: dict[str, Special] = {
    "identifier": _identifiers,
    "link": _all_of_both,
    "result": _all_of_both,
    "specimen": _all_of_both,
    "basedOn": _all_of_both,
}
