from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import Outcome, Result
from airflow_provider_cirrus.delivery.ledger import LedgerError, TaskStateLedger, key_of

STREAM = "hSandboxStream"


class Store(dict[str, Any]):
    """A state store that keeps what Airflow's keeps: JSON under short ASCII keys."""

    def set(self, key: str, value: Any) -> None:
        assert key.isascii()
        assert value is not None
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)


def message(to: str = "447700900123", **rest: Any) -> Message:
    template = {"name": "order_update", "language": "en", "body": rest.pop("body", ["Ann"])}
    return Message.build(to, template, **rest)


def accepted(number: str) -> Result:
    return Result(recipient=number, outcome=Outcome.ACCEPTED, message_id="m1", object_id="o1")


def test_a_key_is_stable_and_holds_no_number() -> None:
    # Written out, as a ledger of today must be found again by the versions to come.
    assert key_of(message(), STREAM) == "c87756b8e1770d838cbf2220821b5b77"
    assert "7700900123" not in key_of(message(), STREAM)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(message("447700900124"), id="recipient"),
        pytest.param(message(body=["Ben"]), id="parameter"),
        pytest.param(message(message_key="order-1"), id="message-key"),
    ],
)
def test_what_differs_has_another_key(other: Message) -> None:
    assert key_of(other, STREAM) != key_of(message(), STREAM)


def test_another_stream_is_another_message() -> None:
    assert key_of(message(), STREAM) != key_of(message(), "another")


def test_a_stream_has_one_key_however_it_was_pasted() -> None:
    assert key_of(message(), "hStream%3d%3d") == key_of(message(), "hStream==")


def test_two_spellings_of_one_account_share_a_key_and_so_does_another_time() -> None:
    assert key_of(message("5215512345678"), STREAM) == key_of(message("525512345678"), STREAM)
    assert key_of(message(schedule=1906545600), STREAM) == key_of(message(), STREAM)


def test_what_was_recorded_is_there_for_the_next_try() -> None:
    store = Store()
    ledger = TaskStateLedger(store)
    ledger.load()
    ledger.intend(0, ["k1", "k2"])
    ledger.record(0, ["k1", "k2"], [accepted("1"), Result(recipient="2", outcome=Outcome.REJECTED, code=131026)])
    known = TaskStateLedger(store).load()
    assert (known["k1"].outcome, known["k1"].message_id, known["k1"].object_id) == (Outcome.ACCEPTED, "m1", "o1")
    assert (known["k2"].outcome, known["k2"].code) == (Outcome.REJECTED, 131026)


def test_an_intent_without_an_outcome_is_unknown() -> None:
    store = Store()
    ledger = TaskStateLedger(store)
    ledger.load()
    ledger.intend(0, ["k1"])
    known = TaskStateLedger(store).load()
    assert known["k1"].outcome is Outcome.UNKNOWN
    assert "cut off" in (known["k1"].reason or "")


def test_a_later_try_writes_behind_the_earlier_ones_and_overrules_them() -> None:
    store = Store()
    for outcome in (Outcome.UNSENT, Outcome.ACCEPTED):
        ledger = TaskStateLedger(store)
        ledger.load()
        ledger.intend(0, ["k1"])
        ledger.record(0, ["k1"], [Result(recipient="1", outcome=outcome)])
    assert len(store) == 2
    assert TaskStateLedger(store).load()["k1"].outcome is Outcome.ACCEPTED


def test_forgetting_leaves_nothing() -> None:
    store = Store()
    ledger = TaskStateLedger(store)
    ledger.load()
    for batch in range(3):
        ledger.intend(batch, [f"k{batch}"])
    TaskStateLedger(store).forget()
    assert store == {}


def test_a_format_of_the_future_is_not_guessed_at() -> None:
    store = Store()
    store.set("cirrus_sent_0", {"v": 2, "messages": []})
    with pytest.raises(LedgerError, match="does not read"):
        TaskStateLedger(store).load()


def test_no_number_is_stored() -> None:
    store = Store()
    ledger = TaskStateLedger(store)
    ledger.load()
    ledger.intend(0, [key_of(message(), STREAM)])
    ledger.record(0, [key_of(message(), STREAM)], [accepted("447700900123")])
    assert "7700900123" not in json.dumps(store)
