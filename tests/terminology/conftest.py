"""Stored systems for tests: the robot release, and whatever a test wants stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from app.store.store import Store, open_store
from app.terminology.load import rf2
from app.terminology.stored import loading
from app.terminology.stored.build import Draft
from app.terminology.stored.catalogue import Stored
from app.terminology.stored.rows import Body
from app.terminology.stored.system import StoredSystem
from tests.terminology import robots


@pytest.fixture(scope="session")
def robot_catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    """A catalogue of the robot release alone, stored in SQLite."""
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('robots') / 'r.db'}", upkeep=False)
    with rf2.release(robots.FOLDER) as files:
        header, draft = rf2.draft_of(files)
    loading.load(store, header, draft, b"robots")
    yield Stored(store)
    store.close()


@pytest.fixture(scope="session")
def robot_system(robot_catalogue: Stored) -> StoredSystem:
    """The robot release."""
    (system,) = robot_catalogue.systems(rf2.SNOMED)
    assert isinstance(system, StoredSystem)
    return system


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """An empty store on each kind of database."""
    opened = open_store(database_url, upkeep=False)
    yield opened
    opened.close()


Keep = Callable[..., StoredSystem]


@pytest.fixture
def keep(store: Store) -> Keep:
    """Store concepts given as (code, Body) and return the system."""

    def keep(*concepts: tuple[str, Body], **header: object) -> StoredSystem:
        full = {"resourceType": "CodeSystem", "url": "urn:test", "content": "complete", **header}
        draft = Draft(full)
        for place, (code, body) in enumerate(concepts):
            draft.add(code, body, place)
        loading.load(store, full, draft, b"test")
        found = Stored(store).systems("urn:test")[-1]
        assert isinstance(found, StoredSystem)
        return found

    return keep
