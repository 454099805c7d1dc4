"""A store that keeps identifier keys and links, on each kind of database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from app.clock import SetClock
from app.registry.indexed import identifier_keys
from app.registry.links import shipped_rules
from app.store.store import Setting, Store, open_store
from app.store.types import Change, Method


class Registry:
    """A store and short ways to write to it."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def put(self, type_name: str, id_: str, **members: Any) -> None:
        body = json.dumps({"resourceType": type_name, "id": id_, **members}).encode()
        self.store.commit([Change(Method.UPDATE, type_name, id_, body)])

    def delete(self, type_name: str, id_: str) -> None:
        self.store.commit([Change(Method.DELETE, type_name, id_)])


@pytest.fixture
def registry(database_url: str) -> Iterator[Registry]:
    setting = Setting(identifier_keys=identifier_keys, link_rules=shipped_rules())
    store = open_store(database_url, setting, SetClock(datetime(2026, 3, 9, tzinfo=UTC)))
    yield Registry(store)
    store.close()
