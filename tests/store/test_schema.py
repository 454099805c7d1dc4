"""Migrations: the sum of all steps is the schema of `tables.py`, on both databases."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from app.errors import Unavailable
from app.store import migrations, schema
from app.store.database import Address, connect
from app.store.tables import metadata


def _engine(url: str) -> sa.Engine:
    return sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


def test_the_migrations_give_the_tables_and_indexes_that_the_code_knows(database_url):
    schema.upgrade(Address(database_url))

    engine = _engine(database_url)
    inspector = sa.inspect(engine)
    for table in metadata.sorted_tables:
        columns = {column["name"]: column for column in inspector.get_columns(table.name)}
        assert list(columns) == [column.name for column in table.columns]
        assert {n for n, c in columns.items() if c["nullable"]} == {
            column.name for column in table.columns if column.nullable
        }
        assert inspector.get_pk_constraint(table.name)["constrained_columns"] == [
            column.name for column in table.primary_key.columns
        ]
        assert {
            index["name"]: index["column_names"] for index in inspector.get_indexes(table.name)
        } == {index.name: [column.name for column in index.columns] for index in table.indexes}
    assert set(inspector.get_table_names()) == set(metadata.tables)
    engine.dispose()


def test_upgrading_again_changes_nothing(database_url):
    address = Address(database_url)

    assert schema.upgrade(address) == schema.upgrade(address) == migrations.newest(address.dialect)


def test_a_database_of_a_newer_release_is_refused(database_url):
    address = Address(database_url)
    schema.upgrade(address)
    db = connect(address, write=True)
    db.run("UPDATE fact SET value='9999' WHERE name='schema'")

    with pytest.raises(Unavailable, match="newer release"):
        schema.upgrade(address)
    with pytest.raises(Unavailable, match="yilian db upgrade"):
        schema.require_current(db)
    db.close()


def test_connections_that_write_to_sqlite_wait_for_the_disk(tmp_path: Path):
    db = connect(Address(f"sqlite:///{tmp_path / 'x.db'}"), write=True)

    assert db.one("PRAGMA synchronous") == (2,)  # FULL
    assert db.one("PRAGMA journal_mode") == ("wal",)
    db.close()
