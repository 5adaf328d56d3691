"""The DAG of tests/system/test_steering.py."""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG, task

from airflow_provider_cirrus import Delivery
from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator

with DAG(
    "cirrus_steering_shards",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
):
    SendTemplateOperator.partial(
        task_id="send",
        template="offer",
        language="en",
        to=[f"+4477008{index // 90:03d}{index % 90:02d}" for index in range(3_000)],
    ).expand(delivery=Delivery(messages_per_second=90).sharded(3))

with DAG(
    "cirrus_steering",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    render_template_as_native_obj=True,
):

    @task
    def people(dag_run=None) -> str:
        """Write an audience down."""
        from pathlib import Path
        from tempfile import gettempdir

        path = Path(gettempdir()) / f"cirrus-{dag_run.run_id.replace(':', '')}.jsonl"
        lines = (f'{{"to": "+44770{index // 90:05d}{index % 90:02d}"}}\n' for index in range(dag_run.conf["count"]))
        path.write_text("".join(lines))
        return str(path)

    SendTemplateOperator(
        task_id="send",
        template="offer",
        language="en",
        audience=people(),
        delivery={"messages_per_second": "{{ dag_run.conf['rate'] }}"},
        retries=3,
        retry_delay=pendulum.duration(seconds=1),
    )
