"""The DAGs of test_sql_to_cirrus; what varies comes in by the run's conf."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_cirrus import Delivery
from airflow_provider_cirrus.transfers.sql_to_cirrus import SqlToCirrusOperator

COMMON: dict[str, Any] = {"schedule": None, "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"), "catchup": False}
ORDER: dict[str, Any] = {
    "sql_conn_id": "shop",
    "template": "order_update",
    "language": "en",
    "retries": 1,
    "retry_delay": timedelta(0),
}

with DAG("sql_conf", render_template_as_native_obj=True, **COMMON):
    send = SqlToCirrusOperator(
        task_id="send",
        sql="{{ dag_run.conf['sql'] }}",
        parameters="{{ dag_run.conf.get('parameters') }}",
        on_empty="{{ dag_run.conf.get('on_empty', 'skip') }}",
        columns={"to": "phone", "body": ["name"]},
        report="{{ dag_run.conf.get('report') }}",
        delivery={"messages_per_second": 1000, "max_failed": "{{ dag_run.conf.get('max_failed', 0) }}"},
        **ORDER,
    )

    @task
    def after(sent: dict[str, Any]) -> int:
        return int(sent["total"])

    after(send.output)

with DAG("sql_file", **COMMON):
    # A text that looks like the file, in the place where it would be read as one.
    SqlToCirrusOperator(task_id="send", sql="sql_orders.sql", body=["sql_orders.sql"], columns={"to": "phone"}, **ORDER)

with DAG("sql_sharded", **COMMON):
    SqlToCirrusOperator.partial(task_id="send", sql="sql_orders.sql", columns={"to": "phone"}, **ORDER).expand(
        delivery=Delivery(messages_per_second=1000).sharded(3)
    )

with DAG("sql_nowhere", **COMMON):
    SqlToCirrusOperator(task_id="send", sql="SELECT 1", **{**ORDER, "sql_conn_id": "cirrus_default"})
