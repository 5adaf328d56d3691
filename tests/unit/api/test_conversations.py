"""What a conversation says, when to look again, and the walk over a span that holds more than one answer lists."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cirrus.api.async_client import AsyncCirrusClient
from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.conversations import (
    Pager,
    PollBackoff,
    WaitCondition,
    conversation_id,
    status_id,
    unix_time,
)
from airflow_provider_cirrus.api.errors import InvalidInput, NotFound, ServerError, Throttled, UnreadableAnswer
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.replies import ReplyCheckpoint
from airflow_provider_cirrus.api.results import Conversation
from airflow_provider_cirrus.sandbox import Sandbox


def said(text: str, second: int, by_agent: bool = False, **more: Any) -> dict[str, Any]:
    created = f"2026-05-01T10:00:{second:02d}.0000000Z"
    return {"id": f"m{second}", "message": text, "createdTime": created, "user": {"isManager": by_agent}} | more


def conversation(*childs: dict[str, Any], status: int = 1, **more: Any) -> Conversation:
    return Conversation.read({"objectId": 5, "statusId": status, "childs": list(childs)} | more)


@pytest.mark.parametrize(
    ("given", "number"),
    [
        pytest.param("Resolved", 2, id="name"),
        pytest.param("resolved ", 2, id="case"),
        pytest.param("in process", 8, id="space"),
        pytest.param("IN_PROCESS", 8, id="underscore"),
        pytest.param("2", 2, id="digits"),
        pytest.param(99, 99, id="unknown-number"),
    ],
)
def test_a_status_is_a_name_or_a_number(given: Any, number: int) -> None:
    assert status_id(given) == number


@pytest.mark.parametrize("given", ["done", "", True, 0, -1, None, 2.0])
def test_anything_else_is_no_status(given: Any) -> None:
    with pytest.raises(InvalidInput, match=r"is no status.*Resolved"):
        status_id(given)


def test_a_wait_for_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match="reply=True"):
        WaitCondition.build()


def test_an_answer_is_seen_with_its_time_whoever_wrote_last() -> None:
    talk = conversation(said("Hello", 1, True), said("Second", 9), said("First", 5), said("Thanks", 12, True))
    assert WaitCondition.build(reply=True).find(talk) == {
        "object_id": "5",
        "reached": "reply",
        "status": "Open",
        "status_id": 1,
        "message": "Second",
        "time": "2026-05-01T10:00:09.0000000Z",
    }


def test_what_we_wrote_is_no_answer_even_where_cirrus_calls_it_the_customers() -> None:
    ours = said("[order_update]", 1)
    assert WaitCondition.build(reply=True, own=["m1"]).find(conversation(ours)) is None
    assert WaitCondition.build(reply=True).find(conversation(said("Hello", 1, True))) is None


def test_since_leaves_out_what_was_said_before() -> None:
    talk = conversation(said("Old", 5), status=2)
    assert WaitCondition.build(reply=True, since="2026-05-01T12:00:06+02:00").find(talk) is None
    found = WaitCondition.build("Resolved", since="2026-05-01T10:00:06Z").find(talk)
    assert found is not None
    assert (found["reached"], found["message"]) == ("status", None)
    assert WaitCondition.build(reply=True, since="2026-05-01T10:00:05Z").find(talk)


def test_any_of_several_statuses_ends_the_wait() -> None:
    awaited = WaitCondition.build(["Resolved", 14])
    assert [bool(awaited.find(conversation(status=number))) for number in (1, 2, 14)] == [False, True, True]


def test_a_time_that_cannot_be_read_is_said_rather_than_guessed() -> None:
    talk = conversation(said("Yes", 1, createdTime="yesterday"))
    assert WaitCondition.build(reply=True).find(talk)
    with pytest.raises(UnreadableAnswer, match="a time that cannot be read"):
        WaitCondition.build(reply=True, since=1_770_000_000).find(talk)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        pytest.param("70001", ("70001", ()), id="text"),
        pytest.param(70001, ("70001", ()), id="int"),
        pytest.param({"object_id": "7", "message_id": "a"}, ("7", ("a",)), id="outcome"),
        pytest.param({"total": 1, "outcomes": [{"object_id": 7}]}, ("7", ()), id="send-of-one"),
    ],
)
def test_a_conversation_is_named_by_its_id_or_by_the_send_that_opened_it(value: Any, found: Any) -> None:
    assert conversation_id(value) == found


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        pytest.param("None", "no id", id="missing-xcom"),
        pytest.param("", "no id", id="empty"),
        pytest.param("{'outcomes': []}", "no id", id="dict-as-text"),
        pytest.param(None, "NoneType", id="none"),
        pytest.param(True, "bool", id="bool"),
        pytest.param({"total": 2, "outcomes": [{}, {}]}, "a send of 2 messages", id="send-of-two"),
        pytest.param({"outcome": "rejected", "object_id": None}, "opened no conversation.*rejected", id="none-opened"),
    ],
)
def test_anything_else_names_no_conversation(value: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        conversation_id(value)


def test_the_pace_slows_down_and_recovers() -> None:
    backoff = PollBackoff(60)
    waits = []
    for _ in range(6):
        backoff.failed(ServerError("down"))
        waits.append(backoff.wait)
    assert waits == [120, 240, 480, 600, 600, 600]
    backoff.failed(Throttled("slow", retry_after=90))
    assert backoff.wait == 90
    backoff.failed(Throttled("slow", retry_after=5))
    assert backoff.wait == 60, "sooner than the usual interval"
    backoff.failed(Throttled("slow", retry_after=10**9))
    assert backoff.wait == 3600
    backoff.succeeded()
    assert backoff.wait == 60


@pytest.mark.parametrize(
    "holds",
    [
        pytest.param(lambda start, moment, end: start <= moment <= end, id="both-ends"),
        pytest.param(lambda start, moment, end: start <= moment < end, id="start-only"),
        pytest.param(lambda start, moment, end: start < moment <= end, id="end-only"),
        pytest.param(lambda start, moment, end: start < moment < end, id="no-end"),
    ],
)
def test_a_listing_is_whole_whatever_its_ends_mean(holds: Callable[[int, int, int], bool]) -> None:
    chance = random.Random(7)
    times = {str(number): chance.randrange(1000, 1100) for number in range(900)} | {"first": 1000, "last": 1100}
    pager, asked = Pager(1000, 1100), 0
    for start, end in pager.spans():
        asked += 1
        inside = [name for name, moment in times.items() if holds(start, moment, end)][:100]
        pager.take(Conversation.read({"objectId": name}) for name in inside)
    assert sorted(found.object_id for found in pager.conversations) == sorted(times)
    assert pager.complaint == ""
    assert asked < 80


def test_a_second_that_holds_more_than_can_be_listed_is_complained_about() -> None:
    pager = Pager(1000, 1100)
    for start, end in pager.spans():
        pager.take(Conversation.read({"objectId": n}) for n in range(150 if start <= 1042 <= end else 0) if n < 100)
    assert pager.crowded == {1042}
    assert "some may be missing" in pager.complaint


@pytest.mark.parametrize("list_by", ["created", "updated"])
def test_both_clients_list_what_the_sandbox_holds(list_by: str) -> None:
    with Sandbox(list_by=list_by) as sandbox:
        with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
            for batch in range(6):
                numbers = [f"447700900{batch}{place:02d}" for place in range(20)]
                template = {"name": "t", "language": "en"}
                client.send([Message.build(number, template, object_data={}) for number in numbers])
                begun = int(time.time())
                while batch == 3 and int(time.time()) == begun:
                    # So that no second holds a hundred.
                    time.sleep(0.01)
            now = int(time.time())
            listed = client.list_conversations(now - 60, now)
            assert client.list_conversations(now - 120, now - 60) == []

        async def list_them() -> list[Conversation]:
            async with AsyncCirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
                return await client.list_conversations(now - 60, now)

        assert len(listed) == 120
        assert asyncio.run(list_them()) == listed


@pytest.mark.parametrize("data", [{"a": 1}, "x", 5])
def test_a_listing_that_is_none_is_no_empty_one(sandbox: Sandbox, data: Any) -> None:
    sandbox.add_fault(on="object", status=200, body={"status": "200", "data": data})
    with (
        CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client,
        pytest.raises(UnreadableAnswer, match="a list of conversations"),
    ):
        client.list_conversations(1, 2)


def test_an_unknown_stream_cannot_be_listed(sandbox: Sandbox) -> None:
    with CirrusClient(sandbox.token, "h" * 24, base_url=sandbox.base_url) as client, pytest.raises(NotFound):
        client.list_conversations(1, 2)


BEGIN = 1_777_629_600.0  # 2026-05-01T10:00:00Z


def test_every_answer_is_new_once() -> None:
    replies = ReplyCheckpoint(BEGIN)
    talk = conversation(said("Before", 0, createdTime="2026-05-01T09:59:59Z"), said("One", 1), said("Us", 2, True))
    assert [reply["message"] for reply in replies.take(talk, talk)] == ["One"]
    talk = conversation(said("One", 1), said("Three", 3), said("Two", 2))
    assert [reply["message"] for reply in replies.take(talk, talk)] == ["Two", "Three"]
    # In the same second, and of the same text.
    talk = conversation(said("Three", 3), said("Three", 3, id="m3b"))
    assert [reply["message_id"] for reply in replies.take(talk, talk)] == ["m3b"]
    assert replies.take(talk, talk) == []


def test_what_was_taken_is_remembered_across_a_restart_and_stays_small() -> None:
    replies = ReplyCheckpoint(BEGIN)
    old = conversation(said("Old", 1))
    replies.take(old, old)
    new = conversation(said("New", 5, createdTime="2026-05-01T11:00:00Z"), objectId=6)
    replies.take(new, new)
    replies.advance()
    kept = replies.as_dict()
    assert list(kept["taken"]) == ["6"], "an answer of an hour ago is still remembered one by one"

    after = ReplyCheckpoint.from_dict(kept)
    assert after.take(new, new) == after.take(old, old) == []
    late = conversation(said("Late", 5, createdTime="2026-05-01T10:55:00Z"), objectId=7)
    assert len(after.take(late, late)) == 1, "an answer that showed late was skipped"


def test_only_conversations_that_changed_are_read() -> None:
    replies = ReplyCheckpoint(BEGIN)
    quiet = conversation(updatedTime="2026-05-01T09:00:00Z")
    silent = conversation(objectId=6)
    assert replies.changed([quiet, silent], 0) == ["6"], "one without a time of change may hold anything"
    replies.take(silent, silent)
    assert replies.changed([quiet, silent], 0) == []
    assert replies.changed([conversation(updatedTime="2026-05-01T10:00:01Z"), silent], 0) == ["5"]
    assert replies.changed([quiet, conversation(objectId=6, status=2)], 0) == ["6"]


def test_an_answer_that_shows_after_a_later_one_is_new() -> None:
    replies = ReplyCheckpoint(BEGIN)
    talk = conversation(said("B", 11))
    assert [reply["message"] for reply in replies.take(talk, talk)] == ["B"]
    talk = conversation(said("STOP", 10), said("B", 11))
    assert [reply["message"] for reply in replies.take(talk, talk)] == ["STOP"]
    replies.advance()
    again = ReplyCheckpoint.from_dict(json.loads(json.dumps(replies.as_dict())))
    assert again.take(talk, talk) == replies.take(talk, talk) == []


def test_equal_texts_of_one_second_are_as_many_answers_as_there_are() -> None:
    replies = ReplyCheckpoint(BEGIN)
    twice = [said("STOP", 10, id=None), said("STOP", 10, id=None)]
    assert len(replies.take(conversation(*twice), conversation(*twice))) == 2
    assert replies.take(conversation(*twice), conversation(*twice)) == []
    assert "STOP" not in json.dumps(replies.as_dict()), "what somebody wrote is kept"
    three = conversation(*twice, said("STOP", 10, id=None))
    assert len(replies.take(three, three)) == 1


def test_what_an_earlier_version_took_is_not_new() -> None:
    kept = {"since": BEGIN, "taken": {"5": [BEGIN + 11, ["m11"]]}}
    replies = ReplyCheckpoint.from_dict(kept)
    talk = conversation(said("Old", 10), said("B", 11), said("New", 12))
    assert [reply["message"] for reply in replies.take(talk, talk)] == ["New"]


def test_a_conversation_that_cannot_be_read_stays_behind_alone() -> None:
    replies = ReplyCheckpoint(BEGIN, interval=10)
    lost = conversation(objectId=6, updatedTime="2026-05-01T10:00:01Z")
    assert replies.postpone("6", UnreadableAnswer("x"), 100) == 20
    assert replies.changed([lost], 110) == []
    assert replies.changed([lost], 121) == ["6"]
    assert replies.postpone("6", UnreadableAnswer("x"), 121) == 40
    # Others go on meanwhile, an hour further.
    new = conversation(said("New", 5, createdTime="2026-05-01T11:00:00Z"))
    replies.take(new, new)
    replies.advance()
    replies = ReplyCheckpoint.from_dict(json.loads(json.dumps(replies.as_dict())), interval=10)
    assert replies.changed([lost], 0) == ["6"]
    talk = conversation(said("Yes", 2), objectId=6)
    assert [reply["message"] for reply in replies.take(lost, talk)] == ["Yes"], "it was lost while it could not be read"
    replies.advance()
    assert "behind" not in replies.as_dict()


ODD: list[Any] = [
    {"objectId": 5, "statusId": "Resolved", "updatedTime": "2026-05-01T10:00:01Z"},
    {"objectId": 5, "updatedTime": 1777629601},
    {"objectId": 5, "updatedTime": 1777629601000},
    {"objectId": 5, "user": 17, "childs": {"a": 1}},
    {"objectId": 5, "message": ["x"], "createdTime": None, "assignedManagerId": {}},
]


@pytest.mark.parametrize("entry", ODD)
def test_an_odd_entry_of_a_listing_is_read_as_far_as_it_can_be(sandbox: Sandbox, entry: Any) -> None:
    good = {"objectId": 6, "statusId": 1}
    sandbox.add_fault(on="object", status=200, body={"status": "200", "data": [entry, good]})
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
        listed = client.list_conversations(1, 2)
    assert [one.object_id for one in listed] == ["5", "6"]
    if isinstance(entry.get("updatedTime"), int):
        assert unix_time(listed[0].updated_time) == BEGIN + 1


@pytest.mark.parametrize("entry", [5, "x", None, {"statusId": 1}, {"objectId": None}, {"objectId": [1]}])
def test_what_is_no_conversation_is_left_out_and_told(
    sandbox: Sandbox, entry: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.add_fault(on="object", status=200, body={"status": "200", "data": [entry, {"objectId": 6}]})
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
        assert [one.object_id for one in client.list_conversations(1, 2)] == ["6"]
    assert "1 entries of the listing are no conversations" in caplog.text


def test_messages_of_both_places_count_once_and_one_of_nobody_is_not_the_customers() -> None:
    beside, beneath = said("One", 1), said("Two", 2)
    talk = Conversation.read(
        {"objectId": 5, "childs": [beside, 17, said("Auto", 3, user=None)], "user": {"childs": [beneath, beside]}}
    )
    assert [child.message for child in talk.childs] == ["One", "Auto", "Two"]
    assert [child.message for child in talk.childs if child.from_customer] == ["One", "Two"]


def test_no_word_of_a_customer_stands_in_an_error(sandbox: Sandbox) -> None:
    data = {"name": "Ann Example", "email": "ann@shop.example", "childs": [{"message": "my secret"}]}
    for body in (data, [data], {"status": "200", "data": data}, {"status": "200", "data": [data]}):
        sandbox.add_fault(on="object", status=200, body=body)
        client = CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url)
        with client, pytest.raises(UnreadableAnswer) as caught:
            client.get_conversation(5)
        text = str(caught.value)
        assert not any(word in text for word in ("Ann", "shop.example", "secret"))
        assert "an object with" in text or "a list of 1" in text


def test_a_second_walk_asks_for_no_span_that_would_be_full() -> None:
    """20,000 conversations of three days."""
    start, end = 1_777_000_000, 1_777_000_000 + 3 * 86_400
    times = {f"c{place}": start + place * 3 * 86_400 // 20_000 for place in range(20_000)}

    def walk(cuts: list[int]) -> tuple[Pager, int]:
        pager, asked = Pager(start, end, cuts), 0
        for left, right in pager.spans():
            asked += 1
            found = [key for key, moment in times.items() if left < moment < right][:100]
            pager.take([Conversation.read({"objectId": key}) for key in found])
        return pager, asked

    first, asked_first = walk([])
    second, asked_second = walk(first.cuts)
    assert len(first.conversations) == len(second.conversations) == 20_000
    assert asked_second <= 320 < asked_first
