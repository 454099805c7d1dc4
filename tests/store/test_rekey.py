"""Index rows written before identifiers, uris and pairs had a place (app/store/rekey.py)."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

from app.store import keys, rekey, verify
from app.store.database import Address, Connection, connect
from app.store.store import Setting, Store, open_store
from app.store.types import Change, Method, SearchRequest

SETTING = Setting()
PATIENTS = 5
ELSEWHERE = "https://elsewhere.example/fhir/ServiceRequest"
FLIPPED = 0x5A5A << keys.PLACED_BITS  # bits of the place
V2 = "http://terminology.hl7.org/CodeSystem/v2-0203"
NUMBER = {
    "type": {"coding": [{"system": V2, "code": "MR"}]},
    "system": "urn:oid:1.2.3",
}
GLUCOSE = {"coding": [{"system": "http://loinc.org", "code": "2345-7"}]}


def fill(store: Store) -> None:
    for n in range(PATIENTS):
        put(store, "Patient", f"p{n}", identifier=[NUMBER | {"value": f"A-{n}"}])
        put(
            store,
            "Observation",
            f"o{n}",
            status="final",
            code=GLUCOSE,
            basedOn=[{"reference": f"{ELSEWHERE}/s{n}"}],
            subject={"reference": f"Patient/p{n}", "identifier": NUMBER | {"value": f"A-{n}"}},
        )


def put(store: Store, type_name: str, id_: str, **members: Any) -> None:
    body = json.dumps({"resourceType": type_name, "id": id_, **members}).encode()
    store.commit([Change(Method.UPDATE, type_name, id_, body)])


def rows(db: Connection) -> list[tuple[int, ...]]:
    return sorted(tuple(row) for row in db.all("SELECT k,d,pk,s FROM ix"))


def make_old(db: Connection) -> None:
    """Put the hashed keys elsewhere, as keys without a place were."""
    old = [(k ^ FLIPPED if k < 0 else k, *more) for k, *more in rows(db)]
    db.run("DELETE FROM ix")
    db.many("INSERT INTO ix (k,d,pk,s) VALUES (?,?,?,?)", old)
    db.run("UPDATE fact SET value='6' WHERE name='schema'")


def found(store: Store, type_name: str, *params: tuple[str, str]) -> list[str]:
    page = store.search(SearchRequest(type_name, list(params)))
    return [match.id for match in page.matches]


def test_a_database_that_is_upgraded_finds_what_it_found(database_url: str, monkeypatch: Any):
    monkeypatch.setattr(rekey, "_ROWS", 3)
    with closing(open_store(database_url, SETTING)) as store:
        fill(store)
    with closing(connect(Address(database_url), write=True)) as db:
        before = rows(db)
        make_old(db)
        assert len(set(rows(db)) & set(before)) < len(before) / 2

    with closing(open_store(database_url, SETTING)) as store:
        assert found(store, "Patient", ("identifier", "urn:oid:1.2.3|A-3")) == ["p3"]
        assert found(store, "Patient", ("identifier:of-type", f"{V2}|MR|A-2")) == ["p2"]
        assert found(store, "Observation", ("subject:identifier", "urn:oid:1.2.3|A-4")) == ["o4"]
        assert found(store, "Observation", ("based-on", f"{ELSEWHERE}/s3")) == ["o3"]
        assert found(store, "Observation", ("patient", "p1"), ("code", "2345-7")) == ["o1"]
    with closing(connect(Address(database_url))) as db:
        assert rows(db) == before
        assert list(verify.index(db, SETTING.preparer(), every=True)) == []


def test_what_has_its_key_keeps_it(database_url: str):
    with closing(open_store(database_url, SETTING)) as store:
        fill(store)
    with closing(connect(Address(database_url), write=True)) as db:
        before = rows(db)
        db.begin()

        said: list[tuple[int, int]] = []
        rekey.rekey(db, lambda *n: said.append(n))

        assert said[-1] == (2 * PATIENTS, 2 * PATIENTS)
        assert rows(db) == before
        db.rollback()
