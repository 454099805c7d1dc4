"""The terminology page: find a code or a value set, see what is known of it.

`/terminology` lists code systems; `?q=` finds, `?system=` shows the top of a code system,
`?system=&code=` a code, `?valueset=` a value set; `/terminology/unmapped` lists the codes that were
to be translated and that no concept map knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote

from flask import Blueprint, Response, request

from app.console.codes import MOST, Reader
from app.console.services import Hub
from app.fhir import json
from app.terminology import unmapped
from app.terminology.types import Json

_LONGEST = 512

Page = Callable[..., Response]


def add_routes(console: Blueprint, hub: Hub, page: Page, language: Callable[[], str]) -> None:
    """Add the routes of the page to the console's."""

    @console.get("/terminology")
    def terminology() -> Response:
        reader = Reader(hub.terminology.scope, language())
        text, system, code, value_set = (_given(n) for n in ("q", "system", "code", "valueset"))
        if system and code:
            return page("concept.html", hub, shown=reader.shown(system, code), most=MOST)
        if value_set:
            resource, codes = reader.expanded(value_set)
            return page("value_set.html", hub, resource=resource, codes=codes, most=MOST)
        return page(
            "terminology.html",
            hub,
            q=text,
            system=system,
            most=MOST,
            codes=_codes(reader, text, system),
            systems=() if system else reader.systems(text)[: MOST if text else None],
            value_sets=_value_sets(hub, reader, text) if text and not system else (),
            waiting=unmapped.count(hub.store) if not text and not system else 0,
        )

    @console.get("/terminology/unmapped")
    def without_map() -> Response:
        found = unmapped.listed(hub.store, unmapped.MOST)
        return page("unmapped.html", hub, missing=found)


def _given(name: str) -> str:
    return request.args.get(name, "").strip()[:_LONGEST]


def _value_sets(hub: Hub, reader: Reader, text: str) -> Sequence[Json]:
    """Return the value sets whose title, name or url was typed: those of this hub, then R4's."""
    found: dict[str, Json] = {}
    for name in ("title:contains", "name:contains", "url"):
        for one in hub.store.matching("ValueSet", f"{name}={_quoted(text)}", MOST):
            resource = json.load(one.body)
            if isinstance(resource.get("url"), str):
                found.setdefault(resource["url"], resource)
    for resource in reader.value_sets(text):
        found.setdefault(resource["url"], resource)
    return list(found.values())[:MOST]


def _quoted(text: str) -> str:
    """Return text as the value of a criterion: what search syntax would split at is escaped."""
    for special in "\\|$,":
        text = text.replace(special, "\\" + special)
    return quote(text, safe="")


def _codes(reader: Reader, text: str, system: str) -> object:
    if text:
        return reader.find(text, system or None)
    return reader.first(system) if system else ()
