"""All that holds of the ledger on SQLite, on MariaDB."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from airflow_provider_cirrus.delivery.errors import LedgerError, LedgerUnavailable
from airflow_provider_cirrus.delivery.ledger.base import INTERRUPTED
from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap
from airflow_provider_cirrus.delivery.rules.frequency_cap_store import FrequencyCapStore
from airflow_provider_cirrus.delivery.sql.store import engine_for
from tests.places import claim
from tests.unit.delivery.ledger.test_sql import *  # noqa: F403
from tests.unit.delivery.ledger.test_sql import PERSON, SENT, opened, scoped


@pytest.fixture
def uri(mariadb: str) -> Iterator[str]:
    """A database of this test's own."""
    name = f"t{uuid.uuid4().hex}"
    server = sa.create_engine(mariadb, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield f"{mariadb}/{name}"
    with server.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name}"))
    server.dispose()


def dropped(uri: str) -> None:
    """Have the server end all connections to a database but the one that asks."""
    admin = sa.create_engine(uri, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    with admin.connect() as connection:
        others = "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
        for process in list(connection.scalars(sa.text(others))):
            connection.execute(sa.text(f"KILL {process}"))


def test_a_write_whose_connection_is_dropped_amid_it_succeeds_when_repeated(uri: str) -> None:
    engine = engine_for(uri)
    ledger = opened(engine)
    slots = FrequencyCapStore.beside(ledger)
    ledger.commit([scoped(1)], [])
    is_first = [True]

    def drop_amid(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if is_first and statement.startswith("INSERT") and "INTO cirrus_" in statement:
            is_first.clear()
            dropped(uri)

    event.listen(engine, "before_cursor_execute", drop_amid)
    call = ([scoped(2)], [(scoped(1), SENT)])
    with pytest.raises(LedgerUnavailable, match="nothing more is sent"):
        ledger.commit(*call)
    assert ledger.commit(*call) == {}
    assert dict(ledger.load()) == {scoped(1): SENT, scoped(2): INTERRUPTED}
    is_first.append(True)
    wanted = (FrequencyCap(1, days=1), [(PERSON, scoped(2)), (PERSON, scoped(3))])
    with pytest.raises(LedgerUnavailable):
        claim(slots, *wanted)
    assert claim(slots, *wanted) == {scoped(3)}
    dropped(uri)
    assert ledger.commit([scoped(4)], []) == {}, "idle connections that were dropped were noticed"
    engine.dispose()


def test_a_standby_passes_and_a_missing_database_does_not(uri: str) -> None:
    engine = engine_for(uri)
    ledger = opened(engine)

    def is_a_standby(connection: Any, record: object) -> None:
        connection.cursor().execute("SET SESSION TRANSACTION READ ONLY")

    event.listen(engine, "connect", is_a_standby)
    engine.dispose()
    with pytest.raises(LedgerUnavailable, match="READ ONLY"):
        ledger.commit([scoped(1)], [])
    event.remove(engine, "connect", is_a_standby)
    # The connection that led to the standby is not used again.
    assert ledger.commit([scoped(1)], []) == {}
    with pytest.raises(LedgerError, match="Unknown database") as caught:
        opened(engine_for(uri + "_missing"))
    assert not caught.value.retryable
    engine.dispose()
