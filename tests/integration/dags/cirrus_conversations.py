"""The DAGs of tests/integration/test_conversations.py."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator
from airflow_provider_cirrus.sensors.cirrus import ConversationSensor

COMMON: dict[str, Any] = {"schedule": None, "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"), "catchup": False}
ORDER: dict[str, Any] = {"template": "order_update", "language": "en", "object_data": {"ManagerId": 12}}
WAIT: dict[str, Any] = {"poke_interval": 0.2, "timeout": 20, "retries": 2, "retry_delay": timedelta(0)}

for dag_id, deferrable in (("wait_in_worker", False), ("wait_in_triggerer", True)):
    with DAG(dag_id, **COMMON):
        send = SendTemplateOperator(task_id="send", **ORDER, to="+447700900101")
        ConversationSensor(
            task_id="wait", object_id=send.output, reply=True, status="Resolved", deferrable=deferrable, **WAIT
        )

with DAG("wait_mapped", **COMMON):
    send = SendTemplateOperator(task_id="send", **ORDER, to=["+447700900101", "+447700900102"])

    @task
    def outcomes(sent: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = sent["outcomes"]
        return found

    ConversationSensor.partial(task_id="wait", status=1, **WAIT).expand(object_id=outcomes(send.output))

with DAG("wait_in_vain", **COMMON):
    send = SendTemplateOperator(task_id="send", **ORDER, to="+447700900101")
    for soft_fail in (False, True):
        ConversationSensor(
            task_id=f"wait_{'softly' if soft_fail else 'hard'}",
            object_id="{{ ti.xcom_pull('send')['outcomes'][0]['object_id'] }}",
            reply=True,
            poke_interval=0.1,
            timeout=0.3,
            soft_fail=soft_fail,
        ).set_upstream(send)
