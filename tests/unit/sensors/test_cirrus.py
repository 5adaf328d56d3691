"""What the sensor says when the DAG is parsed, and how it paces itself; runs are in tests/integration."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, TaskDeferred

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.operators.cirrus import SendTemplateOperator
from airflow_provider_cirrus.sandbox import Sandbox
from airflow_provider_cirrus.sensors.cirrus import ConversationSensor


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param({}, "Give a status to wait for, or reply=True", id="nothing-awaited"),
        pytest.param({"status": "Rezolved"}, r"'Rezolved' is no status\. Known are Open, Resolved", id="status"),
        pytest.param({"status": ["Resolved", 0]}, "0 is no status", id="one-of-several"),
        pytest.param({"reply": True, "since": "2026-05-01T10:00:00"}, "since: .* has no time zone", id="naive-since"),
        pytest.param({"reply": True, "object_id": ""}, "object_id: is no id", id="no-id"),
        pytest.param({"reply": True, "object_id": None}, "object_id: is of type NoneType", id="none"),
    ],
)
def test_a_literal_slip_fails_when_the_dag_is_parsed(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        ConversationSensor(task_id="wait", **{"object_id": 70001, **given})


def test_what_is_templated_or_an_xcom_is_left_for_the_run() -> None:
    with DAG("d", schedule=None):
        send = SendTemplateOperator(task_id="send", template="t", language="en", to="+447700900123", object_data={})
        sensor = ConversationSensor(
            task_id="wait", object_id=send.output, status="{{ params.status }}", since="{{ ts }}"
        )
        ConversationSensor(task_id="wait_more", object_id="{{ params.object_id }}", reply=True)
    assert sensor.upstream_task_ids == {"send"}
    assert [name for name in sensor.template_fields if not hasattr(sensor, name)] == []


def test_retry_after_is_obeyed_but_not_beyond_the_timeout(cirrus_default: Sandbox) -> None:
    sensor = ConversationSensor(task_id="wait", object_id=70001, reply=True, poke_interval=10, timeout=100)
    cirrus_default.add_fault(on="object", status=429, retry_after=60)
    assert not sensor.poke({})
    assert len(cirrus_default.requests) == 1, "the client and the sensor both tried again"
    assert sensor._get_next_poke_interval(0.0, lambda: 0.0, 1) == 60
    assert sensor._get_next_poke_interval(0.0, lambda: 70.0, 1) == 30
    assert sensor._get_next_poke_interval(0.0, lambda: 99.0, 1) == 10


def test_the_wait_in_the_triggerer_begins_after_what_cirrus_asked(cirrus_default: Sandbox) -> None:
    sensor = ConversationSensor(
        task_id="wait", object_id=70001, status=["Resolved"], deferrable=True, poke_interval=10, timeout=100
    )
    cirrus_default.add_fault(on="object", status=429, retry_after=60)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute({})
    _, kwargs = deferred.value.trigger.serialize()
    assert (kwargs["first_wait"], kwargs["poll_interval"], kwargs["statuses"]) == (60, 10, [2])
    assert deferred.value.timeout is not None
    assert deferred.value.timeout.total_seconds() == 100


def test_what_the_trigger_could_not_mend_fails_the_task_for_good() -> None:
    sensor = ConversationSensor(task_id="wait", object_id=70001, reply=True)
    with pytest.raises(AirflowFailException, match="no token"):
        sensor.execute_complete({}, {"error": "no token"})
    assert sensor.execute_complete({}, {"found": {"reached": "reply"}}) == {"reached": "reply"}
