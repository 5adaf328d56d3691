"""The promises under a real scheduler: API server, DAG processor, workers and their supervisors."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
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


def numbers(sandbox: Sandbox) -> list[str]:
    return [message["recipient"] for message in sandbox.messages]


@pytest.mark.parametrize(
    ("dag_id", "sent"),
    [
        pytest.param(
            "example_cirrus_send_template",
            ["12025550143", "447700900123", "447700900124", "447700900125", "447700900126"],
            id="send-template",
        ),
        pytest.param("example_cirrus_contacts", ["447700900132"], id="contacts"),
        pytest.param("example_cirrus_task", ["447700900161", "447700900163"], id="task"),
        pytest.param("example_cirrus_shards", [f"4477009001{number}" for number in range(70, 79)], id="shards"),
    ],
)
def test_the_examples_run(airflow: LocalAirflow, sandbox: Sandbox, dag_id: str, sent: list[str]) -> None:
    airflow.wait_for_dag(dag_id)
    assert airflow.import_errors() == {}
    run_id = airflow.trigger(dag_id)
    assert airflow.wait_for_run(dag_id, run_id) == "success"
    assert sorted(numbers(sandbox)) == sent


def test_the_token_and_whole_numbers_stand_in_no_log(airflow: LocalAirflow, sandbox: Sandbox) -> None:
    airflow.wait_for_dag("example_cirrus_send_template")
    run_id = airflow.trigger("example_cirrus_send_template")
    airflow.wait_for_run("example_cirrus_send_template", run_id)
    logs = [path for path in airflow.home.rglob("*.log") if run_id in str(path)]
    assert len(logs) == 4
    for log in logs:
        text = log.read_text()
        assert sandbox.token not in text
        assert "7700900123" not in text, f"{log.name} names a recipient"


def test_clearing_a_finished_task_sends_nothing_again_unless_told_to(airflow: LocalAirflow, sandbox: Sandbox) -> None:
    airflow.wait_for_dag("cleared")
    run_id = airflow.trigger("cleared")
    assert airflow.wait_for_run("cleared", run_id) == "success"
    first = airflow.xcom("cleared", run_id, "send")

    airflow.clear("cleared", run_id, ["send"])
    assert airflow.wait_for_run("cleared", run_id) == "success"
    assert numbers(sandbox) == ["447700900101", "447700900102"]
    again = airflow.xcom("cleared", run_id, "send")
    assert [o["message_id"] for o in again["outcomes"]] == [o["message_id"] for o in first["outcomes"]]

    airflow.request("POST", "/api/v2/variables", {"key": "cirrus_resend", "value": "true"})
    airflow.clear("cleared", run_id, ["send"])
    assert airflow.wait_for_run("cleared", run_id) == "success"
    assert numbers(sandbox) == ["447700900101", "447700900102"] * 2


def test_a_killed_task_goes_on_without_messaging_anybody_twice(
    airflow: LocalAirflow, sandbox: Sandbox, process_ids: Path
) -> None:
    airflow.wait_for_dag("killed")
    sandbox.add_fault("latency", on="send", delay=0.2, times=None)
    run_id = airflow.trigger("killed")
    until(lambda: len(sandbox.messages) >= 100, 60, "the first 100 messages")
    os.kill(int((process_ids / "killed").read_text()), signal.SIGKILL)
    assert airflow.wait_for_run("killed", run_id, timeout=120) == "success"

    arrived = numbers(sandbox)
    assert len(arrived) == len(set(arrived)), "somebody was messaged twice"
    found = airflow.xcom("killed", run_id, "send")
    assert found["total"] == 400 == found["accepted"] + found["unknown"]
    # One request in flight, and one whose answer was not yet recorded.
    assert found["unknown"] <= 40
    assert found["accepted"] <= len(arrived) <= 400, "what was called accepted did not arrive"
