"""What holds of a ledger in a SQLite file alone."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from airflow_provider_cirrus.delivery.errors import LedgerError, LedgerUnavailable
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.sql import store as sql_store
from airflow_provider_cirrus.delivery.sql.errors import may_pass
from airflow_provider_cirrus.delivery.sql.store import engine_for
from tests.unit.delivery.ledger.test_sql import opened, scoped


def test_a_file_that_is_locked_for_long_may_be_free_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_store, "_LOCK_WAIT", 0)
    monkeypatch.setattr(sql_store, "_TRIES", 2)
    engine = engine_for(f"sqlite:///{tmp_path}/ledger.db")
    ledger = opened(engine)
    holder = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailable) as caught:
        ledger.commit([scoped(1)], [])
    assert caught.value.retryable
    holder.execute("ROLLBACK")
    holder.close()
    assert ledger.commit([scoped(1)], []) == {}
    engine.dispose()


def test_a_folder_that_is_away_may_come_back(tmp_path: Path) -> None:
    engine = engine_for(f"sqlite:///{tmp_path}/mount/ledger.db")
    with pytest.raises(LedgerUnavailable, match="unable to open database file"):
        SqlLedger(engine, "dag/run/task", "one")
    (tmp_path / "mount").mkdir()
    assert opened(engine).commit([scoped(1)], []) == {}
    engine.dispose()


def test_a_file_that_is_no_database_stays_one(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("no database, but text, and quite a lot of it" * 100)
    with pytest.raises(LedgerError, match="not a database") as caught:
        SqlLedger(engine_for(f"sqlite:///{tmp_path}/ledger.db"), "dag/run/task", "one")
    assert not caught.value.retryable


class Said(Exception):
    """An error of a driver, as PostgreSQL's have it."""

    def __init__(self, sqlstate: str | None, *args: Any) -> None:
        super().__init__(*args)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        pytest.param(Said("57P01", "terminating connection due to administrator command"), True, id="shut-down"),
        pytest.param(Said("57P03", "the database system is starting up"), True, id="starting"),
        pytest.param(Said("57014", "canceling statement due to statement timeout"), True, id="time-out"),
        pytest.param(Said("25006", "cannot execute UPDATE in a read-only transaction"), True, id="standby"),
        pytest.param(Said("53300", "too many clients already"), True, id="too-many"),
        pytest.param(Said("40P01", "deadlock detected"), True, id="deadlock"),
        pytest.param(Said("42501", "permission denied"), False, id="permission"),
        pytest.param(Said("42P01", "relation does not exist"), False, id="no-table"),
        pytest.param(Said("22P02", "invalid input syntax"), False, id="value"),
        pytest.param(Said(None, 2013, "Lost connection to server during query"), True, id="mysql-lost"),
        pytest.param(Said(None, 1290, "--read-only option"), True, id="mysql-standby"),
        pytest.param(Said(None, 1213, "Deadlock found"), True, id="mysql-deadlock"),
        pytest.param(Said(None, 1045, "Access denied"), False, id="mysql-refused"),
        pytest.param(Said(None, 1146, "Table does not exist"), False, id="mysql-no-table"),
    ],
)
def test_what_time_alone_may_mend(error: Said, passes: bool) -> None:
    assert may_pass(DBAPIError("UPDATE", None, error)) is passes
