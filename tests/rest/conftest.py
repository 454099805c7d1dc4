"""A facade on a real store, on SQLite and on PostgreSQL, without sockets and processes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask import Blueprint
from werkzeug.test import Client

from app.clock import Clock, WallClock
from app.registry.indexed import identifier_keys
from app.rest import create_app
from app.rest.services import Options
from app.store.store import Setting, Store, open_store
from app.terminology.catalogue import Definitions
from app.terminology.posted import Posted
from app.terminology.service import Terminology
from app.terminology.shelf import InDatabase
from app.terminology.stored.catalogue import Stored
from app.terminology.systems import Specials

FHIR_JSON = "application/fhir+json"
BASE = "http://localhost/fhir"


@dataclass
class OneProcess:
    """The hub as the HTTP doors see it, in one process."""

    store: Store
    http: Options = field(default_factory=Options)
    clock: Clock = field(default_factory=WallClock)
    missing: list[str] = field(default_factory=list)
    terminology: Terminology = field(init=False)

    def __post_init__(self) -> None:
        self.terminology = Terminology(
            [Posted(self.store), Stored(self.store), Specials(), Definitions()],
            InDatabase(self.store),
        )

    def not_ready(self) -> list[str]:
        return self.missing

    def metrics(self) -> bytes:
        return b"# no numbers\n"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def issue(self) -> Any:
        """The first issue of an OperationOutcome."""
        assert self.json["resourceType"] == "OperationOutcome", self.body
        return self.json["issue"][0]

    @property
    def entries(self) -> list[Any]:
        return self.json.get("entry", [])

    def link(self, relation: str) -> str | None:
        found = (link["url"] for link in self.json["link"] if link["relation"] == relation)
        return next(found, None)


class Api:
    """A client of the facade: paths below the base, dicts as FHIR JSON."""

    def __init__(self, hub: OneProcess, doors: Sequence[Blueprint] = ()) -> None:
        self.hub = hub
        self._client = Client(create_app(hub, doors))
        self._numbers = count(1)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        **headers: str,
    ) -> Answer:
        """Send a request; `If_Match="..."` is a header, and paths may be whole addresses."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes | str):
            body = json.dumps(body, ensure_ascii=False).encode(errors="replace")
        if body is not None:
            sent.setdefault("Content-Type", FHIR_JSON)
        path = path.removeprefix("http://localhost")
        if not path.startswith("/"):
            path = f"/fhir/{path}" if path and path[0] != "?" else f"/fhir{path}"
        response = self._client.open(path, method=method, data=body, headers=sent)
        return Answer(response.status_code, response.headers, response.get_data())

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.request("POST", path, body, **headers)

    def put(self, path: str, body: Any, **headers: str) -> Answer:
        return self.request("PUT", path, body, **headers)

    def patch(self, path: str, body: Any, **headers: str) -> Answer:
        headers.setdefault("Content_Type", "application/json-patch+json")
        return self.request("PATCH", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Answer:
        return self.request("DELETE", path, **headers)

    def create(self, resource: Mapping[str, Any]) -> Any:
        """Create a resource that has to be accepted; return it as it is stored."""
        answer = self.post(resource["resourceType"], resource)
        assert answer.status == 201, answer.body
        return answer.json

    def value(self) -> str:
        """Return an identifier value that no other test uses."""
        return f"v{next(self._numbers)}"


def patient(**members: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "name": [{"family": "Wang"}], **members}


def observation(**members: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **members}


def identified(value: str) -> list[dict[str, str]]:
    return [{"system": "urn:x-test", "value": value}]


@pytest.fixture(scope="session")
def api(database_kind: str, request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Api]:
    """The facade on one database of each kind for all tests: they use values of their own."""
    setting = Setting(
        zone=ZoneInfo("Asia/Shanghai"), bases=(f"{BASE}/",), identifier_keys=identifier_keys
    )
    for url in _database(database_kind, request, tmp_path_factory):
        store = open_store(url, setting)
        yield Api(OneProcess(store))
        store.close()


@pytest.fixture(scope="module")
def backend_url(
    database_kind: str, request: pytest.FixtureRequest, tmp_path_factory: Any
) -> Iterator[str]:
    """An empty database for the tests of one file that open a store of their own.

    Two writers cannot share the file of `api`: each believes that it alone gives out numbers.
    """
    yield from _database(database_kind, request, tmp_path_factory)


@pytest.fixture(
    scope="session", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def database_kind(request: pytest.FixtureRequest) -> str:
    """The kind of database."""
    return str(request.param)


def _database(
    kind: str, request: pytest.FixtureRequest, folders: pytest.TempPathFactory
) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folders.mktemp('rest') / 'yilian.db'}"
        return
    with request.getfixturevalue("postgres").database() as url:
        yield url
