"""What is kept of messages: never more than there is room for, and counted right whatever comes and goes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cirrus.sandbox import store as store_module
from airflow_provider_cirrus.sandbox.records import MessageRecord, Origin, Records, record_of
from airflow_provider_cirrus.sandbox.send_body import Entry
from airflow_provider_cirrus.sandbox.store import Store
from airflow_provider_cirrus.sandbox.tally import Tally

RECIPIENTS = ("447700900101", "447700900102", "447700900103")


def made(number: int, **more: Any) -> MessageRecord:
    given = {
        "key": str(number),
        "number": number,
        "outcome": "accepted",
        "recipient": RECIPIENTS[number % 3],
        "template": "order_update",
        "language": "en",
        "components": [{"type": "body", "parameters": [{"type": "text", "text": "Ann ü"}]}],
        "schedule": None,
        "object_data": {"StatusId": 1} if number % 2 else None,
        "id": f"m{number}",
        "object_id": None,
        "failed": None,
        "received_at": f"2026-11-20T08:{number % 60:02d}:00.0000000Z",
        "request": number,
        "tags": ["template:order_update", "dag:news"],
        "read": False,
    }
    return record_of({**given, **more})


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(["accepted", "refused"])),
        st.tuples(st.just("remove"), st.integers(1, 40)),
        st.tuples(st.just("mark"), st.integers(1, 40)),
        st.tuples(st.just("drop"), st.integers(0, 40)),
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_comes_and_goes_what_is_found_and_counted_is_what_is_kept(steps: list[Any]) -> None:
    records = Records(7, 10_000_000)
    kept: list[MessageRecord] = []
    number = 0
    for what, value in steps:
        if what == "add":
            number += 1
            failed = "no" if value == "refused" else None
            record = made(number, outcome=value, failed=failed, id=None if failed else f"m{number}")
            kept.append(record)
            assert records.add(record) == kept[:-7]
            kept = kept[-7:]
        elif what == "remove":
            assert records.remove([str(value)]) == [one for one in kept if one.key == str(value)]
            kept = [one for one in kept if one.key != str(value)]
        elif what == "mark":
            for record in kept:
                if record.key == str(value):
                    records.mark(record, not record.is_read)
        else:
            moment = f"2026-11-20T08:{value:02d}"
            gone = records.drop_before(moment)
            assert gone == [one for one in kept if one.received_at < moment]
            kept = [one for one in kept if one.received_at >= moment]
        assert list(records) == kept
        assert records.tally == Tally(kept)
        for recipient in RECIPIENTS:
            assert records.to(recipient) == [one for one in kept if one.recipient == recipient]
        newest_first = list(dict.fromkeys(one.recipient for one in reversed(kept)))
        assert set(records.recipients()) == set(newest_first)
        for record in kept:
            assert records.find(record.key) is record
            assert record.id is None or records.find(record.id) is record
    assert records.find("nobody") is None


def test_who_got_something_last_is_first() -> None:
    records = Records(10, 10_000_000)
    for number in (1, 2, 3, 1 + 3):
        records.add(made(number))
    assert list(records.recipients()) == [RECIPIENTS[1], RECIPIENTS[0], RECIPIENTS[2]]


def test_large_messages_are_kept_as_long_as_there_is_room() -> None:
    records = Records(100, 50_000)
    long = [{"type": "body", "parameters": [{"type": "text", "text": "x" * 20_000}]}]
    for number in range(1, 6):
        records.add(made(number, components=long))
    assert [one.key for one in records] == ["4", "5"]
    records.add(made(6, components=[{"type": "body", "parameters": [{"type": "text", "text": "x" * 90_000}]}]))
    assert [one.key for one in records] == ["6"], "the newest always"


def test_what_is_kept_is_what_came_in() -> None:
    record = made(3, failed={"code": 1}, object_id=7)
    assert record_of(record.as_dict()).as_dict() == record.as_dict()
    record.as_dict()["components"].clear()
    record.as_dict()["failed"].clear()
    assert (record.components[0]["type"], record.failed) == ("body", {"code": 1})


def test_bodies_of_requests_are_kept_as_long_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_BODIES", 100)
    store = Store(keep=5)

    def come(body: bytes) -> None:
        store.keep_body(store.open_request(headers={}, path="/x"), body)

    for number in range(5):
        come(b'"' + b"%d" % number * 40 + b'"')
    bodies = [request["json"] for request in store.requests()]
    assert bodies == [None, None, None, "3" * 40, "4" * 40]
    for _ in range(20):
        come(b'"x"')
    assert [request["json"] for request in store.requests()] == ["x"] * 5
    assert [request["number"] for request in store.requests()] == [21, 22, 23, 24, 25]


def test_files_are_kept_as_long_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_MEDIA", 100)
    store = Store(keep=5)
    ids = [
        store.add_upload(filename="a.png", kind="image", content_type="", size=len(content), sha256="", content=content)
        for content in (b"x" * 60, b"y" * 60, b"z" * 101)
    ]
    assert [store.media(one) for one in ids] == [None, ("a.png", b"y" * 60), None]
    assert [store.has_media(one) for one in ids] == [False, True, False]
    # What is not shown can still be sent.
    assert {store.media_kind(one) for one in ids} == {"image"}


def test_a_request_is_found_by_its_number() -> None:
    store = Store(keep=3)
    for _ in range(5):
        store.open_request(headers={}, path="/x")
    found = [store.request(number) for number in range(7)]
    assert [one["number"] if one else None for one in found] == [None, None, None, 3, 4, 5, None]


def test_listeners_are_told_once_all_is_known() -> None:
    told: list[Any] = []
    store = Store(keep=3)
    store.listen(lambda event, message: told.append((event, message["object_id"])))
    entry = Entry("447700900101", "order_update", "en", [], None, {})
    record = store.accept(entry, Origin(1))
    store.opened(record, 70001)
    assert told == []
    store.tell(record)
    store.tell(store.refuse(entry, "no", Origin(1)))
    assert told == [("accepted", 70001), ("refused", None)]
