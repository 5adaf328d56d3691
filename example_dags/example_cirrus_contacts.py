"""
From an opt-in list to a message: take who agreed, ask whether the newest is on WhatsApp, and branch.

Only one number is asked for, its owner opted in, and a message follows: checking numbers that are then not
messaged gets a business banned. Needs a connection ``cirrus_default`` (see docs/connection.md).
"""

from __future__ import annotations

from typing import Any

import pendulum

# One import path for Airflow 2.11 to 3.3; with Airflow 3 only, this is airflow.sdk.
from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator, ValidateContactOperator


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cirrus"],
    doc_md=__doc__,
)
def example_cirrus_contacts() -> None:
    @task
    def newest_opt_in() -> dict[str, Any]:
        """Stand in for the table that keeps who agreed, when, where and to which wording."""
        contacts = [
            {"name": "Ann", "number": "+44 7700 900130", "opted_in_at": "2026-03-02T10:00:00+00:00", "source": "web"},
            {"name": "Ben", "number": "+44 7700 900131", "opted_in_at": None, "source": None},
            {"name": "Cleo", "number": "+44 7700 900132", "opted_in_at": "2026-04-11T16:30:00+00:00", "source": "shop"},
        ]
        agreed = [contact for contact in contacts if contact["opted_in_at"]]
        return max(agreed, key=lambda contact: str(contact["opted_in_at"]))

    @task.branch
    def choose(check: dict[str, Any]) -> str:
        return "send_welcome" if check["valid"] else "write_a_letter"

    @task
    def write_a_letter(contact: dict[str, Any]) -> None:
        print(f"{contact['name']} is not on WhatsApp.")

    contact = newest_opt_in()
    # newest_opt_in returns nobody else, so there is nothing left to look up: a list, file, query or function would be.
    check = ValidateContactOperator(task_id="validate", phone_number=contact["number"], opt_in=True)
    send_welcome = SendTemplateOperator(
        task_id="send_welcome",
        template="welcome",
        language="en",
        to=contact["number"],
        body=[contact["name"]],
    )
    choose(check.output) >> [send_welcome, write_a_letter(contact)]


example_cirrus_contacts()
