"""
Many messages in one task against as many mapped ``HttpOperator`` tasks, on the same scheduler.

    python benchmarks/mapped_http.py [--messages 1000] [--mapped 100] [--rate 1000] [--parallelism 8]

Starts an Airflow of its own (``airflow standalone``: scheduler, API server, LocalExecutor, SQLite) and a sandbox in a
process of its own that limits nothing, and runs benchmarks/dags one after the other: bench_one_task sends the whole
audience with one SendTemplateOperator, bench_mapped_http posts one message in each mapped task to the same endpoint.
The one task goes first, and so is the one that pays for what a fresh Airflow has still to load.

Seconds are those of the DAG run, from its start_date to its end_date; "wall" is from the trigger to when its end is
seen. A mapped task costs Airflow 0.3 to 0.8 s on two cores, so by default only 100 are run, and the rest is
scaled: the time until the first of them ended once, the pace after that for all others. ``--mapped 1000`` runs all.
``--rate`` is the messages_per_second of the one task, high so that it is not the limit that is measured; at the
default of a connection, 80, no 1,000 messages leave in less than 12 s. The mapped tasks have no limit at all.

Needs apache-airflow-providers-http. Checks that the sandbox got every message of either once. Ends with status 1
where the one task is not the faster one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from _common import DEFAULT_TOKEN, STREAM, rows, sandbox, write_audience

# Beside this directory, and not installed.
sys.path.insert(0, str(Path(__file__).parents[1]))
from scripts.local_airflow import LocalAirflow
from scripts.processes import ScriptError, raise_on_sigterm

if TYPE_CHECKING:
    from collections.abc import Mapping

ONE, MAPPED = "bench_one_task", "bench_mapped_http"
DAGS = Path(__file__).parent / "dags"
SECONDS_A_TASK = 10.0
"""Patience with a mapped task: many times what one takes."""


@dataclass(frozen=True)
class Run:
    """A DAG run that succeeded. Times in seconds, from its start."""

    seconds: float
    wall: float
    ends: tuple[float, ...]  # of its task instances, in order
    returned: Any

    def scaled(self, tasks: int) -> float:
        """Return the seconds that so many tasks would take."""
        if tasks == len(self.ends):
            return self.seconds
        # All but the first: what a run takes until then does not grow with the tasks.
        pace = (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)
        return self.seconds + pace * (tasks - len(self.ends))


def environment(url: str, audiences: Mapping[str, Path], options: argparse.Namespace) -> dict[str, str]:
    """Return what the Airflow needs to know: both connections hold the same token."""
    headers = {"Authorization": f"Bearer {DEFAULT_TOKEN}", "Content-Type": "application/json"}
    cirrus = {"conn_type": "cirrus", "host": url, "password": DEFAULT_TOKEN, "extra": {"stream_id": STREAM}}
    return {
        "AIRFLOW_CONN_CIRRUS_DEFAULT": json.dumps(cirrus),
        "AIRFLOW_CONN_CIRRUS_HTTP": json.dumps({"conn_type": "http", "host": url, "extra": headers}),
        "AIRFLOW__CORE__PARALLELISM": str(options.parallelism),
        # Airflow's own default of 16 would hold back a wider one.
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": str(options.parallelism),
        "CIRRUS_BENCH_STREAM": STREAM,
        "CIRRUS_BENCH_RATE": str(options.rate),
        "CIRRUS_BENCH_AUDIENCE": str(audiences[ONE]),
        "CIRRUS_BENCH_MAPPED_AUDIENCE": str(audiences[MAPPED]),
    }


def run(airflow: LocalAirflow, dag_id: str, patience: float) -> Run:
    """Run the DAG from trigger to end."""
    begun = time.perf_counter()
    run_id = airflow.trigger(dag_id)
    state = airflow.wait_for_run(dag_id, run_id, timeout=patience)
    wall = time.perf_counter() - begun
    tasks = airflow.task_instances(dag_id, run_id)
    for task in tasks:
        if task["state"] != "success":
            log = airflow.task_log(dag_id, run_id, "send", map_index=task["map_index"])
            raise ScriptError(f"send [{task['map_index']}] of {dag_id} is {task['state']}:\n{log}")
    assert state == "success", state
    found = airflow.request("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")
    start = datetime.fromisoformat(found["start_date"])

    def since_start(moment: str) -> float:
        return (datetime.fromisoformat(moment) - start).total_seconds()

    return Run(
        since_start(found["end_date"]),
        wall,
        tuple(sorted(since_start(task["end_date"]) for task in tasks)),
        airflow.xcom(dag_id, run_id, "send") if dag_id == ONE else None,
    )


def check_inbox(http: httpx.Client, count: int) -> None:
    """Raise unless the sandbox holds the first so many of the audience, everybody once; then empty it."""
    inbox = http.get("/inbox.json").raise_for_status().json()
    got = sorted(message["recipient"] for message in inbox["messages"])
    wanted = sorted(row["phone"] for row in rows(count))
    assert got == wanted, f"{len(got)} messages to {len(set(got))} recipients, not {count}"
    assert (inbox["counts"]["duplicates"], inbox["counts"]["refused"]) == (0, 0), inbox["counts"]
    http.post("/_sandbox/reset").raise_for_status()


def show(name: str, count: int, seconds: float, remark: str) -> None:
    """Print a line of the result."""
    rate = count / seconds
    print(f"{name:12}  {count:5,} messages  {seconds:7.1f} s  {rate:6.1f} messages/s  ({remark})", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--mapped", type=int, default=100, help="so many of them in mapped tasks; the rest is scaled")
    parser.add_argument("--rate", type=int, default=1000, help="messages_per_second of the one task")
    parser.add_argument("--parallelism", type=int, default=8, help="tasks that Airflow runs at once")
    options = parser.parse_args()
    if not 2 <= options.mapped <= options.messages:
        parser.error("--mapped is from 2 to --messages")
    counts = {ONE: options.messages, MAPPED: options.mapped}
    patience = {ONE: 180 + options.messages / options.rate, MAPPED: 180 + options.mapped * SECONDS_A_TASK}
    found: dict[str, Run] = {}
    raise_on_sigterm()
    with (
        tempfile.TemporaryDirectory() as place,
        sandbox("--keep", str(options.messages + 1)) as url,
        httpx.Client(base_url=url, timeout=60, trust_env=False) as http,
    ):
        folder = Path(place)
        audiences = {dag_id: write_audience(folder / f"{dag_id}.jsonl", count) for dag_id, count in counts.items()}
        with LocalAirflow(folder / "airflow", DAGS, env=environment(url, audiences, options)) as airflow:
            for dag_id in counts:
                airflow.wait_for_dag(dag_id)
            for dag_id, count in counts.items():
                found[dag_id] = run(airflow, dag_id, patience[dag_id])
                check_inbox(http, count)
    one, mapped = found[ONE], found[MAPPED]
    assert one.returned["accepted"] == options.messages, one.returned
    assert len(mapped.ends) == options.mapped, len(mapped.ends)
    whole = mapped.scaled(options.messages)
    sending = one.returned["seconds"]
    show("one task", options.messages, one.seconds, f"wall {one.wall:.1f} s; sending takes {sending:.1f} s of it")
    remark = f"wall {mapped.wall:.1f} s; {options.parallelism} at once, {mapped.seconds / options.mapped:.2f} s each"
    show("mapped tasks", options.mapped, mapped.seconds, remark)
    if options.mapped < options.messages:
        show("mapped tasks", options.messages, whole, f"scaled from {options.mapped}, not run")
    missed = one.seconds >= whole
    ratio = f"the one task is {whole / one.seconds:.1f} times as fast"
    print(f"{ratio}; target: faster: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
