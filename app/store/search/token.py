"""Token parameters: coded values, identifiers, booleans. R4 search.html#token."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.errors import Invalid, NotFound, NotSupported, TooCostly
from app.fhir import definitions
from app.fhir import json as fhir_json
from app.fhir.extract import extractor, systems_of_binding
from app.fhir.searchparams import Param
from app.fhir.strings import fold
from app.store import keys
from app.store.entries import local_reference
from app.store.search.conditions import Condition, Keys, Not, Verify
from app.store.search.context import Context, plain
from app.store.search.parse import alternatives, split, token_parts, unescape

_CODED = frozenset({"Coding", "CodeableConcept", "code"})
_IDENTIFIER = "Identifier"
_SEEN_MAX = 20_000  # codes of one parameter that are asked one by one


def condition(context: Context, param: Param, modifier: str | None, value: str) -> Condition:
    """Return what a token parameter asks for. Raises Invalid, NotSupported."""
    if modifier == "text":
        return _text(context, param, value)
    if modifier == "of-type":
        return Keys([key for v in alternatives(value) for key in _of_type(context, param, v)])
    if modifier in ("in", "not-in", "above", "below"):
        try:
            named = [
                k for v in alternatives(value) for k in _by_terminology(context, param, modifier, v)
            ]
        except NotFound as exc:  # of the search it is a bad value: there is something to search
            raise Invalid(str(exc), at=f"http.{param.code}", code="not-found") from exc
        found: Condition = Keys(list(dict.fromkeys(named)))
        return Not(found) if modifier == "not-in" else found
    wanted = [key for v in alternatives(value) for key in keys_of(context, param, v)]
    found = Keys(list(dict.fromkeys(wanted)), param=param.number)
    return Not(found) if modifier == "not" else found


def keys_of(context: Context, param: Param, value: str) -> list[int]:
    """Return the index keys of one value: `s|c`, `c`, `|c` or `s|`."""
    system, code = token_parts(value)
    if system is None and code is None:
        return []
    return [key for row in plain(param) for key in _keys(context, row, system, code)]


def _keys(context: Context, param: Param, system: str | None, code: str | None) -> list[int]:
    kinds = param.datatypes
    found: list[int] = []
    if kinds & _CODED:
        found += _coded(context, param, system, code)
    if kinds - _CODED - {_IDENTIFIER} and code is not None and not system:
        found.append(keys.token(context.tenant, param.number, None, code))
    if _IDENTIFIER in kinds:
        found += _identifiers(context, param, system, code)
    return list(dict.fromkeys(found))


def _coded(context: Context, param: Param, system: str | None, code: str | None) -> list[int]:
    if system is not None and code is not None:
        return [keys.token(context.tenant, param.number, system or None, code)]
    if code is not None and (known := _bound(param)) is not None:
        return [keys.token(context.tenant, param.number, each, code) for each in known]
    scope = context.scope(param)
    if code is not None:
        rows = context.db.all("SELECT k FROM code WHERE p=? AND code=?", (scope, code.casefold()))
    else:
        rows = context.db.all("SELECT k FROM code WHERE p=? AND system=?", (scope, system))
    return [row[0] for row in rows if row[0]]


def _bound(param: Param) -> Sequence[str | None] | None:
    """Return the systems of a parameter of `code` elements, whose bindings say them.

    None when it has other elements, or a binding of several systems: then the codes seen say it.
    """
    found: dict[str | None, None] = {}
    for location in param.locations:
        systems = systems_of_binding(location.value_set) if location.value_set else None
        if location.type != "code" or not (systems is None or isinstance(systems, str)):
            return None
        found[systems] = None
    return list(found) or None


def _identifiers(
    context: Context, param: Param, system: str | None, value: str | None
) -> list[int]:
    tenant, number = context.tenant, param.number
    systems = identifier_systems(context, param, system)
    if value is None:
        return [keys.identifier_system(tenant, number, each) for each in systems]
    return [keys.identifier(tenant, number, each or None, value) for each in systems]


def identifier_systems(context: Context, param: Param, system: str | None) -> Sequence[str]:
    """Return the systems that a search for identifiers means; "" stands for none.

    system: None for any: those are meant that were seen with the parameter.
    """
    if system is None:
        rows = context.db.all(
            "SELECT system FROM code WHERE p=? AND code='' AND k=0", (context.scope(param),)
        )
        return [row[0] for row in rows]
    return context.same_systems(system) if system else [""]


def _of_type(context: Context, param: Param, value: str) -> list[int]:
    parts = [unescape(part) for part in split(value, "|")]
    if len(parts) != 3 or not all(parts[1:]):
        raise Invalid(":of-type needs system|code|value", at=f"http.{param.code}")
    system, code, identifier = parts
    return [
        keys.identifier_type(context.tenant, row.number, system or None, code, identifier)
        for row in plain(param)
    ]


def _by_terminology(context: Context, param: Param, modifier: str, value: str) -> list[int]:
    """Return the keys of the codes that a value set or a hierarchy names.

    Where those are too many to list, the codes that were ever seen here are asked one by one.
    """
    codes = context.codes
    if codes is None:
        raise NotSupported(f"the modifier :{modifier} needs the terminology service")
    if modifier in ("in", "not-in"):
        url = _value_set_url(context, unescape(value))
        try:
            return _listed(context, param, codes.of_value_set(url))
        except TooCostly:
            return _seen(context, param, None, codes.in_value_set(url))
    system, code = token_parts(value)
    if not system or code is None:
        raise Invalid(f":{modifier} needs system|code", at=f"http.{param.code}")
    above = modifier == "above"
    try:
        related = codes.related(system, code, above=above)
    except TooCostly:
        is_related = codes.is_related(system, code, above=above)
        return _seen(context, param, system, lambda _, each: is_related(each))
    return _listed(context, param, [(system, each) for each in related])


def _value_set_url(context: Context, text: str) -> str:
    """Return the canonical url of a value set that may be named as a resource of this server."""
    local = local_reference(text, context.bases)
    if local is None or local[0] != "ValueSet":
        return text
    row = context.db.one(
        "SELECT body FROM res WHERE tenant=? AND type=? AND id=? AND method IN (0,1)",
        (context.tenant, definitions.type_number(local[0]), local[1]),
    )
    url = fhir_json.load(row[0]).get("url") if row else None
    return url if isinstance(url, str) else text


def _listed(context: Context, param: Param, concepts: Sequence[tuple[str, str]]) -> list[int]:
    return [
        keys.token(context.tenant, row.number, system, code)
        for row in plain(param)
        for system, code in concepts
    ]


def _seen(
    context: Context, param: Param, system: str | None, fits: Callable[[str, str], bool]
) -> list[int]:
    """Return the keys of the codes seen with a parameter that fit. Raises TooCostly."""
    found: list[int] = []
    of_system = "" if system is None else " AND system=?"
    for row in plain(param):
        bound = [context.scope(row), *([] if system is None else [system]), _SEEN_MAX + 1]
        seen = context.db.all(
            f"SELECT system,code,k FROM code WHERE p=?{of_system} AND k<>0 LIMIT ?", bound
        )
        if len(seen) > _SEEN_MAX:
            raise TooCostly("There are too many codes to look through", code="too-costly")
        found += [key for its, code, key in seen if fits(its, code)]
    return found


def _text(context: Context, param: Param, value: str) -> Condition:
    """`:text`: displays seen with a code name the candidates, the resource's own texts decide."""
    wanted = [fold(unescape(each)) for each in alternatives(value)]
    rows = plain(param)
    found: set[int] = set()
    for row in rows:
        for text in wanted:
            found.update(
                each[0]
                for each in context.db.all(
                    "SELECT k FROM txt WHERE p=? AND v>=? AND v<?",
                    (context.scope(row), text, text + "\U0010ffff"),
                )
            )
    return Keys(sorted(found), verify=_has_text(context, {row.number for row in rows}, wanted))


def _has_text(context: Context, numbers: set[int], wanted: list[str]) -> Verify:
    def verify(type_name: str, resource: Mapping[str, Any]) -> bool:
        texts = extractor(type_name)(resource, context.zone).texts
        return any(
            entry[0] in numbers and fold(entry[-1]).startswith(text)
            for entry in texts
            for text in wanted
        )

    return verify
