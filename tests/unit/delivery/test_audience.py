from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.delivery.audience import read_messages

COMMON = {"template": "order_update", "language": "en"}
NOON = 1906545600


def read(now: float = 0, **given: Any) -> list[Any]:
    return read_messages(given.pop("to", None), given.pop("messages", None), {**COMMON, **given}, now)


@pytest.mark.parametrize(
    ("to", "numbers"),
    [
        pytest.param("+44 7700 900123", ["447700900123"], id="one"),
        pytest.param(447700900123, ["447700900123"], id="one-int"),
        pytest.param(["+447700900123", 447700900124], ["447700900123", "447700900124"], id="list"),
        pytest.param(("+447700900123",), ["447700900123"], id="tuple"),
        pytest.param((n for n in ["+447700900123"]), ["447700900123"], id="iterator"),
    ],
)
def test_recipients_may_be_one_or_many(to: Any, numbers: list[str]) -> None:
    assert [message.to for message in read(to=to)] == numbers


def test_messages_bring_what_differs() -> None:
    first, second = read(
        messages=[
            {"to": "+447700900123", "body": ["Ann"]},
            {"to": "+447700900124", "template": "welcome", "language": None, "schedule": NOON, "message_key": "k"},
        ],
        body=["friend"],
    )
    assert (first.template.name, first.template.body, first.schedule) == ("order_update", ["Ann"], None)
    assert (second.template.name, second.template.body, second.schedule) == ("welcome", ["friend"], NOON)
    assert second.template.language == "en", "None means: as the others"
    assert second.message_key == "k"


@pytest.mark.parametrize(
    ("given", "field", "problem"),
    [
        pytest.param({}, "to", "exactly one of them", id="nobody"),
        pytest.param({"to": "1", "messages": []}, "to", "exactly one of them", id="both"),
        pytest.param({"to": []}, "to or messages", "holds no recipient", id="zero-recipients"),
        pytest.param({"messages": []}, "to or messages", "holds no recipient", id="zero-messages"),
        pytest.param({"to": {"a": 1}}, "to", "of type dict", id="dict"),
        pytest.param({"messages": "text"}, "messages", "of type str", id="messages-text"),
        pytest.param({"messages": ["+447700900123"]}, "messages[0]", "of type str, not a dict", id="row-no-dict"),
        pytest.param({"messages": [{"number": "1"}]}, "messages[0]", "unknown key 'number'", id="row-unknown-key"),
        pytest.param({"messages": [{"body": ["x"]}]}, "messages[0].to", "is empty", id="row-without-number"),
        pytest.param(
            {"messages": [{"to": "+447700900123", "body": ["x", ""]}]}, "messages[0].body[1]", "is empty", id="row-body"
        ),
        pytest.param({"to": "+447700900123", "template": None}, "template", "is missing", id="no-template"),
        pytest.param({"to": "+447700900123", "language": None}, "language", "is missing", id="no-language"),
        pytest.param({"to": ["x", "y"], "body": ["a\n"]}, "body[0]", "a newline", id="common-part-first"),
    ],
)
def test_what_cannot_be_sent_is_named(given: dict[str, Any], field: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem) as caught:
        read(**given)
    assert caught.value.field == field


def test_one_bad_recipient_among_many_is_named_and_masked() -> None:
    numbers = [f"+4477009001{place:02d}" for place in range(40)]
    numbers[17] = "+44 7700 900117 99999"
    with pytest.raises(InvalidInput) as caught:
        read(to=numbers)
    said = str(caught.value)
    assert "to[17]" in said
    assert "+44******9999" in said
    assert "1 of 40 messages cannot be sent; nothing was" in said
    assert "900117" not in said


def test_many_bad_recipients_are_counted_and_five_are_shown() -> None:
    with pytest.raises(InvalidInput) as caught:
        read(to=["+447700900123"] + ["nobody"] * 8)
    said = str(caught.value)
    assert [f"to[{place}]" in said for place in range(1, 9)] == [True] * 5 + [False] * 3
    assert "And 3 more." in said
    assert "8 of 9 messages" in said


@pytest.mark.parametrize(
    "given", [{"to": "+447700900123", "schedule": NOON}, {"messages": [{"to": "+447700900123", "schedule": NOON}]}]
)
def test_a_past_schedule_is_refused(given: dict[str, Any]) -> None:
    assert read(**given, now=NOON - 60)[0].schedule == NOON
    with pytest.raises(InvalidInput, match="is past"):
        read(**given, now=NOON + 60)
