"""Device messages into a real store: once, in event time, whatever the order."""

import json
from concurrent.futures import Future
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from app.clock import SetClock
from app.feeds.apply import Applier
from app.feeds.dispatch import Dispatcher
from app.feeds.inbox import State
from app.feeds.iot.catalogue import Catalogue
from app.feeds.iot.convert import Converter
from app.feeds.iot.door import Door, read_all
from app.feeds.iot.mqtt import Published
from app.feeds.iot.reading import Reader
from app.feeds.iot.said import Outside
from app.feeds.lanes import Lane
from app.fhir.ids import Ids
from app.mapping import assigners
from app.mapping.run import Context
from app.paths import shipped
from app.store.database import Address, connect
from app.store.store import Setting, open_store
from app.store.types import SearchRequest
from app.store.writer import GroupWriter
from tests.support import ROOT, wait_for

FIXTURES = ROOT / "fixtures" / "iot"
ZONE = ZoneInfo("Asia/Shanghai")


@pytest.fixture(scope="module")
def converter():
    values = {"assigners": assigners.load([shipped("mappings") / "assigners.yaml"]), "zone": ZONE}
    catalogue = Catalogue([shipped("mappings") / "iot"])
    return Converter(catalogue, Context(Ids(b"test"), values), ZONE)


class Kit:
    """A door to a store of its own."""

    def __init__(self, store, url, clock, converter) -> None:
        preparer = Setting(zone=ZONE).preparer()
        self.store = store
        grouped = isinstance(store.writer, GroupWriter)
        self._lane = None if grouped else Lane(store.writer)
        self.dispatcher = Dispatcher(
            self._lane or store.writer, Applier(preparer), clock, lambda: connect(Address(url))
        )
        self.clock = clock
        self.reader = Reader(converter, preparer)
        self.door = Door(self.dispatcher, self.reader, clock)
        self.door.start()
        self.dispatcher.start({"iot": self.door.reread})

    def send(self, body: bytes, mapping: str) -> list[State]:
        read = read_all(self.reader, body, Outside(mapping=mapping), self.clock.now_us())
        futures = [self.door.accept(one) for one in read]
        return [future.result(60).state for future in futures]

    def found(self, type_: str, query: str = "") -> list[dict]:
        params = [tuple(part.split("=", 1)) for part in query.split("&") if part]
        page = self.store.search(SearchRequest(type_, params))
        return [json.loads(match.body) for match in page.matches]

    def settled(self, count: int) -> None:
        """Wait until so many messages are applied or have failed."""
        states = self.dispatcher.counts.states
        wait_for(lambda: states[State.APPLIED] + states[State.FAILED] >= count)

    def close(self) -> None:
        self.door.stop()
        self.dispatcher.stop()
        if self._lane is not None:
            self._lane.close()
        self.store.close()


@pytest.fixture
def kit(database_url, converter):
    clock = SetClock(datetime(2026, 11, 5, 4, tzinfo=UTC))
    store = open_store(database_url, Setting(zone=ZONE), clock)
    made = Kit(store, database_url, clock, converter)
    yield made
    made.close()


def test_a_message_becomes_resources(kit):
    assert kit.send((FIXTURES / "monitor.json").read_bytes(), "monitor") == [State.APPLIED]
    kit.settled(1)

    assert len(kit.found("Observation")) == 6
    (patient,) = kit.found("Patient")
    assert patient["identifier"][0]["value"] == "ZY20261101"
    assert len(kit.found("Observation", f"subject=Patient/{patient['id']}")) == 6
    assert kit.found("Device")[0]["serialNumber"] == "CM10-2201"


def test_what_comes_twice_and_late_is_stored_once(kit):
    body = (FIXTURES / "monitor-stream.ndjson").read_bytes()

    assert kit.send(body, "monitor") == [State.APPLIED]
    assert kit.send(body.splitlines()[3], "monitor") == [State.APPLIED]
    kit.settled(2)

    assert len(kit.found("Observation")) == 3
    assert kit.send(body, "monitor") == [State.DUPLICATE]


def test_the_messages_of_a_body_are_told_as_one_with_one_provenance(kit):
    kit.send((FIXTURES / "monitor-stream.ndjson").read_bytes(), "monitor")
    kit.settled(1)

    (provenance,) = kit.found("Provenance")

    assert len(provenance["target"]) == 3 + 3  # readings, and device, patient and bed
    assert len(provenance["entity"]) == 3


def test_an_alarm_ends_right_when_its_end_came_first(kit):
    kit.send((FIXTURES / "alarm.ndjson").read_bytes(), "alarm")
    kit.settled(3)

    (alarm,) = kit.found("Observation", "category=alarm")

    assert alarm["status"] == "final"
    assert alarm["effectivePeriod"] == {
        "start": "2026-11-05T10:01:00+08:00",
        "end": "2026-11-05T10:03:00+08:00",
    }


def test_a_correction_is_not_undone_by_what_it_corrects(kit):
    first = {
        "messageId": "a",
        "deviceId": "D",
        "time": "2026-11-05T10:00:00+08:00",
        "measurements": [{"code": "8867-4", "value": 72, "unit": "/min"}],
    }
    reading = {"code": "8867-4", "value": 79, "unit": "/min"}
    second = {**first, "messageId": "b", "corrects": "a", "measurements": [reading]}

    kit.send(json.dumps(second).encode(), "generic")
    kit.send(json.dumps(first).encode(), "generic")
    kit.settled(2)

    (found,) = kit.found("Observation")
    assert (found["status"], found["valueQuantity"]["value"]) == ("corrected", 79)


def test_a_bad_line_is_kept_with_its_reason_and_the_others_are_applied(kit):
    good = (
        b'{"deviceId":"D","time":"2026-11-05T10:00:00Z",'
        b'"measurements":[{"code":"8867-4","value":1}]}'
    )

    kit.send(good + b"\n{broken\n" + good.replace(b"10:00", b"10:01"), "generic")
    kit.settled(2)

    assert len(kit.found("Observation")) == 2
    assert kit.dispatcher.counts.states[State.FAILED] == 1


def test_a_publication_is_safe_when_all_its_messages_are(kit):
    body = (FIXTURES / "generic.json").read_bytes()

    promise: Future = kit.door.published(Published("yilian/generic/GW7-01", body, False))

    assert promise.result(60) is None
    kit.settled(1)
    assert kit.found("Device")[0]["identifier"][0]["value"] == "GW7-01"


def test_publications_that_came_together_are_told_together(kit):
    def body(n) -> bytes:
        reading = {"code": "8867-4", "value": 60 + n, "unit": "/min"}
        time = f"2026-11-05T10:00:{n:02d}+08:00"
        return json.dumps({"time": time, "measurements": [reading]}).encode()

    published = [Published(f"yilian/generic/D{n % 3}", body(n), False) for n in range(30)]
    published.append(Published("yilian/generic/D9", b"{broken", False))
    promises = [kit.door.published(one) for one in published]

    assert [promise.result(60) for promise in promises] == [None] * 31
    kit.settled(2)
    wait_for(lambda: len(kit.found("Observation", "_count=100")) == 30)
    assert {device["identifier"][0]["value"] for device in kit.found("Device")} == {
        "D0",
        "D1",
        "D2",
    }


def test_without_a_time_a_reading_is_of_when_it_was_received(kit):
    kit.send(b'{"deviceId":"D","measurements":[{"code":"8867-4","value":72}]}', "generic")
    kit.settled(1)

    assert kit.found("Observation")[0]["effectiveDateTime"] == "2026-11-05T04:00:00.000Z"
