"""Statements that a PostgreSQL connection prepares: values of every kind, as often as asked."""

import contextlib

import psycopg
import pytest

from app.store import prepared
from app.store.database import Address, connect

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.parametrize("database_url", ["postgres"], indirect=True),
]
TIMES = 3  # asked once, prepared, and known


@pytest.fixture
def db(database_url):
    with contextlib.closing(connect(Address(database_url))) as connection:
        yield connection


@pytest.mark.parametrize(
    ("sql", "params", "row"),
    [
        ("SELECT ?::bigint,?::smallint,?::bigint", (-(1 << 63), 7, (1 << 63) - 1), None),
        ("SELECT ?::float8", (0.1,), None),
        ("SELECT ?::text,?::text", ("医\U0010ffff'%s?", ""), None),
        ("SELECT ?::bytea", (b"\x00\xff",), None),
        ("SELECT ?::bigint,?::text", (None, None), None),
        ("SELECT ?::boolean", (True,), None),
        (
            "SELECT ?::bigint[],?::text[]",
            ([1, -(1 << 62)], ['a"b', "c\\d", "{,}", "", "NULL"]),
            None,
        ),
        ("SELECT ?::bigint[]", ([],), None),
        ("SELECT '%'||?::text", ("a",), ("%a",)),
    ],
)
def test_values_come_back_as_they_went_out(db, sql, params, row):
    assert [db.one(sql, params) for _ in range(TIMES)] == [row or params] * TIMES


def test_one_statement_takes_values_of_several_kinds(db):
    sql = "SELECT coalesce(?,'')"

    assert [db.one(sql, (value,)) for value in ("a", None, "b", None)] == [
        ("a",),
        ("",),
        ("b",),
        ("",),
    ]


def test_nul_is_refused_however_often_it_is_asked(db):
    for value in ("a", "b", "c"):
        db.one("SELECT ?::text", (value,))

    with pytest.raises(psycopg.DataError):
        db.one("SELECT ?::text", ("a\0b",))
    with pytest.raises(psycopg.DataError):
        db.one("SELECT ?::bigint", (1 << 70,))

    assert db.one("SELECT ?::text", ("d",)) == ("d",)


def test_a_connection_keeps_no_more_statements_than_it_may(db, monkeypatch):
    monkeypatch.setattr(prepared, "_MOST", 3)
    for n in range(20):
        assert [db.one(f"SELECT ?::bigint+{n}", (1,)) for _ in range(TIMES)] == [(1 + n,)] * TIMES

    assert db.one("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'y%'")[0] <= 3


def test_statements_that_the_server_forgot_are_asked_all_the_same(db):
    for n in range(TIMES):
        assert db.one("SELECT ?::bigint", (n,)) == (n,)
    db.script("DEALLOCATE ALL")

    assert [db.one("SELECT ?::bigint", (n,)) for n in range(TIMES)] == [(0,), (1,), (2,)]


def test_what_was_undone_leaves_statements_that_can_be_asked(db):
    for n in range(2 * TIMES):
        db.begin()
        assert db.one("SELECT ?::bigint", (n,)) == (n,)
        db.rollback()
        assert db.one("SELECT ?::bigint", (n,)) == (n,)


def test_a_lost_connection_says_so(db):
    pid = db.one("SELECT pg_backend_pid()")[0]
    assert db.one("SELECT pg_backend_pid()") == (pid,)
    with psycopg.connect(db._db.info.dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s,5000)", (pid,))

    with pytest.raises(psycopg.OperationalError):
        db.one("SELECT pg_backend_pid()")

    assert db.lost
