"""Where a GS1 key leads: the links of an item as a linkset, and which one a client gets.

GS1-conformant resolver standard 1.1; RFC 9264 (linkset). Links are not kept apart from the data:
documents that describe an item (`described-by`, DocumentReference.context.related) give those with
a type of the GS1 Web Vocabulary, and the resource itself is the structured master data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from app.fhir.dates import OPEN_HIGH, OPEN_LOW
from app.fhir.display import display
from app.registry.indexed import identifier_keys
from app.registry.links import Kind
from app.store.graph import Graph, Resource

VOCABULARY = "https://ref.gs1.org/voc/"
DEFAULT = f"{VOCABULARY}defaultLink"
MASTER_DATA = f"{VOCABULARY}masterData"
PRODUCT_PAGE = f"{VOCABULARY}pip"
CONTEXT = "https://ref.gs1.org/standards/resolver/linkset-context"

# Keys of GS1 that a path can begin with (GS1 Digital Link URI syntax 1.4, section 4.3).
PRIMARY = (
    "00", "01", "253", "255", "401", "402", "414", "415", "417",
    "8003", "8004", "8006", "8010", "8013", "8017", "8018",
)  # fmt: skip

_CARRIERS = 50  # resources looked at for one key
_DOCUMENTS = 200
_FHIR = "application/fhir+json"
_SECURE = ("https", "http")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """One link of an item: its type as a URI, and RFC 8288 target attributes."""

    relation: str
    href: str
    type: str | None = None
    hreflang: str | None = None
    title: str | None = None

    def attributes(self) -> Json:
        """Return the link target object (RFC 9264 section 4.2.3)."""
        found: Json = {"href": self.href}
        if self.title:
            found["title"] = self.title
        if self.type:
            found["type"] = self.type
        if self.hreflang:
            found["hreflang"] = [self.hreflang]
        return found


def targets(
    graph: Graph, described_by: Kind, keys: Sequence[str], base: str, lookup: str
) -> list[Target]:
    """Return the links of an item, those of its finest level first; none if nobody knows it.

    keys: coarse to fine; base: of the addresses of resources; lookup: where `/id` tells what there
    is, for a model or lot of which only items are registered. The level that anything carries
    decides which resource is the master data; documents of coarser levels are kept.
    """
    found: dict[Target, None] = {}
    master: Target | None = None
    members = False
    for key in reversed(keys):
        node = graph.node_of_key(key)
        carriers = graph.resources(pk for _, pk in graph.carriers([node], _CARRIERS))
        own = {pk: each for pk, each in carriers.items() if each.here and _is_finest(each, key)}
        for document in _documents(graph, described_by, [node, *own]):
            found |= dict.fromkeys(_of_document(document))
        members |= any(each.here for each in carriers.values())
        if master is None:
            master = next((_master(each, base) for each in own.values()), None)
    if master is None and members:
        master = Target(MASTER_DATA, lookup, "application/json")
    if master is not None:
        found[master] = None
    return list(found)


def _is_finest(resource: Resource, key: str) -> bool:
    """Say whether a resource is at this level, not at a finer one (an item of that model)."""
    keys = identifier_keys(resource.type, orjson.loads(resource.body))
    return not any(other.startswith(f"{key}:") for other in keys)


def _master(resource: Resource, base: str) -> Target:
    title = display(orjson.loads(resource.body))
    return Target(MASTER_DATA, f"{base}/{resource.address}", _FHIR, None, title)


def _documents(graph: Graph, kind: Kind, nodes: Iterable[int]) -> Iterable[Resource]:
    rows = graph.links(
        nodes, along=True, kinds=[kind.number], between=(OPEN_LOW, OPEN_HIGH), most=_DOCUMENTS
    )
    found = graph.resources(row[2] for row in rows)
    return [each for each in found.values() if each.here]


def _of_document(resource: Resource) -> Iterator[Target]:
    document = orjson.loads(resource.body)
    codings = (document.get("type") or {}).get("coding") or ()
    relation = next(
        (
            VOCABULARY + each["code"]
            for each in codings
            if each.get("system") == VOCABULARY and each.get("code")
        ),
        PRODUCT_PAGE,
    )
    for content in document.get("content") or ():
        attachment = content.get("attachment") or {}
        url = attachment.get("url", "")
        if urlsplit(url).scheme in _SECURE:
            yield Target(
                relation,
                url,
                attachment.get("contentType"),
                attachment.get("language"),
                attachment.get("title") or document.get("description"),
            )


def default(found: Sequence[Target]) -> Target:
    """Return where an item leads when nothing else is asked: its page, else its data."""
    return next((each for each in found if each.relation == PRODUCT_PAGE), found[0])


def linkset(found: Sequence[Target], anchor: str, title: str | None = None) -> Json:
    """Return the linkset document of an item (RFC 9264 section 4.2)."""
    context: Json = {"anchor": anchor}
    if title:
        context["itemDescription"] = title
    context[DEFAULT] = [default(found).attributes()]
    for each in found:
        context.setdefault(each.relation, []).append(each.attributes())
    return {"linkset": [context]}


def chosen(
    found: Sequence[Target], link_type: str | None, languages: Sequence[str], types: Sequence[str]
) -> Target | None:
    """Return the link a client gets; None when there is none of the type it asks for.

    languages, types: what it accepts, best first. Of the links of one type the best language
    decides, then the media type.
    """
    if link_type is None:
        wanted = default(found).relation
    else:
        name = link_type.removeprefix(VOCABULARY).removeprefix("gs1:")
        wanted = default(found).relation if name == "defaultLink" else VOCABULARY + name
    same = [each for each in found if each.relation == wanted]
    if not same:
        return None
    return min(same, key=lambda each: (_rank(each.hreflang, languages), _rank(each.type, types)))


def _rank(value: str | None, accepted: Sequence[str]) -> int:
    """Return how good a value is: exact before its main part (`zh` of `zh-CN`), unsaid last."""
    if value is None:
        return 2 * len(accepted) + 1
    value = value.lower()
    for n, each in enumerate(accepted):
        each = each.lower()
        if value == each:
            return 2 * n
        if value.partition("-")[0] == each.partition("-")[0]:
            return 2 * n + 1
    return 2 * len(accepted) + 2
