"""The DAGs of tests/integration/test_notifier.py; what varies comes in by the run's conf."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_cirrus.notifications.cirrus import CirrusNotifier

COMMON: dict[str, Any] = {"schedule": None, "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"), "catchup": False}
NOTICE: dict[str, Any] = {"template": "task_failed", "language": "en", "to": "+447700900101"}
TASK = "{{ ti.task_id }} {{ ti.map_index }}"
each_time = CirrusNotifier(**NOTICE, body=[TASK, "{{ exception }}"])
once = CirrusNotifier(**NOTICE, body=[TASK], dedupe_window=timedelta(hours=1), dedupe_key="{{ run_id }}")


@task
def fail(number: int = 0) -> None:
    """Fail with more than WhatsApp takes."""
    raise ValueError(f"boom {number}\n" + "\tat line 1     of a.py\n" * 250)


for name, notifier in (("fifty_notices", each_time), ("one_notice", once)):
    with DAG(name, **COMMON):
        fail.override(on_failure_callback=notifier).expand(number=list(range(50)))

with DAG(
    "every_callback", on_failure_callback=CirrusNotifier(**NOTICE, body=["{{ dag.dag_id }} {{ reason }}"]), **COMMON
):
    tell = {f"on_{what}_callback": CirrusNotifier(**NOTICE, body=[what]) for what in ("success", "retry", "failure")}

    @task(**tell)
    def succeed() -> None:
        """Do nothing."""

    succeed() >> fail.override(retries=1, retry_delay=timedelta(0), **tell)()

with DAG("agreed_notice", **COMMON):
    fail.override(
        on_failure_callback=[each_time, CirrusNotifier(**NOTICE, body=["agreed"], rules={"opt_in": [NOTICE["to"]]})]
    )()

with DAG("failing_notifier", on_failure_callback=each_time, **COMMON):
    fail.override(on_failure_callback=[each_time, CirrusNotifier(**NOTICE, body=["{{ no.such.thing }}"]), each_time])()
