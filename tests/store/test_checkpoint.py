"""The log is copied into the file beside the writer. https://www.sqlite.org/wal.html"""

from pathlib import Path

import pytest

from app.errors import Unavailable
from app.store.checkpoint import Checkpointer
from app.store.database import Address, Connection, connect
from tests.support import wait_for


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def db(file: Path):
    db = connect(Address(f"sqlite:///{file}"), write=True)
    db.run("CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)")
    yield db
    db.close()


def committed(db: Connection, checkpointer: Checkpointer, count: int) -> None:
    for _ in range(count):
        db.begin()
        db.run("INSERT INTO t (text) VALUES (?)", ("x" * 20_000,))
        db.commit()
        checkpointer.committed()


def test_the_file_grows_while_the_writer_goes_on(file: Path, db: Connection):
    checkpointer = Checkpointer(lambda: connect(Address(f"sqlite:///{file}"), write=True))
    try:
        before = file.stat().st_size
        committed(db, checkpointer, 40)

        wait_for(lambda: file.stat().st_size > before + 30 * 20_000)
        committed(db, checkpointer, 2000)  # of five pages each: it is due again
        wait_for(lambda: file.stat().st_size > before + 800 * 20_000)
    finally:
        checkpointer.close()

    assert db.one("SELECT count(*) FROM t") == (2040,)
    assert db.one("PRAGMA integrity_check") == ("ok",)


def test_a_writer_goes_on_without_it(file: Path, db: Connection, caplog):
    def unreachable() -> Connection:
        raise Unavailable("the database file cannot be opened")

    checkpointer = Checkpointer(unreachable)
    committed(db, checkpointer, 40)
    checkpointer.close()

    assert db.one("SELECT count(*) FROM t") == (40,)
    assert [record.getMessage() for record in caplog.records] == ["store.checkpoint_failed"]
