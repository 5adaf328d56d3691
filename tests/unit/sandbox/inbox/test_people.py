"""The page of a recipient, and what happened in order."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.sandbox import Sandbox
from airflow_provider_cirrus.sandbox.inbox.pages import MESSAGES, PEOPLE
from tests.unit.templates.definitions import NAMED, ORDER, PICTURE, changed
from tests.unit.templates.test_check import GOOD

PERSON = "447700900101"


def get(sandbox: Sandbox, path: str) -> Any:
    return httpx.get(sandbox.base_url + path, trust_env=False)


def post(sandbox: Sandbox, path: str, **fields: str) -> httpx.Response:
    return httpx.post(sandbox.base_url + path, data=fields, trust_env=False)


def order(to: str = PERSON, **more: Any) -> Message:
    return Message.build(f"+{to}", {"name": "order_update", "language": "en", **GOOD["order"]}, **more)


def send(sandbox: Sandbox, *messages: Message) -> None:
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
        client.send(list(messages))


def kinds(sandbox: Sandbox, number: str = PERSON) -> list[str]:
    return [event["kind"] for event in get(sandbox, f"/_sandbox/recipients/{number}").json()["events"]]


def test_what_happened_is_told_in_order(sandbox: Sandbox) -> None:
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
        client.validate_contact(f"+{PERSON}")
    sandbox.add_fault("refused", recipient=PERSON, failed="not today")
    send(sandbox, order())
    send(sandbox, order(object_data={}), order("447700900102"))
    conversation = sandbox.conversations[0]["objectId"]
    sandbox.answer(conversation, "Thank you")
    sandbox.answer(conversation, "You are welcome", from_customer=False)
    told = get(sandbox, f"/_sandbox/recipients/{PERSON}").json()["events"]
    assert [event["kind"] for event in told] == [
        "checked",
        "requested",
        "refused",
        "requested",
        "accepted",
        "answered",
        "written",
    ]
    assert [event["at"] for event in told] == sorted(event["at"] for event in told)
    assert told[1]["text"] == "A request for order_update (en): answered 400"
    assert told[2]["text"] == "order_update (en) was refused: not today"
    assert told[3]["text"] == "A request for order_update (en): answered 200"
    assert (told[4]["message"], told[4]["conversation"], told[4]["request"]) == ("1", conversation, 3)
    assert (told[5]["text"], told[5]["conversation"]) == ("Thank you", conversation)
    page = get(sandbox, f"/to/{PERSON}").text
    for event in told:
        assert event["text"] in page


def test_a_request_that_got_no_answer_is_told_as_such(sandbox: Sandbox) -> None:
    sandbox.add_fault("drop_before")
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url, attempts=1) as client:
        assert client.send([order()]).results[0].outcome == "unknown"
    (event,) = get(sandbox, f"/_sandbox/recipients/{PERSON}").json()["events"]
    assert event["text"] == "A request for order_update (en): no answer"
    assert "no answer" in get(sandbox, f"/to/{PERSON}").text


def test_a_body_that_breaks_every_rule_is_told_of(sandbox: Sandbox, client: httpx.Client, path: Any) -> None:
    for body in ([PERSON], {"data": PERSON}, {"data": [{"template_data": {"to": PERSON, "template": "x"}}]}):
        client.post(path(sandbox), json=body)
    told = get(sandbox, f"/_sandbox/recipients/{PERSON}").json()["events"]
    assert {event["text"] for event in told} == {"A request for something that cannot be read: answered 400"}


def test_a_customer_writes_without_a_conversation_and_one_is_opened(sandbox: Sandbox) -> None:
    send(sandbox, order())
    assert sandbox.conversations == []
    done = post(sandbox, f"/to/{PERSON}", text="STOP")
    assert (done.status_code, done.headers["location"]) == (303, f"/to/{PERSON}#end")
    post(sandbox, f"/to/{PERSON}", text="I mean it")
    (conversation,) = sandbox.conversations
    assert [child["message"] for child in conversation["childs"]] == ["STOP", "I mean it"]
    assert not any(child["user"]["isManager"] for child in conversation["childs"])
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
        assert [one.from_customer for one in client.get_conversation(conversation["objectId"]).childs] == [True, True]
    page = get(sandbox, f"/to/{PERSON}").text
    assert page.count('class="theirs"') == 2


def test_a_customer_goes_on_with_the_newest_conversation(sandbox: Sandbox) -> None:
    send(sandbox, order(object_data={}))
    send(sandbox, order(object_data={}))
    post(sandbox, f"/to/{PERSON}", text="Thank you")
    assert [len(one["childs"]) for one in sandbox.conversations] == [1, 2]


@pytest.mark.parametrize("number", ["nobody", "4477009001", "%20", "447700900101447700900102"])
def test_what_is_no_number_or_part_of_one_has_no_page(sandbox: Sandbox, number: str) -> None:
    send(sandbox, order(), order("447700900102"))
    for path in (f"/to/{number}", f"/_sandbox/recipients/{number}"):
        assert get(sandbox, path).status_code == 404


def test_a_number_with_a_plus_is_the_same_person(sandbox: Sandbox, client: httpx.Client, path: Any) -> None:
    template = {"name": "order_update", "language": {"code": "en"}, "components": []}
    answer = client.post(path(sandbox), json={"data": [{"template_data": {"to": f"+{PERSON}", "template": template}}]})
    assert answer.status_code == 400
    (event,) = get(sandbox, f"/_sandbox/recipients/+{PERSON}").json()["events"]
    assert event["text"] == "A request for order_update (en): answered 400"


def test_nobody_answers_who_got_nothing(sandbox: Sandbox) -> None:
    assert post(sandbox, "/to/447700900199", text="Hello").status_code == 404
    assert post(sandbox, "/conversations/70001", text="Hello").status_code == 404
    assert sandbox.conversations == []
    page = get(sandbox, "/to/447700900199")
    assert page.status_code == 404
    assert "nothing is known of this number" in page.text


def test_the_list_is_in_the_order_of_the_newest_and_has_pages(sandbox: Sandbox) -> None:
    numbers = [f"4477009{n:05d}" for n in range(PEOPLE + 5) if n % 100 < 89][: PEOPLE + 5]
    for number in [*numbers, numbers[0]]:
        send(sandbox, order(number))

    def listed(path: str) -> list[str]:
        return re.findall(r'<span class="who">(\d+)</span>', get(sandbox, path).text)

    newest_first = [numbers[0], *reversed(numbers[1:])]
    assert listed("/") == newest_first[:PEOPLE]
    assert listed("/?page=2") == newest_first[PEOPLE:]
    assert listed("/?page=3") == []
    assert listed(f"/?query=to:{numbers[3]}") == [numbers[3]]
    assert listed(f"/to/{numbers[7]}?query=to:{numbers[3]}") == [numbers[3]]
    assert "2 messages" in get(sandbox, "/").text
    assert f'<a href="?query=&amp;page={2}">Older</a>' in get(sandbox, "/").text
    for wrong in ("0", "x", "1234567"):
        assert get(sandbox, f"/?page={wrong}").status_code == 400


def test_of_somebody_who_got_much_the_newest_are_shown(sandbox: Sandbox) -> None:
    for _ in range(6):
        send(sandbox, *[order() for _ in range(20)])
    page = get(sandbox, f"/to/{PERSON}").text
    assert page.count('<li class="ours') == MESSAGES
    assert f"{120 - MESSAGES} earlier ones" in page


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for one in (ORDER, NAMED, changed(ORDER, ["language"], "he"), PICTURE):
        (tmp_path / f"{one['name']}.{one['language']}.json").write_text(json.dumps(one))
    return tmp_path


def test_a_message_is_shown_in_every_language_side_by_side(folder: Path) -> None:
    with Sandbox(templates=str(folder)) as sandbox:
        send(sandbox, order())
        page = get(sandbox, "/messages/1").text
    languages = page.partition("In every language")[2]
    assert re.findall(r'<section aria-label="(\w+)">', languages) == ["en", "he", "pt_BR"]
    assert languages.count('dir="rtl"') == 1
    # What has no value in this message stays a placeholder.
    assert "Ola {{name}}" in languages


def test_a_picture_that_was_uploaded_is_shown_and_no_other(folder: Path) -> None:
    with Sandbox(templates=str(folder), accept_any_media=True) as sandbox:
        with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
            address = f"{sandbox.base_url}/whatsapp/uploadmedia/{sandbox.stream_id.replace('=', '%3D')}"
            sent = httpx.post(
                address,
                files={"pic": ("a.png", b"\x89PNG", "image/png")},
                headers={"Authorization": f"Bearer {sandbox.token}"},
                trust_env=False,
            )
            media_id = sent.json()["data"][0]["id"]
            for header in ({"id": media_id, "type": "image"}, {"id": "17", "type": "image"}):
                template = {"name": "new_bicycle", "language": "en", **GOOD["picture"], "header": header}
                client.send([Message.build(f"+{PERSON}", template)])
        page = get(sandbox, f"/to/{PERSON}").text
        assert get(sandbox, f"/_sandbox/media/{media_id}").content == b"\x89PNG"
    assert re.findall(r'<img src="([^"]+)"', page) == [f"/_sandbox/media/{media_id}"]


def test_tags_lead_to_what_shares_them(sandbox: Sandbox, client: httpx.Client, path: Any, message: Any) -> None:
    baggage = "airflow.dag_id=shop%20news,airflow.run_id=manual__2026-11-20T08%3A00%3A00;x=y, other=1 ,airflow.task_id="
    client.post(path(sandbox), json={"data": [message("447700900101")]}, headers={"Baggage": baggage})
    client.post(path(sandbox), json={"data": [message("447700900102")]})
    first, second = sandbox.messages
    stream = f"stream:{sandbox.stream_id}"
    tags = ["template:order_update", stream, "dag:shop news", "run:manual__2026-11-20T08:00:00"]
    assert (first["tags"], second["tags"]) == (tags, ["template:order_update", stream])
    page = get(sandbox, f"/to/{PERSON}").text
    links = [link.replace("&#34;", '"') for link in re.findall(r'<a href="(/\?query=[^"]+)">[a-z]+:', page)]
    assert len(links) == 4
    counts = []
    for link in links:
        found = get(sandbox, "/inbox.json" + link.removeprefix("/"))
        counts.append(len(found.json()["messages"]))
    assert counts == [2, 2, 1, 1]


def test_what_a_query_finds_is_deleted_by_a_form(sandbox: Sandbox) -> None:
    send(sandbox, order(), order("447700900102"))
    assert "Delete what is found" not in get(sandbox, "/").text
    assert "Delete what is found" in get(sandbox, "/?query=to:101").text
    assert post(sandbox, "/delete", query=" ").status_code == 400
    assert len(sandbox.messages) == 2
    assert post(sandbox, "/delete", query="to:101").headers["location"] == "/"
    assert [one["recipient"] for one in sandbox.messages] == ["447700900102"]


def test_faults_are_set_and_removed_by_a_form(sandbox: Sandbox) -> None:
    fields = {"name": "rate_limited_retry_after", "retry_after": "5", "times": "all", "probability": "0.5", "seed": "7"}
    assert post(sandbox, "/faults", **fields, skip="", status="").headers["location"] == "/faults"
    (fault,) = sandbox.faults
    assert {name: fault[name] for name in ("name", "retry_after", "times", "probability", "seed", "skip")} == {
        "name": "rate_limited_retry_after",
        "retry_after": 5.0,
        "times": None,
        "probability": 0.5,
        "seed": 7,
        "skip": 0,
    }
    assert "0 of ∞" in get(sandbox, "/faults").text
    for wrong in ({"status": "many"}, {"name": "<script>"}, {"other": "1"}, {"probability": "nan"}):
        answer = post(sandbox, "/faults", **wrong)
        assert answer.status_code == 400
        assert 'role="alert"' in answer.text
        assert "<script>" not in answer.text
    assert len(sandbox.faults) == 1
    assert post(sandbox, "/faults/999999/remove").status_code == 404
    assert post(sandbox, f"/faults/{fault['id']}/remove").headers["location"] == "/faults"
    assert sandbox.faults == []
