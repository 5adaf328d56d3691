"""A send that people pause, slow down and stop while it runs, over HTTP; and what its next tries make of that."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.errors import CirrusError, InvalidInput
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.delivery.deliver import ThisTry, deliver
from airflow_provider_cirrus.delivery.engine import helm
from airflow_provider_cirrus.delivery.engine.result import DeliveryResult
from airflow_provider_cirrus.delivery.errors import LedgerError, LedgerUnavailable
from airflow_provider_cirrus.delivery.ledger.base import Ledger, TaskTry
from airflow_provider_cirrus.delivery.ledger.sql import SqlLedger
from airflow_provider_cirrus.delivery.options import Delivery
from airflow_provider_cirrus.delivery.sql.store import engine_for
from airflow_provider_cirrus.delivery.steering.sql import SqlSteering
from airflow_provider_cirrus.delivery.steering.state import PROGRESS, WISH, StateSteering
from airflow_provider_cirrus.delivery.steering.wish import STATES, Steering, Together, Wish, wanted
from airflow_provider_cirrus.sandbox import Sandbox
from tests.unit.delivery.stores import Store

TASK = "shop/r/send"


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helm, "_LOOK", 0.02)
    monkeypatch.setattr(helm, "_TELL", 0.05)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.engine.Engine]:
    made = engine_for(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield made
    made.dispose()


class Send:
    """A send in a thread of its own, as a task of several tries does it."""

    def __init__(self, sandbox: Sandbox, engine: sa.engine.Engine, steering: Steering, count: int = 300) -> None:
        self.sandbox, self.engine, self.steering, self.count = sandbox, engine, steering, count
        self.tries = 0
        self.result: DeliveryResult | None = None
        self.error: BaseException | None = None

    def begin(self, rate: float = 1000, is_resumed: bool = False, **delivery: Any) -> None:
        self.tries += 1
        ledger: Ledger = SqlLedger(self.engine, TASK, f"owner {self.tries}")
        ledger.open(TaskTry(self.tries, 9, 9, resumed=is_resumed))
        messages = [
            Message.build(f"4477009{index // 90:03d}{index % 90:02d}", {"name": "offer", "language": "en"})
            for index in range(self.count)
        ]

        def run() -> None:
            client = CirrusClient(
                self.sandbox.token, self.sandbox.stream_id, base_url=self.sandbox.base_url, attempts=1
            )
            try:
                with client:
                    self.result = deliver(
                        enumerate(messages),
                        client,
                        total=len(messages),
                        delivery=Delivery(**delivery),
                        ledger=ledger,
                        messages_per_second=rate,
                        this_try=ThisTry(self.tries, steering=self.steering, is_resumed=is_resumed),
                    )
            except BaseException as error:  # noqa: BLE001  (raised where the test waits)
                self.error = error

        self.result = None
        self.thread = Thread(target=run)
        self.thread.start()

    def end(self) -> DeliveryResult:
        self.thread.join(30)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result

    @property
    def sent(self) -> int:
        return len(self.sandbox.messages)

    def is_still(self) -> bool:
        """Whether nothing leaves: nothing has come in half a second."""
        before = self.sent
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            if self.sent != before:
                return False
            time.sleep(0.02)
        return True


@pytest.fixture
def send(sandbox: Sandbox, engine: sa.engine.Engine) -> Send:
    return Send(sandbox, engine, SqlSteering(engine, TASK))


def ask(send: Send, action: str, rate: float | None = None) -> None:
    # As somebody else does, who has connections of his own.
    other = SqlSteering(engine_for(str(send.engine.url)), TASK)
    other.write(wanted(other.read(), action, "jane", rate))
    other.close()


def test_a_send_is_paused_resumed_slowed_down_and_stopped(send: Send, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    send.begin(rate=200)
    until(lambda: send.sent >= 20)
    ask(send, "pause")
    until(send.is_still)
    paused = send.sent
    assert paused < send.count
    assert "The send is to be paused (asked for by jane)." in caplog.text
    ask(send, "resume")
    until(lambda: send.sent > paused)
    ask(send, "rate", 1)
    until(lambda: "at most 1 messages a second" in caplog.text)
    before, since = send.sent, time.monotonic()
    until(lambda: send.sent >= before + 2 and time.monotonic() - since >= 1.5)
    assert send.sent - before <= 20 + (time.monotonic() - since) * 1 + 20
    ask(send, "stop")
    found = send.end()
    assert found.is_called_off
    assert found.stopped == "the send was stopped by jane."
    assert "airflow cirrus resume" in found.remedy
    assert found.counts["accepted"] == send.sent == len({one["recipient"] for one in send.sandbox.messages})
    assert found.counts["accepted"] + found.counts["unsent"] == send.count


def test_a_rate_is_shared_by_the_shards_and_can_be_taken_back(send: Send, caplog: pytest.LogCaptureFixture) -> None:
    send.begin(rate=20, shard=0, shards=4)
    # Of 40 for all, a fourth is this one's.
    ask(send, "rate", 40)
    steering = SqlSteering(send.engine, TASK)
    until(lambda: (found := steering.read()) is not None and found.messages_per_second == 40)
    ask(send, "rate")
    ask(send, "stop")
    assert send.end().is_called_off


def test_a_try_that_begins_paused_sends_nothing_until_it_is_resumed(send: Send) -> None:
    ask(send, "pause")
    send.begin()
    until(send.is_still)
    assert send.sent == 0
    ask(send, "resume")
    assert send.end().counts["accepted"] == send.count


def test_a_stopped_send_stays_so_in_its_next_try(send: Send) -> None:
    ask(send, "stop")
    send.begin()
    found = send.end()
    assert (found.is_called_off, found.counts["unsent"], send.sent) == (True, send.count, 0)
    ask(send, "resume")
    send.begin()
    assert send.end().counts["accepted"] == send.count


def test_whoever_is_paused_for_long_gives_the_slot_back(send: Send) -> None:
    send.begin(rate=100, pause_defer_after=0.1)
    until(lambda: send.sent >= 20)
    ask(send, "pause")
    found = send.end()
    assert found.is_paused
    assert found.counts["unsent"] == send.count - send.sent
    # What goes on and finds itself still paused is gone at once.
    send.begin(is_resumed=True)
    assert send.end().is_paused
    ask(send, "resume")
    send.begin(is_resumed=True)
    found = send.end()
    assert (found.is_paused, found.counts["accepted"]) == (False, send.count)
    assert len({one["recipient"] for one in send.sandbox.messages}) == send.sent == send.count


def test_after_its_canary_a_send_waits_for_somebody(send: Send) -> None:
    send.begin(canary=40, canary_then="pause")
    until(lambda: send.sent == 40)
    steering = SqlSteering(send.engine, TASK)
    until(lambda: (wish := steering.read()) is not None and wish.by == "the canary")
    assert send.is_still()
    assert send.sent == 40
    # A worker is lost: the next try waits as well, and sends no second canary.
    ask(send, "stop")
    send.end()
    steering.write(None)
    send.begin(canary=40, canary_then="pause")
    until(lambda: (wish := steering.read()) is not None and wish.by == "the canary")
    assert send.is_still()
    assert send.sent == 40
    ask(send, "resume")
    assert send.end().counts["accepted"] == send.count
    # It was approved.
    send.begin(canary=40, canary_then="pause")
    assert send.end().counts["accepted"] == send.count


def test_how_far_it_has_come_is_told(sandbox: Sandbox, engine: sa.engine.Engine) -> None:
    store = Store()
    places = Together([SqlSteering(engine, TASK), StateSteering(store, timedelta.max)])
    send = Send(sandbox, engine, places)
    sandbox.add_fault(on="send", action="refuse", failed={"code": 131026, "message": "not there"}, times=1)
    send.begin(rate=300)
    until(lambda: store.get(PROGRESS, {}).get("counts", {}).get("accepted", 0) > 0)
    running = store[PROGRESS]
    assert (running["state"], running["total"], running["attempt"]) == ("running", 300, 1)
    assert running["messages_per_second"] == 300
    store.set(WISH, Wish("paused", 3, "the page", time.time()).to_value(), retention=timedelta.max)
    until(lambda: store[PROGRESS]["state"] == "paused")
    assert store[PROGRESS]["wish"]["by"] == "the page"
    # Whoever speaks last is heard, wherever.
    ask(send, "resume")
    ask(send, "rate")
    send.end()
    last = store[PROGRESS]
    assert last["state"] == "ended"
    assert sum(last["counts"].values()) == 300
    assert last["countries"] == {"GB": last["counts"]["accepted"]}
    assert last["reasons"][0]["code"] == 131026
    assert last["history"][-1][1] == last["counts"]["accepted"]
    assert len(json.dumps(last)) < 8_000
    assert "447700" not in json.dumps(last)


def test_reasons_are_looked_at_by_nobody_while_others_are_counted() -> None:
    class Counting:
        def __iter__(self) -> Any:
            raise RuntimeError("dictionary changed size during iteration")

    delivery = DeliveryResult()
    telling = helm.Telling(delivery, 10, 80, 1)
    delivery.reasons = Counting()  # type: ignore[assignment]
    assert telling.now("running", 80, None)["reasons"] == []
    with pytest.raises(RuntimeError):
        telling.end()


def test_a_place_that_cannot_be_read_holds_up_nobody(
    sandbox: Sandbox, engine: sa.engine.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        looks = 0

        def read(self) -> Wish | None:
            self.looks += 1
            if self.looks == 1:
                return None
            raise LedgerUnavailable("away")

        def write(self, wish: Wish | None) -> None:
            raise LedgerUnavailable("away")

        def tell(self, progress: Any) -> None:
            raise LedgerUnavailable("away")

    send = Send(sandbox, engine, Broken())
    send.begin(rate=500)
    assert send.end().counts["accepted"] == send.count
    assert "What is wanted of the send cannot be read. away" in caplog.text
    assert "How far the send has come cannot be shown. away" in caplog.text


def test_what_is_wanted_must_be_known_before_anything_leaves(sandbox: Sandbox, engine: sa.engine.Engine) -> None:
    steering = SqlSteering(engine, TASK)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE cirrus_steering"))
    send = Send(sandbox, engine, steering)
    send.begin()
    with pytest.raises(LedgerError):
        send.end()
    assert send.sent == 0


wishes = st.builds(
    Wish,
    st.sampled_from(STATES),
    st.none() | st.floats(0.01, 1e6),
    st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=20),
    st.floats(0, 4e9),
)


@given(wishes)
def test_a_wish_is_what_was_written(wish: Wish) -> None:
    assert Wish.of(json.loads(json.dumps(wish.to_value()))) == wish


NAMES = ["state", "messages_per_second", "at", "by"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["state", "messages_per_second", "at", "by"]), inner)
    ),
)


@given(json_values)
def test_whatever_else_stands_there_is_refused_or_a_wish(value: Any) -> None:
    try:
        wish = Wish.of(value)
    except CirrusError:
        return
    assert wish.state in STATES
    assert wish.messages_per_second is None or wish.messages_per_second > 0
    assert "\n" not in wish.in_words()


def test_a_name_of_many_lines_is_one_line_in_the_log() -> None:
    wish = Wish.of({"state": "paused", "at": 1, "by": "jane\nERROR all is lost\r" + "x" * 500})
    assert "\n" not in wish.in_words()
    assert len(wish.by) == 80


def test_a_table_that_somebody_wrote_nonsense_into_is_told_of(engine: sa.engine.Engine) -> None:
    steering = SqlSteering(engine, TASK)
    steering.write(Wish("paused", None, "jane", 1.0))
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE cirrus_steering SET wish = 'pause it'"))
    with pytest.raises(InvalidInput, match="is no JSON"):
        steering.read()


def test_each_action_changes_one_thing() -> None:
    slow = wanted(None, "rate", "jane", 5)
    assert (slow.state, slow.messages_per_second) == ("running", 5)
    paused = wanted(slow, "pause", "joe")
    assert (paused.state, paused.messages_per_second, paused.by) == ("paused", 5, "joe")
    assert wanted(paused, "rate", "joe").state == "paused"
    assert wanted(paused, "resume", "joe").messages_per_second == 5
    with pytest.raises(InvalidInput, match="above 0"):
        wanted(None, "rate", "jane", 0)
    with pytest.raises(InvalidInput, match="none of pause"):
        wanted(None, "dance", "jane")
