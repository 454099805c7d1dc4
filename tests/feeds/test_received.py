"""The inbox for those who look: bounded counts, what waits, a database that goes away."""

from __future__ import annotations

from hashlib import sha256

import pytest

from app.errors import Unavailable
from app.feeds import inbox
from app.feeds.inbox import Entry, State
from app.feeds.received import Counted, Received
from app.store import schema
from app.store.database import Address, connect, transaction

RAW = b"raw"


@pytest.fixture
def received(database_url):
    """An inbox of nine: five of hl7v2 applied, one failed; two of iot waiting, one replayed."""
    address = Address(database_url)
    schema.upgrade(address)
    db = connect(address, write=True)
    states = [("hl7v2", State.APPLIED)] * 5 + [("hl7v2", State.FAILED)]
    states += [("iot", State.RECEIVED)] * 2 + [("iot", State.REPLAY)]
    with transaction(db):
        for number, (feed, state) in enumerate(states, 1):
            digest = sha256(RAW).digest()
            entry = Entry(feed, "", "", "", "", number * 1000, digest, digest, RAW, state, number)
            inbox.add(db, 0, entry)
    db.close()
    reader = Received(address)
    yield reader
    reader.close()


def test_entries_are_counted_by_feed_and_state(received):
    assert received.counts(100) == [
        Counted("hl7v2", "applied", 5),
        Counted("hl7v2", "failed", 1),
        Counted("iot", "received", 2),
        Counted("iot", "replay", 1),
    ]
    assert received.counts(3) == [Counted("iot", "received", 2), Counted("iot", "replay", 1)]


def test_the_oldest_entry_that_waits_is_told_by_feed(received):
    assert received.oldest_waiting() == {"iot": 7000}


def test_a_page_has_no_bytes_and_an_entry_has_them(received):
    page = received.page(states=["failed"], count=10)

    assert [(entry.id, entry.raw) for entry in page] == [(6, b"")]
    assert received.get(6).raw == RAW


@pytest.mark.postgres
def test_a_lost_connection_is_replaced(postgres):
    with postgres.database() as url:
        reader = Received(Address(url))
        schema.upgrade(Address(url))
        assert reader.page(count=1) == []
        reader._local.db.close()

        with pytest.raises(Unavailable):
            reader.page(count=1)
        assert reader.page(count=1) == []
        reader.close()
