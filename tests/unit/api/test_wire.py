"""What only a crafted answer can show; the documented answers are in test_client over HTTP."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cirrus.api import answers, wire
from airflow_provider_cirrus.api.errors import Disposition, InvalidInput, UnreadableAnswer, disposition, find_code
from airflow_provider_cirrus.api.exchange import Response
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.api.multipart import MultipartFile


def message(to: str, **rest: Any) -> Message:
    return Message.build(to, {"name": "order_update", "language": "en"}, **rest)


ANN, BEN = message("447700900123"), message("447700900124")


def read(messages: list[Message], data: Any, status: int = 200, envelope_status: Any = "200") -> list[tuple[Any, ...]]:
    body = json.dumps({"status": envelope_status, "description": "", "response_time": "x", "data": data}).encode()
    sent = wire.read_send(messages, Response(status, {}, body))
    return [(r.outcome.value, r.message_id or r.code or r.reason) for r in sent.results]


OK = {"status": 200}
NO = {"status": 400}


@pytest.mark.parametrize("identifier", ["hNyRN_fLUy7rrOrN9jLpipA%3d%3d", "hNyRN_fLUy7rrOrN9jLpipA=="])
def test_a_stream_id_is_encoded_exactly_once(identifier: str) -> None:
    assert wire.encode_id(identifier) == "hNyRN_fLUy7rrOrN9jLpipA%3D%3D"


def test_a_slash_in_an_id_does_not_become_a_path() -> None:
    assert wire.encode_id("a/b+c==") == "a%2Fb%2Bc%3D%3D"
    assert wire.encode_id("a%2fb%2Bc%3d%3d") == "a%2Fb%2Bc%3D%3D"


@pytest.mark.parametrize("count", [0, 21])
def test_a_request_holds_1_to_20_messages(count: int) -> None:
    with pytest.raises(InvalidInput, match="Send 1 to 20"):
        wire.send_request([ANN] * count, "s" * 22)


def test_entries_are_matched_by_number_not_by_position() -> None:
    data = [{"recipient": "+447700900124", "id": 7, **OK}, {"recipient": 447700900123, "id": "a-b", **OK}]
    assert read([ANN, BEN], data) == [("accepted", "a-b"), ("accepted", "7")]


_NUMBERS = ["447700900123", "447700900124", "525512345678", "5215512345678"]
_NAMES = [*_NUMBERS, 447700900123, "+447700900124", "52 1 55 1234 5678", None]
_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "recipient": st.sampled_from(_NAMES),
        "status": st.sampled_from(["200", 200, 200.0, True, 400, "400", 429, 500, None]),
        "failed": st.sampled_from([None, "", "invalid", {"code": 131026}, {}]),
        "id": st.sampled_from([None, "", 0, 7, "a-b", "a\0b", "x" * 300]),
        "object_id": st.sampled_from([None, "c1"]),
    },
)


@st.composite
def answers_to_some(draw: st.DrawFn) -> tuple[list[Message], list[Any]]:
    """Messages, and what may be answered to them: mostly all that was asked for, with little that is odd."""
    asked = draw(st.lists(st.sampled_from(_NUMBERS), min_size=1, max_size=4))
    entries: list[Any] = draw(st.permutations([{"recipient": number, **OK, "id": n} for n, number in enumerate(asked)]))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(entries) - 1))
        change = draw(_CHANGES)
        is_one = isinstance(entries[place], dict) and draw(st.booleans())
        entries[place] = {**entries[place], **change} if is_one else draw(st.sampled_from([None, [], "200", change]))
    more = draw(st.lists(st.sampled_from(entries) | _CHANGES, max_size=1))
    return [message(number) for number in asked], entries + more


@given(answers_to_some())
@settings(max_examples=400, deadline=None)
def test_what_is_quickly_seen_as_accepted_is_what_a_close_look_finds(case: tuple[list[Message], list[Any]]) -> None:
    messages, entries = case
    quick = wire._all_accepted(messages, entries)
    assert quick in (None, wire._judge_each(messages, entries, ()))


def test_a_plain_answer_is_seen_quickly() -> None:
    assert wire._all_accepted([ANN, BEN], [{"recipient": one.to, **OK} for one in (BEN, ANN)]) is not None


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        pytest.param("525512345678", "5215512345678", id="mexico"),
        pytest.param("5511987654321", "551187654321", id="brazil"),
        pytest.param("541123456789", "5491123456789", id="argentina"),
    ],
)
def test_an_entry_may_name_the_other_spelling_of_an_account(asked: str, named: str) -> None:
    data = [{"recipient": named, "id": "a-b", **OK}]
    assert read([message(asked)], data) == [("accepted", "a-b")]
    # Where both were written to, it is the other's, and of this one nothing is known.
    unknown = ("unknown", "Cirrus did not mention it in its answer.")
    assert read([message(asked), message(named)], data) == [unknown, ("accepted", "a-b")]


def test_an_entry_that_does_not_come_back_is_unknown() -> None:
    assert read([ANN, BEN], [{"recipient": "447700900123", "id": "1", **OK}])[1][0] == "unknown"


def test_two_messages_to_one_number_with_one_verdict_each_get_an_id() -> None:
    data = [{"recipient": "447700900123", "id": "1", **OK}, {"recipient": "447700900123", "id": "2", **OK}]
    assert read([ANN, message("447700900123", message_key="b")], data) == [("accepted", "1"), ("accepted", "2")]


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([{"id": "1", **OK}, {"failed": "x", **NO}], id="one-accepted-one-refused"),
        pytest.param([{"id": "1", **OK}], id="one-missing"),
        pytest.param([{"id": "1", **OK}] * 3, id="one-too-many"),
    ],
)
def test_messages_to_one_number_that_cannot_be_told_apart_are_unknown(entries: list[dict[str, Any]]) -> None:
    data = [{"recipient": "447700900123", **entry} for entry in entries]
    outcomes = [outcome for outcome, _ in read([ANN, message("447700900123", message_key="b")], data)]
    assert outcomes == ["unknown", "unknown"]


@pytest.mark.parametrize(
    ("entry", "outcome"),
    [
        pytest.param({"status": "200", "id": "1"}, "accepted", id="status-as-text"),
        pytest.param({"status": 200}, "accepted", id="without-id"),
        pytest.param({"status": 400, "failed": "invalid — Not a valid WhatsApp user"}, "rejected", id="as-text"),
        pytest.param({"status": 400, "failed": {"code": 131026, "title": "x"}}, "rejected", id="as-object"),
        pytest.param({"status": 400}, "rejected", id="without-reason"),
        pytest.param({"status": 400, "failed": "(#130429) too fast"}, "unsent", id="throttle"),
        pytest.param({"status": 429, "failed": "slow down"}, "unsent", id="status-429"),
        pytest.param({"status": 500, "failed": "oops"}, "unknown", id="status-500"),
        pytest.param({"status": 200, "failed": "but no"}, "unknown", id="accepted-and-failed"),
        pytest.param({"failed": "no"}, "rejected", id="no-status"),
        pytest.param({}, "unknown", id="nothing-said"),
    ],
)
def test_an_entry_has_one_outcome(entry: dict[str, Any], outcome: str) -> None:
    assert read([ANN], [{"recipient": "447700900123", **entry}], status=206)[0][0] == outcome


@pytest.mark.parametrize("data", [None, [], {}, "ok", [1, 2], {"valid": True}])
def test_an_answer_that_names_nobody_leaves_all_unknown(data: Any) -> None:
    assert read([ANN], data)[0][0] == "unknown"


def test_a_500_with_a_list_proves_nothing() -> None:
    assert read([ANN], [{"recipient": "447700900123", "id": "1", **OK}], status=500)[0][0] == "unknown"


@pytest.mark.parametrize("envelope_status", ["200", 200, None, "OK"])
def test_the_envelopes_own_status_may_be_anything(envelope_status: Any) -> None:
    data = [{"recipient": "447700900123", "id": "1", **OK}]
    assert read([ANN], data, envelope_status=envelope_status or "") == [("accepted", "1")]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("(#130429) Rate limit hit", 130429, id="hash"),
        pytest.param("131026: undeliverable", 131026, id="bare"),
        pytest.param("error code 190, token expired", 190, id="short-code-marked"),
        pytest.param("4 parameters expected, 3 given", None, id="a-count-is-no-code"),
        pytest.param("no user 447700131026", None, id="inside-a-number"),
        pytest.param("+131026", None, id="behind-a-plus"),
        pytest.param("invalid — Not a valid WhatsApp user", None, id="none"),
    ],
)
def test_metas_code_is_found_in_free_text(text: str, code: int | None) -> None:
    assert find_code(text) == code


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        pytest.param(131056, Disposition.THROTTLE, id="pair-rate"),
        pytest.param(131049, Disposition.LATER, id="ecosystem"),
        pytest.param(131031, Disposition.STOP, id="locked"),
        pytest.param(132001, Disposition.STOP_TEMPLATE, id="no-such-template"),
        pytest.param(132016, Disposition.STOP_TEMPLATE, id="disabled-template"),
        pytest.param(190, Disposition.STOP, id="token"),
        pytest.param(132000, Disposition.PERMANENT, id="parameters"),
        pytest.param(999999, Disposition.PERMANENT, id="unknown-code"),
        pytest.param(None, Disposition.PERMANENT, id="no-code"),
    ],
)
def test_a_code_means_what_to_do(code: int | None, meaning: Disposition) -> None:
    assert disposition(code) is meaning


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param("7", 7.0, id="seconds"),
        pytest.param("Tue, 01 Jan 2030 00:00:30 GMT", 30.0, id="date"),
        pytest.param("Mon, 31 Dec 2029 23:59:00 GMT", 0.0, id="date-that-is-past"),
        pytest.param("soon", None, id="words"),
        pytest.param("-5", None, id="negative"),
        pytest.param("", None, id="empty"),
        pytest.param("31536000", 86_400.0, id="a-year"),
        pytest.param("1790000000000", 86_400.0, id="milliseconds-since-the-epoch"),
        pytest.param("9" * 5_000, 86_400.0, id="thousands-of-digits"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0, id="date-far-ahead"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 -2359", 86_400.0, id="date-beyond-all-dates"),
        pytest.param("Fri, 31 Dec 99999 23:59:59 GMT", None, id="year-of-five-digits"),
        pytest.param(f"Fri, 31 Dec {10**30} 23:59:59 GMT", None, id="year-of-many-digits"),
        pytest.param(f"Fri, {'9' * 5_000} Dec 2030 23:59:59 GMT", None, id="day-of-thousands-of-digits"),
        pytest.param("Fri, 31 Dec 2030 23:59:59 +9999", None, id="zone-of-many-hours"),
        pytest.param("\ud83d", None, id="half-a-character"),
    ],
)
def test_retry_after_is_read_in_both_forms(header: str, seconds: float | None) -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    assert answers.retry_after({"retry-after": header}, now) == seconds


def test_a_server_that_asks_for_more_than_a_day_is_said_to() -> None:
    error = answers.error_for(Response(429, {"retry-after": "31536000"}, b""))
    assert error.retry_after == 86_400
    assert "a day or longer" in str(error)


def test_a_template_that_is_wrong_blocks_itself_in_its_language_and_stops_nothing_else() -> None:
    other = Message.build("447700900124", {"name": "order_update", "language": "pt_BR"})
    body = json.dumps(
        {
            "status": "206",
            "data": [
                {"recipient": "447700900123", "id": "1", **OK},
                {"recipient": "447700900124", "failed": "(#132001) Template name does not exist in pt_BR", **NO},
            ],
        }
    )
    sent = wire.read_send([ANN, other], Response(206, {}, body.encode()))
    assert [result.outcome.value for result in sent.results] == ["accepted", "rejected"]
    assert sent.blocked == {("order_update", "pt_BR")}
    assert not sent.stop


@pytest.mark.parametrize("code", [131031, 131042, 131045, 131048, 131064, 368, 190])
def test_a_code_of_the_account_stops_everything(code: int) -> None:
    body = json.dumps({"status": "400", "data": [{"recipient": ANN.to, "failed": {"code": code}, **NO}]})
    sent = wire.read_send([ANN], Response(400, {}, body.encode()))
    assert sent.stop
    assert not sent.blocked


def test_a_400_without_a_list_rejects_only_a_message_that_was_alone() -> None:
    answer = Response(400, {}, b'{"status": "400", "description": "Bad number"}')
    alone, together = wire.read_send([ANN], answer), wire.read_send([ANN, BEN], answer)
    assert [r.outcome.value for r in alone.results] == ["rejected"]
    assert not alone.split
    assert [r.outcome.value for r in together.results] == ["unsent", "unsent"]
    assert together.split
    assert not together.stop


def test_another_versions_400_is_no_reason_to_split() -> None:
    answer = Response(400, {}, b'{"description": "Missing parameter template_name"}')
    sent = wire.read_send([ANN, BEN], answer)
    assert (sent.split, sent.stop) == (False, True)


def refusal(failed: Any) -> wire.Result:
    body = json.dumps({"status": "400", "data": [{"recipient": ANN.to, "failed": failed, **NO}]}).encode()
    (result,) = wire.read_send([ANN], Response(400, {}, body)).results
    return result


@pytest.mark.parametrize(
    ("failed", "reason"),
    [
        pytest.param("no \ud83d emoji", "no \ufffd emoji", id="half-an-emoji"),
        pytest.param("no\x00thing", "no\ufffdthing", id="nul"),
        pytest.param("a\x1b[31mb\x7f\x9fc\r\nd", "a [31mb c d", id="controls"),
        pytest.param("x" * 500_000, "x" * 300 + "…", id="long"),
        pytest.param("<" * 500_000, "<" * 300 + "…", id="tags-that-never-end"),
        pytest.param({"message": {"a": "\ud83d"}}, "{'a': '\ufffd'}", id="object-in-object"),
        pytest.param({"\ud83d": 1}, '{"\ufffd": 1}', id="half-an-emoji-as-a-name"),
    ],
)
def test_a_reason_is_cleaned_where_it_comes_in(failed: Any, reason: str) -> None:
    result = refusal(failed)
    assert result.outcome.value == "rejected"
    assert result.reason == reason


@pytest.mark.parametrize(
    ("code", "known"),
    [
        pytest.param(131026, 131026, id="a-code"),
        pytest.param("131026", 131026, id="as-text"),
        pytest.param(2**63 - 1, 2**63 - 1, id="the-largest"),
        pytest.param(2**63, None, id="beyond-int64"),
        pytest.param("9" * 5_000, None, id="thousands-of-digits-as-text"),
        pytest.param(-5, None, id="negative"),
        pytest.param(1.5, None, id="fraction"),
        pytest.param([1], None, id="list"),
    ],
)
def test_a_code_that_is_none_leaves_the_text(code: Any, known: int | None) -> None:
    result = refusal({"code": code, "message": "Refused"})
    assert (result.outcome.value, result.code, result.reason) == ("rejected", known, "Refused")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param("wamid.HBgM==", "wamid.HBgM==", id="usual"),
        pytest.param("a\ud83db", "a\ufffdb", id="half-an-emoji"),
        pytest.param("a\x00b\x07", "a\ufffdb", id="controls"),
        pytest.param("\x07", None, id="nothing-but-controls"),
        pytest.param("9" * 1_000, "9" * 255 + "…", id="long"),
        pytest.param(10**400, "1" + "0" * 254 + "…", id="a-number-of-400-digits"),
    ],
)
def test_ids_are_cleaned_where_they_come_in(given: Any, kept: str | None) -> None:
    body = json.dumps({"status": "200", "data": [{"recipient": ANN.to, "id": given, "object_id": given, **OK}]})
    (result,) = wire.read_send([ANN], Response(200, {}, body.encode())).results
    assert (result.outcome.value, result.message_id, result.object_id) == ("accepted", kept, kept)


def test_a_status_that_is_no_status_is_cleaned_where_it_is_quoted() -> None:
    (result,) = wire.read_send(
        [ANN],
        Response(206, {}, json.dumps({"data": [{"recipient": ANN.to, "status": "2\ud83d" * 999}]}).encode()),
    ).results
    assert result.outcome.value == "unknown"
    assert len((result.reason or "").encode()) < 2_000


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="nested-without-end"),
        pytest.param(b'{"data": [{"failed": ' + b"[" * 500 + b"]" * 500 + b"}]}", id="nested-deeply"),
        pytest.param(b'{"data": ' + b"9" * 5_000 + b"}", id="number-of-thousands-of-digits"),
        pytest.param(b"\xff\xfe\x00", id="no-text"),
    ],
)
def test_json_that_cannot_be_read_leaves_all_unknown(body: bytes) -> None:
    sent = wire.read_send([ANN], Response(200, {}, body))
    assert [result.outcome.value for result in sent.results] == ["unknown"]
    assert isinstance(sent.error, UnreadableAnswer)


def test_a_byte_that_is_no_utf_8_costs_no_outcome() -> None:
    body = b'{"data": [{"recipient": "447700900123", "status": 400, "failed": "n\xe3o"}]}'
    (result,) = wire.read_send([ANN], Response(400, {}, body)).results
    assert (result.outcome.value, result.reason) == ("rejected", "n\ufffdo")


def test_what_a_customer_wrote_can_be_written_anywhere() -> None:
    data = {"objectId": 5, "childs": [{"id": 1, "message": "line\nline \ud83d\x00"}]}
    body = json.dumps({"status": 200, "data": [data]}).encode()
    (child,) = wire.read_conversation(Response(200, {}, body)).childs
    assert child.message == "line\nline \ufffd\ufffd"


def test_a_contacts_answer_with_a_strange_id_is_read() -> None:
    data = {"contacts": [{"status": "valid\x00", "wa_id": {"a": 1}}]}
    found = wire.read_validate(Response(200, {}, json.dumps({"data": data}).encode()))
    assert found.wa_id == "{'a': 1}"


def test_a_secret_that_the_server_repeats_is_hidden() -> None:
    answer = Response(400, {}, b'{"description": "bad token s3cret for +447700900123", "data": null}')
    sent = wire.read_send([ANN], answer, hide=["s3cret"])
    assert "s3cret" not in str(sent.error)
    assert "447700900123" not in str(sent.error)


@pytest.mark.parametrize(
    ("data", "valid", "status"),
    [
        pytest.param({"valid": True}, True, None, id="documented-yes"),
        pytest.param({"valid": False}, False, None, id="documented-no"),
        pytest.param({"contacts": [{"input": "1", "status": "valid", "wa_id": "1"}]}, True, "valid", id="older-yes"),
        pytest.param({"contacts": [{"input": "1", "status": "invalid"}]}, False, "invalid", id="older-no"),
        pytest.param({"contacts": [{"input": "1", "status": "processing"}]}, None, "processing", id="undecided"),
    ],
)
def test_a_contacts_answer_is_read_in_both_forms(data: Any, valid: bool | None, status: str | None) -> None:
    found = wire.read_validate(Response(200, {}, json.dumps({"status": "200", "data": data}).encode()))
    assert (found.valid, found.status) == (valid, status)


@pytest.mark.parametrize("place", ["beside", "under"])
def test_a_conversations_messages_are_read_beside_and_under_its_user(place: str) -> None:
    child = {"id": 1, "message": "Thanks", "createdTime": "2026-01-01T00:00:00", "user": {"isManager": False}}
    data: dict[str, Any] = {"objectId": 5, "statusId": 1, "user": {"Phone1": "447700900123"}}
    (data if place == "beside" else data["user"])["childs"] = [child]
    body = json.dumps({"status": 200, "data": [data]}).encode()
    found = wire.read_conversation(Response(200, {}, body))
    assert found.object_id == "5"
    assert [(c.message, c.from_customer) for c in found.childs] == [("Thanks", True)]


def test_a_file_name_cannot_leave_its_header() -> None:
    request = wire.upload_request("s" * 22, io.BytesIO(b"x"), 'a"; name="b.png', "image/png")
    assert isinstance(request.body, MultipartFile)
    head = b"".join(request.body).split(b"\r\n\r\n")[0]
    assert head.count(b"\r\n") == 2
    assert b'filename="a%22; name=%22b.png"' in head


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("../../etc/passwd.pdf", id="folders"),
        pytest.param("..\\..\\menu.pdf", id="folders-of-windows"),
        pytest.param("/menu.pdf", id="root"),
        pytest.param("..", id="parent"),
        pytest.param(" ", id="blank"),
        pytest.param("a\r\nX: y.pdf", id="lines"),
        pytest.param("menu.pdf\0.exe", id="null"),
        pytest.param("invoice\u202efdp.exe", id="turned-around"),
    ],
)
def test_a_file_name_that_is_more_than_a_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"filename: .* is no name of a file.*Give a name alone") as caught:
        wire.upload_request("s" * 22, io.BytesIO(b"x"), name, "image/png")
    assert caught.value.field == "filename"
