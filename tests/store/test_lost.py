"""A PostgreSQL server that ends connections, as at its restart: told, and got over."""

import psycopg
import pytest

from app.errors import Unavailable


@pytest.fixture
def lose(kit):
    """End all connections of the store."""

    def ended():
        with psycopg.connect(kit.url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname=current_database() AND pid<>pg_backend_pid()"
            )

    return ended


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_lost_connection_is_told_and_replaced(kit, lose):
    outcome = kit.create({"resourceType": "Patient"})
    lose()

    with pytest.raises(Unavailable):
        kit.store.read("Patient", outcome.id)
    assert kit.store.read("Patient", outcome.id).version_id == 1
    with pytest.raises(Unavailable):
        kit.create({"resourceType": "Patient"})
    kit.create({"resourceType": "Patient"})
    lose()

    with pytest.raises(Unavailable):
        kit.found("Patient", "")
    assert len(kit.found("Patient", "")) == 2
    lose()

    with pytest.raises(Unavailable):
        kit.store.matching("Patient", "active=true", 1)
    assert kit.store.matching("Patient", "active=true", 1) == []
