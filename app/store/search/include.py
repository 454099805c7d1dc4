"""`_include` and `_revinclude`, with `:iterate` and wildcards. R4 search.html#revinclude.

What a reference with a version leads to is included in that version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import tzinfo
from functools import lru_cache
from typing import Any, NamedTuple

from app.errors import Invalid, NotFound, TooCostly, UnknownParameter
from app.fhir import definitions, searchparams
from app.fhir import json as fhir_json
from app.fhir.extract import compiled_for
from app.fhir.searchparams import Param
from app.store import keys
from app.store.entries import local_reference
from app.store.read import current, vread
from app.store.search import canonical
from app.store.search.conditions import Sql, one_of
from app.store.search.context import Context, plain
from app.store.search.glance import References
from app.store.search.glance import reader as glancing
from app.store.search.reference import pks_of, targets
from app.store.types import Stored
from app.store.unite import TYPE, with_merged

_INCLUDE_MAX = 10_000
_ROW = "pk,type,id,vid,lu,method,body"
# What references and what canonical urls, (parameter number, as written), a body has.
_Reader = Callable[[bytes, tzinfo], tuple[References, Sequence[tuple[int, str]]]]


@dataclass(frozen=True, slots=True)
class Wish:
    """One `_include` or `_revinclude`. source "*": any type; code "*": any reference."""

    source: str
    code: str
    target: str | None
    reverse: bool
    iterate: bool


class Found(NamedTuple):
    """A resource in hand with its pk."""

    pk: int
    stored: Stored

    @property
    def version(self) -> tuple[int, int]:
        return self.pk, self.stored.version_id


def parse(name: str, value: str) -> Wish:
    """Return the wish of `_include[:iterate]=Source:param[:Target]`.

    Raises UnknownParameter, Invalid.
    """
    code, _, modifier = name.partition(":")
    if modifier not in ("", "iterate", "recurse"):
        raise Invalid(f"{code} takes only the modifier :iterate", at=f"http.{code}")
    iterate, reverse = bool(modifier), code == "_revinclude"
    if value == "*":
        return Wish("*", "*", None, reverse, iterate)
    source, _, rest = value.partition(":")
    parameter, _, target = rest.partition(":")
    if not definitions.is_resource_type(source) or not parameter:
        raise Invalid(f"{code} needs Type:parameter", at=f"http.{code}")
    if target and not definitions.is_resource_type(target):
        raise Invalid(f"{code} names no resource type as target", at=f"http.{code}")
    if parameter != "*":
        param = searchparams.find(source, parameter)
        if param is None or param.type != "reference":
            raise UnknownParameter(f"{code} names no reference parameter", at=f"http.{code}")
    return Wish(source, parameter, target or None, reverse, iterate)


def collect(context: Context, matches: Sequence[Found], wishes: Sequence[Wish]) -> list[Stored]:
    """Return every included version once, none that is a match. Raises TooCostly."""
    seen = {found.version for found in matches}
    included: list[Found] = []
    fresh: Sequence[Found] = matches
    first = True
    while fresh and wishes:
        found: dict[tuple[int, int], Found] = {}
        for wish in wishes:
            if first or wish.iterate:
                more = (
                    _reverse(context, fresh, wish)
                    if wish.reverse
                    else _forward(context, fresh, wish)
                )
                found.update({each.version: each for each in more if each.version not in seen})
        fresh = list(found.values())
        seen.update(found)
        included += fresh
        if len(included) > _INCLUDE_MAX:
            raise TooCostly("more resources are included than one page may hold")
        first = False
    return [each.stored for each in included]


def fetch(context: Context, pks: Sequence[int]) -> list[Found]:
    """Return the existing resources of these pks, in their order."""
    if not pks:
        return []
    sql = Sql(context.db)
    test, params = one_of(sql, "pk", list(pks))
    rows = context.db.all(
        f"SELECT {_ROW} FROM res WHERE {test} AND method IN (0,1)",
        params,
    )
    by_pk = {row[0]: _found(row) for row in rows}
    return [by_pk[pk] for pk in pks if pk in by_pk]


def _found(row: Sequence[Any]) -> Found:
    return Found(row[0], current(row[1], row[2:]))


def _forward(context: Context, sources: Sequence[Found], wish: Wish) -> list[Found]:
    wanted: dict[tuple[str, str], None] = {}
    versions: dict[tuple[str, str, str], None] = {}
    for type_name in dict.fromkeys(source.stored.type for source in sources):
        if wish.source not in ("*", type_name):
            continue
        allowed = {
            row.number: set(targets(p)) for p in _params(type_name, wish.code) for row in plain(p)
        }
        read = _reader(type_name, wish.code, searchparams.shared.generation)
        for source in sources:
            if source.stored.type != type_name:
                continue
            references, canonicals = read(source.stored.body, context.zone)
            for number, text in references:
                local = local_reference(text, context.bases)
                if (
                    local is not None
                    and local[0] in allowed.get(number, ())
                    and wish.target in (None, local[0])
                ):
                    _, _, version = text.partition("/_history/")
                    if version:
                        versions[*local, version] = None
                    else:
                        wanted[local] = None
            if canonicals:
                wanted.update(_canonical(context, canonicals, allowed, wish))
    found = _by_names(context, list(wanted))
    return found + _by_versions(context, list(versions)) if versions else found


@lru_cache(maxsize=256)
def _reader(type_name: str, code: str, generation: int) -> _Reader:
    """Return what reads these references from a body, and canonical urls."""
    params = [row for p in _params(type_name, code) for row in plain(p)]
    glance = glancing(params)
    if glance is not None:
        return lambda body, zone: (glance(body), ())
    extract = compiled_for(type_name, params)  # a tenth of the cost of all values

    def read(body: bytes, zone: tzinfo) -> tuple[References, Sequence[tuple[int, str]]]:
        values = extract(fhir_json.load(body), zone)
        return [(number, text) for number, text, _ in values.references], values.canonicals

    return read


def _canonical(
    context: Context,
    canonicals: Sequence[tuple[int, str]],
    allowed: dict[int, set[str]],
    wish: Wish,
) -> dict[tuple[str, str], None]:
    """Return the local resources that canonical urls of the wanted parameters name."""
    found: dict[tuple[str, str], None] = {}
    for number, url in canonicals:
        owned = [
            searchparams.find(target, "url")
            for target in sorted(allowed.get(number, ()))
            if wish.target in (None, target)
        ]
        by_url = [param for param in owned if param is not None]
        for _, param, id_ in canonical.named(context, url, by_url):
            found[param.resource_type, id_] = None
    return found


def _reverse(context: Context, found: Sequence[Found], wish: Wish) -> list[Found]:
    sources = definitions.resource_types() if wish.source == "*" else [wish.source]
    wanted: list[int] = []
    named: list[tuple[Param, list[Found]]] = []
    for source in sources:
        for param in _params(source, wish.code):
            allowed = set(targets(param))
            if param.is_canonical and not param.allows_bare_id:
                owners = [
                    each
                    for each in found
                    if each.stored.type in allowed and wish.target in (None, each.stored.type)
                ]
                if owners:
                    named.append((param, owners))
                continue
            pks = [
                each.pk
                for each in found
                if each.stored.type in allowed and wish.target in (None, each.stored.type)
            ]
            if TYPE in allowed and any(each.stored.type == TYPE for each in found):
                pks = with_merged(context.db, pks)
            wanted += [keys.reference(row.number, pk) for row in plain(param) for pk in pks]
    by_url = [each for param, owners in named for each in _naming(context, param, owners)]
    return [*_with_keys(context, wanted), *by_url]


def _naming(context: Context, param: Param, owners: Sequence[Found]) -> list[Found]:
    """Return what refers by a parameter to the canonical urls of these."""
    names = {name for each in owners for name in canonical.names_of(each.stored.body)}
    found = _with_keys(
        context,
        [keys.uri(context.tenant, row.number, n) for row in plain(param) for n in sorted(names)],
    )
    return [
        each
        for each in found
        if canonical.names_one_of(
            context, each.stored.type, fhir_json.load(each.stored.body), param, names
        )
    ]


def _with_keys(context: Context, wanted: Sequence[int]) -> list[Found]:
    """Return the resources that have one of these keys in `ix`."""
    if not wanted:
        return []
    sql = Sql(context.db)
    test, params = one_of(sql, "k", wanted)
    rows = context.db.all(
        f"SELECT DISTINCT pk FROM ix WHERE {test} ORDER BY pk LIMIT ?",
        (*params, _INCLUDE_MAX + 1),
    )
    return fetch(context, [row[0] for row in rows])


def _params(type_name: str, code: str) -> list[Param]:
    if code == "*":
        return [p for p in searchparams.params(type_name).values() if p.type == "reference"]
    param = searchparams.find(type_name, code)
    return [param] if param is not None else []


def _by_names(context: Context, names: Sequence[tuple[str, str]]) -> list[Found]:
    by_type: dict[str, list[str]] = {}
    for type_name, id_ in names:
        by_type.setdefault(type_name, []).append(id_)
    found: list[Found] = []
    for type_name, ids in by_type.items():
        sql = Sql(context.db)
        test, params = one_of(sql, "id", ids)
        rows = context.db.all(
            f"SELECT {_ROW} FROM res WHERE tenant=? AND type=? AND {test} AND method IN (0,1)",
            (context.tenant, definitions.type_number(type_name), *params),
        )
        found += [_found(row) for row in rows]
    return found


def _by_versions(context: Context, names: Sequence[tuple[str, str, str]]) -> list[Found]:
    """Return the versions (type, id, version id) that are there and no deletions."""
    found: list[Found] = []
    for type_name, id_, version_id in names:
        with suppress(NotFound):
            stored = vread(context.db, context.tenant, type_name, id_, version_id)
            if not stored.deleted:
                (pk,) = pks_of(context, [type_name], [id_])
                found.append(Found(pk, stored))
    return found
