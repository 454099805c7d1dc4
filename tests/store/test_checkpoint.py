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
        checkpointer.finish(db)


def life(file: Path) -> bytes:
    """What a log is told by from the one before it at the same place: its salts."""
    with Path(f"{file}-wal").open("rb") as log:
        return log.read(24)[16:]


def test_the_file_grows_while_the_writer_goes_on(file: Path, db: Connection):
    checkpointer = Checkpointer(
        lambda: connect(Address(f"sqlite:///{file}"), write=True), pages=8000
    )
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


def test_a_long_log_begins_anew_while_the_writer_goes_on(file: Path, db: Connection):
    def commits_until_another(first: bytes) -> int:
        """Without a pause, in which the log could be copied whole."""
        for done in range(50_000):
            committed(db, checkpointer, 1)
            if life(file) != first:
                return done
        raise AssertionError("the log only became longer")

    db.run("PRAGMA wal_autocheckpoint=0")
    db.run("PRAGMA synchronous=NORMAL")
    checkpointer = Checkpointer(
        lambda: connect(Address(f"sqlite:///{file}"), write=True), pages=50, long=200
    )
    try:
        commits_until_another(life(file))

        reader = connect(Address(f"sqlite:///{file}"))
        reader.run("BEGIN")
        known = reader.one("SELECT count(*) FROM t")
        committed(db, checkpointer, 10)  # what the log had before may all be in the file
        first = life(file)
        committed(db, checkpointer, 200)
        assert life(file) == first, "what a reader may still need was written over"
        assert reader.one("SELECT count(*) FROM t") == known

        reader.close()
        commits_until_another(first)
    finally:
        checkpointer.close()
    assert db.one("PRAGMA integrity_check") == ("ok",)


def test_a_writer_goes_on_without_it(file: Path, db: Connection, caplog):
    def unreachable() -> Connection:
        raise Unavailable("the database file cannot be opened")

    checkpointer = Checkpointer(unreachable)
    committed(db, checkpointer, 40)
    checkpointer.close()

    assert db.one("SELECT count(*) FROM t") == (40,)
    assert [record.getMessage() for record in caplog.records] == ["store.checkpoint_failed"]
