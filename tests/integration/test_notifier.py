"""The notifier in real DAG runs, against the sandbox."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cirrus.sandbox import Sandbox
from tests.lines import callbacks, since

RunDag = Callable[..., Any]


@pytest.fixture(autouse=True)
def temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows that no other test has claimed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def texts(sandbox: Sandbox) -> list[list[str]]:
    # What an earlier test's task sent may arrive late; every notice of these has a body, and they are counted.
    notices = [message for message in sandbox.messages if message["components"]]
    return [[parameter["text"] for parameter in message["components"][0]["parameters"]] for message in notices]


@callbacks
def test_fifty_failing_tasks_send_fifty_messages(run_dag: RunDag, sandbox: Sandbox) -> None:
    run = run_dag("cirrus_notices", "fifty_notices")
    assert set(run.states.values()) == {"failed"}
    assert len(run.states) == 50
    told = texts(sandbox)
    assert sorted(task for task, _ in told) == sorted(f"fail {number}" for number in range(50))
    for task, error in told:
        assert error.startswith(f"boom {task.removeprefix('fail ')} at line 1 of a.py at line 1")
        assert (len(error) <= 400, error[-1]) == (True, "…")


def test_with_a_window_they_send_one(run_dag: RunDag, sandbox: Sandbox) -> None:
    for runs in (1, 2):
        run = run_dag("cirrus_notices", "one_notice")
        assert set(run.states.values()) == {"failed"}
        assert len(run.states) == 50
        assert len(sandbox.messages) == runs


def test_every_callback_of_tasks_and_dags_sends(run_dag: RunDag, sandbox: Sandbox) -> None:
    run = run_dag("cirrus_notices", "every_callback")
    assert run.states == {"succeed": "success", "fail": "failed"}
    assert texts(sandbox) == [["success"], ["retry"], ["failure"], ["every_callback task_failure"]]


@since(3, 3, has="notifiers whose errors are Airflow's to tell, and a test runner that tells them")
def test_a_failing_notifier_masks_neither_the_tasks_error_nor_the_next_callback(
    run_dag: RunDag, sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    sandbox.add_fault("server_error_before")
    run = run_dag("cirrus_notices", "failing_notifier")
    assert run.states == {"fail": "failed"}
    assert run.state == "failed"
    said = capfd.readouterr()
    log = said.out + said.err
    assert "boom 0" in log
    assert re.search(r"1 of 1 notices were not accepted: .*1 unknown: .*\+44\*{6}0101", log)
    assert "447700900101" not in log
    assert "'no' is undefined" in log
    assert len(sandbox.requests) == 3, "a callback after the failing one did not run"
    assert len(sandbox.messages) == 2


@callbacks
def test_a_notifier_without_the_opt_in_that_the_connection_requires_masks_nothing(
    run_dag: RunDag, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", sandbox.connection_uri + "&require_opt_in=true")
    run = run_dag("cirrus_notices", "agreed_notice")
    assert run.states == {"fail": "failed"}
    assert texts(sandbox) == [["agreed"]], "a callback after the failing one did not run"
    said = capfd.readouterr()
    log = said.out + said.err
    assert "boom 0" in log
    assert "requires it (require_opt_in)" in log


@callbacks
def test_the_example_tells_once_of_its_tasks_and_once_of_the_run(run_dag: RunDag, sandbox: Sandbox) -> None:
    assert run_dag("example_cirrus_notifier").state == "success"
    assert sandbox.messages == []
    assert run_dag("example_cirrus_notifier", conf={"fail": True}).state == "failed"
    told = [(message["recipient"], message["template"]) for message in sandbox.messages]
    people = ("447700900140", "447700900141")
    assert sorted(told) == sorted((who, what) for who in people for what in ("task_failed", "dag_failed"))
    # Which of the parts fails first is up to Airflow.
    (why,) = {why for name, why in texts(sandbox) if name == "example_cirrus_notifier.load"}
    assert re.fullmatch(r"part [123] is broken: line 1 line 2", why)
