"""Nobody is lost and nobody is messaged twice, whatever is killed: under a real scheduler with retries."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from airflow_provider_cirrus.sandbox import Sandbox
from scripts.local_airflow import PARSE_ONCE, LocalAirflow

KILLS = 20
LATENCY = 0.1
BATCH, CONCURRENCY = 20, 16


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, _sandbox: Sandbox, process_ids: Path) -> Iterator[LocalAirflow]:
    """An Airflow that soon sees that a supervisor is dead; by default that takes it five minutes."""
    dags = tmp_path_factory.mktemp("dags")
    shutil.copy(Path(__file__).parent / "dags" / "cirrus_kills.py", dags)
    env = {
        "AIRFLOW_CONN_CIRRUS_DEFAULT": _sandbox.connection_uri,
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
        "AIRFLOW_CONN_KILLS_LEDGER": f"sqlite:///{process_ids / 'ledger.db'}",
        **PARSE_ONCE,
        "CIRRUS_TEST_PIDS": str(process_ids),
    }
    with LocalAirflow(tmp_path_factory.mktemp("airflow"), dags, env=env) as airflow:
        yield airflow


class Tries:
    """The processes of a task, one after the other, by the ids that they leave."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._known: set[int] = set()

    def new(self) -> psutil.Process | None:
        """Return the process of a try that was not returned before, if there is one."""
        if not self._place.exists() or (pid := int(self._place.read_text())) in self._known:
            return None
        self._known.add(pid)
        return psutil.Process(pid)


def wait(what: Callable[[], Any], seconds: float) -> Any:
    """Wait for something to become true, looking often: a kill is to come at a random moment, not a late one."""
    deadline = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def until(what: Callable[[], Any], seconds: float, said: str) -> Any:
    """Wait, and fail with ``said`` after that many seconds."""
    found = wait(what, seconds)
    assert found, f"{said} did not come about within {seconds:.0f} s"
    return found


def has_ended(process: psutil.Process) -> bool:
    """Return whether nothing of it runs any more; a zombie may stay where nobody asks for its status."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def run_has_ended(airflow: LocalAirflow, dag_id: str, run_id: str) -> bool:
    state = airflow.request("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"]
    return state in {"success", "failed"}


def check_that_it_adds_up(total: int, found: dict[str, Any], report: Path, sandbox: Sandbox) -> None:
    """Compare the summary, the report and the inbox with each other."""
    arrived = {message["recipient"]: message["id"] for message in sandbox.messages}
    assert len(arrived) == len(sandbox.messages), "somebody was messaged twice"
    assert sandbox.counts["duplicates"] == 0

    assert found["total"] == total == found["accepted"] + found["unknown"]
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert sorted(line["index"] for line in lines) == list(range(total))
    assert len({line["recipient"] for line in lines}) == total
    counts = Counter(line["outcome"] for line in lines)
    assert counts == {outcome: found[outcome] for outcome in counts}

    accepted = {line["recipient"]: line["message_id"] for line in lines if line["outcome"] == "accepted"}
    unknown = {line["recipient"] for line in lines if line["outcome"] == "unknown"}
    assert accepted.items() <= arrived.items(), "what was called accepted did not arrive, or as another message"
    assert arrived.keys() <= accepted.keys() | unknown, "what arrived is called neither accepted nor unknown"


def test_twenty_kills_lose_nobody_and_message_nobody_twice(
    airflow: LocalAirflow, sandbox: Sandbox, process_ids: Path, record_property: Callable[[str, object], None]
) -> None:
    airflow.wait_for_dag("killed_often")
    sandbox.add_fault("latency", on="send", delay=LATENCY, times=None)
    chance = random.Random(20)
    tries = Tries(process_ids / "killed_often")
    begun = time.monotonic()
    run_id = airflow.trigger("killed_often")

    def next_try() -> psutil.Process | None:
        for _ in range(60):
            if process := wait(tries.new, 1):
                return process
            if run_has_ended(airflow, "killed_often", run_id):
                return None
        raise AssertionError("no try came within 60 s")

    killed_at: list[float] = []
    while len(killed_at) < KILLS and (process := next_try()):
        wanted = sandbox.counts["accepted"] + chance.randint(20, 60)
        until(lambda: sandbox.counts["accepted"] >= wanted or has_ended(process), 60, f"{wanted} messages")  # noqa: B023
        # Not always just after a batch was accepted, but anywhere between two.
        time.sleep(chance.uniform(0, LATENCY))
        if not has_ended(process):
            process.kill()
            killed_at.append(time.time())
    assert airflow.wait_for_run("killed_often", run_id, timeout=60) == "success"

    found = airflow.xcom("killed_often", run_id, "send")
    record_property("kills", len(killed_at))
    record_property("unknown", found["unknown"])
    record_property("seconds", round(time.monotonic() - begun))
    check_that_it_adds_up(2000, found, process_ids / "killed_often.jsonl", sandbox)
    assert len(killed_at) >= 15, "the run was through before it was killed often"

    came_in = [request["time"] for request in sandbox.requests]
    # Half a second for a busy machine to record an answer, or for what had left to come in; beside that, what
    # was recorded and had not left yet.
    in_flight = [sum(at - LATENCY - 0.5 <= time <= at + 0.5 for time in came_in) + 2 for at in killed_at]
    assert found["unknown"] <= sum(min(batches, CONCURRENCY) for batches in in_flight) * BATCH


@pytest.mark.parametrize("is_frozen", [pytest.param(False, id="running"), pytest.param(True, id="frozen")])
def test_an_orphan_cannot_go_on_sending(
    airflow: LocalAirflow, sandbox: Sandbox, process_ids: Path, is_frozen: bool
) -> None:
    dag_id = "orphaned_frozen" if is_frozen else "orphaned"
    airflow.wait_for_dag(dag_id)
    sandbox.add_fault("latency", on="send", delay=0.5, times=None)
    tries = Tries(process_ids / dag_id)
    run_id = airflow.trigger(dag_id)
    orphan = until(tries.new, 60, "the first try")
    try:
        until(lambda: sandbox.counts["accepted"] >= 100, 60, "the first 100 messages")
        supervisor = orphan.parent()
        assert supervisor is not None
        supervisor.kill()
        if is_frozen:
            # As on a machine that hangs, and comes back when the next try is in the middle of its work. Frozen before
            # its supervisor is dead, it would be hung up on by the kernel: a stopped process in an orphaned group.
            until(lambda: has_ended(supervisor), 10, "the end of the supervisor")
            orphan.suspend()
            until(tries.new, 60, "the next try")
            here = sandbox.counts["accepted"]
            until(lambda: sandbox.counts["accepted"] >= here + 40, 60, "the first messages of the next try")
            assert not run_has_ended(airflow, dag_id, run_id)
            orphan.resume()
        until(lambda: has_ended(orphan), 20, "the end of the orphan")
        assert airflow.wait_for_run(dag_id, run_id, timeout=120) == "success"
    finally:
        if not has_ended(orphan):
            orphan.kill()

    found = airflow.xcom(dag_id, run_id, "send")
    check_that_it_adds_up(600, found, process_ids / f"{dag_id}.jsonl", sandbox)
    assert found["unknown"] <= CONCURRENCY * BATCH
    assert found["accepted"] >= 100


def is_still(sandbox: Sandbox, process: psutil.Process) -> Callable[[], bool]:
    """Whether a process is alive and nothing of it arrives any more."""
    seen: list[tuple[float, int]] = []

    def look() -> bool:
        assert not has_ended(process), "the try has ended"
        seen.append((time.monotonic(), len(sandbox.messages)))
        # Four times as long as an answer takes to come.
        return seen[-1][1] > 0 and any(seen[-1][0] - at >= 4 and count == seen[-1][1] for at, count in seen)

    return look


def test_kills_during_a_canary_and_a_pause_let_nobody_else_through(
    airflow: LocalAirflow, sandbox: Sandbox, process_ids: Path
) -> None:
    airflow.wait_for_dag("killed_at_canary")
    sandbox.add_fault("latency", on="send", delay=1.0, times=None)
    tries = Tries(process_ids / "killed_at_canary")
    run_id = airflow.trigger("killed_at_canary")
    first = until(tries.new, 60, "the first try")
    until(lambda: sandbox.counts["requests"] >= 1 or has_ended(first), 60, "the first request of the canary")
    first.kill()

    second = until(tries.new, 60, "the second try")
    until(is_still(sandbox, second), 60, "the pause after the canary")
    flown = len(sandbox.messages)
    assert 0 < flown <= 60
    second.kill()

    third = until(tries.new, 60, "the third try")
    until(is_still(sandbox, third), 60, "the pause of the third try")
    assert len(sandbox.messages) == flown, "nobody had said that it may go on"
    done = airflow.cli("cirrus", "resume", "killed_at_canary", run_id, "send")
    assert done.returncode == 0, done.stdout + done.stderr
    assert airflow.wait_for_run("killed_at_canary", run_id, timeout=120) == "success"
    found = airflow.xcom("killed_at_canary", run_id, "send")
    check_that_it_adds_up(300, found, process_ids / "killed_at_canary.jsonl", sandbox)
    assert found["unknown"] <= 60


def test_kills_while_a_budget_is_spent_and_while_it_waits_spend_no_more(
    airflow: LocalAirflow, sandbox: Sandbox, process_ids: Path
) -> None:
    airflow.wait_for_dag("killed_in_budget")
    sandbox.add_fault("latency", on="send", delay=LATENCY, times=None)
    tries = Tries(process_ids / "killed_in_budget")
    run_id = airflow.trigger("killed_in_budget")
    state = None
    for wanted in (20, 60, 90):
        process = until(tries.new, 60, "a try")
        until(lambda: sandbox.counts["accepted"] >= wanted or has_ended(process), 60, f"{wanted} messages")  # noqa: B023
        if not has_ended(process):
            process.kill()

    def waits() -> bool:
        nonlocal state
        (task,) = airflow.task_instances("killed_in_budget", run_id)
        state = task["state"]
        return state in {"deferred", "failed", "success"}

    until(waits, 90, "the wait for another day")
    assert state == "deferred"
    assert 60 < len(sandbox.messages) <= 120
    spent = {message["recipient"] for message in sandbox.messages}
    assert len(spent) == len(sandbox.messages)

    # Another day comes: what was spent is older than one, and whoever does not want to wait clears the task. Places of
    # messages that a kill left unknown are spent, too, so there may be one day more than two.
    for _ in range(4):
        with sqlite3.connect(process_ids / "ledger.db", timeout=30) as ledger:
            ledger.execute("UPDATE cirrus_budget_places SET at = at - 2 * 86400")
        ledger.close()
        before = len(sandbox.messages)
        airflow.clear("killed_in_budget", run_id, ["send"])
        until(lambda: len(sandbox.messages) > before, 60, "another day")  # noqa: B023
        until(waits, 90, "the end of the day")
        assert len(sandbox.messages) - before <= 120
        if state == "success":
            break
    found = airflow.xcom("killed_in_budget", run_id, "send")
    check_that_it_adds_up(300, found, process_ids / "killed_in_budget.jsonl", sandbox)


def run_that_is_refused_midway(airflow: LocalAirflow, sandbox: Sandbox) -> dict[str, Any]:
    """Run a send that a 401 ends; its retry waits for nothing and serves the rest."""
    airflow.wait_for_dag("refused_midway")
    sandbox.add_fault("unauthorized", on="send", skip=5)
    run_id = airflow.trigger("refused_midway")
    assert airflow.wait_for_run("refused_midway", run_id) == "success"
    (task,) = airflow.task_instances("refused_midway", run_id)
    assert task["try_number"] == 2
    found: dict[str, Any] = airflow.xcom("refused_midway", run_id, "send")
    return found


def test_a_retry_serves_those_whom_a_401_left_out(airflow: LocalAirflow, sandbox: Sandbox) -> None:
    found = run_that_is_refused_midway(airflow, sandbox)
    arrived = [message["recipient"] for message in sandbox.messages]
    assert len(arrived) == len(set(arrived)) == 400 == found["accepted"] == found["total"]


def test_a_retry_comes_no_sooner_than_cirrus_asked(airflow: LocalAirflow, sandbox: Sandbox) -> None:
    airflow.wait_for_dag("told_to_wait")
    sandbox.add_fault("rate_limited_retry_after", retry_after=61)
    run_id = airflow.trigger("told_to_wait")
    airflow.wait_for_task("told_to_wait", run_id, "send", {"up_for_retry"})

    # By then a task of the same retry_delay that was told nothing has been tried again.
    assert run_that_is_refused_midway(airflow, sandbox)["accepted"] == 400
    (task,) = airflow.task_instances("told_to_wait", run_id)
    assert (task["state"], task["try_number"]) == ("up_for_retry", 1)
    # The REST API does not tell when the next try is due.
    with sqlite3.connect(f"file:{airflow.home}/airflow.db?mode=ro", uri=True) as database:
        asked = "SELECT retry_delay_override FROM task_instance WHERE dag_id = 'told_to_wait' AND run_id = ?"
        assert database.execute(asked, [run_id]).fetchone() == (61.0,)
    airflow.request("PATCH", f"/api/v2/dags/told_to_wait/dagRuns/{run_id}", json={"state": "failed"})
    assert airflow.wait_for_run("told_to_wait", run_id) == "failed"
