"""The triggers against a sandbox; in a real triggerer they run in tests/system/test_triggerer.py."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.sandbox import Sandbox
from airflow_provider_cirrus.triggers import cirrus as triggers
from airflow_provider_cirrus.triggers.cirrus import ConversationTrigger, NewReplyTrigger
from tests.lines import AIRFLOW


def event_triggers() -> Any:
    """What Airflow knows triggers of assets by."""
    if AIRFLOW < (3, 0):
        pytest.skip("Airflow 3.0 and later have triggers of assets")
    from airflow.triggers.base import BaseEventTrigger

    return BaseEventTrigger


def open_conversation(sandbox: Sandbox, number: str = "+447700900101") -> str:
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
        message = Message.build(number, {"name": "order_update", "language": "en"}, object_data={"ManagerId": 12})
        object_id = client.send([message]).results[0].object_id
    assert object_id
    return object_id


def again(trigger: Any) -> Any:
    """The same trigger as another triggerer makes it from the database."""
    path, kwargs = trigger.serialize()
    assert path == f"{type(trigger).__module__}.{type(trigger).__name__}"
    return type(trigger)(**json.loads(json.dumps(kwargs)))


async def first(events: AsyncIterator[Any], seconds: float = 20) -> Any:
    async with asyncio.timeout(seconds):
        return (await anext(events)).payload


async def looked(sandbox: Sandbox, times: int) -> None:
    async with asyncio.timeout(20):
        while sum(request["operation"] in ("object", "objects") for request in sandbox.requests) < times:
            await asyncio.sleep(0.02)


def test_a_wait_ends_with_the_answer_and_only_reads(cirrus_default: Sandbox) -> None:
    object_id = open_conversation(cirrus_default)

    async def wait() -> Any:
        trigger = again(ConversationTrigger(object_id=object_id, reply=True, poll_interval=0.1))
        event = asyncio.create_task(first(trigger.run()))
        await looked(cirrus_default, 2)
        assert not event.done()
        cirrus_default.answer(object_id, "Thank you!", from_customer=False)
        cirrus_default.answer(object_id, "Yes, please")
        return await event

    found = asyncio.run(wait())["found"]
    assert (found["object_id"], found["reached"], found["message"]) == (object_id, "reply", "Yes, please")
    assert {request["method"] for request in cirrus_default.requests[1:]} == {"GET"}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 429}, id="429"),
        pytest.param({"status": 503, "body": "<h1>Down</h1>"}, id="503"),
        pytest.param({"action": "drop"}, id="dropped"),
    ],
)
def test_a_busy_cirrus_only_slows_a_wait_down(cirrus_default: Sandbox, fault: dict[str, Any]) -> None:
    object_id = open_conversation(cirrus_default)
    cirrus_default.set_status(object_id, 2)
    # More often than the client itself tries again.
    cirrus_default.add_fault(on="object", times=3, **fault)  # type: ignore[arg-type]
    trigger = ConversationTrigger(object_id=object_id, statuses=[2], poll_interval=0.1)
    begun = time.monotonic()
    found = asyncio.run(first(trigger.run()))["found"]
    assert (found["reached"], found["status"]) == ("status", "Resolved")
    assert time.monotonic() - begun >= 2, "it did not slow down"


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        pytest.param("unauthorized", "did not accept the token", id="401"),
        pytest.param("not_found", "does not know this address", id="404"),
    ],
)
def test_what_no_waiting_mends_ends_a_wait_at_once(cirrus_default: Sandbox, fault: str, problem: str) -> None:
    cirrus_default.add_fault(fault)
    event = asyncio.run(first(ConversationTrigger(object_id="70001", reply=True).run()))
    assert problem in event["error"]
    assert cirrus_default.token not in event["error"]
    assert len(cirrus_default.requests) == 1


def test_no_trigger_is_stored_with_a_token(cirrus_default: Sandbox) -> None:
    for trigger in (ConversationTrigger(object_id="1", reply=True), NewReplyTrigger(stream="support")):
        assert cirrus_default.token not in json.dumps(trigger.serialize())


class State:
    """Stands in for the state of an asset, which is JSON."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def aget(self, key: str) -> Any:
        return json.loads(self.kept[key]) if key in self.kept else None

    async def aset(self, key: str, value: Any) -> None:
        self.kept[key] = json.dumps(value)


def watcher(state: Any = None, **given: Any) -> NewReplyTrigger:
    trigger = NewReplyTrigger(**{"poll_interval": 1, **given})
    if state is not None:
        trigger.asset_state_store = state
    return trigger


@pytest.mark.parametrize("list_by", ["created", "updated"])
def test_each_answer_fires_once_across_a_restart(list_by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State()

    async def watch(sandbox: Sandbox) -> list[str]:
        heard = []
        old, other = open_conversation(sandbox), open_conversation(sandbox, "+447700900102")
        sandbox.answer(old, "before")
        events = watcher(state).run()
        event = asyncio.create_task(first(events))
        async with asyncio.timeout(20):
            while not state.kept:
                await asyncio.sleep(0.01)
        sandbox.answer(old, "one")
        heard.append((await event)["message"])
        event = asyncio.create_task(first(events))
        sandbox.answer(other, "two")
        heard.append((await event)["message"])
        # The next answer is waited for, so what fired is taken note of.
        event = asyncio.create_task(first(events))
        async with asyncio.timeout(20):
            while other not in json.dumps(list(state.kept.values())):
                await asyncio.sleep(0.01)
        event.cancel()
        await asyncio.wait([event])

        sandbox.answer(old, "while it was away")
        events = watcher(state).run()
        heard.append((await first(events))["message"])
        event = asyncio.create_task(first(events))
        sandbox.answer(other, "three")
        heard.append((await event)["message"])
        return heard

    with Sandbox(list_by=list_by) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_CIRRUS_DEFAULT", sandbox.connection_uri)
        assert asyncio.run(watch(sandbox)) == ["one", "two", "while it was away", "three"]


def test_a_kill_before_the_event_is_stored_repeats_it_and_does_not_lose_it(cirrus_default: Sandbox) -> None:
    state = State()

    async def watch() -> list[dict[str, Any]]:
        object_id = open_conversation(cirrus_default)
        cirrus_default.answer(object_id, "Yes")
        killed = await first(watcher(state, lookback=timedelta(minutes=1)).run())
        return [killed, await first(watcher(state).run())]

    one, again = asyncio.run(watch())
    assert one == again
    assert (one["message"], one["status"]) == ("Yes", "Open")
    assert "7700900101" not in json.dumps(one)


def test_without_a_memory_the_lookback_decides(cirrus_default: Sandbox) -> None:
    cirrus_default.answer(open_conversation(cirrus_default), "Yes")

    async def watch(**given: Any) -> Any:
        event = asyncio.create_task(first(watcher(**given).run()))
        if given:
            await asyncio.wait([event], timeout=30)
        else:
            await looked(cirrus_default, sum(r["operation"] == "objects" for r in cirrus_default.requests) + 2)
        event.cancel() if not event.done() else None
        await asyncio.wait([event])
        return None if event.cancelled() else event.result()["message"]

    assert asyncio.run(watch()) is None
    assert asyncio.run(watch(lookback=60)) == "Yes"


def test_a_refused_watcher_goes_on_slowly_and_finds_what_came_meanwhile(
    cirrus_default: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    object_id = open_conversation(cirrus_default)
    cirrus_default.add_fault("unauthorized")
    cirrus_default.answer(object_id, "Yes")
    event = asyncio.run(first(watcher(lookback=60).run()))
    assert event["message"] == "Yes"
    assert [request["status"] for request in cirrus_default.requests][1:3] == [401, 200]
    assert cirrus_default.requests[2]["time"] - cirrus_default.requests[1]["time"] >= 1.9


def test_one_conversation_that_cannot_be_read_hides_no_other(cirrus_default: Sandbox) -> None:
    first_id, second_id = open_conversation(cirrus_default), open_conversation(cirrus_default, "+447700900102")
    cirrus_default.answer(first_id, "one")
    cirrus_default.answer(second_id, "two")
    # After the listing, the first conversation in each of the client's three attempts.
    cirrus_default.add_fault(on="object", status=500, skip=1, times=3)

    async def watch() -> list[str]:
        events = watcher(lookback=60).run()
        return [(await first(events))["message"] for _ in range(2)]

    assert asyncio.run(watch()) == ["two", "one"]


def test_a_conversation_that_never_can_be_read_slows_no_other_down(cirrus_default: Sandbox) -> None:
    first_id, second_id = open_conversation(cirrus_default), open_conversation(cirrus_default, "+447700900102")
    cirrus_default.answer(first_id, "lost")
    odd = {"status": "200", "data": [{"objectId": None, "user": {"email": "ann@shop.example"}}]}
    cirrus_default.add_fault(on="object", status=200, body=odd, skip=1, times=1)

    async def watch() -> list[str]:
        events = watcher(lookback=60).run()
        heard = [asyncio.create_task(first(events))]
        await looked(cirrus_default, 2)
        cirrus_default.answer(second_id, "at once")
        return [(await heard[0])["message"], (await first(events))["message"]]

    assert sorted(asyncio.run(watch())) == ["at once", "lost"]


def test_a_clock_that_is_ahead_loses_no_answer(cirrus_default: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    object_id = open_conversation(cirrus_default)
    clock = time.time
    state = State()

    async def watch() -> str:
        ahead = SimpleNamespace(time=lambda: clock() + 120, monotonic=time.monotonic)
        monkeypatch.setattr(triggers, "time", ahead)
        events = watcher(state).run()
        event = asyncio.create_task(first(events))
        await looked(cirrus_default, 1)
        cirrus_default.answer(object_id, "Yes")
        return str((await event)["message"])

    assert asyncio.run(watch()) == "Yes"


def test_equal_watchers_are_one_to_airflow_and_others_are_not() -> None:
    def hash_of(trigger: NewReplyTrigger) -> int:
        return event_triggers().hash(*trigger.serialize())

    assert hash_of(NewReplyTrigger(max_age=timedelta(days=1))) == hash_of(NewReplyTrigger(max_age=86400))
    assert hash_of(NewReplyTrigger()) != hash_of(NewReplyTrigger(stream="support"))
    assert hash_of(again(NewReplyTrigger(lookback=5))) == hash_of(NewReplyTrigger(lookback=5))


@pytest.mark.parametrize(
    "given", [{"poll_interval": 0}, {"max_age": timedelta(0)}, {"lookback": -1}, {"lookback": True}]
)
def test_a_span_that_makes_no_sense_fails_when_the_dag_is_parsed(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        NewReplyTrigger(**given)
