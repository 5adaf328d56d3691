"""
A send that stops by itself before it goes wrong for everybody: a canary, a circuit breaker, and an even pace.

The first three people are messaged, and the others once it is known how these fared. Where one in four is rejected, the
rest stays unsent and the task fails; ``airflow cirrus pause|resume|rate|stop`` steers it while it runs, and so does its
page in Airflow's UI. Needs a connection ``cirrus_default`` (see docs/connection.md); ``make up`` brings one to a local
sandbox.
"""

from __future__ import annotations

import pendulum

# One import path for Airflow 2.11 to 3.3; with Airflow 3 only, this is airflow.sdk.
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cirrus import CircuitBreaker, Delivery
from airflow_provider_cirrus.operators import SendTemplateOperator

with DAG(
    "example_cirrus_safely",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cirrus"],
    doc_md=__doc__,
):
    # [START safely]
    SendTemplateOperator(
        task_id="send",
        template="order_update",
        language="en",
        to=[f"+44770090021{place}" for place in range(9)],
        delivery=Delivery(
            canary=3,
            circuit_breaker=CircuitBreaker(max_rejected=0.25, max_in_a_row=5),
            spread_over=pendulum.duration(seconds=3),
        ),
    )
    # [END safely]
