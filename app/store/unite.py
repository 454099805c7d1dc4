"""One thing, one resource: what is found to be the same when a write names several of its numbers.

A rule (`Unite`; the registry's for Devices) says which keys name one thing and who contradicts
whom. In the transaction that writes such a resource, those that carry the same keys are merged into
it. What refers to a merged one is left as it is: whoever looks for what refers to a resource looks
for all that are one with it (`with_merged`), so a merge costs the same however much a device sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from app.fhir import definitions
from app.store import keys
from app.store.database import POSTGRESQL, Connection
from app.store.types import Change, Method

MERGED = 24  # number of the link `merged-into` (mappings/links.yaml)
TYPE = "Device"  # the one type whose merged resources are looked for with the one they are now
_MOST = 50  # resources that may be found to be one at once

Json = dict[str, Any]


class Unite(Protocol):
    """Knows when resources of a type are one thing."""

    @property
    def type(self) -> str: ...

    def uniting(self, resource: Mapping[str, Any]) -> Sequence[str]:
        """Return the canonical keys that make whatever carries one of them the same thing."""
        ...

    def apart(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Say whether two resources contradict each other."""
        ...

    def merged_into(self, resource: Mapping[str, Any]) -> str | None:
        """Return the id of the resource that this one was merged into."""
        ...

    def united(self, stays: Mapping[str, Any], goes: Mapping[str, Any]) -> tuple[Json, Json]:
        """Return the one that stays with all that is known, and what is left of the other."""
        ...


_encode = msgspec.json.Encoder(decimal_format="number").encode


def read(body: bytes) -> Json:
    """Return a stored resource; its numbers keep their digits."""
    resource: Json = json.loads(body, parse_float=Decimal)
    return resource


def numbers_of(rule: Unite, tenant: int, resource: Json) -> set[int]:
    """Return the keys in `ident` that make others one with a resource."""
    return {keys.canonical(tenant, key) for key in rule.uniting(resource)}


def lock(db: Connection, numbers: Iterable[int]) -> None:
    """Let nobody else write what carries one of these keys before this transaction ends."""
    if db.dialect == POSTGRESQL:
        db.all("SELECT pg_advisory_xact_lock(k) FROM unnest(?::int8[]) AS k", (sorted(numbers),))


def holders(
    db: Connection, tenant: int, type_name: str, numbers: Iterable[int], but: str
) -> list[str]:
    """Return the ids of the other resources of a type that carry one of these keys."""
    rows = db.all(
        f"SELECT DISTINCT res.pk,res.id FROM ident JOIN res ON res.pk=ident.pk"
        f" WHERE {db.in_list('ident.k')} AND res.tenant=? AND res.type=? AND res.id<>?"
        " AND res.method IN (0,1) ORDER BY res.pk LIMIT ?",
        (db.array(list(numbers)), tenant, definitions.type_number(type_name), but, _MOST + 1),
    )
    return [] if len(rows) > _MOST else [row[1] for row in rows]


def same_thing(rule: Unite, written: Json, others: Sequence[Json]) -> list[Json]:
    """Return those of the others that are one with what was written.

    A key that stands on things which contradict each other says nothing; and when those that are
    left contradict each other, none of them is taken.
    """
    known = [written, *others]
    shared: dict[str, list[Json]] = {}
    for each in known:
        for key in rule.uniting(each):
            shared.setdefault(key, []).append(each)
    found: dict[str, Json] = {}
    for key in rule.uniting(written):
        if not _contradict(rule, shared[key]):
            found.update({each["id"]: each for each in shared[key] if each is not written})
    same = list(found.values())
    return [] if _contradict(rule, [written, *same]) else same


def merges(
    rule: Unite, written: Json, same: Sequence[Json], merged_before: Sequence[Json]
) -> list[Change]:
    """Return the changes that make one resource of several.

    merged_before: what was merged into those that are merged now; it follows them.
    """
    stays = written
    left: list[Json] = []
    for each in same:
        stays, gone = rule.united(stays, each)
        left.append(gone)
    left += [rule.united(written, each)[1] for each in merged_before]
    return [Change(Method.UPDATE, rule.type, each["id"], _encode(each)) for each in (stays, *left)]


def _contradict(rule: Unite, resources: Sequence[Json]) -> bool:
    return any(
        rule.apart(one, other) for n, one in enumerate(resources) for other in resources[n + 1 :]
    )


def merged_here(db: Connection, pks: Sequence[int]) -> list[str]:
    """Return the ids of the resources that were merged into these."""
    rows = db.all(
        f"SELECT res.id FROM link JOIN res ON res.pk=link.f WHERE {db.in_list('link.t')}"
        f" AND link.kind={MERGED} AND link.src=link.f AND res.method IN (0,1) ORDER BY res.pk",
        (db.array(list(pks)),),
    )
    return [row[0] for row in rows]


def with_merged(db: Connection, pks: Sequence[int]) -> list[int]:
    """Return these pks and those of all resources that are one with them."""
    if not pks:
        return []
    stays, merged = db.in_list("t"), db.in_list("f")
    bound = db.array(list(pks))
    rows = db.all(
        f"SELECT f FROM link WHERE {stays} AND kind={MERGED} AND src=f"
        f" UNION SELECT t FROM link WHERE {merged} AND kind={MERGED} AND src=f"
        " UNION SELECT o.f FROM link m JOIN link o ON o.t=m.t"
        f" WHERE {db.in_list('m.f')} AND m.kind={MERGED} AND m.src=m.f"
        f" AND o.kind={MERGED} AND o.src=o.f",
        (bound, bound, bound),
    )
    return list(dict.fromkeys([*pks, *(row[0] for row in rows)]))
