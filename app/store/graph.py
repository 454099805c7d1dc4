"""What is linked with what: batched look-ups for whoever follows links.

A node is a resource (its pk) or whatever carries a canonical key (its `ident.k`, negative): one
number names either. Every look-up takes many nodes at once and costs one statement.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from app.fhir import definitions
from app.store import keys
from app.store.database import Connection
from app.store.states import CREATED, UPDATED

_HERE = f"({CREATED},{UPDATED})"
_PROBED = 4  # kinds of links that are looked for one by one


# A link as it is stored: (f, kind, t, low, high, src); `f` is linked with `t`, as `src` says.
Link = tuple[int, int, int, int, int, int]


class Resource(NamedTuple):
    """A resource behind a node; `here` is false when it was deleted or never written."""

    type: str
    id: str
    here: bool
    last_updated_us: int
    body: bytes

    @property
    def address(self) -> str:
        return f"{self.type}/{self.id}"


class Graph:
    """Look-ups over one connection, for one thread at a time."""

    def __init__(self, db: Connection, tenant: int = 0) -> None:
        self._db = db
        self._tenant = tenant

    def node_of_key(self, key: str) -> int:
        """Return the node of a canonical key."""
        return keys.canonical(self._tenant, key)

    def node_of_resource(self, type_name: str, id_: str) -> int | None:
        """Return the node of a resource that was written or at least referred to."""
        if not definitions.is_resource_type(type_name):
            return None
        row = self._db.one(
            "SELECT pk FROM res WHERE tenant=? AND type=? AND id=?",
            (self._tenant, definitions.type_number(type_name), id_),
        )
        return row[0] if row else None

    def links(
        self,
        nodes: Iterable[int],
        *,
        along: bool,
        kinds: Collection[int],
        between: tuple[int, int],
        most: int,
    ) -> list[Link]:
        """Return the links that go out from the nodes (`along`) or come in, up to `most`.

        between: only those that hold at some time of this half-open interval.
        """
        end = "f" if along else "t"
        # Of many kinds each would be a probe for each node: then all links of a node are read.
        kind = "kind" if len(kinds) <= _PROBED else "+kind"
        db = self._db
        return db.all(
            f"SELECT f,kind,t,lo,hi,src FROM link WHERE {db.in_list(end)} AND {db.in_list(kind)}"
            " AND lo<? AND hi>? LIMIT ?",
            (db.array(list(nodes)), db.array(list(kinds)), between[1], between[0], most),
        )

    def carriers(self, nodes: Iterable[int], most: int) -> list[tuple[int, int]]:
        """Return (key node, resource node) for the resources that carry these keys."""
        db = self._db
        rows = db.all(
            f"SELECT ident.k,ident.pk FROM ident WHERE {db.in_list('ident.k')} LIMIT ?",
            (db.array(list(nodes)), most),
        )
        return [(k, pk) for k, pk in rows]

    def linked_keys(self, nodes: Iterable[int]) -> list[tuple[int, int, str]]:
        """Return (resource node, key node, key) for the carried keys that a link ends at."""
        db = self._db
        rows = db.all(
            "SELECT ident.pk,ident.k,name.key FROM ident JOIN name ON name.k=ident.k"
            f" WHERE {db.in_list('ident.pk')}",
            (db.array(list(nodes)),),
        )
        return [(pk, k, key) for pk, k, key in rows]

    def names(self, nodes: Iterable[int]) -> dict[int, str]:
        """Return the keys of key nodes that a link ends at."""
        db = self._db
        return dict(
            db.all(
                f"SELECT k,key FROM name WHERE {db.in_list('k')}",
                (db.array(list(nodes)),),
            )
        )

    def resources(self, nodes: Iterable[int]) -> dict[int, Resource]:
        """Return the resources behind nodes."""
        db = self._db
        rows = db.all(
            f"SELECT pk,type,id,method IN {_HERE},lu,body FROM res WHERE {db.in_list('pk')}",
            (db.array(list(nodes)),),
        )
        types = definitions.resource_types()
        return {
            pk: Resource(types[kind - 1], id_, bool(here), lu, body)
            for pk, kind, id_, here, lu, body in rows
        }

    def addresses(self, nodes: Iterable[int]) -> dict[int, tuple[str, int]]:
        """Return `Type/id` and last update of resources, without reading them."""
        db = self._db
        rows = db.all(
            f"SELECT pk,type,id,lu FROM res WHERE {db.in_list('pk')}", (db.array(list(nodes)),)
        )
        return {pk: (f"{definitions.type_name(kind)}/{id_}", lu) for pk, kind, id_, lu in rows}
