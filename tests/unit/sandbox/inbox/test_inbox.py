from __future__ import annotations

from importlib.resources import files

import pytest

from airflow_provider_cirrus.sandbox import Sandbox
from airflow_provider_cirrus.sandbox.suffixes import SUFFIXES

EVIL = "<script>alert(1)</script>\"'&"


def test_inbox_json(sandbox, client, post, message, path):
    post(client, sandbox, message("447700900101"), message("447700900102"), message("447700900190"))
    client.post(path(sandbox, "whatsapp/uploadmedia"), files={"pic": ("a.png", b"x")})
    client.get(path(sandbox, "whatsapp/validatecontact", "447700900101"))
    inbox = client.get("/inbox.json", headers={"Authorization": ""}).json()
    assert inbox["counts"] == {
        "accepted": 2,
        "refused": 1,
        "requests": 3,
        "uploads": 1,
        "validations": 1,
        "duplicates": 0,
    }
    assert [item["number"] for item in inbox["messages"]] == [1, 2]
    assert set(inbox["messages"][0]) == {
        "key",
        "number",
        "outcome",
        "failed",
        "tags",
        "read",
        "recipient",
        "template",
        "language",
        "components",
        "schedule",
        "object_data",
        "id",
        "object_id",
        "received_at",
        "request",
    }
    assert inbox["messages"] == sandbox.messages
    assert inbox["uploads"] == sandbox.uploads
    assert inbox["validations"] == sandbox.validations


def test_inbox_can_be_narrowed(sandbox, client, post, message):
    post(client, sandbox, *map(message, ["447700900101", "447700900102", "447700900101", "447700900103"]))
    narrowed = client.get("/inbox.json", params={"recipient": "+44 7700 900101", "limit": 1}).json()
    assert [item["number"] for item in narrowed["messages"]] == [3]
    assert narrowed["counts"]["accepted"] == 4
    assert [item["number"] for item in client.get("/inbox.json?limit=2").json()["messages"]] == [3, 4]
    assert client.get("/inbox.json?limit=0").json()["messages"] == []
    assert client.get("/inbox.json?limit=all").status_code == 400


def test_duplicates_are_counted(sandbox, client, post, message):
    hello = {"type": "body", "parameters": [{"type": "text", "text": "hello"}]}
    post(client, sandbox, message(), message("447700900101", hello), message("447700900102"))
    assert sandbox.counts["duplicates"] == 0
    post(client, sandbox, message(), message("447700900101", hello))
    assert sandbox.counts["duplicates"] == 2


def test_page_escapes_what_it_shows(sandbox, client, post, path):
    components = [
        {"type": "header", "parameters": [{"type": "document", "document": {"link": "https://example.com/" + EVIL}}]},
        {"type": "body", "parameters": [{"type": "text", "text": EVIL, "parameter_name": EVIL}]},
        {"type": "button", "sub_type": "flow", "index": 0, "parameters": [EVIL]},
        {"type": "carousel", "cards": [EVIL]},
    ]
    template = {"name": EVIL, "language": {"code": EVIL}, "components": components}
    sent = post(client, sandbox, {"template_data": {"to": "447700900101", "template": template}})
    assert sent.status_code == 200
    client.post(path(sandbox, "whatsapp/uploadmedia"), files={"pic": ("<script>.png", b"x", "image/<script>")})
    said = 0
    for page in ("/", "/to/447700900101", "/messages/1", "/files"):
        answer = client.get(page)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.text.count("<script") == 1, "the page's own"
        said += answer.text.count("&lt;script&gt;")
    assert said >= 20
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_newest_is_first_in_the_list_and_what_it_says_on_its_page(sandbox, client, post, message):
    text = {"type": "body", "parameters": [{"type": "text", "text": "Your parcel is here"}]}
    reply = {
        "type": "button",
        "sub_type": "quick_reply",
        "index": 2,
        "parameters": [{"type": "payload", "payload": "STOP-17"}],
    }
    post(client, sandbox, message("447700900101", text, reply), message("447700900102", schedule=4_000_000_000))
    page = client.get("/").text
    assert page.index("447700900102") < page.index("447700900101")
    assert "Your parcel is here" in page
    thread = client.get("/to/447700900101").text
    for shown in ("order_update", "Your parcel is here", "button 2 (quick_reply)", "STOP-17"):
        assert shown in thread
    assert "Scheduled for 2096-10-02" in client.get("/to/447700900102").text
    faults = client.get("/faults").text
    for ending, suffix in SUFFIXES.items():
        assert f"…{ending}" in faults
        assert suffix.meaning in faults


def test_style_comes_with_the_package(client):
    answer = client.get("/_sandbox/inbox.css")
    assert answer.headers["content-type"].startswith("text/css")
    assert answer.text == (files("airflow_provider_cirrus.sandbox.inbox") / "static" / "inbox.css").read_text()


def test_reset_forgets_everything(sandbox, client, post, message):
    post(client, sandbox, message("447700900193", object_data={}))
    sandbox.add_fault("drop_before")
    assert client.post("/_sandbox/reset").status_code == 200
    assert sandbox.messages == sandbox.requests == sandbox.faults == []
    assert set(sandbox.counts.values()) == {0}
    assert post(client, sandbox, message("447700900193")).status_code == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Host": "localhost:8787"}, 200, id="localhost"),
        pytest.param({"Host": "[::1]:8787"}, 200, id="ipv6"),
        pytest.param({"Host": "rebound.example"}, 403, id="rebound-name"),
        pytest.param({"Host": "[broken"}, 403, id="broken"),
        pytest.param({"Origin": "https://elsewhere.example"}, 403, id="other-site"),
        pytest.param({"Origin": "null"}, 403, id="opaque-origin"),
    ],
)
@pytest.mark.parametrize(
    "page", ["/", "/inbox.json", "/_sandbox/faults", "/healthz", "/metrics", "/files", "/_sandbox/openapi.json"]
)
def test_other_sites_cannot_read_the_inbox(client, headers, status, page):
    assert client.get(page, headers=headers).status_code == status


def test_bound_to_all_addresses_it_answers_to_any_name(connect):
    with Sandbox(host="0.0.0.0") as sandbox:
        assert sandbox.base_url.startswith("http://127.0.0.1:")
        assert connect(sandbox).get("/inbox.json", headers={"Host": "sandbox:8787"}).status_code == 200


def test_unknown_page_of_the_sandbox(client):
    assert client.get("/_sandbox/nothing").status_code == 404
    assert client.post("/inbox.json").status_code == 405
