"""The DAG of tests/system/test_leaks.py: everything that touches a number, a code or the token, once."""

from __future__ import annotations

import os

import pendulum
from airflow.sdk import DAG, task

from airflow_provider_cirrus import Columns, Delivery, Report, Rules
from airflow_provider_cirrus.hooks.cirrus import CirrusHook
from airflow_provider_cirrus.operators import SendTemplateOperator, UploadMediaOperator, ValidateContactOperator

FILES = os.environ.get("CIRRUS_TEST_LEAKS", "/nowhere")

with DAG("leaks", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), catchup=False):
    # Else Airflow writes what they return into their logs.
    @task(show_return_value_in_logs=False)
    def one_number() -> str:
        """Read a number where no log and no DAG file has it."""
        with open(f"{FILES}/one.txt", encoding="utf-8") as file:
            return file.read().strip()

    @task(show_return_value_in_logs=False)
    def code() -> str:
        """Read a code likewise."""
        with open(f"{FILES}/code.txt", encoding="utf-8") as file:
            return file.read().strip()

    upload = UploadMediaOperator(task_id="upload", path=f"{FILES}/menu.pdf")
    people = SendTemplateOperator(
        task_id="people",
        template="menu",
        language="en",
        header=upload.output,
        audience=f"{FILES}/people.csv",
        columns=Columns(to="phone", body=["name"]),
        rules=Rules(suppression=f"{FILES}/gone.txt", frequency_cap={"max_messages": 5, "days": 7}, daily_budget=1_000),
        delivery=Delivery(max_failed=10, ledger_conn_id="leaks_ledger"),
        report=Report(f"{FILES}/report.csv", recipients="hash"),
    )
    secret = SendTemplateOperator(
        task_id="secret",
        template="code",
        language="en",
        audience=f"{FILES}/one.csv",
        columns=Columns(to="phone"),
        authentication_code=code(),
        delivery=Delivery(ledger_conn_id="leaks_ledger"),
        report=Report(recipients="masked"),
    )
    ValidateContactOperator(task_id="check", phone_number=one_number(), opt_in=True, ledger_conn_id="leaks_ledger")

    @task(trigger_rule="all_done")
    def fails() -> None:
        """Fail with a number in hand, as a task of a user does."""
        with open(f"{FILES}/one.txt", encoding="utf-8") as file:
            CirrusHook().deliver(template="menu", language="", to=file.read().strip())

    [people, secret] >> fails()
