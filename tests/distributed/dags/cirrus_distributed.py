"""The DAG of tests/distributed and of tests/system/test_ledgers.py: rows of a database, sent by eight tasks."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import DAG

from airflow_provider_cirrus import Columns, Delivery
from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator
from airflow_provider_cirrus.sensors.cirrus import ConversationSensor
from airflow_provider_cirrus.transfers.sql_to_cirrus import SqlToCirrusOperator

SHARDS = 8
COMMON: dict[str, Any] = {"schedule": None, "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"), "catchup": False}
#: Whatever is killed, a try is left.
PATIENT: dict[str, Any] = {"retries": 50, "retry_delay": timedelta(0)}
ORDER: dict[str, Any] = {"template": "order_update", "language": "en", "cirrus_conn_id": "cirrus_postgres"}

with DAG("distributed", **COMMON):
    SqlToCirrusOperator.partial(
        task_id="send",
        **ORDER,
        sql="SELECT phone, name, number FROM customers",
        sql_conn_id="shop",
        columns=Columns(to="phone", body=["name", "number"]),
        # Kills and faults leave messages unknown, more of them than a circuit breaker lets pass.
        report=os.environ["CIRRUS_TEST_PIDS"] + "/distributed-{{ ti.map_index }}.jsonl",
        **PATIENT,
    ).expand(delivery=Delivery(max_failed=1.0, circuit_breaker=False).sharded(SHARDS))

with DAG("distributed_wait", **COMMON):
    ConversationSensor(
        task_id="wait",
        object_id=SendTemplateOperator(
            task_id="send", **ORDER, to="+12025550101", object_data={"ManagerId": 12}, **PATIENT
        ).output,
        reply=True,
        deferrable=True,
        poke_interval=1,
        timeout=1800,
        **PATIENT,
    )
