"""The tree of OIDs: who holds an arc, what lies above and below. X.660; R4 namingsystem.html.

An arc is registered as a NamingSystem, so that identifiers, terminology and this tree share one
registry. Whoever holds an arc gives out those below it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson

from app.errors import Conflict, Invalid
from app.registry.parse import parse
from app.store.types import Change, Method, Outcome, SearchPage, SearchRequest, Stored

Json = dict[str, Any]

_BELOW = 200  # arcs below one that are told
_KINDS = ("root", "identifier", "codesystem")
_MEMBERS = frozenset({"oid", "name", "responsible", "uri", "kind"})


class Store(Protocol):
    """What the tree needs of a store."""

    def search(self, request: SearchRequest) -> SearchPage: ...

    def commit(self, changes: Sequence[Change]) -> list[Outcome]: ...


def dotted(text: str) -> str:
    """Return an OID in any notation as dotted decimals. Raises Invalid."""
    parsed = parse(text, as_="oid")
    if not parsed.valid or not (parsed.canonical or "").startswith("oid:"):
        raise Invalid("this is no OID", at="oid")
    return str(parsed.canonical).removeprefix("oid:")


def register(store: Store, row: Any, today: str) -> Outcome:
    """Register an arc, or say anew who holds it. Raises Invalid.

    row: `oid`, `name`, and if there are any `responsible`, `uri` (the same system as a URI),
    `kind` (root: an arc that others lie below; identifier; codesystem).
    """
    if not isinstance(row, dict) or row.keys() - _MEMBERS:
        raise Invalid(f"an arc has {', '.join(sorted(_MEMBERS))}", code="structure")
    if any(not isinstance(value, str) or not value for value in row.values()):
        raise Invalid("every member is text")
    if "oid" not in row or "name" not in row:
        raise Invalid("an arc has an oid and a name", code="required")
    kind = row.get("kind", "root")
    if kind not in _KINDS:
        raise Invalid(f"kind is one of {', '.join(_KINDS)}", at="kind", code="code-invalid")
    oid = dotted(row["oid"])
    unique: list[Json] = [{"type": "oid", "value": oid}]
    if row.get("uri"):
        unique.append({"type": "uri", "value": row["uri"], "preferred": True})
    naming = {
        "resourceType": "NamingSystem",
        "name": row["name"],
        "status": "active",
        "kind": kind,
        "date": today,
        "uniqueId": unique,
    }
    if row.get("responsible"):
        naming["responsible"] = row["responsible"]
    held = [each for each in _with(store, [oid]) if oid in _oids(each)]
    if len(held) > 1:
        raise Conflict("several NamingSystems hold this OID", code="duplicate")
    if held:
        id_, tag = held[0].id, str(held[0].version_id)
        body = orjson.dumps({**orjson.loads(held[0].body), **naming, "id": id_})
        change = Change(Method.UPDATE, "NamingSystem", id_, body, if_match=(tag,))
    else:
        change = Change(Method.CREATE, "NamingSystem", body=orjson.dumps(naming))
    return store.commit([change])[0]


def told(store: Store, oid: str) -> Json | None:
    """Return what is known of an OID, what holds the arcs above and below; None for nothing."""
    arcs = oid.split(".")
    above = [".".join(arcs[:n]) for n in range(1, len(arcs))]
    found = {name: each for each in _with(store, [*above, oid]) for name in _oids(each)}
    page = store.search(
        SearchRequest("NamingSystem", [("value", f"{oid}."), ("_count", str(_BELOW))])
    )
    below = {
        name: each for each in page.matches for name in _oids(each) if name.startswith(f"{oid}.")
    }
    if oid not in found and not below and not any(name in found for name in above):
        return None
    told: Json = {
        "oid": oid,
        "urn": f"urn:oid:{oid}",
        "registered": oid in found,
        "parents": [_arc(name, found[name]) for name in above if name in found],
        "children": [
            _arc(name, below[name])
            for name in sorted(below, key=_arcs)
            if not any(name.startswith(f"{other}.") for other in below)
        ],
        "more": page.next is not None,
    }
    if oid in found:
        told |= _arc(oid, found[oid]) | {"namingSystem": orjson.loads(found[oid].body)}
    return told


def _with(store: Store, oids: Sequence[str]) -> Sequence[Stored]:
    if not oids:
        return ()
    wanted = ",".join(oids)
    return store.search(
        SearchRequest("NamingSystem", [("value:exact", wanted), ("_count", "200")])
    ).matches


def _oids(stored: Stored) -> list[str]:
    naming = orjson.loads(stored.body)
    return [
        each["value"].removeprefix("urn:oid:")
        for each in naming.get("uniqueId") or ()
        if each.get("type") == "oid" and isinstance(each.get("value"), str)
    ]


def _arc(oid: str, stored: Stored) -> Json:
    naming: Mapping[str, Any] = orjson.loads(stored.body)
    found = {
        "oid": oid,
        "name": naming.get("name"),
        "responsible": naming.get("responsible"),
        "kind": naming.get("kind"),
        "resource": f"NamingSystem/{stored.id}",
    }
    return {name: value for name, value in found.items() if value is not None}


def _arcs(oid: str) -> list[int]:
    return [int(arc) for arc in oid.split(".")]
