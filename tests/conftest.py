"""Fixtures for all tests: a database of each kind, and a hub that runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support import Postgres, RunningHub, running_hub

BACKENDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
# No deadline: a busy machine is no defect. The same examples each time, so that a change is judged
# by what it changes and not by luck; YILIAN_EXPLORE=1 (`make soak`) tries others.
hypothesis.settings.register_profile(
    "house",
    deadline=None,
    suppress_health_check=(hypothesis.HealthCheck.too_slow,),
    derandomize=os.environ.get("YILIAN_EXPLORE") != "1",
)
hypothesis.settings.load_profile("house")
NO_SKIP = os.environ.get("YILIAN_NO_SKIP") == "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Turn skips into failures where nothing may be skipped (YILIAN_NO_SKIP=1)."""
    report = yield
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """The same for whole files that skip themselves while they are read."""
    report = yield
    if NO_SKIP and report.skipped:
        report.outcome = "failed"
    return report


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL server for the session, or a skip with the reason why there is none."""
    try:
        server = Postgres()
    except (OSError, AssertionError, KeyError) as exc:
        pytest.skip(f"no PostgreSQL: {exc}; YILIAN_TEST_POSTGRES may name a server's URL")
    yield server
    server.stop()


def _database(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{folder / 'yilian.db'}"
        return
    with request.getfixturevalue("postgres").database() as url:
        yield url


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, on SQLite and on PostgreSQL."""
    yield from _database(request, tmp_path)


@pytest.fixture(scope="module", params=BACKENDS)
def database_url_of_module(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """As `database_url`, one for the tests of a file, which only read."""
    yield from _database(request, tmp_path_factory.mktemp("database"))


@pytest.fixture(scope="module", params=BACKENDS)
def hub(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningHub]:
    """A running hub for the tests of one file, on SQLite and on PostgreSQL."""
    folder = tmp_path_factory.mktemp("hub")
    for url in _database(request, folder):
        with running_hub(folder / "data", database_url=url) as running:
            yield running
