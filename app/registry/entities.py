"""What is registered: kinds of things, each a resource with identifiers. identifiers.md section 6.

There is no second store beside the resources: whatever carries an identifier is registered by being
written, from any feed. Registering something by hand writes the resource that stands for its kind
(`mappings/entities.yaml`), or adds identifiers to the one that carries a number already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import orjson

from app.errors import Conflict, Invalid
from app.paths import shipped
from app.registry import unite
from app.registry.indexed import identifier_keys
from app.registry.keys import canonical_keys
from app.registry.parse import parse
from app.registry.trace import is_shared
from app.store.types import Change, Method, Outcome, Result, Stored

Json = dict[str, Any]

_OWNERS = 5  # of the numbers of one row that are told
_MEMBERS = frozenset({"kind", "name", "identifiers", "code", "assigner", "start", "end"})
_OF_IDENTIFIER = frozenset({"code", "system", "value", "assigner", "start", "end", "use"})


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of entity and the resource that stands for it."""

    name: str
    type: str
    name_at: str
    names: Mapping[str, Any]
    fixed: Mapping[str, Any]


class Written(Protocol):
    """What registering needs of a store."""

    def find_by_keys(self, keys: Sequence[str], *, limit: int = 100) -> list[Stored]: ...

    def commit(self, changes: Sequence[Change]) -> list[Outcome]: ...


@cache
def kinds() -> Mapping[str, Kind]:
    """Return the kinds of `mappings/entities.yaml` by name."""
    import yaml  # as in names.py

    path = shipped("mappings") / "entities.yaml"
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))["entities"]
    return {
        name: Kind(name, row["type"], row["name"], row.get("names") or {}, row.get("fixed") or {})
        for name, row in rows.items()
    }


def kind_of(resource: Mapping[str, Any]) -> str:
    """Return the kind of a resource; its type where there is no kind for it."""
    type_name = str(resource.get("resourceType"))
    for kind in kinds().values():
        if kind.type == type_name and all(
            resource.get(name) == value for name, value in kind.fixed.items() if name != "content"
        ):
            return kind.name
    return type_name


def register(store: Written, row: Any) -> Outcome:
    """Register what a row says; sent again, it changes nothing.

    row: `kind`, `name`, and `identifiers` (each `code`, or `system` and `value`, with `assigner`,
    `start`, `end`, `use`), or these of one identifier beside `kind`. Raises Invalid, and Conflict
    when two things carry these identifiers already.
    """
    kind, identifiers = _read(row)
    keys = _own_keys(identifiers)
    if not keys:
        raise Invalid("no identifier of it names one thing", at="identifiers", code="required")
    owners = {(each.type, each.id): each for each in store.find_by_keys(keys, limit=_OWNERS)}
    if len(owners) > 1:
        return _united(store, kind, list(owners.values()), keys, identifiers, row.get("name"))
    if not owners:
        resource = {"resourceType": kind.type, **kind.fixed, "identifier": identifiers}
        _set_name(kind, resource, row.get("name"))
        return store.commit([Change(Method.CREATE, kind.type, body=orjson.dumps(resource))])[0]
    ((type_name, _), stored) = owners.popitem()
    if type_name != kind.type:
        raise Conflict(f"a {type_name} carries this identifier", code="duplicate")
    return _extended(store, kind, stored, identifiers, row.get("name"))


def _united(
    store: Written,
    kind: Kind,
    owners: Sequence[Stored],
    keys: Sequence[str],
    identifiers: Sequence[Json],
    name: Any,
) -> Outcome:
    """Make one of several devices, each of which carries another of the numbers of a row.

    Raises Conflict when that cannot be: two carry one number, or they contradict each other.
    """
    devices = [orjson.loads(each.body) for each in owners]
    carried = [key for each in devices for key in set(identifier_keys("Device", each)) & {*keys}]
    if (
        any(each.type != kind.type or kind.type != "Device" for each in owners)
        or len(carried) > len(set(carried))
        or not unite.may_be_one([{"identifier": identifiers}, *devices])
    ):
        raise Conflict("several resources carry these identifiers", code="duplicate")
    first, *others = devices
    left = []
    for each in others:
        first, gone = unite.Devices().united(first, each)
        left.append(gone)
    changes = [
        Change(
            Method.UPDATE,
            "Device",
            body["id"],
            orjson.dumps(body),
            if_match=(str(stored.version_id),),
        )
        for stored, body in zip(owners, (_with(kind, first, identifiers, name), *left), strict=True)
    ]
    return store.commit(changes)[0]


def _extended(
    store: Written, kind: Kind, stored: Stored, identifiers: Sequence[Json], name: Any
) -> Outcome:
    """Add identifiers, and a name where there is none, to a resource that is there."""
    resource = _with(kind, orjson.loads(stored.body), identifiers, name)
    if resource == orjson.loads(stored.body):
        return Outcome(
            Result.UNCHANGED, stored.type, stored.id, stored.version_id, stored.last_updated_us
        )
    change = Change(
        Method.UPDATE,
        stored.type,
        stored.id,
        orjson.dumps(resource),
        if_match=(str(stored.version_id),),
    )
    return store.commit([change])[0]


def _with(kind: Kind, resource: Json, identifiers: Sequence[Json], name: Any) -> Json:
    """Return a resource with more identifiers, and with a name where there is none."""
    held = resource.setdefault("identifier", [])
    have = {(each.get("system"), each.get("value")) for each in held}
    held.extend(each for each in identifiers if (each.get("system"), each["value"]) not in have)
    if kind.name_at.partition(".")[0] not in resource:
        _set_name(kind, resource, name)
    return resource


def _read(row: Any) -> tuple[Kind, list[Json]]:
    """Return kind and FHIR identifiers of a row. Raises Invalid."""
    if not isinstance(row, dict):
        raise Invalid("a JSON object is needed", code="structure")
    unknown = row.keys() - _MEMBERS - _OF_IDENTIFIER
    if unknown:
        raise Invalid(f"a row has {', '.join(sorted(_MEMBERS))} and an identifier's members")
    kind = kinds().get(str(row.get("kind")))
    if kind is None:
        raise Invalid(f"kind is one of {', '.join(kinds())}", at="kind", code="code-invalid")
    listed = row.get("identifiers")
    if listed is None:
        listed = [{name: value for name, value in row.items() if name in _OF_IDENTIFIER}]
    if not isinstance(listed, list):
        raise Invalid("identifiers is a list", at="identifiers")
    found = [
        each for n, entry in enumerate(listed) for each in _identifiers(entry, f"identifiers[{n}]")
    ]
    return kind, found


def _identifiers(entry: Any, at: str) -> list[Json]:
    if not isinstance(entry, dict) or entry.keys() - _OF_IDENTIFIER:
        raise Invalid("an identifier has code, or system and value", at=at)
    if any(not isinstance(value, str) for value in entry.values()):
        raise Invalid("every member is text", at=at)
    more: Json = {}
    if entry.get("use"):
        more["use"] = entry["use"]
    period = {name: entry[name] for name in ("start", "end") if entry.get(name)}
    if period:
        more["period"] = period
    if entry.get("assigner"):
        more["assigner"] = {"display": entry["assigner"]}
    if entry.get("value"):
        system = {"system": entry["system"]} if entry.get("system") else {}
        return [{**system, "value": entry["value"], **more}]
    parsed = parse(entry.get("code", ""))
    if not parsed.valid:
        raise Invalid("the code cannot be read, or is not valid", at=f"{at}.code")
    return [{"system": system, "value": value, **more} for system, value in parsed.identifiers]


def _own_keys(identifiers: Sequence[Json]) -> Sequence[str]:
    """Return the keys that name one thing; of what only names models or lots, these keys."""
    found = [canonical_keys(each.get("system"), each["value"]) for each in identifiers]
    own = [key for keys in found for key in keys if not is_shared(key)]
    return own or [key for keys in found for key in keys[-1:]]


def _set_name(kind: Kind, resource: Json, name: Any) -> None:
    if not name:
        return
    if not isinstance(name, str):
        raise Invalid("a name is text", at="name")
    element, _, member = kind.name_at.partition(".")
    if not member:
        resource[element] = name
    elif element in ("deviceName", "name"):
        resource[element] = [{member: name, **kind.names}]
    else:
        resource[element] = {member: name}


def told(stored: Stored) -> Json:
    """Return a registered thing: kind, status, and its identifiers with key and validity."""
    resource = orjson.loads(stored.body)
    return {
        "resource": f"{stored.type}/{stored.id}",
        "kind": kind_of(resource),
        "status": _status(resource),
        "version": stored.version_id,
        "identifiers": [_told(each) for each in _listed(resource.get("identifier"))],
        "keys": list(identifier_keys(stored.type, resource)),
    }


def _status(resource: Mapping[str, Any]) -> str:
    status = resource.get("status")
    if isinstance(status, str):
        return status
    return "retired" if resource.get("active") is False else "active"


def _told(identifier: Mapping[str, Any]) -> Json:
    keys = canonical_keys(identifier.get("system"), str(identifier.get("value", "")))
    found = {
        "system": identifier.get("system"),
        "value": identifier.get("value"),
        "key": keys[-1] if keys else None,
        "use": identifier.get("use"),
        "assigner": (identifier.get("assigner") or {}).get("display"),
        **(identifier.get("period") or {}),
    }
    return {name: value for name, value in found.items() if value is not None}


def _listed(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)
