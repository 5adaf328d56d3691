"""The notifier where only a whole Airflow calls it: in the DAG processor, the executor and the triggerer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cirrus.sandbox import Sandbox
from scripts.local_airflow import LocalAirflow


def until(what: Callable[[], Any], seconds: float, said: str) -> Any:
    """Wait for something to become true; fail with ``said`` after that many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"{said} did not come about within {seconds:.0f} s"
        time.sleep(0.1)
    return found


def texts(sandbox: Sandbox) -> list[str]:
    return sorted(message["components"][0]["parameters"][0]["text"] for message in sandbox.messages)


def test_a_failed_run_tells_of_its_task_and_of_itself(airflow: LocalAirflow, sandbox: Sandbox) -> None:
    airflow.wait_for_dag("noticed")
    run_id = airflow.trigger("noticed")
    assert airflow.wait_for_run("noticed", run_id) == "failed"
    until(lambda: len(sandbox.messages) >= 2, 60, "the notice of the DAG")
    assert texts(sandbox) == ["fail: boom", "noticed task_failure"]
    assert "boom" in airflow.task_log("noticed", run_id, "fail")


@pytest.mark.parametrize("dag_id", ["missed_in_executor", "missed_in_triggerer"])
def test_a_missed_deadline_is_told(airflow: LocalAirflow, sandbox: Sandbox, dag_id: str) -> None:
    airflow.wait_for_dag(dag_id)
    run_id = airflow.trigger(dag_id)
    until(lambda: sandbox.messages, 90, "the notice of the deadline")
    assert texts(sandbox) == [f"{dag_id} late"]
    assert airflow.wait_for_run(dag_id, run_id) == "success"
