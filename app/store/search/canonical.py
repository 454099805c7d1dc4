"""References by canonical url, from the side of the url. R4 references.html#canonical.

The index holds them under the url with and without its version: what it finds are candidates, for
`url|2` does not mean the resource whose version is 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.fhir import json as fhir_json
from app.fhir.extract import extractor
from app.fhir.searchparams import Param
from app.store import keys
from app.store.search.conditions import Condition, Keys, Nothing
from app.store.search.context import Context, plain


def names_of(body: bytes) -> tuple[str, ...]:
    """Return what canonical references to a resource say: its url, alone and with its version."""
    resource = fhir_json.load(body)
    url, version = resource.get("url"), resource.get("version")
    if not isinstance(url, str):
        return ()
    return (url, f"{url}|{version}") if isinstance(version, str) else (url,)


def referring(context: Context, param: Param, bodies: Iterable[bytes]) -> Condition:
    """Return the condition of referring to one of these resources by a parameter."""
    names = {name for body in bodies for name in names_of(body)}
    rows = plain(param)
    found = [keys.uri(context.tenant, row.number, name) for row in rows for name in sorted(names)]
    if not found:
        return Nothing()

    def verify(type_name: str, resource: Mapping[str, Any]) -> bool:
        return names_one_of(context, type_name, resource, param, names)

    return Keys(found, verify=verify)


def names_one_of(
    context: Context, type_name: str, resource: Mapping[str, Any], param: Param, names: set[str]
) -> bool:
    """Say whether a resource refers by a parameter to one of these urls."""
    numbers = {row.number for row in plain(param)}
    given = extractor(type_name)(resource, context.zone).canonicals
    return any(number in numbers and url in names for number, url in given)


def named(context: Context, url: str, params: Sequence[Param]) -> list[tuple[int, Param, str]]:
    """Return pk, parameter and id of the resources whose url (with version, if given) this is.

    params: the parameters `url` of the types that may be meant.
    """
    bare, _, version = url.partition("|")
    return [
        (pk, param, id_)
        for param in params
        for pk, id_, body in context.db.all(
            "SELECT r.pk,r.id,r.body FROM ix x JOIN res r ON r.pk=x.pk WHERE x.k=?",
            (keys.uri(context.tenant, param.number, bare),),
        )
        if not version or fhir_json.load(body).get("version") == version
    ]
