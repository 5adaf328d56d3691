"""
Let a customer's answer start a DAG: here, one that takes note of who wants no more messages.

Needs Airflow 3.0 or later, with a triggerer, and a connection ``cirrus_default`` (see docs/connection.md). Older ones
load the DAG, and nothing starts it. Several answers may come with one run.
"""

from __future__ import annotations

from typing import Any

import pendulum

# One import path for Airflow 2.11 to 3.3; with Airflow 3 only, this is airflow.sdk.
from airflow.providers.common.compat.sdk import dag, get_current_context, task

from airflow_provider_cirrus.triggers.cirrus import NewReplyTrigger

# [START watch]
try:
    from airflow.sdk import Asset, AssetWatcher
except ImportError:
    # Airflow 2.11 has no watchers.
    answers = None
else:
    answers = Asset(
        "cirrus_answers",
        watchers=[AssetWatcher(name="cirrus_new_replies", trigger=NewReplyTrigger(poll_interval=30))],
    )
# [END watch]


@dag(
    schedule=[answers] if answers else None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cirrus"],
    doc_md=__doc__,
)
def example_cirrus_reply_starts_dag() -> None:
    @task
    def new_answers() -> list[dict[str, Any]]:
        """Return the answers that started this run; none where a person did."""
        events = get_current_context().get("triggering_asset_events") or {}
        return [event.extra["payload"] for found in events.values() for event in found]

    @task
    def opt_out(answers: list[dict[str, Any]]) -> list[str]:
        """Stand in for the table that keeps who agreed, and who does no longer."""
        leaving = [answer for answer in answers if str(answer["message"]).strip().lower() in ("stop", "unsubscribe")]
        for answer in leaving:
            print(f"Conversation {answer['object_id']}: no more messages, since {answer['time']}.")
        return [answer["object_id"] for answer in leaving]

    opt_out(new_answers())


example_cirrus_reply_starts_dag()
