"""Message only those who agreed, who did not refuse, and who are awake."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cirrus import Columns, Rules
from airflow_provider_cirrus.delivery.rules.consent import OptIn
from airflow_provider_cirrus.delivery.rules.quiet_hours import QuietHours
from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator

with DAG(
    "example_cirrus_consent",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cirrus"],
):
    # In real life a file, or the rows of a query.
    customers = [
        {"phone": "+44 7700 900151", "name": "Ann", "agreed_at": "2026-03-01", "zone": "Europe/London"},
        {"phone": "+44 7700 900152", "name": "Ben", "agreed_at": "", "zone": "Europe/London"},
        {"phone": "+44 7700 900153", "name": "Cyd", "agreed_at": "2026-04-01", "zone": "America/Chicago"},
    ]

    # Ben did not agree, and Cyd asked for no more: both are `suppressed`, and the result says why. At night Cirrus is
    # given the morning as the moment; "defer" would let the task itself wait, without a worker's slot.
    SendTemplateOperator(
        task_id="send",
        template="spring_offer",
        language="en",
        audience=customers,
        columns=Columns(to="phone", body=["name"], zone="zone"),
        rules=Rules(
            category="marketing",
            opt_in=OptIn(column="agreed_at", source="web form"),
            suppression=["+44 7700 900153"],
            quiet_hours=QuietHours("21:00", "08:00", on_quiet="schedule"),
        ),
    )
