"""A plan, a person's yes, and the send, under a real scheduler and API server."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cirrus.sandbox import Sandbox
from scripts.local_airflow import LocalAirflow
from tests.system.test_scheduler import numbers, until

DAG = "example_cirrus_plan"


def asked(airflow: LocalAirflow, run_id: str) -> dict[str, Any] | None:
    """What a person is asked, once they are."""
    path = f"/api/v2/dags/{DAG}/dagRuns/{run_id}/hitlDetails"
    found = airflow.request("GET", path)["hitl_details"]
    return found[0] if found else None


@pytest.mark.parametrize(("answer", "state"), [("Approve", "success"), ("Reject", "skipped")])
def test_what_a_person_says_is_done(airflow: LocalAirflow, sandbox: Sandbox, answer: str, state: str) -> None:
    airflow.wait_for_dag(DAG)
    assert airflow.import_errors() == {}
    run_id = airflow.trigger(DAG)
    detail = until(lambda: asked(airflow, run_id), 90, "the question")
    assert "**5 messages** of 6 would be sent" in detail["body"]
    assert "Your order *A-0* is waiting for you, Ann" in detail["body"]
    assert sandbox.messages == []
    # Airflow 3.3 takes an answer that is quicker than its own news of the task's end for a crash: nobody's is.
    news = f"executor event with state success for task instance TaskInstanceKey(dag_id='{DAG}', task_id='approve'"
    until(lambda: any(run_id in line and news in line for line in airflow.log.read_text().splitlines()), 30, "the wait")
    path = f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
    airflow.request("PATCH", path, {"chosen_options": [answer], "params_input": {}})
    assert airflow.wait_for_run(DAG, run_id) == "success"
    sent = [f"44770090020{place}" for place in range(5)] if answer == "Approve" else []
    assert sorted(numbers(sandbox)) == sent
    instances = airflow.request("GET", f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances")["task_instances"]
    assert {one["task_id"]: one["state"] for one in instances}["send"] == state
