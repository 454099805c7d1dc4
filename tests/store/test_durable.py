"""Nobody is told that something is written before it is on disk."""

import errno
import queue
import threading
from datetime import UTC, datetime

import pytest

from app.clock import SetClock
from app.errors import Unavailable
from app.store.database import Address
from app.store.durable import Durable
from app.store.store import Setting, open_store
from app.store.types import Change, Method


class Disk:
    """A disk that is as slow as is asked for, or full."""

    def __init__(self):
        self.waits = queue.SimpleQueue()
        self.goes_on = threading.Semaphore(0)
        self.error = None

    def sync(self, file):
        self.waits.put(file)
        assert self.goes_on.acquire(timeout=120)
        if self.error is not None:
            raise self.error


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def durable(tmp_path, disk):
    (tmp_path / "x.db-wal").touch()
    durable = Durable(tmp_path / "x.db", sync=disk.sync)
    yield durable
    disk.goes_on.release(100)
    durable.close()


def test_one_wait_serves_all_that_came_before_it(durable, disk):
    told = queue.SimpleQueue()

    durable.tell(told.put, 1)
    disk.waits.get(timeout=120)
    durable.tell(told.put, 2)
    durable.tell(told.put, 3)
    assert told.empty()
    disk.goes_on.release()
    assert told.get(timeout=120) == 1
    disk.waits.get(timeout=120)
    assert told.empty()  # they came while the disk was waited for
    disk.goes_on.release()

    assert [told.get(timeout=120), told.get(timeout=120)] == [2, 3]
    assert disk.waits.empty()


def test_what_did_not_get_to_the_disk_is_not_told_as_written(durable, disk):
    told = queue.SimpleQueue()
    disk.error = OSError(errno.EIO, "no disk")

    durable.tell(told.put, 1)
    disk.goes_on.release()
    first = told.get(timeout=120)
    disk.error = None
    durable.tell(told.put, 2)

    assert isinstance(first, Unavailable)
    assert isinstance(told.get(timeout=120), Unavailable)  # what is there is not known any more


def test_who_cannot_be_told_keeps_nobody_else_waiting(durable, disk, caplog):
    told = queue.SimpleQueue()

    def broken(result):
        raise ValueError

    durable.tell(broken, 1)
    durable.tell(told.put, 2)
    disk.goes_on.release(2)

    assert told.get(timeout=120) == 2
    assert "store.answer_failed" in caplog.text


def test_what_is_left_is_told_before_the_end(tmp_path):
    (tmp_path / "x.db-wal").touch()
    durable, told = Durable(tmp_path / "x.db"), []

    for one in range(20):
        durable.tell(told.append, one)
    durable.close()

    assert told == list(range(20))


@pytest.fixture
def store(tmp_path, disk):
    """A store on that disk."""
    url = f"sqlite:///{tmp_path / 'yilian.db'}"
    store = open_store(url, Setting(zone=UTC), SetClock(datetime(2026, 3, 1, tzinfo=UTC)))
    writer = store.writer
    writer._durable.close()
    writer._durable = Durable(Address(url).path, sync=disk.sync, slow_s=0)
    yield store
    disk.goes_on.release(100)
    store.close()


def test_the_writer_goes_on_while_the_disk_is_waited_for(store, disk):
    writer, told = store.writer, queue.SimpleQueue()
    second = threading.Event()

    def goes_on():
        writer.submit_work(
            lambda _: second.set(), lambda _: told.put("second"), committed=lambda: True
        )
        return True

    writer.submit_work(lambda _: 1, lambda _: told.put("first"), committed=goes_on)

    assert second.wait(120)
    assert told.empty()
    disk.goes_on.release(2)
    assert [told.get(timeout=120), told.get(timeout=120)] == ["first", "second"]


def test_the_writer_waits_where_the_disk_is_fast(store, disk):
    writer, told, asked = store.writer, queue.SimpleQueue(), []
    writer._durable._slow_s = 60

    writer.submit_work(lambda _: 1, told.put, committed=lambda: asked.append(1))
    writer.submit_work(lambda _: 2, told.put)
    disk.waits.get(timeout=30)
    assert told.empty()
    disk.goes_on.release(2)

    assert [told.get(timeout=30), told.get(timeout=30)] == [1, 2]
    assert not asked


def test_a_change_set_is_answered_when_it_is_on_disk(store, disk):
    body = b'{"resourceType":"Patient","id":"p"}'
    change = Change(Method.UPDATE, "Patient", "p", body)
    result = queue.SimpleQueue()

    thread = threading.Thread(target=lambda: result.put(store.commit([change])))
    thread.start()
    disk.waits.get(timeout=120)
    assert result.empty()
    disk.goes_on.release()
    assert result.get(timeout=120)[0].id == "p"
    thread.join()

    disk.error = OSError(errno.EIO, "no disk")
    disk.goes_on.release()
    with pytest.raises(Unavailable):
        store.commit([change])
