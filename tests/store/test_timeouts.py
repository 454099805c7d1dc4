"""PostgreSQL that does not answer: nobody waits for ever, and it is told as try again."""

import contextlib
import socket
from datetime import UTC

import psycopg
import pytest

from app.errors import Unavailable
from app.store.database import Address, connect
from app.store.store import Setting, open_store
from app.store.types import Change, Method

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.parametrize("database_url", ["postgres"], indirect=True),
]
PATIENT = Change(Method.UPDATE, "Patient", "p1", body=b'{"resourceType":"Patient","id":"p1"}')


def impatient(url: str) -> str:
    """Return a URL that says itself how long a lock is waited for."""
    return f"{url}&options=-c%20lock_timeout%3D50ms"


@pytest.mark.parametrize(
    ("limited", "limits"), [(True, ["10s", "1min", "2min"]), (False, ["0", "0", "0"])]
)
def test_statements_and_locks_have_limits_where_somebody_waits(database_url, limited, limits):
    with contextlib.closing(connect(Address(database_url), limited=limited)) as db:
        names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
        found = [db.one("SELECT current_setting(?)", (name,)) for name in names]

    assert found == [(limit,) for limit in limits]


def test_who_waits_for_a_lock_is_told_to_try_again(database_url):
    store = open_store(impatient(database_url), Setting(zone=UTC), upkeep=False)
    store.commit([PATIENT])

    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE res IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Unavailable) as read:
            store.read("Patient", "p1")
        with pytest.raises(Unavailable):
            store.commit([PATIENT])
        other.rollback()

    assert read.value.issues[0].code == "timeout"
    assert store.commit([PATIENT])[0].version_id == 2
    assert store.read("Patient", "p1").version_id == 2
    store.close()


def test_a_server_that_says_nothing_is_given_up(database_url):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=2"

        with pytest.raises(Unavailable):
            connect(Address(url))
