"""Uri parameters: exact, `:below` and `:above` by path segment. R4 search.html#uri."""

from __future__ import annotations

from typing import Any

from app.errors import NotSupported
from app.fhir.searchparams import Param
from app.store import keys
from app.store.entries import UNORDERED
from app.store.search.conditions import Condition, Keys, Nothing, Rows, either
from app.store.search.context import Context, plain
from app.store.search.parse import alternatives, unescape
from app.store.search.string import AFTER


def condition(context: Context, param: Param, modifier: str | None, value: str) -> Condition:
    """Return what a uri parameter asks for. Raises NotSupported."""
    wanted = [unescape(each) for each in alternatives(value)]
    rows = plain(param)
    if modifier == "below":
        return _below(context, param, wanted)
    if modifier == "above":
        wanted = [prefix for each in wanted for prefix in _prefixes(each)]
    return Keys([keys.uri(context.tenant, row.number, each) for row in rows for each in wanted])


def _below(context: Context, param: Param, wanted: list[str]) -> Condition:
    if param.code in UNORDERED:
        raise NotSupported(f"{param.code} cannot be searched with :below")
    tests: list[str] = []
    params: list[Any] = []
    for row in plain(param):
        for each in wanted:
            base = each.rstrip("/")
            tests.append("(#.p=? AND (#.v=? OR #.v=? OR (#.v>=? AND #.v<?)))")
            params += [context.scope(row), base, f"{base}/", f"{base}/", f"{base}/{AFTER}"]
            if base.startswith("urn:oid:"):
                tests.append("(#.p=? AND #.v>=? AND #.v<?)")
                params += [context.scope(row), f"{base}.", f"{base}.{AFTER}"]
    return Rows("str", either(tests), params) if tests else Nothing()


def _prefixes(uri: str) -> list[str]:
    """Return the uri and everything above it: http://a/b/c, http://a/b, http://a."""
    found = [uri]
    mark = "." if uri.startswith("urn:oid:") else "/"
    while mark in uri.rpartition("://")[2].removeprefix("urn:oid:"):
        uri = uri.rpartition(mark)[0]
        found += [uri, uri + mark] if mark == "/" else [uri]
    return found
