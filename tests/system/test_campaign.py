"""A campaign under a real scheduler."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_cirrus.sandbox import Sandbox
from scripts.local_airflow import LocalAirflow


def test_clearing_a_campaign_hands_nothing_over_again_unless_told_to(
    airflow: LocalAirflow, sandbox: Sandbox, tmp_path: Path
) -> None:
    path = tmp_path / "audience.csv"
    path.write_text("phone1\n+44 7700 900101\n447700900102\n")
    airflow.wait_for_dag("campaign_cleared")
    run_id = airflow.trigger("campaign_cleared", {"path": str(path)})
    assert airflow.wait_for_run("campaign_cleared", run_id) == "success"
    first = airflow.xcom("campaign_cleared", run_id, "campaign")
    assert first["accepted"] == 2

    airflow.clear("campaign_cleared", run_id, ["campaign"])
    assert airflow.wait_for_run("campaign_cleared", run_id) == "success"
    assert airflow.xcom("campaign_cleared", run_id, "campaign") == first
    assert len(sandbox.campaigns) == 1

    path.write_text("phone1\n447700900101\n447700900103\n")
    airflow.clear("campaign_cleared", run_id, ["campaign"])
    assert airflow.wait_for_run("campaign_cleared", run_id) == "failed"
    assert len(sandbox.campaigns) == 1, "who is in both files was messaged twice"

    airflow.request("POST", "/api/v2/variables", {"key": "cirrus_campaign_resend", "value": "true"})
    airflow.clear("campaign_cleared", run_id, ["campaign"])
    assert airflow.wait_for_run("campaign_cleared", run_id) == "success"
    assert [campaign["recipients"] for campaign in sandbox.campaigns] == [
        ["447700900101", "447700900102"],
        ["447700900101", "447700900103"],
    ]
