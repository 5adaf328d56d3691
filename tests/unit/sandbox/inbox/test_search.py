"""Finding messages in the inbox."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from airflow_provider_cirrus.api.client import CirrusClient
from airflow_provider_cirrus.api.models import Message
from airflow_provider_cirrus.sandbox import Sandbox
from airflow_provider_cirrus.sandbox.inbox.search import Query, QueryError
from airflow_provider_cirrus.sandbox.records import record_of

MESSAGES: list[dict[str, Any]] = [
    {
        "key": str(number),
        "number": number,
        "request": 1,
        "object_data": None,
        "outcome": "accepted",
        "failed": None,
        "read": number == 2,
        "tags": [f"template:{template}", f"dag:news_{number}", "run:manual__2026-11-20T08:00:00"],
        "id": f"m{number}",
        "recipient": recipient,
        "template": template,
        "language": language,
        "components": [{"type": "body", "parameters": [{"type": "text", "text": text}]}, *more],
        "schedule": schedule,
        "object_id": conversation,
        "received_at": moment,
    }
    for number, (recipient, template, language, text, schedule, conversation, moment, more) in enumerate(
        [
            ("447700900101", "order_update", "en", "Ann Lee", None, None, "2026-11-20T08:00:00.0000000Z", []),
            ("447700900102", "order_update", "pt_BR", "Lee", 1_900_000_000, 7, "2026-11-21T08:30:00.0000000Z", []),
            (
                "12025550143",
                "picture",
                "en",
                "Ben",
                None,
                None,
                "2026-11-22T09:00:00.0000000Z",
                [{"type": "header", "parameters": [{"type": "image", "image": {"id": "17"}}]}],
            ),
        ]
    )
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param("", "0123", id="everything"),
        pytest.param("lee", "01", id="a-word-in-any-case"),
        pytest.param('"ann lee"', "0", id="a-phrase"),
        pytest.param("lee -ann", "1", id="not"),
        pytest.param('-"ann lee"', "123", id="not-a-phrase"),
        pytest.param("lee ben", "", id="both"),
        pytest.param("hidden", "2", id="what-the-recipient-sees"),
        pytest.param("to:900102", "1", id="end-of-a-number"),
        pytest.param('to:"+44 7700 900101"', "0", id="number-as-people-write-it"),
        pytest.param("template:Order_Update", "01", id="template"),
        pytest.param("template:order", "", id="template-whole"),
        pytest.param("language:pt_br", "1", id="language"),
        pytest.param("-language:en", "13", id="not-a-language"),
        pytest.param("id:m2", "2", id="id"),
        pytest.param("after:2026-11-21", "12", id="after"),
        pytest.param("before:2026-11-21T08:30", "03", id="before-a-time"),
        pytest.param("after:2026-11-21 before:2026-11-22", "1", id="a-day"),
        pytest.param("is:scheduled", "13", id="scheduled"),
        pytest.param("is:now", "02", id="now"),
        pytest.param("has:conversation", "1", id="conversation"),
        pytest.param("has:media", "2", id="media"),
        pytest.param("-has:media lee", "01", id="all-together"),
        pytest.param("is:accepted", "012", id="accepted"),
        pytest.param("is:refused", "3", id="refused"),
        pytest.param("131026", "3", id="why-it-was-refused"),
        pytest.param("is:unread", "013", id="unread"),
        pytest.param("is:read", "2", id="read"),
        pytest.param("dag:News_1", "1", id="dag"),
        pytest.param("dag:news", "", id="dag-whole"),
        pytest.param('run:"manual__2026-11-20T08:00:00" to:101', "0", id="run"),
    ],
)
def test_a_query_finds(query: str, found: str) -> None:
    seen = {"m2": "what is hidden in the definition"}
    refused = {
        **MESSAGES[0],
        "key": "r1",
        "id": None,
        "recipient": "447700900190",
        "template": "refusal",
        "language": "de",
    }
    refused |= {"outcome": "refused", "failed": {"code": 131026}, "components": [], "tags": []}
    refused |= {"schedule": 1_900_000_000, "received_at": "2026-11-19T08:00:00.0000000Z"}
    records = [record_of(data) for data in [*MESSAGES, refused]]
    wanted = Query(query)
    messages = list(wanted.newest_first(records, lambda record: seen.get(record.id or "", "")))[::-1]
    assert "".join("3" if one.key == "r1" else str(one.id)[1:] for one in messages) == found


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("from:ann", "from:ann is not known; there are to, template"),
        ("is:delivered", "is:delivered is not known"),
        ("has:nothing", "has:nothing is not known"),
        ("to:ann", "to:ann holds no digit"),
        ("after:yesterday", "after:yesterday is no day"),
        ("x" * 1001, "at most 1000 characters"),
    ],
)
def test_what_cannot_be_asked_says_so(query: str, problem: str) -> None:
    with pytest.raises(QueryError, match=problem):
        Query(query)


@pytest.fixture
def http() -> Any:
    with Sandbox() as sandbox:
        template = {"name": "order_update", "language": "en"}
        with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
            client.send([Message.build(f"+44770090010{n}", {**template, "body": [f"order {n}"]}) for n in range(3)])
        with httpx.Client(base_url=sandbox.base_url, trust_env=False) as opened:
            yield opened


def test_page_and_json_are_searched_alike(http: httpx.Client) -> None:
    found = http.get("/inbox.json", params={"query": '"order 1"'}).json()["messages"]
    assert [message["recipient"] for message in found] == ["447700900101"]
    page = http.get("/", params={"query": '"order 1"'}).text
    assert "447700900101" in page
    assert "447700900102" not in page
    assert 'value="&#34;order 1&#34;"' in page


def test_the_newest_that_is_found(http: httpx.Client) -> None:
    assert http.get("/_sandbox/latest").json()["recipient"] == "447700900102"
    assert http.get("/_sandbox/latest", params={"query": 'order -"order 2"'}).json()["recipient"] == "447700900101"
    assert http.get("/_sandbox/latest", params={"query": "nothing"}).status_code == 404


@pytest.mark.parametrize("path", ["/", "/inbox.json", "/_sandbox/latest"])
def test_a_wrong_query_is_refused(http: httpx.Client, path: str) -> None:
    answer = http.get(path, params={"query": "is:delivered"})
    assert answer.status_code == 400
    assert "is:delivered is not known" in (answer.text if path == "/" else answer.json()["error"])


def test_a_limit_counts_what_is_found(http: httpx.Client) -> None:
    def count(**asked: str) -> int:
        return len(http.get("/inbox.json", params={"query": "order", **asked}).json()["messages"])

    assert [count(), count(limit="2"), count(limit="0")] == [3, 2, 0]


def test_what_was_refused_says_why() -> None:
    with Sandbox() as sandbox:
        template = {"name": "order_update", "language": "en"}
        with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
            client.send([Message.build("+447700900190", template), Message.build("+447700900191", template)])
        with httpx.Client(base_url=sandbox.base_url, trust_env=False) as http:
            refused = http.get("/inbox.json").json()["refused"]
            page = http.get("/").text
            latest = http.get("/_sandbox/latest").json()
    assert (latest["outcome"], latest["key"]) == ("refused", "r2")
    assert [one["recipient"] for one in refused] == ["447700900190", "447700900191"]
    assert "Not a valid WhatsApp user" in refused[0]["failed"]
    assert "<h2>Refused</h2>" in page
    assert "131026" in page


def test_who_looks_is_told_of_what_comes_in_until_the_sandbox_stops() -> None:
    with Sandbox() as sandbox:
        stream_url = f"{sandbox.base_url}/_sandbox/events"
        with httpx.Client(trust_env=False, timeout=20) as http, http.stream("GET", stream_url) as events:
            assert events.headers["content-type"].startswith("text/event-stream")
            lines = events.iter_lines()
            assert next(lines) == "data: changed"
            with CirrusClient(sandbox.token, sandbox.stream_id, base_url=sandbox.base_url) as client:
                client.send([Message.build("+447700900101", {"name": "order_update", "language": "en"})])
            assert [next(lines), next(lines)] == ["", "data: changed"]
            sandbox.stop()
            assert [line for line in lines if line] == []
