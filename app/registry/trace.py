"""Follow links from a code: where a thing came from, where it went. identifiers.md section 8.

Breadth first, one level at a time, each level in a handful of statements; every node is followed
once, so that cycles end. Links lead forward (to uses) or back (to origins) by their kind; places,
staff, machines and models are named but not followed. What carries the same key of an instance is
the same thing; a key of a lot or a model leads to its members, a member not to the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from app.errors import Invalid
from app.fhir.dates import OPEN_HIGH, OPEN_LOW
from app.registry.links import BACK, BOTH, FORWARD, Kind
from app.registry.parse import parse
from app.store.entries import local_reference
from app.store.graph import Graph, Link, Resource

DIRECTIONS = (BACK, FORWARD, BOTH)
NODES, NODES_MAX = 1_000, 10_000
DEPTH_MAX = 50
CARRIES = "carries"  # the relation of a resource and a key that it has among its identifiers
_ROWS_LEAST = 500  # links read in one go, also when hardly any node may be added

# Keys that many things may share: of a model, a product or a lot (identifiers.md section 3).
_SHARED = re.compile(
    r"gs1:(?:01|02|8006|8013):[^:]*(?::10:.*)?|gs1:8010:[^:]*|hibc-basic:.*"
    r"|(?:hibc|ma):[^:]*(?::L:.*)?|isbt128:ppic:[^:]*|cn-dtc-di:.*|cn-drug-approval:.*"
    r"|cn-device-(?:reg|filing):.*|nhsa:.*",
    re.DOTALL,
)


def is_shared(key: str) -> bool:
    """Say whether a canonical key names a model, a product or a lot, not one thing."""
    return _SHARED.fullmatch(key) is not None


@dataclass(frozen=True, slots=True)
class Asked:
    """How far to follow.

    between: only links that hold at some time of it (microseconds, half open);
    kinds: only these, None for all; depth: links from the start; nodes: how many at most.
    """

    direction: str = BOTH
    between: tuple[int, int] = (OPEN_LOW, OPEN_HIGH)
    kinds: Collection[str] | None = None
    depth: int = DEPTH_MAX
    nodes: int = NODES


class Edge(NamedTuple):
    """One link that was followed; `src` is the resource that states it."""

    relation: str
    source: int
    target: int
    low: int = OPEN_LOW
    high: int = OPEN_HIGH
    src: int | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that should be there and is not."""

    code: str
    node: int
    low: int | None = None
    high: int | None = None


@dataclass(slots=True)
class Place:
    """Where a node was found: links from the start, and the column to draw it in."""

    hops: int
    column: int


@dataclass(slots=True)
class Trace:
    """What was found. names: keys of the key nodes; resources: what is behind the others."""

    start: Sequence[int]
    places: dict[int, Place] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    resources: Mapping[int, Resource] = field(default_factory=dict)
    stated: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    truncated: bool = False

    def name(self, node: int) -> str:
        """Return what a node is called: `Type/id`, or its key."""
        if node in self.resources:
            return self.resources[node].address
        return self.names.get(node, str(node))


def starts(
    graph: Graph,
    code: str,
    as_: str | None = None,
    spellings: Callable[[str], Sequence[str]] = lambda key: (key,),
) -> dict[int, str | None]:
    """Return the nodes that a code or `Type/id` names, a key with its text; none if unknown.

    spellings: a key in every way its system is written (`naming.py`). The finest key that anything
    carries or is linked by decides; a model never stands in for an item that is not known.
    """
    local = local_reference(code) if as_ is None else None
    if local is not None:
        node = graph.node_of_resource(*local)
        return {} if node is None else {node: None}
    parsed = parse(code, as_=as_)
    others = (one.canonical for one in parsed.candidates if one.canonical)
    for key in ([parsed.canonical] if parsed.canonical else []) + list(others):
        nodes = {graph.node_of_key(each): each for each in spellings(key)}
        linked = graph.names(nodes)
        known = {
            node: each
            for node, each in nodes.items()
            if node in linked or graph.carriers([node], 1)
        }
        if known:
            return dict[int, str | None](known)
    return {}


def follow(
    graph: Graph, kinds: Mapping[str, Kind], start: Mapping[int, str | None], asked: Asked
) -> Trace:
    """Return everything the links lead to. Raises Invalid for a kind that does not exist."""
    found = Trace(list(start), names={node: key for node, key in start.items() if key})
    walk = _Walk(graph, kinds, asked, found)
    walk.run()
    resources = [node for node in found.places if node > 0]
    found.resources = graph.resources(resources)
    found.names |= graph.names(node for node in found.places if node < 0)
    found.stated = _stated(graph, found)
    found.edges.sort(key=lambda edge: (edge.low, edge.high, edge.relation))
    found.gaps = [*_absent(found), *_unseen(found)]
    return found


def _stated(graph: Graph, found: Trace) -> dict[int, tuple[str, int]]:
    """Return address and last update of the resources that state the links."""
    wanted = {edge.src for edge in found.edges if edge.src is not None}
    known = {
        node: (each.address, each.last_updated_us)
        for node, each in found.resources.items()
        if node in wanted
    }
    missing = wanted - known.keys()
    return known | graph.addresses(missing) if missing else known


class _Walk:
    """The state of one search through the graph."""

    def __init__(self, graph: Graph, kinds: Mapping[str, Kind], asked: Asked, found: Trace) -> None:
        wanted = kinds.keys() if asked.kinds is None else set(asked.kinds)
        if not wanted <= kinds.keys():
            raise Invalid("there is no such kind of link", at="http.kinds")
        self._graph, self._asked, self._found = graph, asked, found
        self._by_number = {kinds[name].number: kinds[name] for name in wanted}
        self._numbers = {
            along: [
                number
                for number, kind in self._by_number.items()
                if BOTH in (asked.direction, leads := kind.leads(along=along))
                or leads == asked.direction
            ]
            for along in (True, False)
        }
        # number -> relation, whether the node there is named only, columns to move
        self._moves = {
            along: {
                number: (
                    kind.name,
                    kind.stop and along,
                    -1 if kind.leads(along=along) == BACK else 1,
                )
                for number, kind in self._by_number.items()
            }
            for along in (True, False)
        }
        self._named_only: set[int] = set()
        self._seen: set[Sequence[int]] = set()  # links, and pairs of resource and key

    def run(self) -> None:
        """Follow level by level until nothing new is found or the limits are reached."""
        frontier = list(self._found.start)
        for node in frontier:
            self._found.places[node] = Place(0, 0)
        for hops in range(self._asked.depth):
            frontier = self._same(frontier)
            if not frontier:
                return
            new: dict[int, None] = {}
            for along in (True, False):
                if self._found.truncated and len(self._found.places) >= self._asked.nodes:
                    return
                self._take(self._links(frontier, along=along), hops + 1, new, along=along)
            frontier = list(new)
        self._same(frontier)

    def _links(self, frontier: Sequence[int], *, along: bool) -> list[Link]:
        if not self._numbers[along]:
            return []
        most = self._most(frontier)
        rows = self._graph.links(
            frontier,
            along=along,
            kinds=self._numbers[along],
            between=self._asked.between,
            most=most,
        )
        self._found.truncated |= len(rows) == most
        return rows

    def _most(self, frontier: Sequence[int]) -> int:
        """Return how many rows to read: all of an ordinary level, not all of what has no room."""
        room = self._asked.nodes - len(self._found.places)
        return max(_ROWS_LEAST, room + 2 * len(frontier))

    def _take(self, rows: Sequence[Link], hops: int, new: dict[int, None], *, along: bool) -> None:
        places, named_only, moves = self._found.places, self._named_only, self._moves[along]
        seen, edges, room = self._seen, self._found.edges, self._asked.nodes
        full = False
        for row in rows:
            f, number, t, low, high, src = row
            here, there = (f, t) if along else (t, f)
            relation, stop, step = moves[number]
            if there in places:
                first = places[there].hops == hops and there not in named_only
            elif full or len(places) >= room:
                full = self._found.truncated = True
                continue
            else:
                places[there] = Place(hops, places[here].column + step)
                first = True
            if row not in seen:
                seen.add(row)
                edges.append(Edge(relation, f, t, low, high, src))
            if stop:
                if first and there not in new:
                    named_only.add(there)
            elif first or there in named_only:
                named_only.discard(there)
                new[there] = None

    def _reach(self, there: int, here: int, hops: int, step: int) -> bool:
        """Note a node; False when there is no room for it."""
        places = self._found.places
        if there not in places:
            if len(places) >= self._asked.nodes:
                self._found.truncated = True
                return False
            places[there] = Place(hops, places[here].column + step)
        return True

    def _carries(self, pk: int, k: int) -> None:
        if (pk, k) not in self._seen:
            self._seen.add((pk, k))
            self._found.edges.append(Edge(CARRIES, pk, k))

    def _same(self, frontier: Sequence[int]) -> list[int]:
        """Return the nodes and those that are the same thing: keys they carry, who carries a key.

        A key of a model or lot is followed to its members only from itself, and only forward.
        """
        whole = dict.fromkeys(frontier)
        graph, places, names = self._graph, self._found.places, self._found.names
        resources = [node for node in frontier if node > 0]
        for pk, k, key in graph.linked_keys(resources) if resources else ():
            names[k] = key
            if self._reach(k, pk, places[pk].hops, 0):
                self._carries(pk, k)
                if not is_shared(key):
                    whole.setdefault(k)
        keyed = [k for k in whole if k < 0]
        if unnamed := [k for k in keyed if k not in names]:
            names |= graph.names(unnamed)
        descends = self._asked.direction != BACK
        carried = [k for k in keyed if descends or not is_shared(names.get(k, ""))]
        most = self._most(frontier)
        rows = graph.carriers(carried, most) if carried else []
        self._found.truncated |= len(rows) == most
        for k, pk in rows:
            if self._reach(pk, k, places[k].hops, 0):
                self._carries(pk, k)
                whole.setdefault(pk)
        return list(whole)


def _absent(found: Trace) -> Iterable[Gap]:
    """Name what links lead to and nobody has: resources not here, keys that nothing carries."""
    for node, resource in found.resources.items():
        if not resource.here:
            yield Gap("not-here", node)
    carried = {edge.target for edge in found.edges if edge.relation == CARRIES}
    for node in found.places:
        if node < 0 and node not in carried:
            yield Gap("unregistered", node)


def _unseen(found: Trace) -> Iterable[Gap]:
    """Name the times between two places in which nobody says where a thing was."""
    stays: dict[int, list[Edge]] = {}
    for edge in found.edges:  # in order of time
        if edge.relation == "located-at" and edge.low > OPEN_LOW and edge.high < OPEN_HIGH:
            stays.setdefault(edge.source, []).append(edge)
    for node, edges in stays.items():
        until = edges[0]
        for edge in edges[1:]:
            if edge.target != until.target and edge.low > until.high:
                yield Gap("whereabouts-unknown", node, until.high, edge.low)
            if edge.high > until.high:
                until = edge
