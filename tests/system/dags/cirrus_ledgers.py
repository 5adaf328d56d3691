"""The DAGs of tests/system/test_ledgers.py: what a ledger knows is gone, late, cut off or somebody else's."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.sdk import DAG, Variable, task

from airflow_provider_cirrus import Delivery
from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator

COMMON: dict[str, Any] = {"schedule": None, "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"), "catchup": False}
FILES = Path(os.environ["CIRRUS_TEST_PIDS"])
ORDER: dict[str, Any] = {"template": "order_update", "language": "en"}


def people(count: int) -> list[str]:
    """Numbers with which the sandbox does nothing special."""
    return [f"4477009{place:05d}" for place in range(2 * count) if place % 100 < 90][:count]


@task
def shards() -> list[dict[str, Any]]:
    return Delivery().sharded(int(Variable.get("cirrus_shards")))


@task
def files() -> list[str]:
    return sorted(str(path) for path in FILES.glob("audience-*.csv"))


for dag_id, conn_id in (("resharded_sql", "cirrus_sqlite"), ("resharded_state", "cirrus_default")):
    with DAG(dag_id, **COMMON):
        SendTemplateOperator.partial(
            task_id="send",
            **ORDER,
            to=people(80),
            cirrus_conn_id=conn_id,
        ).expand(delivery=shards())

with DAG("files_sql", **COMMON):
    SendTemplateOperator.partial(task_id="send", **ORDER, cirrus_conn_id="cirrus_sqlite").expand(audience=files())

with DAG("emptied", **COMMON):
    SendTemplateOperator(
        task_id="send",
        **ORDER,
        to=people(50),
        delivery={"resend": "{{ var.value.get('cirrus_ledgers_resend', 'no') }}"},
    )

for dag_id, conn_id in (("late_write", "cirrus_default"), ("cut_off", "cirrus_postgres")):
    with DAG(dag_id, **COMMON):
        SendTemplateOperator(
            task_id="send",
            **ORDER,
            to=people(400),
            cirrus_conn_id=conn_id,
            delivery={"messages_per_second": 200},
            report=str(FILES / f"{dag_id}.jsonl"),
            retries=3,
            retry_delay=timedelta(0),
        )
