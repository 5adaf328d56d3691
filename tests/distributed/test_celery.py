"""
Nobody twice and nobody lost on an Airflow of many processes, while each of them is killed.

``make test-distributed`` runs it with 20,000 messages; CIRRUS_TEST_MESSAGES says how many otherwise.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from airflow_provider_cirrus.sandbox import Sandbox
from scripts.local_airflow import PARSE_ONCE, LocalAirflow, RequestError
from scripts.processes import poll
from tests import postgres, redis_server
from tests.distributed.celery_airflow import CeleryAirflow
from tests.reconcile import fill_shop, people, reconcile

MESSAGES = int(os.environ.get("CIRRUS_TEST_MESSAGES", "20000"))
RATE = 200
SHARDS = 8
WAITING = "12025550101"
#: What goes wrong with requests, and how often; "latency" of a second in one of five.
FAULTS = {
    "rate_limited": 0.02,
    "rate_limited_retry_after": 0.005,
    "server_error_before": 0.004,
    "server_error_after": 0.004,
    "drop_before": 0.004,
    "drop_after": 0.004,
    "garbage": 0.004,
    "truncated": 0.004,
    "missing_entry": 0.004,
    "latency": 0.2,
}


class World:
    """Everything that a send of many workers stands on, and what can be done to it."""

    def __init__(self, airflow: CeleryAirflow, database: postgres.Server, broker: redis_server.RedisServer) -> None:
        self.airflow, self.database, self.broker = airflow, database, broker
        self.orphans: list[psutil.Process] = []
        self.done: Counter[str] = Counter()

    def kill_a_worker(self, chance: random.Random) -> None:
        """Kill a worker, its supervisors and its tasks."""
        self.airflow.kill(chance.choice(self.airflow.workers_at_work()))
        self.done["killed"] += 1

    def orphan_tasks(self, chance: random.Random) -> None:
        """Kill a worker and its supervisors; its tasks go on."""
        found = self.airflow.kill_but_tasks(chance.choice(self.airflow.workers_at_work()))
        self.orphans += found
        self.done["orphans"] += len(found)

    def restart_the_triggerer(self, chance: random.Random) -> None:
        """Kill the triggerer."""
        self.airflow.kill("triggerer")
        self.done["triggerer"] += 1

    def restart_the_broker(self, chance: random.Random) -> None:
        """End Redis for a moment."""
        self.broker.restart(away=chance.uniform(0.5, 3))
        self.done["broker"] += 1

    def restart_the_database(self, chance: random.Random) -> None:
        """End PostgreSQL for a moment: Airflow's own database, the ledger and the customers."""
        self.database.stop()
        time.sleep(chance.uniform(0.5, 3))
        self.database.start()
        self.done["database"] += 1


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(messages_per_second=RATE, keep=2 * MESSAGES + 10_000) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Iterator[World]:
    home = tmp_path_factory.mktemp("celery")
    dags = home / "dags"
    shutil.copytree(Path(__file__).parent / "dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
    with postgres.server(connections=200) as database, redis_server.running(home) as broker:
        uris = {}
        engine = sa.create_engine(database.uri, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for name in ("airflow", "ledger", "shop"):
                connection.execute(sa.text(f"CREATE DATABASE {name}"))
                uris[name] = database.uri.rpartition("/")[0] + f"/{name}"
        engine.dispose()
        fill_shop(uris["shop"], MESSAGES)
        env = {
            "AIRFLOW_CONN_CIRRUS_DEFAULT": sandbox.connection_uri,
            "AIRFLOW_CONN_CIRRUS_POSTGRES": f"{sandbox.connection_uri}&ledger_conn_id=ledger"
            f"&messages_per_second={RATE}",
            "AIRFLOW_CONN_LEDGER": uris["ledger"].replace("postgresql+psycopg2", "postgres"),
            "AIRFLOW_CONN_SHOP": uris["shop"].replace("postgresql+psycopg2", "postgres"),
            **PARSE_ONCE,
            "CIRRUS_TEST_PIDS": str(home),
        }
        airflow = CeleryAirflow(
            home, dags, database=uris["airflow"], broker=broker.url, workers=3, concurrency=3, env=env
        )
        with airflow:
            yield World(airflow, database, broker)


@pytest.mark.timeout(1800)
def test_everything_is_killed_while_many_workers_send(
    world: World, sandbox: Sandbox, record_property: Callable[[str, object], None]
) -> None:
    airflow = world.airflow
    airflow.wait_for_dag("distributed")
    airflow.wait_for_dag("distributed_wait")
    waiting = airflow.trigger("distributed_wait")
    # Before anything goes wrong: a message that nobody knows of opens no conversation.
    airflow.wait_for_task("distributed_wait", waiting, "wait", ["deferred"])
    for seed, (name, probability) in enumerate(FAULTS.items()):
        sandbox.add_fault(name, probability=probability, seed=seed, times=None)

    run_id = airflow.trigger("distributed")
    begun = time.monotonic()
    attack(world, sandbox, random.Random(15))

    state = patiently(airflow, lambda: airflow.wait_for_run("distributed", run_id, timeout=600))
    assert state == "success"
    record_property("seconds", round(time.monotonic() - begun))
    sandbox.clear_faults()
    (conversation,) = [one for one in sandbox.conversations if one["user"]["Phone1"].endswith(WAITING[-9:])]
    sandbox.answer(conversation["objectId"], "Yes, please")
    assert airflow.wait_for_run("distributed_wait", waiting, timeout=180) == "success"

    # An orphan is told by the ledger that it may not go on, and ends.
    assert poll(lambda: not any(has_work(orphan) for orphan in world.orphans), 60)
    outcomes = reconcile(
        sandbox,
        reports=[airflow.home / f"distributed-{shard}.jsonl" for shard in range(SHARDS)],
        summaries=[airflow.xcom("distributed", run_id, "send", map_index=shard) for shard in range(SHARDS)],
        ledger=world.database.uri.rpartition("/")[0] + "/ledger",
        task=f"distributed/{run_id}/send",
        customers=people(MESSAGES),
    )
    for name, count in (outcomes | world.done).items():
        record_property(name, count)
    print(dict(outcomes), dict(world.done), f"{time.monotonic() - begun:.0f} s")
    assert outcomes["accepted"] > 0.9 * MESSAGES
    assert set(world.done) >= {"killed", "orphans", "triggerer", "broker", "database"}
    assert world.done["orphans"] >= 1


def attack(world: World, sandbox: Sandbox, chance: random.Random) -> None:
    """Do each thing, in an order and at moments that are drawn, until nearly all is sent."""
    acts = [
        world.kill_a_worker,
        world.orphan_tasks,
        world.restart_the_database,
        world.restart_the_broker,
        world.restart_the_triggerer,
    ]
    started = sandbox.counts["accepted"]
    until(lambda: sandbox.counts["accepted"] >= started + min(400, MESSAGES // 10), world, 180)
    rounds = max(1, MESSAGES // 6_000)
    for _ in range(rounds):
        for act in chance.sample(acts, len(acts)):
            # Somebody must be at work to be killed; after a kill, that takes until Airflow has noticed.
            until(lambda: bool(world.airflow.workers_at_work()), world, 180)
            act(chance)
            wanted = sandbox.counts["accepted"] + chance.randint(20, max(21, MESSAGES // (8 * rounds)))
            until(lambda: sandbox.counts["accepted"] >= min(wanted, MESSAGES // 2), world, 180)  # noqa: B023


def until(what: Callable[[], bool], world: World, seconds: float) -> None:
    def holds() -> bool:
        world.airflow.check_alive()
        return what()

    assert poll(holds, seconds), world.airflow.log_tail(15)


def patiently(airflow: LocalAirflow, what: Callable[[], str]) -> str:
    """Ask again where the API server answers with an error: its database was away a moment ago."""
    deadline = time.monotonic() + 600
    while True:
        try:
            return what()
        except RequestError as error:
            if error.status < 500 or time.monotonic() > deadline:
                raise


def has_work(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
