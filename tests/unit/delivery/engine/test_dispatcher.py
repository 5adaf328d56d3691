from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import Outcome, SendResult
from airflow_provider_cirrus.delivery.audience.rows import RejectedRow
from airflow_provider_cirrus.delivery.engine import machine
from airflow_provider_cirrus.delivery.engine.dispatcher import Dispatcher
from airflow_provider_cirrus.delivery.engine.result import DeliveryResult, MessageOutcome
from airflow_provider_cirrus.delivery.errors import LedgerSuperseded
from airflow_provider_cirrus.delivery.ledger.base import key_of
from airflow_provider_cirrus.delivery.rules.policy import Policy
from airflow_provider_cirrus.sandbox import Sandbox
from tests.unit.delivery.stores import Store, left_in, next_try


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


def run(client: Any, messages: Sequence[Message], store: Store | None = None, **options: Any) -> DeliveryResult:
    """Send one batch at a time, unless told otherwise, so that a test knows what came first."""
    ledger = None if store is None else next_try(store)
    options = {"messages_per_second": 100_000, "concurrency": 1, "pause": 0.01, **options}
    made = Dispatcher(options.pop("send", client.send), client.endpoint.stream_id, ledger, **options)
    return made.run(enumerate(messages), len(messages))


def found(delivery: DeliveryResult) -> dict[str, int]:
    return {outcome: count for outcome, count in delivery.counts.items() if count}


def numbers(sandbox: Sandbox) -> list[str]:
    return [message["recipient"] for message in sandbox.messages]


def test_45_messages_leave_in_three_batches_and_keep_their_order(client: CirrusClient, sandbox: Sandbox) -> None:
    messages = people(45)
    delivery = run(client, messages)
    assert [len(request["json"]["data"]) for request in sandbox.requests] == [20, 20, 5]
    assert [result.recipient for result in delivery.results] == [m.to for m in messages]
    assert found(delivery) == {"accepted": 45}


def test_requests_are_in_flight_together(client: CirrusClient, sandbox: Sandbox) -> None:
    sandbox.add_fault("latency", on="send", delay=0.3, times=None)
    delivery = run(client, people(160), concurrency=8)
    assert found(delivery) == {"accepted": 160}
    assert delivery.seconds < 8 * 0.3, "one after the other"


def test_the_same_message_twice_is_sent_once(client: CirrusClient, sandbox: Sandbox) -> None:
    delivery = run(client, [message("5215512345678"), message("525512345678")])
    assert [result.outcome for result in delivery.results] == [Outcome.ACCEPTED, Outcome.DUPLICATE]
    assert numbers(sandbox) == ["5215512345678"], "it leaves as it came first"


def test_two_messages_to_one_number_do_not_share_a_request(client: CirrusClient, sandbox: Sandbox) -> None:
    two = [message("447700900123", message_key="a"), message("447700900123", message_key="b")]
    assert found(run(client, two)) == {"accepted": 2}
    assert [len(request["json"]["data"]) for request in sandbox.requests] == [1, 1]


def test_a_recipient_of_many_messages_holds_up_nobody(client: CirrusClient, sandbox: Sandbox) -> None:
    mixed = [message("447700900123", message_key=str(n)) for n in range(30)] + people(50)
    assert found(run(client, mixed)) == {"accepted": 80}
    assert len(sandbox.requests) <= 32


def test_beyond_a_burst_a_recipient_gets_a_message_in_six_seconds(
    client: CirrusClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_cirrus.delivery.engine.pair_limit.SPACING", 0.3)
    many = [message("447700900123", message_key=str(n)) for n in range(48)]
    begun = time.time()
    delivery = run(client, many)
    assert found(delivery) == {"accepted": 48}
    # From the beginning, as each may be held up on its way.
    beyond = sorted(request["time"] - begun for request in sandbox.requests)[45:]
    assert all(at >= 0.3 * place for place, at in enumerate(beyond))


def test_the_second_run_sends_nothing_again(client: CirrusClient, sandbox: Sandbox) -> None:
    store, messages = Store(), people(30)
    first = run(client, messages, store)
    second = run(client, messages, store)
    assert len(sandbox.messages) == 30
    assert [r.message_id for r in second.results] == [r.message_id for r in first.results]
    assert second.counts == first.counts


def test_an_audience_changed_between_tries_sends_exactly_the_new_ones(client: CirrusClient, sandbox: Sandbox) -> None:
    store, messages = Store(), people(60)
    run(client, messages, store)
    changed = [*messages[:7], message("447700988001"), *messages[8:]]
    assert found(run(client, changed, store)) == {"accepted": 60}
    assert numbers(sandbox)[60:] == ["447700988001"]


def test_rows_that_are_no_messages_are_counted_and_do_not_stop_the_rest(client: CirrusClient, sandbox: Sandbox) -> None:
    rows = [(0, message("447700900101")), (1, RejectedRow(1, "", "row 2: to is empty")), (2, message("447700900102"))]
    delivery = Dispatcher(client.send, "s", messages_per_second=1000).run(rows)
    assert found(delivery) == {"accepted": 2, "rejected": 1}
    assert delivery.results[1].reason == "row 2: to is empty"


TWICE = {"accepted": 60}


@pytest.mark.parametrize(
    ("fault", "options", "first", "then"),
    [
        pytest.param("unauthorized", {"skip": 1}, {"accepted": 20, "unsent": 40}, TWICE, id="401-midway"),
        pytest.param("not_found", {}, {"unsent": 60}, TWICE, id="404"),
        pytest.param("rate_limited", {"skip": 1}, TWICE, TWICE, id="429-without-retry-after"),
        pytest.param("rate_limited_retry_after", {"skip": 1}, TWICE, TWICE, id="429-seconds"),
        pytest.param("rate_limited_retry_date", {"skip": 1}, TWICE, TWICE, id="429-date"),
        pytest.param(
            "rate_limited", {"skip": 1, "retry_after": 600}, {"accepted": 20, "unsent": 40}, TWICE, id="429-much-later"
        ),
        pytest.param("drop_before", {"skip": 1}, {"accepted": 40, "unknown": 20}, None, id="reset-before"),
        pytest.param("drop_after", {"skip": 1}, {"accepted": 40, "unknown": 20}, None, id="reset-after"),
        pytest.param("hang_after", {"skip": 1}, {"accepted": 40, "unknown": 20}, None, id="read-timeout-after"),
        pytest.param("server_error_before", {}, {"accepted": 40, "unknown": 20}, None, id="500-before"),
        pytest.param("server_error_after", {}, {"accepted": 40, "unknown": 20}, None, id="500-after"),
        pytest.param("bad_gateway_html", {}, {"accepted": 40, "unknown": 20}, None, id="502-html"),
        pytest.param("garbage", {"skip": 2}, {"accepted": 40, "unknown": 20}, None, id="200-garbage"),
        pytest.param("missing_entry", {}, {"accepted": 59, "unknown": 1}, None, id="entry-missing"),
        pytest.param(
            "server_error_before",
            {"status": 400, "body": {"status": "400", "description": "no", "data": None}},
            TWICE,
            None,
            id="400-without-list-once",
        ),
    ],
)
def test_after_a_fault_every_count_is_right_and_nobody_gets_two(
    sandbox: Sandbox,
    fault: str,
    options: dict[str, Any],
    first: dict[str, int],
    then: dict[str, int] | None,
) -> None:
    store, messages = Store(), people(60)
    sandbox.add_fault(fault, **{"on": "send", **options})
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url, attempts=1, timeout=1) as client:
        assert found(run(client, messages, store)) == first
        assert found(run(client, messages, store)) == (then or first)
    arrived = numbers(sandbox)
    assert len(arrived) == len(set(arrived)), "somebody was messaged twice"


def test_at_least_once_repeats_what_may_have_been_sent(client: CirrusClient, sandbox: Sandbox) -> None:
    store, messages = Store(), people(40)
    sandbox.add_fault("drop_before", skip=1)
    assert found(run(client, messages, store, repeat_unknown=True)) == {"accepted": 20, "unknown": 20}
    assert found(run(client, messages, store, repeat_unknown=True)) == {"accepted": 40}


def test_a_throttled_recipient_is_tried_again_in_the_same_run(client: CirrusClient, sandbox: Sandbox) -> None:
    messages = [message("447700900123"), message("447700900193")]
    assert found(run(client, messages, Store())) == {"accepted": 2}
    assert [len(request["json"]["data"]) for request in sandbox.requests] == [2, 1]


def test_a_recipient_that_stays_throttled_is_unsent(client: CirrusClient, sandbox: Sandbox) -> None:
    sandbox.add_fault("refused", failed="(#130429) too fast", recipient="447700900123", times=None)
    store = Store()
    assert found(run(client, [message("447700900123")], store)) == {"unsent": 1}
    assert len(sandbox.requests) == 6
    sandbox.clear_faults()
    assert found(run(client, [message("447700900123")], store)) == {"accepted": 1}


def test_a_connection_refused_for_a_moment_is_tried_again(sandbox: Sandbox) -> None:
    with Sandbox() as late, CirrusClient(late.token, late.stream_id, base_url=late.base_url, attempts=1) as client:
        late.stop()
        threading.Timer(0.5, late.start).start()
        assert found(run(client, people(40), Store(), pause=0.3)) == {"accepted": 40}
        assert len(late.messages) == 40


def test_a_connection_that_stays_refused_leaves_all_unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_PATIENCE_CONNECTING", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with CirrusClient("token", "stream-of-nobody", base_url=f"http://127.0.0.1:{port}", attempts=1) as client:
        delivery = run(client, people(200), Store(), pause=0.2)
    assert found(delivery) == {"unsent": 200}
    assert "refused the connection" in str(delivery.error)


def test_a_server_that_keeps_failing_is_given_up_on(client: CirrusClient, sandbox: Sandbox) -> None:
    sandbox.add_fault("server_error_before", times=None)
    assert found(run(client, people(200))) == {"unknown": 60, "unsent": 140}
    assert len(sandbox.requests) == 3


def test_an_account_that_is_locked_stops_the_run(client: CirrusClient, sandbox: Sandbox) -> None:
    delivery = run(client, [message("447700900196"), *people(40)])
    assert found(delivery) == {"rejected": 1, "accepted": 19, "unsent": 21}
    assert len(sandbox.requests) == 1


def test_what_cannot_be_recorded_is_not_sent(client: CirrusClient, sandbox: Sandbox) -> None:
    class Broken(Store):
        writes = 0

        def set(self, key: str, value: Any, **options: Any) -> None:
            self.writes += 1
            if self.writes > 2:
                raise BrokenPipeError("the supervisor is gone")
            super().set(key, value, **options)

    store = Broken()
    with pytest.raises(LedgerSuperseded, match="supervises it is gone"):
        run(client, people(200), store)
    intended = left_in(store)
    sent = {key_of(message(one["recipient"]), client.endpoint.stream_id) for one in sandbox.messages}
    assert sent
    assert sent <= intended.keys()


def test_the_first_ledger_error_stops_all_threads(client: CirrusClient, sandbox: Sandbox) -> None:
    class Broken(Store):
        broken = False

        def set(self, key: str, value: Any, **options: Any) -> None:
            if self.broken:
                raise BrokenPipeError("the supervisor is gone")
            super().set(key, value, **options)

    store = Broken()

    def send(messages: Sequence[Message]) -> SendResult:
        store.broken = True
        return client.send(messages)

    begun = time.monotonic()
    with pytest.raises(LedgerSuperseded, match="supervises it is gone"):
        run(client, people(2000), store, send=send, concurrency=8)
    assert time.monotonic() - begun < 10, "it waited for what was not in flight"
    assert len(sandbox.requests) <= len(left_in(store)) / 20


def test_an_intent_is_durable_before_its_request_leaves(client: CirrusClient) -> None:
    store = Store()
    durable: list[bool] = []

    def send(messages: Sequence[Message]) -> SendResult:
        known = left_in(store)
        durable.append(all(key_of(one, client.endpoint.stream_id) in known for one in messages))
        return client.send(messages)

    run(client, people(200), store, send=send, concurrency=8)
    assert durable == [True] * 10


def test_an_error_of_the_caps_ends_the_run(client: CirrusClient) -> None:
    class Failing(Policy):
        def claims(self, intents: object, persons: object) -> None:
            raise OSError("the caps are gone")

    raised: list[BaseException] = []

    def work() -> None:
        try:
            run(client, people(400), Store(), concurrency=4, policy=Failing())
        except OSError as error:
            raised.append(error)

    # In a thread, so that a run that never ends fails.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20)
    assert [str(error) for error in raised] == ["the caps are gone"]


def test_few_intents_wait_for_a_slow_server(client: CirrusClient, sandbox: Sandbox) -> None:
    """Whatever has an intent and no outcome stays unknown, should the process be killed."""
    store = Store()
    undecided: list[int] = []
    # Long enough for all to be intended that may be: the limit lets one leave every 36 ms.
    sandbox.add_fault("latency", on="send", delay=0.4, times=None)

    def send(messages: Sequence[Message]) -> SendResult:
        sent = client.send(messages)
        outcomes = [entry.outcome for entry in left_in(store).values()]
        undecided.append(outcomes.count(Outcome.UNKNOWN))
        return sent

    run(client, people(240), store, send=send, concurrency=2, messages_per_second=500)
    # Two in flight and one that is armed meanwhile, and what leaves during one write.
    assert max(undecided) <= 4 * 20


def test_every_outcome_is_told_once(client: CirrusClient, sandbox: Sandbox) -> None:
    told: list[int] = []
    lock = threading.Lock()

    def listener(settled: Sequence[MessageOutcome]) -> None:
        with lock:
            told.extend(one.index for one in settled)

    sandbox.add_fault("rate_limited", skip=2)
    run(client, [*people(200), people(1)[0]], Store(), listener=listener, concurrency=4)
    assert sorted(told) == list(range(201))


def test_an_error_of_the_listener_ends_the_run(client: CirrusClient) -> None:
    def listener(settled: Sequence[MessageOutcome]) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run(client, people(200), Store(), listener=listener)


def test_a_limit_below_a_batch_makes_smaller_batches() -> None:
    with Sandbox(messages_per_second=5) as slow:
        client = CirrusClient(slow.token, slow.stream_id, base_url=slow.base_url, attempts=1)
        delivery = run(client, people(7), messages_per_second=5)
        assert found(delivery) == {"accepted": 7}
        assert {request["status"] for request in slow.requests} == {200}


def test_a_stop_lets_no_further_batch_leave(client: CirrusClient, sandbox: Sandbox) -> None:
    stop, store = threading.Event(), Store()

    def send(messages: Sequence[Message]) -> SendResult:
        stop.set()
        return client.send(messages)

    delivery = run(client, people(60), store, send=send, stop=stop)
    assert delivery.counts["accepted"] == 20 == len(sandbox.messages)
    assert found(run(client, people(60), store)) == {"accepted": 60}


class SeenBySendersAlone(threading.Event):
    """As when neither the clock nor the reading thread had a moment to look since it was set."""

    def is_set(self) -> bool:
        return super().is_set() and threading.current_thread().name.startswith("cirrus-send")


def test_a_stop_that_nobody_else_has_seen_lets_no_further_batch_leave(client: CirrusClient, sandbox: Sandbox) -> None:
    stop = SeenBySendersAlone()

    def send(batch: Sequence[Message]) -> SendResult:
        stop.set()
        return client.send(batch)

    delivery = run(client, people(60), Store(), send=send, stop=stop)
    assert found(delivery) == {"accepted": 20, "unsent": 40}
    assert len(sandbox.messages) == 20


def test_an_exception_in_the_reading_thread_waits_for_what_is_in_flight(client: CirrusClient, sandbox: Sandbox) -> None:
    """As when Airflow's execution_timeout interrupts the task."""
    # More than are looked up at once: the first of them are on their way while the others are read.
    store, messages = Store(), people(540)
    sandbox.add_fault("latency", on="send", delay=0.3, times=None)
    has_left = threading.Event()

    def send(batch: Sequence[Message]) -> SendResult:
        has_left.set()
        return client.send(batch)

    def interrupted() -> Any:
        yield from enumerate(messages)
        assert has_left.wait(10)
        raise TimeoutError("the task ran out of time")

    made = Dispatcher(send, client.endpoint.stream_id, next_try(store), messages_per_second=10_000)
    with pytest.raises(TimeoutError):
        made.run(interrupted())
    sent = {key_of(message(one["recipient"]), client.endpoint.stream_id) for one in sandbox.messages}
    known = left_in(store)
    assert sent
    assert {key for key, entry in known.items() if entry.outcome is Outcome.ACCEPTED} == sent
    assert {entry.outcome for entry in known.values()} <= {Outcome.ACCEPTED, Outcome.UNSENT}


def test_the_limit_holds_at_the_server(client: CirrusClient, sandbox: Sandbox) -> None:
    sandbox.add_fault("latency", on="send", delay=0.4, times=None)
    run(client, people(300), messages_per_second=100, concurrency=16, store=Store())
    times = [request["time"] for request in sandbox.requests]
    assert all(sum(start <= at < start + 1 for at in times) <= 5 for start in times)


@pytest.fixture
def own_sandbox() -> Iterator[Sandbox]:
    """One that no later test shares: what hangs in it arrives when its test is long over."""
    with Sandbox() as own:
        yield own


def test_a_stop_from_outside_ends_a_run_whose_requests_hang_within_four_seconds(own_sandbox: Sandbox) -> None:
    """As when Airflow terminates the task, which it kills five seconds later."""
    sandbox = own_sandbox
    sandbox.add_fault("latency", on="send", delay=60, times=None)
    stop, store, messages = threading.Event(), Store(), people(400)
    told: list[MessageOutcome] = []
    ended: list[DeliveryResult] = []
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url, attempts=1, timeout=90) as client:

        def work() -> None:
            ended.append(run(client, messages, store, stop=stop, concurrency=4, listener=told.extend))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while len(left_in(store)) < 20 and time.monotonic() < deadline:
            threading.Event().wait(0.02)
        begun = time.monotonic()
        stop.set()
        thread.join(20)
        seconds = time.monotonic() - begun
        assert not thread.is_alive()
        assert seconds < 4
        kept = left_in(store)
        (delivery,) = ended
    assert delivery.counts["unknown"] in (20, 40, 60), "what was in flight, and no more"
    assert sum(delivery.counts.values()) == len(told) == len({one.index for one in told})
    unknown = {one.key for one in told if one.entry.outcome is Outcome.UNKNOWN}
    assert {key for key, entry in kept.items() if entry.outcome is Outcome.UNKNOWN} == unknown


def test_what_answers_in_time_after_a_stop_is_recorded(sandbox: Sandbox) -> None:
    sandbox.add_fault("latency", on="send", delay=1, times=None)
    stop, store = threading.Event(), Store()

    def send(messages: Sequence[Message]) -> SendResult:
        stop.set()
        return client.send(messages)

    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url, attempts=1, timeout=90) as client:
        delivery = run(client, people(60), store, stop=stop, send=send)
    assert delivery.counts["accepted"] == 20 == len(sandbox.messages)
    assert [entry.outcome for entry in left_in(store).values()].count(Outcome.ACCEPTED) == 20


def test_a_400_without_a_list_costs_only_the_one_who_is_wrong(client: CirrusClient, sandbox: Sandbox) -> None:
    wrong = {message("447700900111").to, message("447700900142").to}

    def send(messages: Sequence[Message]) -> SendResult:
        if any(one.to in wrong for one in messages):
            sandbox.add_fault(
                "server_error_before", on="send", status=400, body={"status": "400", "description": "no", "data": None}
            )
        return client.send(messages)

    messages = [message(f"447700900{number}") for number in range(100, 160)]
    delivery = run(client, messages, Store(), send=send)
    assert found(delivery) == {"accepted": 58, "rejected": 2}
    assert {result.recipient for result in delivery.results if result.outcome is Outcome.REJECTED} == wrong


def test_a_template_that_is_not_translated_stops_only_its_language(client: CirrusClient, sandbox: Sandbox) -> None:
    sandbox.add_fault("refused", failed="(#132001) not translated", recipient="447700900100")
    german = {"name": "order_update", "language": "de"}
    mixed = [Message.build(f"4477009{number:05d}", german) for number in range(100, 140)]
    mixed += [message(f"4477009{number:05d}") for number in range(200, 260)]
    delivery = run(client, mixed, Store())
    assert delivery.counts["accepted"] == 19 + 60
    assert delivery.counts["rejected"] == 1
    assert delivery.counts["unsent"] == 20


def test_a_run_starts_with_one_request_and_widens_with_good_answers(client: CirrusClient, sandbox: Sandbox) -> None:
    lock = threading.Lock()
    now, most = [0], [0]
    first_alone: list[int] = []

    def send(messages: Sequence[Message]) -> SendResult:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        try:
            return client.send(messages)
        finally:
            with lock:
                first_alone.append(most[0])
                now[0] -= 1

    sandbox.add_fault("latency", on="send", delay=0.2, times=None)
    assert found(run(client, people(600), Store(), send=send, concurrency=8)) == {"accepted": 600}
    assert first_alone[0] == 1
    assert 4 <= most[0] <= 8


def test_an_account_that_is_locked_stops_the_run_and_says_so(client: CirrusClient, sandbox: Sandbox) -> None:
    sandbox.add_fault("refused", recipient="447700900025", failed="(#131031) Business account has been locked")
    sandbox.add_fault("refused", recipient="447700900003", failed="(#131026) undeliverable")
    delivery = run(client, people(100))
    assert found(delivery) == {"accepted": 38, "rejected": 2, "unsent": 60}
    assert delivery.stopped == "Cirrus refuses all messages of the account (131031): the account is locked."
    assert delivery.remedy == "See the account's page in WhatsApp Manager."


def test_a_token_that_is_refused_stops_the_run_with_its_remedy(client: CirrusClient, sandbox: Sandbox) -> None:
    sandbox.add_fault("unauthorized", skip=1)
    delivery = run(client, people(60))
    assert found(delivery) == {"accepted": 20, "unsent": 40}
    assert "did not accept the token (401)" in delivery.stopped
    assert "password" in delivery.remedy


def test_a_run_to_its_end_was_not_stopped(client: CirrusClient, sandbox: Sandbox) -> None:
    sandbox.add_fault("rate_limited_retry_after", retry_after=0)
    delivery = run(client, people(45))
    assert found(delivery) == {"accepted": 45}
    assert delivery.stopped == delivery.remedy == ""


def test_a_storm_of_refusals_is_told_once_and_summed_up(
    client: CirrusClient, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.add_fault("rate_limited_retry_after", retry_after=0, times=12)
    with caplog.at_level("WARNING"):
        delivery = run(client, people(60), pause=0.001)
    assert sum(request["status"] == 429 for request in sandbox.requests) == 12
    assert found(delivery)["accepted"] >= 20
    said = [record.getMessage() for record in caplog.records if "slow down" in record.getMessage()]
    assert len(said) == 2
    assert said[1].endswith("(12 times in all; 11 not said here)")
