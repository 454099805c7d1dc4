"""Chains and `_has`: conditions on the resources at the other end of a reference.

R4 search.html#chaining, #has. Few targets become a list of exact keys; with many the rows are
walked in their order and each one's target is tested (a factor of 40 on SQLite).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from app.errors import Invalid, TooCostly
from app.fhir import definitions, searchparams
from app.fhir import json as fhir_json
from app.fhir.extract import extractor
from app.fhir.searchparams import Param
from app.fhir.searchpaths import Get
from app.store import keys
from app.store.entries import local_reference, owner_params, pair_params
from app.store.search import canonical
from app.store.search.conditions import (
    Any_,
    Condition,
    Keys,
    Nothing,
    OwnerIn,
    OwnerMeets,
    Pks,
    PointedAt,
    PointedAtPair,
)
from app.store.search.context import FREQUENT, Context, plain
from app.store.search.plan import list_owners, list_pks
from app.store.search.reference import all_of, targets
from app.store.unite import TYPE, with_merged

_EXPAND_MAX = 200  # targets that are turned into keys
_OWNERS_MAX = 3000  # patients that are listed rather than tested one by one
_TARGETS_MAX = 100_000
_CANONICAL_MAX = 1000  # resources that are read for the urls they have or name


def forward(
    context: Context, param: Param, modifier: str | None, rest: str, value: str, *, own: bool
) -> Condition:
    """Return the condition of `subject:Patient.name=x` on the resource that refers.

    own: at its end our modifiers are allowed too.
    Raises Invalid when no possible target has such a parameter.
    """
    if param.type != "reference":
        raise Invalid("only references can be chained", at=f"http.{param.code}")
    wanted = targets(param, modifier)
    head = rest.partition(".")[0].partition(":")[0]
    types = [t for t in wanted if head == "_has" or head in searchparams.params(t)]
    if not types:
        raise Invalid(f"no target of {param.code} has such a parameter", at=f"http.{param.code}")
    if context.inner is None:
        raise Invalid("chains cannot be used here", at=f"http.{param.code}")
    inners = [(t, context.inner(context, t, rest, value, own=own)) for t in types]
    return _either([_through(context, param, t, inner) for t, inner in inners])


def _either(found: Sequence[Condition]) -> Condition:
    """Return that one of the conditions holds: by keys that can be listed, where they are few."""
    met = [one for one in found if not isinstance(one, Nothing)]
    if len(met) < 2:
        return met[0] if met else Nothing()
    listed = [one.keys() if isinstance(one, OwnerIn) else one for one in met]
    together = [one for one in listed if isinstance(one, Keys) and one.verify is None]
    merged = [key for one in together for key in one.keys]
    if len(together) < len(met) or len(merged) > _EXPAND_MAX:
        return Any_(met)
    return Keys(merged, owner=all(one.owner for one in together))


def _through(context: Context, param: Param, target: str, inner: Condition) -> Condition:
    rows = plain(param)
    if param.is_canonical and not param.allows_bare_id:
        return canonical.referring(context, param, _bodies(context, target, inner))
    of_owner = len(rows) == 1 and target == "Patient" and decides_owner(rows[0])
    most = _OWNERS_MAX if of_owner else _EXPAND_MAX
    pks = list_pks(context, target, [inner], most + 1)
    if not pks:
        return Nothing()
    if target == TYPE:
        pks = with_merged(context.db, pks)
    if of_owner and len(pks) <= most:
        return OwnerIn(keys.reference(rows[0].number, 0), pks)
    if len(pks) <= _EXPAND_MAX:
        found = [keys.reference(row.number, pk) for row in rows for pk in pks]
        return Keys(found, owner=target == "Patient")
    if of_owner and not inner.verifiers():
        return OwnerMeets(keys.reference(rows[0].number, 0), [inner])
    pks = list_pks(context, target, [inner], _TARGETS_MAX + 1)
    if len(pks) > _TARGETS_MAX:
        raise TooCostly("the chain leads to too many resources", at=f"http.{param.code}")
    return Keys([keys.reference(row.number, pk) for row in rows for pk in pks])


def _bodies(context: Context, target: str, inner: Condition) -> list[bytes]:
    """Return the bodies of all that meets a condition. Raises TooCostly."""
    pks = list_pks(context, target, [inner], _CANONICAL_MAX + 1)
    if len(pks) > _CANONICAL_MAX:
        raise TooCostly("the chain leads to too many resources", at="http.query")
    rows = context.db.all(
        f"SELECT body FROM res WHERE {context.db.in_list('pk')}", (context.db.array(pks),)
    )
    return [row[0] for row in rows]


def reverse(
    context: Context,
    types: Sequence[str],
    has: tuple[str, str],
    rest: str,
    value: str,
    *,
    own: bool,
) -> Condition:
    """Return the condition of `_has:Observation:patient:code=x` on the resource referred to."""
    source, code = has
    if not definitions.is_resource_type(source):
        raise Invalid("_has names no resource type", at="http._has")
    param = searchparams.find(source, code)
    if param is None or param.type != "reference":
        raise Invalid("_has names no reference parameter", at="http._has")
    if not set(targets(param)) & set(types):
        raise Invalid(f"{source}.{code} does not lead here", at="http._has")
    if context.inner is None:
        raise Invalid("_has cannot be used here", at="http._has")
    inner = context.inner(context, source, rest, value, own=own)
    if param.is_canonical and not param.allows_bare_id:
        return Pks(_named(context, source, param, types, _bodies(context, source, inner)))
    rows = plain(param)
    bases = [keys.reference(row.number, 0) for row in rows]
    of_owner = len(rows) == 1 and list(types) == ["Patient"] and decides_owner(rows[0])
    if not _is_frequent(context, inner):
        pks = list_pks(context, source, [inner], FREQUENT)
        if len(pks) <= _EXPAND_MAX and of_owner and not inner.verifiers():
            return Pks(list_owners(context, source, [inner], bases[0]))
        if len(pks) <= _EXPAND_MAX or inner.verifiers():
            if len(pks) > _EXPAND_MAX:
                pks = list_pks(context, source, [inner], _TARGETS_MAX)
            return Pks(_referred(context, source, param, pks))
        if len(pks) == FREQUENT and isinstance(inner, Keys) and len(inner.keys) == 1:
            context.learned.keep_frequent(inner.keys[0])
    pair = pair_params(source)
    if of_owner and isinstance(inner, Keys) and pair == (rows[0].number, inner.param):
        return PointedAtPair(bases, [inner], context.tenant, rows[0].number, inner.keys)
    return PointedAt(bases, [inner])


def _is_frequent(context: Context, inner: Condition) -> bool:
    """Say whether it is known that more resources meet a condition than can be listed."""
    return (
        isinstance(inner, Keys)
        and len(inner.keys) == 1
        and inner.verify is None
        and inner.keys[0] in context.learned.frequent
    )


def decides_owner(param: Param) -> bool:
    """Say whether a patient that this parameter refers to is always the `s` of the resource.

    `s` is the first patient among the elements of the compartment, in the order of the definition;
    so this has to be the first of them, and an element that does not repeat.
    """
    return param.number == _deciding(param.resource_type)


@lru_cache(maxsize=256)
def _deciding(type_name: str) -> int:
    owners = owner_params(type_name)
    members = list(definitions.structure(type_name).shape.members)
    places = [
        (members.index(step.name) if isinstance(step, Get) else -1, param)
        for param in searchparams.params(type_name).values()
        if param.number in owners
        for step in (location.steps[0] for location in param.locations)
    ]
    if not places:
        return 0
    _, first = min(places, key=lambda each: each[0])
    alone = all(
        len(location.steps) == 1 and isinstance(step := location.steps[0], Get) and not step.many
        for location in first.locations
    )
    return first.number if alone and len(first.locations) == 1 else 0


def _named(
    context: Context, source: str, param: Param, types: Sequence[str], bodies: Sequence[bytes]
) -> list[int]:
    """Return the pks of the resources of `types` whose canonical url these refer to."""
    numbers = {row.number for row in plain(param)}
    urls = {
        url
        for body in bodies
        for number, url in extractor(source)(fhir_json.load(body), context.zone).canonicals
        if number in numbers
    }
    owned = [searchparams.find(t, "url") for t in types if t in targets(param)]
    by_url = [each for each in owned if each is not None]
    return [pk for url in sorted(urls) for pk, _, _ in canonical.named(context, url, by_url)]


def _referred(context: Context, source: str, param: Param, pks: Sequence[int]) -> list[int]:
    """Return the pks that resources of one type refer to by a parameter."""
    if not pks:
        return []
    db = context.db
    rows = db.all(f"SELECT body FROM res WHERE {db.in_list('pk')}", (db.array(pks),))
    return referred_by(context, source, param, [row[0] for row in rows])


def referred_by(context: Context, source: str, param: Param, bodies: Sequence[bytes]) -> list[int]:
    """Return the pks that these resources refer to by a parameter, as far as they are known."""
    numbers = {row.number for row in plain(param)}
    allowed = set(targets(param))
    wanted: dict[str, set[str]] = {}
    for body in bodies:
        values = extractor(source)(fhir_json.load(body), context.zone)
        for number, text, _ in values.references:
            local = local_reference(text, context.bases) if number in numbers else None
            if local is not None and local[0] in allowed:
                wanted.setdefault(local[0], set()).add(local[1])
    return [pk for t, ids in wanted.items() for pk in all_of(context, [t], sorted(ids))]
