"""The composition root: builds the services and hands them to each other. Decides nothing.

`Hub` is what one process works with; `write` is the whole life of the writer process.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from zoneinfo import ZoneInfo

from app import metrics
from app.clock import Clock, WallClock
from app.errors import YilianError
from app.rest.services import Options
from app.settings import Settings
from app.store import schema
from app.store.database import SQLITE, Address, connect
from app.store.store import Setting, Store, open_store, open_worker
from app.store.types import Change, Method
from app.store.writer import GroupWriter, WriterServer

Report = Callable[[Mapping[str, str]], None]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the processes of one hub have in common.

    writer_socket: where the writer process listens (SQLite); on PostgreSQL nobody does.
    """

    settings: Settings
    id_secret: str
    writer_socket: Path

    @property
    def database(self) -> Address:
        return Address(self.settings.database)

    @property
    def store_setting(self) -> Setting:
        return Setting(zone=ZoneInfo(self.settings.time_zone))


class Hub:
    """The services of one process. `open_store` makes one for a process that is alone."""

    def __init__(self, parts: Parts, *, clock: Clock | None = None) -> None:
        self._parts = parts
        self.clock: Clock = clock or WallClock()
        self.http = Options(software_version=released())
        self.store: Store = open_worker(
            parts.settings.database, parts.writer_socket, parts.store_setting, self.clock
        )

    def not_ready(self) -> Sequence[str]:
        """Return what is not serving yet, in words for an operator; empty when all is."""
        missing = []
        if not self._database_answers():
            missing.append("the database")
        if self._parts.database.dialect == SQLITE and not _accepts(self._parts.writer_socket):
            missing.append("the writer")
        return missing

    def metrics(self) -> bytes:
        """Return the numbers of all processes of this hub in the Prometheus text format."""
        return metrics.exposition()

    def close(self) -> None:
        """Finish what was handed in and close the connections."""
        self.store.close()

    def _database_answers(self) -> bool:
        try:
            db = connect(self._parts.database)
            with contextlib.closing(db):
                schema.require_current(db)
        except YilianError:
            return False
        return True


def write(parts: Parts, ready: Report, stop: threading.Event) -> None:
    """Own the SQLite file until `stop` is set: commit what HTTP workers hand in.

    Afterwards no more is taken, what was taken is committed and answered, and the file is closed.
    """
    store = open_store(parts.settings.database, parts.store_setting, upgrade=False)
    with contextlib.closing(store):
        if not isinstance(store.writer, GroupWriter):
            raise TypeError("only a SQLite file has a writer process")
        server = WriterServer(store.writer, parts.writer_socket)
        ready({})
        stop.wait()
        server.close()


def preload(setting: Setting) -> None:
    """Load what every process needs, before they part: they share its memory and start warm.

    One resource prepared brings in the definitions, validators and extractors.
    """
    body = b'{"resourceType":"Observation","status":"final","code":{"text":"warm"}}'
    setting.preparer().prepare([Change(Method.CREATE, "Observation", body=body)])


def released() -> str:
    """Return the version of Yilian that is installed."""
    try:
        return version("yilian")
    except PackageNotFoundError:  # a checkout that was never installed
        return "0"


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
