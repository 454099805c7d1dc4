"""`yilian send hl7v2 HOST:PORT FILE...`: send messages over MLLP as a hospital system would.

Waits for the answers each message asks for (original mode: AA, AE or AR; enhanced mode: what
MSH-15 and MSH-16 say, HL7 v2.5.1 section 2.9), matches them by MSA-2, and tells codes and
round-trip times. A message without an answer can be sent again, unchanged, as senders do.
"""

from __future__ import annotations

import argparse
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from app.errors import Unavailable, YilianError
from app.feeds.hl7v2 import ack, er7, frames
from app.feeds.hl7v2.frames import Framer
from app.feeds.hl7v2.split import split

_READ_BYTES = 65_536
_LONGEST_ANSWER = 16 * 1024 * 1024
_TIMEOUT_S = 30.0
_LONGEST_TIMEOUT_S = 86_400.0
_LINGER_S = 0.5  # for answers that MSH-15 or MSH-16 make possible, not certain
_GOOD = ("AA", "CA")
# A positive answer without more words, as nearly all are: read at a fifth of the cost.
_PLAIN_ANSWER = re.compile(rb"MSH\|\^~\\&\|[ -~]*\rMSA\|([AC]A)\|([A-Za-z0-9._-]*)\r?")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to send: where it comes from, and what it waits for."""

    place: str  # FILE:number
    raw: bytes
    control_id: str
    mode: ack.Mode


@dataclass(frozen=True, slots=True)
class Answer:
    """One acknowledgement: MSA-1, MSA-2 and the texts of its errors (ERR, else MSA-3)."""

    code: str
    control_id: str
    texts: tuple[str, ...] = ()


@dataclass(slots=True)
class Report:
    """What became of one message."""

    message: Outgoing
    answers: list[Answer] = field(default_factory=list)
    began: float = 0.0  # by the process's clock, its last attempt
    seconds: float | None = None  # to the last answer that was waited for
    attempts: int = 1
    problem: str | None = None

    def take(self, answer: Answer) -> None:
        """Keep an answer; note how long it took, unless nobody waited for it."""
        mode = self.message.mode
        if _due(mode, self.answers) or _uncertain(mode):
            self.seconds = time.perf_counter() - self.began
        self.answers.append(answer)

    @property
    def good(self) -> bool:
        """Whether every answer is positive and none that was due is missing."""
        return self.problem is None and all(one.code in _GOOD for one in self.answers)


@dataclass(frozen=True, slots=True)
class Options:
    """How to send."""

    address: tuple[str, int]
    connections: int = 1
    timeout_s: float = _TIMEOUT_S
    resend: int = 0


class NoAnswer(Exception):
    """An answer that was due did not come; the text says why."""


def main(argv: Sequence[str], stdin: IO[bytes], stdout: IO[str]) -> int:
    """Send the files and print the answers; 0 when all are positive, 1 when not.

    Raises Unavailable when nobody listens at the address.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    host, _, port = args.address.rpartition(":")
    if not host or not port.isdigit():
        parser.error("the address is HOST:PORT")
    messages = [
        one for name in args.files for one in outgoing(name, _content(name, stdin), args.repeat)
    ]
    address = (host.strip("[]"), int(port))
    options = Options(address, args.connections, args.timeout, args.resend)
    printing = threading.Lock()

    def show(report: Report) -> None:
        if not args.quiet or not report.good:
            with printing:
                stdout.writelines(line + "\n" for line in lines(report))

    began = time.perf_counter()
    reports = send(messages, options, show)
    stdout.write(summary(reports, time.perf_counter() - began) + "\n")
    return 0 if all(report.good for report in reports) else 1


def outgoing(name: str, content: bytes, repeat: int = 1) -> Iterator[Outgoing]:
    """Yield the messages of a file, `repeat` times, each time with control ids of its own."""
    pieces = [_on_the_wire(piece.raw) for piece in split(content)]
    for turn in range(1, repeat + 1):
        for number, raw in enumerate(pieces, 1):
            turned = raw if turn == 1 else with_control_id(raw, f"-{turn}")
            header = ack.header_of_raw(turned)
            yield Outgoing(f"{name}:{number}", turned, header.field(10), ack.mode_of(header))


def with_control_id(raw: bytes, suffix: str) -> bytes:
    """Return the message with `suffix` added to MSH-10; unchanged when it has none."""
    parts = raw.split(raw[3:4] or b"|", 10)
    if len(parts) < 11 or not raw.startswith(b"MSH"):
        return raw
    parts[9] += suffix.encode()
    return raw[3:4].join(parts)


def send(
    messages: Sequence[Outgoing], options: Options, show: Callable[[Report], None]
) -> list[Report]:
    """Send over several connections side by side; each waits for its answers in turn.

    Raises Unavailable when the first connection cannot be made.
    """
    clients = [Client(options, show) for _ in range(min(options.connections, len(messages)) or 1)]
    clients[0].connect()
    threads = [
        threading.Thread(target=client.send, args=(messages[at :: len(clients)],))
        for at, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [report for client in clients for report in client.reports]


class Client:
    """One connection, which is made again when it is lost."""

    def __init__(self, options: Options, show: Callable[[Report], None]) -> None:
        self.options = options
        self.show = show
        self.reports: list[Report] = []
        self._socket: socket.socket | None = None
        self._framer = Framer(_LONGEST_ANSWER)

    def connect(self) -> None:
        """Connect, unless that is done. Raises Unavailable."""
        if self._socket is not None:
            return
        try:
            self._socket = socket.create_connection(self.options.address, self.options.timeout_s)
        except OSError as exc:
            raise Unavailable("nobody listens at this address") from exc
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._framer = Framer(_LONGEST_ANSWER)

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Send messages one after the other and collect the reports.

        What may be answered still is shown last, once that has been waited for.
        """
        unsettled: list[Report] = []
        for message in messages:
            report = Report(message)
            self.reports.append(report)
            self._exchange(report)
            if _uncertain(message.mode) and report.problem is None:
                unsettled.append(report)
            else:
                self.show(report)
        if unsettled:
            self._linger()
        self._close()
        for report in unsettled:
            self.show(report)

    def _exchange(self, report: Report) -> None:
        """Send one message until its answers have come or no attempt is left."""
        while True:
            report.answers.clear()
            report.seconds = None
            report.began = time.perf_counter()
            try:
                self._once(report)
            except (NoAnswer, Unavailable) as exc:
                self._close()
                if report.attempts > self.options.resend:
                    report.problem, report.seconds = str(exc), None
                    return
                report.attempts += 1
                continue
            return

    def _once(self, report: Report) -> None:
        self.connect()
        deadline = time.perf_counter() + self.options.timeout_s
        try:
            self._sock.settimeout(self.options.timeout_s)
            self._sock.sendall(frames.frame(report.message.raw))
        except OSError as exc:
            raise NoAnswer("the connection was lost while sending") from exc
        while _due(report.message.mode, report.answers):
            self._keep(self._answer(deadline))

    def _linger(self) -> None:
        """Wait a little for answers that may come, and keep them with their messages."""
        deadline = time.perf_counter() + _LINGER_S
        with suppress(NoAnswer):
            while self._socket is not None:
                self._keep(self._answer(deadline))

    def _keep(self, answer: Answer) -> None:
        """Keep an answer with the message it names, the newest of that control id first."""
        for report in reversed(self.reports):
            if report.message.control_id == answer.control_id:
                report.take(answer)
                return
        if answer.control_id:
            raise NoAnswer("an answer names a message that was not sent")
        self.reports[-1].take(answer)  # the listener could not read MSH-10

    def _answer(self, deadline: float) -> Answer:
        """Return the next answer. Raises NoAnswer at the deadline or the end of the connection."""
        while (found := self._framer.next()) is None:
            left = deadline - time.perf_counter()
            if left <= 0:
                raise NoAnswer("no answer in time")
            self._sock.settimeout(left)
            try:
                data = self._sock.recv(_READ_BYTES)
            except TimeoutError as exc:
                raise NoAnswer("no answer in time") from exc
            except OSError as exc:
                raise NoAnswer("the connection was lost") from exc
            if not data:
                raise NoAnswer("the listener closed the connection")
            self._framer.feed(data)
        return read_answer(found.payload)

    @property
    def _sock(self) -> socket.socket:
        if self._socket is None:
            raise NoAnswer("the connection was lost")
        return self._socket

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def read_answer(payload: bytes) -> Answer:
    """Return what an acknowledgement says. Raises NoAnswer for anything else."""
    plain = _PLAIN_ANSWER.fullmatch(payload)
    if plain is not None:
        return Answer(plain[1].decode(), plain[2].decode())
    try:
        message = er7.read(payload)
    except YilianError as exc:
        raise NoAnswer(f"an answer that cannot be read: {exc}") from exc
    msa = message.first("MSA")
    if msa is None:
        raise NoAnswer("an answer without MSA")
    code = msa.value(1)
    if not code:
        raise NoAnswer("an answer without a code (MSA-1)")
    texts = [text for segment in message.all("ERR") for text in _error_texts(segment)]
    if not texts and code not in _GOOD:
        texts = [text for text in (msa.value(3),) if text]
    return Answer(code, msa.field(2), tuple(texts))


def lines(report: Report) -> Iterator[str]:
    """Yield what to print about one message."""
    told = [one.code for one in report.answers]
    took = "" if report.seconds is None else f" in {report.seconds * 1000:.1f} ms"
    again = f", attempt {report.attempts}" if report.attempts > 1 else ""
    if report.problem:
        told.append(f"failed: {report.problem}")
    what = " ".join(told) or "no answer due"
    yield f"{report.message.place}: {report.message.control_id or '-'}: {what}{took}{again}"
    yield from (f"    {text}" for one in report.answers for text in one.texts)


def summary(reports: Sequence[Report], seconds: float) -> str:
    """Return counts by code, round-trip times and rate, in one line."""
    codes = Counter(one.code for report in reports for one in report.answers)
    told = [f"{len(reports)} messages", *(f"{count} {code}" for code, count in codes.items())]
    failed = sum(report.problem is not None for report in reports)
    if failed:
        told.append(f"{failed} without answer")
    times = sorted(one.seconds * 1000 for one in reports if one.seconds is not None)
    if times:
        p50, p95 = (times[min(int(len(times) * part), len(times) - 1)] for part in (0.5, 0.95))
        told.append(f"round trip p50 {p50:.1f} ms, p95 {p95:.1f} ms, max {times[-1]:.1f} ms")
    if seconds > 0:
        told.append(f"{len(reports) / seconds:.0f}/s")
    return ", ".join(told)


def _due(mode: ack.Mode, answers: Sequence[Answer]) -> bool:
    """Say whether an answer is certain to come still."""
    if mode.original:
        return not answers
    first = next((one.code for one in answers if one.code[:1] == "C"), None)
    if first is not None and first != "CA":
        return False  # refused: no application answer follows
    if mode.accept == "AL" and first is None:
        return True
    return mode.application == "AL" and not any(one.code[:1] == "A" for one in answers)


def _uncertain(mode: ack.Mode) -> bool:
    return not mode.original and bool({mode.accept, mode.application} & {"ER", "SU"})


def _error_texts(err: er7.Segment) -> Iterator[str]:
    """Yield place, condition and text of an ERR: one of 2.5 and later, repetitions of before."""
    if err.field(3):
        parts = (err.field(2), err.value(3), err.value(3, 2), err.value(8) or err.value(7))
        yield _joined(parts)
        return
    for told in err.repetitions(1):
        yield _joined(("^".join(told.components[:3]), told.value(4), told.value(4, 2)))


def _joined(parts: Sequence[str]) -> str:
    return " ".join(part for part in parts if part)


def _on_the_wire(raw: bytes) -> bytes:
    """Return the message with CR at segment ends, where a file has other line ends."""
    if b"\x00" in raw[:8]:  # UTF-16, UTF-32
        return raw
    if b"\r\n" in raw:
        raw = raw.replace(b"\r\n", b"\r")
    elif b"\r" not in raw:
        raw = raw.replace(b"\n", b"\r")
    return raw.rstrip(b"\r\n") + b"\r"


def _content(name: str, stdin: IO[bytes]) -> bytes:
    return stdin.read() if name == "-" else Path(name).read_bytes()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="yilian send hl7v2", description="Send HL7 v2 messages over MLLP."
    )
    parser.add_argument("address", metavar="HOST:PORT")
    parser.add_argument("files", nargs="+", metavar="FILE", help="- reads standard input")
    parser.add_argument(
        "--connections", type=_positive, default=1, metavar="N", help="side by side (default: 1)"
    )
    parser.add_argument(
        "--repeat",
        type=_positive,
        default=1,
        metavar="N",
        help="send everything N times, each time with new control ids (default: 1)",
    )
    parser.add_argument(
        "--resend",
        type=_not_negative,
        default=0,
        metavar="N",
        help="send a message up to N times again, unchanged, when no answer comes (default: 0)",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=_TIMEOUT_S,
        metavar="S",
        help=f"wait for answers (default: {_TIMEOUT_S:g})",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="only what went wrong, and the summary"
    )
    return parser


def _positive(text: str) -> int:
    number = _not_negative(text)
    if number < 1:
        raise argparse.ArgumentTypeError("expected a whole number, at least 1")
    return number


def _not_negative(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError("expected a whole number, not negative")
    return int(text)


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < (seconds := float(text)) <= _LONGEST_TIMEOUT_S:
            return seconds
    raise argparse.ArgumentTypeError("expected seconds, more than 0, at most a day")
