"""The link to the conversation, as Airflow's pages get it."""

from __future__ import annotations

from airflow_provider_cirrus.sandbox import Sandbox
from scripts.local_airflow import LocalAirflow


def test_a_task_links_to_the_conversation(airflow: LocalAirflow, sandbox: Sandbox) -> None:
    dag_id = "example_cirrus_conversation"
    airflow.wait_for_dag(dag_id)
    run_id = airflow.trigger(dag_id)
    airflow.wait_for_task(dag_id, run_id, "ask", {"success"})
    (outcome,) = airflow.xcom(dag_id, run_id, "ask")["outcomes"]
    found = airflow.request("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/ask/links")
    page = f"https://manage.commbox.io/widget/object/{outcome['object_id']}"
    assert found["extra_links"] == {"Conversation": page}
    # The session's Airflow is shared: nothing is left running.
    assert airflow.wait_for_run(dag_id, run_id) == "success"
