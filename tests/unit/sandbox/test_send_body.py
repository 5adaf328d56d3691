from __future__ import annotations

import copy
import time
from typing import Any

import pytest

LATER = int(time.time()) + 86_400


def header(**parameter: Any) -> dict[str, Any]:
    return {"type": "header", "parameters": [parameter]}


def body(*texts: Any) -> dict[str, Any]:
    return {"type": "body", "parameters": [{"type": "text", "text": text} for text in texts]}


def named(*names: str) -> dict[str, Any]:
    return {
        "type": "body",
        "parameters": [{"type": "text", "text": "x", "parameter_name": name} for name in names],
    }


def button(sub_type: str = "url", index: Any = 0, **parameter: Any) -> dict[str, Any]:
    parameter = parameter or {"type": "text", "text": "abc"}
    return {"type": "button", "sub_type": sub_type, "index": index, "parameters": [parameter]}


ACCEPTED = [
    pytest.param([], id="no-components"),
    pytest.param([body("Ada", "A-17")], id="body"),
    pytest.param([named("first_name", "order")], id="named-body"),
    pytest.param([header(type="text", text="x" * 60)], id="header-text-60"),
    pytest.param([header(type="image", image={"link": "https://example.com/a.png"})], id="image-link"),
    pytest.param([header(type="video", video={"link": "https://example.com/a.mp4"})], id="video-link"),
    pytest.param(
        [header(type="document", document={"link": "https://example.com/a", "filename": "a.pdf"})],
        id="document-with-filename",
    ),
    pytest.param([header(type="location", location={"latitude": 1.5})], id="location-unchecked"),
    pytest.param([body("x" * 1024)], id="body-1024"),
    pytest.param([body("four    spaces")], id="four-spaces"),
    pytest.param([{"type": "body", "parameters": [{"type": "currency", "currency": {"code": "EUR"}}]}], id="currency"),
    pytest.param([button("url"), button("url", 1)], id="two-url-buttons"),
    pytest.param([button("quick_reply", type="payload", payload="STOP")], id="quick-reply"),
    pytest.param([button("copy_code", type="coupon_code", coupon_code="SAVE20")], id="copy-code"),
    pytest.param([{"type": "button", "sub_type": "catalog", "index": 0}], id="catalog-without-parameters"),
    pytest.param([button("flow", type="action", action={"flow_token": "x"})], id="flow"),
    pytest.param([button(index=index) for index in range(10)], id="ten-buttons"),
    pytest.param([{"type": "carousel", "cards": [{"card_index": 0, "components": []}]}], id="carousel"),
    pytest.param([body("123456"), button("url", 0, type="text", text="123456")], id="authentication"),
    pytest.param([button(), body("any order"), header(type="text", text="x")], id="any-order"),
]

REFUSED = [
    pytest.param([{"type": "footer", "parameters": []}], "[0]", "footer", id="footer"),
    pytest.param([{"type": "BODY", "parameters": []}], "[0].type", "unknown component", id="upper-case"),
    pytest.param(["body"], "[0]", "must be an object", id="component-as-text"),
    pytest.param([body("a"), body("b")], "[1]", "second body", id="two-bodies"),
    pytest.param([header(type="text", text="a")] * 2, "[1]", "second header", id="two-headers"),
    pytest.param([{"type": "body"}], "[0]", "Missing parameter parameters", id="no-parameters"),
    pytest.param([{"type": "body", "parameters": []}], "[0].parameters", "empty", id="empty-parameters"),
    pytest.param([{**body("a"), "text": "x"}], "[0]", "unknown key 'text'", id="unknown-component-key"),
    pytest.param([body(5)], "parameters[0].text", "must be a string, not a number", id="number"),
    pytest.param([body("")], "parameters[0].text", "empty", id="empty-text"),
    pytest.param([body(" ")], "parameters[0].text", "empty", id="blank-text"),
    pytest.param([body("a\nb")], "parameters[0].text", "newline", id="newline"),
    pytest.param([body("a\tb")], "parameters[0].text", "tab", id="tab"),
    pytest.param([body("a     b")], "parameters[0].text", "4 spaces", id="five-spaces"),
    pytest.param([body("x" * 1025)], "parameters[0].text", "at most 1024", id="long-body"),
    pytest.param([body("x" * 600, "x" * 600)], "[0].parameters", "1200 characters together", id="long-sum"),
    pytest.param(
        [{"type": "body", "parameters": [*named("a")["parameters"], *body("b")["parameters"]]}],
        "[0].parameters",
        "mixed",
        id="named-and-positional",
    ),
    pytest.param([named("a", "a")], "[0].parameters", "twice", id="name-twice"),
    pytest.param(
        [{"type": "body", "parameters": [{"type": "texxt", "text": "x"}]}], "[0].type", "unknown", id="type-slip"
    ),
    pytest.param([header(type="text", text="x" * 61)], "text", "at most 60", id="long-header"),
    pytest.param(
        [{"type": "header", "parameters": [{"type": "text", "text": "a"}] * 2}],
        "[0].parameters",
        "exactly one",
        id="two-header-parameters",
    ),
    pytest.param([header(type="image", image={})], "image", "exactly one of", id="neither-link-nor-id"),
    pytest.param(
        [header(type="image", image={"link": "https://example.com/a", "id": "1"})],
        "image",
        "exactly one of",
        id="link-and-id",
    ),
    pytest.param([header(type="image", image={"id": 17})], "image.id", "must be a string", id="numeric-id"),
    pytest.param([header(type="image", image={"link": "a.png"})], "image.link", "URL", id="no-url"),
    pytest.param(
        [header(type="image", image={"link": "https://example.com/a", "caption": "x"})],
        "image",
        "no caption",
        id="caption",
    ),
    pytest.param(
        [header(type="video", video={"id": "1", "filename": "a.mp4"})],
        "video",
        "documents only",
        id="filename-on-video",
    ),
    pytest.param([header(type="audio", audio={"id": "1"})], "[0].type", "unknown", id="audio"),
    pytest.param([button(index="0")], "[0].index", "must be an integer, not a string", id="index-as-text"),
    pytest.param([button(index=True)], "[0].index", "must be an integer", id="index-as-bool"),
    pytest.param([button(index=10)], "[0].index", "0 to 9", id="eleventh-button"),
    pytest.param([button(), button()], "[1].index", "second button", id="index-twice"),
    pytest.param([button("link")], "[0].sub_type", "unknown button", id="unknown-button"),
    pytest.param([button("quick_reply")], "parameters[0]", "Missing parameter payload", id="wrong-parameter"),
    pytest.param(
        [button("quick_reply", type="payload", payload="x" * 257)], "payload", "at most 256", id="long-payload"
    ),
    pytest.param([button("copy_code", type="coupon_code", coupon_code="x" * 16)], "coupon", "at most 15", id="coupon"),
    pytest.param([button(type="text", text="x" * 2001)], "text", "at most 2000", id="long-url-suffix"),
]


@pytest.mark.parametrize("components", ACCEPTED)
def test_documented_components_are_accepted(sandbox, client, post, message, components):
    answer = post(client, sandbox, message("447700900101", *components))
    assert answer.status_code == 200, answer.text
    assert sandbox.messages[0]["components"] == components


@pytest.mark.parametrize(("components", "place", "problem"), REFUSED)
def test_broken_components_are_refused_with_their_place(sandbox, client, post, message, components, place, problem):
    answer = post(client, sandbox, message("447700900101"), message("447700900102", *components))
    assert answer.status_code == 400
    envelope = answer.json()
    assert "data" not in envelope
    assert envelope["description"].startswith("data[1].template_data.template.components")
    assert place in envelope["description"].partition(": ")[0]
    assert problem in envelope["description"].partition(": ")[2]
    assert sandbox.messages == []


OBJECT_DATA = {
    "createChildObject": False,
    "streamId": 40001,
    "SubStreamId": 0,
    "StatusId": 7,
    "ManagerId": 12,
    "Content": {"order": 17},
    "User": {"UniqueId": "u1", "LastName": "L", "FirstName": "A", "Phone1": "447700900101", "Email": ""},
}

ENTRIES = [
    pytest.param(("template_data", "to"), "+447700900101", "template_data.to", id="plus"),
    pytest.param(("template_data", "to"), "0447700900101", "template_data.to", id="leading-zero"),
    pytest.param(("template_data", "to"), "4477 00900101", "template_data.to", id="space"),
    pytest.param(("template_data", "to"), "4477009", "template_data.to", id="too-short"),
    pytest.param(("template_data", "to"), "4" * 16, "template_data.to", id="too-long"),
    pytest.param(("template_data", "to"), "٤٤٧٧٠٠٩٠٠١٠١", "template_data.to", id="arabic-digits"),
    pytest.param(("template_data", "to"), 447700900101, "template_data.to", id="number-as-int"),
    pytest.param(("template_data", "to"), None, "template_data.to: null", id="null"),
    pytest.param(("template_data", "ttl"), 1, "unknown key 'ttl'", id="unknown-template-data-key"),
    pytest.param(("template_data", "template", "name"), "", "template.name", id="empty-name"),
    pytest.param(("template_data", "template", "namespace"), "x", "unknown key", id="unknown-template-key"),
    pytest.param(("template_data", "template", "language"), "en", "template.language", id="language-as-text"),
    pytest.param(("template_data", "template", "language", "code"), "", "language.code", id="empty-code"),
    pytest.param(("template_data", "template", "language", "policy"), "x", "unknown key", id="policy"),
    pytest.param(("template_data", "template", "components"), {}, "template.components", id="components-object"),
    pytest.param(("schedule",), True, "schedule: must be an integer", id="schedule-bool"),
    pytest.param(("schedule",), str(LATER), "schedule: must be an integer", id="schedule-text"),
    pytest.param(("schedule",), LATER + 0.5, "schedule: must be an integer", id="schedule-float"),
    pytest.param(("schedule",), 1_500_000_000, "schedule: must lie in the future", id="schedule-past"),
    pytest.param(("schedule",), LATER * 1000, "milliseconds", id="schedule-milliseconds"),
    pytest.param(("recipient",), "447700900101", "unknown key 'recipient'", id="unknown-entry-key"),
    pytest.param(("template_data", "object_data"), {}, "unknown key 'object_data'", id="object-data-inside"),
    pytest.param(("object_data", "statusId"), 1, "it is spelled 'StatusId'", id="object-data-casing"),
    pytest.param(("object_data", "StatusId"), 12, "no documented status", id="unknown-status"),
    pytest.param(("object_data", "StatusId"), "1", "must be an integer", id="status-as-text"),
    pytest.param(("object_data", "ManagerId"), True, "must be an integer", id="manager-as-bool"),
    pytest.param(("object_data", "createChildObject"), 1, "true or false", id="child-as-int"),
    pytest.param(("object_data", "Content"), "x", "must be an object", id="content-as-text"),
    pytest.param(("object_data", "User"), {"FirstName": "A"}, "Missing parameter Phone1", id="no-phone"),
    pytest.param(("object_data", "User", "Phone2"), "1", "unknown key 'Phone2'", id="phone2"),
    pytest.param(("object_data", "User", "Remarks"), 1, "must be a string", id="remarks-as-int"),
]


def test_full_entry_is_accepted_and_recorded(sandbox, client, post, message):
    answer = post(client, sandbox, message("447700900101", schedule=LATER, object_data=OBJECT_DATA))
    assert answer.status_code == 200, answer.text
    (recorded,) = sandbox.messages
    assert recorded["schedule"] == LATER
    assert recorded["object_data"] == OBJECT_DATA
    assert (recorded["recipient"], recorded["template"], recorded["language"]) == (
        "447700900101",
        "order_update",
        "en",
    )


@pytest.mark.parametrize(("keys", "value", "problem"), ENTRIES)
def test_broken_entry_is_refused(sandbox, client, post, message, keys, value, problem):
    entry = message(schedule=LATER, object_data=copy.deepcopy(OBJECT_DATA))
    inner = entry
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    answer = post(client, sandbox, entry)
    assert answer.status_code == 400
    assert problem in answer.json()["description"]
    assert answer.json()["description"].startswith("data[0]")
    assert sandbox.messages == []


@pytest.mark.parametrize("missing", ["to", "template"])
def test_missing_keys_are_named(sandbox, client, post, message, missing):
    entry = message()
    del entry["template_data"][missing]
    assert post(client, sandbox, entry).json()["description"].endswith(f"Missing parameter {missing}")


@pytest.mark.parametrize(
    ("raw", "content_type", "problem"),
    [
        pytest.param(b'{"data": []}', "application/json", "1 to 20", id="no-entries"),
        pytest.param(b'{"data": {}}', "application/json", "data: must be a list", id="data-object"),
        pytest.param(b'{"data": [1]}', "application/json", "data[0]: must be an object", id="entry-number"),
        pytest.param(b"[]", "application/json", "body: must be an object", id="top-level-list"),
        pytest.param(b'{"data": [], "x": 1}', "application/json", "unknown key 'x'", id="top-level-key"),
        pytest.param(b"{}", "application/json", "Missing parameter data", id="no-data"),
        pytest.param(b"{", "application/json", "not JSON", id="broken"),
        pytest.param(b"", "application/json", "not JSON", id="empty"),
        pytest.param(b'{"data": NaN}', "application/json", "NaN", id="nan"),
        pytest.param(b'{"data": 1e999}', "application/json", "too large", id="infinite"),
        pytest.param(b'{"data": ' + b"9" * 5000 + b"}", "application/json", "not JSON", id="huge-integer"),
        pytest.param(b'{"data": 1, "data": 2}', "application/json", "twice", id="key-twice"),
        pytest.param(b'{"data": "\\ud83d"}', "application/json", "surrogate", id="half-emoji"),
        pytest.param(b'{"data": "\xff"}', "application/json", "UTF-8", id="latin-1"),
        pytest.param(b"[" * 100_000, "application/json", "deeply", id="deep"),
        pytest.param(b'{"data": []}', "text/plain", "application/json", id="text-plain"),
        pytest.param(b'{"data": []}', "application/json; charset=latin-1", "UTF-8", id="charset"),
        pytest.param(b'{"data": []}', "application/json; charset=utf-8", "1 to 20", id="utf-8-is-fine"),
    ],
)
def test_broken_body_is_refused(sandbox, client, path, raw, content_type, problem):
    answer = client.post(path(sandbox), content=raw, headers={"Content-Type": content_type})
    assert answer.status_code == 400
    assert problem in answer.json()["description"]


def test_twenty_entries_are_accepted_and_one_more_is_not(sandbox, client, post, message):
    numbers = [f"4477009001{number:02d}" for number in range(21)]
    assert post(client, sandbox, *map(message, numbers)).status_code == 400
    assert sandbox.messages == []
    assert post(client, sandbox, *map(message, numbers[:20])).status_code == 200
    assert [item["recipient"] for item in sandbox.messages] == numbers[:20]
