from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from threading import Event
from typing import Any

import pytest

from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import Outcome, Result, SendResult
from airflow_provider_cirrus.delivery.dispatch import Dispatcher, batches
from airflow_provider_cirrus.delivery.ledger import TaskStateLedger
from airflow_provider_cirrus.sandbox import Sandbox
from tests.unit.delivery.test_ledger import Store


def message(to: str, **rest: Any) -> Message:
    return Message.build(to, {"name": "order_update", "language": "en"}, **rest)


def people(count: int, start: int = 0) -> list[Message]:
    """Messages to that many numbers, none of which the sandbox treats specially."""
    numbers = (f"4477009{number:05d}" for number in range(start, 99999) if number % 100 < 90)
    return [message(next(numbers)) for _ in range(count)]


@pytest.fixture
def client(sandbox: Sandbox) -> Any:
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url, attempts=1, timeout=5) as client:
        yield client


def dispatcher(client: CirrusClient, store: Store | None = None, **options: Any) -> Dispatcher:
    ledger = None if store is None else TaskStateLedger(store)
    options = {"messages_per_second": 100_000, **options}
    return Dispatcher(client.send, client.endpoint.stream_id, ledger, **options)


def test_45_messages_leave_in_three_batches_and_keep_their_order(client: CirrusClient, sandbox: Sandbox) -> None:
    messages = people(45)
    delivery = dispatcher(client).run(messages)
    assert [len(request["json"]["data"]) for request in sandbox.requests] == [20, 20, 5]
    assert [result.recipient for result in delivery.results] == [m.to for m in messages]
    assert delivery.counts["accepted"] == 45
    assert sum(delivery.counts.values()) == 45


def test_the_same_message_twice_is_sent_once(client: CirrusClient, sandbox: Sandbox) -> None:
    delivery = dispatcher(client).run([message("5215512345678"), message("525512345678")])
    assert [result.outcome for result in delivery.results] == [Outcome.ACCEPTED, Outcome.DUPLICATE]
    assert [m["recipient"] for m in sandbox.messages] == ["5215512345678"], "it leaves as it came first"


def test_two_messages_to_one_number_do_not_share_a_request(client: CirrusClient, sandbox: Sandbox) -> None:
    two = [message("447700900123", message_key="a"), message("447700900123", message_key="b")]
    delivery = dispatcher(client).run(two)
    assert delivery.counts["accepted"] == 2
    assert [len(request["json"]["data"]) for request in sandbox.requests] == [1, 1]


def test_batches_lose_nobody() -> None:
    messages = [message("447700900123", message_key=str(n)) for n in range(3)] + people(50)
    made = list(batches(range(53), messages))
    assert sorted(place for batch in made for place in batch) == list(range(53))
    assert max(map(len, made)) == 20


def test_the_second_run_sends_nothing_again(client: CirrusClient, sandbox: Sandbox) -> None:
    store, messages = Store(), people(30)
    first = dispatcher(client, store).run(messages)
    second = dispatcher(client, store).run(messages)
    assert len(sandbox.messages) == 30
    assert [r.message_id for r in second.results] == [r.message_id for r in first.results]
    assert second.counts == first.counts


def test_an_audience_that_grew_gets_only_what_is_new(client: CirrusClient, sandbox: Sandbox) -> None:
    store, messages = Store(), people(30)
    dispatcher(client, store).run(messages)
    grown = [*messages[:7], message("447700988001"), *messages[8:]]
    delivery = dispatcher(client, store).run(grown)
    assert delivery.counts["accepted"] == 30
    assert len(sandbox.messages) == 31
    assert sandbox.messages[-1]["recipient"] == "447700988001"


@pytest.mark.parametrize(
    ("fault", "skip", "first", "then"),
    [
        pytest.param("unauthorized", 1, {"accepted": 20, "unsent": 40}, {"accepted": 60}, id="401-midway"),
        pytest.param("rate_limited", 1, {"accepted": 20, "unsent": 40}, {"accepted": 60}, id="429-midway"),
        pytest.param("not_found", 0, {"unsent": 60}, {"accepted": 60}, id="404"),
        pytest.param("drop_before", 1, {"accepted": 40, "unknown": 20}, {"accepted": 40, "unknown": 20}, id="reset"),
        pytest.param(
            "server_error_after", 0, {"accepted": 40, "unknown": 20}, {"accepted": 40, "unknown": 20}, id="500-after"
        ),
        pytest.param("garbage", 2, {"accepted": 40, "unknown": 20}, {"accepted": 40, "unknown": 20}, id="garbage"),
    ],
)
def test_after_a_fault_the_next_run_sends_what_certainly_was_not_sent(
    client: CirrusClient, sandbox: Sandbox, fault: str, skip: int, first: dict[str, int], then: dict[str, int]
) -> None:
    store, messages = Store(), people(60)
    sandbox.add_fault(fault, on="send", skip=skip)
    found = dispatcher(client, store).run(messages)
    assert {k: v for k, v in found.counts.items() if v} == first
    again = dispatcher(client, store).run(messages)
    assert {k: v for k, v in again.counts.items() if v} == then
    numbers = [m["recipient"] for m in sandbox.messages]
    assert len(numbers) == len(set(numbers)), "somebody was messaged twice"


def test_a_throttled_recipient_is_unsent_and_goes_out_next_time(client: CirrusClient, sandbox: Sandbox) -> None:
    store, messages = Store(), [message("447700900123"), message("447700900193")]
    assert dispatcher(client, store).run(messages).counts["unsent"] == 1
    assert dispatcher(client, store).run(messages).counts["accepted"] == 2
    assert len(sandbox.messages) == 2


def test_a_server_that_keeps_failing_is_given_up_on(client: CirrusClient, sandbox: Sandbox) -> None:
    sandbox.add_fault("server_error_before", times=None)
    delivery = dispatcher(client).run(people(200))
    assert (delivery.counts["unknown"], delivery.counts["unsent"]) == (60, 140)
    assert len(sandbox.requests) == 3


def test_an_account_that_is_locked_stops_the_run(client: CirrusClient, sandbox: Sandbox) -> None:
    delivery = dispatcher(client).run([message("447700900196"), *people(40)])
    assert len(sandbox.requests) == 1
    assert (delivery.counts["rejected"], delivery.counts["accepted"], delivery.counts["unsent"]) == (1, 19, 21)


def test_what_cannot_be_recorded_is_not_sent(client: CirrusClient, sandbox: Sandbox) -> None:
    class Broken(Store):
        def set(self, key: str, value: Any) -> None:
            if len(self) == 1:
                raise BrokenPipeError("the supervisor is gone")
            super().set(key, value)

    with pytest.raises(BrokenPipeError):
        dispatcher(client, Broken()).run(people(60))
    assert len(sandbox.messages) == 20


def test_an_intent_is_recorded_before_the_request_leaves() -> None:
    store = Store()
    seen: list[Any] = []

    def send(messages: Sequence[Message]) -> SendResult:
        seen.append(store["cirrus_sent_0"]["messages"])
        return SendResult(tuple(Result(recipient=m.to, outcome=Outcome.ACCEPTED) for m in messages))

    Dispatcher(send, "stream", TaskStateLedger(store), messages_per_second=1000).run(people(1))
    assert [outcome for _, outcome in seen[0]] == [""]


def test_a_limit_below_a_batch_makes_smaller_batches() -> None:
    with Sandbox(messages_per_second=5) as slow:
        client = CirrusClient(slow.token, slow.stream_id, base_url=slow.base_url, attempts=1)
        delivery = dispatcher(client, messages_per_second=5).run(people(7))
    assert delivery.counts["accepted"] == 7


def test_a_stop_lets_no_further_batch_leave(sandbox: Sandbox, client: CirrusClient) -> None:
    stop = Event()

    def send(messages: Sequence[Message]) -> SendResult:
        stop.set()
        return client.send(messages)

    delivery = Dispatcher(send, "s", messages_per_second=1000, stop=stop).run(people(60))
    assert (delivery.counts["accepted"], delivery.counts["unsent"]) == (20, 40)


def test_the_pace_keeps_to_the_limit(sandbox: Sandbox, client: CirrusClient) -> None:
    starts: list[float] = []

    def send(messages: Sequence[Message]) -> SendResult:
        starts.append(time.monotonic())
        return client.send(messages)

    Dispatcher(send, "s", messages_per_second=100).run(people(60))
    # 20 messages at 100 a second are due every 0.2 s; never sooner, however fast the server is.
    assert all(later - earlier >= 0.2 for earlier, later in pairwise(starts))
