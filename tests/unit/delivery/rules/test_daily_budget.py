"""How many people a day: never one above, whoever is sending at the same time; what is over it waits."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.providers.common.compat.sdk import AirflowFailException
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from airflow_provider_cirrus import DailyBudget, Delivery, Ramp, Rules
from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.errors import LedgerError, LedgerSuperseded
from airflow_provider_cirrus.delivery.ledger.base import Entry, TaskTry, person_of
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.rules import daily_budget_store as budgets
from airflow_provider_cirrus.delivery.rules.daily_budget import WINDOW
from airflow_provider_cirrus.delivery.rules.daily_budget_store import DailyBudgetStore, ddl, erase_places
from airflow_provider_cirrus.delivery.sql.store import engine_for, scope_of
from airflow_provider_cirrus.operators import SendTemplateOperator
from airflow_provider_cirrus.sandbox import Sandbox
from tests.places import spend, unspend

DAY = 86_400
QUARTER = WINDOW - DAY
ANN, BEN, CHLOE = (person_of(f"44770090010{place}") for place in range(1, 4))
TWO = DailyBudget(2)


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/budget.db"


@pytest.fixture
def engine(uri: str) -> Iterator[Engine]:
    made = engine_for(uri)
    yield made
    made.dispose()


def key(number: int, everywhere: bool = False) -> bytes:
    return bytes([everywhere]) + number.to_bytes(11, "big")


def memory_database() -> Engine:
    return sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False})


def opened(engine: Engine, task: str = "dag/run/task", owner: str = "try1", **rest: Any) -> DailyBudgetStore:
    """The budget of a try that has opened its ledger."""
    ledger = SqlLedger(engine, task, owner, is_global=lambda key: key[0] == 1, **rest)
    ledger.open(TaskTry())
    return DailyBudgetStore.beside(ledger)


def test_there_are_never_more_people_than_the_budget_allows_in_a_day(engine: Engine, clock: Clock) -> None:
    store = opened(engine, clock=clock)
    waiting = spend(store, TWO, "shop", [(ANN, key(1)), (BEN, key(2)), (CHLOE, key(3)), (ANN, key(4))])
    assert waiting == {key(3): clock.now + WINDOW + 1}, "two messages to Ann are one person"
    other = opened(engine, "other_dag/run/task", clock=clock)
    assert spend(other, TWO, "shop", [(CHLOE, key(5)), (BEN, key(6))]).keys() == {key(5)}
    assert spend(other, TWO, "another shop", [(CHLOE, key(5))]) == {}
    # Ben was messaged again meanwhile; Ann was not.
    clock.now += DAY / 2
    assert spend(other, TWO, "shop", [(BEN, key(7))]) == {}
    clock.now += DAY / 2 + QUARTER
    assert spend(other, TWO, "shop", [(CHLOE, key(8))]) == {}
    assert spend(other, TWO, "shop", [(ANN, key(9))]) == {key(9): clock.now + DAY / 2 + 1}


def test_a_retry_costs_nothing(engine: Engine, clock: Clock) -> None:
    for owner in ("try1", "try2", "try3"):
        clock.now += 60
        assert spend(opened(engine, owner=owner, clock=clock), TWO, "shop", [(ANN, key(1)), (BEN, key(2))]) == {}
    assert spend(opened(engine, "another/run/task", clock=clock), TWO, "shop", [(CHLOE, key(9))])


def test_what_was_certainly_not_sent_is_given_back(engine: Engine) -> None:
    store = opened(engine)
    spend(store, TWO, "shop", [(ANN, key(1)), (BEN, key(2))])
    unspend(store, [(BEN, key(2))])
    assert spend(store, TWO, "shop", [(CHLOE, key(3))]) == {}
    # Somebody else's message of the same name is that task's to give back.
    other = opened(engine, "other/run/task")
    unspend(other, [(ANN, key(1)), (CHLOE, key(3))])
    assert spend(store, TWO, "shop", [(BEN, key(2))]).keys() == {key(2)}


def test_the_place_of_what_may_have_been_sent_stays(engine: Engine) -> None:
    ledger = SqlLedger(engine, "dag/run/task", "try1")
    ledger.open(TaskTry())
    store = DailyBudgetStore.beside(ledger)
    spend(store, TWO, "shop", [(ANN, key(1)), (BEN, key(2))])
    ledger.commit([key(1)], [])
    ledger.commit([], [(key(1), Entry(Outcome.ACCEPTED, "m"))])
    unspend(store, [(ANN, key(1))])
    assert spend(store, TWO, "shop", [(CHLOE, key(3))]).keys() == {key(3)}


def test_a_later_try_does_not_give_back_what_an_earlier_one_had(engine: Engine) -> None:
    spend(opened(engine), TWO, "shop", [(ANN, key(1))])
    later = opened(engine, owner="try2")
    assert spend(later, TWO, "shop", [(ANN, key(1)), (BEN, key(2))]) == {}
    # As after a clear with resend, of which the ledger has forgotten what was sent before it.
    unspend(later, [(ANN, key(1)), (BEN, key(2))])
    assert spend(later, TWO, "shop", [(BEN, key(2)), (CHLOE, key(3))]).keys() == {key(3)}


def test_a_superseded_try_spends_nothing(engine: Engine) -> None:
    old = opened(engine)
    opened(engine, owner="try2")
    with pytest.raises(LedgerSuperseded):
        spend(old, TWO, "shop", [(ANN, key(1))])
    with pytest.raises(LedgerSuperseded):
        unspend(old, [(ANN, key(1))])


def test_who_waits_is_told_when_a_tenth_is_free(engine: Engine, clock: Clock) -> None:
    budget, store = DailyBudget(20), opened(engine, clock=clock)
    begun = clock.now
    for place in range(20):
        spend(store, budget, "shop", [(person_of(f"4477009002{place:02d}"), key(place))])
        clock.now += 60
    assert spend(store, budget, "shop", [(ANN, key(99))]) == {key(99): begun + 60 + WINDOW + 1}


def test_a_ramp_begins_small_and_grows(engine: Engine, clock: Clock) -> None:
    budget, store = DailyBudget(1_000, ramp=Ramp(1, factor=2, every="12h")), opened(engine, clock=clock)
    begun, number = clock.now, 0
    reached = []
    # It waits for the next step, or for whoever is to be forgotten, whichever is first.
    for half_day, until in enumerate([DAY / 2, DAY, WINDOW, DAY / 2 + WINDOW]):
        clock.now = begun + half_day * DAY / 2
        allowed = 0
        while not (waiting := spend(store, budget, "shop", [(person_of(f"44770091{number:04d}"), key(number))])):
            allowed, number = allowed + 1, number + 1
        assert waiting == {key(number): begun + until + 1}
        reached.append(allowed)
    # In any day 1, 2, 4 and 8, of which those of a day before are just still counted.
    assert reached == [1, 1, 2, 5]


def test_what_is_long_past_goes(engine: Engine, clock: Clock) -> None:
    store = opened(engine, clock=clock)
    for number in range(120):
        clock.now += DAY / 10
        spend(store, DailyBudget(1_000), "shop", [(person_of(f"44770091{number:04d}"), key(number))])
    with engine.connect() as connection:
        assert (connection.scalar(sa.text("SELECT count(*) FROM cirrus_budget_places")) or 0) < 60


def test_without_tables_and_without_create_the_ddl_is_shown_and_works(engine: Engine) -> None:
    SqlLedger(engine, "a/b/c", "x")
    with pytest.raises(LedgerError, match="CREATE TABLE cirrus_budgets"):
        opened(engine, create=False)
    with engine.begin() as connection:
        for statement in filter(str.strip, ddl(engine.dialect.name).split(";")):
            if "cirrus_meta (" not in statement or "INSERT" in statement:
                connection.execute(sa.text(statement))
    assert spend(opened(engine, create=False), TWO, "shop", [(ANN, key(1))]) == {}


PROGRAM = """
import sys
from airflow_provider_cirrus.delivery.rules.daily_budget import DailyBudget
from airflow_provider_cirrus.delivery.rules.daily_budget import WINDOW
from airflow_provider_cirrus.delivery.rules.daily_budget_store import DailyBudgetStore
from airflow_provider_cirrus.delivery.ledger.base import TaskTry, person_of
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.sql.store import engine_for
from tests.places import spend
engine = engine_for(sys.argv[1])
number = int(sys.argv[2])
# Half of the people are everybody's, and half are this process's own.
people = [person_of(f"4477009{place if place % 2 else 1000 * (number + 1) + place:05d}") for place in range(200)]
print("ready", flush=True)
sys.stdin.readline()
ledger = SqlLedger(engine, f"dag/run{number}/task", "try1")
ledger.open(TaskTry())
store = DailyBudgetStore.beside(ledger)
for start in range(0, 200, 20):
    wanted = [(person, person[:12]) for person in people[start : start + 20]]
    waiting = spend(store, DailyBudget(250), "shop", wanted)
    for person, key in wanted:
        if key not in waiting:
            print(person.hex())
"""


def test_of_eight_processes_that_race_none_goes_beyond_the_budget(uri: str) -> None:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([sys.executable, "-c", PROGRAM, uri, str(number)], **pipes) for number in range(8)]
    assert [process.stdout.readline() for process in running] == ["ready\n"] * 8
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    reached = {line for process in running for line in process.communicate(timeout=120)[0].split()}
    # 100 who are everybody's, and 800 more: the budget is spent to the last, and nobody is above it.
    assert len(reached) == 250


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 30), st.sampled_from([0, 600, 30_000, 90_000])), max_size=25),
)
def test_no_moving_day_ever_holds_more(people: int, story: list[tuple[int, int, int]]) -> None:
    engine, clock = memory_database(), Clock()
    store = opened(engine, clock=clock)
    sent: list[tuple[float, int]] = []
    for person, number, wait in story:
        clock.now += wait
        # The same key is the same person's.
        name = key(person * 100 + number)
        waiting = spend(store, DailyBudget(people), "shop", [(person_of(f"44770090010{person}"), name)])
        if waiting:
            assert waiting[name] > clock.now
            in_a_day = {who for at, who in sent if at > clock.now - WINDOW}
            assert person not in in_a_day
            assert len(in_a_day) == people, "nobody waits while there is room"
        else:
            sent.append((clock.now, person))
        assert len({who for at, who in sent if at > clock.now - DAY}) <= people
    engine.dispose()


def test_what_an_earlier_version_spends_is_counted(engine: Engine, clock: Clock) -> None:
    """It does not keep how many people there are, and counts them each time; on the same database at the same time."""
    store, three = opened(engine, clock=clock), DailyBudget(3)
    assert spend(store, three, "shop", [(ANN, key(1))]) == {}
    clock.now += 1
    place = {"person": BEN.hex(), "key": "one", "scope": "task", "at": clock.now, "owner": "another"}
    with engine.begin() as connection:
        connection.execute(sa.update(budgets._budgets).values(seen=clock.now))
        connection.execute(sa.insert(budgets._places).values(budget=scope_of("budget shop"), **place))
    clock.now += 1
    assert spend(store, three, "shop", [(CHLOE, key(2)), (person_of("447700900104"), key(3))]).keys() == {key(3)}


MESSAGES = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2)), max_size=4)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["spend", "unspend"]), st.integers(0, 1), MESSAGES),
    st.tuples(st.just("wait"), st.sampled_from([60, 30_000, 50_000, 90_000]), st.none()),
    st.tuples(st.just("erase"), st.integers(0, 7), st.none()),
)


@settings(max_examples=80, deadline=None)
@given(people=st.integers(1, 5), story=st.lists(STEPS, max_size=25))
def test_what_is_kept_of_the_number_of_people_says_what_counting_them_would(people: int, story: list[Any]) -> None:
    """The same happens in two databases; in one of them nothing is kept, so that all are counted each time."""
    clock, budget = Clock(), DailyBudget(people)
    kept, counted = (memory_database() for _ in range(2))
    stores = {engine: [opened(engine, f"dag/run/task{n}", clock=clock) for n in range(2)] for engine in (kept, counted)}
    for what, first, second in story:
        clock.now += 1
        if what == "wait":
            clock.now += first
        elif what == "erase":
            for engine in stores:
                with engine.begin() as connection:
                    erase_places(connection, someone(first).hex())
        else:
            # The same key is the same person's.
            wanted = [(someone(person), key(person * 10 + number)) for person, number in second]
            with counted.begin() as connection:
                connection.execute(sa.text("UPDATE cirrus_budgets SET counted = NULL"))
            if what == "spend":
                waiting = [spend(tasks[first], budget, "shop", wanted) for tasks in stores.values()]
                assert waiting[0] == waiting[1]
            else:
                for tasks in stores.values():
                    unspend(tasks[first], wanted)
    for engine in stores:
        engine.dispose()


def someone(number: int) -> bytes:
    return person_of(f"44770090011{number}")


# ---- a send


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", f"sqlite:///{tmp_path / 'ledger.db'}")
    return "ledger"


class Deferred(Exception):
    pass


def send(ledger: str, budget: Any, people: int = 30, dag: str = "shop", try_number: int = 1) -> Any:
    task = SendTemplateOperator(
        task_id="send",
        template="offer",
        language="en",
        to=[f"+4477009001{place:02d}" for place in range(people)],
        rules=Rules(daily_budget=budget),
        delivery=Delivery(ledger_conn_id=ledger),
        retries=2,
    )

    def defer(*, trigger: Any, method_name: str) -> None:
        raise Deferred(trigger.serialize()[1], method_name)

    task.defer = defer  # type: ignore[method-assign, assignment]
    ti = SimpleNamespace(try_number=try_number, max_tries=2, dag_id=dag, run_id="r", task_id="send", map_index=-1)
    ti.xcom_push = lambda key, value: None
    return task.execute({"ti": ti, "task": task})  # type: ignore[typeddict-item]


def test_a_send_waits_for_room_and_messages_nobody_above_the_budget(
    cirrus_default: Sandbox, ledger: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Deferred) as caught:
        send(ledger, 12)
    assert len(cirrus_default.messages) == 12
    assert caught.value.args[1] == "resume"
    # Another DAG on the same stream finds it spent, but for those who were messaged today already.
    with pytest.raises(Deferred):
        send(ledger, 12, people=20, dag="other")
    assert len({one["recipient"] for one in cirrus_default.messages}) == 12


def test_a_send_that_does_not_wait_fails_and_leaves_the_others_unsent(cirrus_default: Sandbox, ledger: str) -> None:
    with pytest.raises(AirflowFailException) as caught:
        send(ledger, {"people": 12, "on_exceeded": "fail"})
    said = str(caught.value)
    assert "12 accepted, 18 unsent" in said
    assert "daily_budget: 12 people in 24 hours already" in said
    assert 'on_exceeded="defer"' in said


def test_a_budget_that_is_not_reached_changes_nothing(cirrus_default: Sandbox, ledger: str) -> None:
    assert send(ledger, DailyBudget(250))["accepted"] == 30


def test_a_budget_needs_a_database(cirrus_default: Sandbox) -> None:
    with pytest.raises(AirflowFailException, match="daily_budget"):
        send("", 12)
    assert cirrus_default.messages == []


# ---- what an argument may hold


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param(0, "daily_budget", id="nobody"),
        pytest.param("some", "daily_budget", id="words"),
        pytest.param({}, "neither how many people nor a ramp", id="nothing"),
        pytest.param({"people": 5, "on_exceeded": "drop"}, "neither defer nor fail", id="on-exceeded"),
        pytest.param({"people": 5, "name": " "}, "name", id="name"),
        pytest.param({"peple": 5}, "has no 'peple'", id="slip"),
        pytest.param({"ramp": {"factor": 2}}, "lacks 'start'", id="ramp-without-start"),
        pytest.param({"ramp": {"start": 5, "factor": 0.5}}, "factor", id="ramp-that-shrinks"),
        pytest.param({"ramp": {"start": 5, "every": "daily"}}, "every", id="ramp-every"),
        pytest.param({"ramp": {"start": 5, "every": "0d"}}, "less than a minute", id="ramp-at-once"),
        pytest.param(True, "is of type bool", id="bool"),
    ],
)
def test_what_is_no_budget_fails_the_parse(given: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        SendTemplateOperator(
            task_id="send", template="offer", language="en", to="+447700900101", rules={"daily_budget": given}
        )


def test_a_budget_survives_json() -> None:
    made = DailyBudget(2_000, name="portfolio", ramp=Ramp(250, 1.5, "12h"))
    task = SendTemplateOperator(
        task_id="send", template="offer", language="en", to="+447700900101", rules=Rules(daily_budget=made)
    )
    kept = json.loads(json.dumps(dict(task.rules)["daily_budget"]))
    assert DailyBudget.of(kept) == made
    assert DailyBudget.of("250") == DailyBudget(250)


@given(st.integers(1, 10**6), st.floats(1, 10), st.integers(60, 10**6), st.integers(0, 10**9))
def test_a_ramp_never_shrinks(start: int, factor: float, every: int, after: int) -> None:
    ramp = Ramp(start, factor, timedelta(seconds=every))
    limits = [ramp.limit(0.0, float(after + step * every)) for step in range(5)]
    assert limits == sorted(limits)
    assert ramp.limit(0.0, 0.0) == start
    assert ramp.limit(100.0, 0.0) == start, "a clock that is behind"
    step = ramp.next_step(0.0, float(after))
    assert after < step <= after + every + 1
