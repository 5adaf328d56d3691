"""The example DAGs, run as they stand."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cirrus.sandbox import Sandbox
from tests.lines import since


def test_the_main_example_sends_the_picture_to_everybody(run_dag: Callable[..., Any], sandbox: Sandbox) -> None:
    run = run_dag("example_cirrus_send_template")
    assert set(run.states.values()) == {"success"}, run.states
    media_id = run.xcom("upload_picture", key="media_id")
    by_number = {message["recipient"]: message for message in sandbox.messages}
    assert sorted(by_number) == ["12025550143", "447700900123", "447700900124", "447700900125", "447700900126"]
    for number in ("447700900123", "447700900124", "12025550143"):
        header = by_number[number]["components"][0]["parameters"][0]
        assert header == {"type": "image", "image": {"id": media_id}}
    assert by_number["447700900126"]["schedule"] is not None
    assert by_number["447700900125"]["schedule"] is None
    assert run.xcom("send_with_picture")["accepted"] == 3


@since(3, 0, has="the import that the quick start shows")
def test_the_quick_start_of_the_readme_sends_what_it_says(
    run_dag: Callable[..., Any], sandbox: Sandbox, dags_folder: Path
) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    first = re.search(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert first is not None
    (dags_folder / "readme.py").write_text(first[1])
    run = run_dag("readme", "say_hello")
    assert run.state == "success", run.states
    assert [message["recipient"] for message in sandbox.messages] == ["447700900123", "447700900124"]
    header = sandbox.messages[0]["components"][0]["parameters"][0]
    assert header == {"type": "document", "document": {"id": run.xcom("upload")["id"], "filename": "menu.txt"}}


def test_the_contacts_example_asks_for_one_and_sends_to_that_one(run_dag: Callable[..., Any], sandbox: Sandbox) -> None:
    run = run_dag("example_cirrus_contacts")
    assert run.states["send_welcome"] == "success", run.states
    assert run.states["write_a_letter"] == "skipped"
    assert [message["recipient"] for message in sandbox.messages] == ["447700900132"]
    assert len(sandbox.validations) == 1


def test_the_contacts_example_takes_the_other_branch_for_who_is_not_on_whatsapp(
    run_dag: Callable[..., Any], sandbox: Sandbox
) -> None:
    sandbox.add_fault(on="validate", status=200, body={"status": "200", "data": {"valid": False}})
    run = run_dag("example_cirrus_contacts")
    assert run.states["write_a_letter"] == "success", run.states
    assert run.states["send_welcome"] == "skipped"
    assert sandbox.messages == []


def test_the_sql_example_sends_to_whom_the_query_finds(
    run_dag: Callable[..., Any], sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f'{{"conn_type": "sqlite", "host": "{tmp_path}/shop.db"}}')
    run = run_dag("example_cirrus_sql")
    assert set(run.states.values()) == {"success"}, run.states
    assert [message["recipient"] for message in sandbox.messages] == ["447700900141", "447700900142"]
    again = run_dag("example_cirrus_sql")
    assert again.state == "success", again.states
    assert again.xcom("send_orders")["duplicate"] == 2
    assert len(sandbox.messages) == 2, "a second run reports nothing twice"


def test_the_campaign_example_hands_its_file_over(run_dag: Callable[..., Any], sandbox: Sandbox) -> None:
    run = run_dag("example_cirrus_campaign")
    assert run.state == "success", run.states
    assert sandbox.campaigns[0]["recipients"] == ["447700900140", "447700900141", "447700900142"]
    assert run.xcom("campaign")["accepted"] == 3


def test_the_consent_example_messages_who_agreed(run_dag: Callable[..., Any], sandbox: Sandbox) -> None:
    run = run_dag("example_cirrus_consent")
    assert run.state == "success", run.states
    assert [message["recipient"] for message in sandbox.messages] == ["447700900151"]
    assert [outcome["reason"] for outcome in run.xcom("send")["outcomes"]] == [
        None, "opt_in: no opt-in on record (column 'agreed_at')", "suppression: on the list",
    ]  # fmt: skip


def test_the_task_example_tells_who_waits(run_dag: Callable[..., Any], sandbox: Sandbox) -> None:
    run = run_dag("example_cirrus_task")
    assert set(run.states.values()) == {"success"}, run.states
    assert [message["recipient"] for message in sandbox.messages] == ["447700900161", "447700900163"]
    assert run.xcom("apologise")["accepted"] == 2


def test_the_shards_example_sends_to_everybody_once(run_dag: Callable[..., Any], sandbox: Sandbox) -> None:
    run = run_dag("example_cirrus_shards")
    assert run.state == "success", run.states
    assert sorted(message["recipient"] for message in sandbox.messages) == [f"4477009001{n}" for n in range(70, 79)]
    shares = [run.xcom("send", map_index=shard)["accepted"] for shard in range(3)]
    assert sum(shares) == 9
    assert all(shares)


def test_the_templates_example_tells_each_in_their_language(run_dag: Callable[..., Any], sandbox: Sandbox) -> None:
    run = run_dag("example_cirrus_templates")
    assert run.state == "success", run.states
    assert [(message["recipient"], message["language"]) for message in sandbox.messages] == [
        ("447700900181", "en"),
        ("447700900182", "de"),
        ("447700900183", "en"),
    ]
    button = sandbox.messages[0]["components"][-1]
    assert (button["index"], button["parameters"]) == (1, [{"type": "text", "text": "R-204"}])


def test_the_careful_example_serves_everybody_where_nothing_goes_wrong(
    run_dag: Callable[..., Any], sandbox: Sandbox
) -> None:
    run = run_dag("example_cirrus_safely")
    assert run.state == "success", run.states
    assert run.xcom("send")["accepted"] == 9


def test_the_budget_example_counts_its_people(
    run_dag: Callable[..., Any], sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f'{{"conn_type": "sqlite", "host": "{tmp_path}/shop.db"}}')
    run = run_dag("example_cirrus_daily_budget")
    assert run.state == "success", run.states
    assert sorted(message["recipient"] for message in sandbox.messages) == [f"44770090023{n}" for n in range(6)]
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        assert shop.execute("SELECT count(*) FROM cirrus_budget_places").fetchone() == (6,)
    shop.close()


def test_the_experiment_example_tells_who_got_what(run_dag: Callable[..., Any], sandbox: Sandbox) -> None:
    run = run_dag("example_cirrus_experiment")
    assert run.state == "success", run.states
    sent = Counter(message["template"] for message in sandbox.messages)
    parts = run.xcom("count")
    assert parts == {"long": sent["summer_long"], "short": sent["summer_short"], "holdout": 10 - sent.total()}
    assert min(parts.values()) > 0


def test_the_careful_example_stops_after_its_first_three(run_dag: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_fault(on="send", action="refuse", failed={"code": 132000, "message": "no"}, times=None)
    run = run_dag("example_cirrus_safely")
    assert run.state == "failed", run.states
    found = run.xcom("send")
    assert (found["rejected"], found["unsent"]) == (3, 6)
