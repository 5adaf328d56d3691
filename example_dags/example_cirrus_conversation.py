"""
Ask a customer, wait for the answer without taking a worker, and branch on it.

The wait ends with the customer's first answer, when an agent resolves the conversation, or after an hour. Needs a
connection ``cirrus_default`` (see docs/connection.md); in the sandbox, a number that ends in 89 answers at once.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum

# One import path for Airflow 2.11 to 3.3; with Airflow 3 only, this is airflow.sdk.
from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator
from airflow_provider_cirrus.sensors.cirrus import ConversationSensor


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cirrus"],
    doc_md=__doc__,
    params={"recipient": "+44 7700 900189", "order": "A-1042"},
)
def example_cirrus_conversation() -> None:
    # [START ask_and_wait]
    ask = SendTemplateOperator(
        task_id="ask",
        template="confirm_delivery",
        language="en",
        to="{{ params.recipient }}",
        body=["{{ params.order }}"],
        # It opens the conversation; the agent's id makes the message ours in Cirrus's eyes, not the customer's.
        object_data={"ManagerId": 12},
    )
    answer = ConversationSensor(
        task_id="answer",
        object_id=ask.output,
        reply=True,
        status="Resolved",
        deferrable=True,
        poke_interval=30,
        timeout=timedelta(hours=1),
        soft_fail=True,
    )
    # [END ask_and_wait]

    @task.branch
    def choose(seen: dict[str, Any]) -> str:
        said_yes = seen["reached"] == "reply" and str(seen["message"]).lower().startswith("yes")
        return "deliver" if said_yes else "ask_a_person"

    @task
    def deliver(seen: dict[str, Any]) -> None:
        print(f"Confirmed at {seen['time']}.")

    @task
    def ask_a_person(seen: dict[str, Any]) -> None:
        print(f"Conversation {seen['object_id']} is {seen['status']}: somebody has to look at it.")

    choose(answer.output) >> [deliver(answer.output), ask_a_person(answer.output)]


example_cirrus_conversation()
