"""The socket between HTTP workers and the writer: requests in pieces, slow and lost workers."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import orjson
import pytest

from app.clock import WallClock
from app.errors import Unavailable
from app.store import schema, wire
from app.store.database import Address
from app.store.handover import SocketWriter
from app.store.prepare import Prepared, Preparer
from app.store.turns import Turn, finished
from app.store.types import Change, Method, Result
from app.store.writer import GroupWriter

PATIENT = {"resourceType": "Patient", "name": [{"family": "Wang"}]}


def create(size: int = 0) -> list[Prepared]:
    body = PATIENT | ({"address": [{"text": "x" * size}]} if size else {})
    change = Change(Method.CREATE, "Patient", body=orjson.dumps(body))
    return list(Preparer(0, UTC).prepare([change]))


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    address = Address(f"sqlite:///{tmp_path}/x.db")
    schema.upgrade(address)
    writer = GroupWriter(address, preparer=Preparer(0, UTC), clock=WallClock(), match=lambda *_: ())
    server = writer.serve(tmp_path / "w.sock")
    yield tmp_path / "w.sock"
    server.close()
    writer.close()


def connected(path: Path) -> contextlib.closing[socket.socket]:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(60)
    sock.connect(str(path))
    return contextlib.closing(sock)


def test_many_threads_are_each_answered(path: Path):
    writer = SocketWriter(path)
    results = []

    def run() -> None:
        results.extend(outcome.result for _ in range(20) for outcome in writer.commit(create()))
        writer.close()

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [Result.CREATED] * 160


def test_a_request_may_come_in_pieces_and_two_in_one(path: Path):
    data = wire.frame(create())
    with connected(path) as sock:
        for byte in data[:9]:
            sock.sendall(bytes([byte]))
        sock.sendall(data[9:] + data)
        assert [len(wire.receive_reply(sock).outcomes) for _ in range(2)] == [1, 1]


def test_a_worker_that_reads_nothing_holds_up_nobody(path: Path):
    with connected(path) as slow:
        data = wire.frame(create(100_000))
        for _ in range(30):  # 3 MB of answers: more than the socket holds
            slow.sendall(data)
        writer = SocketWriter(path)
        assert writer.commit(create())[0].result is Result.CREATED
        writer.close()
        assert all(len(wire.receive_reply(slow).outcomes) == 1 for _ in range(30))


@pytest.mark.parametrize("sent", [b"\xff\xff\xff\xff", b"\0\0\0\3abc"])
def test_what_is_no_request_ends_its_connection_alone(path: Path, sent: bytes):
    with connected(path) as sock:
        sock.sendall(sent)
        assert sock.recv(1) == b""
    writer = SocketWriter(path)
    assert writer.commit(create())[0].result is Result.CREATED
    writer.close()


def test_without_a_writer_it_says_so(tmp_path: Path):
    with pytest.raises(Unavailable):
        SocketWriter(tmp_path / "none.sock").commit(create())


async def commits(writer: SocketWriter, count: int, size: int = 0) -> list[Result | str]:
    """Commit that many sets at once from the running loop: their results, or what was wrong."""

    def commit() -> Result | str:
        try:
            return writer.commit(create(size))[0].result
        except Unavailable as exc:
            return str(exc)

    return list(await asyncio.gather(*(finished(commit) for _ in range(count))))


def test_the_requests_of_a_loop_share_a_connection(path: Path):
    writer = SocketWriter(path)

    async def run() -> list[Result | str]:
        writer.serve_loop(asyncio.get_running_loop(), Turn())
        small = await commits(writer, 50)
        large = await commits(writer, 20, 200_000)  # more than the socket takes at once
        writer.close()
        return small + large

    assert asyncio.run(run()) == [Result.CREATED] * 70


def test_a_loop_outlives_the_writer(path: Path):
    writer = SocketWriter(path)

    async def run() -> None:
        writer.serve_loop(asyncio.get_running_loop(), Turn())
        assert await commits(writer, 1) == [Result.CREATED]
        writer.close()
        path.rename(path.with_name("real"))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            asked = asyncio.ensure_future(commits(writer, 3))
            listener.setblocking(False)
            came, _ = await asyncio.get_running_loop().sock_accept(listener)
            came.close()  # it ends in the middle of its work
            assert await asked == ["the writer is restarting"] * 3
        path.unlink()
        assert await commits(writer, 1) == ["the writer is restarting"]
        path.with_name("real").rename(path)
        assert await commits(writer, 2) == [Result.CREATED] * 2
        writer.close()

    asyncio.run(run())
