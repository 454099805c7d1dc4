"""Broken messages: an answer for each, never a fault, and the listener goes on.

YILIAN_MUTATIONS makes it longer (.ci/run and `make soak`: 20,000).
"""

import json
import os
import socket
import threading
from pathlib import Path

from app.feeds.hl7v2.frames import Framer, frame
from app.feeds.inbox import State
from tests.feeds.mutations import mutations

GOOD = b"MSH|^~\\&|A|B|C|D|2025||ADT^A04|Z|P|2.5.1\rPID|1||9\r"
IN_PROCESS = 200
COUNT = int(os.environ.get("YILIAN_MUTATIONS", "400"))
CONNECTIONS = 4
BURST = 25  # broken messages between two good ones on one connection
HANG_S = 300
GROWTH_BYTES = 96 << 20  # of all processes together, from the first quarter on


def test_broken_messages_are_answered_without_a_fault(hospital, caplog):
    for raw in mutations(IN_PROCESS):
        answers = hospital.send(raw)

        assert all(one.startswith(b"MSH") for one in answers.now)
    entries = hospital.entries()

    assert len(entries) > IN_PROCESS // 2
    assert not [record for record in caplog.records if record.exc_info]
    assert not [one for one in entries for issue in one.issues if issue.details == "fault"]
    assert State.RECEIVED not in [one.state for one in entries if one.answers[1]]
    assert hospital.codes(GOOD) == ["AA"]


def test_the_listener_goes_on_under_broken_messages(hub):
    host, _, port = hub.addresses["mllp"].rpartition(":")
    broken = list(mutations(COUNT))
    failures = []

    def send(number, messages):
        try:
            with socket.create_connection((host, int(port)), HANG_S) as sock:
                for at in range(0, len(messages), BURST):
                    _send_and_probe(sock, messages[at : at + BURST], b"probe-%d-%d" % (number, at))
        except (OSError, AssertionError) as exc:
            failures.append((number, exc))

    def send_all(messages, first):
        threads = [
            threading.Thread(target=send, args=(first + n, messages[n::CONNECTIONS]))
            for n in range(CONNECTIONS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    send_all(broken[: COUNT // 4], 0)
    early = _memory_bytes(hub.process.pid)
    send_all(broken[COUNT // 4 :], CONNECTIONS)

    assert failures == []
    assert _memory_bytes(hub.process.pid) - early < GROWTH_BYTES
    assert "Traceback" not in hub.log.read_text()
    issues = [issue["code"] for one in _failed(hub) for issue in one["issues"]]
    assert len(issues) > COUNT // 10
    assert "exception" not in issues
    assert hub.request("GET", "/readyz")[0] == 200


def _send_and_probe(sock, messages, probe):
    """Send messages in one go, a good one at the end, and read until that is answered AA."""
    good = GOOD.replace(b"|Z|", b"|%s|" % probe)
    sock.sendall(b"".join(map(frame, [*messages, good])))
    framer = Framer(1 << 20)
    while True:
        found = framer.next()
        if found is None:
            data = sock.recv(1 << 16)
            assert data, "the listener closed the connection"
            framer.feed(data)
            continue
        assert found.payload.startswith(b"MSH")
        if b"|%s" % probe in found.payload:
            assert b"\rMSA|AA|%s" % probe in found.payload
            return


def _failed(hub):
    """Yield the dead letters as programs see them."""
    following = "/inbox?state=failed&count=500"
    while following:
        status, _, body = hub.request("GET", following, headers={"Accept": "application/json"})
        assert status == 200
        page = json.loads(body)
        yield from page["messages"]
        following = page["next"]


def _memory_bytes(group):
    """Return what the processes of a group occupy, shared pages shared out."""
    total = 0
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and os.getpgid(int(process.name)) == group:
                rollup = (process / "smaps_rollup").read_text()
                total += int(rollup.split("\nPss:", 1)[1].split()[0]) << 10
        except (OSError, IndexError):  # it ended just now
            continue
    return total
