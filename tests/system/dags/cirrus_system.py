"""The DAGs of tests/system."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator

COMMON: dict[str, Any] = {"schedule": None, "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"), "catchup": False}


def leave_process_id(context: Any) -> None:
    """So that a test can kill this try."""
    Path(os.environ["CIRRUS_TEST_PIDS"], context["ti"].dag_id).write_text(str(os.getpid()))


with DAG("cleared", **COMMON):
    SendTemplateOperator(
        task_id="send",
        template="order_update",
        language="en",
        to=["+447700900101", "+447700900102"],
        delivery={"resend": "{{ var.value.get('cirrus_resend', 'no') }}"},
    )

with DAG("killed", **COMMON):
    SendTemplateOperator(
        task_id="send",
        template="order_update",
        language="en",
        to=[f"4477009{place:05d}" for place in range(1000) if place % 100 < 90][:400],
        retries=2,
        retry_delay=timedelta(seconds=0),
        # What is in flight, and what has come and is not recorded yet.
        delivery={"max_failed": 40},
        pre_execute=leave_process_id,
    )
