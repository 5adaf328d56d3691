"""The sensor in real DAG runs, against the sandbox."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_provider_cirrus.sandbox import Sandbox

RunDag = Callable[..., Any]
BOTH_MODES = pytest.mark.parametrize("dag_id", ["wait_in_worker", "wait_in_triggerer"])


def looks(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [request for request in sandbox.requests if request["operation"] == "object"]


@contextmanager
def after_looks(sandbox: Sandbox, count: int, then: Callable[[], Any]) -> Iterator[None]:
    """Do something once so many looks at conversations were answered, while the DAG runs."""

    def watch() -> None:
        deadline = time.monotonic() + 60
        while sum(look["status"] is not None for look in looks(sandbox)) < count:
            if time.monotonic() > deadline:
                return
            time.sleep(0.02)
        then()

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    thread.join()


@BOTH_MODES
def test_a_wait_ends_with_the_answer(run_dag: RunDag, sandbox: Sandbox, dag_id: str) -> None:
    def answer() -> None:
        (talk,) = sandbox.conversations
        sandbox.answer(talk["objectId"], "On our way", from_customer=False)
        sandbox.answer(talk["objectId"], "Yes, please")

    with after_looks(sandbox, 2, answer):
        run = run_dag("cirrus_conversations", dag_id)
    assert run.state == "success", run.states
    (talk,) = sandbox.conversations
    assert run.xcom("wait") == {
        "object_id": str(talk["objectId"]),
        "reached": "reply",
        "status": "Open",
        "status_id": 1,
        "message": "Yes, please",
        "time": talk["childs"][-1]["createdTime"],
    }
    assert len(sandbox.messages) == 1


@BOTH_MODES
def test_a_wait_ends_with_the_status_also_where_cirrus_was_busy(run_dag: RunDag, sandbox: Sandbox, dag_id: str) -> None:
    sandbox.add_fault(on="object", status=503)
    with after_looks(sandbox, 2, lambda: sandbox.set_status(sandbox.conversations[0]["objectId"], 2)):
        run = run_dag("cirrus_conversations", dag_id)
    assert run.state == "success", run.states
    assert (run.xcom("wait")["reached"], run.xcom("wait")["message"]) == ("status", None)


@BOTH_MODES
@pytest.mark.parametrize("fault", ["unauthorized", "not_found"])
def test_what_no_waiting_mends_fails_the_task_at_once(
    run_dag: RunDag, sandbox: Sandbox, dag_id: str, fault: str
) -> None:
    sandbox.add_fault(fault, on="object", skip=1)
    run = run_dag("cirrus_conversations", dag_id)
    assert run.states["wait"] == "failed"
    assert [look["status"] for look in looks(sandbox)] == [200, {"unauthorized": 401, "not_found": 404}[fault]]


def test_a_sensor_is_mapped_over_outcomes(run_dag: RunDag, sandbox: Sandbox) -> None:
    run = run_dag("cirrus_conversations", "wait_mapped")
    assert run.state == "success", run.states
    waited_for = {run.xcom("wait", index)["object_id"] for index in (0, 1)}
    assert waited_for == {str(talk["objectId"]) for talk in sandbox.conversations}


def test_a_wait_in_vain_fails_or_is_skipped(run_dag: RunDag, sandbox: Sandbox) -> None:
    run = run_dag("cirrus_conversations", "wait_in_vain")
    assert {name: run.states[name] for name in ("wait_hard", "wait_softly")} == {
        "wait_hard": "failed",
        "wait_softly": "skipped",
    }


def test_the_example_asks_and_branches_on_the_answer(run_dag: RunDag, sandbox: Sandbox) -> None:
    run = run_dag("example_cirrus_conversation")
    assert (run.states["deliver"], run.states["ask_a_person"]) == ("success", "skipped"), run.states
    assert [message["recipient"] for message in sandbox.messages] == ["447700900189"]


def test_the_example_takes_the_other_branch_where_an_agent_resolved_it(run_dag: RunDag, sandbox: Sandbox) -> None:
    # The number of the example answers at once, so the answer has to be another one.
    body = {"status": "200", "data": [{"objectId": 70001, "statusId": 2, "childs": []}]}
    sandbox.add_fault(on="object", status=200, body=body)
    run = run_dag("example_cirrus_conversation")
    assert (run.states["deliver"], run.states["ask_a_person"]) == ("skipped", "success"), run.states


def test_the_example_that_answers_start_finds_none_where_a_person_started_it(run_dag: RunDag) -> None:
    run = run_dag("example_cirrus_reply_starts_dag")
    assert run.state == "success", run.states
    assert run.xcom("opt_out") == []
