"""From one parameter of a search to a condition: a table of the parameter types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from app.errors import Invalid, NotSupported, UnknownParameter
from app.fhir import definitions, searchparams
from app.fhir.searchparams import Param
from app.store import keys
from app.store.search import (
    chain,
    composite,
    date,
    filter,
    near,
    number,
    reference,
    string,
    token,
    uri,
    words,
)
from app.store.search.conditions import (
    Any_,
    Condition,
    Keys,
    Not,
    Nothing,
    Pks,
    Row,
    Sql,
    one_of,
)
from app.store.search.context import Context
from app.store.search.parse import Name, alternatives, parse_name, unescape
from app.store.search.plan import list_pks

_LINKED_MAX = 1000  # resources linked to the owner of a compartment of the same type

Reader = Callable[[Context, Param, str | None, str], Condition]


def demand(
    context: Context, types: Sequence[str], text: str, value: str, *, own: bool = False
) -> Condition:
    """Return what `text=value` asks of resources of `types`. own: our modifiers are allowed too.

    What only the text says (a code, a day, a name; not what takes a look into the database, the
    time or terminology) is remembered: codes and days come again and again.

    Raises UnknownParameter, Invalid (a modifier or value that does not fit), NotSupported.
    """
    if own or len(types) != 1:
        return _demand(context, types, text, value, own=own)
    learned, outer = context.learned, context.varies
    written = (types[0], text, value, context.bases, searchparams.shared.generation)
    found = learned.conditions.get(written)
    if found is None:
        context.varies = False
        found = _demand(context, types, text, value)
        if not context.varies and not found.verifiers():
            learned.keep_condition(written, found)
        context.varies |= outer
    return found


def _demand(
    context: Context, types: Sequence[str], text: str, value: str, *, own: bool = False
) -> Condition:
    name = parse_name(text)
    if name.has is not None:
        return chain.reverse(context, types, name.has, name.rest or "", value, own=own)
    if name.code in _COMPUTED and name.rest is None:
        return _computed(context, types, name, value)
    found = [
        _of_param(context, param, name, value, own=own)
        for type_name in types
        if (param := searchparams.find(type_name, name.code)) is not None and not param.computed
    ]
    if len(found) < len(types) and (len(types) == 1 or not found):
        raise UnknownParameter("unknown search parameter", at=f"http.{name.code[:64]}")
    return found[0] if len(found) == 1 else Any_(found)


def inner(
    context: Context, type_name: str, text: str, value: str, *, own: bool = False
) -> Condition:
    """Return the condition of a chain's own parameter."""
    return demand(context, [type_name], text, value, own=own)


def in_compartment(context: Context, compartment: str, id_: str, type_name: str) -> Condition:
    """Return the condition of belonging to a compartment. Raises NotSupported."""
    links = definitions.compartment(compartment).get(type_name)
    if links is None and type_name == compartment:
        links = ()
    if links is None:
        raise NotSupported(f"{type_name} is not part of the {compartment} compartment")
    value = f"{compartment}/{id_}"
    found: list[int] = []
    for code in links:
        param = searchparams.find(type_name, code)
        if param is not None and param.type == "reference":
            condition = reference.condition(context, param, None, value)
            found += condition.keys if isinstance(condition, Keys) else ()
    linked = Keys(list(dict.fromkeys(found)))
    if type_name != compartment:
        return linked
    own = reference.pks_of(context, [compartment], [id_])
    return Pks([*own, *list_pks(context, type_name, [linked], _LINKED_MAX)])


def in_compartment_of_types(
    context: Context, compartment: str, id_: str, types: Sequence[str]
) -> Condition:
    """Return the condition of belonging to a compartment for a search over several types.

    The owner itself is left out, the only member without a key: the address names it already.
    """
    found: list[int] = []
    for type_name in types:
        if type_name != compartment and type_name in definitions.compartment(compartment):
            condition = in_compartment(context, compartment, id_, type_name)
            found += condition.keys if isinstance(condition, Keys) else ()
    return Keys(list(dict.fromkeys(found)))


def _of_param(
    context: Context, param: Param, name: Name, value: str, *, own: bool = False
) -> Condition:
    modifier = name.modifier
    if name.rest is not None:
        if modifier is not None and not definitions.is_resource_type(modifier):
            raise Invalid("the chain's modifier is no resource type", at=f"http.{name.code}")
        return chain.forward(context, param, modifier, name.rest, value, own=own)
    if modifier == "missing":
        return _missing(context, param, value)
    if modifier is not None and not (own and modifier in _OWN_MODIFIERS.get(param.type, ())):
        _require_modifier(param, modifier)
    if param.type == "composite":
        return composite.condition(context, param, value, _component)
    if not alternatives(value):
        return Row("1=1", [])
    reader = _READERS.get(param.type)
    if reader is None:
        raise NotSupported(f"the parameter {param.code} cannot be searched yet")
    return reader(context, param, modifier, value)


def _component(context: Context, param: Param, modifier: str | None, value: str) -> Condition:
    return _READERS[param.type](context, param, modifier, value)


def _require_modifier(param: Param, modifier: str) -> None:
    allowed = param.modifiers
    if modifier in allowed:
        return
    if "[type]" in allowed and definitions.is_resource_type(modifier):
        if modifier in reference.targets(param):
            return
        raise Invalid(f"{param.code} never leads to that type", at=f"http.{param.code}")
    raise Invalid(f"the modifier does not fit the parameter {param.code}", at=f"http.{param.code}")


def _missing(context: Context, param: Param, value: str) -> Condition:
    if value not in ("true", "false"):
        raise Invalid(":missing is true or false", at=f"http.{param.code}")
    if param.bit is None:
        present: Condition = Keys([keys.present(context.tenant, param.number)])
        return Not(present) if value == "true" else present
    test = "(@.have & ?) = 0" if value == "true" else "(@.have & ?) <> 0"
    return Row(test, [param.mask])


# --- parameters that every type has -------------------------------------------------------------


def _computed(context: Context, types: Sequence[str], name: Name, value: str) -> Condition:
    if name.modifier == "missing" and name.code in ("_id", "_lastUpdated"):
        return Row("1=0" if value == "true" else "1=1", [])
    if name.modifier == "not" and name.code == "_id":
        return Not(_by_id(context, types, value))
    if name.modifier is not None:
        raise Invalid(f"{name.code} takes no modifier", at=f"http.{name.code}")
    return _COMPUTED[name.code](context, types, value)


def _by_id(context: Context, types: Sequence[str], value: str) -> Condition:
    ids = [unescape(each).removeprefix(f"{types[0]}/") for each in alternatives(value)]
    if not ids:
        return Row("1=1", [])
    return Pks(reference.pks_of(context, types, ids))


def _by_last_updated(context: Context, types: Sequence[str], value: str) -> Condition:
    return date.last_updated(context, value)


def _by_text(context: Context, types: Sequence[str], value: str) -> Condition:
    return words.in_narrative(value)


def _by_content(context: Context, types: Sequence[str], value: str) -> Condition:
    return words.in_content(value)


def _by_filter(context: Context, types: Sequence[str], value: str) -> Condition:
    def compare(text: str, wanted: str) -> Condition:
        return demand(context, types, text, wanted, own=True)

    def type_of(path: str) -> str:
        code = path.split(".")[0].partition(":")[0]
        param = searchparams.find(types[0], code)
        rest = path.partition(".")[2]
        while param is not None and rest:
            code, _, rest = rest.partition(".")
            leads = [searchparams.find(t, code) for t in reference.targets(param)]
            param = next((lead for lead in leads if lead is not None), None)
        return param.type if param is not None else ""

    return filter.condition(value, compare, type_of)


def _by_list(context: Context, types: Sequence[str], value: str) -> Condition:
    """`_list`: the resources that a List names in its entries."""
    item = searchparams.params("List")["item"]
    ids = [unescape(each).removeprefix("List/") for each in alternatives(value)]
    lists = reference.pks_of(context, ["List"], ids)
    if not lists:
        return Nothing()
    sql = Sql(context.db)
    test, params = one_of(sql, "pk", lists)
    rows = context.db.all(f"SELECT body FROM res WHERE {test}", params)
    return Pks(chain.referred_by(context, "List", item, [row[0] for row in rows if row[0]]))


_COMPUTED: Mapping[str, Callable[[Context, Sequence[str], str], Condition]] = {
    "_id": _by_id,
    "_lastUpdated": _by_last_updated,
    "_list": _by_list,
    "_text": _by_text,
    "_content": _by_content,
    "_filter": _by_filter,
}

# What `_filter` may write beside the modifiers of R4.
_OWN_MODIFIERS: Mapping[str, frozenset[str]] = {
    "string": string.OWN_MODIFIERS,
    "date": date.OWN_MODIFIERS,
}

_READERS: Mapping[str, Reader] = {
    "token": token.condition,
    "string": string.condition,
    "reference": reference.condition,
    "uri": uri.condition,
    "date": date.condition,
    "number": number.number,
    "quantity": number.quantity,
    "special": near.condition,
}
