"""The DAG of tests/system/test_quiet_hours.py."""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG

from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator

with DAG(
    "cirrus_quiet",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    render_template_as_native_obj=True,
):
    SendTemplateOperator(
        task_id="send",
        template="offer",
        language="en",
        messages="{{ dag_run.conf['messages'] }}",
        columns={"zone": "zone"},
        rules={"quiet_hours": "{{ dag_run.conf['quiet_hours'] }}"},
        # Counts for the first start of the task only: what it sent before the night is not sent again after it.
        delivery={"resend": True},
    )
