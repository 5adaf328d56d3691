"""
Send from a plain task: make the audience in Python, and hand it to the hook.

The guarantees are the operators': a retry sends only what is unsent, and every message ends in one outcome. Needs a
connection ``cirrus_default`` (see docs/connection.md); ``make up`` brings one to a local sandbox.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum

# One import path for Airflow 2.11 to 3.3; with Airflow 3 only, this is airflow.sdk.
from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_cirrus import Columns
from airflow_provider_cirrus.hooks.cirrus import CirrusHook


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cirrus"],
    doc_md=__doc__,
)
def example_cirrus_task() -> None:
    @task
    def late_orders() -> list[dict[str, Any]]:
        """Stand in for whatever finds them."""
        return [
            {"phone": "+44 7700 900161", "name": "ann", "order": 1042, "minutes": 20},
            {"phone": "+44 7700 900162", "name": "ben", "order": 1043, "minutes": 5},
            {"phone": "+44 7700 900163", "name": "cleo", "order": 1044, "minutes": 45},
        ]

    # [START deliver]
    # Send once in a task: two sends of one task would take each other's records for their own.
    # As one XCom: Airflow 3.0 takes none that is None, and would make one of every entry of the dict.
    @task(retries=3, retry_delay=timedelta(minutes=1), multiple_outputs=False)
    def apologise(orders: list[dict[str, Any]]) -> dict[str, Any]:
        """Tell those who wait for more than a quarter of an hour."""
        late = [{**order, "name": order["name"].title()} for order in orders if order["minutes"] > 15]
        return CirrusHook().deliver(
            template="order_late",
            language="en",
            audience=late,
            columns=Columns(to="phone", body={"customer": "name", "order": "order"}, key="order"),
        )

    # [END deliver]

    @task
    def tell_how_many(result: dict[str, Any]) -> None:
        print(f"{result['accepted']} of {result['total']} were accepted.")

    tell_how_many(apologise(late_orders()))


example_cirrus_task()
