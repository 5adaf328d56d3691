from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.errors import LedgerError, LedgerSuperseded
from airflow_provider_cirrus.delivery.ledger.base import Entry, TaskTry, person_of
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.rules import frequency_cap_store
from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap
from airflow_provider_cirrus.delivery.rules.frequency_cap_store import FrequencyCapStore, ddl
from airflow_provider_cirrus.delivery.sql.store import engine_for
from tests.places import claim, release

WEEKLY = FrequencyCap(3, days=7)
DAY = 86_400
# What a version with a scope for each mapped task made of key(1) of the fourth task, and of that task.
OLD_KEY, OLD_SCOPE = "5c40f291156aa3040b4c01a229791ac6", "f78285112040de0c2231ae9ef0937f31"
ANN, BEN = person_of("447700900101"), person_of("447700900102")


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/caps.db"


@pytest.fixture
def engine(uri: str) -> Iterator[Engine]:
    made = engine_for(uri)
    yield made
    made.dispose()


def key(number: int, everywhere: bool = False) -> bytes:
    return bytes([everywhere]) + number.to_bytes(11, "big")


def opened(engine: Engine, task: str = "dag/run/task", owner: str = "try1", **rest: Any) -> FrequencyCapStore:
    """The slots of a try that has opened its ledger."""
    ledger = SqlLedger(engine, task, owner, is_global=lambda key: key[0] == 1, **rest)
    ledger.open(TaskTry())
    return FrequencyCapStore.beside(ledger)


def rows(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(sa.text(f"SELECT count(*) FROM {table}")) or 0)


def test_nobody_gets_more_than_the_cap_within_its_window(engine: Engine, clock: Clock) -> None:
    caps = opened(engine, clock=clock)
    assert claim(caps, WEEKLY, [(ANN, key(1)), (ANN, key(2)), (BEN, key(3)), (ANN, key(4)), (ANN, key(5))]) == {key(5)}
    later = opened(engine, "other_dag/run/task", clock=clock)
    assert claim(later, WEEKLY, [(ANN, key(1)), (BEN, key(3))]) == {key(1)}, "another DAG's messages are counted"
    clock.now += 7 * DAY - 1
    assert claim(later, WEEKLY, [(ANN, key(6))]) == {key(6)}
    clock.now += 1
    assert claim(later, WEEKLY, [(ANN, key(6))]) == set()


def test_a_retry_keeps_its_place_and_takes_no_second_one(engine: Engine, clock: Clock) -> None:
    wanted = [(ANN, key(1)), (ANN, key(2)), (ANN, key(3))]
    for _ in range(4):
        clock.now += 60
        assert claim(opened(engine, clock=clock), WEEKLY, wanted) == set()
    assert claim(opened(engine, "another/run/task", clock=clock), WEEKLY, [(ANN, key(9))]) == {key(9)}


def test_the_same_text_in_another_run_is_another_message(engine: Engine) -> None:
    once = FrequencyCap(1, days=7)
    assert claim(opened(engine, "dag/run1/task"), once, [(ANN, key(1))]) == set()
    assert claim(opened(engine, "dag/run2/task"), once, [(ANN, key(1))]) == {key(1)}


def test_a_message_key_is_one_message_in_all_runs(engine: Engine) -> None:
    once, one = FrequencyCap(1, days=7), [(ANN, key(1, everywhere=True))]
    first, second = (opened(engine, f"dag/run{n}/task") for n in range(2))
    assert claim(first, once, one) == claim(second, once, one) == set()
    # The second does not send it, as the first holds its key: what it gives back is its own, not the first's.
    release(second, one)
    assert claim(second, once, [(ANN, key(2))]) == {key(2)}
    release(first, one)
    assert claim(second, once, [(ANN, key(2))]) == set()


def test_what_was_not_sent_is_given_back(engine: Engine) -> None:
    caps = opened(engine)
    claim(caps, WEEKLY, [(ANN, key(number)) for number in range(3)])
    release(opened(engine, "other/run/task"), [(ANN, key(0))])
    assert claim(caps, WEEKLY, [(ANN, key(3))]) == {key(3)}, "somebody else's place was given back"
    release(caps, [(ANN, key(0)), (ANN, key(77)), (BEN, key(1))])
    assert claim(caps, WEEKLY, [(ANN, key(3)), (ANN, key(4))]) == {key(4)}


def test_a_superseded_try_neither_takes_a_place_nor_gives_one_back(engine: Engine) -> None:
    once, people = FrequencyCap(1, days=7), [person_of(f"4477009{number:05d}") for number in range(20)]
    wanted = [(person, key(number)) for number, person in enumerate(people)]
    old = opened(engine)
    assert claim(old, once, wanted) == set()
    assert claim(opened(engine, owner="try2"), once, wanted) == set(), "the next try has its slots"
    with pytest.raises(LedgerSuperseded):
        release(old, wanted)
    with pytest.raises(LedgerSuperseded):
        claim(old, once, [(ANN, key(99))])
    with pytest.raises(LedgerSuperseded):
        old.purge(2e9)
    another = opened(engine, "dag2/run/task")
    assert claim(another, once, [(person, key(100 + number)) for number, person in enumerate(people)]) == {
        key(100 + number) for number in range(20)
    }, "somebody gets a second message"
    assert claim(another, once, [(ANN, key(98))]) == set()


def test_mapped_tasks_with_the_same_message_take_one_place_and_give_back_their_own(engine: Engine) -> None:
    twice = FrequencyCap(2, days=7)
    one, two = (opened(engine, owner=f"part{part}", map_index=part) for part in range(2))
    assert claim(one, twice, [(ANN, key(1))]) == claim(two, twice, [(ANN, key(1))]) == set()
    # The second is told that the first sends it, and gives its part in the slot back.
    release(two, [(ANN, key(1))])
    assert claim(two, twice, [(ANN, key(2)), (ANN, key(3))]) == {key(3)}, "the slot was given back though it is sent"
    release(one, [(ANN, key(1))])
    assert claim(two, twice, [(ANN, key(3))]) == set()


def test_the_place_of_what_an_earlier_try_may_have_sent_stays_taken(engine: Engine) -> None:
    def ledger(owner: str) -> SqlLedger:
        made = SqlLedger(engine, "dag/run/task", owner)
        made.open(TaskTry())
        return made

    once, unsent = FrequencyCap(1, days=7), Entry(Outcome.UNSENT, reason="no connection")
    first = ledger("try1")
    assert claim(FrequencyCapStore.beside(first), once, [(ANN, key(1)), (BEN, key(2))]) == set()
    first.commit([key(1), key(2)], [])
    first.commit([], [(key(1), Entry(Outcome.UNKNOWN)), (key(2), unsent)])
    release(FrequencyCapStore.beside(first), [(BEN, key(2))])
    again = ledger("try2")
    slots = FrequencyCapStore.beside(again)
    assert claim(slots, once, [(ANN, key(1)), (BEN, key(2))]) == set()
    again.commit([key(1), key(2)], [])
    again.commit([], [(key(1), unsent), (key(2), unsent)])
    release(slots, [(ANN, key(1)), (BEN, key(2))])
    another = opened(engine, "dag2/run/task")
    assert claim(another, once, [(ANN, key(8)), (BEN, key(9))]) == {key(8)}


def test_a_later_try_does_not_give_back_the_slot_of_an_earlier_one(engine: Engine) -> None:
    once = FrequencyCap(1, days=7)
    assert claim(opened(engine), once, [(ANN, key(1))]) == set()
    later = opened(engine, owner="try2")
    assert claim(later, once, [(ANN, key(1)), (BEN, key(2))]) == set()
    # As after a clear with resend, of which the ledger has forgotten what was sent before it.
    release(later, [(ANN, key(1)), (BEN, key(2))])
    assert claim(later, once, [(ANN, key(3)), (BEN, key(4))]) == {key(3)}


def test_the_slots_of_an_earlier_version_are_this_tasks(engine: Engine) -> None:
    """It gave each mapped task keys of its own; written as it wrote them."""
    once = FrequencyCap(1, days=7)
    mine = opened(engine, map_index=3)
    with engine.begin() as connection:
        place = {"person": ANN.hex(), "key": OLD_KEY, "scope": OLD_SCOPE, "category": "", "at": time.time()}
        connection.execute(sa.insert(frequency_cap_store._slots).values(**place))
    assert claim(mine, once, [(ANN, key(1)), (ANN, key(2))]) == {key(2)}
    assert rows(engine, "cirrus_cap_places") == 1
    release(mine, [(ANN, key(1))])
    assert claim(mine, once, [(ANN, key(2))]) == set()


def test_a_category_counts_its_own_and_no_category_counts_all(engine: Engine) -> None:
    caps = opened(engine)
    one = FrequencyCap(1, days=1, category="marketing")
    assert claim(caps, one, [(ANN, key(1)), (ANN, key(2))]) == {key(2)}
    assert claim(caps, one, [(ANN, key(3)), (ANN, key(4))], category="utility") == set(), "it is not for these"
    assert claim(caps, FrequencyCap(3, days=1), [(ANN, key(5))], category="utility") == {key(5)}
    assert claim(caps, FrequencyCap(4, days=1), [(ANN, key(5))], category="marketing") == set()
    assert claim(caps, FrequencyCap(3, days=1, category="utility"), [(ANN, key(6))]) == set()


def test_both_spellings_of_an_account_are_one_person() -> None:
    assert person_of("5215512345678") == person_of("525512345678")
    assert len({person_of("447700900101"), person_of("447700900102")}) == 2


def test_a_clock_that_was_wrong_does_not_count_for_years(engine: Engine, clock: Clock) -> None:
    clock.now += 1e9
    claim(opened(engine, clock=clock), WEEKLY, [(ANN, key(number)) for number in range(3)])
    clock.now -= 1e9
    assert claim(opened(engine, clock=clock), WEEKLY, [(ANN, key(9))]) == set()


def test_old_slots_and_their_persons_go_while_new_ones_are_taken(engine: Engine, clock: Clock) -> None:
    caps = opened(engine, clock=clock)
    people = [person_of(f"4477009{number:05d}") for number in range(1_200)]
    claim(caps, FrequencyCap(1, days=30), [(ANN, key(5_000))])
    claim(caps, WEEKLY, [(person, key(number)) for number, person in enumerate(people)])
    clock.now += 8 * DAY
    assert opened(engine, clock=clock).purge() == 0, "a longer window still counts them"
    assert claim(opened(engine, clock=clock), FrequencyCap(1, days=30), [(people[0], key(0, True))]) == {key(0, True)}
    clock.now += 23 * DAY
    caps = opened(engine, clock=clock)
    for number in range(3):
        claim(caps, WEEKLY, [(ANN, key(6_000 + number))])
    assert rows(engine, "cirrus_cap_places") == 3
    # What is locked there; SQLite locks the whole database.
    assert rows(engine, "cirrus_cap_persons") == (0 if engine.dialect.name == "sqlite" else 1)
    assert caps.purge(clock.now + 1) == 3
    assert rows(engine, "cirrus_cap_persons") == 0


def test_a_store_of_no_task_purges_and_does_nothing_else(engine: Engine, clock: Clock) -> None:
    claim(opened(engine, clock=clock), WEEKLY, [(ANN, key(1))])
    clock.now += 8 * DAY
    nobodys = FrequencyCapStore(engine, clock=clock)
    with pytest.raises(LedgerError, match="can only purge"):
        claim(nobodys, WEEKLY, [(ANN, key(2))])
    assert nobodys.purge() == 1


def test_of_many_threads_that_race_for_a_person_as_many_win_as_the_cap_has_slots(engine: Engine) -> None:
    rounds, tasks = 5, 4
    start = Barrier(tasks)
    people = [person_of(f"4477009{number:05d}") for number in range(50)]
    stores = [opened(engine, f"dag/run{task}/task") for task in range(tasks)]

    def race(task: int) -> list[int]:
        sent = [0] * len(people)
        for number in range(rounds):
            wanted = [(person, key(number * 100 + place)) for place, person in enumerate(people)]
            start.wait(60)
            # Some backwards: the order in which they are asked for must not matter.
            refused = claim(stores[task], WEEKLY, wanted[:: -1 if task % 2 else 1])
            for place, (_, one) in enumerate(wanted):
                sent[place] += one not in refused
        return sent

    with ThreadPoolExecutor(tasks) as pool:
        sent = [sum(of_one) for of_one in zip(*pool.map(race, range(tasks)), strict=True)]
    assert sent == [3] * len(people)


def test_threads_may_share_a_store(engine: Engine, clock: Clock) -> None:
    people = [person_of(f"4477009{number:05d}") for number in range(400)]
    claim(opened(engine, clock=clock), WEEKLY, [(person, key(number)) for number, person in enumerate(people)])
    clock.now += 8 * DAY
    caps, once = opened(engine, clock=clock), FrequencyCap(1, days=7)

    def passed(task: int) -> int:
        wanted = [(person, key(1_000 * task + 1_000 + place)) for place, person in enumerate(people[:40])]
        return sum(not claim(caps, once, [one]) for one in wanted)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(passed, range(8))) == 40


def test_purging_beside_claims_loses_none(engine: Engine, clock: Clock) -> None:
    people = [person_of(f"4477009{number:05d}") for number in range(100)]
    once = FrequencyCap(1, days=1)
    start = Barrier(3)

    def go(task: int) -> list[bytes]:
        sent = []
        for number in range(15):
            start.wait(60)
            if task == 0:
                # The day is over: every place is old, and its person about to be deleted.
                opened(engine, clock=clock).purge(clock.now)
                start.wait(60)
                clock.now += 2 * DAY
            else:
                wanted = [(person, key(number * 100 + place)) for place, person in enumerate(people)]
                refused = claim(opened(engine, f"dag/run{task}/task", clock=clock), once, wanted)
                sent += [person + bytes([number]) for person, one in wanted if one not in refused]
                start.wait(60)
            start.wait(60)
        return sent

    with ThreadPoolExecutor(3) as pool:
        sent = [one for part in pool.map(go, range(3)) for one in part]
    assert len(sent) == len(set(sent)) == 15 * len(people)


@pytest.mark.parametrize("drop", ["cirrus_cap_persons", "cirrus_cap_places"])
def test_a_database_that_fails_lets_nothing_pass(engine: Engine, drop: str) -> None:
    if drop == "cirrus_cap_persons" and engine.dialect.name == "sqlite":
        pytest.skip("SQLite locks the whole database, and needs no rows for it")
    caps = opened(engine)
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP TABLE {drop}"))
    with pytest.raises(LedgerError, match="nothing more is sent"):
        claim(caps, WEEKLY, [(ANN, key(1))])


def test_no_number_can_be_read(engine: Engine, tmp_path: Path) -> None:
    claim(opened(engine), WEEKLY, [(person_of("447700900123"), key(1))])
    assert all(b"900123" not in path.read_bytes() for path in tmp_path.iterdir())


def test_without_tables_and_without_create_the_ddl_is_shown_and_works(engine: Engine) -> None:
    SqlLedger(engine, "dag/run/task", "try1").open(TaskTry())
    with pytest.raises(LedgerError, match="CREATE TABLE cirrus_cap_persons"):
        opened(engine, create=False)
    with engine.begin() as connection:
        for statement in filter(str.strip, ddl(engine.dialect.name).split(";")):
            connection.execute(sa.text(statement))
    assert claim(opened(engine, create=False), WEEKLY, [(ANN, key(1))]) == set()


PROGRAM = """
import sys
from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap
from airflow_provider_cirrus.delivery.rules.frequency_cap_store import FrequencyCapStore
from airflow_provider_cirrus.delivery.ledger.base import TaskTry, person_of
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.sql.store import engine_for
from tests.places import claim
engine = engine_for(sys.argv[1])
people = [person_of(f"4477009{number:05d}") for number in range(200)]
print("ready", flush=True)
sys.stdin.readline()
ledger = SqlLedger(engine, sys.argv[2], "try1")
ledger.open(TaskTry())
caps = FrequencyCapStore.beside(ledger)
sent = 0
for start in range(0, 200, 20):
    wanted = [(person, bytes([start]) + person[:11]) for person in people[start : start + 20]]
    sent += len(wanted) - len(claim(caps, FrequencyCap(1, days=7), wanted))
print(sent)
"""


def test_of_many_processes_that_want_the_same_people_one_sends_to_each(uri: str) -> None:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    argv = [sys.executable, "-c", PROGRAM, uri]
    running = [subprocess.Popen([*argv, f"dag/run{task}/task"], **pipes) for task in range(4)]
    assert [process.stdout.readline() for process in running] == ["ready\n"] * 4
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert sum(int(process.communicate(timeout=60)[0]) for process in running) == 200


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"max_messages": 3, "days": 7}, id="days"),
        pytest.param({"max_messages": 1, "hours": 24, "category": "marketing"}, id="hours-and-category"),
        pytest.param({"max_messages": 2, "minutes": 90}, id="minutes"),
    ],
)
def test_a_cap_survives_json(given: dict[str, Any]) -> None:
    cap = FrequencyCap.of(given)
    assert FrequencyCap.of(cap) is cap
    assert FrequencyCap.of(json.loads(json.dumps(cap.to_dict()))) == cap
    assert eval(repr(cap)) == cap


@pytest.mark.parametrize(
    ("cap", "reason"),
    [
        (FrequencyCap(3, days=7), "frequency_cap: 3 messages in 7 days already"),
        (
            FrequencyCap(1, hours=1, category="marketing"),
            "frequency_cap: 1 marketing message in 1 hour already",
        ),
    ],
)
def test_the_outcome_says_why(cap: FrequencyCap, reason: str) -> None:
    assert cap.reason == reason


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param(3, r"is of type int.*FrequencyCap\(3, days=7\)", id="number"),
        pytest.param({"days": 7}, "lacks 'max_messages'", id="no-most"),
        pytest.param({"max_messages": 3}, "exactly one", id="no-span"),
        pytest.param({"max_messages": 3, "days": 7, "hours": 1}, "exactly one", id="two-spans"),
        pytest.param({"max_messages": 3, "weeks": 1}, "has no 'weeks'", id="unit"),
        pytest.param(
            {"max_messages": 0, "days": 7}, "frequency_cap.max_messages: 0 is no whole number from 1 on", id="zero"
        ),
        pytest.param({"max_messages": True, "days": 7}, "frequency_cap.max_messages", id="bool"),
        pytest.param({"max_messages": 3, "days": 0.5}, "frequency_cap.days: 0.5 is no whole number", id="half-a-day"),
        pytest.param({"max_messages": 3, "days": 36_600}, "more than ten years", id="too-long"),
        pytest.param(
            {"max_messages": 3, "days": 7, "category": "Marketting"}, "Did you mean 'marketing'", id="category"
        ),
        pytest.param({"max_messages": 3, "days": 7, "category": 5}, "is of type int", id="category-of-a-type"),
    ],
)
def test_a_slip_in_a_cap_is_told(given: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        FrequencyCap.of(given)
