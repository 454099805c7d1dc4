"""The test infrastructure itself: databases really are empty and of their kind."""

import psycopg


def test_each_test_gets_an_empty_database(database_url):
    if database_url.startswith("sqlite"):
        return
    with psycopg.connect(database_url) as connection:
        query = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        assert connection.execute(query).fetchone() == (0,)
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
