"""Audiences, reports, shards and ledgers in real DAG runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.engine import machine
from airflow_provider_cirrus.sandbox import Sandbox
from tests.lines import retries

RunDag = Callable[..., Any]


def numbers(sandbox: Sandbox) -> list[str]:
    return [message["recipient"] for message in sandbox.messages]


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that remembers across runs."""
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_LEDGER", f"sqlite:///{tmp_path / 'ledger.db'}")


def test_a_file_is_sent_and_every_row_stands_in_the_report(run_dag: RunDag, sandbox: Sandbox, tmp_path: Path) -> None:
    audience, report = tmp_path / "orders.csv", tmp_path / "report.jsonl"
    audience.write_text(
        "phone,name,order\n+44 7700 900101,Ann,A-1\n+44 7700 900102,,A-2\n"
        "447700900103,Cleo,A-3\n447700900103,Cleo,A-3\n"
    )
    run = run_dag("cirrus_cases", "audience", {"path": str(audience), "report": f"file://{report}"})
    assert run.state == "success", run.states
    assert numbers(sandbox) == ["447700900101", "447700900103"]
    found = run.xcom("send")
    assert (found["total"], found["accepted"], found["rejected"], found["duplicate"]) == (4, 2, 1, 1)
    assert found["report"] == f"file://{report}"
    lines = {line["index"]: line for line in map(json.loads, report.read_text().splitlines())}
    assert [lines[index]["outcome"] for index in range(4)] == ["accepted", "rejected", "accepted", "duplicate"]
    assert "name" in lines[1]["reason"]
    assert lines[0]["message_id"] == sandbox.messages[0]["id"]


@pytest.mark.parametrize(
    ("content", "report"),
    [
        pytest.param(None, "report.jsonl", id="no-file"),
        pytest.param("number,name,order\n", "report.jsonl", id="no-such-column"),
        pytest.param("phone,name,order\n+447700900101,Ann,A-1\n", "report.doc", id="report-of-no-known-kind"),
        pytest.param("phone,name,order\n+447700900101,Ann,A-1\n", "no/../\0/report.csv", id="report-nowhere"),
    ],
)
def test_a_wrong_file_fails_the_task_before_anything_is_sent(
    run_dag: RunDag, sandbox: Sandbox, tmp_path: Path, content: str | None, report: str
) -> None:
    if content is not None:
        (tmp_path / "orders.csv").write_text(content)
    conf = {"path": str(tmp_path / "orders.csv"), "report": str(tmp_path / report)}
    assert run_dag("cirrus_cases", "audience", conf).states["send"] == "failed"
    assert sandbox.requests == []


@retries
def test_a_task_that_was_told_to_end_does_not_succeed_and_its_retry_sends(run_dag: RunDag, sandbox: Sandbox) -> None:
    run = run_dag("cirrus_cases", "ended")
    assert run.state == "success", run.states
    assert numbers(sandbox) == ["447700900101", "447700900102"]
    assert run.xcom("send")["accepted"] == 2


def test_shards_share_an_audience(run_dag: RunDag, sandbox: Sandbox) -> None:
    run = run_dag("cirrus_cases", "sharded")
    assert run.state == "success", run.states
    assert sorted(numbers(sandbox)) == [f"4477009{place:05d}" for place in range(60)]
    totals = [run.xcom("send", shard)["total"] for shard in range(3)]
    assert sum(totals) == 60
    assert min(totals) > 5


def test_an_order_is_reported_once_for_ever(run_dag: RunDag, sandbox: Sandbox, ledger: None) -> None:
    messages = [{"to": "+447700900101", "body": ["paid"], "message_key": "order-1"}]
    first = run_dag("cirrus_cases", "once_per_order", {"messages": messages})
    assert first.xcom("send")["accepted"] == 1
    worded_otherwise = [{**messages[0], "body": ["paid, thank you"]}, {"to": "+447700900102", "message_key": "order-2"}]
    second = run_dag("cirrus_cases", "once_per_order", {"messages": worded_otherwise})
    assert second.state == "success", second.states
    assert numbers(sandbox) == ["447700900101", "447700900102"]
    outcomes = second.xcom("send")["outcomes"]
    assert [outcome["outcome"] for outcome in outcomes] == ["duplicate", "accepted"]
    assert outcomes[0]["message_id"] == sandbox.messages[0]["id"]


def test_a_message_without_a_key_is_one_per_run(run_dag: RunDag, sandbox: Sandbox, ledger: None) -> None:
    for _ in range(2):
        run_dag("cirrus_cases", "once_per_order", {"messages": [{"to": "+447700900101"}]})
    assert numbers(sandbox) == ["447700900101"] * 2


@pytest.mark.parametrize(
    ("delivery", "sent", "state"), [("at_most_once", 0, "failed"), ("at_least_once", 1, "success")]
)
def test_what_may_have_been_sent_is_repeated_only_if_asked_for(
    run_dag: RunDag, sandbox: Sandbox, ledger: None, delivery: str, sent: int, state: str
) -> None:
    sandbox.add_fault("drop_before")
    conf = {"messages": [{"to": "+447700900101"}], "delivery": delivery}
    run = run_dag("cirrus_cases", "once_per_order", conf)
    assert run.states["send"] == state
    assert len(sandbox.messages) == sent


def test_the_sql_ledger_carries_a_retry(run_dag: RunDag, sandbox: Sandbox, ledger: None) -> None:
    everyone = [{"to": f"4477009{place:05d}"} for place in range(50)]
    sandbox.add_fault("unauthorized", on="send", skip=1)
    run = run_dag("cirrus_cases", "once_per_order", {"messages": everyone})
    assert run.xcom("send")["accepted"] == 50
    assert sorted(numbers(sandbox)) == [one["to"] for one in everyone]


@pytest.fixture
def connection_with_ledger(sandbox: Sandbox, ledger: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection itself names the ledger."""
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", f"{sandbox.connection_uri}&ledger_conn_id=cirrus_ledger")


def test_the_ledger_that_the_connection_names_remembers_across_runs(
    run_dag: RunDag, sandbox: Sandbox, connection_with_ledger: None
) -> None:
    conf = {"messages": [{"to": "+447700900101", "message_key": "order-1"}]}
    assert run_dag("cirrus_cases", "by_connection", conf).xcom("send")["accepted"] == 1
    again = run_dag("cirrus_cases", "by_connection", conf)
    assert again.state == "success", again.states
    assert again.xcom("send")["duplicate"] == 1
    assert numbers(sandbox) == ["447700900101"]


def test_a_cap_uses_the_ledger_that_the_connection_names(
    run_dag: RunDag, sandbox: Sandbox, connection_with_ledger: None
) -> None:
    for order in ("a", "b"):
        conf = {"messages": [{"to": "+447700900101", "message_key": order}]}
        last = run_dag("cirrus_cases", "capped_by_connection", conf)
    assert last.xcom("send")["suppressed"] == 1
    assert numbers(sandbox) == ["447700900101"]


def test_a_cap_without_a_ledger_sends_nothing(run_dag: RunDag, sandbox: Sandbox) -> None:
    conf = {"messages": [{"to": "+447700900101", "message_key": "a"}]}
    assert run_dag("cirrus_cases", "capped_by_connection", conf).states["send"] == "failed"
    assert sandbox.requests == []


def test_mapped_over_files_that_overlap_nobody_gets_two(
    run_dag: RunDag, sandbox: Sandbox, connection_with_ledger: None, tmp_path: Path
) -> None:
    paths = []
    for name, places in (("a", range(30)), ("b", range(20, 60)), ("c", range(10, 40))):
        path = tmp_path / f"{name}.csv"
        path.write_text("phone\n" + "".join(f"4477009{place:05d}\n" for place in places))
        paths.append(str(path))
    run = run_dag("cirrus_cases", "overlapping", {"paths": paths})
    assert run.state == "success", run.states
    assert sorted(numbers(sandbox)) == [f"4477009{place:05d}" for place in range(60)]
    found = [run.xcom("send", place) for place in range(3)]
    assert [one["total"] for one in found] == [30, 40, 30]
    assert sum(one["duplicate"] for one in found) == 40


def test_three_shards_after_two_message_nobody_twice(
    run_dag: RunDag, sandbox: Sandbox, connection_with_ledger: None
) -> None:
    run = run_dag("cirrus_cases", "resharded")
    assert run.state == "success", run.states
    assert sorted(numbers(sandbox)) == [f"4477009{place:05d}" for place in range(60)]
    later = [run.xcom("send", place) for place in (2, 3, 4)]
    # As on a retry: what was sent before is what the shard comes to.
    assert sum(one["accepted"] for one in later) == 60


def test_a_shard_sends_at_its_fraction_of_the_rate(run_dag: RunDag, sandbox: Sandbox) -> None:
    run = run_dag("cirrus_cases", "slow_shards")
    assert run.state == "success", run.states
    times = [request["time"] for request in sandbox.requests]
    # 3 messages a second among 4 shards: one in 1.33 s.
    assert len(times) >= 4
    assert min(later - earlier for earlier, later in pairwise(times)) > 1.2


@retries
@pytest.mark.parametrize(
    ("fault", "options", "state", "counts"),
    [
        pytest.param("unauthorized", {"skip": 1}, "success", {"accepted": 60}, id="401-midway"),
        pytest.param("rate_limited", {}, "success", {"accepted": 60}, id="429-without-retry-after"),
        pytest.param("rate_limited_retry_after", {}, "success", {"accepted": 60}, id="429-seconds"),
        pytest.param("rate_limited_retry_date", {}, "success", {"accepted": 60}, id="429-date"),
        pytest.param("drop_before", {}, "failed", {"accepted": 40, "unknown": 20}, id="reset-before"),
        pytest.param("drop_after", {}, "failed", {"accepted": 40, "unknown": 20}, id="reset-after"),
        pytest.param("hang_after", {}, "failed", {"accepted": 40, "unknown": 20}, id="read-timeout-after"),
        pytest.param("server_error_before", {}, "failed", {"accepted": 40, "unknown": 20}, id="500-before"),
        pytest.param("server_error_after", {}, "failed", {"accepted": 40, "unknown": 20}, id="500-after"),
        pytest.param("bad_gateway_html", {}, "failed", {"accepted": 40, "unknown": 20}, id="502-html"),
        pytest.param("garbage", {}, "failed", {"accepted": 40, "unknown": 20}, id="200-garbage"),
        pytest.param("missing_entry", {}, "failed", {"accepted": 59, "unknown": 1}, id="entry-missing"),
        pytest.param(
            "refused",
            {"recipient": "447700900005", "failed": "(#131050) no marketing"},
            "failed",
            {"accepted": 59, "rejected": 1},
            id="206-with-a-refusal",
        ),
        pytest.param(
            "server_error_before",
            {"status": 400, "body": {"status": "400", "description": "no", "data": None}},
            "success",
            {"accepted": 60},
            id="400-without-list-once",
        ),
    ],
)
def test_a_task_ends_as_the_fault_demands(
    run_dag: RunDag,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    options: dict[str, Any],
    state: str,
    counts: dict[str, int],
) -> None:
    """With two retries: none is made of what a retry would not mend, and one of what certainly was not sent."""
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", f"{sandbox.connection_uri}&timeout=1")
    sandbox.add_fault(fault, **{"on": "send", **options})
    run = run_dag("cirrus_cases", "conf_send", {"to": [f"4477009{place:05d}" for place in range(60)]})
    assert run.states["send"] == state
    found = run.xcom("send")
    assert {outcome.value: found[outcome] for outcome in Outcome if found[outcome]} == counts
    assert found["total"] == 60
    assert len(numbers(sandbox)) == len(set(numbers(sandbox))), "somebody was messaged twice"


def test_a_task_of_which_everybody_is_refused_ends_at_once(run_dag: RunDag, sandbox: Sandbox) -> None:
    run = run_dag("cirrus_cases", "conf_send", {"to": ["447700900190", "447700900192"]})
    assert [request["status"] for request in sandbox.requests] == [400]
    assert run.states["send"] == "failed"
    assert run.xcom("send")["rejected"] == 2


@retries
def test_a_task_that_reaches_nobody_is_tried_again_and_loses_nobody(
    run_dag: RunDag, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_PATIENCE_CONNECTING", 0.5)
    sandbox.stop()
    try:
        run = run_dag("cirrus_cases", "conf_send", {"to": ["447700900101", "447700900102"]})
    finally:
        sandbox.start()
    assert run.states["send"] == "failed"
    assert run.xcom("send")["unsent"] == 2
    assert sandbox.messages == []
