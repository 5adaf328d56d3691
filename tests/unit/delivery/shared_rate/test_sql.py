"""The book of a stream's rate in a database: by the database's clock, whoever asks at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from airflow_provider_cirrus.delivery.errors import LedgerError
from airflow_provider_cirrus.delivery.shared_rate.book import FREE, VALID, WINDOW
from airflow_provider_cirrus.delivery.shared_rate.sql import SharedRateStore, ddl
from airflow_provider_cirrus.delivery.sql.store import engine_for
from airflow_provider_cirrus.sandbox import Sandbox


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/rate.db"


@pytest.fixture
def engine(uri: str) -> Iterator[Engine]:
    made = engine_for(uri)
    yield made
    made.dispose()


def until(what: Callable[[], bool], seconds: float) -> float:
    """Wait for something to become true; return how long that took."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < seconds, "it did not come about"
        time.sleep(0.02)
    return time.monotonic() - begun


def test_one_alone_has_all_of_it_and_no_more_than_it_wants(engine: Engine) -> None:
    store = SharedRateStore(engine, "shop", 80)
    assert store.renew(1_000, None) == 80
    assert store.renew(5, None) == 5
    assert SharedRateStore(engine, "another shop", 80).renew(1_000, None) == 80
    assert SharedRateStore(engine, "a third", 80, own=20).renew(1_000, None) == 20


def test_a_second_task_gets_its_half_once_the_first_has_left_it(engine: Engine) -> None:
    first, second = (SharedRateStore(engine, "shop", 80) for _ in range(2))
    assert first.renew(1_000, None) == 80
    assert second.renew(1_000, None) == 0
    assert first.renew(1_000, None) == 40
    assert second.renew(1_000, None) == 0, "what left a moment ago counts for its second"

    def has_half() -> bool:
        time.sleep(0.2)
        first.renew(1_000, None)
        return second.renew(1_000, None) == 40

    assert until(has_half, 10) <= FREE + 1


def test_what_is_given_back_is_free_a_second_later(engine: Engine) -> None:
    first, second = (SharedRateStore(engine, "shop", 80) for _ in range(2))
    first.renew(1_000, None)
    first.give_back()
    begun = time.monotonic()
    assert second.renew(1_000, None) == 0
    until(lambda: second.renew(1_000, None) == 80, 10)
    assert time.monotonic() - begun >= WINDOW - 0.3


def test_a_dead_tasks_part_is_free_two_seconds_after_it_asked(engine: Engine) -> None:
    dead, alive = (SharedRateStore(engine, "shop", 80) for _ in range(2))
    begun = time.monotonic()
    dead.renew(1_000, None)
    until(lambda: alive.renew(1_000, None) == 80, 10)
    assert time.monotonic() - begun >= FREE - 0.1


def test_a_429_is_everybodys(engine: Engine) -> None:
    first, second = (SharedRateStore(engine, "shop", 80) for _ in range(2))
    first.renew(40, None)
    assert second.renew(40, None) == 40
    assert first.renew(40, 1.5) == 0
    assert second.renew(40, None) == 0
    begun = time.monotonic()
    until(lambda: second.renew(40, None) > 0, 10)
    assert time.monotonic() - begun >= 1.0
    assert first.renew(100, None) + second.renew(100, None) <= 50, "half of it, and a little more each second"


def test_whatever_is_valid_at_the_same_time_is_never_more_than_the_rate(uri: str) -> None:
    answers: list[tuple[float, int, float, int]] = []
    done = threading.Event()

    def ask(place: int) -> None:
        engine = engine_for(uri)
        store = SharedRateStore(engine, "shop", 20)
        while not done.wait(0.02 * (place + 1)):
            asked = time.monotonic()
            granted = store.renew((place * 7) % 30, None)
            answers.append((time.monotonic(), place, asked + VALID, granted))
        engine.dispose()

    SharedRateStore(engine_for(uri), "shop", 20)
    threads = [threading.Thread(target=ask, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: len(answers) > 300, 60)
    done.set()
    for thread in threads:
        thread.join(30)
    valid: dict[int, tuple[float, int]] = {}
    shares = set()
    for at, place, over, granted in sorted(answers):
        valid[place] = (over, granted)
        assert sum(granted for over, granted in valid.values() if at < over) <= 20
        shares.add((place, granted))
    assert len({place for place, granted in shares if granted}) == 7, "all but the one that wants nothing have had some"


_SENDER = """
import json, sys
from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.delivery import deliver as door
from airflow_provider_cirrus.delivery.ledger.base import TaskTry
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.sql.store import engine_for

asked = json.loads(sys.argv[1])
ledger = SqlLedger(engine_for(asked["uri"]), f"dag/run/{asked['task']}", asked["task"])
ledger.open(TaskTry())
print("ready", flush=True)
sys.stdin.readline()
people = [f"4477009{index // 90:03d}{index % 90:02d}" for index in asked["people"]]
messages, total = door.messages_of({"template": "offer", "language": "en"}, to=people)
with CirrusClient(asked["token"], asked["stream"], base_url=asked["url"], attempts=1) as client:
    found = door.deliver(
        messages,
        client,
        total=total,
        ledger=ledger,
        messages_per_second=asked["rate"],
        this_try=door.ThisTry(stream_rate=asked["rate"]),
    )
print(json.dumps(found.counts))
"""


def test_processes_together_keep_the_rate(uri: str, sandbox: Sandbox) -> None:
    """How much of it they use, and that no second holds more, is in benchmarks/shared_rate.py."""
    rate, tasks, each = 60, 4, 90
    engine = engine_for(uri)
    SharedRateStore(engine, "shop", rate)
    engine.dispose()
    processes = []
    for task in range(tasks):
        asked = {
            "uri": uri,
            "task": f"send{task}",
            "token": sandbox.token,
            "stream": sandbox.stream_id,
            "url": sandbox.base_url,
            "rate": rate,
            "people": list(range(task * each, (task + 1) * each)),
        }
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", _SENDER, json.dumps(asked)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        told, _ = process.communicate(timeout=90)
        assert json.loads(told.splitlines()[-1])["accepted"] == each
    assert len({message["recipient"] for message in sandbox.messages}) == len(sandbox.messages) == tasks * each
    came = [(one["time"], len(one["json"]["data"])) for one in sandbox.requests if one["operation"] == "send"]
    lasted = max(at for at, _ in came) - min(at for at, _ in came)
    # A busy machine may take longer, and never less; each by itself, they would be four times as fast.
    assert tasks * each / lasted <= 1.2 * rate


def test_without_tables_and_without_create_the_ddl_is_shown_and_works(engine: Engine) -> None:
    with pytest.raises(LedgerError, match="shared rates are missing") as missing:
        SharedRateStore(engine, "shop", 80, create=False)
    statements = str(missing.value).partition("run:\n")[2]
    assert statements.strip() == ddl(engine.dialect.name).strip()
    with engine.begin() as connection:
        for statement in filter(str.strip, statements.split(";")):
            connection.execute(sa.text(statement))
    assert SharedRateStore(engine, "shop", 80, create=False).renew(100, None) == 80


def test_what_is_long_dead_goes(engine: Engine) -> None:
    SharedRateStore(engine, "shop", 80).renew(1, None)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE cirrus_rate_leases SET asked_at = asked_at - 100"))
    SharedRateStore(engine, "shop", 80).renew(1, None)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM cirrus_rate_leases")).scalar() == 1
