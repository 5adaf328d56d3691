"""The rules of a delivery, over HTTP: what is held back, put off, and given back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.engine import dispatcher
from airflow_provider_cirrus.delivery.engine.dispatcher import Dispatcher
from airflow_provider_cirrus.delivery.engine.result import DeliveryResult
from airflow_provider_cirrus.delivery.ledger.base import TaskTry, is_global
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.rules.consent import Consent, Suppression
from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap
from airflow_provider_cirrus.delivery.rules.frequency_cap_store import FrequencyCapStore
from airflow_provider_cirrus.delivery.rules.policy import Policy
from airflow_provider_cirrus.delivery.rules.quiet_hours import QuietHours
from airflow_provider_cirrus.delivery.sql.store import engine_for
from airflow_provider_cirrus.sandbox import Sandbox
from tests.unit.delivery.stores import Store, left_in, next_try

EVENING = datetime(2027, 3, 1, 20, 0, tzinfo=UTC).timestamp()
NIGHT = datetime(2027, 3, 1, 22, 0, tzinfo=UTC).timestamp()
MORNING = datetime(2027, 3, 2, 8, 0, tzinfo=UTC).timestamp()


def message(to: str, key: str | None = None, **row_context: Any) -> Message:
    return Message.build(to, {"name": "offer", "language": "en"}, message_key=key, row_context=row_context)


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[CirrusClient]:
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url, attempts=1) as client:
        yield client


class Clock:
    """The time of day that the engine goes by; all else of its clocks is real."""

    def __init__(self, wall: float) -> None:
        self.wall = wall
        self.monotonic = time.monotonic
        self.sleep = time.sleep

    def time(self) -> float:
        return self.wall


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock(NIGHT)
    monkeypatch.setattr(dispatcher, "time", made)
    return made


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


def run(client: CirrusClient, messages: list[Message], policy: Policy, ledger: Any = None) -> DeliveryResult:
    made = Dispatcher(client.send, "s", ledger, messages_per_second=100_000, pause=0.01, policy=policy)
    return made.run(enumerate(messages), len(messages))


def found(delivery: DeliveryResult) -> dict[str, int]:
    return {outcome: count for outcome, count in delivery.counts.items() if count}


def test_who_sleeps_is_put_off_until_the_first_may_be_messaged(
    client: CirrusClient, sandbox: Sandbox, clock: Clock
) -> None:
    policy = Policy(quiet_hours=QuietHours("21:00", "08:00"), zone_column="zone")
    people = [
        message("447700900101", zone="Europe/London"),
        message("447700900102", zone="Europe/Berlin"),
        message("447700900103", zone="America/New_York"),
    ]
    delivery = run(client, people, policy)
    assert found(delivery) == {"accepted": 1, "unsent": 2}
    assert [one["recipient"] for one in sandbox.messages] == ["447700900103"]
    assert (delivery.deferred, delivery.resume_at) == (2, MORNING - 3600), "Berlin wakes first"
    assert "quiet_hours: " in (delivery.results[0].reason or "")


def test_a_night_that_falls_while_an_intent_is_written_holds_the_message_back(
    client: CirrusClient, sandbox: Sandbox, clock: Clock
) -> None:
    class Evening(Store):
        def set(self, key: str, value: Any, **options: Any) -> None:
            super().set(key, value, **options)
            clock.wall = NIGHT

    store = Evening()
    ledger = next_try(store)
    clock.wall = EVENING
    policy = Policy(quiet_hours=QuietHours("21:00", "08:00"), zone_column="zone")
    delivery = run(client, [message("447700900101", zone="UTC")], policy, ledger)
    assert (found(delivery), delivery.deferred, delivery.resume_at) == ({"unsent": 1}, 1, MORNING)
    assert sandbox.requests == []
    assert [entry.outcome for entry in left_in(store).values()] == [Outcome.UNSENT], "the intent was not taken back"


def test_what_leaves_just_before_the_night_does_not_arrive_in_it(
    client: CirrusClient, sandbox: Sandbox, clock: Clock
) -> None:
    clock.wall = EVENING + 30
    one = [message("447700900101", zone="UTC")]
    assert found(run(client, one, Policy(quiet_hours=QuietHours("20:01", "08:00"), zone_column="zone"))) == {
        "unsent": 1
    }
    assert sandbox.requests == []
    clock.wall = EVENING - 3600
    assert found(run(client, one, Policy(quiet_hours=QuietHours("20:01", "08:00"), zone_column="zone"))) == {
        "accepted": 1
    }


def test_only_what_was_sent_takes_a_place_under_the_cap(client: CirrusClient, sandbox: Sandbox, uri: str) -> None:
    def send(to: str, key: str) -> dict[str, int]:
        ledger = SqlLedger(engine_for(uri), f"run {key}", key, is_global=is_global)
        ledger.open(TaskTry())
        policy = Policy(cap=FrequencyCap(1, days=7), slots=FrequencyCapStore.beside(ledger))
        return found(run(client, [message(to, key)], policy, ledger))

    # Ending 90: no WhatsApp user. A refusal leaves the slot free.
    assert send("447700900190", "a") == {"rejected": 1}
    assert send("447700900190", "b") == {"rejected": 1}
    # A server that is down leaves it free as well.
    sandbox.add_fault("rate_limited", on="send", times=None)
    assert send("447700900101", "c") == {"unsent": 1}
    sandbox.reset()
    assert send("447700900101", "d") == {"accepted": 1}
    assert send("447700900101", "e") == {"suppressed": 1}


def test_two_tasks_that_want_one_person_send_one_message(client: CirrusClient, sandbox: Sandbox, uri: str) -> None:
    ready = threading.Barrier(2)
    outcomes: list[dict[str, int]] = []

    def task(name: str) -> None:
        ledger = SqlLedger(engine_for(uri), name, name, is_global=is_global)
        ledger.open(TaskTry())
        ready.wait(20)
        policy = Policy(cap=FrequencyCap(1, days=7), slots=FrequencyCapStore.beside(ledger))
        outcomes.append(found(run(client, [message("447700900101", f"{name}-1")], policy, ledger)))

    tasks = [threading.Thread(target=task, args=(name,)) for name in ("one", "two")]
    for one in tasks:
        one.start()
    for one in tasks:
        one.join(60)
    assert sorted(outcomes, key=str) == [{"accepted": 1}, {"suppressed": 1}]
    assert len(sandbox.messages) == 1


def test_a_source_that_breaks_off_lets_nobody_pass(client: CirrusClient, sandbox: Sandbox) -> None:
    def broken(digits: str) -> bool:
        raise OSError("the CRM is gone")

    with Consent(suppression=Suppression(broken)) as consent, pytest.raises(Exception, match="the CRM is gone"):
        run(client, [message("447700900101")], Policy(consent=consent))
    assert sandbox.requests == []
