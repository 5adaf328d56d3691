"""All that holds of the ledger on SQLite, on PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.errors import LedgerError, LedgerUnavailable
from airflow_provider_cirrus.delivery.ledger.base import INTERRUPTED, Entry
from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap
from airflow_provider_cirrus.delivery.rules.frequency_cap_store import FrequencyCapStore
from airflow_provider_cirrus.delivery.sql import store as sql_store
from airflow_provider_cirrus.delivery.sql.store import engine_for
from tests.lines import POSTGRES_DRIVERS
from tests.places import claim
from tests.postgres import server
from tests.unit.delivery.ledger.test_sql import *  # noqa: F403
from tests.unit.delivery.ledger.test_sql import PERSON, SENT, everywhere, opened, scoped


@pytest.fixture
def uri(postgres: str) -> Iterator[str]:
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


@pytest.mark.skipif("psycopg" not in POSTGRES_DRIVERS, reason="SQLAlchemy 2 and later know psycopg 3")
def test_the_other_driver_serves_as_well(uri: str) -> None:
    """psycopg 3, which Airflow's provider brings by now, and SQLAlchemy takes by itself."""
    ledger = opened(engine_for(uri.replace("+psycopg2", "+psycopg")))
    one, two = bytes(range(12)), bytes(range(1, 13))
    accepted = Entry(Outcome.ACCEPTED, "m", attempt=1, time=5.0)
    assert ledger.commit([one, two], []) == {}
    assert ledger.commit([], [(one, accepted)]) == {}
    assert dict(ledger.load()) == {one: accepted, two: INTERRUPTED}
    again = opened(engine_for(uri.replace("+psycopg2", "+psycopg")), owner="two")
    assert again.commit([one], [])[one].outcome is Outcome.ACCEPTED
    with pytest.raises(LedgerError, match="taken over"):
        ledger.commit([two], [])


def dropped(uri: str) -> None:
    """Have the server end all connections to a database but the one that asks."""
    admin = sa.create_engine(uri, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    with admin.connect() as connection:
        connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


def test_a_write_whose_connection_is_dropped_amid_it_succeeds_when_repeated(uri: str) -> None:
    engine = engine_for(uri)
    ledger = opened(engine)
    slots = FrequencyCapStore.beside(ledger)
    ledger.commit([scoped(1)], [])
    is_first = [True]

    def drop_amid(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if is_first and statement.startswith("INSERT INTO cirrus_"):
            is_first.clear()
            dropped(uri)

    event.listen(engine, "before_cursor_execute", drop_amid)
    call = ([scoped(2)], [(scoped(1), SENT)])
    with pytest.raises(LedgerUnavailable, match="nothing more is sent") as caught:
        ledger.commit(*call)
    assert caught.value.retryable
    assert dict(opened(engine_for(uri), "another").load()) == {}
    assert ledger.commit(*call) == {}
    assert dict(ledger.load()) == {scoped(1): SENT, scoped(2): INTERRUPTED}
    is_first.append(True)
    wanted = (FrequencyCap(1, days=1), [(PERSON, scoped(2)), (PERSON, scoped(3))])
    with pytest.raises(LedgerUnavailable):
        claim(slots, *wanted)
    assert claim(slots, *wanted) == {scoped(3)}
    engine.dispose()


def test_idle_connections_that_were_dropped_are_not_noticed(uri: str) -> None:
    engine = engine_for(uri)
    ledgers = [opened(engine, f"run{number}", f"o{number}") for number in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda ledger: ledger.commit([scoped(1)], []), ledgers))
        dropped(uri)
        assert list(pool.map(lambda ledger: ledger.commit([scoped(2)], []), ledgers)) == [{}, {}, {}]
    engine.dispose()


@pytest.mark.parametrize("driver", POSTGRES_DRIVERS)
def test_a_server_that_starts_again_is_found_again(driver: str) -> None:
    with server() as one:
        engine = engine_for(one.uri.replace("psycopg2", driver))
        ledger = opened(engine)
        assert ledger.commit([scoped(1)], []) == {}
        one.stop()
        try:
            for _ in range(2):
                with pytest.raises(LedgerUnavailable):
                    ledger.commit([scoped(2)], [(scoped(1), SENT)])
            with pytest.raises(LedgerUnavailable):
                next(ledger.load())
            with pytest.raises(LedgerUnavailable):
                ledger.look_up([everywhere(1)])
            with pytest.raises(LedgerUnavailable):
                opened(engine, owner="try2")
        finally:
            one.start()
        assert ledger.commit([scoped(2)], [(scoped(1), SENT)]) == {}
        assert dict(ledger.load()) == {scoped(1): SENT, scoped(2): INTERRUPTED}
        engine.dispose()


def test_a_standby_passes_and_permissions_do_not(uri: str) -> None:
    admin = engine_for(uri)
    ledger = opened(engine := engine_for(uri))
    name = uri.rpartition("/")[2]
    with admin.begin() as connection:
        connection.execute(sa.text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    dropped(uri)
    with pytest.raises(LedgerUnavailable, match="read-only"):
        ledger.commit([scoped(1)], [])
    base = sa.create_engine(uri.rpartition("/")[0] + "/postgres", isolation_level="AUTOCOMMIT")
    with base.connect() as connection:
        connection.execute(sa.text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))
    # The connection that led to the standby is not used again.
    assert ledger.commit([scoped(1)], []) == {}
    with pytest.raises(LedgerError, match="does not exist") as caught:
        opened(engine_for(uri + "_missing"))
    assert not caught.value.retryable
    for one in (base, engine, admin):
        one.dispose()


def test_a_lock_that_is_held_for_long_passes(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a worker whose machine stands still in the middle of a write."""
    ledger = opened(engine := engine_for(uri))
    monkeypatch.setattr(sql_store, "_LOCK_WAIT", 1)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE cirrus_runs SET since = since"))
        with pytest.raises(LedgerUnavailable, match="lock timeout"):
            ledger.commit([scoped(1)], [])
        with pytest.raises(LedgerUnavailable, match="lock timeout"):
            opened(engine, owner="try2")
    assert ledger.commit([scoped(1)], []) == {}
    engine.dispose()
