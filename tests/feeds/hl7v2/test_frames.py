"""MLLP block format: strict and lenient endings, restarts, limits; any portions give the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.feeds.hl7v2.frames import HEAD_BYTES, Found, Framer, Kind, frame

A, B = b"MSH|^~\\&|A\rPID|1\r", b"MSH|^~\\&|B\r"


def found(framer, *portions):
    out = []
    for portion in portions:
        framer.feed(portion)
        while (one := framer.next()) is not None:
            out.append((one.kind, one.payload))
    return out


@pytest.mark.parametrize(
    ("data", "payloads"),
    [
        pytest.param(frame(A), [A], id="strict"),
        pytest.param(frame(A) + frame(B), [A, B], id="two"),
        pytest.param(b"\x0b" + A + b"\x1c" + frame(B), [A, B], id="next-start-ends"),
        pytest.param(b"\x0b" + A + b"\x1c\n" + frame(B), [A, B], id="line-feed-ends"),
        pytest.param(b"\r\n noise" + frame(A) + b"\x1c\r??" + frame(B), [A, B], id="noise"),
        pytest.param(b"\x0b" + b"x\x1cy" + b"\x1c\r", [b"x\x1cy"], id="end-byte-inside"),
        pytest.param(frame(b"") + frame(b"\r") + frame(A), [b"", b"\r", A], id="empty"),
    ],
)
def test_frames_in_a_stream(data, payloads):
    assert found(Framer(1000), data) == [(Kind.WHOLE, payload) for payload in payloads]


def test_a_pause_after_the_end_byte_ends_the_frame():
    framer = Framer(1000)

    assert found(framer, b"\x0b" + A + b"\x1c") == []
    assert framer.ending
    assert framer.pause().payload == A
    assert found(framer, b"\r" + frame(B)) == [(Kind.WHOLE, B)]
    assert framer.skipped_bytes == 0


def test_a_pause_inside_a_frame_ends_nothing():
    framer = Framer(1000)
    found(framer, b"\x0b" + A)

    assert framer.pause() is None
    assert framer.inside


def test_a_start_byte_inside_a_frame_drops_what_came_before_it():
    assert found(Framer(1000), b"\x0b" + A[:5] + frame(B)) == [
        (Kind.RESTARTED, A[:5]),
        (Kind.WHOLE, B),
    ]


def test_the_largest_frame_is_whole_and_one_byte_more_is_too_long():
    framer = Framer(100_000)

    assert found(framer, frame(b"x" * 100_000)) == [(Kind.WHOLE, b"x" * 100_000)]
    assert found(framer, frame(b"y" * 100_001), frame(A)) == [
        (Kind.TOO_LONG, b"y" * HEAD_BYTES),
        (Kind.WHOLE, A),
    ]


def test_what_is_too_long_is_not_kept_in_memory():
    framer = Framer(100_000)
    found(framer, b"\x0b", *[b"z" * 50_000] * 100)

    assert len(framer._buffer) <= 100_000
    assert found(framer, b"\x1c\r" + frame(A)) == [
        (Kind.TOO_LONG, b"z" * HEAD_BYTES),
        (Kind.WHOLE, A),
    ]


@pytest.mark.parametrize(
    "rest", [b"z\x1c\rnoise\x0bnext\x1c\r", b"\x1c\r\x0bnext\x1c\r", b"\r\x0bnext\x1c\r"]
)
def test_a_frame_that_is_given_up_leaves_its_head_and_the_next_frame(rest):
    framer = Framer(1_000_000)
    framer.feed(b"\x0b" + b"y" * 100_000 + (b"\x1c" if rest.startswith(b"\r") else b""))
    assert framer.next() is None

    assert framer.give_up()
    assert not framer.give_up()
    assert framer.held_bytes <= 1
    framer.feed(rest)

    assert framer.next() == Found(Kind.GIVEN_UP, b"y" * HEAD_BYTES)
    assert framer.next() == Found(Kind.WHOLE, b"next")


def test_an_unfinished_frame_is_cut_at_the_end():
    framer = Framer(1000)
    found(framer, b"\x0b" + A)

    assert (framer.cut().kind, framer.cut()) == (Kind.CUT, None)


@given(
    st.lists(
        st.sampled_from([frame(A), frame(B), b"\x0b" + A + b"\x1c", b"\x0bx", b"??", b"\x1c"])
    ),
    st.lists(st.integers(1, 9)),
)
def test_a_frame_split_at_any_byte_is_the_same_frame(parts, sizes):
    data = b"".join(parts)
    portions, at = [], 0
    for size in sizes:
        portions.append(data[at : at + size])
        at += size
    portions.append(data[at:])

    assert found(Framer(1000), *portions) == found(Framer(1000), data)
    assert found(Framer(1000), *(data[i : i + 1] for i in range(len(data)))) == found(
        Framer(1000), data
    )
