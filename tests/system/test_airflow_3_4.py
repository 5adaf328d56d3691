"""Airflow 3.4, where a clear discards what a task remembers unless that is kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from airflow_provider_cirrus.sandbox import Sandbox
from scripts.local_airflow import PARSE_ONCE, LocalAirflow
from tests.system.test_connection_form import CHROMIUM
from tests.system.test_scheduler import until
from tests.system.test_steering import browser as browser
from tests.system.test_steering import is_still
from tests.system.test_steering import page as page

HERE = Path(__file__).parent
EVERYBODY = ["447700900101", "447700900102"]

# `make test` makes that environment and names it here.
PYTHON = os.environ.get("CIRRUS_TEST_AIRFLOW_3_4_PYTHON", "")


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, _sandbox: Sandbox) -> Iterator[LocalAirflow]:
    """An Airflow 3.4 whose ``cirrus_default`` leads to the sandbox."""
    if not PYTHON:
        pytest.skip("CIRRUS_TEST_AIRFLOW_3_4_PYTHON names no Python with Airflow 3.4; `make test` makes one")
    dags = tmp_path_factory.mktemp("dags-3.4")
    for name in ("cirrus_system.py", "cirrus_campaign_cleared.py", "cirrus_steering.py"):
        shutil.copy(HERE / "dags" / name, dags)
    env = {"AIRFLOW_CONN_CIRRUS_DEFAULT": _sandbox.connection_uri, **PARSE_ONCE, "CIRRUS_TEST_PIDS": str(dags)}
    with LocalAirflow(tmp_path_factory.mktemp("airflow-3.4"), dags, env=env, python=PYTHON) as airflow:
        yield airflow


def numbers(sandbox: Sandbox) -> list[str]:
    return [message["recipient"] for message in sandbox.messages]


def said(airflow: LocalAirflow, run_id: str) -> str:
    return "".join(path.read_text() for path in airflow.home.rglob("*.log") if run_id in str(path))


def test_a_plain_clear_sends_nothing_and_says_why_until_told_to_send_again(
    airflow: LocalAirflow, sandbox: Sandbox
) -> None:
    airflow.wait_for_dag("cleared")
    run_id = airflow.trigger("cleared")
    assert airflow.wait_for_run("cleared", run_id) == "success"
    for _ in range(2):
        airflow.clear("cleared", run_id, ["send"])
        assert airflow.wait_for_run("cleared", run_id) == "failed"
        assert numbers(sandbox) == EVERYBODY
    assert "was cleared" in (text := said(airflow, run_id))
    assert "nothing was sent now" in text
    assert "ledger_conn_id" in text

    airflow.request("POST", "/api/v2/variables", {"key": "cirrus_resend", "value": "true"})
    try:
        airflow.clear("cleared", run_id, ["send"])
        assert airflow.wait_for_run("cleared", run_id) == "success"
    finally:
        airflow.request("DELETE", "/api/v2/variables/cirrus_resend")
    assert numbers(sandbox) == EVERYBODY * 2


def test_a_clear_that_keeps_the_state_goes_on(airflow: LocalAirflow, sandbox: Sandbox) -> None:
    airflow.wait_for_dag("cleared")
    run_id = airflow.trigger("cleared")
    assert airflow.wait_for_run("cleared", run_id) == "success"
    first = airflow.xcom("cleared", run_id, "send")
    airflow.clear("cleared", run_id, ["send"], keep_state=True)
    assert airflow.wait_for_run("cleared", run_id) == "success"
    assert numbers(sandbox) == EVERYBODY
    again = airflow.xcom("cleared", run_id, "send")
    assert [o["message_id"] for o in again["outcomes"]] == [o["message_id"] for o in first["outcomes"]]


def test_a_cleared_campaign_is_not_handed_over_again(airflow: LocalAirflow, sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "audience.csv"
    path.write_text("phone1\n+44 7700 900101\n447700900102\n")
    airflow.wait_for_dag("campaign_cleared")
    run_id = airflow.trigger("campaign_cleared", {"path": str(path)})
    assert airflow.wait_for_run("campaign_cleared", run_id) == "success"
    airflow.clear("campaign_cleared", run_id, ["campaign"])
    assert airflow.wait_for_run("campaign_cleared", run_id) == "failed"
    assert "was cleared" in said(airflow, run_id)
    assert len(sandbox.campaigns) == 1


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
def test_a_send_is_watched_paused_and_resumed(airflow: LocalAirflow, sandbox: Sandbox, page: Page) -> None:
    airflow.wait_for_dag("cirrus_steering")
    run_id = airflow.trigger("cirrus_steering", {"count": 3_000, "rate": 100})
    until(lambda: len(sandbox.messages) > 100, 120, "the first messages")
    page.goto(f"{airflow.base_url}/auth/token/login")
    page.goto(f"{airflow.base_url}/dags/cirrus_steering/runs/{run_id}/tasks/send/plugin/cirrus_delivery")
    inside = page.frame_locator("iframe")
    inside.get_by_role("button", name="Pause").click()
    expect(inside.locator("#state")).to_have_text("Paused by the delivery page")
    until(is_still(sandbox), 20, "the pause")
    paused = len(sandbox.messages)
    assert paused < 3_000
    done = airflow.cli("cirrus", "resume", "cirrus_steering", run_id, "send")
    assert done.returncode == 0, done.stderr
    assert airflow.wait_for_run("cirrus_steering", run_id) == "success"
    assert len(sandbox.messages) == len(set(numbers(sandbox))) == 3_000
    expect(inside.locator("#state")).to_have_text("Ended")
