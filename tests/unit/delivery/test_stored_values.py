"""What is stored somewhere else and must be found again, written out: hashes, tables, a whole database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from airflow_provider_cirrus.api.campaign import Campaign
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.alert_dedupe import SqlAlertDedupe, dedupe_name
from airflow_provider_cirrus.delivery.audience.shards import shard_of
from airflow_provider_cirrus.delivery.campaign.submission import campaign_key
from airflow_provider_cirrus.delivery.contact_checks.store import CheckStore
from airflow_provider_cirrus.delivery.erase import erase
from airflow_provider_cirrus.delivery.ledger.base import INTERRUPTED, Entry, TaskTry, is_global, key_of, person_of
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.rules.daily_budget import DailyBudget
from airflow_provider_cirrus.delivery.rules.daily_budget_store import DailyBudgetStore
from airflow_provider_cirrus.delivery.rules.frequency_cap import FrequencyCap
from airflow_provider_cirrus.delivery.rules.frequency_cap_store import FrequencyCapStore
from airflow_provider_cirrus.delivery.sql.store import engine_for, scope_of, stored_key
from tests.places import claim, release, spend, unspend

STREAM = "hSandboxStream"
TASK = "dag/run/task"
NOW = 1_800_000_000.0


def message(to: str = "447700900123", **rest: Any) -> Message:
    return Message.build(to, {"name": "order_update", "language": "en", "body": ["Ann"]}, **rest)


def keyed(place: int) -> bytes:
    return key_of(message(f"44770090010{place}", message_key=f"order-{place}"), STREAM)


def test_keys_of_messages() -> None:
    assert key_of(message(), STREAM).hex() == "19ad6d9700661a2f2b2be55c"
    assert key_of(message(message_key="order-1"), STREAM).hex() == "aaf1a2e46ed693b427bd1d9f"
    assert key_of(message("525512345678"), "h==").hex() == "b5242d687f7f447998a2f9d2"


def test_names_of_persons() -> None:
    assert person_of("447700900123").hex() == "923a9c1e947bf24e20d6c972518f6ebc"
    assert person_of("525512345678").hex() == "087f2cee2c8dfd44b905d172bccf718e"


def test_keys_of_campaigns() -> None:
    spring = Campaign.build("opening_hours", "en", message_key="spring")
    assert campaign_key(Campaign.build("opening_hours", "en"), STREAM, b"people").hex() == "6f89086314144a4bac49ab36"
    assert campaign_key(spring, STREAM, b"any").hex() == "11912def1296c461c0c5863f"


def test_names_of_windows() -> None:
    parts = ["dag", "task_failed", ["447700900123"], None, "cirrus_default"]
    assert dedupe_name(parts) == "5a2c904b1db32a81ff376e2cf2372172"


def test_names_in_tables() -> None:
    assert scope_of(TASK) == "1df8aad69b651341ba506d4ace71ad20"
    assert stored_key(key_of(message(), STREAM), scope_of(TASK)) == "93c3b454c274f08001fc663e75068e06"


def test_shards_of_recipients() -> None:
    numbers = ("447700900101", "447700900102", "12025550143", "5215512345678")
    assert [shard_of(digits, 7) for digits in numbers] == [4, 6, 0, 1]


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Engine]:
    with sqlite3.connect(tmp_path / "stored.db") as connection:
        connection.executescript((Path(__file__).parent / "stored_database.sql").read_text())
    connection.close()
    made = engine_for(f"sqlite:///{tmp_path}/stored.db")
    yield made
    made.dispose()


def test_the_tables_that_are_made_are_those_that_are_stored(stored: Engine, tmp_path: Path) -> None:
    def tables(engine: Engine) -> dict[str, set[str]]:
        found = sa.inspect(engine)
        return {name: {column["name"] for column in found.get_columns(name)} for name in found.get_table_names()}

    new = engine_for(f"sqlite:///{tmp_path}/new.db")
    FrequencyCapStore.beside(opened(new))
    DailyBudgetStore.beside(opened(new))
    CheckStore(new)
    SqlAlertDedupe(new)
    # Opening them adds what came later.
    SqlAlertDedupe(stored)
    FrequencyCapStore.beside(opened(stored))
    DailyBudgetStore.beside(opened(stored))
    assert tables(new) == tables(stored)
    new.dispose()


def opened(engine: Engine) -> SqlLedger:
    ledger = SqlLedger(engine, TASK, "try-2", is_global=is_global, clock=lambda: NOW + 60)
    ledger.open(TaskTry(2, 2, 2))
    return ledger


def test_what_a_stored_ledger_says_is_known(stored: Engine) -> None:
    ledger = opened(stored)
    unkeyed = key_of(message("447700900104"), STREAM)
    assert dict(ledger.load()) == {
        keyed(1): Entry(Outcome.ACCEPTED, "m1", "o1", attempt=1, time=NOW),
        keyed(2): Entry(Outcome.REJECTED, code=131026, reason="no", attempt=1, time=NOW),
        keyed(3): INTERRUPTED,
        unkeyed: Entry(Outcome.UNSENT, reason="later", attempt=1, time=NOW),
    }
    assert ledger.commit([unkeyed], []) == {}


def test_stored_places_count(stored: Engine) -> None:
    slots = FrequencyCapStore.beside(opened(stored))
    cap = FrequencyCap(1, days=7)
    wanted = [(person_of(f"44770090010{place}"), bytes([place] * 12)) for place in (1, 2, 3)]
    assert claim(slots, cap, wanted) == {wanted[0][1], wanted[2][1]}


def test_stored_slots_are_kept_and_given_back(stored: Engine) -> None:
    """Their table has another primary key, and stays as it is."""
    once, (one, two, three) = FrequencyCap(1, days=7), [person_of(f"44770090010{place}") for place in (1, 2, 3)]
    slots = FrequencyCapStore.beside(opened(stored))
    assert sa.inspect(stored).get_pk_constraint("cirrus_cap_places")["constrained_columns"] == ["key", "scope"]
    for _ in range(2):
        wanted = [(one, keyed(1)), (one, keyed(4)), (two, keyed(5)), (three, keyed(6))]
        assert claim(slots, once, wanted) == {keyed(4), keyed(6)}
    release(slots, [(one, keyed(1)), (two, keyed(5))])
    assert claim(slots, once, [(one, keyed(4)), (two, keyed(7)), (two, keyed(8))]) == {keyed(4), keyed(8)}


def test_a_stored_budget_goes_on(stored: Engine) -> None:
    """Its table has another primary key, and nobody kept how many people there are."""
    two, (one, other, third) = DailyBudget(2), [person_of(f"44770090010{place}") for place in (1, 2, 3)]
    people = DailyBudgetStore.beside(opened(stored))
    key = sa.inspect(stored).get_pk_constraint("cirrus_budget_places")["constrained_columns"]
    assert key == ["key", "scope", "budget"]
    for _ in range(2):
        wanted = [(one, keyed(1)), (other, keyed(5)), (third, keyed(6))]
        assert spend(people, two, "shop", wanted).keys() == {keyed(6)}
    # The first was an earlier try's.
    unspend(people, [(one, keyed(1)), (other, keyed(5))])
    assert spend(people, two, "shop", [(third, keyed(6)), (other, keyed(5))]).keys() == {keyed(5)}


def test_a_stored_answer_is_not_asked_for_again(stored: Engine) -> None:
    store = CheckStore(stored, clock=lambda: NOW + 60)
    ask: Any = None
    assert store.once(STREAM, "447700900101", ask, owner="other", max_age=1e6, budget=50)


def test_a_stored_window_is_open_no_more(stored: Engine) -> None:
    assert SqlAlertDedupe(stored).claim("window", 4e9) is None
    again = SqlAlertDedupe(stored).claim("window", 1)
    assert again is not None
    assert again.held_back == 1


def test_a_person_is_erased_from_what_is_stored(stored: Engine) -> None:
    found = {"messages": 1, "slots": 1, "budget": 1, "checks": 1, "unattributed_messages": 0}
    assert erase(stored, "447700900101") == found
