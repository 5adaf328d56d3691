"""A plain task that sends through the hook, and what a connection says for all sends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cirrus.sandbox import Sandbox
from tests.lines import retries

RunDag = Callable[..., Any]
ROWS = [{"phone": f"+44 7700 9001{place:02d}", "name": f"N {place}"} for place in range(1, 10)]


def numbers(sandbox: Sandbox) -> list[str]:
    return sorted(message["recipient"] for message in sandbox.messages)


@retries
def test_a_plain_task_sends_with_the_same_guarantees(run_dag: RunDag, sandbox: Sandbox, tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    conf = {"rows": ROWS, "suppression": ["+44 7700 900101"], "report": str(report), "tries": 3}
    run = run_dag("cirrus_task", "from_a_task", conf)
    assert run.state == "success", run.states
    # Three tries have done all of the work, and nobody got a second message.
    assert numbers(sandbox) == [f"4477009001{place:02d}" for place in range(2, 9)]
    found = run.xcom("tell")
    assert (found["total"], found["accepted"], found["suppressed"]) == (9, 7, 2)
    outcomes = [json.loads(line)["outcome"] for line in report.read_text().splitlines()]
    assert sorted(outcomes) == ["accepted"] * 7 + ["suppressed"] * 2


def test_a_plain_task_fails_where_an_operator_would(run_dag: RunDag, sandbox: Sandbox, tmp_path: Path) -> None:
    rows = [{"phone": "+447700900102", "name": "N"}, {"phone": "nobody", "name": "N"}]
    conf = {"rows": rows, "report": str(tmp_path / "report.jsonl")}
    run = run_dag("cirrus_task", "from_a_task", conf)
    assert run.states["tell"] == "failed"
    assert numbers(sandbox) == ["447700900102"], "one that is wrong stops no other"
    assert run.xcom("tell")["rejected"] == 1
    assert run_dag("cirrus_task", "from_a_task", {**conf, "max_failed": 1}).states["tell"] == "success"


@pytest.mark.parametrize("as_text", [False, True])
def test_what_a_connection_says_counts_where_the_send_says_nothing(
    run_dag: RunDag, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, as_text: bool
) -> None:
    said: dict[str, Any] = {"rules": {"suppression": ["+447700900101"]}, "delivery": {"max_failed": 1}}
    extra = {"stream_id": sandbox.stream_id, **{name: json.dumps(v) if as_text else v for name, v in said.items()}}
    connection = {"conn_type": "cirrus", "host": sandbox.base_url, "password": sandbox.token, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_WITH_DEFAULTS", json.dumps(connection))
    to = ["+447700900101", "+447700900102", "+447700900191"]
    run = run_dag("cirrus_task", "defaults_of_the_connection", {"to": to})
    assert run.state == "success", run.states
    assert numbers(sandbox) == ["447700900102"]
    assert (run.xcom("send")["suppressed"], run.xcom("send")["rejected"]) == (1, 1)
    # The task's own says otherwise.
    run = run_dag("cirrus_task", "defaults_of_the_connection", {"to": to, "delivery": {"max_failed": 0}})
    assert run.states["send"] == "failed"


def test_a_connection_whose_defaults_are_none_is_told(
    run_dag: RunDag, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_cirrus.hooks.cirrus import CirrusHook

    uri = f"{sandbox.connection_uri}&delivery=%7B%22max_fail%22%3A+1%7D"
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_WITH_DEFAULTS", uri)
    works, said = CirrusHook("cirrus_with_defaults").test_connection()
    assert not works
    assert "delivery: has no 'max_fail'" in said
    run = run_dag("cirrus_task", "defaults_of_the_connection", {"to": ["+447700900101"]})
    assert run.states["send"] == "failed"
    assert numbers(sandbox) == []
