"""Objects from a modality into a real store: counts right in any order, over any association."""

import io
import itertools
import json
import threading
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from app.clock import SetClock
from app.feeds.apply import Applier
from app.feeds.dicom import scp, send
from app.feeds.dicom.convert import Converter, load
from app.feeds.dicom.door import Door
from app.feeds.dicom.objects import ObjectStore
from app.feeds.dispatch import Dispatcher
from app.feeds.inbox import State
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

FIXTURES = ROOT / "fixtures" / "dicom"
CT = sorted((FIXTURES / "ct-chest").glob("*.dcm"))
ZONE = ZoneInfo("Asia/Shanghai")


@pytest.fixture(scope="module")
def converter():
    values = {"assigners": assigners.load([shipped("mappings") / "assigners.yaml"])}
    mapping = load([shipped("mappings") / "dicom"])
    return Converter(mapping, Context(Ids(b"test"), values), ZONE)


class Kit:
    """A listener before a store of its own."""

    def __init__(self, url, folder, converter, quiet_s=0.1) -> None:
        clock = SetClock(datetime(2026, 11, 5, 4, tzinfo=UTC))
        self.store = open_store(url, Setting(zone=ZONE), clock)
        preparer = Setting(zone=ZONE).preparer()
        grouped = isinstance(self.store.writer, GroupWriter)
        self._lane = None if grouped else Lane(self.store.writer)
        self.dispatcher = Dispatcher(
            self._lane or self.store.writer,
            Applier(preparer),
            clock,
            lambda: connect(Address(url)),
        )
        self.objects = ObjectStore(folder)
        self.folder = folder / "waiting"
        self.door = Door(
            self.dispatcher,
            converter,
            self.objects,
            folder / "waiting",
            clock,
            preparer,
            quiet_s=quiet_s,
        )
        self.dispatcher.start({"dicom": self.door.reread})
        self.door.start()
        self.listener = scp.serve(("127.0.0.1", 0), self.door.accept)

    def send(self, *paths) -> list[str]:
        out = io.StringIO()
        address = f"127.0.0.1:{self.listener.address[1]}"
        send.main([address, *map(str, paths)], io.BytesIO(), out)
        return [line.split("  ")[0] for line in out.getvalue().splitlines()]

    def found(self, type_: str) -> list[dict]:
        page = self.store.search(SearchRequest(type_, []))
        return [json.loads(match.body) for match in page.matches]

    def settled(self) -> None:
        """Wait until no object waits for its study."""
        wait_for(lambda: not list(self.folder.glob("*.wait")))

    def close(self) -> None:
        self.listener.close()
        self.door.stop()
        self.dispatcher.stop()
        if self._lane is not None:
            self._lane.close()
        self.store.close()


@pytest.fixture
def kit(database_url, tmp_path, converter):
    made = Kit(database_url, tmp_path / "objects", converter)
    yield made
    made.close()


@pytest.mark.parametrize("order", list(itertools.permutations(CT))[::9], ids=range(3))
def test_counts_are_right_in_any_order_and_with_repetitions(kit, order):
    answers = kit.send(*order, order[2], order[0])
    kit.settled()

    (study,) = kit.found("ImagingStudy")
    assert answers == ["0x0000"] * 6
    assert (study["numberOfSeries"], study["numberOfInstances"]) == (2, 4)
    assert [series["numberOfInstances"] for series in study["series"]] == [3, 1]
    assert study["started"] == "2026-11-05T08:30:15.250+08:00"
    assert kit.dispatcher.counts.states[State.DUPLICATE] == 2


def test_parallel_associations_make_one_study(kit):
    senders = [threading.Thread(target=kit.send, args=(path,)) for path in CT]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    kit.settled()

    (study,) = kit.found("ImagingStudy")
    assert study["numberOfInstances"] == 4
    assert len(kit.found("Patient")) == 1
    assert len(kit.found("Device")) == 1
    assert len(kit.found("ServiceRequest")) == 1


def test_the_object_is_kept_whole_and_the_inbox_has_no_pixels(kit):
    kit.send(CT[0])
    kit.settled()

    (kept,) = kit.folder.parent.rglob("*.dcm")
    assert bytes(64) in kept.read_bytes()


def test_an_object_that_cannot_be_applied_is_refused_and_kept_with_its_reason(
    kit, tmp_path, dicom_object
):
    path = tmp_path / "no-study.dcm"
    path.write_bytes(dicom_object(StudyInstanceUID=""))

    assert kit.send(path, CT[0]) == ["0xA900", "0x0000"]
    kit.settled()

    assert kit.dispatcher.counts.states[State.FAILED] == 1
    assert kit.found("ImagingStudy")[0]["numberOfInstances"] == 1


def test_objects_that_come_together_make_one_version_of_their_study(
    database_url, tmp_path, converter, dicom_object
):
    paths = []
    for number in range(40):
        paths.append(tmp_path / f"{number}.dcm")
        paths[-1].write_bytes(dicom_object(SOPInstanceUID=f"2.25.9{number}", PatientID="P1"))
    kit = Kit(database_url, tmp_path / "objects", converter, quiet_s=60)

    kit.send(*paths)
    assert kit.found("ImagingStudy") == []
    kit.door.stop()  # what waits is told

    (study,) = kit.found("ImagingStudy")
    assert (study["numberOfInstances"], study["meta"]["versionId"]) == (40, "1")
    kit.close()


def test_what_waits_for_its_study_survives_a_crash(database_url, tmp_path, converter):
    first = Kit(database_url, tmp_path / "objects", converter, quiet_s=60)
    assert first.send(*CT) == ["0x0000"] * 4
    first.door.stop = lambda: None  # it dies before the study was told
    first.close()

    again = Kit(database_url, tmp_path / "objects", converter)
    again.settled()

    assert again.found("ImagingStudy")[0]["numberOfInstances"] == 4
    again.close()
