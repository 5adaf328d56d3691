"""Campaigns in real DAG runs, against the sandbox."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cirrus.sandbox import Sandbox
from tests.lines import retries

RunDag = Callable[..., Any]
TWO = "phone1,name\n447700900101,Ann\n447700900102,Ben\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An audience file of two people."""
    path = tmp_path / "audience.csv"
    path.write_text(TWO)
    return path


def test_a_campaign_is_handed_over_and_counted(run_dag: RunDag, sandbox: Sandbox, path: Path) -> None:
    run = run_dag("cirrus_campaigns", "campaign", {"path": str(path), "schedule": "2090-01-01T00:00:00Z"})
    assert run.state == "success", run.states
    (campaign,) = sandbox.campaigns
    assert campaign["recipients"] == ["447700900101", "447700900102"]
    assert campaign["fields"]["campaign_name"].startswith("Opening hours 2")
    assert campaign["fields"]["scheduled_date"] == "2090-01-01T00:00:00Z"
    assert run.xcom("campaign") == {
        "total": 2,
        "accepted": 2,
        "rejected": 0,
        "suppressed": 0,
        "duplicate": 0,
        "unknown": 0,
        "unsent": 0,
    }


@pytest.mark.parametrize(
    ("fault", "arrived", "outcome"),
    [
        pytest.param({"status": 500, "when": "after"}, 1, "unknown", id="500"),
        pytest.param({"action": "drop", "when": "after"}, 1, "unknown", id="no-answer"),
        pytest.param({"status": 400, "body": {"status": "400", "description": "No such template"}}, 0, "rejected"),
    ],
)
def test_what_may_have_begun_or_was_refused_is_not_repeated(
    run_dag: RunDag, sandbox: Sandbox, path: Path, fault: dict[str, Any], arrived: int, outcome: str
) -> None:
    sandbox.add_fault(on="campaign", **fault)
    run = run_dag("cirrus_campaigns", "campaign", {"path": str(path)})
    assert run.states["campaign"] == "failed"
    assert len(sandbox.requests) == 1, "it was tried again"
    assert len(sandbox.campaigns) == arrived
    assert run.xcom("campaign")[outcome] == 2


@retries
def test_a_try_after_one_that_was_lost_sends_nothing(run_dag: RunDag, sandbox: Sandbox, path: Path) -> None:
    run = run_dag("cirrus_campaigns", "campaign_lost", {"path": str(path)})
    assert run.state == "success", run.states
    assert len(sandbox.requests) == 1
    assert run.xcom("campaign")["accepted"] == 2


@retries
def test_a_retry_hands_over_what_certainly_did_not_begin(run_dag: RunDag, sandbox: Sandbox, path: Path) -> None:
    sandbox.add_fault("unauthorized", on="campaign")
    run = run_dag("cirrus_campaigns", "campaign", {"path": str(path)})
    assert run.state == "success", run.states
    assert [request["status"] for request in sandbox.requests] == [401, 200]
    assert len(sandbox.campaigns) == 1


@retries
def test_who_was_certainly_not_reached_is_unsent(run_dag: RunDag, sandbox: Sandbox, path: Path) -> None:
    sandbox.add_fault("unauthorized", on="campaign", times=None)
    run = run_dag("cirrus_campaigns", "campaign", {"path": str(path)})
    assert run.states["campaign"] == "failed"
    assert len(sandbox.requests) == 3
    assert run.xcom("campaign")["unsent"] == 2


def test_a_connection_that_was_refused_is_tried_again(
    run_dag: RunDag, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox() as late:
        monkeypatch.setenv("AIRFLOW_CONN_LATE", late.connection_uri)
        late.stop()
        threading.Timer(1.0, late.start).start()
        run = run_dag("cirrus_campaigns", "campaign", {"path": str(path), "connection": "late"})
        assert run.state == "success", run.states
        assert len(late.campaigns) == 1


def test_a_dry_run_does_everything_but_the_request(run_dag: RunDag, sandbox: Sandbox, path: Path) -> None:
    run = run_dag("cirrus_campaigns", "campaign", {"path": str(path), "dry_run": True})
    assert run.state == "success", run.states
    assert run.xcom("campaign")["unsent"] == 2
    path.write_text("phone1\nnobody\n")
    run = run_dag("cirrus_campaigns", "campaign", {"path": str(path), "dry_run": True})
    assert run.states["campaign"] == "failed"
    assert sandbox.requests == []


@pytest.mark.parametrize(
    "conf",
    [
        pytest.param({"text": "phone1\n447700900101\n447700900101\n"}, id="duplicate"),
        pytest.param({"text": "phone\n447700900101\n"}, id="no-column"),
        pytest.param({"schedule": "2020-01-01T00:00:00Z"}, id="past"),
    ],
)
def test_bad_input_fails_the_task_before_anything_is_sent(
    run_dag: RunDag, sandbox: Sandbox, path: Path, conf: dict[str, Any]
) -> None:
    path.write_text(conf.pop("text", TWO))
    run = run_dag("cirrus_campaigns", "campaign", {"path": str(path), **conf})
    assert run.states["campaign"] == "failed"
    assert sandbox.requests == []


def test_bad_rows_are_left_out_if_asked_for(
    run_dag: RunDag, sandbox: Sandbox, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path.write_text("phone1\n+44 7700 900101\nnobody\n447700900101\n")
    run = run_dag("cirrus_campaigns", "campaign", {"path": str(path), "on_bad_rows": "drop"})
    assert run.state == "success", run.states
    assert sandbox.campaigns[0]["recipients"] == ["447700900101"]
    found = run.xcom("campaign")
    assert (found["total"], found["accepted"], found["rejected"], found["duplicate"]) == (3, 1, 1, 1)
    log = "".join(capfd.readouterr())
    assert "Left out: row 3, phone1: +44******0101 stands in an earlier row." in log
    assert "7700900101" not in log


@pytest.mark.parametrize(
    ("allowed", "handed"), [("+44 7700 900101", [["447700900101"]]), ("+1 202", [])], ids=["one", "nobody"]
)
def test_who_is_not_allowed_is_suppressed(
    run_dag: RunDag,
    sandbox: Sandbox,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    allowed: str,
    handed: list[list[str]],
) -> None:
    connection = {
        "conn_type": "cirrus",
        "password": sandbox.token,
        "host": sandbox.base_url,
        "extra": {"stream_id": sandbox.stream_id, "allowed_recipients": allowed},
    }
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", json.dumps(connection))
    run = run_dag("cirrus_campaigns", "campaign", {"path": str(path)})
    assert run.state == "success", run.states
    assert [campaign["recipients"] for campaign in sandbox.campaigns] == handed
    assert run.xcom("campaign")["suppressed"] == 2 - len(handed)


AGREED = "phone1,agreed\n447700900101,yes\n447700900102,no\n447700900103,yes\n"


def test_only_who_agreed_and_is_on_no_list_is_in_the_campaign(
    run_dag: RunDag, sandbox: Sandbox, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path.write_text(AGREED)
    rules = {"opt_in": {"column": "agreed"}, "suppression": ["+44 7700 900103"]}
    run = run_dag("cirrus_campaigns", "campaign", {"path": str(path), **rules, "max_suppressed": 2})
    assert run.state == "success", run.states
    assert sandbox.campaigns[0]["recipients"] == ["447700900101"]
    found = run.xcom("campaign")
    assert (found["total"], found["accepted"], found["suppressed"]) == (3, 1, 2)
    log = "".join(capfd.readouterr())
    assert "2 of 3 rows are suppressed: 1 by opt_in, 1 by suppression." in log
    assert "7700900103" not in log


def test_more_suppressed_than_allowed_fails_the_task_once_the_others_are_handed_over(
    run_dag: RunDag, sandbox: Sandbox, path: Path
) -> None:
    conf = {"path": str(path), "suppression": ["447700900101"], "max_suppressed": 0}
    run = run_dag("cirrus_campaigns", "campaign", conf)
    assert run.states["campaign"] == "failed"
    assert len(sandbox.campaigns) == len(sandbox.requests) == 1
    assert run.xcom("campaign")["suppressed"] == 1


@pytest.mark.parametrize("opt_in", [None, {"column": "agreed"}], ids=["no-opt-in", "no-such-column"])
def test_without_the_opt_in_that_the_connection_requires_nothing_is_sent(
    run_dag: RunDag, sandbox: Sandbox, path: Path, monkeypatch: pytest.MonkeyPatch, opt_in: Any
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", sandbox.connection_uri + "&require_opt_in=true")
    run = run_dag("cirrus_campaigns", "campaign", {"path": str(path), "opt_in": opt_in})
    assert run.states["campaign"] == "failed"
    assert sandbox.requests == []
    if opt_in:
        path.write_text(AGREED)
        assert run_dag("cirrus_campaigns", "campaign", {"path": str(path), "opt_in": opt_in}).state == "success"


def test_a_campaign_with_a_key_goes_out_once_for_ever(
    run_dag: RunDag, sandbox: Sandbox, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_LEDGER", f"sqlite:///{tmp_path / 'ledger.db'}")
    first = run_dag("cirrus_campaigns", "campaign_once", {"path": str(path)})
    assert first.xcom("campaign")["accepted"] == 2
    path.write_text(TWO + "447700900103,Cleo\n")
    second = run_dag("cirrus_campaigns", "campaign_once", {"path": str(path)})
    assert second.state == "success", second.states
    assert second.xcom("campaign")["duplicate"] == 3
    assert len(sandbox.campaigns) == 1
