"""Looking after the tables: what is in them, and what goes when it is old; nobody is messaged twice for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.cli.__main__ import main
from airflow_provider_cirrus.delivery import maintenance
from airflow_provider_cirrus.delivery.errors import LedgerError, LedgerIncomplete
from airflow_provider_cirrus.delivery.ledger import sql
from airflow_provider_cirrus.delivery.ledger.base import Entry, TaskTry, is_global
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.maintenance import prune, stats
from airflow_provider_cirrus.delivery.sql.store import engine_for

DAY = 86_400
NOW = 1_790_000_000.0


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def engine(uri: str) -> Iterator[Engine]:
    made = engine_for(uri)
    yield made
    made.dispose()


def key(number: int, everywhere: bool = False) -> bytes:
    """Of a message, as the ledger knows it: the last bit says whether it has a message_key."""
    return number.to_bytes(11, "big") + bytes([everywhere])


def opened(engine: Engine, task: str, owner: str = "try1", map_index: int = -1, **this: Any) -> SqlLedger:
    ledger = SqlLedger(engine, task, owner, map_index=map_index, is_global=is_global)
    ledger.open(TaskTry(**this))
    return ledger


def sent(engine: Engine, task: str, numbers: range, days: float, *, everywhere: bool = False, **rest: Any) -> None:
    """Have a task send messages so many days ago."""
    ledger = opened(engine, task, **rest)
    keys = [key(number, everywhere) for number in numbers]
    ledger.commit(keys, [])
    ledger.commit([], [(one, Entry(Outcome.ACCEPTED, "wamid", None, None, None, 1, NOW - days * DAY)) for one in keys])


def pruned(engine: Engine, days: float = 30, **more: Any) -> dict[str, int]:
    return prune(engine, days, clock=lambda: NOW, **more)


def known(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(sa.text("SELECT count(*) FROM cirrus_ledger")).scalar() or 0)


def test_what_is_old_goes_and_what_has_a_key_stays(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    # Several pages.
    monkeypatch.setattr(sql, "_PAGE", 7)
    sent(engine, "dag/old/send", range(40), 31)
    sent(engine, "dag/new/send", range(40, 60), 29)
    sent(engine, "dag/keyed/send", range(60, 70), 400, everywhere=True)
    expected = {"messages": 40, "kept_for_their_key": 10, "notices": 0}
    assert pruned(engine, dry_run=True) == expected
    assert known(engine) == 70
    assert pruned(engine) == expected
    assert known(engine) == 30
    assert pruned(engine) == {**expected, "messages": 0}
    assert pruned(engine, with_message_keys=True)["messages"] == 10
    assert known(engine) == 20


def test_a_task_of_which_something_is_gone_messages_nobody_again(engine: Engine) -> None:
    sent(engine, "dag/run/send", range(5), 31)
    pruned(engine)
    # A clear raises the number of tries.
    for this in ({"try_number": 2}, {"try_number": 2, "max_tries": 1}):
        with pytest.raises(LedgerIncomplete, match="deleted from the ledger on 2026-") as refused:
            opened(engine, "dag/run/send", "try2", **this)
        assert "resend=True" in str(refused.value)
    again = opened(engine, "dag/run/send", "try3", try_number=3, max_tries=2, resend=True)
    assert list(again.load()) == []
    # What it sends now it remembers as ever.
    opened(engine, "dag/run/send", "try4", try_number=4, max_tries=2, resend=True)


@pytest.mark.parametrize("map_index", [0, 7])
def test_nor_does_a_mapped_task_whatever_its_place_is_by_now(engine: Engine, map_index: int) -> None:
    sent(engine, "dag/run/send", range(5), 31, map_index=0)
    pruned(engine)
    with pytest.raises(LedgerIncomplete):
        opened(engine, "dag/run/send", "try2", map_index=map_index, try_number=2, max_tries=1)


def test_other_tasks_and_runs_go_on(engine: Engine) -> None:
    sent(engine, "dag/run/send", range(5), 31)
    pruned(engine)
    for task in ("dag/run/other", "dag/run2/send"):
        opened(engine, task)
    sent(engine, "dag/new/send", range(10, 12), 1)
    pruned(engine)
    assert len(list(opened(engine, "dag/new/send", "try2", try_number=2).load())) == 2


def test_the_tables_are_told_of(engine: Engine) -> None:
    sent(engine, "dag/run/send", range(5), 31)
    sent(engine, "dag/run2/send", range(5, 8), 2)
    opened(engine, "dag/run3/send").commit([key(9)], [])
    found = stats(engine)
    assert found["tables"]["cirrus_ledger"]["rows"] == 9
    assert found["tables"]["cirrus_runs"]["rows"] == 3
    assert found["bytes"] > 0
    assert found["messages"]["states"] == {"accepted": 8, "intent": 1}
    assert found["messages"]["oldest"] == pytest.approx(NOW - 31 * DAY)
    assert json.loads(json.dumps(found)) == found


def test_a_database_without_a_ledger_has_none(engine: Engine) -> None:
    assert stats(engine)["messages"] is None
    with pytest.raises(LedgerError, match="no ledger in this database"):
        pruned(engine)


@pytest.mark.parametrize("days", [0, 0.5, -3, float("nan")])
def test_what_may_be_retried_yet_is_not_deleted(engine: Engine, days: float) -> None:
    with pytest.raises(InvalidInput, match="days"):
        pruned(engine, days)


def test_the_command_prints_what_it_did(
    engine: Engine, uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_LEDGER", uri)
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    sent(engine, "dag/run/send", range(5), 2_000)
    place = ["--ledger-conn-id", "cirrus_ledger"]
    assert main(["ledger", "stats", *place]) == 0
    assert json.loads(capsys.readouterr().out)["tables"]["cirrus_ledger"]["rows"] == 5
    assert main(["ledger", "prune", *place, "--days", "0"]) == 1
    assert "fewer than 1" in capsys.readouterr().err
    assert main(["ledger", "prune", *place, "--days", "90", "--dry-run"]) == 0
    assert main(["ledger", "prune", *place, "--days", "90"]) == 0
    outs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["messages"] for one in outs] == [5, 5]
    assert known(engine) == 0


def test_every_table_of_ours_is_told_of() -> None:
    from airflow_provider_cirrus.delivery.contact_checks.store import CHECK_TABLES
    from airflow_provider_cirrus.delivery.rules.daily_budget_store import BUDGET_TABLES
    from airflow_provider_cirrus.delivery.rules.frequency_cap_store import CAP_TABLES
    from airflow_provider_cirrus.delivery.shared_rate.sql import RATE_TABLES

    made = "".join(
        one.ddl("sqlite") for one in (sql.LEDGER_TABLES, CHECK_TABLES, BUDGET_TABLES, CAP_TABLES, RATE_TABLES)
    )
    # One row for each stream, budget or window.
    few = ("cirrus_meta", "cirrus_rates", "cirrus_budgets", "cirrus_check_days", "cirrus_cap_windows")
    names = {line.split()[2] for line in made.splitlines() if line.startswith("CREATE TABLE ") and "IF" not in line}
    assert names - set(few) <= set(maintenance.TABLES)
