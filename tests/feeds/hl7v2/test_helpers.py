"""Processes that read messages: the same result as this process, and none missed without them."""

import os
import signal
import socket
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from app.errors import Unavailable
from app.feeds.hl7v2.ack import Header
from app.feeds.hl7v2.convert import Options
from app.feeds.hl7v2.helpers import Helper, Helpers, Question, limit_s
from app.feeds.hl7v2.loop import Loop
from app.feeds.hl7v2.nursery import MORE, reply
from app.feeds.hl7v2.reading import Read, Reader, packed
from app.store.prepare import unpacked_words
from app.store.store import Setting
from tests.feeds.mutations import mutations
from tests.support import wait_for

READER = Reader(Options(), Setting().zone, Setting().preparer())
HANGS = b"MSH|^~\\&|A|B|C|D|2025||ADT^A04|X2|P|2.5.1\rHANG\r"
POISON = b"MSH|^~\\&|A|B|C|D|2025||ADT^A04|X1|P|2.5.1\rPOISON\r"


def told(raw):
    """Read as who reads would sign it; a poisoned message ends the process, another never ends."""
    if b"POISON" in raw:
        os.kill(os.getpid(), signal.SIGKILL)
    if b"HANG" in raw:
        signal.pause()
    return Read(Header(codec=f"{raw.decode()} by {os.getpid()}"))


@contextmanager
def looping():
    loop = Loop("test")
    loop.start()
    try:
        yield loop
    finally:
        loop.stop()


@contextmanager
def helpers_for(read, number=2, **more):
    helpers = Helpers(read, number, **more)
    with looping() as loop:
        helpers.start(loop)
        try:
            yield helpers
        finally:
            helpers.close()


def ask_all(helpers, messages):
    """Ask for all at once; return what became of each."""
    answers = [Future() for _ in messages]

    async def ask():
        for raw, answer in zip(messages, answers, strict=True):
            helpers.ask(raw, answer.set_result)

    helpers._loop.run(ask())
    return [one.result(120) for one in answers]


def ask(helpers, raw):
    (answer,) = ask_all(helpers, [raw])
    return answer


def test_a_helper_reads_as_this_process_does():
    messages = list(mutations(40))
    with helpers_for(READER.read, 1) as helpers:
        answers = ask_all(helpers, messages)

    assert [whole(read) for read in answers] == [whole(READER.read(raw)) for raw in messages]


def whole(read):
    """Return what came over a pipe with its dictionary rows where they are made.

    What is known of members decides in which order rows come.
    """
    for said in read.said.statements if read.said else ():
        if said.prepared is not None:
            entries = said.prepared.entries
            if said.prepared.words:
                words = unpacked_words(said.prepared.words)
                for name in ("codes", "texts", "units"):
                    setattr(entries, name, getattr(words, name))
                said.prepared.words = b""
            for name in ("keys", "refs", "urls", "strs", "dts", "codes", "texts", "idents"):
                getattr(entries, name).sort()
    return read


def test_warming_up_reads_what_senders_say_and_holds_up_no_message():
    said = [READER.read(raw) for raw in MORE]
    with helpers_for(told, 1) as helpers:
        before = ask(helpers, b"one")
        helpers.warm()
        after = [ask(helpers, b"two"), ask(helpers, POISON), ask(helpers, b"three")]

    assert all(one.wrong is None and one.said for one in said)
    read = [one.header.codec.split()[0] for one in (before, *after) if one.wrong is None]
    assert read == ["one", "two", "three"]


def test_a_message_that_ends_its_reader_is_at_fault_and_no_other():
    messages = [b"one", POISON, b"two", b"three", POISON, b"four"]
    with helpers_for(told) as helpers:
        answers = ask_all(helpers, messages)
        after = [ask(helpers, b"five"), ask(helpers, b"six")]

    right = [one.header.codec.split()[0] for one in (*answers, *after) if one.wrong is None]
    assert right == ["one", "two", "three", "four", "five", "six"]
    assert f"by {os.getpid()}" not in str([answers, after])
    for one in (answers[1], answers[4]):
        assert one.header.field(10) == "X1"
        assert one.wrong.issues[0].details == "reader-lost"
        assert not one.refused


def test_a_message_that_is_read_for_too_long_is_at_fault_and_its_reader_is_ended():
    messages = [b"one", HANGS, b"two", HANGS, b"three", b"four"]
    with helpers_for(told, limit_s=lambda raw: 0.01 if b"HANG" in raw else 600.0) as helpers:
        ask_all(helpers, [b"zero", b"zero"])  # both are there
        hanging = helpers._helpers[1].pid
        answers = ask_all(helpers, messages)
        after = [ask(helpers, b"five"), ask(helpers, HANGS), ask(helpers, b"six")]

        wait_for(lambda: ended(hanging))

    right = [one.header.codec.split()[0] for one in (*answers, *after) if one.wrong is None]
    assert right == ["one", "two", "three", "four", "five", "six"]
    assert f"by {os.getpid()}" not in str([answers, after])
    for one in (answers[1], answers[3], after[1]):
        assert one.header.field(10) == "X2"
        assert one.wrong.issues[0].details == "reader-timeout"
        assert not one.refused


def test_a_large_message_may_be_read_for_longer():
    assert 10 < limit_s(b"MSH|") < 60 < 900 < limit_s(bytes(16 << 20))


def ended(pid):
    """Say whether a process is gone, or waits for its parent to take note of that."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in ("Z", "X")
    except FileNotFoundError:
        return True


def test_a_helper_that_is_killed_is_replaced_and_what_it_was_asked_is_read():
    with helpers_for(told, 1) as helpers:
        pid = int(ask(helpers, b"one").header.codec.split()[-1])
        os.kill(pid, signal.SIGKILL)

        codecs = [ask(helpers, raw).header.codec.split() for raw in (b"two", b"three")]

    assert [codec[0] for codec in codecs] == ["two", "three"]
    assert not {str(pid), str(os.getpid())} & {codec[-1] for codec in codecs}


def test_helpers_are_replaced_no_more_often_than_they_may():
    clock = [0.0]
    with helpers_for(told, 1, now=lambda: clock[0]) as helpers:
        answers = [ask(helpers, POISON) for _ in range(40)]
        assert isinstance(answers[-1].wrong.error(), Unavailable)
        assert ask(helpers, b"one").wrong.issues[0].details == "no-reader"

        clock[0] = 61.0
        assert ask(helpers, b"two").wrong is None


def test_without_the_process_helpers_come_from_this_one_reads():
    with helpers_for(told, 1) as helpers:
        ask(helpers, b"one")
        (helper,) = helpers._helpers
        os.kill(helpers._nursery.pid, signal.SIGKILL)
        os.kill(helper.pid, signal.SIGKILL)
        wait_for(lambda: not (helper.alive or helpers._nursery.is_alive()))

        assert ask(helpers, b"two").header.codec == f"two by {os.getpid()}"


def test_helpers_end_with_the_process_that_asks_them():
    with helpers_for(told, 3) as helpers:
        for raw in (b"one", b"two", b"three"):
            ask(helpers, raw)

    assert helpers._nursery.exitcode == 0  # after all that it forked


def test_what_was_asked_is_read_before_helpers_end():
    with looping() as loop:
        helpers = Helpers(told, 1)
        helpers.start(loop)
        answers = [Future() for _ in range(20)]

        async def ask_for_all():
            for answer in answers:
                helpers.ask(bytes(100_000), answer.set_result)

        loop.run(ask_for_all())
        helpers.close()

    assert all(one.done() for one in answers)


@contextmanager
def one_helper(limit_s=lambda raw: 30.0):
    """Yield how to ask a helper, its end of the pipe, and what becomes of what was asked."""
    ours, theirs = socket.socketpair()
    became = []

    async def made():
        return Helper(
            ours,
            lambda question, read: became.append((question.raw, read.header.codec)),
            lambda question, *why: became.append((question.raw, *why)),
            limit_s,
        )

    async def hand(raw):
        helper.ask(Question(raw, became.append))

    async def end():
        helper.close()

    with looping() as loop, theirs:
        helper = loop.run(made())
        yield lambda raw: loop.run(hand(raw)), theirs, became
        if helper.alive:
            loop.run(end())


@pytest.mark.parametrize("broken", [b"\xc1", packed(Read(Header()))[:-1]])
def test_a_reply_that_cannot_be_read_takes_no_other_with_it(broken):
    with one_helper() as (hand, theirs, became):
        hand(b"one")
        hand(b"two")
        reply(theirs, (1).to_bytes(4, "little"))
        reply(theirs, broken)
        reply(theirs, packed(Read(Header(codec="next"))))

        wait_for(lambda: len(became) == 2)
        assert became == [(b"one", True, False), (b"two", "next")]


def test_a_reply_may_come_in_any_portions():
    long = "x" * 600_000
    with one_helper() as (hand, theirs, became):
        for raw in (b"one", b"two", b"three", b"four"):
            hand(raw)
        reply(theirs, (1).to_bytes(4, "little"))
        for codec in (long, "short", long):
            reply(theirs, packed(Read(Header(codec=codec))))
        wait_for(lambda: len(became) == 3)
        theirs.close()
        wait_for(lambda: len(became) == 4)

    assert became == [(b"one", long), (b"two", "short"), (b"three", long), (b"four", True, False)]


def test_a_helper_that_ends_before_it_is_there_was_reading_nothing():
    with one_helper() as (hand, theirs, became):
        hand(b"one")
        theirs.close()

        wait_for(lambda: became)
        assert became == [(b"one", False, False)]
