"""
Tell everybody whose order is on its way: one row of a query, one message, and each order once for ever.

Needs the connections ``cirrus_default`` and ``shop``, a database (see docs/connection.md and docs/audiences.md). For
SQLite: ``AIRFLOW_CONN_SHOP='{"conn_type": "sqlite", "host": "/tmp/shop.db"}'``, with Airflow's provider for it.
"""

from __future__ import annotations

import pendulum

# One import path for Airflow 2.11 to 3.3; with Airflow 3 only, this is airflow.sdk.
from airflow.providers.common.compat.sdk import DAG, BaseHook, task

from airflow_provider_cirrus import Columns, Delivery
from airflow_provider_cirrus.transfers.sql_to_cirrus import SqlToCirrusOperator

with DAG(
    dag_id="example_cirrus_sql",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cirrus"],
    doc_md=__doc__,
    params={"status": "on its way"},
):

    @task
    def fill_shop() -> None:
        """Make a table to read from."""
        shop = BaseHook.get_connection("shop").get_hook()
        shop.run(
            [
                "DROP TABLE IF EXISTS orders",
                "CREATE TABLE orders (phone TEXT, name TEXT, number TEXT, status TEXT)",
                "INSERT INTO orders VALUES ('+44 7700 900141', 'Ann', 'A-1', 'on its way'), "
                "('+44 7700 900142', 'Bea', 'A-2', 'on its way'), ('+44 7700 900143', 'Cleo', 'A-3', 'paid')",
            ]
        )

    # [START send_orders]
    send_orders = SqlToCirrusOperator(
        task_id="send_orders",
        # The placeholder is SQLite's; PostgreSQL and MySQL write %(status)s.
        sql="SELECT phone, name, number FROM orders WHERE status = :status",
        parameters={"status": "{{ params.status }}"},
        sql_conn_id="shop",
        on_empty="skip",
        template="order_update",
        language="en",
        # The key names the order; the database remembers for ever that it was reported. So a second run, or another
        # DAG, reports only what is new. In production the ledger belongs on the Cirrus connection, once for all.
        columns=Columns(to="phone", body={"customer": "name", "order": "number"}, key="number"),
        delivery=Delivery(ledger_conn_id="shop"),
    )
    # [END send_orders]

    fill_shop() >> send_orders
