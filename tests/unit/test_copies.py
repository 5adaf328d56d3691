"""Airflow copies and pickles what DAG files hold: for ``dag.test()``, ``tasks clear``, backfills."""

from __future__ import annotations

import copy
import pickle
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

import airflow_provider_cirrus
from airflow_provider_cirrus import (
    CircuitBreaker,
    Columns,
    DailyBudget,
    Delivery,
    Experiment,
    FileNumbers,
    FrequencyCap,
    OptIn,
    QuietHours,
    Ramp,
    RateCard,
    Report,
    Rules,
    SqlNumbers,
    Suppression,
)
from airflow_provider_cirrus.hooks.cirrus import CirrusHook
from airflow_provider_cirrus.notifications.cirrus import CirrusNotifier
from airflow_provider_cirrus.operators import (
    CampaignOperator,
    PlanSendOperator,
    SendTemplateOperator,
    UploadMediaOperator,
    ValidateContactOperator,
)
from airflow_provider_cirrus.sensors.cirrus import ConversationSensor
from airflow_provider_cirrus.transfers.plan_sql_to_cirrus import PlanSqlToCirrusOperator
from airflow_provider_cirrus.transfers.sql_to_cirrus import SqlToCirrusOperator
from airflow_provider_cirrus.triggers.approval import ApprovalTrigger
from airflow_provider_cirrus.triggers.cirrus import ConversationTrigger, NewReplyTrigger
from airflow_provider_cirrus.triggers.date_time import DateTimeTrigger

MESSAGE: dict[str, Any] = {"template": "order_update", "language": "en"}
ANN = "+447700900101"
RULES = Rules(opt_in=[ANN], quiet_hours=QuietHours("21:00", "08:00"), frequency_cap=FrequencyCap(2, days=7))
OPTIONS = [
    CircuitBreaker(max_rejected=0.3),
    Columns(to="phone", body=["name"]),
    Experiment("summer", {"a": {}, "b": {"template": "summer_short"}}, holdout=0.1),
    DailyBudget(2_000, ramp=Ramp(250)),
    Ramp(250, every=timedelta(hours=12)),
    Delivery(
        max_failed="5%",
        circuit_breaker=CircuitBreaker(max_in_a_row=None),
        canary=100,
        retry_rejected_after=timedelta(days=1),
    ),
    FileNumbers("s3://shop/out.csv"),
    FrequencyCap(2, days=7),
    OptIn(column="agreed"),
    QuietHours("21:00", "08:00"),
    RateCard("rates.csv", {"KE": "Rest of Africa"}),
    Report("r.csv", recipients="masked"),
    RULES,
    SqlNumbers("SELECT 1", "crm"),
    Suppression([ANN]),
]
OTHERS: list[Any] = [
    CirrusHook(),
    CirrusNotifier(**MESSAGE, to=ANN, dedupe_window=timedelta(minutes=1)),
    ApprovalTrigger(ti_id="00000000-0000-0000-0000-000000000007", options=["Approve", "Reject"]),
    ConversationTrigger(object_id="5", reply=True),
    NewReplyTrigger(),
    DateTimeTrigger(1_900_000_000),
]


def tasks() -> list[Any]:
    return [
        SendTemplateOperator(task_id="send", **MESSAGE, to=[ANN], rules=RULES, authentication_code="493817"),
        SqlToCirrusOperator(task_id="sql", **MESSAGE, sql="SELECT 1;", sql_conn_id="shop"),
        PlanSqlToCirrusOperator(task_id="plan_sql", **MESSAGE, sql="SELECT 1;", sql_conn_id="shop"),
        CampaignOperator(task_id="campaign", **MESSAGE, audience_file="a.csv"),
        PlanSendOperator(task_id="plan", **MESSAGE, to=[ANN], rate_card=RateCard("rates.csv")),
        UploadMediaOperator(task_id="upload", path="a.pdf"),
        ValidateContactOperator(task_id="check", phone_number=ANN, opt_in=True),
        ConversationSensor(task_id="wait", object_id=5, reply=True),
    ]


def test_all_that_is_exported_is_here() -> None:
    assert {type(one).__name__ for one in OPTIONS} == set(airflow_provider_cirrus.__all__)


@pytest.mark.parametrize("made", [*OPTIONS, *OTHERS, *tasks()], ids=lambda made: type(made).__name__)
def test_everything_can_be_copied_and_pickled(made: Any) -> None:
    for again in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert type(again) is type(made)
        if made in OPTIONS:
            assert again == made


def test_a_part_of_a_dag_can_be_taken() -> None:
    with DAG("d", schedule=None) as dag:
        first, *rest = tasks()
        first >> rest
    part = dag.partial_subset("send", include_downstream=True, include_upstream=False)
    assert set(part.task_ids) == {"send", "sql", "plan_sql", "campaign", "plan", "upload", "check", "wait"}
    assert part.get_task("send") is not first
