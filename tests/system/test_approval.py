"""A question on WhatsApp that a real triggerer waits for: the phone and Airflow's own page, whoever is first."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cirrus.sandbox import Sandbox
from scripts.local_airflow import LocalAirflow
from tests.system.test_scheduler import numbers, until

DAG = "example_cirrus_approval"
ANN, BEN = "447700900221", "447700900222"
CUSTOMERS = [f"44770090021{place}" for place in range(5)]


def asked(airflow: LocalAirflow, sandbox: Sandbox) -> tuple[str, dict[str, str]]:
    """A run whose approvers were asked and that waits: its id, and the conversations by number."""
    airflow.wait_for_dag(DAG)
    assert f"{DAG}.py" not in airflow.import_errors()
    run_id = airflow.trigger(DAG)
    until(lambda: instance(airflow, run_id, "approve")["state"] == "deferred", 90, "the wait")
    found = {one["recipient"]: str(one["object_id"]) for one in sandbox.messages}
    assert sorted(found) == [ANN, BEN]
    return run_id, found


def instance(airflow: LocalAirflow, run_id: str, task_id: str) -> dict[str, Any]:
    found: dict[str, Any] = airflow.request("GET", f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/{task_id}")
    return found


def record(airflow: LocalAirflow, run_id: str) -> dict[str, Any]:
    """What Airflow's own page shows of the request."""
    found = airflow.request("GET", f"/api/v2/dags/{DAG}/dagRuns/{run_id}/hitlDetails")["hitl_details"]
    assert len(found) == 1
    one: dict[str, Any] = found[0]
    return one


def result(airflow: LocalAirflow, run_id: str) -> dict[str, Any]:
    path = f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/approve/xcomEntries/return_value"
    found: dict[str, Any] = airflow.request("GET", path)["value"]
    return found


@pytest.mark.parametrize(
    ("text", "option", "state"), [("Yes, send it", "Approve", "success"), ("no.", "Reject", "skipped")]
)
def test_what_is_said_on_the_phone_is_done(
    airflow: LocalAirflow, sandbox: Sandbox, text: str, option: str, state: str
) -> None:
    run_id, conversations = asked(airflow, sandbox)
    detail = record(airflow, run_id)
    assert detail["response_received"] is False
    assert detail["options"] == ["Approve", "Reject"]
    assert "**5 messages**" in detail["body"]
    (question,) = [one for one in sandbox.messages if one["recipient"] == ANN]
    values = [one["text"] for one in question["components"][0]["parameters"]]
    assert values == ["News of orders", "5", "0.1"]

    # Neither what means nothing, nor an agent, nor somebody else.
    sandbox.answer(conversations[ANN], "What is in it?")
    sandbox.answer(conversations[ANN], "Approve", from_customer=False)
    sandbox.answer(conversations[BEN], text)
    assert airflow.wait_for_run(DAG, run_id) == "success"
    assert instance(airflow, run_id, "send")["state"] == state
    assert sorted(numbers(sandbox)) == sorted([*(CUSTOMERS if state == "success" else []), ANN, BEN])
    detail = record(airflow, run_id)
    assert (detail["chosen_options"], detail["params_input"]) == ([option], {"answered_by": "Ben"})
    found = result(airflow, run_id)
    assert (found["chosen_options"], found["channel"]) == ([option], "whatsapp")
    assert found["responded_by_user"] == {"id": "whatsapp:Ben", "name": "Ben"}
    log = airflow.task_log(DAG, run_id, "approve")
    assert "Asked on WhatsApp: Ann, Ben" in log
    assert ANN not in log


def test_who_answers_in_airflow_first_decides(airflow: LocalAirflow, sandbox: Sandbox) -> None:
    run_id, conversations = asked(airflow, sandbox)
    news = "executor event with state success"

    def is_told() -> bool:
        return any(run_id in one and news in one and "approve" in one for one in airflow.log.read_text().splitlines())

    # Airflow 3.3 takes an answer that is quicker than its own news of the task's end for a crash: nobody's is.
    until(is_told, 30, "its news")
    path = f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
    airflow.request("PATCH", path, {"chosen_options": ["Reject"], "params_input": {}})
    # Too late to change anything.
    sandbox.answer(conversations[ANN], "Yes, send it")
    assert airflow.wait_for_run(DAG, run_id) == "success"
    assert instance(airflow, run_id, "send")["state"] == "skipped"
    assert sorted(numbers(sandbox)) == [ANN, BEN]
    found = result(airflow, run_id)
    assert (found["chosen_options"], found["channel"]) == (["Reject"], "airflow")
    assert not found["responded_by_user"]["id"].startswith("whatsapp")
    assert record(airflow, run_id)["params_input"] == {}
