"""The operators in real DAG runs, against the sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cirrus.sandbox import Sandbox
from tests.lines import before, retries

RunDag = Callable[..., Any]


def numbers(sandbox: Sandbox) -> list[str]:
    return [message["recipient"] for message in sandbox.messages]


def test_mapped_uploads_feed_mapped_sends(run_dag: RunDag, sandbox: Sandbox) -> None:
    run = run_dag("cirrus_cases", "mapped")
    assert run.state == "success", run.states
    ids = [run.xcom("upload", index)["id"] for index in (0, 1)]
    assert [run.xcom("upload", index, "media_id") for index in (0, 1)] == ids
    pictures = [
        (message["recipient"], message["components"][0]["parameters"][0]["image"]["id"])
        for message in sandbox.messages
        if message["components"] and message["components"][0]["type"] == "header"
    ]
    assert sorted(pictures) == sorted((n, i) for n in ("447700900101", "447700900102") for i in ids)
    assert sorted(numbers(sandbox))[4:] == ["447700900103", "447700900104", "447700900105", "447700900106"]
    assert run.xcom("by_recipient", 1)["accepted"] == 1


def test_row_data_is_never_rendered(run_dag: RunDag, sandbox: Sandbox) -> None:
    run_dag("cirrus_cases", "mapped")
    texts = {
        m["recipient"]: m["components"][0]["parameters"][0].get("text") for m in sandbox.messages if m["components"]
    }
    assert texts["447700900105"] == "{{ not_a_template }}"
    assert texts["447700900106"] == "see report.sql"


@before(3, 3, has="a task state store that remembers")
def test_what_could_not_be_sent_at_all_needs_no_memory_to_be_tried_again(run_dag: RunDag, sandbox: Sandbox) -> None:
    sandbox.add_fault(name="unauthorized")
    run = run_dag("cirrus_cases", "conf_send", {"to": ["447700900101", "447700900102"]})
    assert run.state == "success", run.states
    assert numbers(sandbox) == ["447700900101", "447700900102"]


@before(3, 3, has="a task state store that remembers")
def test_what_can_never_be_sent_is_given_up_after_as_many_tries(run_dag: RunDag, sandbox: Sandbox) -> None:
    sandbox.add_fault(name="unauthorized", times=3)
    run = run_dag("cirrus_cases", "conf_send", {"to": "447700900101"})
    assert run.states["send"] in ("failed", "up_for_retry")
    assert sandbox.messages == []


def test_a_template_is_rendered_to_native_values(run_dag: RunDag, sandbox: Sandbox) -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=2)).replace(microsecond=0)
    conf = {"to": "447700900101", "body": {"order": "A-1"}, "schedule": ahead.isoformat(), "template": "Order update"}
    run = run_dag("cirrus_cases", "conf_send", conf)
    assert run.state == "success", run.states
    (message,) = sandbox.messages
    assert (message["template"], message["schedule"]) == ("Order update", int(ahead.timestamp()))


@pytest.mark.parametrize(
    "conf",
    [
        pytest.param({"to": ["+447700900101", "07700 900123"]}, id="one-bad-recipient"),
        pytest.param({"to": "+447700900101", "body": ["a\nb"]}, id="newline"),
        pytest.param({"to": "+447700900101", "schedule": "2020-01-01T00:00:00Z"}, id="past"),
        pytest.param({"to": "+447700900101", "schedule": "2090-01-01T00:00:00"}, id="naive"),
        pytest.param({"to": "+447700900101", "stream": "nowhere"}, id="unknown-stream"),
    ],
)
def test_bad_input_fails_the_task_before_anything_is_sent(
    run_dag: RunDag, sandbox: Sandbox, conf: dict[str, Any]
) -> None:
    run = run_dag("cirrus_cases", "conf_send", conf)
    assert run.states["send"] == "failed"
    assert sandbox.requests == []


@retries
def test_a_retry_sends_what_is_unsent_and_nothing_else(run_dag: RunDag, sandbox: Sandbox) -> None:
    everyone = [f"4477009{place:05d}" for place in range(50)]
    sandbox.add_fault("unauthorized", on="send", skip=1)
    run = run_dag("cirrus_cases", "conf_send", {"to": everyone})
    assert run.state == "success", run.states
    assert numbers(sandbox) == everyone
    assert run.xcom("send")["accepted"] == 50
    assert [request["status"] for request in sandbox.requests] == [200, 401, 200, 200]


def test_an_unknown_outcome_is_never_repeated_and_the_result_is_kept(run_dag: RunDag, sandbox: Sandbox) -> None:
    sandbox.add_fault("drop_after")
    run = run_dag("cirrus_cases", "conf_send", {"to": ["+447700900101", "+447700900102"]})
    assert run.states["send"] == "failed"
    assert len(sandbox.requests) == 1, "it was tried again"
    assert run.xcom("send")["unknown"] == 2
    assert run.xcom("after")["unknown"] == 2, "what follows cannot see the result of a failed send"


def test_tolerated_failures_do_not_fail_the_task(run_dag: RunDag, sandbox: Sandbox) -> None:
    run = run_dag("cirrus_cases", "tolerant")
    assert run.states == {"one": "success", "half": "success", "fewer": "failed"}
    assert sorted(numbers(sandbox)) == ["447700900101", "447700900102", "447700900103"]


def test_with_a_ledger_a_number_is_checked_once_by_all_tasks(run_dag: RunDag, sandbox: Sandbox, ledger: None) -> None:
    run = run_dag("cirrus_cases", "validations")
    assert run.xcom("same", 0) == run.xcom("same", 1) == {"valid": True, "phone_number": "447700900101"}
    asked = [request["path"].rsplit("/", 1)[-1] for request in sandbox.requests]
    assert sorted(asked) == ["447700900101", "447700900190", "447700900199", "447700900290"]


def test_an_invalid_number_skips_fails_or_says_so(run_dag: RunDag) -> None:
    run = run_dag("cirrus_cases", "validations")
    assert {name: run.states[name] for name in ("skipping", "failing", "saying")} == {
        "skipping": "skipped",
        "failing": "failed",
        "saying": "success",
    }
    assert run.xcom("saying") == {"valid": False, "phone_number": "447700900290"}


@retries
@pytest.mark.parametrize(
    ("fault", "asked", "state"),
    [
        pytest.param({"action": "drop"}, 1, "failed", id="answer-lost"),
        pytest.param({"status": 500}, 1, "failed", id="server-error"),
        pytest.param({"status": 429, "times": 3}, 4, "success", id="certainly-not-asked"),
    ],
)
def test_a_retry_asks_again_only_where_nobody_was_asked(
    run_dag: RunDag, sandbox: Sandbox, fault: dict[str, Any], asked: int, state: str
) -> None:
    sandbox.add_fault(on="validate", **fault)
    run = run_dag("cirrus_cases", "validate_again")
    assert run.states["validate"] == state
    assert len(sandbox.requests) == asked


@pytest.fixture
def ledger(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that remembers across runs, and a budget of two numbers a day."""
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_LEDGER", f"sqlite:///{tmp_path / 'ledger.db'}")
    monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", f"{sandbox.connection_uri}&validations_per_day=2")


def test_with_a_ledger_a_number_is_asked_for_once_in_all_runs(run_dag: RunDag, sandbox: Sandbox, ledger: None) -> None:
    agreed = ["+447700900101", "+447700900190", "+447700900103"]

    def validate(number: str) -> Any:
        return run_dag("cirrus_cases", "validate_remembered", {"number": number, "agreed": agreed})

    for number, valid in [("+447700900101", True), ("+447700900190", False)] * 2:
        assert validate(number).xcom("validate") == {"valid": valid, "phone_number": number[1:]}
    assert validate("+447700900102").states["validate"] == "failed", "its owner did not agree"
    assert validate("+447700900103").states["validate"] == "failed", "the day's numbers are used up"
    assert len(sandbox.requests) == 2


def test_with_a_ledger_no_run_asks_again_after_a_lost_answer(run_dag: RunDag, sandbox: Sandbox, ledger: None) -> None:
    sandbox.add_fault(on="validate", action="drop")
    for _ in range(2):
        run = run_dag("cirrus_cases", "validate_remembered", {"number": "+447700900101", "agreed": ["+447700900101"]})
        assert run.states["validate"] == "failed"
    assert len(sandbox.requests) == 1


def test_an_upload_is_repeated_after_a_lost_answer(run_dag: RunDag, sandbox: Sandbox, tmp_path: Any) -> None:
    (tmp_path / "menu.pdf").write_bytes(b"%PDF-1.4 soup")
    sandbox.add_fault(on="upload", action="drop", when="after")
    run = run_dag("cirrus_cases", "upload_conf", {"path": str(tmp_path / "menu.pdf")})
    assert run.states["upload"] == "success"
    assert run.xcom("upload", key="media_id") == sandbox.uploads[-1]["id"]


def test_a_bad_file_is_not_uploaded_and_not_retried(
    run_dag: RunDag, sandbox: Sandbox, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_dag("cirrus_cases", "upload_conf", {"path": str(tmp_path / "gone.pdf")})
    assert run.states["upload"] == "failed"
    assert sandbox.requests == []


def test_results_are_plain_json(run_dag: RunDag) -> None:
    found = run_dag("cirrus_cases", "conf_send", {"to": ["+447700900101"]}).xcom("send")
    assert json.loads(json.dumps(found)) == found
    assert [outcome["recipient"] for outcome in found["outcomes"]] == ["447700900101"]


def test_a_task_may_act_on_a_failure_and_the_run_stays_red(run_dag: RunDag, sandbox: Sandbox) -> None:
    run = run_dag("cirrus_cases", "kept_red", {"to": ["447700900101", "447700900190"]})
    assert run.xcom("write_to_the_others") == [[1, "rejected"]]
    assert run.states["done"] == "upstream_failed"
    assert run.state == "failed"
    good = run_dag("cirrus_cases", "kept_red", {"to": ["447700900102"]})
    assert good.state == "success"


def test_airflow_keeps_no_whole_number_among_rendered_fields(run_dag: RunDag, sandbox: Sandbox) -> None:
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    assert run_dag("cirrus_cases", "mapped").state == "success"
    assert run_dag("cirrus_cases", "conf_send", {"to": ["+447700900177", "+44 7700 900178"]}).state == "success"
    with create_session() as session:
        # By the task instance's id in Airflow 3.4, by its names before.
        by_id = hasattr(RenderedTaskInstanceFields, "task_instance_id")
        names = {one.id: one for one in session.query(TaskInstance)} if by_id else {}
        rows = session.query(RenderedTaskInstanceFields).all()
        # Of task instances that other tests have removed, nothing is asked.
        kept = [(names.get(one.task_instance_id) if by_id else one, one) for one in rows]
        shown = {
            (whose.task_id, whose.map_index): json.dumps(one.rendered_fields)
            for whose, one in kept
            if whose is not None and whose.dag_id in ("mapped", "conf_send")
        }
    assert {task_id for task_id, _ in shown} >= {"by_header", "by_recipient", "by_message", "send"}
    # What another task is given is for that task to show.
    ours = {key: text.replace(" ", "") for key, text in shown.items() if key[0] != "after"}
    assert [key for key, text in ours.items() if "77009001" in text] == []
    assert "+44******0177" in shown["send", -1]
