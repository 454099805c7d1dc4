"""Addresses of pages: the self and next links of searchsets and histories. R4 http.html#paging."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote

from app.rest.criteria import PRESENTATION
from app.rest.exchange import Params, Request

_PLAIN = re.compile(r"[A-Za-z0-9._~:-]*", re.ASCII)  # what stands for itself: most texts


def path(request: Request) -> str:
    """Return the address searched or listed, without its query and without `_search`."""
    parts = [part for part in (request.type, request.id, request.other) if part]
    return "/".join([request.base, *parts])


def address(path: str, params: Params) -> str:
    """Return `path` with a query."""
    if not params:
        return path
    return path + "?" + "&".join(f"{_name(name)}={_value(value)}" for name, value in params)


def of_page(
    path: str, request: Request, used: Params, following: str | None
) -> list[tuple[str, str]]:
    """Return the links of one page; the next one keeps the presentation that was asked for."""
    links = [("self", address(path, used))]
    if following is not None:
        kept = [pair for pair in used if pair[0] != "_page"]
        kept += [pair for pair in request.params if pair[0] in PRESENTATION]
        links.append(("next", address(path, [*kept, ("_page", following)])))
    return links


@lru_cache(maxsize=1024)
def _name(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else quote(text, safe=":$")


@lru_cache(maxsize=4096)  # codes, orders and counts come again and again
def _value(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else quote(text, safe=":/,")
