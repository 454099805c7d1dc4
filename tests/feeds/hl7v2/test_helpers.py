"""Processes that read messages: the same result as this process, and none missed without them."""

import os
import signal
from multiprocessing import Pipe

from msgspec.msgpack import encode

from app.feeds.hl7v2.ack import Header
from app.feeds.hl7v2.convert import Options
from app.feeds.hl7v2.helpers import Helper
from app.feeds.hl7v2.reading import Read, Reader
from app.store.store import Setting
from tests.feeds.mutations import mutations
from tests.support import wait_for

READER = Reader(Options(), Setting().zone, Setting().preparer())


def test_a_helper_reads_as_this_process_does():
    helper = Helper(READER.read)
    messages = list(mutations(40))
    try:
        assert all(helper.ask(raw) for raw in messages)

        assert [helper.answer(raw) for raw in messages] == [READER.read(raw) for raw in messages]
    finally:
        helper.close()
        helper.join()


def test_what_a_lost_helper_was_asked_is_read_here():
    def read(raw):
        return Read(Header(codec=f"{raw.decode()} by {os.getpid()}"))

    helper = Helper(read)
    process = helper._process
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not process.is_alive())

    helper.ask(b"one")
    assert helper.answer(b"one").header.codec == f"one by {os.getpid()}"
    assert helper.ask(b"two") is False
    helper.close()
    helper.join()


def test_helpers_end_with_the_process_that_asks_them():
    helpers = [Helper(READER.read) for _ in range(3)]

    for helper in helpers:
        helper.close()
    for helper in helpers:
        helper.join()

    assert [helper._process.exitcode for helper in helpers] == [0, 0, 0]


def test_a_reply_that_cannot_be_read_is_made_here():
    helper = Helper(READER.read)
    raw = next(mutations(1))
    helper._pipe.close()
    helper._pipe, theirs = Pipe()
    theirs.send_bytes(b"\xc1")
    theirs.send_bytes(encode(Read(Header(codec="next"))))
    try:
        assert helper.answer(raw) == READER.read(raw)
        assert helper.answer(raw).header.codec == "next"
    finally:
        theirs.close()
        helper.close()
        helper.join()
