"""A store on each kind of database, and short ways to write to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.clock import SetClock
from app.store.store import Setting, Store, open_store
from app.store.types import Change, Method, Outcome, SearchPage, SearchRequest

ZONE = ZoneInfo("Asia/Shanghai")


class Kit:
    """A store with the calls tests make most."""

    def __init__(self, store: Store, clock: SetClock, url: str) -> None:
        self.store, self.clock, self.url = store, clock, url

    def create(self, resource: Mapping[str, Any], **more: Any) -> Outcome:
        body = json.dumps(resource).encode()
        return self.store.commit(
            [Change(Method.CREATE, resource["resourceType"], body=body, **more)]
        )[0]

    def update(self, resource: Mapping[str, Any], **more: Any) -> Outcome:
        body = json.dumps(resource).encode()
        return self.store.commit(
            [Change(Method.UPDATE, resource["resourceType"], resource["id"], body, **more)]
        )[0]

    def delete(self, type_name: str, id_: str, **more: Any) -> Outcome:
        return self.store.commit([Change(Method.DELETE, type_name, id_, **more)])[0]

    def page(self, type_name: str | None, query: str, **more: Any) -> SearchPage:
        params = [tuple(part.split("=", 1)) for part in query.split("&") if part]
        return self.store.search(SearchRequest(type_name, params, **more))  # type: ignore[arg-type]

    def found(self, type_name: str | None, query: str, **more: Any) -> list[str]:
        return [match.id for match in self.page(type_name, query, **more).matches]


@pytest.fixture
def kit(database_url: str) -> Iterator[Kit]:
    """An empty store at 2026-03-01T08:00Z, zone Asia/Shanghai."""
    clock = SetClock(datetime(2026, 3, 1, 8, tzinfo=UTC))
    store = open_store(database_url, Setting(zone=ZONE), clock)
    yield Kit(store, clock, database_url)
    store.close()
