"""Rows of many resources in one statement, and the seal over what was written."""

from __future__ import annotations

from contextlib import suppress

import pytest

from app.store import verify
from app.store.batch import Batch, write
from app.store.database import Address, connect, driver_errors, transaction
from app.store.seal import Chain
from app.store.types import Change, Method


@pytest.fixture
def db(kit):
    connection = connect(Address(kit.url), write=True)
    yield connection
    connection.close()


# Only there rows are inserted table by table, and sealed by who writes them.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def log_row(pk, digest=b"d"):
    return (0, pk, 1, pk, 1, 0, 5, digest)


@pytest.mark.parametrize("count", [1, 31, 32, 33, 64, 100])
def test_a_resource_has_all_its_keys_however_many(db, count):
    batch = Batch(ix=[(7, 1, 2, *range(count))])

    with transaction(db):
        write(db, batch)

    rows = db.all("SELECT k,d,pk,s FROM ix ORDER BY k")
    assert rows == [(k, 7, 1, 2) for k in range(count)]


@pytest.mark.parametrize("count", [1, 15, 16, 17, 40])
def test_rows_of_a_table_are_all_written_in_their_order(db, count):
    batch = Batch(log=[log_row(pk) for pk in range(count)])

    with transaction(db):
        write(db, batch)

    rows = db.all("SELECT pk FROM log ORDER BY seq")
    assert rows == [(pk,) for pk in range(count)]


def test_a_key_that_is_there_already_stays_as_it_is(db):
    with transaction(db):
        write(db, Batch(ix=[(7, 1, 2, 10, 11)]))

    with transaction(db):
        write(db, Batch(ix=[(7, 1, 3, 11, 12)]))

    assert db.all("SELECT k,s FROM ix ORDER BY k") == [(10, 2), (11, 2), (12, 3)]


def test_nothing_stays_of_rows_of_which_one_is_there_already(db):
    row = (5, 0, 5, 1, "a", 0, 1, 0, 0, 0, b"{}", None)
    rows = [(pk, *row[1:4], f"a{pk}", *row[5:]) for pk in (1, 2, 5, 5, 6)]

    with pytest.raises(driver_errors(db.dialect)), transaction(db):
        write(db, Batch(res=rows))

    assert db.all("SELECT pk FROM res") == []


@on_sqlite
def test_a_set_that_is_undone_leaves_nothing_in_the_seal(kit, db):
    writer = kit.store.writer

    def work(session):
        session.commit(prepared(kit, "a"))
        with suppress(ZeroDivisionError), session.savepoint():
            session.commit(prepared(kit, "b"))
            raise ZeroDivisionError
        session.commit(prepared(kit, "c"))

    writer.run(work)

    assert db.all("SELECT max(seq) FROM log") == [(2,)]
    assert list(verify.seals(db)) == []


def prepared(kit, id_):
    body = b'{"resourceType":"Basic","id":"%b","code":{"text":"x"}}' % id_.encode()
    return kit.store.preparer.prepare([Change(Method.UPDATE, "Basic", id_, body)])


@on_sqlite
def test_rows_of_the_log_that_were_not_told_are_read_for_the_seal(db):
    chain = Chain(db)

    with transaction(db):
        write(db, Batch(log=[log_row(1, b"a"), log_row(2, b"b")]))
        chain.add([b"a"])
    chain.committed()

    assert list(verify.seals(db)) == []
    assert db.one("SELECT max(seq) FROM seal") == (2,)
