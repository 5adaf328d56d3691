"""Consent, quiet hours and frequency caps in real DAG runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cirrus.sandbox import Sandbox

RunDag = Callable[..., Any]


def numbers(sandbox: Sandbox) -> list[str]:
    return [message["recipient"] for message in sandbox.messages]


def report_of(conf: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {line["index"]: line for line in map(json.loads, Path(conf["report"]).read_text().splitlines())}


@pytest.fixture
def conf(tmp_path: Path) -> dict[str, Any]:
    audience = tmp_path / "audience.csv"
    audience.write_text(
        "phone,name,agreed,wording\n"
        "447700900101,Ann,yes,v2\n"
        "447700900102,Ben,,\n"
        "447700900103,Cyd,2026-01-02T10:00:00Z,v1\n"
        "447700900104,Dan,yes,v2\n"
        "447700900190,Eve,yes,v2\n"
    )
    (tmp_path / "suppression.csv").write_text("number,code,reason,time\n+44 7700 900104,131050,opted out,\n")
    return {
        "path": str(audience),
        "suppression": str(tmp_path / "suppression.csv"),
        "report": str(tmp_path / "report.jsonl"),
    }


def test_only_who_agreed_gets_a_message_and_the_report_says_why(
    run_dag: RunDag, sandbox: Sandbox, conf: dict[str, Any]
) -> None:
    run = run_dag("cirrus_rules", "consent", conf)
    assert run.state == "success", run.states
    assert numbers(sandbox) == ["447700900101", "447700900103"]
    lines = report_of(conf)
    assert [lines[index]["outcome"] for index in range(5)] == [
        "accepted", "suppressed", "accepted", "suppressed", "rejected",
    ]  # fmt: skip
    assert lines[1]["reason"].startswith("opt_in: no opt-in on record")
    assert lines[3]["reason"].startswith("suppression: ")
    proof = {name: lines[2][name] for name in ("opt_in_source", "opt_in_time", "opt_in_version")}
    assert proof == {"opt_in_source": "web form", "opt_in_time": "2026-01-02T10:00:00Z", "opt_in_version": "v1"}
    # Whom Meta says to be on no WhatsApp is left alone from now on.
    assert run_dag("cirrus_rules", "consent", conf).xcom("send")["suppressed"] == 3
    assert len(numbers(sandbox)) == 4, "what another run sent is another message"


def test_more_suppressed_than_allowed_fails_the_task_after_all_were_served(
    run_dag: RunDag, sandbox: Sandbox, conf: dict[str, Any]
) -> None:
    run = run_dag("cirrus_rules", "consent", {**conf, "max_suppressed": 1})
    assert run.states["send"] == "failed"
    assert len(numbers(sandbox)) == 2
    assert run.xcom("send")["suppressed"] == 2


def test_a_connection_can_require_an_opt_in(
    run_dag: RunDag, sandbox: Sandbox, conf: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {
        "conn_type": "cirrus",
        "password": sandbox.token,
        "host": sandbox.base_url,
        "extra": {"stream_id": sandbox.stream_id, "require_opt_in": True},
    }
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", json.dumps(connection))
    assert run_dag("cirrus_rules", "no_opt_in", conf).states["send"] == "failed"
    assert sandbox.requests == []
    assert run_dag("cirrus_rules", "consent", conf).state == "success"


def test_a_cap_counts_across_runs(
    run_dag: RunDag, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_LEDGER", f"sqlite:///{tmp_path / 'ledger.db'}")
    audience = tmp_path / "audience.csv"

    def send(*rows: str) -> dict[str, Any]:
        audience.write_text("\n".join(["phone,name,key", *rows]) + "\n")
        run = run_dag("cirrus_rules", "capped", {"path": str(audience)})
        assert run.state == "success", run.states
        found: dict[str, Any] = run.xcom("send")
        return {name: found[name] for name in ("accepted", "suppressed", "duplicate")}

    assert send("447700900101,Ann,1", "447700900102,Ben,2") == {"accepted": 2, "suppressed": 0, "duplicate": 0}
    # The second for Ann, and what was sent before, which takes no second place.
    assert send("447700900101,Ann,3", "447700900102,Ben,2") == {"accepted": 1, "suppressed": 0, "duplicate": 1}
    assert send("+44 7700 900101,Ann,4", "447700900102,Ben,5") == {"accepted": 1, "suppressed": 1, "duplicate": 0}
    assert sorted(numbers(sandbox)) == ["447700900101"] * 2 + ["447700900102"] * 2


def quiet_conf(tmp_path: Path, **rest: str) -> tuple[dict[str, Any], float]:
    """A run with quiet hours of two hours around now, in UTC; and when they end."""
    now = datetime.now(UTC)
    end = (now + timedelta(hours=1)).replace(second=0, microsecond=0)
    hours = {"start": f"{now - timedelta(hours=1):%H:%M}", "end": f"{end:%H:%M}", **rest}
    audience = tmp_path / "audience.csv"
    audience.write_text(
        "phone,name,zone\n447700900101,Ann,UTC\n447700900102,Ben,Etc/GMT+6\n447700900103,Cyd,Europe/Nowhere\n"
    )
    return {
        "path": str(audience),
        "report": str(tmp_path / "report.jsonl"),
        "quiet_hours": hours,
    }, end.timestamp()


def test_in_quiet_hours_nobody_is_messaged(run_dag: RunDag, sandbox: Sandbox, tmp_path: Path) -> None:
    conf, _ = quiet_conf(tmp_path, on_quiet="suppress")
    run = run_dag("cirrus_rules", "quiet", conf)
    assert run.state == "success", run.states
    assert numbers(sandbox) == ["447700900102"]
    lines = report_of(conf)
    assert [lines[index]["outcome"] for index in range(3)] == ["suppressed", "accepted", "rejected"]
    assert lines[0]["reason"].startswith("quiet_hours: ")
    assert "zone" in lines[2]["reason"]


def test_cirrus_can_be_given_the_moment_after_quiet_hours(run_dag: RunDag, sandbox: Sandbox, tmp_path: Path) -> None:
    conf, end = quiet_conf(tmp_path, on_quiet="schedule")
    run = run_dag("cirrus_rules", "quiet", conf)
    assert run.state == "success", run.states
    schedules = {message["recipient"]: message["schedule"] for message in sandbox.messages}
    assert schedules == {"447700900101": end, "447700900102": None}
    assert end > time.time()
