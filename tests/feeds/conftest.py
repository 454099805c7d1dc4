"""A store of each kind with the HL7 v2 door before it, without a listener."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.clock import SetClock
from app.feeds import inbox
from app.feeds.hl7v2.exchange import Answers, Frame, Peer
from app.feeds.inbox import Entry, Wanted
from app.feeds.running import Feeds, Setting
from app.store.database import Address, connect
from app.store.store import Setting as StoreSetting
from app.store.store import Store, open_store
from app.store.types import SearchRequest

ZONE = ZoneInfo("Asia/Shanghai")


class Hospital:
    """What a test sends and looks up."""

    def __init__(self, feeds: Feeds, store: Store, clock: SetClock, url: str) -> None:
        self.feeds, self.store, self.clock, self.url = feeds, store, clock, url

    def hand_in(self, raw: bytes | str) -> Future[Answers]:
        """Return what will be the first answers of one frame."""
        payload = raw.encode() if isinstance(raw, str) else raw
        answers: Future[Answers] = Future()
        self.feeds.door.accept(Frame(payload, Peer("192.0.2.1", 1, 1)), answers.set_result)
        return answers

    def send(self, raw: bytes | str) -> Answers:
        """Return the first answers of one frame."""
        return self.hand_in(raw).result(120)

    def codes(self, raw: bytes | str) -> list[str]:
        """Return MSA-1 of all answers to one frame."""
        answers = self.send(raw)
        later: Sequence[bytes] = answers.later.result(120) if answers.later else ()
        return [one.split(b"\rMSA|")[1][:2].decode() for one in (*answers.now, *later)]

    def all(self, type_name: str, **query: str) -> list[dict[str, Any]]:
        page = self.store.search(SearchRequest(type_name, list(query.items())))
        return [json.loads(match.body) for match in page.matches]

    def one(self, type_name: str, **query: str) -> dict[str, Any]:
        (found,) = self.all(type_name, **query)
        return found

    def entries(self) -> list[Entry]:
        """Return the inbox, oldest first."""
        db = connect(Address(self.url))
        try:
            return inbox.page(db, 0, Wanted(), count=10_000)[::-1]
        finally:
            db.close()

    def later(self, **by: float) -> None:
        self.clock.move(timedelta(**by))


@contextmanager
def hospital_at(url: str) -> Iterator[Hospital]:
    clock = SetClock(datetime(2025, 3, 10, tzinfo=UTC))
    setting = StoreSetting(zone=ZONE)
    store = open_store(url, setting, clock)
    feeds = Feeds(
        Setting(Address(url), setting.preparer(), b"x" * 32, "Asia/Shanghai", None),
        store.writer,
        clock,
    )
    feeds.start()
    try:
        yield Hospital(feeds, store, clock, url)
    finally:
        feeds.stop()
        store.close()


@pytest.fixture
def hospital(database_url: str) -> Iterator[Hospital]:
    with hospital_at(database_url) as one:
        yield one


@pytest.fixture
def reopen():
    """Open a hospital's database as a hub that starts again would."""
    return hospital_at
