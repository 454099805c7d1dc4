"""When two Devices are one device, and what becomes of them. identifiers.md sections 3 and 6.

A pump that one sender knows by its UDI and another by its EUI-64 is two Devices until somebody
names both numbers. From then on the one that was written last holds all numbers; the other says
where it went (`MERGED_INTO`) and keeps what describes it. Pure: the store looks for the Devices
(`app/store/unite.py`).

Numbers that name one thing in the world unite. Those of models, lots and logistic units do not, nor
do numbers of an assigner of its own: clients may give the same one twice, and hear of a conflict.
What contradicts is not one device: a gateway's EUI-64 may stand on several monitors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from app.fhir.ids import BASE
from app.registry.indexed import identifier_keys
from app.registry.trace import is_shared

Json = dict[str, Any]
Numbers = Mapping[str, frozenset[str]]  # kind of number -> canonical keys of that kind

MERGED_INTO = f"{BASE}/StructureDefinition/merged-into"

# Keys that name one device. The first group: UDIs with a serial number, which settle it whatever
# else differs (a device may have several network cards).
_ONE_DEVICE = re.compile(
    r"(gs1:01:[^:]*:(?:21|235):.*|gs1:8006:[^:]*:21:.*|(?:hibc|ma):[^:]*:S:.*)"
    r"|gs1:800[34]:.{15,}|gs1:8004:.*|gs1:8010:[^:]*:8011:.*|isbt128:ppic:[^:]*:.*|epc:.*"
    r"|eui(?:48|64):.*|uuid:.*|oid:.*|id:urn:x-yilian:(?:serial|ns):.*",
    re.DOTALL,
)
_KIND = re.compile(r"gs1:\d+(?=:)|[a-z0-9-]+(?=:)")

# What tells which one it is or where it is: it goes to the one that stays.
_MOVED = ("identifier", "udiCarrier", "patient", "owner", "location", "parent", "contact", "url")
# Elements that do not fill a gap of the one that stays.
_KEPT = frozenset(("resourceType", "id", "meta", "status", "statusReason", "text", "contained"))


class Devices:
    """The rule for Devices, as the store asks it."""

    type = "Device"

    def uniting(self, device: Mapping[str, Any]) -> Sequence[str]:
        """Return the keys that make whatever carries one of them the same device."""
        if merged_into(device) is not None:
            return ()
        return [key for key in keys_of(device) if _is_of_one(key)]

    def apart(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Say whether two Devices contradict each other."""
        return apart(one, other)

    def merged_into(self, device: Mapping[str, Any]) -> str | None:
        return merged_into(device)

    def united(self, stays: Mapping[str, Any], goes: Mapping[str, Any]) -> tuple[Json, Json]:
        """Return the one that stays with all that is known, and what is left of the other."""
        return together(stays, goes), _left(goes, str(stays["id"]))


def merged_into(device: Mapping[str, Any]) -> str | None:
    """Return the id of the Device that this one was merged into; None for most."""
    for extension in device.get("extension") or ():
        if isinstance(extension, dict) and extension.get("url") == MERGED_INTO:
            reference = (extension.get("valueReference") or {}).get("reference") or ""
            return str(reference).removeprefix("Device/") or None
    return None


def apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Say whether two Devices contradict each other: they are of a kind of number, and share none.

    One that is a part of the other is not the other.
    """
    for part, whole in ((one, other), (other, one)):
        parent = (part.get("parent") or {}).get("reference")
        if parent and parent == f"Device/{whole.get('id')}":
            return True
    ours, theirs = numbers(one), numbers(other)
    both = ours.keys() & theirs.keys()
    if all(ours[kind] & theirs[kind] for kind in both):
        return False
    shared = [key for kind in both for key in ours[kind] & theirs[kind]]
    return not any((found := _ONE_DEVICE.fullmatch(key)) and found[1] for key in shared)


def numbers(device: Mapping[str, Any]) -> Numbers:
    """Return the keys of a Device by the kinds of numbers they are; lots say nothing here."""
    found: dict[str, set[str]] = {}
    for key in keys_of(device):
        if (kind := _kind(key)) is not None:
            found.setdefault(kind, set()).add(key)
    return {kind: frozenset(keys) for kind, keys in found.items()}


@lru_cache(maxsize=4096)
def _kind(key: str) -> str | None:
    if key.startswith("id:"):
        return key.rpartition("|")[0]
    kind = _KIND.match(key)
    if kind is None or key.startswith(("gs1:00:", "gs1:414:")):
        return None
    if not is_shared(key):
        return f"{kind[0]}:one"
    return None if ":10:" in key or ":L:" in key else kind[0]


def together(stays: Mapping[str, Any], goes: Mapping[str, Any]) -> Json:
    """Return the first one with the numbers of both; its gaps filled from the other."""
    body = dict(stays)
    for name, value in goes.items():
        if name in _KEPT:
            continue
        if name == "identifier":
            held = {_number(each) for each in body.get(name) or ()}
            fresh = [each for each in value if _number(each) not in held]
        elif name == "udiCarrier":
            known = set(keys_of(body))
            fresh = [each for each in value if not known.issuperset(keys_of({name: [each]}))]
        elif name == "extension":
            urls = {each.get("url") for each in body.get(name) or ()}
            fresh = [each for each in value if each.get("url") not in urls]
        elif name not in body:
            body[name] = value
            continue
        else:
            continue
        if fresh:
            body[name] = [*(body.get(name) or ()), *fresh]
    return body


def _left(goes: Mapping[str, Any], stays: str) -> Json:
    """Return a Device without its numbers, which says where it went."""
    body = {name: value for name, value in goes.items() if name not in _MOVED}
    pointer = {"url": MERGED_INTO, "valueReference": {"reference": f"Device/{stays}"}}
    others = [each for each in body.get("extension") or () if each.get("url") != MERGED_INTO]
    return body | {"extension": [*others, pointer], "status": "entered-in-error"}


def without(device: Mapping[str, Any], other: Mapping[str, Any]) -> Json:
    """Return a Device without the identifiers that the other one has."""
    held = {_number(each) for each in other.get("identifier") or ()}
    body = {name: value for name, value in device.items() if name != "identifier"}
    own = [each for each in device.get("identifier") or () if _number(each) not in held]
    return body | {"identifier": own} if own else body


def _number(identifier: Mapping[str, Any]) -> tuple[Any, Any]:
    return identifier.get("system"), identifier.get("value")


def keys_of(device: Mapping[str, Any]) -> Iterable[str]:
    """Return the canonical keys of a Device, each once.

    Devices are few and come again and again: what a number means is remembered.
    """
    found: dict[str, None] = {}
    for each in device.get("identifier") or ():
        found.update(dict.fromkeys(_of_identifier(*_number(each))))
    for each in device.get("udiCarrier") or ():
        found.update(dict.fromkeys(_of_carrier(*map(each.get, _CARRIER))))
    return found


_CARRIER = ("deviceIdentifier", "issuer", "carrierHRF", "carrierAIDC")


@lru_cache(maxsize=16_384)
def _of_identifier(system: str | None, value: str | None) -> Sequence[str]:
    one = {"value": value} | ({"system": system} if system else {})
    return tuple(identifier_keys("Device", {"identifier": [one]}))


@lru_cache(maxsize=4096)
def _of_carrier(*parts: str | None) -> Sequence[str]:
    one = {name: part for name, part in zip(_CARRIER, parts, strict=True) if part}
    return tuple(identifier_keys("Device", {"udiCarrier": [one]}))


@lru_cache(maxsize=16_384)
def _is_of_one(key: str) -> bool:
    return _ONE_DEVICE.fullmatch(key) is not None


def may_be_one(devices: Iterable[Mapping[str, Any]]) -> bool:
    """Say whether no two of several Devices contradict each other."""
    known = list(devices)
    return not any(apart(one, two) for n, one in enumerate(known) for two in known[n + 1 :])
