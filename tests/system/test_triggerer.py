"""Waits and watches in a real triggerer that is killed in the middle, and started again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.sandbox import Sandbox
from scripts.local_airflow import PARSE_ONCE, LocalAirflow
from tests.system.conftest import EXAMPLE_DAGS


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, _sandbox: Sandbox) -> Iterator[LocalAirflow]:
    """An Airflow that soon gives the triggers of a dead triggerer to another; by default that takes it a minute."""
    dags = tmp_path_factory.mktemp("dags")
    shutil.copy(Path(__file__).parent / "dags" / "cirrus_triggerer.py", dags)
    shutil.copy(EXAMPLE_DAGS / "example_cirrus_approval.py", dags)
    shutil.copytree(EXAMPLE_DAGS / "templates", dags / "templates")
    env = {
        "AIRFLOW_CONN_CIRRUS_DEFAULT": _sandbox.connection_uri,
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
        "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
        **PARSE_ONCE,
    }
    _sandbox.reset()
    with LocalAirflow(tmp_path_factory.mktemp("airflow"), dags, env=env) as airflow:
        yield airflow


def until(what: Callable[[], Any], seconds: float, said: str) -> Any:
    """Wait for something to become true; fail with ``said`` after that many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"{said} did not come about within {seconds:.0f} s"
        time.sleep(0.1)
    return found


def looks(sandbox: Sandbox, operation: str = "object") -> int:
    return sum(request["operation"] == operation for request in sandbox.requests)


def keeps_looking(sandbox: Sandbox, operation: str = "object") -> None:
    here = looks(sandbox, operation)
    until(lambda: looks(sandbox, operation) >= here + 2, 120, f"another look ({operation})")


def triggerers(airflow: LocalAirflow) -> list[psutil.Process]:
    """The triggerer and its runner, with whatever they started."""
    found = []
    for process in airflow.processes():
        try:
            line = process.cmdline()
        except psutil.NoSuchProcess:
            continue
        if "triggerer" in line:
            found += [process, *process.children(recursive=True)]
    return found


def kill_triggerer(airflow: LocalAirflow) -> None:
    """Kill it so that nothing of it can look any more."""
    killed = triggerers(airflow)
    assert killed, "no triggerer runs"
    for process in killed:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(killed, timeout=10)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_a_wait_outlives_its_triggerer(airflow: LocalAirflow, sandbox: Sandbox) -> None:
    airflow.wait_for_dag("waiting")
    run_id = airflow.trigger("waiting")
    airflow.wait_for_task("waiting", run_id, "wait", {"deferred"})
    keeps_looking(sandbox)

    kill_triggerer(airflow)
    # The answer comes while nobody looks.
    (talk,) = sandbox.conversations
    sandbox.answer(talk["objectId"], "Yes, please")
    airflow.start_triggerer()
    assert airflow.wait_for_run("waiting", run_id, timeout=120) == "success"

    found = airflow.xcom("waiting", run_id, "wait")
    assert (found["reached"], found["message"], found["status"]) == ("reply", "Yes, please", "Open")
    assert len(sandbox.messages) == 1, "the triggerer sent something"
    assert looks(sandbox, "send") == 1
    (task,) = [t for t in airflow.task_instances("waiting", run_id) if t["task_id"] == "wait"]
    assert task["try_number"] == 1
    log = airflow.task_log("waiting", run_id, "wait")
    assert sandbox.token not in log


def test_a_wait_in_the_triggerer_ends_at_its_timeout(airflow: LocalAirflow, sandbox: Sandbox) -> None:
    airflow.wait_for_dag("waiting_in_vain")
    run_id = airflow.trigger("waiting_in_vain")
    task = airflow.wait_for_task("waiting_in_vain", run_id, "wait", {"skipped", "failed", "success"})
    assert task["state"] == "skipped"


def test_answers_start_a_dag_across_a_kill_of_the_triggerer(airflow: LocalAirflow, sandbox: Sandbox) -> None:
    airflow.wait_for_dag("on_answer")
    # A sandbox that was reset gives the same ids again, as Cirrus never does; the watch has taken those of the others.
    other = Message.build("+447700900102", {"name": "order_update", "language": "en"}, object_data={"StatusId": 1})
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
        client.send([other])
    run_id = airflow.trigger("waiting")
    keeps_looking(sandbox, "objects")
    until(lambda: len(sandbox.conversations) == 2, 120, "a conversation")
    talk = sandbox.conversations[1]

    def heard() -> list[str]:
        runs = airflow.request("GET", "/api/v2/dags/on_answer/dagRuns")["dag_runs"]
        return [
            text
            for run in sorted(runs, key=lambda run: str(run["run_after"]))
            if run["state"] == "success"
            for text in airflow.xcom("on_answer", run["dag_run_id"], "heard")
        ]

    before = heard()
    sandbox.answer(talk["objectId"], "one")
    until(lambda: heard()[len(before) :] == ["one"], 120, "the first answer")
    # By then the place is kept: six more looks last longer than it takes.
    for _ in range(3):
        keeps_looking(sandbox, "objects")

    kill_triggerer(airflow)
    sandbox.answer(talk["objectId"], "two, while nobody looked")
    airflow.start_triggerer()
    until(lambda: len(heard()) > len(before) + 1, 120, "the second answer")
    sandbox.answer(talk["objectId"], "three")
    until(lambda: len(heard()) > len(before) + 2, 120, "the third answer")
    assert heard()[len(before) :] == ["one", "two, while nobody looked", "three"]
    assert airflow.wait_for_run("waiting", run_id) == "success"
    assert looks(sandbox, "send") == 2, "the triggerer sent something"


def test_an_approval_outlives_its_triggerer_and_asks_nobody_twice(airflow: LocalAirflow, sandbox: Sandbox) -> None:
    # The last of these tests: the watch of the others knows conversations by their ids, which a reset gives again.
    dag = "example_cirrus_approval"
    airflow.wait_for_dag(dag)
    run_id = airflow.trigger(dag)
    airflow.wait_for_task(dag, run_id, "approve", {"deferred"})
    keeps_looking(sandbox)

    kill_triggerer(airflow)
    talks = {talk["user"]["Phone1"]: talk["objectId"] for talk in sandbox.conversations}
    assert sorted(talks) == ["447700900221", "447700900222"]
    # Two answers while nobody looks: the first of them decides, whoever is looked at first.
    sandbox.answer(talks["447700900222"], "No")
    sandbox.answer(talks["447700900221"], "Yes, send it")
    airflow.start_triggerer()
    assert airflow.wait_for_run(dag, run_id, timeout=120) == "success"
    assert len(sandbox.messages) == 2, "somebody was asked twice, or told what was rejected"
    found = airflow.xcom(dag, run_id, "approve")
    assert (found["chosen_options"], found["responded_by_user"]["name"]) == (["Reject"], "Ben")
