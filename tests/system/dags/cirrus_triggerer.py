"""The DAGs of tests/system/test_triggerer.py: waits in the triggerer, and a DAG that answers start."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.sdk import DAG, Asset, AssetWatcher, get_current_context, task

from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator
from airflow_provider_cirrus.sensors.cirrus import ConversationSensor
from airflow_provider_cirrus.triggers.cirrus import NewReplyTrigger

COMMON: dict[str, Any] = {"start_date": pendulum.datetime(2026, 1, 1, tz="UTC"), "catchup": False}

for dag_id, timeout, soft_fail in (("waiting", 600, False), ("waiting_in_vain", 5, True)):
    with DAG(dag_id, schedule=None, **COMMON):
        send = SendTemplateOperator(
            task_id="send",
            template="order_update",
            language="en",
            to="+447700900101",
            object_data={"ManagerId": 12},
        )
        ConversationSensor(
            task_id="wait",
            object_id=send.output,
            reply=True,
            deferrable=True,
            poke_interval=1,
            timeout=timeout,
            soft_fail=soft_fail,
        )

answers = Asset("answers", watchers=[AssetWatcher(name="new_replies", trigger=NewReplyTrigger(poll_interval=1))])

with DAG("on_answer", schedule=[answers], **COMMON):

    @task
    def heard() -> list[str]:
        events = get_current_context()["triggering_asset_events"]
        return [event.extra["payload"]["message"] for found in events.values() for event in found]

    heard()
