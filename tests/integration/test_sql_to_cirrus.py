"""Rows of a database in real DAG runs, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_cirrus.sandbox import Sandbox
from tests.lines import retries

RunDag = Callable[..., Any]
Execute = Callable[..., None]

ORDERS = "SELECT phone, name FROM orders"


def numbers(sandbox: Sandbox) -> list[str]:
    return [message["recipient"] for message in sandbox.messages]


@pytest.fixture
def sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Execute:
    """The connection ``shop`` to a SQLite file; runs statements in it."""
    path = tmp_path / "shop.db"
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "sqlite", "host": str(path)}))

    def execute(sql: str, rows: list[dict[str, Any]] | None = None) -> None:
        with sqlite3.connect(path) as connection:
            connection.executemany(sql, rows if rows is not None else [{}])

    execute("CREATE TABLE orders (phone TEXT, name TEXT, day TEXT)")
    return execute


@pytest.fixture
def shop(postgres: str, monkeypatch: pytest.MonkeyPatch) -> Execute:
    """The same in PostgreSQL."""
    engine = sa.create_engine(postgres)
    url = engine.url
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"postgres://{url.username}@{url.host}:{url.port}/{url.database}")

    def execute(sql: str, rows: list[dict[str, Any]] | None = None) -> None:
        with engine.begin() as connection:
            connection.execute(sa.text(sql), rows)

    execute("DROP TABLE IF EXISTS orders")
    execute("CREATE TABLE orders (phone TEXT, name TEXT, day TEXT)")
    return execute


@pytest.fixture(params=["sqlite", "shop"], ids=["sqlite", "postgres"])
def any_shop(request: pytest.FixtureRequest) -> Execute:
    found: Execute = request.getfixturevalue(request.param)
    return found


def add(execute: Execute, *rows: tuple[str | None, str | None], day: str = "monday") -> None:
    execute(
        "INSERT INTO orders VALUES (:phone, :name, :day)",
        [{"phone": phone, "name": name, "day": day} for phone, name in rows],
    )


def test_every_row_is_a_message_and_stands_in_the_report(
    run_dag: RunDag, sandbox: Sandbox, any_shop: Execute, tmp_path: Path
) -> None:
    hostile = "{{ 1/0 }} {% raw %} 50 % orders.sql'"
    add(any_shop, ("+44 7700 900101", "Ann"), ("+44 7700 900102", hostile), ("447700900103", None), (None, "Zoë"))
    conf = {"sql": ORDERS, "report": f"{tmp_path}/report.jsonl", "max_failed": 2}
    run = run_dag("sql_cases", "sql_conf", conf)
    assert run.state == "success", run.states
    texts = {m["recipient"]: m["components"][0]["parameters"][0]["text"] for m in sandbox.messages}
    assert texts == {"447700900101": "Ann", "447700900102": hostile}
    found = run.xcom("send")
    assert (found["total"], found["accepted"], found["rejected"]) == (4, 2, 2)
    lines = sorted(map(json.loads, (tmp_path / "report.jsonl").read_text().splitlines()), key=lambda one: one["index"])
    assert [line["outcome"] for line in lines] == ["accepted", "accepted", "rejected", "rejected"]
    assert "row 3, column 'name' is empty" in lines[2]["reason"]
    assert "row 4, column 'phone' is empty" in lines[3]["reason"]


def test_parameters_reach_the_driver(run_dag: RunDag, sandbox: Sandbox, any_shop: Execute) -> None:
    add(any_shop, ("447700900101", "Ann"), ("447700900102", "Bea"))
    is_sqlite = any_shop.__qualname__.startswith("sqlite")
    where = "name = :name" if is_sqlite else "name = %(name)s"
    run = run_dag("sql_cases", "sql_conf", {"sql": f"{ORDERS} WHERE {where}", "parameters": {"name": "Bea"}})
    assert run.state == "success", run.states
    assert numbers(sandbox) == ["447700900102"]


def test_a_file_is_rendered_and_a_text_named_like_it_is_sent(
    run_dag: RunDag, sandbox: Sandbox, any_shop: Execute
) -> None:
    add(any_shop, ("447700900101", "Ann"))
    add(any_shop, ("447700900102", "Bea"), day="tuesday")
    run = run_dag("sql_cases", "sql_file", {"day": "tuesday"})
    assert run.state == "success", run.states
    (message,) = sandbox.messages
    assert message["recipient"] == "447700900102"
    assert message["components"][0]["parameters"][0]["text"] == "sql_orders.sql"


def test_shards_share_the_rows_and_read_the_file(run_dag: RunDag, sandbox: Sandbox, any_shop: Execute) -> None:
    everyone = [f"4477009{place:05d}" for place in range(60)]
    add(any_shop, *((phone, "x") for phone in everyone))
    run = run_dag("sql_cases", "sql_sharded")
    assert run.state == "success", run.states
    assert sorted(numbers(sandbox)) == everyone
    assert sum(run.xcom("send", shard)["total"] for shard in range(3)) == 60


def test_a_shard_without_a_row_is_not_an_empty_query(run_dag: RunDag, sandbox: Sandbox, sqlite: Execute) -> None:
    add(sqlite, ("447700900101", "Ann"))
    run = run_dag("sql_cases", "sql_sharded")
    assert set(run.states.values()) == {"success"}, run.states
    assert sorted(run.xcom("send", shard)["total"] for shard in range(3)) == [0, 0, 1]


@pytest.mark.parametrize(
    ("on_empty", "states"),
    [
        ("skip", {"send": "skipped", "after": "skipped"}),
        ("succeed", {"send": "success", "after": "success"}),
        ("fail", {"send": "failed", "after": "upstream_failed"}),
    ],
)
def test_no_rows(run_dag: RunDag, sandbox: Sandbox, any_shop: Execute, on_empty: str, states: dict[str, str]) -> None:
    run = run_dag("sql_cases", "sql_conf", {"sql": ORDERS, "on_empty": on_empty})
    assert run.states == states
    assert sandbox.requests == []
    if on_empty == "succeed":
        assert (run.xcom("send")["total"], run.xcom("send")["accepted"]) == (0, 0)


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("SELECT phone AS number, name FROM orders", id="no-such-column"),
        pytest.param("SELECT phone, phone, name FROM orders", id="column-twice"),
        pytest.param("SELECT phone, name FROM nowhere", id="no-such-table"),
        pytest.param("SELECT phone, name FROM orders; DELETE FROM orders", id="two-statements"),
        pytest.param("DELETE FROM orders", id="no-query"),
    ],
)
def test_what_is_wrong_with_the_query_is_said_before_anything_is_sent(
    run_dag: RunDag, sandbox: Sandbox, any_shop: Execute, sql: str
) -> None:
    add(any_shop, ("447700900101", "Ann"))
    assert run_dag("sql_cases", "sql_conf", {"sql": sql}).states["send"] == "failed"
    assert sandbox.requests == []
    assert run_dag("sql_cases", "sql_conf", {"sql": ORDERS}).state == "success", "the rows are gone"


def test_a_connection_that_is_no_database_is_refused(run_dag: RunDag, sandbox: Sandbox) -> None:
    assert run_dag("sql_cases", "sql_nowhere").states["send"] == "failed"
    assert sandbox.requests == []


@retries
def test_a_retry_sends_what_is_unsent_in_whatever_order_the_rows_come(
    run_dag: RunDag, sandbox: Sandbox, shop: Execute
) -> None:
    everyone = [f"4477009{place:05d}" for place in range(50)]
    add(shop, *((phone, "x") for phone in everyone))
    sandbox.add_fault("unauthorized", on="send", skip=1)
    run = run_dag("sql_cases", "sql_conf", {"sql": f"{ORDERS} ORDER BY random()"})
    assert run.state == "success", run.states
    assert sorted(numbers(sandbox)) == everyone
    assert run.xcom("send")["accepted"] == 50


@retries
def test_a_query_that_breaks_off_midway_is_run_again_and_nobody_gets_two(
    run_dag: RunDag, sandbox: Sandbox, shop: Execute, tmp_path: Path
) -> None:
    # A sequence is not rolled back: in the first try alone the server ends the connection, in the second batch of rows.
    shop("DROP SEQUENCE IF EXISTS tries")
    shop("CREATE SEQUENCE tries")
    sql = (
        "SELECT 447700000000 + i / 90 * 100 + i % 90 AS phone, CASE WHEN i = 1400 THEN CASE WHEN nextval('tries') = 1 "
        "THEN pg_terminate_backend(pg_backend_pid())::text ELSE 'x' END ELSE 'x' END AS name, "
        # Long enough for answers to the first batch, on however busy a machine.
        "pg_sleep(CASE WHEN i = 1399 THEN 3 ELSE 0 END)::text AS pause "
        "FROM generate_series(1, 1500) AS i"
    )
    run = run_dag("sql_cases", "sql_conf", {"sql": sql, "report": f"{tmp_path}/report.jsonl"})
    assert run.state == "success", run.states
    assert run.xcom("send")["accepted"] == 1500
    lines = map(json.loads, (tmp_path / "report.jsonl").read_text().splitlines())
    assert {line["attempt"] for line in lines} == {1, 2}
    assert len(numbers(sandbox)) == len(set(numbers(sandbox))) == 1500
