"""A trace as JSON, CSV and a FHIR Bundle: the same nodes and links each time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import orjson

from app.clock import instant
from app.fhir.dates import OPEN_HIGH, OPEN_LOW
from app.fhir.display import display_of
from app.registry.trace import Trace, is_shared

Json = dict[str, Any]

COLUMNS = ("relation", "from", "from_text", "to", "to_text", "start", "end", "source", "recorded")


def as_json(trace: Trace) -> Json:
    """Return nodes, edges in order of time, and gaps."""
    names = _names(trace)
    return {
        "start": [names[node] for node in trace.start],
        "nodes": [_node(trace, node, name) for node, name in names.items()],
        "edges": _edges(trace, names),
        "gaps": [
            _present(
                code=gap.code,
                node=names[gap.node],
                start=_low(gap.low),
                end=_high(gap.high),
            )
            for gap in trace.gaps
        ],
        "truncated": trace.truncated,
    }


def text_of(trace: Trace, node: int) -> str | None:
    """Return the short text by which a person recognises what is behind a node."""
    resource = trace.resources.get(node)
    if resource is None or not resource.here:
        return None
    return display_of(resource.body)


def as_csv(trace: Trace) -> str:
    """Return one line a link (RFC 4180), with the names and texts of both ends.

    A text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    texts = {node: text_of(trace, node) for node in trace.places}
    names = _names(trace)
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for edge, said in zip(trace.edges, _edges(trace, names), strict=True):
        said |= {"from_text": texts.get(edge.source), "to_text": texts.get(edge.target)}
        writer.writerow([_cell(said.get(name) or "") for name in COLUMNS])
    return out.getvalue()


def as_bundle(trace: Trace, base: str) -> bytes:
    """Return a collection Bundle of the resources found (R4 bundle.html)."""
    found = {
        resource.address: resource.body for resource in trace.resources.values() if resource.here
    }
    if not found:  # an empty array is no FHIR
        return b'{"resourceType":"Bundle","type":"collection"}'
    entries = b",".join(_entry(f"{base}/{address}", body) for address, body in found.items())
    return b'{"resourceType":"Bundle","type":"collection","entry":[%b]}' % entries


def _entry(url: str, body: bytes) -> bytes:
    return b'{"fullUrl":%b,"resource":%b}' % (orjson.dumps(url), body)


def _node(trace: Trace, node: int, name: str) -> Json:
    place = trace.places[node]
    resource = trace.resources.get(node)
    if resource is None:
        kind = "group" if is_shared(name) else "item"
        return {"id": name, "kind": kind, "hops": place.hops, "column": place.column}
    told: Json = {"id": name, "kind": resource.type}
    if resource.here and (text := display_of(resource.body)):
        told["display"] = text
    told |= {"hops": place.hops, "column": place.column}
    if not resource.here:
        told["missing"] = True
    return told


def _names(trace: Trace) -> dict[int, str]:
    """Return what every node is called: `Type/id`, or its key."""
    resources, keys = trace.resources, trace.names
    return {
        node: f"{found.type}/{found.id}"
        if (found := resources.get(node)) is not None
        else keys.get(node, str(node))
        for node in trace.places
    }


def _edges(trace: Trace, names: Mapping[int, str]) -> list[Json]:
    """Return the links; of a thousand, most begin when others end, and few resources state many."""
    stated, when = trace.stated, _instant
    told: list[Json] = []
    for relation, source, target, low, high, src in trace.edges:
        said: Json = {"relation": relation, "from": names[source], "to": names[target]}
        if low > OPEN_LOW:
            said["start"] = when(low)
        if high < OPEN_HIGH:
            said["end"] = when(high)
        if src is not None and src in stated:
            said["source"], recorded = stated[src]
            said["recorded"] = when(recorded)
        told.append(said)
    return told


_instant = lru_cache(maxsize=16_384)(instant)


def _low(us: int | None) -> str | None:
    return None if us is None or us <= OPEN_LOW else instant(us)


def _high(us: int | None) -> str | None:
    return None if us is None or us >= OPEN_HIGH else instant(us)


def _present(**members: Any) -> Json:
    return {name: value for name, value in members.items() if value is not None}


def _cell(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def lines(trace: Trace) -> Iterator[str]:
    """Yield the trace for a terminal: a line a link, then what is missing."""
    for said in _edges(trace, _names(trace)):
        when = f"{said.get('start', ''):>24}"
        yield f"{when}  {said['from']}  {said['relation']}  {said['to']}"
    for gap in trace.gaps:
        yield f"{'gap':>24}  {trace.name(gap.node)}  {gap.code}"
    if trace.truncated:
        yield f"{'':>24}  there is more"
