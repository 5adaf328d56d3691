"""
A send that somebody approves on the phone: the plan, a question on WhatsApp, and then that and nothing else.

Whoever answers first decides, on the phone or on Airflow's own page; without an answer within two hours nothing is
sent. Airflow 3.1 and later; before, there is nothing but the plan. Needs a connection ``cirrus_default`` (see
docs/connection.md); with ``make up``, press a button in the sandbox's inbox.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum

# One import path for Airflow 2.11 to 3.3; with Airflow 3 only, this is airflow.sdk.
from airflow.providers.common.compat.sdk import DAG, AirflowOptionalProviderFeatureException

from airflow_provider_cirrus import Columns
from airflow_provider_cirrus.operators import PlanSendOperator, SendTemplateOperator

try:
    from airflow_provider_cirrus.operators import CirrusApprovalOperator
except AirflowOptionalProviderFeatureException:
    # Before Airflow 3.1 nobody can be asked.
    CirrusApprovalOperator = None

with DAG(
    "example_cirrus_approval",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cirrus"],
    doc_md=__doc__,
):
    # [START approval]
    news: dict[str, Any] = {
        "template": "order_update",
        "language": "en",
        "audience": [
            {"phone": f"+44770090021{place}", "order": f"B-{place}", "status": "ready to be fetched"}
            for place in range(5)
        ],
        "columns": Columns(to="phone", body={"order": "order", "status": "status"}, buttons=["order"]),
        "buttons": [{"type": "url"}],
        "templates_path": "templates",
    }
    plan = PlanSendOperator(task_id="plan", **news)
    if CirrusApprovalOperator is not None:
        approve = CirrusApprovalOperator(
            task_id="approve",
            subject="Tell them that their orders are ready?",
            body=plan.output["markdown"],
            approvers={"Ann": "+44 7700 900221", "Ben": "+44 7700 900222"},
            message={
                "template": "approve_send",
                "language": "en",
                "body": {
                    "what": "News of orders",
                    "messages": "{{ ti.xcom_pull('plan')['to_send'] }}",
                    "minutes": "{{ (ti.xcom_pull('plan')['seconds'] / 60) | round(1, 'ceil') }}",
                },
                # The agent's id makes the message ours in Cirrus's eyes, not the customer's.
                "object_data": {"ManagerId": 12},
            },
            answers={"Approve": ["Yes, send it"], "Reject": ["No"]},
            response_timeout=timedelta(hours=2),
            defaults="Reject",
            templates_path="templates",
        )
        send = SendTemplateOperator(task_id="send", **news, approved=plan.output["approval"])
        plan >> approve >> send
    # [END approval]
