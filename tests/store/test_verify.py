"""`yilian db check`: whatever is changed behind the store's back is seen."""

from __future__ import annotations

import json

import pytest

from app.fhir import definitions
from app.store import verify
from app.store.database import SQLITE, Address, connect
from app.store.seal import Sealer
from app.store.types import Change, Method
from tests import generate
from tests.support import wait_for

LONG = "影像所见：未见异常密度影。" * 40
PATIENT = {
    "resourceType": "Patient",
    "id": "p",
    "meta": {"tag": [{"system": "t", "code": "red"}]},
    "name": [{"family": "张", "given": ["伟"]}],
    "birthDate": "1980",
    "identifier": [{"system": "s", "value": "v"}],
    "managingOrganization": {"reference": "Organization/never"},
}
OBSERVATION = {
    "resourceType": "Observation",
    "id": "o",
    "status": "final",
    "code": {"coding": [{"system": "s", "code": "c", "display": "d"}]},
    "subject": {"reference": "Patient/p"},
    "effectivePeriod": {"start": "2024", "end": "2026"},
    "valueQuantity": {"value": 1.5, "unit": "mg"},
    "note": [{"text": LONG}],
}


@pytest.fixture
def db(kit):
    """A connection to a store with a few versions of everything, that may write."""
    kit.update(PATIENT)
    kit.update({**PATIENT, "meta": {"source": "urn:x"}, "gender": "male"})  # inherits its tag
    kit.update(OBSERVATION)
    kit.update({**PATIENT, "id": "gone"})
    kit.delete("Patient", "gone")
    bundle = [
        {"resourceType": "Patient", "name": [{"text": LONG}]},
        {**OBSERVATION, "id": None, "subject": {"reference": "urn:uuid:1"}},
    ]
    kit.store.commit(
        [
            Change(
                Method.CREATE,
                r["resourceType"],
                body=json.dumps({n: v for n, v in r.items() if v}).encode(),
                full_url=f"urn:uuid:{number}",
                entry=number - 1,
            )
            for number, r in enumerate(bundle, 1)
        ]
    )
    opened = connect(Address(kit.url), write=True)
    yield opened
    opened.close()


def found(kit, db, every=True):
    return [
        *verify.seals(db),
        *verify.versions(db, every=every),
        *verify.index(db, kit.store._preparer, every=every),
    ]


@pytest.mark.parametrize("every", [True, False])
def test_what_the_store_wrote_is_whole(kit, db, every):
    assert found(kit, db, every) == []


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("DELETE FROM ix WHERE pk={pk} AND k>0", "index rows are missing"),
        ("DELETE FROM str WHERE pk={pk}", "index rows are missing"),
        ("INSERT INTO ix (k,d,pk,s) VALUES (5,5,{pk},{pk})", "1 rows of ix belong to no resource"),
        ("INSERT INTO ident (k,pk,s) VALUES (-5,{pk},{pk})", "1 too many"),
        ("UPDATE res SET method=2 WHERE pk={pk}", "too many"),
        ("INSERT INTO str (pk,p,v,s) VALUES ({pk},5,'x',{pk})", "1 too many"),
        ("INSERT INTO dt (pk,p,lo,hi,s) VALUES ({pk},5,1,2,{pk})", "1 too many"),
        ("INSERT INTO qty (pk,p,u,lo,hi,s) VALUES ({pk},5,0,1,2,{pk})", "1 too many"),
        ("INSERT INTO str (pk,p,v,s) VALUES ({pk},1048577,'x',{pk})", None),
        ("UPDATE res SET d=d+2 WHERE pk={pk}", "its place, owner or presence"),
        ("UPDATE res SET have=0 WHERE pk={pk}", "its place, owner or presence"),
        ("UPDATE res SET told=3 WHERE pk={pk}", "the times of its elements are missing"),
        ("UPDATE res SET told=4 WHERE pk={pk}", None),
        ("UPDATE log SET digest=(SELECT digest FROM log WHERE seq=3) WHERE seq=1", "change log"),
        ("UPDATE log SET lu=lu+1 WHERE pk={pk}", "is about another version"),
        ("DELETE FROM hist WHERE pk={pk}", "a version that is not there"),
        ("UPDATE hist SET body=(SELECT body FROM res WHERE pk={pk})", "is about another version"),
    ],
)
def test_what_was_changed_behind_its_back_is_seen(kit, db, sql, says):
    row = db.one(
        "SELECT pk FROM res WHERE id='p' AND type=?", (definitions.type_number("Patient"),)
    )

    db.run(sql.format(pk=row[0]))

    lines = found(kit, db)
    assert any(says in line for line in lines) if says else not lines


def test_a_parameter_that_is_being_indexed_is_left_out(kit, db):
    kit.store._upkeep.close()
    kit.update(
        {
            "resourceType": "SearchParameter",
            "id": "sex",
            "url": "http://example.org/sex",
            "name": "sex",
            "status": "active",
            "description": "x",
            "code": "sex",
            "base": ["Patient"],
            "type": "token",
            "expression": "Patient.gender",
        }
    )

    assert found(kit, db) == []


def test_the_index_of_every_type_is_what_its_body_gives(kit):
    for type_name in definitions.resource_types():
        for seed in range(2):
            body = generate.body(generate.resource(type_name, seed))
            kit.store.commit([Change(Method.CREATE, type_name, body=body)])
    db = connect(Address(kit.url), write=True)

    assert found(kit, db) == []
    db.close()


# --- seals on PostgreSQL --------------------------------------------------------------------------


def sealed(db):
    return db.one("SELECT max(seq) FROM seal")[0]


def test_the_log_is_sealed_to_its_end_beside_writers(kit, db):
    end = db.one("SELECT max(seq) FROM log")[0]

    wait_for(lambda: sealed(db) == end)

    assert list(verify.seals(db)) == []


def test_a_seal_waits_for_numbers_that_are_taken_but_not_committed(kit, db):
    if db.dialect == SQLITE:
        return  # one writer: numbers are committed in order
    kit.store._upkeep.close()
    slow, sealer = connect(Address(kit.url), write=True), Sealer()
    row = (
        "INSERT INTO log (tenant,s,type,pk,vid,method,lu,digest)"
        " SELECT tenant,s,type,pk,vid,method,lu,digest FROM log WHERE seq=1"
    )
    before = sealed(db)
    slow.begin()
    slow.run(row)
    db.run(row)  # a later number, committed first

    for _ in range(9):
        sealer.tick(db)
    assert sealed(db) == before
    slow.commit()
    slow.close()
    for _ in range(9):
        sealer.tick(db)

    assert sealed(db) == db.one("SELECT max(seq) FROM log")[0]
    assert list(verify.seals(db)) == []
