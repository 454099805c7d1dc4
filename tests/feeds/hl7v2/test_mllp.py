"""The MLLP listener on real sockets: order, pipelining, limits, back-pressure, drain."""

import socket
import struct
import threading
import time
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_network

import pytest

from app.feeds.hl7v2.exchange import NO_ANSWER, Answers
from app.feeds.hl7v2.frames import COMMITTED, HEAD_BYTES, NOT_COMMITTED, frame
from app.feeds.hl7v2.mllp import Limits, Listener, _Connection
from tests.support import wait_for


class Inbox:
    """An `accept` that remembers; answers at once with the payload, or when told to."""

    def __init__(self, *, hold=False):
        self.hold = hold
        self.frames, self.bad, self.answers = [], [], []

    def __call__(self, received, answer):
        if not received.answerable:
            self.bad.append(received)
            answer(Answers())
            return
        self.frames.append(received)
        self.answers.append(answer)
        if not self.hold:
            self.answer(len(self.answers) - 1)

    def answer(self, index, **kw):
        received = self.frames[index]
        payload = b"AR" if received.error else received.payload
        self.answers[index](Answers((b"ack " + payload,), **kw))


@contextmanager
def listening(accept, **kw):
    listener = Listener(("127.0.0.1", 0), accept, **kw)
    listener.start()
    try:
        yield listener
    finally:
        listener.stop(2)


@contextmanager
def connected(listener):
    with socket.create_connection(("127.0.0.1", listener.port), 60) as sock:
        yield sock


def received(sock, size):
    """Return exactly `size` bytes."""
    data = b""
    while len(data) < size and (more := sock.recv(size - len(data))):
        data += more
    return data


def answers(*payloads):
    return b"".join(frame(b"ack " + payload) for payload in payloads)


def assert_gets(sock, expected):
    assert received(sock, len(expected)) == expected


def test_each_frame_is_answered_with_one_strict_frame():
    with listening(Inbox()) as listener, connected(listener) as sock:
        sock.sendall(frame(b"one"))

        assert_gets(sock, answers(b"one"))
        assert listener.counts.frames == 1


def test_bytes_may_come_one_by_one_and_frames_many_at_a_time():
    with listening(Inbox()) as listener, connected(listener) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in frame(b"slowly"):
            sock.sendall(bytes([byte]))
        sock.sendall(b"".join(frame(b"%03d" % n) for n in range(100)))

        assert_gets(sock, answers(b"slowly", *(b"%03d" % n for n in range(100))))


def test_answers_keep_the_order_of_their_frames():
    inbox = Inbox(hold=True)
    with listening(inbox) as listener, connected(listener) as sock:
        sock.sendall(frame(b"a") + frame(b"b") + frame(b"c"))
        wait_for(lambda: len(inbox.frames) == 3)

        for index in (2, 1, 0):
            inbox.answer(index)

        assert_gets(sock, answers(b"a", b"b", b"c"))


def test_later_answers_keep_their_order_and_hold_up_no_first_answers():
    inbox = Inbox(hold=True)
    later = [Future(), Future()]
    with listening(inbox) as listener, connected(listener) as sock:
        sock.sendall(frame(b"a") + frame(b"b"))
        wait_for(lambda: len(inbox.frames) == 2)

        inbox.answer(0, later=later[0])
        inbox.answer(1, later=later[1])
        assert_gets(sock, answers(b"a", b"b"))
        later[1].set_result([b"late b"])
        later[0].set_result([b"late a"])

        assert_gets(sock, frame(b"late a") + frame(b"late b"))


def test_a_frame_may_be_answered_by_nothing():
    def silent(received, answer):
        answer(Answers(() if received.payload == b"hush" else (b"ack x",)))

    with listening(silent) as listener, connected(listener) as sock:
        sock.sendall(frame(b"hush") + frame(b"x"))

        assert_gets(sock, answers(b"x"))


def test_a_missing_carriage_return_and_a_pause_end_a_frame():
    with listening(Inbox(), limits=Limits(pause_s=0.05)) as listener, connected(listener) as sock:
        sock.sendall(b"\x0bmessage\x1c")

        assert_gets(sock, answers(b"message"))


def test_a_restarted_frame_is_handed_over_as_unfinished():
    inbox = Inbox()
    with listening(inbox) as listener, connected(listener) as sock:
        sock.sendall(b"\x0bhalf" + frame(b"whole"))

        assert_gets(sock, answers(b"whole"))
        assert [(f.payload, f.error.issues[0].details) for f in inbox.bad] == [
            (b"half", "frame-unfinished")
        ]


def test_a_frame_too_long_is_refused_and_the_connection_goes_on():
    inbox = Inbox()
    with (
        listening(inbox, limits=Limits(frame_bytes=100_000)) as listener,
        connected(listener) as sock,
    ):
        sock.sendall(frame(b"x" * 300_000) + frame(b"next"))

        assert_gets(sock, answers(b"AR", b"next"))
        assert inbox.frames[0].error.issues[0].details == "frame-too-long"


def test_what_many_peers_have_begun_is_bounded_and_a_long_one_is_asked_again():
    inbox = Inbox()
    limits = Limits(pending_bytes=300_000)
    with listening(inbox, limits=limits) as listener, ExitStack() as stack:
        first, second, third = (stack.enter_context(connected(listener)) for _ in range(3))
        for number, sock in enumerate((first, second), 1):
            sock.sendall(b"\x0b" + b"x" * 149_999)
            wait_for(lambda most=number * 149_999: listener.counts.unfinished_bytes == most)

        third.sendall(frame(b"y" * 149_999) + frame(b"short"))

        assert_gets(third, answers(b"AR", b"short"))
        assert inbox.frames[0].error.issues[0].code == "transient"
        assert len(inbox.frames[0].payload) == HEAD_BYTES
        for sock in (first, second):
            sock.sendall(b"\x1c\r")
            assert_gets(sock, answers(b"x" * 149_999))
        assert listener.counts.unfinished_bytes == 0


def test_a_peer_that_closed_its_half_gets_every_answer():
    inbox = Inbox(hold=True)
    with listening(inbox) as listener, connected(listener) as sock:
        sock.sendall(frame(b"a") + frame(b"b") + b"\x0bcut")
        sock.shutdown(socket.SHUT_WR)
        wait_for(lambda: len(inbox.bad) == 1)

        for index in (0, 1):
            inbox.answer(index)

        assert_gets(sock, answers(b"a", b"b"))
        assert sock.recv(10) == b""
        assert inbox.bad[0].payload == b"cut"


def test_a_reset_hurts_nobody_and_accepts_nothing():
    inbox = Inbox()
    with listening(inbox) as listener:
        with connected(listener) as sock:
            sock.sendall(b"\x0bhalf a message")
            wait_for(lambda: listener.counts.bytes > 10)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_for(lambda: inbox.bad)
        with connected(listener) as sock:
            sock.sendall(frame(b"fine"))

            assert_gets(sock, answers(b"fine"))
        assert [f.payload for f in inbox.frames] == [b"fine"]


def test_a_frame_that_never_ends_is_closed_in_time():
    inbox = Inbox()
    with (
        listening(inbox, limits=Limits(frame_timeout_s=0.05)) as listener,
        connected(listener) as sock,
    ):
        sock.sendall(b"\x0bnever")

        assert sock.recv(10) == b""
        assert inbox.bad[0].payload == b"never"


def test_a_complete_frame_stops_the_clock_of_frames():
    inbox = Inbox(hold=True)
    with listening(inbox) as listener, connected(listener) as sock:
        sock.sendall(b"\x0ba")
        (connection,) = wait_for(lambda: list(listener.connections))
        wait_for(lambda: connection._frame_timer is not None)
        sock.sendall(b"\x1c\r")
        wait_for(lambda: inbox.frames)
        wait_for(lambda: connection._frame_timer is None)
        inbox.answer(0)

        assert_gets(sock, answers(b"a"))


def test_an_idle_connection_is_closed_only_when_a_limit_is_set():
    with (
        listening(Inbox(), limits=Limits(idle_timeout_s=0.05)) as listener,
        connected(listener) as sock,
    ):
        assert sock.recv(10) == b""


@pytest.mark.parametrize("limits", [Limits(pending=3), Limits(pending_bytes=3)])
def test_reading_stops_when_the_queue_is_full_and_goes_on_when_there_is_room(limits):
    inbox = Inbox(hold=True)
    with (
        listening(inbox, limits=limits) as listener,
        connected(listener) as one,
        connected(listener) as two,
    ):
        one.sendall(b"".join(frame(b"%d" % n) for n in range(5)))
        wait_for(lambda: len(inbox.frames) == 3)
        two.sendall(frame(b"5"))
        threading.Event().wait(0.1)
        assert len(inbox.frames) == 3

        for index in range(6):
            wait_for(lambda index=index: len(inbox.answers) > index)
            inbox.answer(index)

        assert_gets(one, answers(b"0", b"1", b"2", b"3", b"4"))
        assert_gets(two, answers(b"5"))


def test_frames_that_are_begun_again_and_again_stop_reading_like_whole_ones():
    taken = []

    def holding(received, answer):
        taken.append((received, answer))

    limits = Limits(pending_per_connection=3)
    with listening(holding, limits=limits) as listener, connected(listener) as sock:
        sock.sendall(b"\x0bx" * 6 + frame(b"whole"))
        wait_for(lambda: len(taken) == 3)
        threading.Event().wait(0.1)
        assert (len(taken), listener.counts.pending) == (3, 3)

        for index in range(7):
            wait_for(lambda index=index: len(taken) > index)
            one, answer = taken[index]
            answer(Answers((b"ack " + one.payload,) if one.answerable else ()))

        assert_gets(sock, answers(b"whole"))
        wait_for(lambda: listener.counts.pending == 0)


def test_a_peer_that_reads_no_answers_is_not_read_further():
    def large(received, answer):
        answer(Answers((b"x" * 1_000_000,)))

    limits = Limits(pending_per_connection=4)
    with listening(large, limits=limits) as listener, connected(listener) as sock:
        sock.sendall(frame(b"m") * 100)
        wait_for(lambda: listener.counts.answers > 0)
        threading.Event().wait(0.1)

        assert listener.counts.frames < 100


def test_one_slow_connection_does_not_hold_up_another():
    inbox = Inbox(hold=True)
    with listening(inbox) as listener, connected(listener) as slow, connected(listener) as quick:
        slow.sendall(frame(b"slow"))
        wait_for(lambda: len(inbox.frames) == 1)
        quick.sendall(frame(b"quick"))
        wait_for(lambda: len(inbox.frames) == 2)
        inbox.answer(1)

        assert_gets(quick, answers(b"quick"))
        inbox.answer(0)


def test_stop_answers_what_is_complete_and_then_closes():
    inbox = Inbox(hold=True)
    with listening(inbox) as listener, connected(listener) as sock, connected(listener) as idle:
        sock.sendall(frame(b"a"))
        wait_for(lambda: inbox.frames)
        stopped = []
        stopping = threading.Thread(target=lambda: stopped.append(listener.stop(60)))
        stopping.start()
        assert idle.recv(10) == b""
        inbox.answer(0)

        assert_gets(sock, answers(b"a"))
        assert sock.recv(10) == b""
        stopping.join()
        assert stopped == [True]


def test_stop_leaves_no_connection_open_that_comes_at_that_moment():
    listener = Listener(("127.0.0.1", 0), Inbox())
    listener.start()
    gate = threading.Event()

    async def hold():
        gate.wait(60)

    holding = threading.Thread(target=lambda: listener._loop.run(hold()))
    holding.start()
    with connected(listener) as sock:  # by the system: the loop has not seen it yet
        stopping = threading.Thread(target=lambda: listener.stop(60))
        stopping.start()
        gate.set()
        for thread in (holding, stopping):
            thread.join(60)

        with suppress(ConnectionResetError):
            assert sock.recv(1) == b""


def test_stop_gives_up_in_time_on_what_is_never_answered():
    inbox = Inbox(hold=True)
    with listening(inbox) as listener, connected(listener) as sock:
        sock.sendall(frame(b"a"))
        wait_for(lambda: inbox.frames)

        assert listener.stop(0.05) is False


def test_a_peer_that_has_gone_before_it_was_met_is_not_met():
    class Gone:
        aborted = False

        def get_extra_info(self, name):
            return None

        def abort(self):
            self.aborted = True

    gone = Gone()
    listener = Listener(("127.0.0.1", 0), Inbox())

    _Connection(listener).connection_made(gone)

    assert gone.aborted
    assert not listener.connections
    assert listener.counts.connections_refused == 1


def test_too_many_connections_are_refused():
    with (
        listening(Inbox(), limits=Limits(connections_per_peer=1)) as listener,
        connected(listener) as first,
        connected(listener),
    ):
        wait_for(lambda: listener.counts.connections_refused == 1)
        first.sendall(frame(b"a"))

        assert_gets(first, answers(b"a"))


def test_a_listener_for_other_machines_needs_the_networks_that_may_connect():
    with pytest.raises(ValueError, match="networks"):
        Listener(("0.0.0.0", 0), Inbox())  # noqa: S104

    listener = Listener(("0.0.0.0", 0), Inbox(), allow=[ip_network("192.0.2.0/24")])  # noqa: S104
    assert [listener.admits(host) for host in ("192.0.2.7", "198.51.100.7", "127.0.0.1")] == [
        True,
        False,
        True,
    ]
    assert listener.admits("::ffff:192.0.2.7")


def test_a_failed_accept_closes_the_connection_without_an_answer():
    def failing(received, answer):
        answer(NO_ANSWER)

    with listening(failing) as listener, connected(listener) as sock:
        sock.sendall(frame(b"a"))

        assert sock.recv(10) == b""


@pytest.mark.parametrize(("stored", "said"), [(True, COMMITTED), (False, NOT_COMMITTED)])
def test_release_2_says_first_whether_the_frame_is_safe(stored, said):
    inbox = Inbox(hold=True)
    with listening(inbox, release_2=True) as listener, connected(listener) as sock:
        sock.sendall(frame(b"a"))
        wait_for(lambda: inbox.frames)
        inbox.answer(0, stored=stored)
        assert_gets(sock, frame(said) + answers(b"a"))
        sock.sendall(frame(COMMITTED) + frame(b"b"))

        wait_for(lambda: len(inbox.frames) == 2)
        assert inbox.frames[1].payload == b"b"
        inbox.answer(1)


def test_an_address_in_use_is_told_at_start():
    with listening(Inbox()) as listener, pytest.raises(OSError, match="address already in use"):
        Listener(("127.0.0.1", listener.port), Inbox()).start()


def test_seconds_to_the_first_answer_are_told():
    seconds = []
    with listening(Inbox(), answered=seconds.append) as listener, connected(listener) as sock:
        begun = time.monotonic()
        sock.sendall(frame(b"a"))
        assert_gets(sock, answers(b"a"))

        wait_for(lambda: seconds)
        assert 0 < seconds[0] < time.monotonic() - begun


def test_two_hundred_connections_stay_open_beside_a_busy_one():
    with listening(Inbox()) as listener, connected(listener) as busy:
        idle = [socket.create_connection(("127.0.0.1", listener.port), 60) for _ in range(200)]
        try:
            for n in range(20):
                busy.sendall(frame(b"%d" % n))
                assert_gets(busy, answers(b"%d" % n))
            for sock in idle:
                sock.sendall(frame(b"x"))
                assert_gets(sock, answers(b"x"))
        finally:
            for sock in idle:
                sock.close()
