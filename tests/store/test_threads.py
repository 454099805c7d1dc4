"""Threads come and go, as those of HTTP workers do: their connections go with them."""

import os
import threading
from pathlib import Path

import psycopg

from app.feeds.received import Received
from app.store.database import SQLITE, Address
from tests.support import wait_for


def open_connections(url: str) -> int:
    """Return how many connections to the database are open now, beside the one that asks."""
    address = Address(url)
    if address.dialect != SQLITE:
        with psycopg.connect(url) as db:
            row = db.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname=current_database() AND application_name='yilian'"
            ).fetchone()
            return row[0] if row else 0
    path = os.path.realpath(address.path)
    return sum(os.path.realpath(file) == path for file in Path("/proc/self/fd").iterdir())


def test_a_thread_that_ends_takes_its_connections_along(kit):
    received = Received(Address(kit.url))
    made = kit.create({"resourceType": "Patient"})

    def work():
        kit.store.read("Patient", made.id)
        kit.create({"resourceType": "Patient"})
        received.page(count=1)

    def in_threads(number):
        for _ in range(number):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

    in_threads(2)  # SQLite keeps descriptors for the next connection to the file
    few = open_connections(kit.url)
    in_threads(24)

    # Not `<= few`: threads of the store's own may connect while these come and go.
    wait_for(lambda: open_connections(kit.url) < few + 8)
    received.close()
    assert kit.store.read("Patient", made.id).version_id == 1
