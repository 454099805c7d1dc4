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
from app.feeds.hl7v2.exchange import NO_ANSWER, Frame, Peer
from app.feeds.hl7v2.helpers import Helpers
from app.feeds.hl7v2.loop import Loop
from app.feeds.hl7v2.reading import Read
from app.feeds.inbox import State

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

    def take(self, incoming, first, second):
        if incoming.control_id == "FAULT":
            raise RuntimeError("a fault")
        self.seen.append(incoming.control_id)
        first(Receipt(1, State.APPLIED, incoming.reply.applied(1, None)))


class Later:
    """A dispatcher whose messages are answered by the test."""

    def __init__(self):
        self.given = queue.SimpleQueue()

    def take(self, incoming, first, second):
        self.given.put(first)

    def answer(self):
        """Answer the oldest message; return a weak reference to what its answer was kept in."""
        first = self.given.get(timeout=120)
        first(Receipt(1, State.APPLIED, ()))
        return weakref.ref(first)


class Asked:
    """Helpers whose replies the test gives, in the order of the questions."""

    def __init__(self):
        self._told = queue.SimpleQueue()

    def start(self, loop):
        self._loop = loop

    def ask(self, raw, told):
        self._told.put(lambda: told(Read(ack.header_of_raw(raw))))

    def reply(self):
        async def reply():
            self._told.get_nowait()()

        self._loop.run(reply())

    def close(self):
        pass


class Thread:
    """A door as its listener uses it: by one thread."""

    def __init__(self, door, loop):
        self._door, self._loop = door, loop

    def hand_in(self, *raws, elsewhere=()):
        """Return what will be the answers to frames. elsewhere: come next, on a connection each."""
        frames = [Frame(raw, PEER) for raw in raws]
        frames += [Frame(raw, PEER._replace(connection=n)) for n, raw in enumerate(elsewhere, 2)]
        answers = [Future() for _ in frames]

        async def hand_in():
            for frame, answer in zip(frames, answers, strict=True):
                self._door.accept(frame, answer.set_result)

        self._loop.run(hand_in())
        return answers


@contextmanager
def door(dispatcher, helpers=None, **options):
    clock, loop = SetClock(datetime(2025, 3, 10, tzinfo=UTC)), Loop("test")
    loop.start()
    if helpers is not None:
        helpers.start(loop)
    one = Door(dispatcher, Headers(), Profile(UTC), clock, helpers, **options)
    try:
        yield Thread(one, loop)
    finally:
        one.stop()
        loop.stop()


class Issues(Notebook):
    """A notebook of what was doubtful about each message."""

    def take(self, incoming, first, second):
        super().take(incoming, first, second)
        self.seen[-1] = [issue.details for issue in incoming.issues]


def test_a_control_id_that_another_message_had_is_warned_of():
    dispatcher = Issues()
    other_sender = message("C1", 9).replace(b"|F1|", b"|F2|")
    with door(dispatcher) as to:
        frames = (message("C1"), message("C1"), other_sender, message("C1", 5), message("C2"))
        for answer in to.hand_in(*frames):
            answer.result(120)

    assert dispatcher.seen == [[], [], [], ["control-id-reused"], []]


class Refusing(Notebook):
    """A notebook of what was refused, answered so."""

    def take(self, incoming, first, second):
        error = incoming.stated if incoming.refused else None
        self.seen.append(error and error.issues[0].details)
        first(Receipt(1, State.FAILED, incoming.reply.stored(1, error)))


@pytest.mark.parametrize("codec", ["utf-8", "utf-16"])
def test_a_frame_of_more_messages_than_can_be_held_is_refused_as_one(codec):
    dispatcher = Refusing()
    flood = (message("C1").decode() + "MSH|^~\\&|\r" * 10_000).encode(codec)
    with door(dispatcher) as to:
        (answer,) = to.hand_in(flood)
        (told,) = answer.result(120).now

    assert dispatcher.seen == ["too-many-messages"]
    assert told.decode(codec.replace("16", "16-le")).split("\r")[1].startswith("MSA|AE|C1")


class InTwoStages(Notebook):
    """A notebook of messages that are stored first."""

    def take(self, incoming, first, second):
        self.seen.append(incoming.control_id)
        if incoming.has_two_stages:
            first(Receipt(1, State.RECEIVED, incoming.reply.stored(1, None)))
            second(Receipt(1, State.APPLIED, incoming.reply.applied(1, None)))
        else:
            first(Receipt(1, State.APPLIED, incoming.reply.applied(1, None)))


@pytest.mark.parametrize("count", [0, 2])
def test_a_batch_goes_in_portions_and_what_comes_after_it_waits_on_its_connection_alone(count):
    dispatcher = InTwoStages()
    helpers = Helpers(Headers().read, count) if count else None
    staged = message("{}").replace(b"|P|2.5.1", b"|P|2.5.1|||AL|AL").decode()
    batch = "".join(staged.format(f"B{n}") for n in range(200)).encode()
    with door(dispatcher, helpers) as to:
        to.hand_in(message("first"))[0].result(120)
        frames = (batch, message("behind"), batch, message("last"))
        promised = to.hand_in(*frames, elsewhere=[message("other")])
        told = [one.result(120) for one in promised]
        codes = [[one.split(b"\rMSA|")[1][:-1] for one in answers.now] for answers in told]
        later = [one.split(b"\rMSA|")[1][:-1] for one in told[0].later.result(120)]

    assert codes[0] == codes[2] == [b"CA|B%d" % n for n in range(200)]
    assert later == [b"AA|B%d" % n for n in range(200)]
    assert codes[1::2] == [[b"AA|behind"], [b"AA|last"]]
    own = [name for name in dispatcher.seen if name not in ("first", "other")]
    numbers = [f"B{n}" for n in range(200)]
    assert own == [*numbers, "behind", *numbers, "last"]
    assert dispatcher.seen.index("other") < dispatcher.seen.index("B199")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_frames_keep_their_order_however_they_are_handed_out(count):
    dispatcher = Notebook()
    helpers = Helpers(Headers().read, count) if count else None
    sizes = [0, 0, 100_000, 0, 0, 70_000, 300_000, *[1_000] * 100, 100_000, 0]
    with door(dispatcher, helpers) as to:
        to.hand_in(message("first"))[0].result(120)
        promised = to.hand_in(*(message(str(n), size) for n, size in enumerate(sizes)))
        answers = [one.result(120).now[0] for one in promised]

    assert dispatcher.seen == ["first", *map(str, range(len(sizes)))]
    assert [one.split(b"|")[-1] for one in answers] == [b"%d\r" % n for n in range(len(sizes))]


def test_what_is_read_waits_for_as_much_that_is_being_read():
    dispatcher, helpers = Notebook(), Asked()
    with door(dispatcher, helpers, hold_s=3600) as to:
        to.hand_in(*(message(str(n)) for n in range(5)))
        seen = []
        for _ in range(5):
            helpers.reply()
            seen.append(len(dispatcher.seen))

    assert seen == [0, 0, 3, 4, 5]  # of the five as many as of the two that are left


def test_what_is_read_does_not_wait_long_for_what_is_not():
    dispatcher, helpers = Notebook(), Asked()
    with door(dispatcher, helpers) as to:
        first, *_ = to.hand_in(*(message(str(n)) for n in range(5)))
        helpers.reply()

        assert first.result(120).stored
        assert dispatcher.seen == ["0"]


def test_a_fault_gets_no_answer_and_stops_nobody():
    with door(Notebook()) as to:
        failed, fine = to.hand_in(message("FAULT"), message("C2"))

        assert failed.result(120) is NO_ANSWER
        assert fine.result(120).stored


def test_an_answered_message_is_let_go_without_the_collector():
    dispatcher = Later()
    gc.disable()
    try:
        with door(dispatcher) as to:
            (promised,) = to.hand_in(message("C1"))
            kept = dispatcher.answer()
            assert promised.result(120).stored

        assert kept() is None
    finally:
        gc.enable()
