from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.delivery.audience.messages import Columns, read_audience, read_messages
from airflow_provider_cirrus.delivery.audience.rows import RejectedRow
from airflow_provider_cirrus.delivery.audience.shards import shard_of

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


def found(rows: Any, columns: Columns | None = None, now: float = 0, **common: Any) -> list[Any]:
    stream = read_audience(rows, columns or Columns(), {**COMMON, **common}, now=lambda: now)
    numbered = list(stream)
    assert [index for index, _ in numbered] == list(range(len(numbered)))
    return [message for _, message in numbered]


def test_columns_fill_a_message_and_overrule_what_is_common() -> None:
    columns = Columns("phone", ["first", "n"], "head", ["code"], "order", "at", "lang", "tpl")
    row = {"phone": 447700900123, "first": "Ann", "n": 1200, "head": "Hi", "code": "c"}
    (message,) = found([{**row, "order": 7, "at": NOON, "lang": "pt_BR", "tpl": "welcome", "unused": None}], columns)
    template = message.template
    assert (message.to, message.message_key, message.schedule) == ("447700900123", "7", NOON)
    assert (template.name, template.language, template.body) == ("welcome", "pt_BR", ["Ann", "1200"])
    assert template.header.text == "Hi"
    assert [(button.type, button.text) for button in template.buttons] == [("url", "c")]


def test_body_by_name_and_buttons_by_place() -> None:
    buttons = [{"type": "quick_reply"}, {"type": "copy_code", "index": 3}, {"type": "url", "text": "as-it-is"}]
    columns = Columns(body={"first_name": "n"}, buttons=["p", "c"])
    (message,) = found([{"to": "447700900123", "n": "Ann", "p": "yes", "c": "X1"}], columns, buttons=buttons)
    assert message.template.body == {"first_name": "Ann"}
    reply, code, url = message.template.buttons
    assert (reply.payload, code.coupon_code, code.index, url.text) == ("yes", "X1", 3, "as-it-is")


@pytest.mark.parametrize(("value", "kind"), [("https://example.com/a.pdf", "link"), ("12345", "id"), (12345, "id")])
def test_a_media_header_takes_link_or_id(value: Any, kind: str) -> None:
    header = {"type": "document", "filename": "a.pdf"}
    (message,) = found([{"to": "447700900123", "h": value}], Columns(header="h"), header=header)
    assert getattr(message.template.header, kind) == str(value)
    assert message.template.header.filename == "a.pdf"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"to": None, "n": "x"}, "row 1, column 'to' is empty."),
        ({"n": "x"}, "row 1, column 'to' is missing."),
        ({"to": "", "n": "x"}, "row 1, column 'to' is empty."),
        ({"to": 447700900123.0, "n": "x"}, "column 'to' is a float"),
        ({"to": "+44 7700 900117 99999", "n": "x"}, r"column 'to' is too long .*\+44\*{6}9999"),
        ({"to": "447700900123", "n": None}, "column 'n' is empty."),
        ({"to": "447700900123"}, "column 'n' is missing."),
        ({"to": "447700900123", "n": " "}, "column 'n' is empty."),
        ({"to": "447700900123", "n": float("nan")}, "column 'n' is empty"),
        ({"to": "447700900123", "n": True}, "column 'n' is a bool"),
        ({"to": "447700900123", "n": "a\nb"}, "column 'n' holds a newline"),
        ({"to": "447700900123", "n": "\ud800"}, "column 'n' holds half a character"),
        ("447700900123", "row 1 is of type str"),
    ],
)
def test_a_bad_row_is_refused_and_stops_no_other(row: Any, problem: str) -> None:
    bad, good = found([row, {"to": "447700900124", "n": "x"}], Columns(body=["n"]))
    assert isinstance(bad, RejectedRow)
    assert re.search(problem, bad.reason), bad.reason
    assert bad.recipient in ("", "447700900123")
    assert "900117" not in bad.reason
    assert isinstance(good, Message)


def test_a_refused_row_tells_whom_it_was_for() -> None:
    (bad,) = found([{"to": "+44 7700 900123", "n": None}], Columns(body={"name": "n"}))
    assert (bad.recipient, bad.index) == ("447700900123", 0)
    assert "column 'n'" in bad.reason


def test_swapped_columns_give_no_number_away() -> None:
    (bad,) = found([{"to": "447700900124", "at": "+44 7700 900123"}], Columns(schedule="at"))
    assert "900123" not in bad.reason


def test_a_past_schedule_of_a_row_is_refused() -> None:
    past, ahead = found(
        [{"to": "447700900123", "at": NOON}, {"to": "447700900123", "at": NOON + 99}], Columns(schedule="at"), NOON + 9
    )
    assert "column 'at'" in past.reason
    assert "is past" in past.reason
    assert ahead.schedule == NOON + 99


@pytest.mark.parametrize(
    ("columns", "common", "field"),
    [
        pytest.param(Columns(), {"template": None}, "template", id="no-template"),
        pytest.param(Columns(), {"body": ["a\n"]}, "body[0]", id="body"),
        pytest.param(Columns(), {"schedule": 1}, "schedule", id="past"),
        pytest.param(Columns(language="l"), {"schedule": 1}, "schedule", id="past-with-columns"),
        pytest.param(Columns(body="name"), {}, "columns.body", id="text-for-list"),
        pytest.param(Columns(buttons=["a", "b"]), {"buttons": [{"type": "url"}]}, "columns.buttons", id="too-many"),
        pytest.param(Columns(buttons=["a"]), {"buttons": [{"type": "flow"}]}, "columns.buttons[0]", id="flow"),
        pytest.param(Columns(header="h"), {"header": {"type": "pdf"}}, "header", id="header-type"),
    ],
)
def test_what_is_wrong_for_all_is_said_before_any_row(columns: Columns, common: dict[str, Any], field: str) -> None:
    def rows() -> Any:
        raise AssertionError("a row was read")
        yield

    with pytest.raises(InvalidInput) as caught:
        read_audience(rows(), columns, {**COMMON, **common}, now=lambda: 9)
    assert caught.value.field == field


def test_rows_are_read_one_at_a_time() -> None:
    taken = []

    def rows() -> Any:
        for number in range(9):
            taken.append(number)
            yield {"to": 447700900100 + number}

    stream = read_audience(rows(), Columns(), COMMON)
    assert taken == []
    next(stream)
    assert taken == [0]


def test_a_row_is_the_same_message_at_any_place_and_from_any_source() -> None:
    rows = [{"to": f"4477009001{n:02d}", "n": str(n)} for n in range(9)]
    columns = Columns(body=["n"], key="n")
    assert found(rows[::-1], columns) == found(rows, columns)[::-1]


def test_shards_part_the_audience_and_keep_its_indexes() -> None:
    rows = [{"to": f"4477009001{n:02d}" if n % 7 else None} for n in range(60)]
    parts = [list(read_audience(rows, Columns(), COMMON, shard=(mine, 3))) for mine in range(3)]
    whole = list(read_audience(rows, Columns(), COMMON))
    assert sorted((pair for part in parts for pair in part), key=lambda pair: pair[0]) == whole
    assert all(len(part) > 5 for part in parts)
    assert all(i % 3 == mine for mine, part in enumerate(parts) for i, m in part if isinstance(m, RejectedRow))
    for wrong in ((3, 3), (-1, 3), (0, 0)):
        with pytest.raises(InvalidInput, match="shard"):
            read_audience(rows, Columns(), COMMON, shard=wrong)


def test_a_shard_is_stable_and_the_same_for_both_spellings() -> None:
    assert [shard_of(f"4477009001{n:02d}", 8) for n in range(4)] == [1, 7, 0, 4]
    assert shard_of("5215555501234", 97) == shard_of("525555501234", 97)
