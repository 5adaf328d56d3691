"""
Send one audience with several mapped tasks: each takes its part of the people, at its part of the rate.

A person's shard comes from the number alone, so nobody is in two. With a few people one task is enough; shards are for
audiences that keep more than one worker busy. Needs a connection ``cirrus_default`` (see docs/connection.md).
"""

from __future__ import annotations

import pendulum

# One import path for Airflow 2.11 to 3.3; with Airflow 3 only, this is airflow.sdk.
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cirrus import Columns, Delivery
from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator

with DAG(
    dag_id="example_cirrus_shards",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cirrus"],
    doc_md=__doc__,
):
    # In real life a file that all workers see, such as "s3://aws_default@shop/customers.csv".
    customers = [{"phone": f"+44 7700 9001{number}", "name": f"Customer {number}"} for number in range(70, 79)]

    # [START shards]
    SendTemplateOperator.partial(
        task_id="send",
        template="opening_hours",
        language="en",
        audience=customers,
        columns=Columns(to="phone", body=["name"]),
    ).expand(delivery=Delivery(max_failed=0.05).sharded(3))
    # [END shards]
