"""All that holds of the ledger on SQLite, on PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.ledger.base import CUT_OFF, Entry, LedgerError
from airflow_provider_cirrus.delivery.sql_store import engine_for
from tests.postgres import postgres  # noqa: F401
from tests.unit.delivery.test_sql_ledger import *  # noqa: F403
from tests.unit.delivery.test_sql_ledger import opened


@pytest.fixture
def uri(postgres: str) -> Iterator[str]:  # noqa: F811
    """A database of this test's own."""
    name = f"t{uuid.uuid4().hex}"
    server = sa.create_engine(postgres, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield postgres.rpartition("/")[0] + "/" + name
    with server.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


def test_an_account_that_may_not_create_is_shown_the_ddl(uri: str) -> None:
    role = f"r{uuid.uuid4().hex}"
    admin = engine_for(uri)
    with admin.begin() as connection:
        connection.execute(sa.text("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
        connection.execute(sa.text(f"CREATE ROLE {role} LOGIN"))
    poor = engine_for(uri.replace("cirrus@", f"{role}@"))
    with pytest.raises(LedgerError, match=r"(?s)permission denied.*CREATE TABLE cirrus_ledger"):
        opened(poor)
    opened(admin)
    with admin.begin() as connection:
        connection.execute(sa.text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"))
    assert opened(poor).commit([b"\0" * 12], []) == {}
    poor.dispose()
    admin.dispose()


def test_the_other_driver_serves_as_well(uri: str) -> None:
    """psycopg 3, which Airflow's provider brings by now, and SQLAlchemy takes by itself."""
    ledger = opened(engine_for(uri.replace("+psycopg2", "+psycopg")))
    one, two = bytes(range(12)), bytes(range(1, 13))
    accepted = Entry(Outcome.ACCEPTED, "m", attempt=1, time=5.0)
    assert ledger.commit([one, two], []) == {}
    assert ledger.commit([], [(one, accepted)]) == {}
    assert dict(ledger.load()) == {one: accepted, two: CUT_OFF}
    again = opened(engine_for(uri.replace("+psycopg2", "+psycopg")), owner="two")
    assert again.commit([one], [])[one].outcome is Outcome.ACCEPTED
    with pytest.raises(LedgerError, match="taken over"):
        ledger.commit([two], [])
