"""The hub is killed while messages come in: what was acknowledged is there, exactly once.

YILIAN_KILL_ROUNDS and YILIAN_KILL_MESSAGES make it longer: .ci/run kills 20 hubs on each database
under 2,000 messages each, `make soak` 500. All rounds use one database: a hub that was started
after a kill is the next to be killed. Half of the senders are answered when their message is
applied (original mode), half when it is safe (enhanced mode): that one has to be applied later.
"""

import itertools
import json
import os
import random
import socket
import threading

from app.feeds.hl7v2.frames import Framer, frame
from app.feeds.inbox import State
from app.fhir import definitions
from app.store.database import SQLITE, Address, connect
from tests.support import free_port, start_hub, wait_for

ROUNDS = int(os.environ.get("YILIAN_KILL_ROUNDS", "2"))
MESSAGES = int(os.environ.get("YILIAN_KILL_MESSAGES", "160"))
CONNECTIONS = 8
PATIENTS = 8
ANSWER_S = 300  # without an answer for so long, a sender gives up
MODES = {"AA": "||", "CA": "AL|NE|"}  # what acknowledges -> MSH-15 and MSH-16 that ask for it


def message(name, code, patient):
    """A result that no other message will ever touch, of one of a few patients."""
    return (
        f"MSH|^~\\&|LIS|F1|YILIAN|HUB|20250310080000||ORU^R01^ORU_R01|{name}|P|"
        f"2.5.1|||{MODES[code]}|UNICODE UTF-8\rPID|1||P{patient}^^^F1^MR||Zhang^San\r"
        f"OBR|1|P{name}|L{name}|24331-1^Lipids^LN|||20250310070000"
        f"|||||||||||||||20250310080000||LAB|F\r"
        f"OBX|1|NM|C^x^L||5.60|mmol/L|||||F|||20250310070000\r"
    ).encode()


class Sender:
    """One connection that sends its messages in order and remembers which were acknowledged."""

    def __init__(self, port, code, names):
        self.port = port
        self.code = code
        self.left = list(names)
        self.acknowledged = 0
        self.refused = []

    def run(self, note):
        """Send until all is acknowledged, one is refused, or the connection is lost."""
        framer = Framer(1_000_000)
        try:
            with socket.create_connection(("127.0.0.1", self.port), ANSWER_S) as sock:
                while self.left and not self.refused:
                    patient = self.acknowledged % PATIENTS
                    sock.sendall(frame(message(self.left[0], self.code, patient)))
                    while (found := framer.next()) is None:
                        data = sock.recv(65536)
                        if not data:
                            return
                        framer.feed(data)
                    if f"\rMSA|{self.code}|{self.left[0]}\r".encode() not in found.payload + b"\r":
                        self.refused.append(found.payload)
                        continue
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
    assert [one.refused for one in senders] == [[]] * len(senders)


def kill_while_sending(hub, senders, moment):
    """Kill the hub once so many messages are acknowledged; return how many it were in the end.

    Who gets the last of those answers kills it; the other senders go on only then.
    """
    lock, acknowledged = threading.Lock(), itertools.count(1)

    def note():
        with lock:
            if next(acknowledged) == moment:
                hub.kill()

    send_all(senders, note)
    hub.process.stdout.close()
    return sum(one.acknowledged for one in senders)


def get(hub, path):
    status, _, body = hub.request("GET", path, headers={"Accept": "application/json"})
    assert status == 200, body
    return json.loads(body)


def count(hub, query):
    return get(hub, f"/fhir/{query}?_summary=count")["total"]


def test_every_acknowledged_message_is_applied_exactly_once(database_url, tmp_path):
    rng = random.Random(20250310)  # noqa: S311 - repeatable, not secret
    port = free_port()
    url = None if Address(database_url).dialect == SQLITE else database_url
    share = MESSAGES // CONNECTIONS

    def start():
        return start_hub(tmp_path / "data", "--mllp", f"127.0.0.1:{port}", database_url=url)

    hub = start()
    for round_ in range(ROUNDS):
        senders = [
            Sender(port, ("AA", "CA")[n % 2], [f"{round_}-{n}-{number}" for number in range(share)])
            for n in range(CONNECTIONS)
        ]
        moment = rng.randrange(1, (share - 1) * CONNECTIONS)
        acknowledged = kill_while_sending(hub, senders, moment)
        assert moment <= acknowledged < share * CONNECTIONS, round_

        hub = start()
        send_all(senders)
        assert [one.left for one in senders] == [[]] * CONNECTIONS, round_
        wait_for(lambda: not get(hub, "/inbox?state=received&count=1")["messages"], 300)  # noqa: B023

        total = (round_ + 1) * share * CONNECTIONS
        found = [count(hub, name) for name in ("Observation", "DiagnosticReport", "Provenance")]
        assert (found, count(hub, "Patient")) == ([total] * 3, PATIENTS), round_
    assert hub.stop() == 0
    hub.process.stdout.close()

    db = connect(Address(url or f"sqlite:///{next((tmp_path / 'data').glob('*.db'))}"))
    states = dict(db.all("SELECT state, count(*) FROM inbox GROUP BY state"))
    number = definitions.type_number("Observation")
    again = db.one("SELECT count(*) FROM res WHERE vid > 1 AND type = ?", (number,))
    db.close()
    assert states[State.APPLIED] == total
    assert set(states) <= {State.APPLIED, State.DUPLICATE}
    assert again == (0,)
