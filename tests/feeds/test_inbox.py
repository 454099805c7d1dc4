"""The inbox table: what is kept of a message, and how it is found again."""

import pytest
from msgspec.structs import replace

from app.errors import Issue, NotFound
from app.feeds import inbox
from app.feeds.inbox import Entry, State, Wanted
from app.store import schema
from app.store.database import Address, connect

ENTRY = Entry("hl7v2", "F1|LAB", "192.0.2.1", "ADT^A04", "C1", 1000, b"key", b"digest", b"MSH|raw")


@pytest.fixture
def db(database_url):
    schema.upgrade(Address(database_url))
    connection = connect(Address(database_url), write=True)
    yield connection
    connection.close()


def add(db, **more):
    entry = replace(ENTRY, id=next(inbox.next_ids(db, 1)), **more)
    inbox.add(db, 0, entry)
    return entry


def test_an_entry_comes_back_as_it_was(db):
    entry = add(
        db,
        answers=((b"CA",), (b"AA",)),
        issues=(Issue("warning", "value", "text", "PID-3", "d"),),
        touched=("Patient/1/_history/2",),
        state=State.APPLIED,
    )

    assert inbox.get(db, 0, entry.id) == entry


def test_there_is_no_such_entry(db):
    with pytest.raises(NotFound):
        inbox.get(db, 0, 7)


def test_the_same_message_is_found_by_its_key_within_the_window(db):
    first = add(db, received_us=1000)
    add(db, received_us=2000, state=State.DUPLICATE)
    add(db, received_us=2000, key=b"other")

    assert inbox.repeated(db, 0, b"key", 1000).id == first.id
    assert inbox.repeated(db, 0, b"key", 1001) is None
    assert inbox.repeated(db, 1, b"key", 0) is None


def test_what_duplicates_repeat_is_found_while_it_counts(db):
    first = add(db, received_us=1000, state=State.FAILED)
    add(db, received_us=2000, state=State.DUPLICATE, repeats=first.id)

    assert inbox.repeated(db, 0, b"key", 1000).id == first.id
    assert inbox.repeated(db, 0, b"key", 1001) is None
    inbox.change(db, replace(first, state=State.DISCARDED))
    assert inbox.repeated(db, 0, b"key", 0) is None
    again = add(db, received_us=3000)
    assert inbox.repeated(db, 0, b"key", 0).id == again.id
    assert inbox.keys_there(db, 0, [b"key", b"none", b"key"]) == {b"key"}
    assert inbox.keys_there(db, 1, [b"key"]) == set()


def test_how_often_a_message_came_does_not_matter_to_finding_it(tmp_path):
    address = Address(f"sqlite:///{tmp_path}/x.db")  # which counts its steps
    schema.upgrade(address)
    db = connect(address, write=True)
    first = add(db)
    repeats = replace(ENTRY, state=State.DUPLICATE, repeats=first.id)
    inbox.add_all(db, 0, [replace(repeats, id=number) for number in range(2, 2_000)])
    steps = []
    db._db.set_progress_handler(lambda: steps.append(1), 1)

    assert inbox.repeated(db, 0, b"key", 0).id == first.id
    assert inbox.keys_there(db, 0, [b"key"]) == {b"key"}

    assert len(steps) < 300
    db.close()


def test_a_change_keeps_the_bytes(db):
    entry = add(db)
    inbox.change(db, replace(entry, state=State.FAILED, raw=b""))

    found = inbox.get(db, 0, entry.id)
    assert (found.state, found.raw) == (State.FAILED, b"MSH|raw")


def test_entries_are_listed_newest_first_page_by_page(db):
    for number in range(5):
        add(db, received_us=number, control_id=f"C{number}", source=f"S{number % 2}")

    first = inbox.page(db, 0, Wanted(), count=2)
    second = inbox.page(db, 0, Wanted(), count=2, before=first[-1].id)

    assert [one.control_id for one in (*first, *second)] == ["C4", "C3", "C2", "C1"]
    assert [one.control_id for one in inbox.page(db, 0, Wanted(source="S1"), count=9)] == [
        "C3",
        "C1",
    ]
    assert [one.control_id for one in inbox.page(db, 0, Wanted(since_us=3), count=9)] == [
        "C4",
        "C3",
    ]
    assert not inbox.page(db, 0, Wanted(states=(State.FAILED,)), count=9)


def test_waiting_entries_are_the_oldest_of_those_not_applied(db):
    for state in (State.APPLIED, State.REPLAY, State.RECEIVED, State.FAILED, State.RECEIVED):
        add(db, state=state)

    assert [one.id for one in inbox.waiting(db, 0, 2)] == [2, 3]


def test_failed_entries_may_be_discarded_and_what_was_received_replayed(db):
    failed, applied = add(db, state=State.FAILED), add(db, state=State.APPLIED)
    duplicate = add(db, state=State.DUPLICATE)
    ids = [failed.id, applied.id, duplicate.id]

    assert inbox.move(db, 0, ids, State.DISCARDED, reason="test data") == 1
    assert inbox.move(db, 0, ids, State.REPLAY) == 2
    assert inbox.get(db, 0, failed.id).issues[-1].text == "test data"


def test_entries_are_counted_by_state(db):
    add(db, state=State.APPLIED)
    add(db, state=State.RECEIVED)
    add(db, state=State.APPLIED)

    assert inbox.count_by_state(db, 0) == {State.APPLIED: 2, State.RECEIVED: 1}


def test_old_bytes_are_forgotten_but_for_what_is_not_applied(db):
    for number, state in enumerate((State.APPLIED, State.FAILED, State.RECEIVED, State.APPLIED)):
        add(db, state=state, received_us=number)
    add(db, state=State.APPLIED, received_us=9)

    assert [inbox.forget_raw(db, 5, count=3) for _ in range(3)] == [3, 1, 0]
    assert [bool(inbox.get(db, 0, n).raw) for n in range(1, 6)] == [False, True, True, False, True]


def test_bytes_that_were_kept_longer_go_when_nobody_needs_them(db):
    for number, state in enumerate((State.FAILED, State.RECEIVED, State.FAILED, State.FAILED)):
        add(db, state=state, received_us=number)
    inbox.forget_raw(db, 3, count=9)

    inbox.move(db, 0, (1, 4), State.DISCARDED)
    inbox.change(db, replace(inbox.get(db, 0, 2), state=State.APPLIED))
    inbox.move(db, 0, (3,), State.REPLAY)

    assert [bool(inbox.get(db, 0, n).raw) for n in range(1, 5)] == [False, False, True, True]
