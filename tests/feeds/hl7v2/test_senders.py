"""Senders that are answered in another way: the site's `senders.yaml`."""

from concurrent.futures import Future
from datetime import UTC, datetime

import pytest

from app.clock import SetClock
from app.errors import Invalid, Unavailable
from app.feeds.dispatch import Receipt
from app.feeds.hl7v2 import ack, senders
from app.feeds.hl7v2.door import Door, Profile
from app.feeds.hl7v2.exchange import Frame, Peer
from app.feeds.hl7v2.reading import Read
from app.feeds.inbox import State

TABLE = """senders:
  F1|LAB: {original-mode: true}
  F2: {close-when-unstorable: true}
"""


class Headers:
    """A reader that looks at the header only."""

    def read(self, raw):
        return Read(ack.header_of_raw(raw))


class Full:
    """A dispatcher that can store nothing."""

    def take(self, incoming, first, second):
        first(Unavailable("the disk is full"))
        second(Unavailable("the message could not be stored"))


class Storing:
    """A dispatcher that stores and applies at once."""

    def take(self, incoming, first, second):
        if incoming.has_two_stages:
            first(Receipt(1, State.RECEIVED, incoming.reply.stored(1, None)))
            second(Receipt(1, State.APPLIED, incoming.reply.applied(1, None)))
        else:
            first(Receipt(1, State.APPLIED, incoming.reply.applied(1, None)))


def answered(tmp_path, dispatcher, sender):
    """Return MSA-1 of the answers to a message of a sender in enhanced mode, and what closes."""
    (tmp_path / "senders.yaml").write_text(TABLE, "utf-8")
    usual = Profile(UTC)
    clock = SetClock(datetime(2025, 3, 10, tzinfo=UTC))
    door = Door(dispatcher, Headers(), usual, clock, senders=senders.load(tmp_path, usual))
    facility, application = sender.split("|")
    raw = f"MSH|^~\\&|{application}|{facility}|||20250310||ADT^A04|1|P|2.5.1|||AL|AL\r".encode()
    answer = Future()
    door.accept(Frame(raw, Peer("192.0.2.1", 1, 1)), answer.set_result)
    told = answer.result(60)
    sent = (*told.now, *(told.later.result(60) if told.later else ()))
    return [one.split(b"\rMSA|")[1][:2].decode() for one in sent], told.close


@pytest.mark.parametrize(
    ("sender", "codes"), [("F1|LAB", ["AA"]), ("F1|HIS", ["CA", "AA"]), ("F2|LAB", ["CA", "AA"])]
)
def test_a_sender_that_understands_only_original_mode_is_answered_so(tmp_path, sender, codes):
    assert answered(tmp_path, Storing(), sender) == (codes, False)


@pytest.mark.parametrize(
    ("sender", "told"),
    [("F2|LAB", ([], True)), ("F1|LAB", (["AR"], False)), ("F3|LAB", (["CR"], False))],
)
def test_a_sender_may_find_its_connection_closed_when_nothing_can_be_stored(tmp_path, sender, told):
    assert answered(tmp_path, Full(), sender) == told


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("senders: [F1]", ["senders.yaml:1"]),
        ("peers: {}", ["senders.yaml:1"]),
        (
            "senders:\n  F1: {mode: x}\n  F2: true\n  F3:\n    original-mode: 1\n",
            [f"senders.yaml:{line}" for line in (2, 3, 5)],
        ),
    ],
)
def test_each_slip_in_the_table_is_told_with_its_line(tmp_path, text, at):
    (tmp_path / "senders.yaml").write_text(text, "utf-8")

    with pytest.raises(Invalid) as found:
        senders.load(tmp_path, Profile(UTC))

    assert [issue.at for issue in found.value.issues] == at


def test_a_site_without_the_table_has_no_such_senders(tmp_path):
    assert senders.load(tmp_path, Profile(UTC)) == senders.load(None, Profile(UTC)) == {}
