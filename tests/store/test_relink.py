"""Links of resources that were written before links were kept (app/store/relink.py)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.registry.indexed import identifier_keys
from app.registry.links import shipped_rules
from app.store.relink import relink
from app.store.store import Setting, Store, open_store
from app.store.types import Change, Method
from app.store.writer import Writer

BEFORE = Setting(identifier_keys=identifier_keys)
NOW = Setting(identifier_keys=identifier_keys, link_rules=shipped_rules())
USES = 7


def put(store: Store, type_name: str, id_: str, **members: Any) -> None:
    body = json.dumps({"resourceType": type_name, "id": id_, **members}).encode()
    store.commit([Change(Method.UPDATE, type_name, id_, body)])


def fill(store: Store) -> None:
    """Say on whom a pump was used, and of which lot it is."""
    put(store, "Device", "pump", udiCarrier=[{"carrierHRF": "(01)09521234000037(21)R1"}])
    for n in range(USES):
        put(
            store,
            "DeviceUseStatement",
            f"use-{n}",
            status="active",
            subject={"reference": f"Patient/p{n}"},
            device={"reference": "Device/pump"},
        )


def rows(store: Store) -> list[Any]:
    """Return the links by the names of what they link."""
    graph = store.graph
    pump = graph.node_of_resource("Device", "pump")
    kinds = [kind.number for kind in shipped_rules().kinds.values()]
    found = []
    for along in (True, False):
        links = graph.links(
            [pump or 0], along=along, kinds=kinds, between=(-(1 << 62), 1 << 62), most=100
        )
        nodes = {node for f, _, t, *_, src in links for node in (f, t, src)}
        names = {node: each.address for node, each in graph.resources(nodes).items()}
        found += [(names.get(f), kind, names.get(t)) for f, kind, t, *_ in links]
    return sorted(found, key=str)


class Weary:
    """A writer that does no more than so many transactions."""

    def __init__(self, writer: Writer, most: int) -> None:
        self._writer, self._left = writer, most

    def run(self, work: Any) -> Any:
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        return self._writer.run(work)


def test_what_was_written_before_is_linked_as_if_it_were_written_now(database_url: str):
    old = open_store(database_url, BEFORE)
    fill(old)
    old.close()
    store = open_store(database_url, NOW)
    assert rows(store) == []

    with pytest.raises(KeyboardInterrupt):
        relink(Weary(store.writer, 2), NOW.preparer(), chunk=2)  # type: ignore[arg-type]
    told: list[int] = []
    done = relink(store.writer, NOW.preparer(), say=lambda _, n: told.append(n), chunk=2)
    relinked = rows(store)

    assert len(relinked) >= USES
    assert done >= USES
    assert told == sorted(told)
    assert told[-1] == done
    fill(store)  # the same again, now with rules
    assert rows(store) == relinked
    assert relink(store.writer, NOW.preparer()) == done  # and again from the start
    assert rows(store) == relinked
    store.close()
