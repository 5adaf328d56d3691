"""
Write the audience of a campaign into a file, and hand it over to Cirrus: everybody in it gets one template.

Needs a connection ``cirrus_default`` (see docs/connection.md). The file is in the temporary folder of the worker;
with more than one worker, write it to a place that all of them see, such as ``s3://…``.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import pendulum

# One import path for Airflow 2.11 to 3.3; with Airflow 3 only, this is airflow.sdk.
from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_cirrus.operators.campaign import CampaignOperator


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cirrus"],
    doc_md=__doc__,
)
def example_cirrus_campaign() -> None:
    @task
    def write_audience() -> str:
        """Stand in for the query that finds who agreed to hear from the shop."""
        contacts = [("+44 7700 900140", "Ann"), ("+44 7700 900141", "Ben"), ("+44 7700 900142", "Cleo")]
        path = Path(tempfile.mkdtemp(prefix="campaign-")) / "customers.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["phone1", "name"])
            writer.writerows(contacts)
        return str(path)

    # [START campaign]
    CampaignOperator(
        task_id="campaign",
        template="opening_hours",
        language="en",
        audience_file=write_audience(),
        campaign_name="Opening hours {{ run_id }}",
        expiration_date="{{ (macros.datetime.now(macros.dateutil.tz.UTC) + macros.timedelta(days=2)).isoformat() }}",
    )
    # [END campaign]


example_cirrus_campaign()
