"""The MLLP client: which answers it waits for, what it reports, when it sends again."""

import io
import socket
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from app.errors import Issue, Unavailable
from app.feeds.hl7v2 import ack, send
from app.feeds.hl7v2.exchange import Answers
from app.feeds.hl7v2.mllp import Listener

NOW = datetime(2025, 3, 10, tzinfo=UTC)
MESSAGE = "MSH|^~\\&|LAB|F1|Y|H|20250310||ADT^A04|{id}|P|2.5.1|||{accept}|{application}\rPID|1||7\r"


def message(control_id="C1", accept="", application=""):
    return MESSAGE.format(id=control_id, accept=accept, application=application).encode()


class Hub:
    """An `accept` that answers every message with the codes of a plan, or not at all."""

    def __init__(self, *plan):
        self.plan = list(plan)
        self.received = []

    def __call__(self, frame, answer):
        self.received.append(frame.payload)
        codes = self.plan.pop(0) if self.plan else ["AA"]
        if codes is None:
            answer(Answers(close=True))
            return
        header = ack.header_of_raw(frame.payload)
        errors = [("101", Issue("error", "required", "is missing", "PID-3"))]
        built = [
            ack.build(header, code, control_id="Y", sent_at=NOW, errors=errors * (code[1] != "A"))
            for code in codes
        ]
        answer(Answers(tuple(built)))


@contextmanager
def serving(hub):
    listener = Listener(("127.0.0.1", 0), hub)
    listener.start()
    try:
        yield f"127.0.0.1:{listener.port}"
    finally:
        listener.stop(2)


def run(address, *argv, content=b""):
    out = io.StringIO()
    code = send.main([address, "-", *argv], io.BytesIO(content), out)
    return code, out.getvalue().splitlines()


def test_each_message_is_reported_with_its_answer_and_a_summary_ends_it():
    hub = Hub(["AA"], ["AE"])
    with serving(hub) as address:
        code, out = run(address, content=message("C1") + message("C2"))

    assert code == 1
    assert out[0].startswith("-:1: C1: AA in ")
    assert out[1].startswith("-:2: C2: AE in ")
    assert out[2] == "    PID^1^3 101 Required field missing is missing"
    assert out[3].startswith("2 messages, 1 AA, 1 AE, round trip p50 ")
    assert hub.received == [message("C1"), message("C2")]


@pytest.mark.parametrize(
    ("accept", "application", "codes", "shown"),
    [
        ("AL", "AL", ["CA", "AA"], "CA AA"),
        ("AL", "NE", ["CA"], "CA"),
        ("NE", "AL", ["AA"], "AA"),
        ("AL", "AL", ["CR"], "CR"),
        ("NE", "NE", [], "no answer due"),
        ("ER", "NE", [], "no answer due"),
    ],
)
def test_it_waits_for_what_the_message_asks_for(accept, application, codes, shown):
    with serving(Hub(codes)) as address:
        _, out = run(address, content=message("C1", accept, application))

    assert out[0].split(" in ")[0] == f"-:1: C1: {shown}"


@pytest.mark.parametrize(
    ("accept", "application", "codes", "shown"),
    [
        ("SU", "SU", ["CA", "AA"], "CA AA"),
        ("AL", "ER", ["CA", "AE"], "CA AE"),
        ("ER", "ER", ["AE"], "AE"),
    ],
)
def test_what_may_be_answered_is_waited_for_before_it_is_told(accept, application, codes, shown):
    with serving(Hub(codes)) as address:
        code, out = run(address, content=message("C1", accept, application) + message("C2"))

    assert code == int("AE" in codes)
    assert out[0].startswith("-:2: C2: AA in ")
    assert out[1].startswith(f"-:1: C1: {shown} in ")
    assert out[2:-1] == ["    PID^1^3 101 Required field missing is missing"] * code


def test_of_a_failure_the_answers_that_came_are_told():
    with serving(Hub(["AE"])) as address:
        _, out = run(address, "--timeout", "0.1", content=message("C1", "AL", "AL"))

    assert out[0] == "-:1: C1: AE failed: no answer in time"
    assert out[1] == "    PID^1^3 101 Required field missing is missing"


def test_a_lost_answer_is_asked_for_again_with_the_same_message():
    hub = Hub(None, None, ["AA"])
    with serving(hub) as address:
        code, out = run(address, "--resend", "2", content=message())

    assert (code, hub.received) == (0, [message()] * 3)
    assert out[0].endswith("attempt 3")


def test_no_answer_is_a_failure():
    with serving(Hub([])) as address:
        code, out = run(address, "--timeout", "0.1", content=message())

    assert code == 1
    assert out[0] == "-:1: C1: failed: no answer in time"
    assert "1 without answer" in out[1]


def test_an_answer_to_another_message_is_not_taken_for_ones_own():
    other = ack.build(ack.header_of_raw(message("C9")), "AA", control_id="Y", sent_at=NOW)

    def wrong(_, answer):
        answer(Answers((other,)))

    with serving(wrong) as address:
        code, out = run(address, content=message())

    assert code == 1
    assert "names a message that was not sent" in out[0]


def test_repeats_over_several_connections_have_control_ids_of_their_own():
    hub = Hub()
    with serving(hub) as address:
        code, out = run(
            address, "--repeat", "10", "--connections", "4", "--quiet", content=message()
        )

    assert (code, len(out)) == (0, 1)
    ids = {ack.header_of_raw(raw).field(10) for raw in hub.received}
    assert ids == {"C1"} | {f"C1-{n}" for n in range(2, 11)}


def test_files_with_other_line_ends_go_out_with_carriage_returns():
    hub = Hub()
    with serving(hub) as address:
        run(address, content=message().replace(b"\r", b"\n"))

    assert hub.received == [message()]


def test_nobody_at_the_address_is_said_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable):
            run(f"127.0.0.1:{free.getsockname()[1]}", content=message())


def test_a_wrong_address_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as stop:
        run("nonsense", content=message())

    assert stop.value.code == 2
    assert "HOST:PORT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("msa", "read"),
    [
        ("MSA|AA|C1", send.Answer("AA", "C1")),
        ("MSA|CA|C-1.2\rEVN|A04", send.Answer("CA", "C-1.2")),
        ("MSA|AA|C1|fine", send.Answer("AA", "C1")),
        ("MSA|AA|C\\T\\1", send.Answer("AA", "C\\T\\1")),
        ("MSA|AA|", send.Answer("AA", "")),
        ("MSA|AR|C1", send.Answer("AR", "C1")),
        ("MSA|AE|C1|no room", send.Answer("AE", "C1", ("no room",))),
        (
            "MSA|AE|C1|two\rERR|PID^1^3^101&Required~PV1^1^2^103&Not found",
            send.Answer("AE", "C1", ("PID^1^3 101 Required", "PV1^1^2 103 Not found")),
        ),
    ],
)
def test_plain_answers_are_read_as_any_other(msa, read):
    header = "MSH|^~\\&|Y|H|LAB|F1|20250310||ACK|1|P|2.5.1\r"

    assert send.read_answer(f"{header}{msa}\r".encode()) == read


def test_an_answer_without_a_code_is_none():
    with pytest.raises(send.NoAnswer):
        send.read_answer(b"MSH|^~\\&|Y|H|LAB|F1|20250310||ACK|1|P|2.5.1\rMSA||C1\r")


@pytest.mark.parametrize(
    "flags", [("--timeout", "-1"), ("--timeout", "nan"), ("--timeout", "inf"), ("--resend", "-1")]
)
def test_a_number_that_cannot_be_is_wrong_usage(flags, capsys):
    with pytest.raises(SystemExit) as stop:
        run("127.0.0.1:1", *flags, content=message())

    assert stop.value.code == 2
    assert f"argument {flags[0]}: expected " in capsys.readouterr().err
