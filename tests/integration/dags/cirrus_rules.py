"""The DAGs of test_rules.py; what varies comes in by the run's conf."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cirrus.delivery.rules.consent import OptIn
from airflow_provider_cirrus.operators import SendTemplateOperator

COMMON: dict[str, Any] = {"schedule": None, "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"), "catchup": False}
ROWS: dict[str, Any] = {
    "template": "offer",
    "language": "en",
    "audience": "{{ dag_run.conf['path'] }}",
}
COLUMNS = {"to": "phone", "body": ["name"]}

with DAG("consent", **COMMON):
    SendTemplateOperator(
        task_id="send",
        **ROWS,
        columns=COLUMNS,
        rules={
            "opt_in": OptIn(column="agreed", source="web form", version_column="wording"),
            "suppression": "{{ dag_run.conf['suppression'] }}",
            "on_reject": "{{ dag_run.conf['suppression'] }}",
            "max_suppressed": "{{ dag_run.conf.get('max_suppressed', 10) }}",
        },
        report="{{ dag_run.conf['report'] }}",
        delivery={"max_failed": 10},
    )

with DAG("no_opt_in", **COMMON):
    SendTemplateOperator(task_id="send", **ROWS, columns=COLUMNS)

with DAG("capped", render_template_as_native_obj=True, **COMMON):
    SendTemplateOperator(
        task_id="send",
        **ROWS,
        columns={**COLUMNS, "key": "key"},
        delivery={"ledger_conn_id": "cirrus_ledger"},
        rules={"frequency_cap": {"max_messages": 2, "days": 7}},
        retries=1,
        retry_delay=timedelta(0),
    )

with DAG("quiet", render_template_as_native_obj=True, **COMMON):
    SendTemplateOperator(
        task_id="send",
        **ROWS,
        columns={**COLUMNS, "zone": "zone"},
        rules={"quiet_hours": "{{ dag_run.conf['quiet_hours'] }}"},
        report="{{ dag_run.conf['report'] }}",
        delivery={"max_failed": 1},
    )
