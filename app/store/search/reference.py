"""Reference parameters: `id`, `Type/id`, urls, `:Type`, `:identifier`. R4 search.html#reference."""

from __future__ import annotations

from collections.abc import Sequence

from app.errors import Invalid
from app.fhir import definitions
from app.fhir.searchparams import Param
from app.store import keys
from app.store.entries import local_reference
from app.store.search.conditions import Condition, Keys, Sql, one_of
from app.store.search.context import Context, plain
from app.store.search.parse import alternatives, token_parts, unescape
from app.store.search.token import identifier_systems
from app.store.unite import TYPE, with_merged


def condition(context: Context, param: Param, modifier: str | None, value: str) -> Condition:
    """Return what a reference parameter asks for. Raises Invalid."""
    if modifier == "identifier":
        return Keys(_by_identifier(context, param, value))
    found: list[int] = []
    for each in alternatives(value):
        found += _keys(context, param, modifier, unescape(each))
    owner = list(targets(param, modifier)) == ["Patient"] or all(
        each.startswith("Patient/") for each in alternatives(value)
    )
    return Keys(list(dict.fromkeys(found)), owner=owner)


def targets(param: Param, modifier: str | None = None) -> Sequence[str]:
    """Return the resource types a parameter may lead to, narrowed by a `:Type` modifier."""
    if modifier is not None:
        return [modifier]
    if param.narrows is not None:
        return [param.narrows[1]]
    return param.targets or definitions.resource_types()


def pks_of(context: Context, types: Sequence[str], ids: Sequence[str]) -> list[int]:
    """Return the pks of those resources (or of what is referred to as such) that are known."""
    one = (types[0], ids[0]) if len(types) == len(ids) == 1 else None
    if one is not None and (known := context.learned.pks.get(one)):
        return [known]
    sql = Sql(context.db)
    type_test, type_params = one_of(sql, "type", [definitions.type_number(t) for t in types])
    id_test, id_params = one_of(sql, "id", list(ids))
    rows = context.db.all(
        f"SELECT pk FROM res WHERE tenant=? AND {type_test} AND {id_test}",
        (context.tenant, *type_params, *id_params),
    )
    if one is not None and rows:
        context.learned.keep_pk(one, rows[0][0])
    return [row[0] for row in rows]


def all_of(context: Context, types: Sequence[str], ids: Sequence[str]) -> list[int]:
    """Return the pks as `pks_of`, and those of what is one with them."""
    pks = pks_of(context, types, ids)
    return with_merged(context.db, pks) if TYPE in types else pks


def _keys(context: Context, param: Param, modifier: str | None, text: str) -> list[int]:
    rows = plain(param)
    allowed = targets(param, modifier)
    local = local_reference(text, context.bases)
    if local is not None and (not param.is_canonical or "Reference" in param.datatypes):
        if local[0] not in allowed:
            return []
        found = all_of(context, [local[0]], [local[1]])
        return [keys.reference(row.number, pk) for row in rows for pk in found]
    result: list[int] = []
    if param.allows_bare_id and "/" not in text and ":" not in text:
        if text:
            found = all_of(context, allowed, [text])
            result += [keys.reference(row.number, pk) for row in rows for pk in found]
        if not param.is_canonical:
            return result
    return result + [keys.uri(context.tenant, row.number, text) for row in rows]


def _by_identifier(context: Context, param: Param, value: str) -> list[int]:
    found = []
    for text in alternatives(value):
        system, code = token_parts(text)
        if code is None:
            raise Invalid(":identifier needs a value", at=f"http.{param.code}")
        found += [
            keys.reference_identifier(context.tenant, row.number, each or None, code)
            for row in plain(param)
            for each in identifier_systems(context, row, system)
        ]
    return found
