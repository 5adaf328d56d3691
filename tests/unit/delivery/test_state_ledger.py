from __future__ import annotations

import json
import time
from collections.abc import Mapping

import pytest

from airflow_provider_cirrus.api.results import Outcome
from airflow_provider_cirrus.delivery.ledger.base import Entry, LedgerError
from airflow_provider_cirrus.delivery.ledger.task_state import TaskStateLedger
from tests.unit.delivery.stores import Store

YES = Entry(Outcome.ACCEPTED, "m1", "o1", None, None, 1, 1906545600.5)
NO = Entry(Outcome.REJECTED, None, None, 131026, "not there", 1, 1906545600.5)
NOT_YET = Entry(Outcome.UNSENT, reason="slow down", attempt=1, time=1.0)


def key(number: int) -> bytes:
    return number.to_bytes(12, "big")


def loaded(store: Store) -> Mapping[bytes, Entry]:
    return dict(TaskStateLedger(store).load())


def opened(store: Store) -> TaskStateLedger:
    ledger = TaskStateLedger(store)
    for _ in ledger.load():
        pass
    return ledger


def test_what_was_recorded_is_there_for_the_next_try() -> None:
    store = Store()
    ledger = opened(store)
    ledger.commit([key(1), key(2), key(3)], [])
    ledger.commit([], [(key(2), NO), (key(1), YES)])
    known = loaded(store)
    assert known[key(1)] == YES
    assert known[key(2)] == NO
    assert known[key(3)].outcome is Outcome.UNKNOWN
    assert "cut off" in (known[key(3)].reason or "")


def test_a_later_try_writes_behind_the_earlier_ones_and_overrules_them() -> None:
    store = Store()
    for entry in (NOT_YET, YES):
        ledger = opened(store)
        ledger.commit([key(1)], [])
        ledger.commit([], [(key(1), entry)])
    assert loaded(store)[key(1)] == YES


def test_a_message_may_be_tried_again_within_a_try() -> None:
    store = Store()
    ledger = opened(store)
    ledger.commit([key(1)], [])
    ledger.commit([key(2)], [(key(1), NOT_YET)])
    ledger.commit([key(1)], [])
    assert loaded(store)[key(1)].outcome is Outcome.UNKNOWN
    ledger.commit([], [(key(1), YES), (key(2), YES)])
    assert loaded(store) == {key(1): YES, key(2): YES}


def test_many_messages_fill_several_segments_below_airflows_limit() -> None:
    store = Store()
    ledger = opened(store)
    for start in range(0, 10_000, 20):
        keys = [key(number) for number in range(start, start + 20)]
        ledger.commit(keys, [])
        ledger.commit([], [(one, YES) for one in keys])
    assert len(store) > 5
    assert max(len(json.dumps(value)) for value in store.values()) < 64_000
    known = loaded(store)
    assert len(known) == 10_000
    assert set(known.values()) == {YES}


def test_forgetting_leaves_nothing() -> None:
    store = Store()
    ledger = opened(store)
    for start in range(0, 8000, 20):
        ledger.commit([key(number) for number in range(start, start + 20)], [])
    TaskStateLedger(store).forget()
    assert store == {}


def test_nothing_is_written_where_there_is_nothing_to_say() -> None:
    store = Store()
    opened(store).commit([], [])
    assert store == {}


@pytest.mark.parametrize("value", [{"v": 2, "log": []}, ["a"], "text"])
def test_a_format_of_the_future_is_not_guessed_at(value: object) -> None:
    store = Store()
    store.set("cirrus_sent_0", value)
    with pytest.raises(LedgerError, match="does not read"):
        loaded(store)


def test_a_ledger_of_the_first_version_can_be_read() -> None:
    # Written out, as the versions to come must still read it.
    store = Store()
    store.set(
        "cirrus_sent_0",
        {
            "v": 1,
            "log": [
                {"i": "AAAAAAAAAAAAAAABAAAAAAAAAAAAAAAC"},
                {"n": 1, "t": 1906545600.5, "o": [[1, "r", None, None, 131026, "not there"], [0, "a", "m1", "o1"]]},
            ],
        },
    )
    assert loaded(store) == {key(1): YES, key(2): NO}


def test_the_clock_of_an_outcome_is_kept() -> None:
    store, now = Store(), time.time()
    ledger = opened(store)
    ledger.commit([key(1)], [])
    ledger.commit([], [(key(1), Entry(Outcome.ACCEPTED, "m", attempt=3, time=now))])
    assert loaded(store)[key(1)].time == pytest.approx(now, abs=0.1)
    assert loaded(store)[key(1)].attempt == 3
