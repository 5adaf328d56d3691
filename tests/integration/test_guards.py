"""What keeps messages from people outside production, and what is measured, in real DAG runs."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cirrus.sandbox import Sandbox

RunDag = Callable[..., Any]


@pytest.fixture
def audience(tmp_path: Path) -> dict[str, str]:
    """The conf of a run: two people, and a row without a name."""
    path = tmp_path / "orders.csv"
    path.write_text("phone,name,order\n+447700900101,Ann,A-1\n+447700900102,,A-2\n+12125550103,Cyd,A-3\n")
    return {"path": str(path), "report": str(tmp_path / "report.jsonl")}


def outcomes(audience: dict[str, str]) -> dict[int, tuple[str, str | None]]:
    lines = map(json.loads, Path(audience["report"]).read_text().splitlines())
    return {line["index"]: (line["outcome"], line["reason"]) for line in lines}


def test_a_dry_run_does_everything_but_send(run_dag: RunDag, sandbox: Sandbox, audience: dict[str, str]) -> None:
    dry = run_dag("cirrus_cases", "audience", {**audience, "dry_run": True})
    assert dry.state == "success", dry.states
    assert sandbox.requests == []
    assert {name: dry.xcom("send")[name] for name in ("unsent", "rejected", "accepted")} == {
        "unsent": 2, "rejected": 1, "accepted": 0,
    }  # fmt: skip
    assert outcomes(audience)[0] == ("unsent", "a dry run")
    assert outcomes(audience)[1][0] == "rejected"
    # Nothing of it was remembered.
    assert run_dag("cirrus_cases", "audience", audience).xcom("send")["accepted"] == 2
    assert len(sandbox.messages) == 2


def test_a_switch_that_says_neither_sends_nothing(run_dag: RunDag, sandbox: Sandbox, audience: dict[str, str]) -> None:
    assert run_dag("cirrus_cases", "audience", {**audience, "dry_run": "perhaps"}).states["send"] == "failed"
    assert sandbox.requests == []


def test_only_allowed_recipients_get_messages(
    run_dag: RunDag, sandbox: Sandbox, audience: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {**sandbox_connection(sandbox), "extra": {"stream_id": sandbox.stream_id, "allowed_recipients": "+44"}}
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", json.dumps(connection))
    run = run_dag("cirrus_cases", "audience", audience)
    assert run.state == "success", run.states
    assert [message["recipient"] for message in sandbox.messages] == ["447700900101"]
    assert run.xcom("send")["suppressed"] == 1
    assert outcomes(audience)[2] == (
        "suppressed", "allowed_recipients: the connection does not allow this recipient",
    )  # fmt: skip


def sandbox_connection(sandbox: Sandbox) -> dict[str, Any]:
    return {"conn_type": "cirrus", "password": sandbox.token, "host": sandbox.base_url}


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A StatsD that Airflow's own client sends to."""
    reason = "this Airflow makes its client elsewhere"
    stats: Any = pytest.importorskip("airflow.sdk.observability.stats", reason=reason)
    if not hasattr(stats, "initialize"):
        pytest.skip(reason)
    stats_utils: Any = pytest.importorskip("airflow.sdk.observability.metrics.stats_utils", reason=reason)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(server.getsockname()[1]))
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
        stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
        yield server
    monkeypatch.undo()
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)


def test_outcomes_are_counted_and_requests_timed(
    run_dag: RunDag, sandbox: Sandbox, audience: dict[str, str], statsd: socket.socket
) -> None:
    run_dag("cirrus_cases", "audience", audience)
    wanted = {"airflow.cirrus.messages.accepted:2|c", "airflow.cirrus.messages.rejected:1|c"}
    counted: list[str] = []
    timed: list[str] = []
    while not (wanted <= set(counted) and timed):
        said = statsd.recv(65536).decode()
        counted += [said] if said.startswith("airflow.cirrus.messages") else []
        timed += [said] if said.startswith("airflow.cirrus.request:") and said.endswith("|ms") else []
    assert sorted(counted) == sorted(wanted)
