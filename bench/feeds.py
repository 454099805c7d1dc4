"""Results over MLLP: how many ten-OBX ORU a second are applied and acknowledged.

    python -m bench.feeds [--shape plain|rich] [--secs 10] [--connections 8]
                          [--database-url URL] [--size 10000]

Two shapes of message, one after the other unless one is asked for: `plain` is 1 kB (MSH, PID, OBR
and ten OBX: about 14 resources), `rich` 1.5 kB (also PV1, ORC, staff, names in Chinese, units with
their system: 15 resources and more to look up).
Senders are connections of one process; each sends its next message when it has the AA of the last,
which the hub gives when entry and resources are committed. Messages differ in patient, order,
times and values; staff and wards repeat. `driver`: the bare driver writes the same rows
(resources, index, log, one inbox entry a message) of as many messages a commit as there are
connections, at the same durability, on a copy of the database (PostgreSQL: in it).
"""

from __future__ import annotations

import argparse
import random
import selectors
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from hashlib import sha256
from pathlib import Path
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from app.clock import WallClock
from app.feeds import inbox
from app.feeds.hl7v2.convert import Options
from app.feeds.hl7v2.reading import Reader
from app.feeds.inbox import Entry, State
from app.registry import links
from app.registry.indexed import identifier_keys
from app.store import batch as batches
from app.store.batch import Batch
from app.store.commit import WritePath
from app.store.database import SQLITE, Address, Connection, connect
from app.store.prepare import Preparer
from bench.fill import fill
from bench.limit import _merged, _Numbers
from tests.support import running_hub

ZONE = "Asia/Shanghai"
RESOURCES = 13  # new ones that a message about a known patient leaves
PLAIN, RICH = "plain", "rich"
PATIENTS = 5_000
STAFF = 40
TESTS = (  # LOINC, name, unit, normal range
    ("2345-7", "Glucose", "mmol/L", "3.9-6.1"),
    ("2160-0", "Creatinine", "umol/L", "44-97"),
    ("2823-3", "Potassium", "mmol/L", "3.5-5.3"),
    ("2951-2", "Sodium", "mmol/L", "137-147"),
    ("2075-0", "Chloride", "mmol/L", "99-110"),
    ("17861-6", "Calcium", "mmol/L", "2.11-2.52"),
    ("1742-6", "ALT", "U/L", "9-50"),
    ("1920-8", "AST", "U/L", "15-40"),
    ("1975-2", "Bilirubin", "umol/L", "<23.0"),
    ("1751-7", "Albumin", "g/L", "40-55"),
)


def messages(seed: int = 1, shape: str = RICH) -> Iterator[bytes]:
    """Yield ORU^R01 in original mode, each with one order and ten numeric results."""
    rnd = random.Random(seed)
    make = SHAPES[shape]
    number = 0
    while True:
        number += 1
        yield make(f"{seed}-{number}", rnd)


def _plain(name: str, rnd: random.Random) -> bytes:
    patient, at = rnd.randrange(PATIENTS), _time(rnd)
    lines = [
        f"MSH|^~\\&|LIS|H0001|YILIAN|HUB|{at}||ORU^R01^ORU_R01|P{name}|P|2.5.1",
        f"PID|1||ZY{patient:08d}^^^H0001^MR||Zhang^Wei{patient}||19{40 + patient % 60}0101"
        f"|{'FM'[patient % 2]}",
        f"OBR|1|PP{name}|PF{name}|24323-8^CMP^LN|||{at}|||||||||||||||{at}||LAB|F",
    ]
    for index, (code, text, unit, normal) in enumerate(TESTS, 1):
        lines.append(
            f"OBX|{index}|NM|{code}^{text}^LN||{rnd.randrange(4000) / 10:.1f}|{unit}|{normal}"
            f"|{rnd.choice('NHL')}|||F|||{at}"
        )
    return "\r".join(lines).encode() + b"\r"


def _time(rnd: random.Random) -> str:
    return f"202405{rnd.randrange(1, 29):02d}{rnd.randrange(24):02d}{rnd.randrange(60):02d}00"


def _rich(name: str, rnd: random.Random) -> bytes:
    patient, doctor, technician = (rnd.randrange(n) for n in (PATIENTS, STAFF, STAFF))
    at = _time(rnd)
    lines = [
        f"MSH|^~\\&|LIS|H0001|YILIAN|HUB|{at}||ORU^R01^ORU_R01|M{name}|P|2.5.1|||||CHN"
        "|UNICODE UTF-8",
        f"PID|1||ZY{patient:010d}^^^H0001^MR||张^伟{patient % 97}^^^^^L||19{40 + patient % 60}0101"
        f"|{'FM'[patient % 2]}|||北京路{patient % 99}号^^北京^^100000^CHN",
        f"PV1|1|I|W{patient % 12}^12{patient % 20:02d}^{patient % 4:02d}|||||||||||||||||"
        f"V{patient:09d}^^^H0001^VN",
        f"ORC|RE|P{name}^HIS|F{name}^LIS||CM||||{at}|||D{doctor:03d}^王^芳^^^^^^H0001",
        f"OBR|1|P{name}^HIS|F{name}^LIS|24323-8^CMP^LN|||{at}|||||||||D{doctor:03d}^王^芳|||||||{at}"
        "||LAB|F",
    ]
    for index, (code, text, unit, normal) in enumerate(TESTS, 1):
        lines.append(
            f"OBX|{index}|NM|{code}^{text}^LN||{rnd.randrange(4000) / 10:.1f}|{unit}^{unit}^UCUM"
            f"|{normal}|{rnd.choice('NHL')}|||F|||{at}||T{technician:03d}^李^强^^^^^^H0001"
        )
    return "\r".join(lines).encode() + b"\r"


SHAPES: Mapping[str, Callable[[str, random.Random], bytes]] = {PLAIN: _plain, RICH: _rich}


@dataclass(frozen=True, slots=True)
class Sent:
    """Messages a second, and milliseconds from sending to AA."""

    rate: float
    p50: float
    p95: float
    p99: float


def send(address: str, secs: float, connections: int, seed: int = 1, shape: str = RICH) -> Sent:
    """Send messages for some time; every one has to be accepted."""
    host, _, port = address.rpartition(":")
    source = messages(seed, shape)
    waiting = selectors.DefaultSelector()
    for _ in range(connections):
        sock = socket.create_connection((host, int(port)), timeout=60)
        waiting.register(sock, selectors.EVENT_READ, _Line(sock))
    began = time.perf_counter()
    lines: list[_Line] = [key.data for key in waiting.get_map().values()]
    for line in lines:
        line.send(next(source))
    taken: list[float] = []
    open_lines = connections
    while open_lines:
        for key, _ in waiting.select(60):
            line = key.data
            if not line.received():
                continue
            taken.append(time.perf_counter() - line.sent_at)
            if time.perf_counter() - began < secs:
                line.send(next(source))
            else:
                waiting.unregister(line.sock)
                line.sock.close()
                open_lines -= 1
    rate = len(taken) / (time.perf_counter() - began)
    taken.sort()
    p50, p95, p99 = (taken[int(len(taken) * p)] * 1000 for p in (0.5, 0.95, 0.99))
    return Sent(rate, p50, p95, p99)


class _Line:
    """One connection and the message it waits for."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sent_at = 0.0
        self._came = b""

    def send(self, raw: bytes) -> None:
        self.sent_at = time.perf_counter()
        self.sock.sendall(b"\x0b" + raw + b"\x1c\r")

    def received(self) -> bool:
        """Say whether the answer is there. Exits when it is no AA."""
        self._came += self.sock.recv(65_536)
        if not self._came.endswith(b"\x1c\r"):
            return False
        if b"\rMSA|AA|" not in self._came:
            raise SystemExit("a message was not accepted")
        self._came = b""
        return True


@dataclass(frozen=True, slots=True)
class _Rows:
    """What one message leaves in the database."""

    batch: Batch
    entry: Entry


def driver_per_second(url: str, count: int, group: int, shape: str = RICH) -> float:
    """Write the rows of `count` messages with one commit a `group`; return messages a second."""
    address = Address(url)
    if address.dialect != SQLITE:
        return _driver(url, count, group, shape)
    with tempfile.TemporaryDirectory(dir=address.path.parent) as folder:
        copy = Path(folder) / "copy.db"
        shutil.copyfile(address.path, copy)
        return _driver(f"sqlite:///{copy}", count, group, shape)


def _driver(url: str, count: int, group: int, shape: str) -> float:
    db = connect(Address(url), write=True)
    made = _rows_of(db, count, shape)
    ids = inbox.next_ids(db, count)
    began = time.perf_counter()
    for start in range(0, count, group):
        part = made[start : start + group]
        db.begin()
        batches.write(db, _merged([one.batch for one in part]))
        inbox.add_all(db, 0, (_numbered(one.entry, next(ids)) for one in part))
        db.commit()
    taken = time.perf_counter() - began
    db.close()
    return count / taken


def _numbered(entry: Entry, id_: int) -> Entry:
    return replace(entry, id=id_)


def _rows_of(db: Connection, count: int, shape: str) -> list[_Rows]:
    """Return the rows of messages that nobody has sent yet; what repeats is written once."""
    preparer = Preparer(0, UTC, identifier_keys=identifier_keys, link_rules=links.rules_of(None))
    reader = Reader(Options(time_zone=ZONE), ZoneInfo(ZONE), preparer)
    path = WritePath(
        db, preparer=preparer, clock=WallClock(), numbers=_Numbers(db), match=lambda *_: ()
    )
    seen: set[str] = set()
    made = []
    source = messages(99, shape)
    for _ in range(count):
        raw = next(source)
        said = reader.read(raw).said
        if said is None:
            raise SystemExit("the bench message was refused")
        new = [one for one in said.statements if one.id not in seen and one.prepared]
        seen.update(one.id for one in said.statements)
        at = 2 * (said.at or 0)
        told = {(one.type, one.id): at for one in said.statements if not one.mention}
        outcomes = path.evaluate([one.prepared for one in new if one.prepared], told)
        touched = tuple(f"{one.type}/{one.id}/_history/1" for one in outcomes)
        made.append(_Rows(path.take(), _entry(raw, touched)))
        path.committed()
    return made


def _entry(raw: bytes, touched: tuple[str, ...]) -> Entry:
    return Entry(
        feed="hl7v2",
        source="H0001|LIS",
        peer="127.0.0.1",
        kind="ORU^R01",
        control_id=raw[60:70].decode("ascii", "replace"),
        received_us=WallClock().now_us(),
        key=sha256(raw).digest()[:20],
        digest=sha256(raw).digest(),
        raw=raw,
        state=State.APPLIED,
        answers=((raw[:160],), ()),
        touched=touched,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, help="of the messages; both if not said")
    parser.add_argument("--secs", type=float, default=10)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--size", type=int, default=10_000, help="observations present")
    parser.add_argument("--database-url")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        folder.mkdir()
        url = args.database_url or f"sqlite:///{folder / 'yilian.db'}"
        fill(url, args.size)
        shapes = [args.shape] if args.shape else list(SHAPES)
        with running_hub(folder, database_url=url) as hub:
            sent = {
                shape: send(hub.addresses["mllp"], args.secs, args.connections, shape=shape)
                for shape in shapes
            }
        bare = {shape: driver_per_second(url, 1000, args.connections, shape) for shape in shapes}
    for shape, one in sent.items():
        print(
            f"{shape:5} {one.rate:,.0f} ORU/s applied and acknowledged over {args.connections}"
            f" connections, p50 {one.p50:.1f}, p95 {one.p95:.1f}, p99 {one.p99:.1f} ms;"
            f" driver {bare[shape]:,.0f}/s, {one.rate / bare[shape]:.0%}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
