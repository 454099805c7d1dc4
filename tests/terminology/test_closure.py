"""$closure and the list of codes without a map: what the store keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.errors import Invalid, NotFound
from app.store.store import Store, open_store
from app.terminology import unmapped
from app.terminology.call import Call
from app.terminology.catalogue import Resources
from app.terminology.closure import closure
from app.terminology.memory import MemorySystem
from app.terminology.service import Scope

TREE = {
    "resourceType": "CodeSystem",
    "url": "urn:test:tree",
    "content": "complete",
    "concept": [{"code": "a", "concept": [{"code": "b", "concept": [{"code": "c"}]}]}],
}


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def store(request: Any, tmp_path_factory: Any) -> Iterator[Store]:
    if request.param == "sqlite":
        folder: Path = tmp_path_factory.mktemp("closure")
        opened = open_store(f"sqlite:///{folder / 'yilian.db'}")
        yield opened
        opened.close()
        return
    with request.getfixturevalue("postgres").database() as url:
        opened = open_store(url)
        yield opened
        opened.close()


def asked(name: str, *codes: str, **more: Any) -> Call:
    concepts = [{"system": "urn:test:tree", "code": code} for code in codes]
    given = {"name": [name], "concept": concepts} | {k: [v] for k, v in more.items()}
    return Call(given, Scope([Resources([MemorySystem(TREE)])]))


def pairs(answer: Any) -> set[tuple[str, str]]:
    return {
        (element["code"], target["code"])
        for group in answer.get("group", ())
        for element in group["element"]
        for target in element["target"]
        if target["equivalence"] == "subsumes"
    }


def test_a_table_grows_by_what_clients_tell_and_says_what_is_new(store: Store) -> None:
    begun = closure(store, asked("problems"))
    first = closure(store, asked("problems", "c"))
    second = closure(store, asked("problems", "a", "b"))
    again = closure(store, asked("problems", "a"))

    assert (begun["version"], pairs(begun)) == ("0", set())
    assert (first["version"], pairs(first)) == ("1", set())
    assert (second["version"], pairs(second)) == ("2", {("c", "a"), ("c", "b"), ("b", "a")})
    assert (again["version"], pairs(again)) == ("2", set())


def test_a_client_that_missed_an_answer_asks_since_a_version(store: Store) -> None:
    closure(store, asked("missed"))
    closure(store, asked("missed", "a", "b"))
    closure(store, asked("missed", "c"))

    assert pairs(closure(store, asked("missed", version="1"))) == {("c", "a"), ("c", "b")}
    assert len(pairs(closure(store, asked("missed", version="0")))) == 3


def test_a_name_alone_begins_again(store: Store) -> None:
    closure(store, asked("again"))
    closure(store, asked("again", "a"))
    closure(store, asked("again"))

    assert pairs(closure(store, asked("again", "b"))) == set()


def test_what_cannot_be_answered_is_refused(store: Store) -> None:
    with pytest.raises(NotFound):
        closure(store, asked("never-begun", "a"))
    with pytest.raises(Invalid):
        closure(store, asked(""))
    closure(store, asked("strict"))
    with pytest.raises(NotFound):
        closure(store, asked("strict", "dragon"))
    with pytest.raises(Invalid):
        closure(store, asked("strict", "a", version="0"))
    with pytest.raises(Invalid):
        closure(store, asked("strict", version="newest"))


def test_a_code_without_a_map_is_listed_once_until_it_is_taken_off(store: Store) -> None:
    code = ("urn:test:item", "HC-1", "urn:test:tender")

    unmapped.met(store, [code, ("urn:test:item", "x" * 300, "")])
    unmapped.met(store, [code])

    assert [(m.system, m.code, m.target) for m in unmapped.listed(store, 10)] == [code]
    assert unmapped.count(store) == 1
    unmapped.remove(store, [code])
    assert unmapped.listed(store, 10) == []
