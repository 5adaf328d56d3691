"""
Tell the people on call when a task or the whole run fails: one message in ten minutes, however many tasks fail.

Run it with ``{"fail": true}`` to see the messages. Needs a connection ``cirrus_default`` (see docs/connection.md);
``make up`` brings one to a local sandbox.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum

# One import path for Airflow 2.11 to 3.3; with Airflow 3 only, this is airflow.sdk.
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_cirrus.notifications.cirrus import CirrusNotifier

ON_CALL = ["+44 7700 900140", "+44 7700 900141"]

# [START notifier]
tell_of_task = CirrusNotifier(
    template="task_failed",
    language="en",
    to=ON_CALL,
    body={"task": "{{ ti.dag_id }}.{{ ti.task_id }}", "error": "{{ exception }}"},
    buttons=[{"type": "url", "text": "{{ ti.dag_id }}"}],
    dedupe_window=timedelta(minutes=10),
)
# [END notifier]
tell_of_run = CirrusNotifier(
    template="dag_failed", language="en", to=ON_CALL, body=["{{ dag.dag_id }}", "{{ reason }}"]
)

with DAG(
    dag_id="example_cirrus_notifier",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cirrus"],
    doc_md=__doc__,
    params={"fail": False},
    default_args={"on_failure_callback": tell_of_task},
    on_failure_callback=tell_of_run,
):

    @task
    def load(part: int, params: dict[str, bool] | None = None) -> None:
        """Stand in for the work."""
        if params and params["fail"]:
            raise RuntimeError(f"part {part} is broken:\n\tline 1\n\tline 2")

    load.expand(part=[1, 2, 3])
