"""`yilian inbox`: list, show, replay and discard on a database that no hub has open."""

import io
import json

import pytest

from app import inbox as command
from app.errors import Invalid, Issue, NotFound
from app.feeds import inbox, received
from app.feeds.inbox import Entry, State
from app.store import schema
from app.store.database import Address, connect, transaction


@pytest.fixture
def url(database_url):
    """A database with one applied and two failed messages (ids 1, 2, 3)."""
    schema.upgrade(Address(database_url))
    db = connect(Address(database_url), write=True)
    states = (State.APPLIED, State.FAILED, State.FAILED)
    with transaction(db):
        for number, state in enumerate(states, 1):
            issues = (Issue("error", "value", "PID-7: not a date"),) if number > 1 else ()
            entry = Entry(
                feed="hl7v2",
                source="LAB",
                peer="10.0.0.1",
                kind="ADT^A01",
                control_id=f"M{number}",
                received_us=10**15,
                key=b"k",
                digest=b"d",
                raw=b"MSH|^~\\&|LAB",
                state=state,
                id=number,
                issues=issues,
            )
            inbox.add(db, 0, entry)
    db.close()
    return database_url


def run(url, *argv):
    stdout = io.StringIO()
    code = command.main([*argv, "--database", url], io.BytesIO(), stdout)
    return code, stdout.getvalue()


def test_many_are_moved_a_portion_at_a_time(url, monkeypatch):
    monkeypatch.setattr(received, "_PORTION", 1)

    assert run(url, "replay", "--failed") == (0, "2 of 2 entries: replay\n")
    assert run(url, "list", "--state", "failed") == (0, "")


def test_a_listing_is_newest_first_and_pages(url):
    _, first = run(url, "list", "--count", "2", "--json")
    _, rest = run(url, "list", "--before", "2", "--json")

    assert [json.loads(line)["id"] for line in first.splitlines()] == [3, 2]
    assert [json.loads(line)["control_id"] for line in rest.splitlines()] == ["M1"]


def test_a_listing_by_state_says_why(url):
    _, shown = run(url, "list", "--state", "failed")

    assert shown.splitlines()[0].split("\t") == [
        "3",
        "2001-09-09T01:46:40.000Z",
        "failed",
        "hl7v2",
        "ADT^A01",
        "LAB",
        "M3",
        "PID-7: not a date",
    ]


def test_show_has_no_bytes_of_the_message(url):
    _, shown = run(url, "show", "2")

    assert json.loads(shown)["state"] == "failed"
    assert "MSH" not in shown


def test_all_that_failed_is_replayed(url):
    assert run(url, "replay", "--failed") == (0, "2 of 2 entries: replay\n")


def ids(listed):
    return [json.loads(line)["id"] for line in listed.splitlines()]


def test_a_listing_is_of_a_sender_and_a_time(url):
    when = ("--since", "2001-09-09", "--until", "2001-09-09T01:46:40Z")
    assert ids(run(url, "list", "--json", "--source", "LAB", *when)[1]) == [3, 2, 1]
    assert run(url, "list", "--source", "HIS") == (0, "")
    assert run(url, "list", "--until", "2001-09-09T01:46:39Z") == (0, "")
    assert run(url, "list", "--since", "2001-09-09T09:46:41") == (0, "")  # Asia/Shanghai
    with pytest.raises(Invalid) as found:
        run(url, "list", "--since", "yesterday")
    assert found.value.at == "--since"


def test_what_failed_of_a_sender_or_a_time_is_replayed_and_what_was_applied_by_its_state(url):
    assert run(url, "replay", "--source", "HIS") == (0, "0 of 0 entries: replay\n")
    assert run(url, "replay", "--source", "LAB", "--control-id", "M2")[1].startswith("1 of 1 ")
    assert run(url, "replay", "--since", "2001-09-09")[1].startswith("1 of 1 ")
    assert run(url, "replay", "--state", "applied", "--feed", "hl7v2")[1].startswith("1 of 1 ")
    assert ids(run(url, "list", "--json", "--state", "replay")[1]) == [3, 2, 1]


@pytest.mark.parametrize(
    "argv",
    [
        ("list", "--count", "0"),
        ("list", "--before", "9" * 20),
        ("list", "--feed", "mllp"),
        ("show", "9" * 20),
        ("replay", "-1"),
        ("discard", "9" * 20, "--reason", "x"),
    ],
)
def test_a_number_or_a_feed_that_cannot_be_is_wrong_usage(url, argv, capsys):
    with pytest.raises(SystemExit) as stop:
        run(url, *argv)

    assert stop.value.code == 2


def test_only_what_failed_may_be_discarded_and_the_reason_is_kept(url):
    assert run(url, "discard", "1", "2", "--reason", "test data")[0] == 1

    assert json.loads(run(url, "show", "1")[1])["state"] == "applied"
    discarded = json.loads(run(url, "show", "2")[1])
    assert discarded["state"] == "discarded"
    assert discarded["issues"][-1]["text"] == "test data"


def test_replay_needs_ids_or_failed(url):
    with pytest.raises(Invalid, match="say which entries"):
        run(url, "replay")


def test_an_entry_or_a_database_that_is_not_there_is_said_clearly(url, tmp_path):
    with pytest.raises(NotFound, match="no such inbox entry"):
        run(url, "show", "99")
    with pytest.raises(NotFound, match="no database"):
        run(f"sqlite:///{tmp_path / 'none.db'}", "list")
