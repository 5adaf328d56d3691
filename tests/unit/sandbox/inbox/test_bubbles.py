"""The inbox of a sandbox that knows templates: messages as their recipients see them."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.sandbox import Sandbox
from airflow_provider_cirrus.sandbox.inbox import pages
from airflow_provider_cirrus.sandbox.inbox.bubbles import Bubbles
from airflow_provider_cirrus.sandbox.records import record_of
from airflow_provider_cirrus.templates import Templates
from tests.unit.templates.definitions import ALL, ORDER, changed
from tests.unit.templates.test_check import GOOD

HOSTILE = [
    "a\x00b",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\u202egnp.exe",
    "\U0001f6b2 ride",
    "a & b",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for one in ALL.values():
        (tmp_path / f"{one['name']}.{one['language']}.json").write_text(json.dumps(one))
    return tmp_path


def send(sandbox: Sandbox, name: str, **fields: Any) -> None:
    template = {"name": ALL[name]["name"], "language": ALL[name]["language"], **GOOD[name], **fields}
    with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
        assert [one.outcome for one in client.send([Message.build("+447700900101", template)]).results] == ["accepted"]


class Elements(HTMLParser):
    """The elements of a page, and whether each is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("br", "meta", "link", "input", "rect", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def elements(page: str) -> Elements:
    found = Elements()
    found.feed(page)
    assert found.open == []
    return found


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        pytest.param(
            "order",
            [
                '<div class="header"><bdi>Order A-17</bdi></div>',
                "<p>Hello Ann, the bicycle that you ordered at our shop arrives on Friday in the morning hours.</p>",
                '<div class="footer">Two Wheels, Bristol</div>',
                "<bdi>Follow it</bdi> <small><bdi>https://wheels.example/follow/A-17</bdi></small>",
            ],
            id="order",
        ),
        pytest.param("named", ["<p>Ola Ann, o pedido A-17 chega"], id="named"),
        pytest.param("code", ["<strong>493817</strong>", "Expires in 10 min."], id="code"),
        pytest.param("carousel", ["image <bdi>17</bdi>", "A stout one for the"], id="carousel"),
    ],
)
def test_a_message_is_a_bubble(folder: Path, name: str, parts: list[str]) -> None:
    with Sandbox(templates=str(folder), accept_any_media=True) as sandbox:
        send(sandbox, name)
        page = httpx.get(f"{sandbox.base_url}/to/447700900101", trust_env=False).text
        (message,) = httpx.get(f"{sandbox.base_url}/inbox.json", trust_env=False).json()["messages"]
    elements(page)
    bubble = page[page.index('<div class="bubble" dir="ltr">') :]
    bubble = re.sub(r">\n\s*<", "><", bubble)
    assert [part for part in parts if part not in bubble] == []
    assert message["preview"]


def test_without_a_definition_the_parameters_are_shown(folder: Path) -> None:
    (folder / "order_update.en.json").unlink()
    with Sandbox(templates=str(folder)) as sandbox:
        send(sandbox, "order")
        page = httpx.get(f"{sandbox.base_url}/to/447700900101", trust_env=False).text
        (message,) = httpx.get(f"{sandbox.base_url}/inbox.json", trust_env=False).json()["messages"]
    assert message["preview"] is None
    assert "<b>body</b> <bdi>Ann | Friday | morning</bdi>" in page


def test_a_definition_that_cannot_be_read_says_so_and_hides_no_message(folder: Path) -> None:
    (folder / "order_update.en.json").write_text("{")
    with Sandbox(templates=str(folder)) as sandbox:
        send(sandbox, "order")
        page = httpx.get(f"{sandbox.base_url}/to/447700900101", trust_env=False).text
    assert "order_update.en.json:1: is no JSON" in page
    assert "447700900101" in page


def test_a_page_reads_its_definitions_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = Templates._look_for
    monkeypatch.setattr(
        Templates, "_look_for", lambda self, name, language: asked.append(name) or real(self, name, language)
    )
    bubbles = Bubbles(str(folder))
    for _ in range(5):
        assert bubbles.preview(record_of(stored("x")))
    assert asked == ["order_update"]


def test_a_definition_that_changes_shows_at_once(folder: Path) -> None:
    with Sandbox(templates=str(folder)) as sandbox:
        send(sandbox, "order")
        other = changed(ORDER, ["components", 2, "text"], "Another footer, of another length")
        (folder / "order_update.en.json").write_text(json.dumps(other))
        assert "Another footer" in httpx.get(f"{sandbox.base_url}/to/447700900101", trust_env=False).text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_of_a_message_becomes_markup(folder: Path, hostile: str) -> None:
    plain = elements(page(folder, stored("x")))
    shown = page(folder, stored(hostile))
    found = elements(shown)
    assert (found.names, found.attributes) == (plain.names, plain.attributes)
    assert not {"\u202e", "\x00"} & set(shown)


def page(folder: Path | None, message: dict[str, Any]) -> str:
    """The page of a message."""
    bubbles = Bubbles(None if folder is None else str(folder))
    return pages.message(record_of(message), bubbles, None, is_kept=lambda media_id: False)


def stored(text: str) -> dict[str, Any]:
    parameters = [{"type": "text", "text": text}] * 3
    return {
        "key": "1",
        "number": 1,
        "outcome": "accepted",
        "recipient": "447700900101",
        "schedule": None,
        "object_data": None,
        "id": "690000000017",
        "object_id": None,
        "failed": None,
        "received_at": "2026-11-20T08:00:00.0000000Z",
        "request": 1,
        "tags": ["template:order_update"],
        "read": False,
        "template": "order_update",
        "language": "en",
        "components": [
            {"type": "header", "parameters": parameters[:1]},
            {"type": "body", "parameters": parameters},
            {"type": "button", "sub_type": "url", "index": 1, "parameters": parameters[:1]},
        ],
    }


def test_ten_megabytes_are_cut(folder: Path) -> None:
    assert len(page(folder, stored("x" * 10_000_000))) < 60_000
    assert len(page(None, stored("x" * 10_000_000))) < 60_000


def test_a_language_that_reads_from_the_right_does(folder: Path) -> None:
    (folder / "order_update.he.json").write_text(json.dumps(changed(ORDER, ["language"], "he")))
    assert '<div class="bubble" dir="rtl">' in page(folder, {**stored("x"), "language": "he"})


def test_a_folder_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"templates is no folder: .*nowhere"):
        Sandbox(templates=str(tmp_path / "nowhere"))


@pytest.fixture
def conversation(folder: Path) -> Any:
    with Sandbox(templates=str(folder)) as sandbox:
        send_in = Message.build(
            "+447700900101", {"name": "order_update", "language": "en", **GOOD["order"]}, object_data={"StatusId": 1}
        )
        with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
            (result,) = client.send([send_in]).results
        with httpx.Client(base_url=sandbox.base_url, trust_env=False) as http:
            yield http, f"/conversations/{result.object_id}"


def test_an_answer_of_the_form_stands_in_the_conversation(conversation: Any) -> None:
    http, page = conversation
    see = "/to/447700900101#end"
    looked = http.get(page)
    assert (looked.status_code, looked.headers["location"]) == (303, see)
    assert '<button name="text" value="Thank you">' in http.get(see).text
    done = http.post(page, data={"text": "  <b>Yes</b>"})
    assert (done.status_code, done.headers["location"]) == (303, see)
    shown = http.get(see).text
    elements(shown)
    assert "&lt;b&gt;Yes&lt;/b&gt;" in shown


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        pytest.param("", b"text=", {}, 400, id="empty"),
        pytest.param("", b"other=x", {}, 400, id="no-text"),
        pytest.param("", b"text=" + b"x" * 4097, {}, 400, id="long"),
        pytest.param("", b"&".join(b"%d=x" % n for n in range(21)), {}, 400, id="many-fields"),
        pytest.param("", b"text=x&more=" + b"x" * 70_000, {}, 400, id="long-form"),
        pytest.param("", b"text=\xff", {}, 400, id="no-utf-8"),
        pytest.param("", b"text=x", {"origin": "https://elsewhere.example"}, 403, id="another-site"),
        pytest.param("", b"text=x", {"origin": "null"}, 403, id="nobody-knows-where"),
        pytest.param("0", b"text=x", {}, 404, id="no-such-conversation"),
        pytest.param("/x", b"text=x", {}, 404, id="no-number"),
    ],
)
def test_what_is_no_answer_is_refused(
    conversation: Any, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    http, page = conversation
    assert http.post(page + path, content=body, headers=headers).status_code == status
    assert http.get("/to/447700900101").text.count('class="theirs"') == 0


def test_a_conversation_that_is_not_there(conversation: Any) -> None:
    http, _ = conversation
    assert http.get("/conversations/1").status_code == 404
