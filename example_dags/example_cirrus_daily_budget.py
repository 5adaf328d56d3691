"""
Message no more different people a day than the account may, and begin slowly with a new number.

Whoever is over the budget waits for another day, without a worker's slot: the task defers. All DAGs that share the
ledger count together. Needs the connections ``cirrus_default`` and ``shop``, a database (see docs/connection.md and
docs/daily_budgets.md); ``make up`` brings both.
"""

from __future__ import annotations

import pendulum

# One import path for Airflow 2.11 to 3.3; with Airflow 3 only, this is airflow.sdk.
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cirrus import DailyBudget, Delivery, Ramp, Rules
from airflow_provider_cirrus.operators import SendTemplateOperator

with DAG(
    "example_cirrus_daily_budget",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cirrus"],
    doc_md=__doc__,
):
    # [START daily_budget]
    SendTemplateOperator(
        task_id="send",
        template="order_update",
        language="en",
        to=[f"+44770090023{place}" for place in range(6)],
        # 250 people on the first day, 500 on the second, and so on up to 2,000.
        rules=Rules(daily_budget=DailyBudget(2_000, ramp=Ramp(start=250, factor=2, every="1d"))),
        # In production the ledger belongs on the Cirrus connection, and so does the budget: once for all.
        delivery=Delivery(ledger_conn_id="shop"),
    )
    # [END daily_budget]
