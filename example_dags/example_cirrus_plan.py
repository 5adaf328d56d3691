"""
A send that somebody looks at first: what it would come to, a person's yes, and then that and nothing else.

``plan`` reads the audience and sends nothing; ``approve`` shows the plan to whoever decides (Airflow 3.1 and later);
``send`` messages nobody where the audience, the message, the rules or the rate are others than were approved. Needs a
connection ``cirrus_default`` (see docs/connection.md); ``make up`` brings one to a local sandbox.
"""

from __future__ import annotations

from typing import Any

import pendulum

# One import path for Airflow 2.11 to 3.3; with Airflow 3 only, this is airflow.sdk.
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cirrus import Columns, Rules
from airflow_provider_cirrus.operators import PlanSendOperator, SendTemplateOperator

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except ImportError:
    # Before Airflow 3.1 nobody can be asked: the plan is a record.
    ApprovalOperator = None

NAMES = ("Ann", "Ben", "Chloe", "Dev", "Ella", "Finn")

with DAG(
    "example_cirrus_plan",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cirrus"],
    doc_md=__doc__,
):
    # [START plan]
    summer: dict[str, Any] = {
        "template": "order_update",
        "language": "en",
        "audience": [
            {"phone": f"+44770090020{place}", "order": f"A-{place}", "status": f"waiting for you, {name}"}
            for place, name in enumerate(NAMES)
        ],
        "columns": Columns(to="phone", body={"order": "order", "status": "status"}, buttons=["order"]),
        "buttons": [{"type": "url"}],
        "rules": Rules(suppression=["+44 7700 900205"]),
        "templates_path": "templates",
    }
    plan = PlanSendOperator(task_id="plan", **summer)
    send = SendTemplateOperator(task_id="send", **summer, approved=plan.output["approval"])
    if ApprovalOperator is not None:
        approve = ApprovalOperator(task_id="approve", subject="Send the summer news?", body=plan.output["markdown"])
        plan >> approve >> send
    # [END plan]
