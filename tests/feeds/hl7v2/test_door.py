"""The HL7 v2 door on a dispatcher that remembers: order, faults, and what is kept of a message."""

import gc
import queue
import weakref
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from app.clock import SetClock
from app.feeds.dispatch import Receipt
from app.feeds.hl7v2 import ack
from app.feeds.hl7v2.door import Door, Profile
from app.feeds.hl7v2.helpers import Helpers
from app.feeds.hl7v2.mllp import NO_ANSWER, Frame, Peer
from app.feeds.hl7v2.reading import Read
from app.feeds.inbox import State
from tests.support import wait_for

PEER = Peer("192.0.2.1", 1, 1)


def message(control_id, size=0):
    text = f"MSH|^~\\&|LAB|F1|Y|H|20250310||ADT^A04|{control_id}|P|2.5.1\rNTE|1||{'x' * size}\r"
    return text.encode()


class Headers:
    """A reader that looks at the header only."""

    def read(self, raw):
        return Read(ack.header_of_raw(raw))


class Notebook:
    """A dispatcher that stores everything at once and remembers control ids."""

    def __init__(self):
        self.seen = []

    def submit(self, incoming):
        if incoming.control_id == "FAULT":
            raise RuntimeError("a fault")
        self.seen.append(incoming.control_id)
        first = Future()
        first.set_result(Receipt(1, State.APPLIED, incoming.reply.applied(1, None)))
        return first, None


class Later:
    """A dispatcher whose messages are answered by the test."""

    def __init__(self):
        self.given = queue.SimpleQueue()

    def submit(self, incoming):
        first = Future()
        self.given.put(first)
        return first, None

    def answer(self):
        """Answer the oldest message; return a weak reference to what its answer was kept in."""
        first = self.given.get(timeout=30)
        wait_for(lambda: first._done_callbacks)
        first.set_result(Receipt(1, State.APPLIED, ()))
        return weakref.ref(first)


@contextmanager
def door(dispatcher, helpers=None):
    clock = SetClock(datetime(2025, 3, 10, tzinfo=UTC))
    one = Door(dispatcher, Headers(), Profile(UTC), clock, helpers)
    one.start()
    try:
        yield one
    finally:
        one.stop()


def hand_in(to, raw):
    answers = Future()
    to.accept(Frame(raw, PEER), answers.set_result)
    return answers


@pytest.mark.parametrize("count", [0, 1, 2])
def test_frames_keep_their_order_however_they_are_handed_out(count):
    dispatcher = Notebook()
    helpers = Helpers(Headers().read, count) if count else None
    sizes = [0, 0, 100_000, 0, 0, 70_000, 300_000, *[1_000] * 100, 100_000, 0]
    with door(dispatcher, helpers) as to:
        hand_in(to, message("first")).result(30)
        promised = [hand_in(to, message(str(n), size)) for n, size in enumerate(sizes)]
        answers = [one.result(30).now[0] for one in promised]

    assert dispatcher.seen == ["first", *map(str, range(len(sizes)))]
    assert [one.split(b"|")[-1] for one in answers] == [b"%d\r" % n for n in range(len(sizes))]


def test_a_fault_gets_no_answer_and_stops_nobody():
    with door(Notebook()) as to:
        failed, fine = hand_in(to, message("FAULT")), hand_in(to, message("C2"))

        assert failed.result(30) is NO_ANSWER
        assert fine.result(30).stored


def test_an_answered_message_is_let_go_without_the_collector():
    dispatcher = Later()
    gc.disable()
    try:
        with door(dispatcher) as to:
            promised = hand_in(to, message("C1"))
            kept = dispatcher.answer()
            assert promised.result(30).stored

        assert kept() is None
    finally:
        gc.enable()
