"""
Try two messages, and hold some people out: who is in which part stands in the report.

The same people are in the same part in every run, as it goes by a hash of their number and the experiment's name. Needs
a connection ``cirrus_default`` (see docs/connection.md and docs/experiments.md); ``make up`` brings one to a local
sandbox.
"""

from __future__ import annotations

import csv
import tempfile
from collections import Counter
from pathlib import Path

import pendulum

# One import path for Airflow 2.11 to 3.3; with Airflow 3 only, this is airflow.sdk.
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_cirrus import Delivery, Experiment
from airflow_provider_cirrus.operators import SendTemplateOperator

with DAG(
    "example_cirrus_experiment",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cirrus"],
    doc_md=__doc__,
):

    @task
    def make_folder() -> str:
        """Make a place for the report; in production it is a bucket that the warehouse reads."""
        return tempfile.mkdtemp()

    # [START experiment]
    send = SendTemplateOperator(
        task_id="send",
        template="summer_long",
        language="en",
        to=[f"+44770090024{place}" for place in range(10)],
        delivery=Delivery(
            experiment=Experiment("summer_2026", {"long": {}, "short": {"template": "summer_short"}}, holdout=0.2)
        ),
        report="{{ ti.xcom_pull('make_folder') }}/report.csv",
    )
    # [END experiment]

    @task
    def count(folder: str) -> dict[str, int]:
        """Count the parts, where a warehouse would compare what their people bought."""
        with (Path(folder) / "report.csv").open(newline="") as report:
            return dict(Counter(row["variant"] for row in csv.DictReader(report)))

    folder = make_folder()
    folder >> send >> count(folder)
