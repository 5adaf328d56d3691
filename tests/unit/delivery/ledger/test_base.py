from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.results import Outcome, Result
from airflow_provider_cirrus.delivery.ledger.base import Entry, key_of

STREAM = "hSandboxStream"


def message(to: str = "447700900123", **rest: Any) -> Message:
    template = {"name": "order_update", "language": "en", "body": rest.pop("body", ["Ann"])}
    return Message.build(to, template, **rest)


def test_a_key_is_stable_and_holds_no_number() -> None:
    # Written out, as a ledger of today must be found again by the versions to come.
    assert key_of(message(), STREAM).hex() == "19ad6d9700661a2f2b2be55c"
    assert "7700900123" not in key_of(message(), STREAM).hex()


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


def test_with_a_message_key_the_wording_does_not_count() -> None:
    one, other = message(message_key="order-1", body=["Ann"]), message(message_key="order-1", body=["Anne"])
    assert key_of(one, STREAM) == key_of(other, STREAM)
    assert key_of(one, STREAM) != key_of(message(message_key="order-2"), STREAM)


def test_an_entry_keeps_all_but_the_recipient() -> None:
    result = Result(recipient="447700900123", outcome=Outcome.REJECTED, code=131026, reason="no +447700900123 there")
    entry = Entry.of(result, attempt=2, time=5.0)
    assert "447700900123" not in repr(entry)
    assert entry.result("447700900123").code == 131026
