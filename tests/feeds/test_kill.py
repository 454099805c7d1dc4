"""The hub is killed while messages come in: what was acknowledged is there, exactly once.

YILIAN_KILL_ROUNDS and YILIAN_KILL_MESSAGES make it longer (.ci: 20 rounds, `make soak`: 1,000).
"""

import json
import os
import random
import socket
import threading

import pytest

from app.feeds import inbox
from app.feeds.hl7v2 import er7
from app.feeds.hl7v2.frames import Framer, frame
from app.feeds.inbox import State
from app.fhir import definitions
from app.store.database import SQLITE, Address, connect
from tests.support import free_port, start_hub

ROUNDS = int(os.environ.get("YILIAN_KILL_ROUNDS", "1"))
MESSAGES = int(os.environ.get("YILIAN_KILL_MESSAGES", "160"))
CONNECTIONS = 8


def message(sender, number):
    """A result for one of 8 patients, which nothing else will ever touch."""
    return (
        f"MSH|^~\\&|LIS{sender}|F1|YILIAN|HUB|20250310080000||ORU^R01^ORU_R01|{sender}-{number}|P|"
        f"2.5.1||||||UNICODE UTF-8\rPID|1||P{number % 8}^^^F1^MR||Zhang^San\r"
        f"OBR|1|P{sender}-{number}|L{sender}-{number}|24331-1^Lipids^LN|||20250310070000"
        f"|||||||||||||||20250310080000||LAB|F\r"
        f"OBX|1|NM|C{number}^x^L||{number}.50|mmol/L|||||F|||20250310070000\r"
    ).encode()


class Sender:
    """One connection that sends its messages in order and remembers which were acknowledged."""

    def __init__(self, name, port, count):
        self.name, self.port = name, port
        self.left = [message(name, number) for number in range(count)]
        self.acknowledged = 0

    def run(self, note):
        """Send until all is acknowledged or the connection is lost."""
        framer = Framer(1_000_000)
        try:
            with socket.create_connection(("127.0.0.1", self.port), 30) as sock:
                while self.left:
                    sock.sendall(frame(self.left[0]))
                    while (found := framer.next()) is None:
                        data = sock.recv(65536)
                        if not data:
                            return
                        framer.feed(data)
                    answer = er7.read(found.payload)
                    control_id = er7.read(self.left[0]).control_id
                    assert (answer.get("MSA", 1), answer.get("MSA", 2)) == ("AA", control_id)
                    self.left.pop(0)
                    self.acknowledged += 1
                    note()
        except OSError:
            return


def send_all(senders, note=lambda: None):
    threads = [threading.Thread(target=one.run, args=(note,)) for one in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_every_acknowledged_message_is_applied_exactly_once(database_url, tmp_path, round_):
    rng = random.Random(round_)  # noqa: S311 - repeatable, not secret
    port = free_port()
    senders = [Sender(n, port, MESSAGES // CONNECTIONS) for n in range(CONNECTIONS)]
    total = sum(len(one.left) for one in senders)
    url = None if Address(database_url).dialect == SQLITE else database_url
    flags = ("--mllp", f"127.0.0.1:{port}")

    hub = start_hub(tmp_path / "data", *flags, database_url=url)
    moment = rng.randrange(1, total // 2)
    count = threading.Semaphore(0)
    killer = threading.Thread(target=lambda: ([count.acquire() for _ in range(moment)], hub.kill()))
    killer.start()
    send_all(senders, count.release)
    killer.join()
    hub.process.stdout.close()
    acknowledged = sum(one.acknowledged for one in senders)
    assert moment <= acknowledged < total

    hub = start_hub(tmp_path / "data", *flags, database_url=url)
    try:
        send_all(senders)
        assert [one.left for one in senders] == [[]] * CONNECTIONS

        def number_of(query):
            status, _, body = hub.request("GET", f"/fhir/{query}")
            assert status == 200, body
            return json.loads(body)["total"]

        assert number_of("Observation?_summary=count") == total
        assert number_of("DiagnosticReport?_summary=count") == total
        assert number_of("Provenance?_summary=count") == total
        assert number_of("Patient?_summary=count") == 8
    finally:
        assert hub.stop() == 0
        hub.process.stdout.close()
    address = Address(url or f"sqlite:///{next((tmp_path / 'data').glob('*.db'))}")
    db = connect(address)
    states = inbox.count_by_state(db, 0)
    number = definitions.type_number("Observation")
    again = db.one("SELECT count(*) FROM res WHERE vid > 1 AND type = ?", (number,))
    db.close()
    assert states[State.APPLIED] == total
    assert set(states) <= {State.APPLIED, State.DUPLICATE}
    assert again == (0,)
