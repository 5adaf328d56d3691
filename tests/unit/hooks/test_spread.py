"""A send that is spread evenly over a time."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_cirrus import Delivery
from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.operators import PlanSendOperator, SendTemplateOperator
from airflow_provider_cirrus.sandbox import Sandbox
from airflow_provider_cirrus.transfers.sql_to_cirrus import SqlToCirrusOperator


@pytest.fixture
def audience(tmp_path: Path) -> str:
    path = tmp_path / "people.jsonl"
    path.write_text("".join(json.dumps({"to": f"+4477009001{place:02d}"}) + "\n" for place in range(12)))
    return str(path)


def context(task: Any) -> Any:
    ti = SimpleNamespace(try_number=1, max_tries=0, dag_id="shop", run_id="r", task_id="send", map_index=-1)
    ti.xcom_push = lambda key, value: None
    return {"ti": ti, "task": task}


def run(kind: type[Any] = SendTemplateOperator, **given: Any) -> Any:
    task = kind(task_id="send", template="offer", language="en", **given)
    return task.execute(context(task))


@pytest.mark.parametrize("spread_over", [timedelta(seconds=4), 4, "4"])
def test_messages_leave_evenly_in_the_time_that_they_are_given(
    cirrus_default: Sandbox, audience: str, spread_over: Any
) -> None:
    begun = time.monotonic()
    assert run(audience=audience, delivery=Delivery(spread_over=spread_over))["accepted"] == 12
    # The first leaves at once, and the last a twelfth before the end.
    assert time.monotonic() - begun >= 1.5


def test_nobody_is_sent_faster_than_the_rate(cirrus_default: Sandbox, audience: str) -> None:
    delivery = Delivery(spread_over=0.001, messages_per_second=12)
    begun = time.monotonic()
    assert run(audience=audience, delivery=delivery)["accepted"] == 12
    assert time.monotonic() - begun < 30
    planned = run(PlanSendOperator, audience=audience, delivery=delivery)
    assert planned["messages_per_second"] == 12


def test_a_plan_says_how_long_it_takes_and_another_time_is_not_what_was_approved(
    cirrus_default: Sandbox, audience: str
) -> None:
    planned = run(PlanSendOperator, audience=audience, delivery=Delivery(spread_over=timedelta(hours=4)))
    assert planned["messages_per_second"] == pytest.approx(12 / 14_400)
    assert planned["seconds"] == pytest.approx(14_400, rel=0.01)
    with pytest.raises(AirflowFailException, match="the time that it is spread over is another"):
        run(audience=audience, delivery=Delivery(spread_over=3_600), approved=planned)
    assert cirrus_default.messages == []


def test_what_cannot_be_counted_cannot_be_spread(cirrus_default: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CRM", "sqlite:///:memory:")
    sql = "SELECT '+447700900101' AS phone"
    with pytest.raises(AirflowException, match="spread_over: needs an audience that can be counted"):
        run(SqlToCirrusOperator, sql=sql, sql_conn_id="crm", columns={"to": "phone"}, delivery={"spread_over": 60})
    assert cirrus_default.messages == []


@pytest.mark.parametrize("value", [0, "soon", timedelta(0), True])
def test_what_is_no_time_fails_the_parse(value: Any) -> None:
    with pytest.raises(InvalidInput, match="spread_over"):
        SendTemplateOperator(
            task_id="send", template="offer", language="en", to="+447700900101", delivery={"spread_over": value}
        )
