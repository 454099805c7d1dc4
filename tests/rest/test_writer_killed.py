"""The process that writes is killed under clients: who was answered 201 finds it, once."""

import json
import os
import signal
import threading
from collections import Counter
from pathlib import Path

from tests.support import running_hub, wait_for

CLIENTS, EACH = 8, 25
SYSTEM = "urn:oid:1.2.3.4"
FHIR = {"Content-Type": "application/fhir+json"}


class Client:
    """Creates its resources in order; one that was not answered well is sent again."""

    def __init__(self, hub, number):
        self.hub = hub
        self.names = [f"{number}-{place}" for place in range(EACH)]
        self.statuses = Counter()
        self.made = {}

    def run(self, note):
        for name in self.names:
            while name not in self.made:
                status, location = self._create(name)
                self.statuses[status] += 1
                if status in (200, 201):
                    self.made[name] = location
                    note()
                elif status != 503:
                    return

    def _create(self, name):
        body = {"resourceType": "Basic", "code": {"text": "x"}}
        body["identifier"] = [{"system": SYSTEM, "value": name}]
        once = {"If-None-Exist": f"identifier={SYSTEM}|{name}"}
        try:
            status, headers, _ = self.hub.request(
                "POST", "/fhir/Basic", json.dumps(body), FHIR | once
            )
        except OSError:
            return 503, None
        return status, headers.get("location")


def test_the_writer_may_die_under_its_clients(tmp_path):
    with running_hub(tmp_path / "data") as hub:
        workers = set(children(hub)[1:])
        made = threading.Semaphore(0)
        clients = [Client(hub, number) for number in range(CLIENTS)]
        threads = [threading.Thread(target=one.run, args=(made.release,)) for one in clients]
        for thread in threads:
            thread.start()
        done, killed = 0, set()
        for moment in (20, 90):
            while done < moment:
                assert made.acquire(timeout=120)
                done += 1
            # It is started again in a moment; one that was killed may be seen a little longer.
            (writer,) = wait_for(lambda: set(children(hub)) - workers - killed)
            os.kill(writer, signal.SIGKILL)
            killed.add(writer)
        for thread in threads:
            thread.join()

        assert {status for one in clients for status in one.statuses} <= {200, 201, 503}
        assert [len(one.made) for one in clients] == [EACH] * CLIENTS
        for name, location in [pair for one in clients for pair in one.made.items()]:
            path = location.removeprefix(hub.base) if location else ""
            status, _, body = hub.request("GET", f"/fhir/Basic?identifier={SYSTEM}|{name}")
            found = json.loads(body)
            assert (status, found["total"]) == (200, 1), name
            assert path.startswith(f"/fhir/Basic/{found['entry'][0]['resource']['id']}")
        wait_for(lambda: hub.request("GET", "/readyz")[0] == 200)
        assert hub.stop() == 0


def children(hub):
    """Return the process ids below the supervisor, oldest first: the writer, then the workers."""
    lists = Path(f"/proc/{hub.process.pid}/task").glob("*/children")  # by the thread that began it
    return sorted(int(pid) for each in lists for pid in each.read_text().split())
