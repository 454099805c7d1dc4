"""`yilian db`: what it prints and how it ends."""

from __future__ import annotations

import io
from zoneinfo import ZoneInfo

import pytest

from app import db
from app.errors import Unavailable
from app.store.database import Address, connect
from app.store.store import Setting, open_store
from app.store.types import Change, Method

PATIENT = b'{"resourceType":"Patient","name":[{"family":"Wang"}]}'


def run(*args: str) -> tuple[int, str]:
    printed = io.StringIO()
    return db.main(args, io.BytesIO(), printed), printed.getvalue()


@pytest.fixture
def written(database_url):
    """The URL of a database with a hundred patients."""
    store = open_store(database_url, Setting(zone=ZoneInfo("Asia/Shanghai")))
    store.commit([Change(Method.CREATE, "Patient", body=PATIENT)] * 100)
    store.close()
    return database_url


@pytest.mark.parametrize("flags", [(), ("--all",)])
def test_check_says_that_a_database_is_whole(written, flags):
    assert run("check", "--database", written, *flags) == (0, "the database is whole\n")


def test_check_names_what_is_wrong_and_counts_the_rest(written):
    store = connect(Address(written), write=True)
    store.run("DELETE FROM str")
    store.close()

    code, printed = run("check", "--database", written, "--all")

    assert code == 1
    assert printed.splitlines()[-1] == "and 80 more"
    assert "index rows are missing" in printed.splitlines()[0]


def test_check_makes_no_database(tmp_path):
    with pytest.raises(Unavailable):
        run("check", "--data", str(tmp_path / "nowhere"))
