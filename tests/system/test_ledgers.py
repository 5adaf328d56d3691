"""Nobody is messaged twice, whatever becomes of the ledger or of the mapping: under a real scheduler."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_cirrus.delivery.audience.shards import shard_of
from airflow_provider_cirrus.sandbox import Sandbox
from scripts.local_airflow import LOOPBACK, PARSE_ONCE, LocalAirflow
from scripts.processes import free_ports
from tests import postgres
from tests.reconcile import fill_shop, people, reconcile

# More than the five seconds after which Airflow's client gives a request up and repeats it.
HELD = 8.0


class Proxy:
    """Stands between the workers and Airflow's execution API, and can hold one write of the state store."""

    def __init__(self, port: int, server_port: int) -> None:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                is_held = proxy.passes(self.command, self.path)
                status, headers, answer = proxy.ask(self.command, self.path, body, dict(self.headers))
                proxy.answered(self.path, is_held, status)
                try:
                    self.send_response(status)
                    for name, value in headers:
                        if name.lower() not in {"connection", "content-length", "transfer-encoding", "date", "server"}:
                            self.send_header(name, value)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                except (BrokenPipeError, ConnectionResetError):
                    # It has given this request up, as it is to do with the one that is held.
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = forward  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                """Nobody reads it."""

        self._server_port = server_port
        self._server = ThreadingHTTPServer((LOOPBACK, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._lock = threading.Lock()
        self._skip: int | None = None
        self.held = ""
        self.held_status = 0
        #: What was written after the held write had come, and before it was passed on.
        self.overtaking: list[str] = []

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def hold(self, skip: int) -> None:
        """Hold one write of the state store, after ``skip`` others."""
        with self._lock:
            self._skip = skip

    def passes(self, method: str, path: str) -> bool:
        """Let a request pass at once, or hold it; return whether it was held."""
        if method != "PUT" or "/store/ti/" not in path:
            return False
        with self._lock:
            is_held = self._skip == 0
            if self._skip is not None:
                self._skip = None if is_held else self._skip - 1
            if is_held:
                self.held = path
        if is_held:
            # The fault itself, not a wait for something.
            time.sleep(HELD)
        return is_held

    def answered(self, path: str, is_held: bool, status: int) -> None:
        """Note the order in which writes landed."""
        if is_held:
            self.held_status = status
        elif self.held and not self.held_status and "/store/ti/" in path:
            self.overtaking.append(path)

    def ask(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Pass a request on; return what the API server answers."""
        connection = http.client.HTTPConnection(LOOPBACK, self._server_port, timeout=60)
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def proxy(ports: list[int]) -> Iterator[Proxy]:
    with Proxy(*ports) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def ports() -> list[int]:
    """The proxy's port, and that of the API server behind it."""
    return free_ports(2)


@pytest.fixture(scope="module")
def postgres_uri() -> Iterator[str]:
    with postgres.running() as uri:
        yield uri


@pytest.fixture(scope="module")
def airflow(
    tmp_path_factory: pytest.TempPathFactory,
    _sandbox: Sandbox,
    process_ids: Path,
    proxy: Proxy,
    ports: list[int],
    postgres_uri: str,
) -> Iterator[LocalAirflow]:
    """An Airflow with three Cirrus connections, one for each kind of ledger, whose workers go through the proxy."""
    dags = tmp_path_factory.mktemp("dags")
    shutil.copy(Path(__file__).parent / "dags" / "cirrus_ledgers.py", dags)
    shutil.copy(Path(__file__).parents[1] / "distributed" / "dags" / "cirrus_distributed.py", dags)
    database = tmp_path_factory.mktemp("ledger") / "ledger.db"
    env = {
        "AIRFLOW_CONN_CIRRUS_DEFAULT": _sandbox.connection_uri,
        "AIRFLOW_CONN_CIRRUS_SQLITE": f"{_sandbox.connection_uri}&ledger_conn_id=ledger_sqlite",
        "AIRFLOW_CONN_CIRRUS_POSTGRES": f"{_sandbox.connection_uri}&ledger_conn_id=ledger_postgres",
        "AIRFLOW_CONN_SHOP": postgres_uri.replace("postgresql+psycopg2", "postgres"),
        "AIRFLOW_CONN_LEDGER_SQLITE": f"sqlite:///{database}",
        "AIRFLOW_CONN_LEDGER_POSTGRES": postgres_uri.replace("postgresql+psycopg2", "postgres"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{LOOPBACK}:{ports[0]}/execution/",
        **PARSE_ONCE,
        "CIRRUS_TEST_PIDS": str(process_ids),
    }
    with LocalAirflow(tmp_path_factory.mktemp("airflow"), dags, env=env, port=ports[1]) as airflow:
        yield airflow


@pytest.fixture
def variable(airflow: LocalAirflow) -> Iterator[Callable[[str, str], None]]:
    """Sets a Variable, until the end of the test."""
    names = set()

    def set_to(name: str, value: str) -> None:
        body = {"key": name, "value": value}
        if name in names:
            airflow.request("PATCH", f"/api/v2/variables/{name}", json=body)
        else:
            airflow.request("POST", "/api/v2/variables", json=body)
        names.add(name)

    yield set_to
    for name in names:
        airflow.request("DELETE", f"/api/v2/variables/{name}")


def run(airflow: LocalAirflow, dag_id: str) -> str:
    """Run a DAG to its end, which is to be a good one; return the run's id."""
    airflow.wait_for_dag(dag_id)
    run_id = airflow.trigger(dag_id)
    assert airflow.wait_for_run(dag_id, run_id, timeout=60) == "success"
    return run_id


def clear(airflow: LocalAirflow, dag_id: str, run_id: str, *task_ids: str) -> str:
    """Clear tasks of a run and wait for its end; return its state."""
    airflow.clear(dag_id, run_id, task_ids)
    return airflow.wait_for_run(dag_id, run_id, timeout=60)


def times(sandbox: Sandbox) -> Counter[int]:
    """Return how many people got how many messages."""
    return Counter(Counter(message["recipient"] for message in sandbox.messages).values())


def states(airflow: LocalAirflow, dag_id: str, run_id: str) -> dict[int, str]:
    """Return the states of the mapped tasks that send."""
    found = airflow.task_instances(dag_id, run_id)
    return {one["map_index"]: one["state"] for one in found if one["task_id"] == "send"}


def outcomes(airflow: LocalAirflow, dag_id: str, run_id: str, map_indexes: range) -> Counter[str]:
    """Return the outcomes of mapped tasks, added up."""
    total: Counter[str] = Counter()
    for index in map_indexes:
        found = airflow.xcom(dag_id, run_id, "send", map_index=index)
        total.update({name: found[name] for name in ("total", "accepted", "duplicate", "unknown", "unsent")})
    return total


def test_rows_of_a_database_are_sent_by_eight_tasks_among_faults(
    airflow: LocalAirflow, sandbox: Sandbox, process_ids: Path, postgres_uri: str
) -> None:
    # The DAG of `make test-distributed`, whose many workers are killed besides.
    fill_shop(postgres_uri, 600)
    for seed, name in enumerate(("rate_limited", "server_error_before", "drop_after", "garbage")):
        sandbox.add_fault(name, probability=0.05, seed=seed, times=None)
    run_id = run(airflow, "distributed")
    outcomes = reconcile(
        sandbox,
        reports=[process_ids / f"distributed-{shard}.jsonl" for shard in range(8)],
        summaries=[airflow.xcom("distributed", run_id, "send", map_index=shard) for shard in range(8)],
        ledger=postgres_uri,
        task=f"distributed/{run_id}/send",
        customers=people(600),
    )
    assert outcomes["accepted"] > 400
    assert outcomes["unknown"] > 0, "no fault struck"


def check_the_report(path: Path, total: int) -> None:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert Counter(line["outcome"] for line in lines) == {"accepted": total}
    assert len({line["recipient"] for line in lines}) == total
    assert sorted(line["index"] for line in lines) == list(range(total))


def test_another_number_of_shards_with_a_database(
    airflow: LocalAirflow, sandbox: Sandbox, variable: Callable[[str, str], None]
) -> None:
    variable("cirrus_shards", "2")
    run_id = run(airflow, "resharded_sql")
    assert times(sandbox) == {1: 80}

    variable("cirrus_shards", "3")
    assert clear(airflow, "resharded_sql", run_id, "shards", "send") == "success"
    assert states(airflow, "resharded_sql", run_id) == dict.fromkeys(range(3), "success")
    assert times(sandbox) == {1: 80}
    found = outcomes(airflow, "resharded_sql", run_id, range(3))
    assert (found["total"], found["accepted"]) == (80, 80)


@pytest.fixture(scope="module")
def resharded(airflow: LocalAirflow, _sandbox: Sandbox) -> tuple[str, list[str]]:
    """A run on the task state store whose shards became three; its id, and whom the first two had messaged."""
    _sandbox.reset()
    for shards in (2, 3):
        variable = {"key": "cirrus_shards", "value": str(shards)}
        if shards == 2:
            airflow.request("POST", "/api/v2/variables", json=variable)
            run_id = run(airflow, "resharded_state")
            assert times(_sandbox) == {1: 80}
        else:
            airflow.request("PATCH", "/api/v2/variables/cirrus_shards", json=variable)
            assert clear(airflow, "resharded_state", run_id, "shards", "send") == "failed"
    airflow.request("DELETE", "/api/v2/variables/cirrus_shards")
    return run_id, [message["recipient"] for message in _sandbox.messages]


def test_another_number_of_shards_with_the_task_state_store(
    airflow: LocalAirflow, resharded: tuple[str, list[str]]
) -> None:
    run_id, recipients = resharded
    found = states(airflow, "resharded_state", run_id)
    assert (found[0], found[1]) == ("failed", "failed")
    for index in range(2):
        log = airflow.task_log("resharded_state", run_id, "send", try_number=2, map_index=index)
        assert "sent another part of the audience (shards was 2 and is 3)" in log
    again = Counter(recipients) - Counter(set(recipients))
    assert not {number for number in again if shard_of(number, 3) != 2}, "a shard that had changed sent again"


def test_a_shard_that_is_new_with_the_task_state_store(resharded: tuple[str, list[str]]) -> None:
    _, recipients = resharded
    assert len(recipients) == len(set(recipients)) == 80


def test_one_file_more_that_is_sorted_first(airflow: LocalAirflow, sandbox: Sandbox, process_ids: Path) -> None:
    def write(name: str, first: int) -> None:
        numbers = "".join(f"447700900{place:03d}\n" for place in range(first, first + 40))
        (process_ids / f"audience-{name}.csv").write_text(f"to\n{numbers}")

    write("b", 100)
    write("c", 140)
    run_id = run(airflow, "files_sql")
    assert times(sandbox) == {1: 80}

    write("a", 200)
    assert clear(airflow, "files_sql", run_id, "files", "send") == "success"
    assert states(airflow, "files_sql", run_id) == dict.fromkeys(range(3), "success")
    assert times(sandbox) == {1: 120}
    found = outcomes(airflow, "files_sql", run_id, range(3))
    assert (found["total"], found["accepted"] + found["duplicate"]) == (120, 120)


def test_an_emptied_state_store_and_a_clear(
    airflow: LocalAirflow, sandbox: Sandbox, variable: Callable[[str, str], None]
) -> None:
    run_id = run(airflow, "emptied")
    airflow.request("DELETE", f"/api/v2/dags/emptied/dagRuns/{run_id}/taskInstances/send/state-store")
    assert clear(airflow, "emptied", run_id, "send") == "failed"
    assert times(sandbox) == {1: 50}
    log = airflow.task_log("emptied", run_id, "send", try_number=2)
    assert "This task was cleared, and Airflow has discarded what earlier tries recorded" in log
    assert "nothing was sent now" in log
    assert "ledger_conn_id" in log

    variable("cirrus_ledgers_resend", "yes")
    assert clear(airflow, "emptied", run_id, "send") == "success"
    assert times(sandbox) == {2: 50}


def test_a_write_that_lands_after_newer_ones(
    airflow: LocalAirflow, sandbox: Sandbox, proxy: Proxy, process_ids: Path
) -> None:
    airflow.wait_for_dag("late_write")
    # So that the send is not over when the write lands.
    sandbox.add_fault("latency", on="send", delay=1, times=None)
    # The mark, and the first two commits.
    proxy.hold(skip=3)
    run_id = run(airflow, "late_write")
    assert proxy.held, "no write was held"
    assert proxy.held in proxy.overtaking, "the write was not repeated while it was held"
    assert set(proxy.overtaking) - {proxy.held}, "nothing newer landed before the held write"
    assert times(sandbox) == {1: 400}
    assert airflow.xcom("late_write", run_id, "send")["accepted"] == 400
    check_the_report(process_ids / "late_write.jsonl", 400)

    deadline = time.monotonic() + 2 * HELD
    while not proxy.held_status and time.monotonic() < deadline:
        time.sleep(0.05)
    assert proxy.held_status in range(200, 300), f"the held write did not land: {proxy.held_status}"
    assert clear(airflow, "late_write", run_id, "send") == "success"
    assert times(sandbox) == {1: 400}
    assert airflow.xcom("late_write", run_id, "send")["accepted"] == 400


def test_a_database_that_drops_its_connections(
    airflow: LocalAirflow, sandbox: Sandbox, process_ids: Path, postgres_uri: str
) -> None:
    airflow.wait_for_dag("cut_off")
    run_id = airflow.trigger("cut_off")
    deadline = time.monotonic() + 60
    while sandbox.counts["accepted"] < 100 and time.monotonic() < deadline:
        time.sleep(0.01)
    engine = sa.create_engine(postgres_uri)
    try:
        with engine.connect() as connection:
            found = connection.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
            )
            assert any(row[0] for row in found), "the ledger had no connection"
    finally:
        engine.dispose()
    assert sandbox.counts["accepted"] < 400, "all was sent before the connections were dropped"
    assert airflow.wait_for_run("cut_off", run_id, timeout=60) == "success"
    (task,) = airflow.task_instances("cut_off", run_id)
    assert task["try_number"] == 1
    found = airflow.xcom("cut_off", run_id, "send")
    assert (found["total"], found["accepted"], found["unknown"]) == (400, 400, 0)
    assert times(sandbox) == {1: 400}
    check_the_report(process_ids / "cut_off.jsonl", 400)
