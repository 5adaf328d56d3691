"""
Messages a second of a task that a real Airflow runs: scheduler, supervisor, task state store.

    python benchmarks/scheduler.py [--messages 40000] [--runs 3]

A DAG with one send of a JSON Lines file, without a limit, for each kind of ledger, against a sandbox in a process of
its own that limits nothing. Airflow, its database (SQLite), a PostgreSQL and the sandbox share the machine with the
task. The figure is the task's own, from the first row read to the last outcome recorded.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import requests
from _common import DEFAULT_TOKEN, STREAM, UNLIMITED, sandbox, write_audience

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts.local_airflow import PARSE_ONCE, LocalAirflow
from tests import postgres

DAG = """
from airflow.sdk import DAG
from airflow_provider_cirrus import Columns, Delivery
from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator

for name, ledger in (("task_state", None), ("sqlite", "ledger_sqlite"), ("postgresql", "ledger_postgresql")):
    with DAG(name, schedule=None):
        SendTemplateOperator(
            task_id="send", template="order_update", language="en", audience={audience!r},
            columns=Columns(to="phone", body=["name", "order"]),
            delivery=Delivery(messages_per_second={rate}, ledger_conn_id=ledger), report={report!r},
        )
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=40_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, sandbox() as url, postgres.running() as uri:
        home = Path(place)
        audience = write_audience(home / "audience.jsonl", options.messages)
        (home / "dags").mkdir()
        report = home / "report-{{ run_id }}.jsonl"
        text = DAG.format(audience=str(audience), rate=int(UNLIMITED), report=str(report))
        (home / "dags" / "throughput.py").write_text(text)
        connection = {"conn_type": "cirrus", "host": url, "password": DEFAULT_TOKEN, "extra": {"stream_id": STREAM}}
        env = {
            "AIRFLOW_CONN_CIRRUS_DEFAULT": json.dumps(connection),
            "AIRFLOW_CONN_LEDGER_SQLITE": f"sqlite:///{home / 'ledger.db'}",
            "AIRFLOW_CONN_LEDGER_POSTGRESQL": uri.replace("postgresql+psycopg2", "postgres"),
            **PARSE_ONCE,
        }
        with LocalAirflow(home / "airflow", home / "dags", env=env) as airflow:
            for name in ("task_state", "sqlite", "postgresql"):
                airflow.wait_for_dag(name)
                rates = []
                for _ in range(options.runs):
                    requests.post(f"{url}/_sandbox/reset", timeout=10).raise_for_status()
                    run_id = airflow.trigger(name)
                    assert airflow.wait_for_run(name, run_id) == "success"
                    found = airflow.xcom(name, run_id, "send")
                    assert found["accepted"] == options.messages, found
                    rates.append(found["messages_per_second"])
                print(
                    f"{name:11} {statistics.median(rates):7.0f} messages/s under the scheduler, the median of "
                    f"{len(rates)}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
