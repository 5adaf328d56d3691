"""The DAGs of tests/integration/test_links.py."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cirrus.operators import SendTemplateOperator

COMMON: dict[str, Any] = {"schedule": None, "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"), "catchup": False}
ORDER: dict[str, Any] = {"template": "order_update", "language": "en"}
OPENING: dict[str, Any] = {**ORDER, "object_data": {"ManagerId": 12}}

with DAG("linked", **COMMON) as linked:
    (
        SendTemplateOperator(task_id="one", **OPENING, to="+447700900101")
        >> SendTemplateOperator(task_id="failing", **OPENING, to=["+447700900190", "+447700900102"])
    )
    SendTemplateOperator.partial(task_id="mapped", **OPENING).expand(to=["+447700900103", "+447700900104"])
    SendTemplateOperator(task_id="without", **ORDER, to="+447700900105")
    SendTemplateOperator(task_id="rejected", **OPENING, to="+447700900191", delivery={"max_failed": 1})

with DAG("linked_one", **COMMON):
    SendTemplateOperator(task_id="one", **OPENING, to="+447700900101")
