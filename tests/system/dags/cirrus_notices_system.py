"""The DAGs of tests/system/test_notifier.py."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import DAG, AsyncCallback, DeadlineAlert, DeadlineReference, SyncCallback, task

from airflow_provider_cirrus.notifications.cirrus import CirrusNotifier

COMMON: dict[str, Any] = {"schedule": None, "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"), "catchup": False}
NOTICE: dict[str, Any] = {"template": "dag_failed", "language": "en", "to": "+447700900101"}

with DAG("noticed", on_failure_callback=CirrusNotifier(**NOTICE, body=["{{ dag.dag_id }} {{ reason }}"]), **COMMON):

    @task(on_failure_callback=CirrusNotifier(**NOTICE, body=["{{ ti.task_id }}: {{ exception }}"]))
    def fail() -> None:
        """Fail."""
        raise ValueError("boom")

    fail()

for name, callback in (("missed_in_executor", SyncCallback), ("missed_in_triggerer", AsyncCallback)):
    alert = DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        # Missed as soon as the run is there.
        interval=timedelta(seconds=-1),
        callback=callback(
            CirrusNotifier,
            {
                **NOTICE,
                "body": ["{{ dag_run.dag_id }} late"],
                "dedupe_window": timedelta(minutes=10),
                "dedupe_key": "{{ dag_run.dag_run_id }}",
            },
        ),
    )
    with DAG(name, deadline=alert, **COMMON):

        @task
        def wait() -> None:
            """Last longer than the deadline is looked at."""
            import time

            time.sleep(15)

        wait()
