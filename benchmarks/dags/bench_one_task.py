"""The audience in one task; see benchmarks/mapped_http.py."""

from __future__ import annotations

import os

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cirrus import Columns, Delivery
from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator

with DAG("bench_one_task", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), catchup=False):
    SendTemplateOperator(
        task_id="send",
        template="order_update",
        language="en",
        audience=os.environ["CIRRUS_BENCH_AUDIENCE"],
        columns=Columns(to="phone", body=["name", "order"]),
        delivery=Delivery(messages_per_second=int(os.environ["CIRRUS_BENCH_RATE"])),
    )
