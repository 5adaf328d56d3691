"""Places under caps and budgets are taken and given back in the transaction that records messages."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.errors import LedgerSuperseded
from airflow_provider_cirrus.delivery.ledger.base import Entry, TaskTry
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.rules.claims import CountedClaims, Counting
from airflow_provider_cirrus.delivery.rules.daily_budget import DailyBudget
from airflow_provider_cirrus.delivery.rules.daily_budget_store import DailyBudgetStore
from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap
from airflow_provider_cirrus.delivery.rules.frequency_cap_store import FrequencyCapStore
from airflow_provider_cirrus.delivery.sql.store import engine_for
from tests.unit.delivery.rules.test_frequency_cap import ANN, BEN, engine, key, rows, uri  # noqa: F401

ONCE = FrequencyCap(1, days=7)
UNSENT = Entry(Outcome.UNSENT, reason="asked to slow down")


class Try:
    """A try of a task that sends under a cap, and within a budget."""

    def __init__(
        self,
        engine: Engine,  # noqa: F811
        task: str = "dag/run/task",
        owner: str = "try1",
        budget: int | None = None,
    ) -> None:
        self.ledger = SqlLedger(engine, task, owner, is_global=lambda key: key[0] == 1)
        self.ledger.open(TaskTry())
        self.counting = Counting(
            ONCE,
            FrequencyCapStore.beside(self.ledger),
            None,
            None if budget is None else (DailyBudget(budget), "stream"),
            None if budget is None else DailyBudgetStore.beside(self.ledger),
        )

    def commit(
        self, wanted: list[tuple[bytes, bytes]], not_sent: Sequence[tuple[bytes, bytes]] = ()
    ) -> dict[bytes, str]:
        """Commit intents, and that others were not sent; return why the rest must not be sent."""
        intents = [key for _, key in wanted]
        claims = CountedClaims(self.counting, intents, {key: person for person, key in (*wanted, *not_sent)})
        found = self.ledger.commit(intents, [(key, UNSENT) for _, key in not_sent], {}, claims)
        claims.committed()
        return {key: entry.outcome.value for key, entry in found.items()}


def test_whoever_is_over_the_cap_is_not_recorded_as_about_to_be_sent(engine: Engine) -> None:  # noqa: F811
    one = Try(engine)
    assert one.commit([(ANN, key(1)), (ANN, key(2)), (BEN, key(3))]) == {key(2): "suppressed"}
    assert {found for found, _ in one.ledger.load()} == {key(1), key(3)}


def test_what_is_sent_again_at_once_keeps_its_place(engine: Engine) -> None:  # noqa: F811
    one = Try(engine)
    assert one.commit([(ANN, key(1))]) == {}
    # What was not sent, and is about to be sent again, in one and the same commit.
    assert one.commit([(ANN, key(1))], [(ANN, key(1))]) == {}
    assert Try(engine, "other/run/task").commit([(ANN, key(9))]) == {key(9): "suppressed"}
    assert one.commit([], [(ANN, key(1))]) == {}
    assert Try(engine, "other/run/task", "try2").commit([(ANN, key(9))]) == {}


def test_a_message_that_somebody_else_holds_takes_no_place(engine: Engine) -> None:  # noqa: F811
    everywhere = key(1, everywhere=True)
    first, second = Try(engine), Try(engine, "other/run/task")
    assert first.commit([(ANN, everywhere)]) == {}
    assert second.commit([(BEN, everywhere)]) == {everywhere: "duplicate"}
    assert second.commit([(BEN, key(2))]) == {}, "the place was kept"


def test_what_the_budget_has_no_room_for_gives_its_place_under_the_cap_back(engine: Engine) -> None:  # noqa: F811
    one = Try(engine, budget=1)
    assert one.commit([(ANN, key(1)), (BEN, key(2))]) == {key(2): "unsent"}
    assert rows(engine, "cirrus_cap_places") == 1
    assert Try(engine, "other/run/task").commit([(BEN, key(3))]) == {}


def test_a_commit_that_fails_takes_nothing(engine: Engine) -> None:  # noqa: F811
    old = Try(engine, budget=5)
    Try(engine, owner="try2")
    with pytest.raises(LedgerSuperseded):
        old.commit([(ANN, key(1))])
    assert rows(engine, "cirrus_cap_places") == 0
    assert rows(engine, "cirrus_ledger") == 0
    assert Try(engine, "other/run/task").commit([(ANN, key(2))]) == {}


def test_tasks_that_want_the_same_people_and_messages_at_once(engine: Engine) -> None:  # noqa: F811
    rounds, tasks, people = 12, 4, [bytes([number]) * 16 for number in range(30)]
    tries = [Try(engine, f"dag{number}/run/task") for number in range(tasks)]

    def send(task: int) -> list[tuple[bytes, bytes]]:
        chance, sent = random.Random(task), []
        for turn in range(rounds):
            wanted: dict[bytes, bytes] = {}
            for person in chance.sample(people, 8):
                # Some messages are the same for all tasks, so that these meet in the ledger, too.
                wanted[key(person[0], True) if chance.random() < 0.5 else key(1000 * task + 50 * turn + person[0])] = (
                    person
                )
            refused = tries[task].commit([(person, one) for one, person in wanted.items()])
            sent += [(person, one) for one, person in wanted.items() if one not in refused]
            # Half of it was not sent after all.
            gone = [one for one in sent[-3:] if chance.random() < 0.5]
            tries[task].commit([], gone)
            sent = [one for one in sent if one not in gone]
        return sent

    with ThreadPoolExecutor(tasks) as pool:
        sent = [one for part in pool.map(send, range(tasks)) for one in part]
    assert sent
    by_person = [person for person, _ in sent]
    # An intent of its own that is asked for again is granted: the engine never does, this test may.
    assert len(set(sent)) == len(set(by_person)), "somebody is to get two messages under a cap of one"
    with engine.connect() as connection:
        kept = connection.scalar(sa.text("SELECT count(*) FROM cirrus_ledger WHERE state = 'intent'"))
    assert kept == rows(engine, "cirrus_cap_places") == len(set(sent))


def test_what_is_counted_needs_a_database(tmp_path: Path) -> None:
    from airflow_provider_cirrus.delivery.engine.recorder import Recorder
    from airflow_provider_cirrus.delivery.rules.policy import Policy

    slots = Try(engine_for(f"sqlite:///{tmp_path}/caps.db")).counting.slots
    with pytest.raises(ValueError, match="in the database of a ledger"):
        Recorder(None, Policy(cap=ONCE, slots=slots))
