from __future__ import annotations

import re
import time

import pytest

from airflow_provider_cirrus.sandbox import Sandbox


def test_envelope_is_as_documented(sandbox, client, post, message):
    envelope = post(client, sandbox, message()).json()
    assert set(envelope) == {"status", "description", "response_time", "data"}
    assert envelope["status"] == "200"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", envelope["response_time"])
    (entry,) = envelope["data"]
    assert set(entry) == {"recipient", "id", "status"}
    assert entry["recipient"] == "447700900101"
    assert entry["status"] == 200
    assert entry["id"] == sandbox.messages[0]["id"]


def test_some_failed_gives_206_and_the_answer_keeps_no_order(sandbox, client, post, message):
    answer = post(client, sandbox, message("447700900101"), message("447700900190"), message("447700900102"))
    assert answer.status_code == 206
    assert answer.json()["status"] == "206"
    assert [entry["recipient"] for entry in answer.json()["data"]] == [
        "447700900102",
        "447700900190",
        "447700900101",
    ]
    assert sandbox.counts["accepted"] == 2
    assert sandbox.counts["refused"] == 1


def test_all_failed_gives_400_with_the_list(sandbox, client, post, message):
    answer = post(client, sandbox, message("447700900190"), message("15555550192"))
    assert answer.status_code == 400
    assert [entry["status"] for entry in answer.json()["data"]] == [400, 400]
    assert sandbox.messages == []


@pytest.mark.parametrize("number", ["4477009001{}", "155555501{}"])
@pytest.mark.parametrize(
    ("ending", "code"),
    [
        pytest.param("91", 131026, id="undeliverable"),
        pytest.param("92", 131050, id="opted-out"),
        pytest.param("94", 131049, id="ecosystem"),
        pytest.param("95", 132000, id="parameters"),
        pytest.param("96", 131031, id="locked"),
    ],
)
def test_refused_endings_carry_their_code(sandbox, client, post, message, number, ending, code):
    answer = post(client, sandbox, message(number.format(ending)))
    (entry,) = answer.json()["data"]
    assert str(code) in str(entry["failed"])
    assert isinstance(entry["failed"], dict) is (ending == "91")
    assert sandbox.messages == []


def test_ending_90_fails_without_a_code(sandbox, client, post, message):
    (entry,) = post(client, sandbox, message("447700900190")).json()["data"]
    assert entry["failed"] == "invalid — Not a valid WhatsApp user"


def test_ending_93_is_throttled_once_per_number(sandbox, client, post, message):
    first = post(client, sandbox, message("447700900193"))
    assert first.status_code == 400
    assert "130429" in first.json()["data"][0]["failed"]
    assert post(client, sandbox, message("447700900193")).status_code == 200
    assert post(client, sandbox, message("447700900293")).status_code == 400
    assert [item["recipient"] for item in sandbox.messages] == ["447700900193"]


def test_endings_97_and_98_are_missing_from_the_answer(sandbox, client, post, message):
    answer = post(client, sandbox, *map(message, ["447700900197", "447700900198", "447700900101"]))
    assert answer.status_code == 200
    assert [entry["recipient"] for entry in answer.json()["data"]] == ["447700900101"]
    assert [item["recipient"] for item in sandbox.messages] == ["447700900197", "447700900101"]


def test_ending_99_is_accepted(sandbox, client, post, message):
    assert post(client, sandbox, message("447700900199")).status_code == 200


def test_a_number_may_stand_twice_in_one_request(sandbox, client, post, message):
    answer = post(client, sandbox, message(), message())
    assert len({entry["id"] for entry in answer.json()["data"]}) == 2
    assert sandbox.counts["duplicates"] == 1


def test_ids_come_in_three_styles(sandbox, client, post, message):
    post(client, sandbox, message(), message(), message())
    numeric, uuid_like, base64_like = (item["id"] for item in sandbox.messages)
    assert numeric.isdigit()
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", uuid_like)
    assert base64_like.endswith("==")


@pytest.mark.parametrize(
    ("media_id", "problem"),
    [
        pytest.param("1234567890", "no media", id="never-uploaded"),
        pytest.param(None, "of kind document, not image", id="of-another-kind"),
    ],
)
def test_media_that_does_not_fit_is_refused_per_recipient(sandbox, client, post, message, path, media_id, problem):
    if media_id is None:
        files = {"pic": ("terms.pdf", b"%PDF-1.7")}
        uploaded = client.post(path(sandbox, "whatsapp/uploadmedia"), files=files)
        media_id = uploaded.json()["data"][0]["id"]
    header = {"type": "header", "parameters": [{"type": "image", "image": {"id": media_id}}]}
    answer = post(client, sandbox, message("447700900101", header), message("447700900102"))
    assert answer.status_code == 206
    failed = answer.json()["data"][1]["failed"]
    assert failed.startswith("131053")
    assert problem in failed


def test_uploaded_media_is_accepted(sandbox, client, post, message, path):
    uploaded = client.post(path(sandbox, "whatsapp/uploadmedia"), files={"pic": ("a.png", b"\x89PNG")})
    media_id = uploaded.json()["data"][0]["id"]
    header = {"type": "header", "parameters": [{"type": "image", "image": {"id": media_id}}]}
    assert post(client, sandbox, message("447700900101", header)).status_code == 200


def test_any_media_can_be_accepted(connect, post, message):
    header = {"type": "header", "parameters": [{"type": "image", "image": {"id": "1234567890"}}]}
    with Sandbox(accept_any_media=True) as sandbox:
        assert post(connect(sandbox), sandbox, message("447700900101", header)).status_code == 200


def test_more_than_the_rate_is_throttled_as_a_whole(connect, post, message, eventually):
    numbers = [f"4477009001{number:02d}" for number in range(15)]
    with Sandbox(messages_per_second=20) as sandbox:
        client = connect(sandbox)
        begun = time.monotonic()
        assert post(client, sandbox, *map(message, numbers)).status_code == 200
        throttled = post(client, sandbox, *map(message, numbers))
        assert throttled.status_code == 429
        assert throttled.headers["retry-after"] == "1"
        assert sandbox.counts["accepted"] == 15
        assert post(client, sandbox, *map(message, numbers[:5])).status_code == 200
        eventually(lambda: post(client, sandbox, *map(message, numbers)).status_code == 200)
        assert sandbox.counts["accepted"] == 35
        assert time.monotonic() - begun >= 0.99
