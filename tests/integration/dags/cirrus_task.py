"""Sends from plain tasks, and defaults that a connection gives."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_cirrus import Columns, Delivery, Rules
from airflow_provider_cirrus.hooks.cirrus import CirrusHook
from airflow_provider_cirrus.operators import SendTemplateOperator

COMMON: dict[str, Any] = {"schedule": None, "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"), "catchup": False}
MESSAGE: dict[str, Any] = {"template": "order_update", "language": "en"}

with DAG("from_a_task", **COMMON):

    @task(retries=2, retry_delay=timedelta(0))
    def tell(dag_run: Any = None, ti: Any = None) -> Any:
        conf = dag_run.conf
        sent = CirrusHook().deliver(
            **MESSAGE,
            audience=conf["rows"],
            columns=Columns(to="phone", body=["name"]),
            rules=Rules(suppression=conf.get("suppression"), opt_in=lambda digits: not digits.endswith("109")),
            delivery=Delivery(max_failed=conf.get("max_failed", 0)),
            report=conf["report"],
        )
        if ti.try_number < conf.get("tries", 1):
            raise RuntimeError("after the work was done")
        return sent

    tell()

with DAG("defaults_of_the_connection", render_template_as_native_obj=True, **COMMON):
    SendTemplateOperator(
        task_id="send",
        **MESSAGE,
        to="{{ dag_run.conf['to'] }}",
        delivery="{{ dag_run.conf.get('delivery') }}",
        cirrus_conn_id="cirrus_with_defaults",
    )
