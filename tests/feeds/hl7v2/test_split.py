"""HL7 v2.5.1 section 2.10.3: batches; messages in a row; MLLP frames in files."""

import pytest

from app.feeds.hl7v2.split import messages, split

A = b"MSH|^~\\&|LAB|F1|Y|H|20250310||ADT^A04|A|P|2.5.1\rPID|1||7\r"
B = A.replace(b"|A|P", b"|B|P")
BROKEN = b"MSH|^~\rPID|1||8\r"
BHS = b"BHS|^~\\&|LAB|F1\r"
FHS = b"FHS|^~\\&|LAB|F1\r"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(A + B, id="in-a-row"),
        pytest.param(BHS + A + B + b"BTS|2\r", id="batch"),
        pytest.param(FHS + BHS + A + B + b"BTS|2\rFTS|1\r", id="file"),
        pytest.param(FHS + BHS + A + b"BTS|1\r" + BHS + B + b"BTS|1\rFTS|2\r", id="two-batches"),
        pytest.param(b"\x0b" + A + b"\x1c\r\x0b" + B + b"\x1c\r", id="frames"),
        pytest.param(b"\x0b" + A + b"\x1c\x0b" + B, id="frames-badly-ended"),
        pytest.param(b"\x0b" + A + B + b"\x1c\r", id="two-in-one-frame"),
        pytest.param(b"\r\n  noise, no segment\r" + A + B, id="noise-before"),
    ],
)
def test_each_msh_is_one_message(data):
    found = split(data)

    assert [piece.raw.strip() for piece in found] == [A.strip(), B.strip()]
    assert not [issue for piece in found for issue in piece.issues]


def test_a_byte_order_mark_stays_with_each_message_it_marks():
    mark = b"\xef\xbb\xbf"

    found = split(b"\r\n" + mark + A + b"\r\n" + B)

    assert [piece.raw.strip() for piece in found] == [mark + A.strip(), mark + B.strip()]


def test_a_broken_message_stays_between_its_neighbours():
    assert [piece.raw for piece in split(A + BROKEN + B)] == [A, BROKEN, B]


def test_segments_before_the_first_msh_are_a_message_of_their_own():
    assert [piece.raw for piece in split(b"PID|1||9\r" + A)] == [b"PID|1||9", A]


@pytest.mark.parametrize(
    "data", [b"", b"  \r\n", b"not HL7", b"\x0b\x1c\r", b"BHS|^~\\&|\rBTS|0\r"]
)
def test_what_holds_no_message_is_one_unreadable_piece(data):
    assert len(split(data)) == 1


def test_counts_that_do_not_fit_are_warnings():
    first, second = split(FHS + BHS + A + B + b"BTS|3\rFTS|x\r")

    assert not first.issues
    assert [(i.severity, i.at, i.details) for i in second.issues] == [
        ("warning", "BTS-1", "batch-count"),
        ("warning", "FTS-1", "batch-count"),
    ]


def test_an_absent_count_is_no_warning():
    assert not split(BHS + A + b"BTS\r")[0].issues


@pytest.mark.parametrize("end", [b"BTS", b"FTS", b"BTS\rFTS"])
def test_a_batch_may_be_cut_within_the_name_of_its_end(end):
    (piece,) = messages(A + end)

    assert (piece.raw, piece.issues) == (A, ())


def test_wide_unicode_is_split_and_stays_wide():
    one, two = split((A + B).decode().encode("utf-16"))

    assert one.raw.decode("utf-16-le") == A.decode()
    assert two.raw.decode("utf-16-le") == B.decode()


def test_one_wide_message_keeps_its_bytes():
    raw = A.decode().encode("utf-16")

    assert [piece.raw for piece in split(raw)] == [raw]


def test_msh_inside_a_value_splits_nothing():
    raw = A.replace(b"|7", b"|MSH|^~")

    assert [piece.raw for piece in messages(raw)] == [raw]
