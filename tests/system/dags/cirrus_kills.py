"""The DAGs of tests/system/test_kills.py: sends that something ends in the middle."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator

COMMON: dict[str, Any] = {"schedule": None, "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"), "catchup": False}
FILES = Path(os.environ["CIRRUS_TEST_PIDS"])
ORDER: dict[str, Any] = {"template": "order_update", "language": "en", "retry_delay": timedelta(0)}


def people(count: int) -> list[str]:
    """Numbers with which the sandbox does nothing special."""
    return [f"4477009{place:05d}" for place in range(2 * count) if place % 100 < 90][:count]


def leave_process_id(context: Any) -> None:
    """So that a test can kill this try; whole or not at all, as the test reads it at any moment."""
    place = FILES / context["ti"].dag_id
    place.with_suffix(".new").write_text(str(os.getpid()))
    place.with_suffix(".new").replace(place)


with DAG("killed_often", **COMMON):
    SendTemplateOperator(
        task_id="send",
        **ORDER,
        to=people(2000),
        # Slow enough that twenty tries find something to do.
        delivery={"messages_per_second": 200, "max_failed": 2000},
        report=str(FILES / "killed_often.jsonl"),
        retries=25,
        pre_execute=leave_process_id,
    )

for dag_id in ("orphaned", "orphaned_frozen"):
    with DAG(dag_id, **COMMON):
        SendTemplateOperator(
            task_id="send",
            **ORDER,
            to=people(600),
            delivery={"messages_per_second": 100, "max_failed": 600},
            report=str(FILES / f"{dag_id}.jsonl"),
            retries=3,
            pre_execute=leave_process_id,
        )

with DAG("refused_midway", **COMMON):
    SendTemplateOperator(task_id="send", **ORDER, to=people(400), delivery={"messages_per_second": 1000}, retries=3)

with DAG("told_to_wait", **COMMON):
    SendTemplateOperator(task_id="send", **ORDER, to=people(20), retries=3)

with DAG("killed_at_canary", **COMMON):
    SendTemplateOperator(
        task_id="send",
        **ORDER,
        to=people(300),
        delivery={"messages_per_second": 200, "canary": 60, "canary_then": "pause", "max_failed": 300},
        report=str(FILES / "killed_at_canary.jsonl"),
        retries=5,
        pre_execute=leave_process_id,
    )

with DAG("killed_in_budget", **COMMON):
    SendTemplateOperator(
        task_id="send",
        **ORDER,
        to=people(300),
        rules={"daily_budget": 120},
        delivery={"messages_per_second": 100, "max_failed": 300, "ledger_conn_id": "kills_ledger"},
        report=str(FILES / "killed_in_budget.jsonl"),
        retries=10,
        pre_execute=leave_process_id,
    )
