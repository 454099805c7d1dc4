"""Work that parks on an event loop, and reads that give way."""

import asyncio
from asyncio import Future

import pytest

from app.errors import Conflict
from app.store import turns
from app.store.store import open_store
from app.store.turns import Overdue, Turn, finished, may_park, parked

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


def test_parked_work_goes_on_when_its_answer_has_come():
    said: list[str] = []

    async def run() -> list[str]:
        awaited: Future[str] = asyncio.get_running_loop().create_future()

        def first() -> str:
            said.append("first waits")
            return parked(awaited)

        def second() -> str:
            said.append("second answers")
            awaited.set_result("answer")
            return "done"

        return await asyncio.gather(finished(first), finished(second))

    assert asyncio.run(run()) == ["answer", "done"]
    assert said == ["first waits", "second answers"]


def test_an_error_reaches_who_parked_and_who_awaits():
    async def run() -> None:
        awaited: Future[None] = asyncio.get_running_loop().create_future()
        awaited.set_exception(Conflict("changed meanwhile"))

        def work() -> str:
            with pytest.raises(Conflict):
                parked(awaited)
            raise KeyError("mine")

        with pytest.raises(KeyError):
            await finished(work)

    asyncio.run(run())


def test_only_work_of_a_loop_may_park():
    async def run() -> bool:
        return await finished(may_park)

    assert (may_park(), asyncio.run(run())) == (False, True)


def test_a_read_that_outlasts_its_turn_is_overdue_unless_that_was_lifted(tmp_path, monkeypatch):
    store = open_store(f"sqlite:///{tmp_path}/x.db", upkeep=False)

    async def run() -> None:
        turn = Turn()
        store.take_turns(turn, asyncio.get_running_loop())
        turn.begin()
        with pytest.raises(Overdue):
            store.ask(lambda db: db.one(ENDLESS))
        with pytest.raises(Overdue):  # and no other read is begun
            store.lookup("Patient", "1")
        turn.lift()
        assert store.lookup("Patient", "1") is None
        monkeypatch.setattr(turns, "_TURN_S", 600)  # however slow this machine is
        turn.begin()
        assert store.lookup("Patient", "1") is None

    asyncio.run(run())
    store.close()
