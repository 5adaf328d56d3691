"""A plan of a query, and a send that is only what was approved."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.sandbox import Sandbox
from airflow_provider_cirrus.transfers.plan_sql_to_cirrus import PlanSqlToCirrusOperator
from airflow_provider_cirrus.transfers.sql_to_cirrus import SqlToCirrusOperator
from tests.unit.operators.test_plan import run

ORDERS: dict[str, Any] = {
    "sql": "SELECT phone, name FROM orders WHERE day = ?",
    "sql_conn_id": "shop",
    "parameters": ["today"],
    "template": "hello",
    "language": "en",
    "columns": {"to": "phone", "body": ["name"]},
}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cirrus_default: Sandbox) -> Iterator[sqlite3.Connection]:
    """Twenty orders of today, one of yesterday, and one whose number is none."""
    connection = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
    connection.execute("CREATE TABLE orders (phone TEXT, name TEXT, day TEXT)")
    rows = [(f"+4477009001{number:02d}", "Ann", "today") for number in range(1, 21)]
    connection.executemany(
        "INSERT INTO orders VALUES (?, ?, ?)", [*rows, ("0123", "x", "today"), ("+447700900130", "y", "")]
    )
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f'{{"conn_type": "sqlite", "host": "{tmp_path / "shop.db"}"}}')
    yield connection
    connection.close()


def plan(**more: Any) -> dict[str, Any]:
    return run(PlanSqlToCirrusOperator(**{"task_id": "plan", **ORDERS, **more}))


def send(**more: Any) -> dict[str, Any]:
    return run(SqlToCirrusOperator(**{"task_id": "send", **ORDERS, "delivery": {"max_failed": 1}, **more}))


def test_a_plan_sends_nothing_and_says_what_a_send_would_do(
    shop: sqlite3.Connection, cirrus_default: Sandbox, tmp_path: Path
) -> None:
    found = plan(rules={"suppression": ["+447700900101"]}, page=str(tmp_path / "plan.html"))
    assert cirrus_default.requests == []
    assert (found["total"], found["to_send"]) == (21, 19)
    assert found["outcomes"] == {"now": 19, "later": 0, "rejected": 1, "suppressed": 1, "duplicate": 0}
    assert "**19 messages** of 21" in found["markdown"]
    assert "Plan of hello" in (tmp_path / "plan.html").read_text()


def test_what_was_approved_is_sent(shop: sqlite3.Connection, cirrus_default: Sandbox) -> None:
    result = send(approved=plan())
    assert (result["accepted"], result["rejected"]) == (20, 1)
    assert len(cirrus_default.messages) == 20


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("INSERT INTO orders VALUES ('+447700900140', 'Ann', 'today')", "about 1 are new or changed, about 0 are gone"),
        ("DELETE FROM orders WHERE phone = '+447700900101'", "about 0 are new or changed, about 1 are gone"),
        ("UPDATE orders SET name = 'Bea' WHERE phone = '+447700900101'", "the same people would get another message"),
        ("DELETE FROM orders WHERE phone LIKE '+%'", "about 20 are gone"),
    ],
)
def test_rows_that_changed_since_then_stop_the_send(
    shop: sqlite3.Connection, cirrus_default: Sandbox, change: str, problem: str
) -> None:
    approved = plan()
    shop.execute(change)
    with pytest.raises(AirflowFailException) as refused:
        send(approved=approved)
    assert problem in str(refused.value)
    assert cirrus_default.messages == []


def test_a_difference_that_is_allowed_is_sent(shop: sqlite3.Connection, cirrus_default: Sandbox) -> None:
    approved = plan()
    shop.execute("INSERT INTO orders VALUES ('+447700900140', 'Ann', 'today')")
    assert send(approved=approved, tolerance=1)["accepted"] == 21


def test_the_order_of_the_rows_is_of_no_matter(shop: sqlite3.Connection, cirrus_default: Sandbox) -> None:
    approved = plan()
    assert send(approved=approved, sql=f"{ORDERS['sql']} ORDER BY phone DESC")["accepted"] == 20


@pytest.mark.parametrize(
    ("on_empty", "how"), [("skip", AirflowSkipException), ("fail", AirflowFailException), ("succeed", None)]
)
def test_a_query_without_rows_is_planned_as_it_is_sent(
    shop: sqlite3.Connection, on_empty: str, how: type[Exception] | None
) -> None:
    if how is None:
        assert plan(parameters=["never"], on_empty=on_empty)["total"] == 0
        return
    with pytest.raises(how, match="nothing to plan"):
        plan(parameters=["never"], on_empty=on_empty)


def test_a_query_that_the_database_refuses_plans_nothing(shop: sqlite3.Connection) -> None:
    with pytest.raises(AirflowFailException, match="no such column"):
        plan(sql="SELECT number FROM orders", parameters=None)


@pytest.mark.parametrize("given", [{"page": "plan.txt"}, {"rate_card": 5}, {"tolerance": "many"}])
def test_a_slip_in_the_dag_file_fails_its_parse(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(given))):
        PlanSqlToCirrusOperator(task_id="plan", **ORDERS, **given)


def test_an_approval_that_renders_to_nothing_approves_nothing(
    shop: sqlite3.Connection, cirrus_default: Sandbox
) -> None:
    made = SqlToCirrusOperator(task_id="send", **ORDERS, approved="{{ none }}")
    made.approved = None
    with pytest.raises(AirflowFailException, match="approved"):
        run(made)
    assert cirrus_default.messages == []
