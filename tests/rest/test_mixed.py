"""Eight clients do everything at once: nothing is lost, doubled, skipped or left half done.

YILIAN_MIXED_S makes it longer: 600 is what a release has to stand, on each database. R4
http.html#concurrency, #ccreate, #trules, #paging.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.support import RunningHub

SECONDS = float(os.environ.get("YILIAN_MIXED_S", "3"))
CLIENTS = 8
NUMBERS = 30  # of patients who are created and deleted by all
COUNTERS = 3
ACCOUNTS = 4
STEADY = 60  # observations that stay while others come and go around them
SYSTEM, CODES = "urn:x-mixed", "urn:x-mixed:code"
FINE = frozenset((200, 201, 204, 404, 410, 412))

Resource = dict[str, Any]


class Client:
    """One client: what it has done, and what it saw that may not be."""

    def __init__(self, hub: RunningHub, number: int) -> None:
        self._connection = http.client.HTTPConnection(hub.addresses["http"], timeout=300)
        self._random = random.Random(number)  # noqa: S311 - a course of events, no secret
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.bundles: dict[str, bool] = {}  # name of a transaction -> whether it was accepted
        self.own = f"own-{number}"
        self.version = 0

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent["Content-Type"] = "application/fhir+json"
        path = path[path.index("/fhir") :] if path.startswith("http") else f"/fhir{path}"
        self._connection.request(method, path, None if body is None else json.dumps(body), sent)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status not in FINE:
            self.wrong.append(f"{method} {path.partition('?')[0]}: {answer.status} {text[:200]!r}")
        return answer.status, json.loads(text) if text else None

    def run(self, until: float) -> None:
        deeds: list[Callable[[], None]] = [
            self.create_if_none,
            self.create_if_none,
            self.delete_by_number,
            self.count_up,
            self.count_up,
            self.move,
            self.bundle,
            self.come_and_go,
            self.keep_own,
            self.turn_pages,
        ]
        while time.monotonic() < until:
            deed = self._random.choice(deeds)
            deed()
            self.done[deed.__name__] += 1
        self.close()

    def close(self) -> None:
        self._connection.close()

    def create_if_none(self) -> None:
        number = f"n{self._random.randrange(NUMBERS)}"
        criteria = f"identifier={SYSTEM}|{number}"
        status, _ = self.ask("POST", "/Patient", patient(number), If_None_Exist=criteria)
        self.expect(status in (200, 201), f"conditional create: {status}")

    def delete_by_number(self) -> None:
        number = f"n{self._random.randrange(NUMBERS)}"
        status, _ = self.ask("DELETE", f"/Patient?identifier={SYSTEM}%7C{number}")
        self.expect(status in (200, 204), f"conditional delete: {status}")

    def count_up(self) -> None:
        """Add one to a counter that all count up: an If-Match that fails is tried again."""
        path = f"/Basic/counter-{self._random.randrange(COUNTERS)}"
        while True:
            _, found = self.ask("GET", path)
            version = found["meta"]["versionId"]
            found["identifier"][0]["value"] = str(int(found["identifier"][0]["value"]) + 1)
            status, _ = self.ask("PUT", path, found, If_Match=f'W/"{version}"')
            if status == 200:
                self.done[path] += 1
                return
            self.expect(status == 412, f"update: {status}")

    def move(self) -> None:
        """Move one from an account to another in one transaction: the sum never changes."""
        one, other = self._random.sample(range(ACCOUNTS), 2)
        changed = [
            (self.ask("GET", f"/Basic/account-{n}")[1], by) for n, by in ((one, -1), (other, 1))
        ]
        entries = []
        for found, by in changed:
            found["identifier"][0]["value"] = str(int(found["identifier"][0]["value"]) + by)
            request = {"method": "PUT", "url": f"Basic/{found['id']}"}
            match = {"ifMatch": f'W/"{found["meta"]["versionId"]}"'}
            entries.append({"resource": found, "request": request | match})
        entries.append({"request": {"method": "GET", "url": f"Basic/account-{one}"}})
        status, answer = self.ask("POST", "", transaction(entries))
        if status == 200:
            seen = answer["entry"][2]["resource"]["meta"]["versionId"]
            written = answer["entry"][0]["response"]["etag"]
            self.expect(int(seen) >= int(written[3:-1]), "a GET entry saw what was before")

    def bundle(self) -> None:
        """Send a patient with observations; in every third one the last entry cannot be done."""
        name, number = f"b{uuid4()}", f"n{self._random.randrange(NUMBERS)}"
        fails = self._random.randrange(3) == 0
        subject = f"urn:uuid:{uuid4()}"
        entries = [
            post(patient(name), fullUrl=subject),
            *(post(observation("bundled", subject=subject, number=name)) for _ in range(3)),
            post(patient(number), ifNoneExist=f"identifier={SYSTEM}|{number}"),
            {
                "request": {
                    "method": "GET",
                    "url": f"Patient?identifier={quote(f'{SYSTEM}|{name}')}",
                }
            },
        ]
        if fails:
            stale = {"method": "PUT", "url": "Basic/counter-0", "ifMatch": 'W/"0"'}
            entries.append({"resource": basic("counter-0", 0), "request": stale})
        status, answer = self.ask("POST", "", transaction(entries))
        self.expect(status == (412 if fails else 200), f"transaction: {status}")
        self.bundles[name] = status == 200
        if status == 200:
            found = answer["entry"][5]["resource"].get("entry", [])
            self.expect(len(found) == 1, "a GET entry did not see the transaction's own patient")

    def come_and_go(self) -> None:
        """Make an observation among those that are paged, and delete it again."""
        _, made = self.ask("POST", "/Observation", observation("paged", day=self._day()))
        status, _ = self.ask("DELETE", f"/Observation/{made['id']}")
        self.expect(status in (200, 204), f"delete: {status}")

    def keep_own(self) -> None:
        """Write, delete and read a resource of this client's: versions go up by one."""
        status, _ = self.ask("PUT", f"/Basic/{self.own}", basic(self.own, self.version))
        self.expect(status in (200, 201), f"update: {status}")
        self.ask("DELETE", f"/Basic/{self.own}")
        self.version += 2
        self.expect(self.ask("GET", f"/Basic/{self.own}")[0] == 410, "what was deleted is there")

    def turn_pages(self) -> None:
        order = self._random.choice(["-date", "date", "value-quantity", "-value-quantity,date"])
        url = f"/Observation?code={CODES}%7Cpaged&_sort={order}&_count=7"
        seen: Counter[str] = Counter()
        while url:
            status, page = self.ask("GET", url)
            if status != 200:
                return
            seen.update(entry["resource"]["id"] for entry in page.get("entry", []))
            url = next((k["url"] for k in page["link"] if k["relation"] == "next"), "")
        self.expect(max(seen.values()) == 1, "an entry came twice")
        steady = sum(id_.startswith("steady-") for id_ in seen)
        self.expect(steady == STEADY, f"{steady} of {STEADY} entries came")

    def expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)

    def _day(self) -> int:
        return self._random.randrange(1, 29)


def patient(number: str) -> Resource:
    return {"resourceType": "Patient", "identifier": [{"system": SYSTEM, "value": number}]}


def basic(id_: str, value: int) -> Resource:
    identifier = [{"system": SYSTEM, "value": str(value)}]
    return {"resourceType": "Basic", "id": id_, "identifier": identifier, "code": {"text": "x"}}


def observation(code: str, *, day: int = 1, **more: str) -> Resource:
    made: Resource = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": CODES, "code": code}]},
        "effectiveDateTime": f"2026-03-{day:02d}T08:00:00Z",
        "valueQuantity": {"value": day % 5, "unit": "1"},
    }
    if "subject" in more:
        made["subject"] = {"reference": more["subject"]}
    if "number" in more:
        made["identifier"] = [{"system": SYSTEM, "value": more["number"]}]
    return made


def post(resource: Resource, *, fullUrl: str | None = None, **request: str) -> Resource:
    asked = {"method": "POST", "url": resource["resourceType"], **request}
    return {"resource": resource, "request": asked} | ({"fullUrl": fullUrl} if fullUrl else {})


def transaction(entries: list[Resource]) -> Resource:
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def total(client: Client, path: str) -> int:
    found: int = client.ask("GET", f"{path}&_summary=count")[1]["total"]
    return found


@pytest.fixture
def setup(hub: RunningHub) -> Iterator[Client]:
    """A client that has made what all change, and that looks at it when they are done."""
    client = Client(hub, 0)
    given = [basic(f"counter-{n}", 0) for n in range(COUNTERS)]
    given += [basic(f"account-{n}", 100) for n in range(ACCOUNTS)]
    given += [{**observation("paged", day=1 + n % 28), "id": f"steady-{n}"} for n in range(STEADY)]
    entries = [
        {"resource": r, "request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"}}
        for r in given
    ]
    assert client.ask("POST", "", transaction(entries))[0] == 200
    yield client
    client.close()


def test_eight_clients_lose_double_and_skip_nothing(hub: RunningHub, setup: Client):
    clients = [Client(hub, number) for number in range(1, CLIENTS + 1)]

    until = time.monotonic() + SECONDS
    with ThreadPoolExecutor(CLIENTS) as pool:
        for running in [pool.submit(client.run, until) for client in clients]:
            running.result()

    setup.close()  # its connection may have been idle for longer than a server keeps it
    wrong = Counter(each for client in clients for each in client.wrong)
    done = sum((client.done for client in clients), Counter())
    assert not wrong, wrong.most_common(10)
    for n in range(COUNTERS):
        counter = setup.ask("GET", f"/Basic/counter-{n}")[1]
        assert int(counter["identifier"][0]["value"]) == done[f"/Basic/counter-{n}"]
        assert int(counter["meta"]["versionId"]) == 1 + done[f"/Basic/counter-{n}"]
    accounts = [setup.ask("GET", f"/Basic/account-{n}")[1] for n in range(ACCOUNTS)]
    assert sum(int(each["identifier"][0]["value"]) for each in accounts) == 100 * ACCOUNTS
    for n in range(NUMBERS):
        assert total(setup, f"/Patient?identifier={SYSTEM}%7Cn{n}") <= 1
    for client in clients:
        _, history = setup.ask("GET", f"/Basic/{client.own}/_history?_count=1")
        assert (history or {}).get("total", 0) == client.version
        for name, accepted in client.bundles.items():
            assert total(setup, f"/Patient?identifier={SYSTEM}%7C{name}") == accepted
            assert total(setup, f"/Observation?identifier={SYSTEM}%7C{name}") == 3 * accepted
